//! Leaving the host's file tree for good.

use std::os::fd::BorrowedFd;

use rustix::mount::UnmountFlags;
use shim_protocol::StartError;

use crate::failure::During as _;

/// Makes `root` (the root of a mount) the `/` of this process and takes the host's tree away.
///
/// 1. pivot_root with the new root as the place for the old one too: the old one comes to lie on top of it, so that no
///    directory is needed for it.
/// 2. The old one, now the topmost mount at `.`, is detached with all below it.
pub(crate) fn pivot(root: BorrowedFd<'_>) -> Result<(), StartError> {
    let what = || "cannot enter the container's root".to_owned();
    rustix::process::fchdir(root).during("root", what)?;
    rustix::process::pivot_root(".", ".").during("root", what)?;
    rustix::mount::unmount(".", UnmountFlags::DETACH).during("root", what)?;
    rustix::process::chdir("/").during("root", what)
}
