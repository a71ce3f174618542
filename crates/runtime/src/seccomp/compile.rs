//! From a policy to a filter program for the kernel.
//!
//! The program finds the call's number by binary search over ranges with the same verdict, so that both a call and the
//! kernel's own run over all numbers at installation take about ten steps.

use std::collections::HashMap;

use sys::seccomp::{Arch, Instruction};

use super::rule::{Action, Compare, Condition, Policy};

const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_GREATER: u16 = 0x25;
const JUMP_GREATER_OR_EQUAL: u16 = 0x35;
const RETURN: u16 = 0x06;

/// Offsets in the kernel's `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const ARGUMENTS: u32 = 16;

/// Numbers from here on belong to the x32 set, which gets no service.
const X32: u32 = 0x4000_0000;
const ENOSYS: u16 = 38;

fn step(code: u16, value: u32) -> Instruction {
    Instruction {
        code,
        jump_true: 0,
        jump_false: 0,
        value,
    }
}

fn give(action: Action) -> Instruction {
    step(
        RETURN,
        match action {
            Action::KillProcess => 0x8000_0000,
            Action::KillThread => 0,
            Action::Trap => 0x0003_0000,
            Action::Errno(number) => 0x0005_0000 | u32::from(number),
            Action::Trace(number) => 0x7ff0_0000 | u32::from(number),
            Action::Log => 0x7ffc_0000,
            Action::Allow => 0x7fff_0000,
        },
    )
}

/// The program for `policy`.
pub(crate) fn compile(policy: &Policy) -> Vec<Instruction> {
    let mut program = vec![step(LOAD, ARCH)];
    for arch in &policy.archs {
        let body = calls(policy, *arch);
        program.push(Instruction {
            jump_true: 1,
            ..step(JUMP_EQUAL, arch.audit_number())
        });
        program.push(step(JUMP, length(&body)));
        program.extend(body);
    }
    program.push(give(Action::KillProcess));
    program
}

fn length(code: &[Instruction]) -> u32 {
    u32::try_from(code.len()).expect("programs are a few thousand steps")
}

/// What is decided about one call number: alternatives in order, then the rest.
#[derive(Default)]
struct Verdict<'a> {
    alternatives: Vec<(&'a [Condition], Action)>,
    otherwise: Option<Action>,
}

fn calls(policy: &Policy, arch: Arch) -> Vec<Instruction> {
    let mut verdicts: HashMap<u32, Verdict<'_>> = HashMap::with_capacity(512);
    for rule in &policy.rules {
        for name in &rule.calls {
            let Some(number) = arch.number(name) else {
                continue;
            };
            let verdict = verdicts.entry(number).or_default();
            if rule.conditions.is_empty() {
                verdict.otherwise.get_or_insert(rule.action);
            } else {
                verdict.alternatives.push((&rule.conditions, rule.action));
            }
        }
    }
    let mut numbers: Vec<u32> = verdicts.keys().copied().collect();
    numbers.sort_unstable();

    // Ranges by their first number; a range ends where the next one begins.
    let mut ranges: Vec<(u32, Vec<Instruction>)> = Vec::new();
    let mut add = |first: u32, code: Vec<Instruction>| {
        if ranges.last().is_none_or(|(_, before)| *before != code) {
            ranges.push((first, code));
        }
    };
    let mut next = 0;
    for number in numbers {
        if number > next || number == 0 {
            add(next, vec![give(policy.default)]);
        }
        add(number, leaf(&verdicts[&number], policy.default));
        next = number + 1;
    }
    add(next, vec![give(policy.default)]);
    // When call 0 has a verdict, the range before it is empty.
    if ranges.len() > 1 && ranges[0].0 == ranges[1].0 {
        ranges.remove(0);
    }

    let mut code = vec![step(LOAD, NUMBER)];
    if arch == Arch::X86_64 {
        code.push(Instruction {
            jump_false: 1,
            ..step(JUMP_GREATER_OR_EQUAL, X32)
        });
        code.push(give(Action::Errno(ENOSYS)));
    }
    code.extend(search(&ranges));
    code
}

fn search(ranges: &[(u32, Vec<Instruction>)]) -> Vec<Instruction> {
    if let [(_, code)] = ranges {
        return code.clone();
    }
    let (left, right) = ranges.split_at(ranges.len() / 2);
    let below = search(left);
    let mut code = Vec::new();
    let test = step(JUMP_GREATER_OR_EQUAL, right[0].0);
    if let Ok(jump_true) = u8::try_from(below.len()) {
        code.push(Instruction { jump_true, ..test });
    } else {
        code.push(Instruction {
            jump_false: 1,
            ..test
        });
        code.push(step(JUMP, length(&below)));
    }
    code.extend(below);
    code.extend(search(right));
    code
}

