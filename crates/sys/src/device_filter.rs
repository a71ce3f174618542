//! Which devices the processes of a cgroup (v2) may use: a small BPF program attached to the cgroup.
//!
//! The kernel asks the program at each open and mknod of a device. The program lives as long as the cgroup.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Devices that may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// `None`: block and character devices.
    pub kind: Option<Kind>,
    /// `None`: all.
    pub major: Option<u32>,
    /// `None`: all.
    pub minor: Option<u32>,
    pub read: bool,
    pub write: bool,
    pub mknod: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Block,
    Character,
}

/// The kernel's `struct bpf_insn`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Instruction {
    code: u8,
    registers: u8,
    offset: i16,
    immediate: i32,
}

const LOAD_WORD: u8 = 0x61;
const MOVE_REGISTER: u8 = 0xbf;
const MOVE: u8 = 0xb7;
const AND: u8 = 0x57;
const SHIFT_RIGHT: u8 = 0x77;
const JUMP_UNLESS_EQUAL: u8 = 0x56;
const EXIT: u8 = 0x95;

const ACCESS_MKNOD: i32 = 1;
const ACCESS_READ: i32 = 2;
const ACCESS_WRITE: i32 = 4;
const TYPE_BLOCK: i32 = 1;
const TYPE_CHARACTER: i32 = 2;

fn instruction(code: u8, to: u8, from: u8, offset: i16, immediate: i32) -> Instruction {
    Instruction {
        code,
        registers: to | from << 4,
        offset,
        immediate,
    }
}

/// r3 = type, r4 = access, r5 = major, r6 = minor; each rule either answers 1 or falls through to the next.
fn program(rules: &[Rule]) -> Vec<Instruction> {
    let mut code = vec![
        instruction(LOAD_WORD, 3, 1, 0, 0),
        instruction(MOVE_REGISTER, 4, 3, 0, 0),
        instruction(AND, 3, 0, 0, 0xffff),
        instruction(SHIFT_RIGHT, 4, 0, 0, 16),
        instruction(LOAD_WORD, 5, 1, 4, 0),
        instruction(LOAD_WORD, 6, 1, 8, 0),
    ];
    for rule in rules {
        let mut block = Vec::new();
        let mut tests = Vec::new();
        let mut unless_equal = |block: &mut Vec<Instruction>, register, value| {
            tests.push(block.len());
            block.push(instruction(JUMP_UNLESS_EQUAL, register, 0, 0, value));
        };
        if let Some(kind) = rule.kind {
            let value = if kind == Kind::Block {
                TYPE_BLOCK
            } else {
                TYPE_CHARACTER
            };
            unless_equal(&mut block, 3, value);
        }
        let refused = if rule.mknod { 0 } else { ACCESS_MKNOD }
            | if rule.read { 0 } else { ACCESS_READ }
            | if rule.write { 0 } else { ACCESS_WRITE };
        if refused != 0 {
            block.push(instruction(MOVE_REGISTER, 2, 4, 0, 0));
            block.push(instruction(AND, 2, 0, 0, refused));
            unless_equal(&mut block, 2, 0);
        }
        if let Some(major) = rule.major {
            unless_equal(&mut block, 5, major.cast_signed());
        }
        if let Some(minor) = rule.minor {
            unless_equal(&mut block, 6, minor.cast_signed());
        }
        block.push(instruction(MOVE, 0, 0, 0, 1));
        block.push(instruction(EXIT, 0, 0, 0, 0));
        let end = block.len();
        for test in tests {
            block[test].offset =
                i16::try_from(end - test - 1).expect("a rule is a few instructions");
        }
        code.extend(block);
    }
    code.push(instruction(MOVE, 0, 0, 0, 0));
    code.push(instruction(EXIT, 0, 0, 0, 0));
    code
}

/// The part of `union bpf_attr` that BPF_PROG_LOAD reads here.
#[repr(C)]
struct Load {
    program_type: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buffer: u64,
    kernel_version: u32,
    flags: u32,
}

/// The part of `union bpf_attr` that BPF_PROG_ATTACH reads here.
#[repr(C)]
struct Attach {
    target: u32,
    program: u32,
    kind: u32,
    flags: u32,
}

/// Lets the processes of the cgroup (an open directory of a v2 hierarchy) use devices that match a rule, and no others.
pub fn attach(cgroup: BorrowedFd<'_>, rules: &[Rule]) -> io::Result<()> {
    const PROG_LOAD: libc::c_int = 5;
    const PROG_ATTACH: libc::c_int = 8;
    const TYPE_CGROUP_DEVICE: u32 = 15;
    const ATTACH_CGROUP_DEVICE: u32 = 6;
    const ALLOW_MULTI: u32 = 2;
    let code = program(rules);
    let load = Load {
        program_type: TYPE_CGROUP_DEVICE,
        instruction_count: u32::try_from(code.len()).map_err(io::Error::other)?,
        instructions: code.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log_buffer: 0,
        kernel_version: 0,
        flags: 0,
    };
    // SAFETY: `load` has the layout that BPF_PROG_LOAD reads, and what it points to outlives the call.
    let program =
        unsafe { libc::syscall(libc::SYS_bpf, PROG_LOAD, &raw const load, size_of::<Load>()) };
    if program < 0 {
        return Err(io::Error::last_os_error());
    }
    let program = libc::c_int::try_from(program).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made this descriptor; nobody else owns it.
    let program = unsafe { OwnedFd::from_raw_fd(program) };
    let attach = Attach {
        target: cgroup.as_raw_fd().cast_unsigned(),
        program: program.as_raw_fd().cast_unsigned(),
        kind: ATTACH_CGROUP_DEVICE,
        flags: ALLOW_MULTI,
    };
    // SAFETY: `attach` has the layout that BPF_PROG_ATTACH reads.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            PROG_ATTACH,
            &raw const attach,
            size_of::<Attach>(),
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_that_names_everything_tests_everything() {
        let rule = Rule {
            kind: Some(Kind::Character),
            major: Some(1),
            minor: Some(3),
            read: true,
            write: false,
            mknod: false,
        };
        let code = program(&[rule]);
        let tests: Vec<_> = code
            .iter()
            .filter(|step| step.code == JUMP_UNLESS_EQUAL)
            .map(|step| (step.registers, step.immediate, step.offset))
            .collect();
        assert_eq!(tests, [(3, 2, 7), (2, 0, 4), (5, 1, 3), (6, 3, 2)]);
        assert_eq!(code.last().map(|step| step.code), Some(EXIT));
    }
}
