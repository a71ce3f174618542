//! Mounts added to a running container, and taken out of it.
//!
//! The work is done by a child that is thrown away ([`crate::init::graft`]): who has joined another mount namespace does
//! not come back.

use std::os::fd::{AsFd as _, BorrowedFd};

use shim_protocol::StartError;
use shim_protocol::spec::Mount;

use crate::failure::{During as _, failed};
use crate::init::graft::{self, Container};
use crate::init::sources;
use crate::start::open_process;
use crate::sync;

/// Mounts `mount` in the container whose first process is `pid`; `user` is the container's, as its specification has it.
///
/// The caller has one thread.
///
/// # Errors
/// The step that failed, in one sentence; then nothing is mounted. Directories made on the way stay.
pub fn add_mount(pid: i32, user: &str, mount: &Mount) -> Result<(), StartError> {
    sources::create(std::slice::from_ref(mount))?;
    in_helper(pid, user, |container| graft::add(container, mount))
}

/// Takes out what is mounted at `target`, a clean absolute path, with the mounts below it that came with it. `lazy` takes out what is
/// in use as well, and all below it.
///
/// # Errors
/// When nothing is mounted there, it is in use, or a process of the container has mounted something below it; then everything
/// stays.
pub fn take_mount(pid: i32, target: &str, lazy: bool) -> Result<(), StartError> {
    in_helper(pid, "", |container| graft::take(container, target, lazy))
}

fn in_helper(
    pid: i32,
    user: &str,
    work: impl FnOnce(&Container<'_>) -> Result<(), StartError>,
) -> Result<(), StartError> {
    let process = open_process(pid)?;
    let (parent, child) = sync::pair()?;
    let helper = {
        let keep: [BorrowedFd<'_>; 2] = [child.as_fd(), process.as_fd()];
        sys::fork::in_child(&keep, || {
            let container = Container {
                pid,
                pidfd: process.as_fd(),
                user,
            };
            let told = work(&container).and_then(|()| child.send_ready());
            if let Err(error) = &told {
                child.send_failure(error);
            }
            i32::from(told.is_err())
        })
        .during("mount", || "cannot make a helper process".to_owned())?
    };
    drop(child);
    let answered = parent.finish().map(drop);
    let ended = sys::process::wait(helper);
    match answered {
        Err(error) if error.step == "start" => Err(failed(
            "mount",
            "the helper process ended before it was done",
        )),
        Err(error) => Err(error),
        Ok(()) => ended
            .map(drop)
            .during("mount", || "cannot wait for the helper process".to_owned()),
    }
}