fn leaf(verdict: &Verdict<'_>, default: Action) -> Vec<Instruction> {
    let mut code = Vec::new();
    for (conditions, action) in &verdict.alternatives {
        code.extend(alternative(conditions, *action));
    }
    code.push(give(verdict.otherwise.unwrap_or(default)));
    code
}

/// Where a comparison goes on: the next step, the next condition, or the end of the alternative.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Label {
    Step,
    Pass,
    Fail,
}

fn alternative(conditions: &[Condition], action: Action) -> Vec<Instruction> {
    let mut code: Vec<(Instruction, Label, Label)> = Vec::new();
    let mut ends = Vec::new();
    for condition in conditions {
        let begin = code.len();
        code.extend(comparison(condition));
        ends.extend(std::iter::repeat_n(code.len(), code.len() - begin));
    }
    code.push((give(action), Label::Step, Label::Step));
    ends.push(code.len());
    let fail = code.len();
    let offset = |label: Label, index: usize, pass: usize| {
        let target = match label {
            Label::Step => return 0,
            Label::Pass => pass,
            Label::Fail => fail,
        };
        u8::try_from(target - index - 1).expect("six conditions are at most 36 steps")
    };
    code.iter()
        .enumerate()
        .map(|(index, (instruction, if_true, if_false))| Instruction {
            jump_true: offset(*if_true, index, ends[index]),
            jump_false: offset(*if_false, index, ends[index]),
            ..*instruction
        })
        .collect()
}

fn comparison(condition: &Condition) -> Vec<(Instruction, Label, Label)> {
    use Label::{Fail, Pass, Step};
    let low_at = ARGUMENTS + 8 * u32::from(condition.argument);
    let plain = |code, value| (step(code, value), Step, Step);
    let (high, low) = halves(condition.value);
    let (load_high, load_low) = (plain(LOAD, low_at + 4), plain(LOAD, low_at));
    let equal = |value, if_true, if_false| (step(JUMP_EQUAL, value), if_true, if_false);
    let greater = |value, if_true, if_false| (step(JUMP_GREATER, value), if_true, if_false);
    let at_least =
        |value, if_true, if_false| (step(JUMP_GREATER_OR_EQUAL, value), if_true, if_false);
    match condition.compare {
        Compare::Equal => {
            vec![
                load_high,
                equal(high, Step, Fail),
                load_low,
                equal(low, Step, Fail),
            ]
        }
        Compare::NotEqual => {
            vec![
                load_high,
                equal(high, Step, Pass),
                load_low,
                equal(low, Fail, Step),
            ]
        }
        Compare::Masked(mask) => {
            let (mask_high, mask_low) = halves(mask);
            vec![
                load_high,
                plain(AND, mask_high),
                equal(high, Step, Fail),
                load_low,
                plain(AND, mask_low),
                equal(low, Step, Fail),
            ]
        }
        Compare::Greater | Compare::GreaterOrEqual => vec![
            load_high,
            greater(high, Pass, Step),
            equal(high, Step, Fail),
            load_low,
            if condition.compare == Compare::Greater {
                greater(low, Step, Fail)
            } else {
                at_least(low, Step, Fail)
            },
        ],
        Compare::Less | Compare::LessOrEqual => vec![
            load_high,
            greater(high, Fail, Step),
            equal(high, Step, Pass),
            load_low,
            if condition.compare == Compare::Less {
                at_least(low, Fail, Step)
            } else {
                greater(low, Fail, Step)
            },
        ],
    }
}

