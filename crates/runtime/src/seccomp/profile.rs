//! Policies that users bring: Docker's JSON form of a profile.
//!
//! Everything Docker understands is understood; what cannot be kept (an unknown action, a listener socket) is refused,
//! never skipped. Names of calls that this machine does not have are skipped, as profiles are written for many machines.

use serde::Deserialize;
use sys::seccomp::Arch;

use super::rule::{Action, Compare, Condition, Policy, Rule};

#[derive(Debug, thiserror::Error)]
pub(crate) enum ProfileError {
    #[error("decoding seccomp profile failed: {0}")]
    Json(String),
    #[error("unknown seccomp action {0:?}")]
    Action(String),
    #[error("seccomp action {0:?} needs a listener, which is not supported")]
    Listener(String),
    #[error("unknown seccomp operator {0:?}")]
    Operator(String),
    #[error("seccomp argument index {0} is not between 0 and 5")]
    Argument(u32),
    #[error("seccomp error number {0} is too big")]
    Errno(u32),
    #[error("invalid minimum kernel version {0:?} in seccomp profile")]
    Kernel(String),
    #[error("seccomp profile has both name and names")]
    Names,
    #[error("seccomp profile has both architectures and archMap")]
    Architectures,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    default_action: String,
    default_errno_ret: Option<u32>,
    #[serde(default)]
    architectures: Option<Vec<String>>,
    #[serde(default)]
    arch_map: Option<Vec<ArchMap>>,
    #[serde(default)]
    syscalls: Option<Vec<Calls>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ArchMap {
    architecture: String,
    #[serde(default)]
    sub_architectures: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Calls {
    name: Option<String>,
    #[serde(default)]
    names: Option<Vec<String>>,
    action: String,
    errno_ret: Option<u32>,
    #[serde(default)]
    args: Option<Vec<Arg>>,
    #[serde(default)]
    includes: Option<Filter>,
    #[serde(default)]
    excludes: Option<Filter>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Arg {
    index: u32,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: String,
}

#[derive(Debug, Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Filter {
    #[serde(default)]
    caps: Option<Vec<String>>,
    #[serde(default)]
    arches: Option<Vec<String>>,
    min_kernel: Option<String>,
}

/// Reads `json` for a process with `capabilities` on a kernel of this version.
pub(crate) fn policy(
    json: &str,
    capabilities: &[String],
    kernel: (u32, u32),
) -> Result<Policy, ProfileError> {
    let profile: Profile =
        serde_json::from_str(json).map_err(|error| ProfileError::Json(error.to_string()))?;
    let default = action(&profile.default_action, profile.default_errno_ret)?;
    let archs = architectures(&profile)?;
    let mut rules = Vec::new();
    for calls in profile.syscalls.unwrap_or_default() {
        if applies(&calls, capabilities, kernel)? {
            rules.extend(to_rules(calls)?);
        }
    }
    Ok(Policy {
        default,
        archs,
        rules,
    })
}

fn action(name: &str, errno: Option<u32>) -> Result<Action, ProfileError> {
    let number = || {
        let value = errno.unwrap_or(1);
        u16::try_from(value)
            .ok()
            .filter(|number| *number <= 4095)
            .ok_or(ProfileError::Errno(value))
    };
    Ok(match name {
        "SCMP_ACT_ALLOW" => Action::Allow,
        "SCMP_ACT_ERRNO" => Action::Errno(number()?),
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => Action::KillThread,
        "SCMP_ACT_KILL_PROCESS" => Action::KillProcess,
        "SCMP_ACT_TRAP" => Action::Trap,
        "SCMP_ACT_TRACE" => Action::Trace(number()?),
        "SCMP_ACT_LOG" => Action::Log,
        "SCMP_ACT_NOTIFY" => return Err(ProfileError::Listener(name.to_owned())),
        _ => return Err(ProfileError::Action(name.to_owned())),
    })
}

fn architectures(profile: &Profile) -> Result<Vec<Arch>, ProfileError> {
    let named: Vec<&String> = match (&profile.architectures, &profile.arch_map) {
        (Some(list), Some(map)) if !list.is_empty() && !map.is_empty() => {
            return Err(ProfileError::Architectures);
        }
        (_, Some(map)) if !map.is_empty() => map
            .iter()
            .filter(|entry| arch(&entry.architecture) == Some(Arch::NATIVE[0]))
            .flat_map(|entry| {
                std::iter::once(&entry.architecture).chain(entry.sub_architectures.iter().flatten())
            })
            .collect(),
        (Some(list), _) => list.iter().collect(),
        _ => Vec::new(),
    };
    // The native set is always served: nothing could run otherwise.
    let mut archs = vec![Arch::NATIVE[0]];
    for known in named.into_iter().filter_map(|name| arch(name)) {
        if Arch::NATIVE.contains(&known) && !archs.contains(&known) {
            archs.push(known);
        }
    }
    Ok(archs)
}

fn arch(name: &str) -> Option<Arch> {
    match name {
        "SCMP_ARCH_X86_64" | "amd64" => Some(Arch::X86_64),
        "SCMP_ARCH_X86" | "x86" => Some(Arch::I386),
        "SCMP_ARCH_AARCH64" | "arm64" => Some(Arch::Aarch64),
        _ => None,
    }
}

fn applies(
    calls: &Calls,
    capabilities: &[String],
    kernel: (u32, u32),
) -> Result<bool, ProfileError> {
    let has = |name: &String| capabilities.contains(name);
    let here = |name: &String| arch(name) == Some(Arch::NATIVE[0]);
    if let Some(excludes) = &calls.excludes
        && (excludes.caps.iter().flatten().any(has)
            || excludes.arches.iter().flatten().any(here)
            || at_least(excludes, kernel)?.unwrap_or(false))
    {
        return Ok(false);
    }
    let Some(includes) = &calls.includes else {
        return Ok(true);
    };
    let arches = includes.arches.as_deref().unwrap_or_default();
    Ok(includes.caps.iter().flatten().all(has)
        && (arches.is_empty() || arches.iter().any(here))
        && at_least(includes, kernel)?.unwrap_or(true))
}

/// Whether the kernel is as new as the filter asks; `None` when it does not ask.
fn at_least(filter: &Filter, kernel: (u32, u32)) -> Result<Option<bool>, ProfileError> {
    let Some(text) = filter.min_kernel.as_deref().filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let wanted = text
        .split_once('.')
        .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)))
        .ok_or_else(|| ProfileError::Kernel(text.to_owned()))?;
    Ok(Some(kernel >= wanted))
}

