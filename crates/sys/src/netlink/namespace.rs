//! Working inside another network namespace for the length of one function, and namespaces without a process.
//!
//! `setns` moves only the calling thread. If the way back fails, the process ends: going on in a stranger's namespace
//! would be worse.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

use super::link::set_up;
use super::socket::NetlinkSocket;

/// The kernel gives the loopback device this index in every namespace.
const LOOPBACK_INDEX: u32 = 1;

fn own_namespace() -> io::Result<File> {
    File::open("/proc/thread-self/ns/net")
}

fn enter(namespace: BorrowedFd<'_>) -> io::Result<()> {
    Ok(move_into_link_name_space(
        namespace,
        Some(LinkNameSpaceType::Network),
    )?)
}

/// Runs `work` with the calling thread in `netns`, and brings the thread back.
///
/// Sockets that `work` opens and returns stay in `netns`.
pub fn in_namespace<T>(netns: BorrowedFd<'_>, work: impl FnOnce() -> T) -> io::Result<T> {
    let own = own_namespace()?;
    enter(netns)?;
    let back = Return { own };
    let result = work();
    drop(back);
    Ok(result)
}

/// A new network namespace with nothing but a loopback device that is down. It lives as long as the descriptor, a
/// mount of it, or a process in it.
pub fn new_namespace() -> io::Result<OwnedFd> {
    let own = own_namespace()?;
    // SAFETY: CLONE_NEWNET alone changes nothing that Rust code relies on; no file table is unshared.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET)? };
    let back = Return { own };
    let made = own_namespace();
    drop(back);
    made.map(OwnedFd::from)
}

/// Takes the thread back, also when the work panics.
struct Return {
    own: File,
}

impl Drop for Return {
    fn drop(&mut self) {
        if let Err(error) = enter(self.own.as_fd()) {
            tracing::error!(%error, "cannot return to the own network namespace");
            std::process::abort();
        }
    }
}

/// Brings up the loopback device of `netns`.
pub fn loopback_up(netns: BorrowedFd<'_>) -> io::Result<()> {
    in_namespace(netns, loopback_up_here)?
}

/// Brings up the loopback device of the namespace that the calling thread is in.
pub fn loopback_up_here() -> io::Result<()> {
    let mut socket = NetlinkSocket::route()?;
    socket
        .transact(&mut [set_up(LOOPBACK_INDEX)])
        .map_err(|refusal| refusal.during("bring up lo"))
}
