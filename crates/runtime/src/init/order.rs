//! The steps of a container's first process, in their order.
//!
//!  1. Be a process of its own: signals, session, umask, death with the parent.
//!  2. Join the namespaces of other containers that it shares.
//!  3. Copy the host mounts that are to appear inside, while still a peer of the host's mount namespace.
//!  4. Stop sending mounts to the host.
//!  5. Mount images and the root.
//!  6. Mount everything else, in the given order. Before /sys/fs/cgroup: wait for the cgroups, join them, and make the
//!     cgroup namespace.
//!  7. Make devices and the working directory.
//!  8. Wait for the network; set host name and sysctls.
//!  9. Make the terminal.
//! 10. Hide and protect paths; make read-only what is to be.
//! 11. Tell the kernel what is told through the host's /proc.
//! 12. Leave the host's file tree; set the root's propagation.
//! 13. Look up the user, take the streams, close all else, give up power, execute ([`super::program`]).

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::fs::CWD;
use rustix::mount::{MountPropagationFlags, mount_change};
use shim_protocol::StartError;
use shim_protocol::spec::{MountKind, NetworkNs, NsMode, Propagation, RunSpec};
use sys::namespace::Kinds;

use super::cwd::Cwd;
use super::sources::Tree;
use super::{
    attach, cgroup_view, cwd, dev, idmap, masks, mounts, pivot, program, root, sources, terminal,
};
use crate::Stdio;
use crate::cgroup::Cgroup;
use crate::devices::Devices;
use crate::failure::{During as _, failed};
use crate::network;
use crate::plan::ProcessPlan;
use crate::sync::{Child, Go};

/// All that the parent has decided or opened.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    pub(crate) spec: &'a RunSpec,
    pub(crate) process: ProcessPlan<'a>,
    pub(crate) devices: Devices,
    pub(crate) cgroup: &'a Cgroup,
    /// Processes whose namespaces are shared.
    pub(crate) joins: Vec<(OwnedFd, Kinds)>,
}

/// Runs all steps; never comes back.
pub(crate) fn run(plan: &Plan<'_>, stdio: Stdio, channel: Child) -> ! {
    let (error, channel) = match inside(plan, &channel) {
        Ok((terminal, cwd)) => {
            program::run(&plan.process, stdio, terminal, cwd, plan.spec.init, channel)
        }
        Err(error) => (error, channel),
    };
    channel.send_failure(&error);
    sys::process::exit_now(1)
}

/// Steps 1 to 12.
fn inside(plan: &Plan<'_>, channel: &Child) -> Result<(Option<OwnedFd>, Cwd), StartError> {
    let spec = plan.spec;
    program::begin()?;
    for (process, kinds) in &plan.joins {
        sys::namespace::join(process.as_fd(), *kinds).during("namespaces", || {
            "cannot join the namespace of another container".to_owned()
        })?;
    }
    if spec.namespaces.network == NetworkNs::Private {
        sys::netlink::loopback_up_here().during("network", || {
            "cannot switch the loopback interface on".to_owned()
        })?;
    }

    let mut trees = sources::open(&spec.mounts)?;
    share_memory(plan, &mut trees)?;
    stop_sending_mounts()?;
    sources::enter_layers(&spec.root.layers_dir)?;
    root::mount_images(&spec.root.layers_dir, &spec.mounts, &mut trees)?;
    let top = root::mount(&spec.root)?;
    let top = top.as_fd();

    let mut gate = Gate {
        plan,
        channel,
        passed: false,
    };
    let mut later = Vec::new();
    for (mount, tree) in spec.mounts.iter().zip(trees) {
        idmap::apply(top, mount, tree.as_ref(), &spec.process.user)?;
        let view = |place: BorrowedFd<'_>| {
            gate.pass()?;
            cgroup_view::mount(mount, place, plan.cgroup)
        };
        later.extend(mounts::mount(top, mount, tree, view)?);
    }
    dev::add(top, &plan.devices.nodes)?;
    let cwd = cwd::prepare(top, &spec.process.cwd)?;

    gate.pass()?;
    if network::wanted(spec) {
        channel.wait(Go::Network)?;
    }
    name_host(spec)?;
    set_sysctls(spec)?;

    let slave = if spec.process.tty {
        let slave = terminal::create(top, spec.process.console_size, channel)?;
        terminal::show_as_console(top, slave.as_fd())?;
        Some(slave)
    } else {
        None
    };

    // Protected before hidden: a hidden path may lie below a protected one.
    masks::protect(top, &spec.readonly_paths)?;
    masks::hide(top, &spec.masked_paths)?;
    for mount in &later {
        attach::make_read_only(mount.as_fd(), false)
            .during("mount", || "cannot make a tmpfs read-only".to_owned())?;
    }
    finish_root(spec, top)?;

    program::tell_kernel(&plan.process, spec.oom_score_adj, spec.privileged)?;
    pivot::pivot(top)?;
    // The kernel takes no shared mount as a new root, so it becomes one afterwards.
    share_root(spec, top)?;
    Ok((slave, cwd))
}