fn to_rules(calls: Calls) -> Result<Vec<Rule>, ProfileError> {
    let names = match (calls.name.filter(|name| !name.is_empty()), calls.names) {
        (Some(_), Some(names)) if !names.is_empty() => return Err(ProfileError::Names),
        (Some(name), _) => vec![name],
        (None, names) => names.unwrap_or_default(),
    };
    let calls_of: Vec<_> = names.into_iter().map(Into::into).collect();
    let action = action(&calls.action, calls.errno_ret)?;
    let conditions = calls
        .args
        .unwrap_or_default()
        .into_iter()
        .map(condition)
        .collect::<Result<Vec<_>, _>>()?;
    let rule = |conditions| Rule {
        calls: calls_of.clone(),
        action,
        conditions,
    };
    // Docker's rule: two conditions on one argument are alternatives, otherwise all must hold.
    let twice = (0..6).any(|index| {
        conditions
            .iter()
            .filter(|condition| condition.argument == index)
            .count()
            > 1
    });
    if twice {
        Ok(conditions
            .into_iter()
            .map(|condition| rule(vec![condition]))
            .collect())
    } else {
        Ok(vec![rule(conditions)])
    }
}

fn condition(arg: Arg) -> Result<Condition, ProfileError> {
    let argument = u8::try_from(arg.index)
        .ok()
        .filter(|index| *index < 6)
        .ok_or(ProfileError::Argument(arg.index))?;
    let (compare, value) = match arg.op.as_str() {
        "SCMP_CMP_NE" => (Compare::NotEqual, arg.value),
        "SCMP_CMP_LT" => (Compare::Less, arg.value),
        "SCMP_CMP_LE" => (Compare::LessOrEqual, arg.value),
        "SCMP_CMP_EQ" => (Compare::Equal, arg.value),
        "SCMP_CMP_GE" => (Compare::GreaterOrEqual, arg.value),
        "SCMP_CMP_GT" => (Compare::Greater, arg.value),
        "SCMP_CMP_MASKED_EQ" => (Compare::Masked(arg.value), arg.value_two),
        _ => return Err(ProfileError::Operator(arg.op)),
    };
    Ok(Condition {
        argument,
        compare,
        value,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROFILE: &str = r#"{
        "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38,
        "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]},
                    {"architecture": "SCMP_ARCH_S390X", "subArchitectures": null}],
        "syscalls": [
            {"names": ["read", "write"], "action": "SCMP_ACT_ALLOW", "args": [], "comment": "", "includes": {}, "excludes": {}},
            {"name": "mkdir", "action": "SCMP_ACT_KILL"},
            {"names": ["mount"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
            {"names": ["ptrace"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "4.8"}},
            {"names": ["bpf"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "99.0"}},
            {"names": ["clone"], "action": "SCMP_ACT_ALLOW", "excludes": {"caps": ["CAP_SYS_ADMIN"]},
             "args": [{"index": 0, "value": 2114060288, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}]},
            {"names": ["socket"], "action": "SCMP_ACT_ALLOW",
             "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}, {"index": 0, "value": 2, "op": "SCMP_CMP_EQ"}]}
        ]}"#;

    #[test]
    fn dockers_form_is_read() {
        let policy = policy(PROFILE, &[], (6, 1)).unwrap();
        assert_eq!(policy.default, Action::Errno(38));
        assert_eq!(policy.archs, [Arch::X86_64, Arch::I386]);
        let shape: Vec<_> = policy
            .rules
            .iter()
            .map(|rule| (rule.calls.join(" "), rule.action, rule.conditions.len()))
            .collect();
        assert_eq!(
            shape,
            [
                ("read write".to_owned(), Action::Allow, 0),
                ("mkdir".to_owned(), Action::KillThread, 0),
                ("ptrace".to_owned(), Action::Allow, 0),
                ("clone".to_owned(), Action::Allow, 1),
                ("socket".to_owned(), Action::Allow, 1),
                ("socket".to_owned(), Action::Allow, 1),
            ]
        );
        assert_eq!(
            policy.rules[3].conditions[0].compare,
            Compare::Masked(0x7e02_0000)
        );
    }

    #[test]
    fn what_cannot_be_kept_is_refused() {
        for (json, text) in [
            (
                "{",
                "decoding seccomp profile failed: EOF while parsing an object at line 1 column 1",
            ),
            (r#"{"defaultAction":"X"}"#, "unknown seccomp action \"X\""),
            (
                r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"name":"a","action":"SCMP_ACT_NOTIFY"}]}"#,
                "seccomp action \"SCMP_ACT_NOTIFY\" needs a listener, which is not supported",
            ),
            (
                r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"name":"a","action":"SCMP_ACT_LOG","args":[{"index":6,"value":1,"op":"SCMP_CMP_EQ"}]}]}"#,
                "seccomp argument index 6 is not between 0 and 5",
            ),
        ] {
            assert_eq!(policy(json, &[], (6, 1)).unwrap_err().to_string(), text);
        }
    }
}
