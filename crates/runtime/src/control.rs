//! What can be done to a running container as a whole, through its cgroups.

use std::io;

use shim_protocol::spec::{Resources, RunSpec};

use crate::cgroup::Cgroup;
use crate::held;

/// Sends `signal` to every process of the container. None left is success.
pub fn kill_all(spec: &RunSpec, signal: i32) -> io::Result<()> {
    Ok(Cgroup::of(spec)?.signal(signal)?)
}

/// Stops all processes of the container in their tracks; comes back when they stand still.
///
/// # Errors
/// When there is no freezer, or when it does not succeed in ten seconds; then all run on.
pub fn pause(spec: &RunSpec) -> io::Result<()> {
    Ok(Cgroup::of(spec)?.freeze(true)?)
}

/// Lets the processes of the container run again.
pub fn unpause(spec: &RunSpec) -> io::Result<()> {
    Ok(Cgroup::of(spec)?.freeze(false)?)
}

/// Changes the limits that `resources` names; the others stay.
pub fn update(spec: &RunSpec, resources: &Resources) -> io::Result<()> {
    Ok(Cgroup::of(spec)?.update(resources)?)
}

/// How many processes of the container the kernel has killed for want of memory. 0 when that cannot be known.
#[must_use]
pub fn oom_kills(spec: &RunSpec) -> u64 {
    Cgroup::of(spec).map_or(0, |cgroup| cgroup.oom_kills())
}

/// Takes away what a container leaves: processes, mounts, cgroups. Can be repeated.
///
/// Slow in comparison with the start (grace periods of the kernel, a sync of the file system below the overlay): call
/// it after the exit status has been told.
pub fn clean(spec: &RunSpec) -> io::Result<()> {
    let removed = Cgroup::of(spec)?.remove();
    held::release(&spec.id);
    Ok(removed?)
}
