//! The second half of every process, in a new container or a running one: from "inside" to the program.

use std::convert::Infallible;
use std::os::fd::OwnedFd;

use rustix::fs::Mode;
use rustix::process::DumpableBehavior;
use shim_protocol::StartError;

use super::command::Command;
use super::cwd::{self, Cwd};
use super::{confine, reaper, rlimits, streams, user};
use crate::Stdio;
use crate::failure::During as _;
use crate::plan::ProcessPlan;
use crate::sync::Child;

/// First steps of a new process: nothing of its maker's state may matter.
pub(crate) fn begin() -> Result<(), StartError> {
    let what = || "cannot set up the new process".to_owned();
    sys::signal::reset();
    confine::die_with_parent()?;
    rustix::process::setsid().during("start", what)?;
    rustix::process::umask(Mode::from(0o022));
    // The container's processes may see this one before it has become theirs.
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).during("start", what)?;
    sys::namespace::new_session_keyring().during("start", what)
}

/// Sets what is written to files of the host's /proc, while it can be reached.
pub(crate) fn tell_kernel(
    plan: &ProcessPlan<'_>,
    oom_score_adj: Option<i32>,
    privileged: bool,
) -> Result<(), StartError> {
    if let Some(value) = oom_score_adj {
        match write("/proc/self/oom_score_adj", &value.to_string()) {
            Ok(()) => {}
            // Lowering it takes a capability that hosts hold back; the container then is as likely a victim as others.
            Err(rustix::io::Errno::ACCESS) if !privileged => {}
            Err(error) => {
                return Err(error).during("oom", || {
                    format!("cannot set the OOM score adjustment to {value}")
                });
            }
        }
    }
    match plan.process.apparmor_profile.as_deref() {
        None | Some("" | "unconfined") => Ok(()),
        Some(profile) => {
            let text = format!("exec {profile}");
            write("/proc/self/attr/apparmor/exec", &text)
                .or_else(|_| write("/proc/self/attr/exec", &text))
                .during("apparmor", || {
                    format!("cannot use the AppArmor profile {profile}")
                })
        }
    }
}

fn write(path: &str, value: &str) -> rustix::io::Result<()> {
    use rustix::fs::OFlags;
    let file = rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(&file, value.as_bytes()).map(drop)
}

/// Becomes the program. This process is in the container's namespaces and file tree.
///
/// Comes back only with an error, and with the channel on which to tell it.
pub(crate) fn run(
    plan: &ProcessPlan<'_>,
    stdio: Stdio,
    terminal: Option<OwnedFd>,
    cwd: Cwd,
    init: bool,
    channel: Child,
) -> (StartError, Child) {
    let has_terminal = terminal.is_some();
    let before = || -> Result<(Command, user::User, Option<String>), StartError> {
        let user = user::look_up(&plan.process.user, &plan.process.additional_groups)?;
        let mut env = plan.process.env.clone();
        if !env.iter().any(|pair| {
            pair.strip_prefix("HOME=")
                .is_some_and(|home| !home.is_empty())
        }) {
            env.retain(|pair| !pair.starts_with("HOME="));
            env.push(format!("HOME={}", user.home));
        }
        let command = Command::new(&plan.process.args, &env)?;
        streams::install(stdio, terminal, &user)?;
        let cwd = match cwd {
            Cwd::Open(place) => {
                cwd::enter_open(&place)?;
                None
            }
            Cwd::Path(path) => Some(path),
        };
        Ok((command, user, cwd))
    };
    let (command, user, cwd) = match before() {
        Ok(ready) => ready,
        Err(error) => return (error, channel),
    };
    let channel = match channel.close_others() {
        Ok(channel) => channel,
        Err((error, channel)) => return (error, channel),
    };
    // No descriptor of the host is open any more; /proc/self/fd leads nowhere.
    let after = || -> Result<Infallible, StartError> {
        if let Some(path) = &cwd {
            cwd::enter_path(path)?;
        }
        rlimits::set(&plan.limits)?;
        confine::become_user(plan, &user)?;
        if init {
            reaper::stay_behind(plan, has_terminal)?;
            confine::die_with_parent()?;
        }
        channel.send_ready()?;
        confine::seal(plan)?;
        Err(command.execute())
    };
    let Err(error) = after();
    (error, channel)
}
