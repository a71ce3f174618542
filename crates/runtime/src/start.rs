//! Starting a container: the part of the process that stays outside.
//!
//! 1. Make missing bind sources; decide everything that can be decided (filter, devices, capabilities).
//! 2. On cgroup v2: make the cgroup, to clone into it.
//! 3. Clone. From here on the child mounts ([`crate::init::order`]) while this process
//! 4. on v1 makes the cgroups, sets limits, and says so;
//! 5. makes the network interfaces and the resolver's sockets, and says so;
//! 6. waits until the program runs.
//!
//! When a step fails, the child is killed and reaped and the cgroups are removed; mounts, namespaces and the interface
//! go with the child.

use std::os::fd::{AsFd as _, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, PidfdFlags};
use shim_protocol::StartError;
use shim_protocol::spec::{NetworkNs, NsMode, RunSpec};
use sys::namespace::Kinds;
use sys::process::{Child, Fork};

use crate::cgroup::{Cgroup, CgroupError};
use crate::devices::Devices;
use crate::failure::{During as _, failed};
use crate::init::order::{self, Plan};
use crate::init::sources;
use crate::plan::ProcessPlan;
use crate::sync::{self, Go, Parent};
use crate::{Running, Stdio, held, network};

pub(crate) fn cgroup_failed(error: &CgroupError) -> StartError {
    failed("cgroup", error.sentence())
}

/// Makes namespaces, cgroups, mounts, network; starts the process. On error nothing stays.
///
/// The caller has one thread, and becomes the parent of the process. With [`Stdio::Tty`] the process gets a terminal,
/// whose master end comes back.
///
/// # Errors
/// The step that failed, in one sentence, with the exit code that the container gets.
pub fn start(spec: &RunSpec, stdio: Stdio) -> Result<Running, StartError> {
    held::release(&spec.id);
    sources::create(&spec.mounts)?;
    let cgroup = Cgroup::of(spec).map_err(|error| cgroup_failed(&error))?;
    let plan = Plan {
        spec,
        process: ProcessPlan::new(&spec.process, false)?,
        devices: Devices::of(spec)?,
        cgroup: &cgroup,
        joins: joins(spec)?,
    };
    let started = clone_and_follow(&plan, stdio);
    if started.is_err() {
        held::release(&spec.id);
        // The start's own error is the one to tell; what stays is found again by the container's name.
        cgroup.remove().ok();
    }
    started
}

fn clone_and_follow(plan: &Plan<'_>, stdio: Stdio) -> Result<Running, StartError> {
    let make_cgroup = || {
        plan.cgroup
            .make(&plan.spec.resources, &plan.devices.rules)
            .map_err(|error| cgroup_failed(&error))
    };
    let early = matches!(plan.cgroup, Cgroup::V2(_));
    if early {
        make_cgroup()?;
    }
    let into = plan
        .cgroup
        .open_for_clone()
        .map_err(|error| cgroup_failed(&error))?;
    let (parent, child) = sync::pair()?;
    let forked = in_pid_namespace(plan.spec, || {
        sys::process::fork_with(
            new_namespaces(plan.spec),
            into.as_ref().map(|directory| directory.as_fd()),
        )
        .during("start", || {
            "cannot make a process in new namespaces".to_owned()
        })
    })?;
    let process = match forked {
        Fork::Child => {
            drop(parent);
            order::run(plan, stdio, child)
        }
        Fork::Parent(process) => process,
    };
    drop(child);
    drop(stdio);
    let follow = || {
        // While the child still waits for its first word: after the last one a short program may be over at any moment,
        // and a process that has ended has no namespaces.
        hold_mounts(&plan.spec.id, process.pid)?;
        if !early {
            make_cgroup()?;
        }
        parent.send(Go::Cgroups)?;
        let mut resolver = None;
        if network::wanted(plan.spec) {
            resolver = network::make(plan.spec, process.pid)?;
            parent.send(Go::Network)?;
        }
        Ok((start_time(process.pid)?, resolver))
    };
    let (followed, resolver) = match follow() {
        Ok((start, resolver)) => (Ok(start), resolver),
        Err(error) => (Err(error), None),
    };
    let mut running = finish(followed, &parent, process)?;
    running.resolver = resolver;
    Ok(running)
}