/// Who joins an IPC namespace shares the other's memory files too, instead of getting new ones.
fn share_memory(plan: &Plan<'_>, trees: &mut [Option<Tree>]) -> Result<(), StartError> {
    let Some((process, _)) = plan
        .joins
        .iter()
        .find(|(_, kinds)| *kinds == Kinds::INTER_PROCESS_COMMUNICATION)
    else {
        return Ok(());
    };
    for (mount, slot) in plan.spec.mounts.iter().zip(trees) {
        if mount.target == sources::SHARED_MEMORY && matches!(mount.kind, MountKind::Tmpfs { .. }) {
            *slot = Some(sources::shared_memory(process.as_fd())?);
        }
    }
    Ok(())
}

/// What happens in this mount namespace from now on stays in it; what the host unmounts still goes away here.
pub(crate) fn stop_sending_mounts() -> Result<(), StartError> {
    mount_change(
        "/",
        MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC,
    )
    .during("mount", || {
        "cannot separate the mounts from the host's".to_owned()
    })
}

/// Read-only state of the root mount.
pub(crate) fn finish_root(spec: &RunSpec, top: BorrowedFd<'_>) -> Result<(), StartError> {
    if spec.root.readonly {
        attach::make_read_only(top, false).during("root", || {
            "cannot make the container's root read-only".to_owned()
        })?;
    }
    Ok(())
}

/// Propagation of the root mount alone: each other mount has its own already.
fn share_root(spec: &RunSpec, top: BorrowedFd<'_>) -> Result<(), StartError> {
    let kind = match spec.root.propagation {
        // An overlay is born private.
        Propagation::Private | Propagation::Rprivate => return Ok(()),
        Propagation::Slave | Propagation::Rslave => sys::mount::Propagation::Slave,
        Propagation::Shared | Propagation::Rshared => sys::mount::Propagation::Shared,
    };
    attach::set_propagation(top, false, kind).during("root", || {
        "cannot set the propagation of the container's root".to_owned()
    })
}

/// Where the child waits for its cgroups: at the latest when it needs them.
struct Gate<'a> {
    plan: &'a Plan<'a>,
    channel: &'a Child,
    passed: bool,
}

impl Gate<'_> {
    fn pass(&mut self) -> Result<(), StartError> {
        if self.passed {
            return Ok(());
        }
        self.passed = true;
        self.channel.wait(Go::Cgroups)?;
        self.plan
            .cgroup
            .join()
            .map_err(|error| failed("cgroup", error.sentence()))?;
        // After joining: the namespace's root is where its maker is.
        if self.plan.spec.namespaces.cgroup == NsMode::Private {
            sys::namespace::new_cgroup()
                .during("namespaces", || "cannot make a cgroup namespace".to_owned())?;
        }
        Ok(())
    }
}

fn name_host(spec: &RunSpec) -> Result<(), StartError> {
    if spec.namespaces.uts != NsMode::Private {
        return Ok(());
    }
    if !spec.hostname.is_empty() {
        rustix::system::sethostname(spec.hostname.as_bytes()).during("hostname", || {
            format!("cannot set the host name to {:?}", spec.hostname)
        })?;
    }
    if !spec.domainname.is_empty() {
        rustix::system::setdomainname(spec.domainname.as_bytes()).during("hostname", || {
            format!("cannot set the domain name to {:?}", spec.domainname)
        })?;
    }
    Ok(())
}

/// Through the host's /proc/sys, which shows each process its own namespaces' settings.
fn set_sysctls(spec: &RunSpec) -> Result<(), StartError> {
    use rustix::fs::{Mode, OFlags};
    for (name, value) in &spec.sysctls {
        let what = || format!("cannot set sysctl {name}={value}");
        // Names with a slash have it where others have a dot, so that interface names may hold dots.
        let file = if name.contains('/') {
            name.clone()
        } else {
            name.replace('.', "/")
        };
        if file.split('/').any(|part| part == "..") {
            return Err(failed("sysctl", format!("invalid sysctl name {name}")));
        }
        let path = format!("/proc/sys/{file}");
        let file = rustix::fs::openat(CWD, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
            .during("sysctl", what)?;
        rustix::io::write(&file, value.as_bytes()).during("sysctl", what)?;
    }
    Ok(())
}
