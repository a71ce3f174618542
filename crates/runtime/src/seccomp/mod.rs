//! Which system calls a container's processes may make.
//!
//! A policy is a list of rules in our own terms ([`rule`]); it comes from the default ([`default`]) or from the user's
//! JSON ([`profile`]) and becomes a filter program ([`compile`]) before the process is made.

mod compile;
mod default;
mod profile;
mod rule;

use shim_protocol::StartError;
use shim_protocol::spec::{Process, Seccomp};
use sys::seccomp::Instruction;

use crate::failure::failed;

/// The filter program for a process; `None` when it is not to be confined.
pub(crate) fn filter(process: &Process) -> Result<Option<Vec<Instruction>>, StartError> {
    let policy = match &process.seccomp {
        Seccomp::Unconfined => return Ok(None),
        Seccomp::Default => default::policy(&process.capabilities, kernel()),
        Seccomp::Profile(json) => profile::policy(json, &process.capabilities, kernel())
            .map_err(|error| failed("seccomp", error.to_string()))?,
    };
    Ok(Some(compile::compile(&policy)))
}

/// Major and minor version of the running kernel.
fn kernel() -> (u32, u32) {
    let name = rustix::system::uname();
    let release = name.release().to_string_lossy();
    let mut numbers = release
        .split(|letter: char| !letter.is_ascii_digit())
        .map_while(|number| number.parse().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}
