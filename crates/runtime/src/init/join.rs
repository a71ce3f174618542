//! The steps of a further process of a running container.

use std::os::fd::{AsFd as _, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags};
use shim_protocol::StartError;
use shim_protocol::spec::RunSpec;

use super::cwd::Cwd;
use super::{program, terminal};
use crate::Stdio;
use crate::cgroup::Cgroup;
use crate::failure::{During as _, failed};
use crate::plan::ProcessPlan;
use crate::sync::Child;

/// Runs all steps; never comes back.
pub(crate) fn run(
    spec: &RunSpec,
    plan: &ProcessPlan<'_>,
    cgroup: &Cgroup,
    container: OwnedFd,
    privileged: bool,
    stdio: Stdio,
    channel: Child,
) -> ! {
    let inside = || -> Result<Option<OwnedFd>, StartError> {
        program::begin()?;
        cgroup
            .join()
            .map_err(|error| failed("cgroup", error.sentence()))?;
        program::tell_kernel(plan, spec.oom_score_adj, privileged)?;
        sys::namespace::join(container.as_fd(), sys::namespace::surroundings())
            .during("namespaces", || {
                "cannot join the container's namespaces".to_owned()
            })?;
        drop(container);
        if !plan.process.tty {
            return Ok(None);
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::openat(CWD, "/", flags, Mode::empty())
            .during("terminal", || "cannot open the container's root".to_owned())?;
        terminal::create(root.as_fd(), plan.process.console_size, &channel).map(Some)
    };
    let (error, channel) = match inside() {
        Ok(slave) => {
            let cwd = Cwd::Path(plan.process.cwd.clone());
            program::run(plan, stdio, slave, cwd, false, channel)
        }
        Err(error) => (error, channel),
    };
    channel.send_failure(&error);
    sys::process::exit_now(1)
}
