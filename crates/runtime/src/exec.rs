//! Starting another process in a running container.
//!
//! 1. Clone, inside the container's pid namespace: the new process is a child of the caller from the beginning.
//! 2. The child joins the container's cgroups, while it still sees the host's, and then all its other namespaces at once.
//! 3. It becomes the program as a container's first process does ([`crate::init::program`]).

use std::os::fd::{AsFd as _, OwnedFd};

use shim_protocol::StartError;
use shim_protocol::spec::{Process, RunSpec};
use sys::process::Fork;

use crate::cgroup::Cgroup;
use crate::failure::During as _;
use crate::init::join;
use crate::plan::ProcessPlan;
use crate::start::{cgroup_failed, finish, inside_pids_of, open_process, start_time};
use crate::{Running, Stdio, sync};

/// Runs another process in the namespaces and cgroup of the container whose first process is `pid`.
///
/// The caller has one thread, and becomes the parent of the process. With `privileged` it gets every capability that
/// the caller has, whatever its list says.
///
/// # Errors
/// As [`crate::start`].
pub fn exec(
    spec: &RunSpec,
    pid: i32,
    process: &Process,
    privileged: bool,
    stdio: Stdio,
) -> Result<Running, StartError> {
    let plan = ProcessPlan::new(process, privileged)?;
    let container = open_process(pid)?;
    let cgroup = Cgroup::of(spec).map_err(|error| cgroup_failed(&error))?;
    let into: Option<OwnedFd> = cgroup
        .open_for_clone()
        .map_err(|error| cgroup_failed(&error))?;
    let (parent, child) = sync::pair()?;
    let forked = inside_pids_of(&container, || {
        sys::process::fork_with(0, into.as_ref().map(|directory| directory.as_fd()))
            .during("exec", || {
                "cannot make a process in the container".to_owned()
            })
    })?;
    let new = match forked {
        Fork::Child => {
            drop(parent);
            join::run(spec, &plan, &cgroup, container, privileged, stdio, child)
        }
        Fork::Parent(new) => new,
    };
    drop(child);
    drop(stdio);
    finish(start_time(new.pid), &parent, new)
}
