//! The container's terminal: a pair of its own devpts, whose other end the caller gets.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::fs::OFlags;
use shim_protocol::StartError;

use super::attach;
use super::target::{self, Shape};
use crate::failure::During as _;
use crate::sync::Child;

/// Makes a terminal in the tree at `root`, hands the master over, and gives the end for the program.
pub(crate) fn create(
    root: BorrowedFd<'_>,
    size: Option<(u16, u16)>,
    channel: &Child,
) -> Result<OwnedFd, StartError> {
    let what = || "cannot make a terminal".to_owned();
    let flags = OFlags::RDWR | OFlags::NOCTTY;
    let master = target::open_in(root, "/dev/pts/ptmx", flags).during("terminal", what)?;
    let slave = sys::pty::peer(master.as_fd()).during("terminal", what)?;
    if let Some((rows, columns)) = size {
        sys::pty::resize(&master, rows, columns).during("terminal", what)?;
    }
    channel.send_terminal(master.as_fd())?;
    Ok(slave)
}

/// Shows the terminal as /dev/console.
pub(crate) fn show_as_console(
    root: BorrowedFd<'_>,
    slave: BorrowedFd<'_>,
) -> Result<(), StartError> {
    let what = || "cannot mount the terminal on /dev/console".to_owned();
    let place = target::find_or_make(root, "/dev/console", Shape::File).during("terminal", what)?;
    let tree = attach::copy(slave, false).during("terminal", what)?;
    attach::attach(tree.as_fd(), place.as_fd()).during("terminal", what)
}