/// Waits for the program, after the parent's own work has gone well or not.
pub(crate) fn finish(
    work: Result<u64, StartError>,
    channel: &Parent,
    process: Child,
) -> Result<Running, StartError> {
    let pid_start = match work {
        Ok(pid_start) => pid_start,
        Err(error) => {
            end(&process);
            // When the child failed first, its error is the cause and ours only follows from it.
            return Err(match channel.finish() {
                Err(cause) if cause.step != "start" => cause,
                _ => error,
            });
        }
    };
    match channel.finish() {
        Ok(pty) => Ok(Running {
            pid: process.pid,
            pidfd: process.pidfd,
            pid_start,
            pty,
            resolver: None,
        }),
        Err(error) => {
            end(&process);
            Err(error)
        }
    }
}

/// Kills and reaps. Both can only fail when there is nothing left to do.
fn end(process: &Child) {
    sys::process::pidfd_kill(process.pidfd.as_fd(), 9).ok();
    sys::process::wait(process.pid).ok();
}

pub(crate) fn start_time(pid: i32) -> Result<u64, StartError> {
    sys::process::start_time(pid).during("start", || {
        "cannot read the start time of the new process".to_owned()
    })
}

/// See [`crate::held`].
fn hold_mounts(id: &str, pid: i32) -> Result<(), StartError> {
    let path = format!("/proc/{pid}/ns/mnt");
    let namespace = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .during("start", || "the new process is gone".to_owned())?;
    held::keep(id, namespace);
    Ok(())
}

fn new_namespaces(spec: &RunSpec) -> u64 {
    let namespaces = &spec.namespaces;
    let private = |mode: &NsMode, flag| if *mode == NsMode::Private { flag } else { 0 };
    let network = if namespaces.network == NetworkNs::Private {
        sys::process::NEW_NETWORK
    } else {
        0
    };
    sys::process::NEW_MOUNTS
        | network
        | private(&namespaces.pid, sys::process::NEW_PIDS)
        | private(&namespaces.ipc, sys::process::NEW_IPC)
        | private(&namespaces.uts, sys::process::NEW_UTS)
}

/// Opens the processes whose namespaces are shared, by their numbers out here.
fn joins(spec: &RunSpec) -> Result<Vec<(OwnedFd, Kinds)>, StartError> {
    let namespaces = &spec.namespaces;
    let network = match namespaces.network {
        NetworkNs::Join(pid) => NsMode::Join(pid),
        NetworkNs::Private | NetworkNs::Host => NsMode::Private,
    };
    let modes = [
        (&network, Kinds::NETWORK),
        (&namespaces.ipc, Kinds::INTER_PROCESS_COMMUNICATION),
        (&namespaces.uts, Kinds::HOST_NAME_AND_NIS_DOMAIN_NAME),
        (&namespaces.cgroup, Kinds::CONTROL_GROUP),
    ];
    modes
        .into_iter()
        .filter_map(|(mode, kinds)| match mode {
            NsMode::Join(pid) => Some(open_process(*pid).map(|pidfd| (pidfd, kinds))),
            NsMode::Private | NsMode::Host => None,
        })
        .collect()
}

/// A process by its number, as long as it lives.
pub(crate) fn open_process(pid: i32) -> Result<OwnedFd, StartError> {
    let what = || "cannot join namespaces of a container that is not running".to_owned();
    let pid = Pid::from_raw(pid).ok_or_else(|| failed("namespaces", what()))?;
    rustix::process::pidfd_open(pid, PidfdFlags::empty()).during("namespaces", what)
}

fn in_pid_namespace(
    spec: &RunSpec,
    fork: impl FnOnce() -> Result<Fork, StartError>,
) -> Result<Fork, StartError> {
    match spec.namespaces.pid {
        NsMode::Join(pid) => inside_pids_of(&open_process(pid)?, fork),
        NsMode::Private | NsMode::Host => fork(),
    }
}

/// Forks with the child in the pid namespace of `process`. It is a child of this process all the same.
pub(crate) fn inside_pids_of(
    process: &OwnedFd,
    fork: impl FnOnce() -> Result<Fork, StartError>,
) -> Result<Fork, StartError> {
    let what = || "cannot join the pid namespace of the container".to_owned();
    let own = rustix::fs::open(
        "/proc/self/ns/pid",
        OFlags::RDONLY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .during("namespaces", what)?;
    sys::namespace::join(process.as_fd(), Kinds::PROCESS_ID).during("namespaces", what)?;
    let forked = fork();
    if matches!(forked, Ok(Fork::Child)) {
        return forked;
    }
    // The next children are to be where they always were.
    sys::namespace::join_link(own.as_fd()).during("namespaces", what)?;
    forked
}
