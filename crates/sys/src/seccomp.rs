//! System call filters: numbers of the calls, and installing a finished filter program.

use std::io;

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "x86_64")]
mod i386;
#[cfg(target_arch = "x86_64")]
mod x86_64;

/// One instruction of a classic BPF program, as the kernel reads it (`struct sock_filter`).
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    pub code: u16,
    pub jump_true: u8,
    pub jump_false: u8,
    pub value: u32,
}

/// A set of system calls that this host's processes can use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arch {
    X86_64,
    /// 32-bit programs on x86_64.
    I386,
    Aarch64,
}

impl Arch {
    /// Those of the machine this was built for, the native one first.
    pub const NATIVE: &'static [Self] = if cfg!(target_arch = "x86_64") {
        &[Self::X86_64, Self::I386]
    } else {
        &[Self::Aarch64]
    };

    /// The kernel's `AUDIT_ARCH_*`.
    #[must_use]
    pub fn audit_number(self) -> u32 {
        match self {
            Self::X86_64 => 0xc000_003e,
            Self::I386 => 0x4000_0003,
            Self::Aarch64 => 0xc000_00b7,
        }
    }

    /// Number of the call `name`; `None` when this set has none of that name.
    #[must_use]
    pub fn number(self, name: &str) -> Option<u32> {
        let calls = self.calls();
        let index = calls
            .binary_search_by(|(known, _)| (*known).cmp(name))
            .ok()?;
        Some(calls[index].1)
    }

    fn calls(self) -> &'static [(&'static str, u32)] {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::X86_64 => x86_64::CALLS,
            #[cfg(target_arch = "x86_64")]
            Self::I386 => i386::CALLS,
            #[cfg(target_arch = "aarch64")]
            Self::Aarch64 => aarch64::CALLS,
            #[cfg(target_arch = "x86_64")]
            Self::Aarch64 => &[],
            #[cfg(target_arch = "aarch64")]
            Self::X86_64 | Self::I386 => &[],
        }
    }
}

/// The kernel's `struct sock_fprog`.
#[repr(C)]
struct Program {
    length: libc::c_ushort,
    code: *const Instruction,
}

/// Puts this (single-threaded) process and all it will start under the filter, for ever.
///
/// # Errors
/// `EACCES` without `CAP_SYS_ADMIN` unless new privileges were given up before; `EINVAL` for a malformed program.
pub fn install(program: &[Instruction]) -> io::Result<()> {
    const SET_MODE_FILTER: libc::c_uint = 1;
    let program = Program {
        length: libc::c_ushort::try_from(program.len())
            .map_err(|_| io::Error::from_raw_os_error(libc::E2BIG))?,
        code: program.as_ptr(),
    };
    // SAFETY: `program` has the layout of sock_fprog; its pointer and length describe a slice that outlives the call.
    let result =
        unsafe { libc::syscall(libc::SYS_seccomp, SET_MODE_FILTER, 0, &raw const program) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sorted_and_right() {
        for arch in Arch::NATIVE {
            assert!(arch.calls().is_sorted_by(|a, b| a.0 < b.0), "{arch:?}");
        }
        for (name, number) in [
            ("read", libc::SYS_read),
            ("clone3", libc::SYS_clone3),
            ("openat2", libc::SYS_openat2),
            ("mount_setattr", libc::SYS_mount_setattr),
            ("unshare", libc::SYS_unshare),
        ] {
            assert_eq!(
                Arch::X86_64.number(name),
                u32::try_from(number).ok(),
                "{name}"
            );
        }
        assert_eq!(Arch::I386.number("socketcall"), Some(102));
        assert_eq!(Arch::X86_64.number("socketcall"), None);
    }
}
