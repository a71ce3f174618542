//! From a finished [`RunSpec`] to a process in its namespaces.
//!
//! [`start`] clones a process, which mounts the container's file tree in a mount namespace of its own and executes the
//! program, while the caller makes cgroups and network. [`exec`] adds a process to a running container; [`kill_all`],
//! [`pause`], [`unpause`], [`update`] act on all processes of one; [`clean`] takes away what is left of it.
//! [`add_mount`] and [`take_mount`] change what a running one has mounted. [`mount_view`] gives a look at the files of one that does not run.
//!
//! Nothing is decided here: names, policies and defaults are the engine's. What is guaranteed:
//! - Every path in the container's tree is resolved inside it, whatever links an image holds.
//! - The host sees none of the container's mounts, except where propagation `shared` was asked for.
//! - A start that fails leaves no process, mount, namespace, interface or cgroup.
//! - A container dies with its caller, by the kernel's hand, as long as its programs do not prevent it.
//!
//! Callers have one thread: a process made here is a copy of its caller.

#![cfg_attr(
    test,
    allow(
        clippy::disallowed_methods,
        reason = "tests make their own scratch files"
    )
)]

mod cgroup;
mod control;
mod devices;
mod exec;
mod failure;
mod grafts;
mod held;
mod init;
mod network;
mod plan;
mod seccomp;
mod start;
mod sync;

use std::os::fd::OwnedFd;

use shim_protocol::StartError;
use shim_protocol::spec::RunSpec;

pub use control::{clean, kill_all, oom_kills, pause, unpause, update};
pub use exec::exec;
pub use grafts::{add_mount, take_mount};
pub use network::{
    RESOLVER, ResolverSockets, connect, disconnect, open_resolver, reroute, socket_inside,
};
pub use start::start;

/// Streams of the first process.
#[derive(Debug)]
pub enum Stdio {
    Pipes {
        stdin: OwnedFd,
        stdout: OwnedFd,
        stderr: OwnedFd,
    },
    /// A terminal; its master end comes back in [`Running::pty`].
    Tty,
}

/// A started process, a child of the caller.
#[derive(Debug)]
pub struct Running {
    /// As the caller's pid namespace sees it.
    pub pid: i32,
    pub pidfd: OwnedFd,
    /// Start time in clock ticks since boot.
    pub pid_start: u64,
    pub pty: Option<OwnedFd>,
    /// Of a container that is started with a resolver.
    pub resolver: Option<ResolverSockets>,
}

/// A private view of the container's files, for `cp` and `export` with a stopped container.
///
/// In a new mount namespace of the calling process (which has one thread and is thrown away afterwards) the root and
/// all mounts of files are made as [`start`] would; /proc, /sys, /dev and memory file systems are not. The descriptor
/// is an `O_PATH` one of the root. The working directory of the process changes.
pub fn mount_view(spec: &RunSpec) -> Result<OwnedFd, StartError> {
    init::view::build(spec)
}