fn halves(value: u64) -> (u32, u32) {
    let half = |value: u64| u32::try_from(value & 0xffff_ffff).expect("masked to 32 bits");
    (half(value >> 32), half(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seccomp::default;

    /// Runs a program as the kernel would.
    fn run(program: &[Instruction], arch: Arch, number: u32, arguments: [u64; 6]) -> u32 {
        let word = |offset: u32| match offset {
            NUMBER => number,
            ARCH => arch.audit_number(),
            _ => {
                let index = usize::try_from((offset - ARGUMENTS) / 8).unwrap();
                let (high, low) = halves(arguments[index]);
                if (offset - ARGUMENTS).is_multiple_of(8) {
                    low
                } else {
                    high
                }
            }
        };
        let (mut at, mut register) = (0usize, 0u32);
        loop {
            let now = program[at];
            at += 1;
            let mut branch = |taken: bool| {
                at += usize::from(if taken { now.jump_true } else { now.jump_false });
            };
            match now.code {
                LOAD => register = word(now.value),
                AND => register &= now.value,
                JUMP => at += usize::try_from(now.value).unwrap(),
                JUMP_EQUAL => branch(register == now.value),
                JUMP_GREATER => branch(register > now.value),
                JUMP_GREATER_OR_EQUAL => branch(register >= now.value),
                RETURN => return now.value,
                other => panic!("unknown instruction {other:#x}"),
            }
        }
    }

    #[test]
    fn every_comparison_on_both_halves() {
        let values = [0, 1, 5, 6, 1 << 32, (1 << 32) + 5, 5 << 32, u64::MAX];
        let all = [
            Compare::Equal,
            Compare::NotEqual,
            Compare::Less,
            Compare::LessOrEqual,
            Compare::Greater,
            Compare::GreaterOrEqual,
            Compare::Masked(0x1_0000_0004),
        ];
        for compare in all {
            for value in values {
                let condition = Condition {
                    argument: 3,
                    compare,
                    value,
                };
                let policy = Policy {
                    default: Action::Errno(1),
                    archs: vec![Arch::X86_64],
                    rules: vec![super::super::rule::Rule {
                        calls: vec!["read".into()],
                        action: Action::Allow,
                        conditions: vec![condition],
                    }],
                };
                let program = compile(&policy);
                for argument in values {
                    let expected = match compare {
                        Compare::Equal => argument == value,
                        Compare::NotEqual => argument != value,
                        Compare::Less => argument < value,
                        Compare::LessOrEqual => argument <= value,
                        Compare::Greater => argument > value,
                        Compare::GreaterOrEqual => argument >= value,
                        Compare::Masked(mask) => argument & mask == value,
                    };
                    let got = run(&program, Arch::X86_64, 0, [0, 0, 0, argument, 0, 0]);
                    let got = got == give(Action::Allow).value;
                    assert_eq!(got, expected, "{argument:#x} {compare:?} {value:#x}");
                }
            }
        }
    }

    #[test]
    fn the_default_policy_decides_as_docker_does() {
        let (allow, refuse) = (0x7fff_0000, 0x0005_0001);
        let plain = compile(&default::policy(&["CAP_CHOWN".to_owned()], (6, 1)));
        assert!(plain.len() < 1200, "{} instructions", plain.len());
        let admin = compile(&default::policy(&["CAP_SYS_ADMIN".to_owned()], (6, 1)));
        let call = |program: &[Instruction], name: &str, first: u64| {
            let number = Arch::X86_64.number(name).unwrap();
            run(program, Arch::X86_64, number, [first, 0, 0, 0, 0, 0])
        };
        for name in [
            "read",
            "openat2",
            "execve",
            "exit_group",
            "mseal",
            "ptrace",
            "clock_gettime",
        ] {
            assert_eq!(call(&plain, name, 0), allow, "{name}");
        }
        for name in [
            "mount",
            "unshare",
            "keyctl",
            "bpf",
            "io_uring_setup",
            "reboot",
            "setns",
        ] {
            assert_eq!(call(&plain, name, 0), refuse, "{name}");
        }
        for name in ["mount", "unshare", "setns", "clone3"] {
            assert_eq!(call(&admin, name, 0), allow, "{name}");
        }
        assert_eq!(call(&plain, "clone3", 0), 0x0005_0026);
        assert_eq!(call(&plain, "clone", 0x11), allow);
        assert_eq!(call(&plain, "clone", 0x1000_0011), refuse);
        assert_eq!(call(&plain, "personality", 0x20008), allow);
        assert_eq!(call(&plain, "personality", 0x40000), refuse);
        assert_eq!(call(&plain, "socket", 2), allow);
        assert_eq!(call(&plain, "socket", 40), refuse);
        assert_eq!(run(&plain, Arch::X86_64, X32 + 1, [0; 6]), 0x0005_0026);
        assert_eq!(run(&plain, Arch::X86_64, 9999, [0; 6]), refuse);
        let old_open = Arch::I386.number("open").unwrap();
        assert_eq!(run(&plain, Arch::I386, old_open, [0; 6]), allow);
        assert_eq!(run(&plain, Arch::Aarch64, 1, [0; 6]), 0x8000_0000);
    }

    #[test]
    fn each_call_gets_its_own_verdict() {
        let policy = default::policy(&[], (6, 1));
        let program = compile(&policy);
        let named = |number| {
            policy.rules.iter().any(|rule| {
                rule.action == Action::Allow
                    && rule.conditions.is_empty()
                    && rule
                        .calls
                        .iter()
                        .any(|name| Arch::X86_64.number(name) == Some(number))
            })
        };
        for number in (0..600).filter(|number| ![41, 56, 135, 435].contains(number)) {
            let allowed = run(&program, Arch::X86_64, number, [0; 6]) == 0x7fff_0000;
            assert_eq!(allowed, named(number), "call {number}");
        }
    }
}
