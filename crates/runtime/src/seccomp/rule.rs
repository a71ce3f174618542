//! The terms of a system call policy.

use std::borrow::Cow;

use sys::seccomp::Arch;

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Allow,
    Errno(u16),
    KillProcess,
    KillThread,
    Trap,
    Log,
    Trace(u16),
}

/// How an argument is compared with the value of a [`Condition`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compare {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    /// Equal under this mask.
    Masked(u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Condition {
    /// 0 to 5.
    pub(crate) argument: u8,
    pub(crate) compare: Compare,
    pub(crate) value: u64,
}

/// `action` for each of `calls` whose arguments meet all `conditions`. Rules with conditions go before those without.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) calls: Vec<Cow<'static, str>>,
    pub(crate) action: Action,
    pub(crate) conditions: Vec<Condition>,
}

/// A whole policy. Names that a set of calls does not have are skipped for that set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Policy {
    /// For calls without a rule.
    pub(crate) default: Action,
    pub(crate) archs: Vec<Arch>,
    pub(crate) rules: Vec<Rule>,
}
