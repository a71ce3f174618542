//! The working directory of the program.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::Errno;
use shim_protocol::StartError;

use super::target::{self, Shape, is_directory};
use crate::failure::{During as _, failed, text};

/// Where the program begins.
#[derive(Debug)]
pub(crate) enum Cwd {
    /// Found, and made if it was missing, while the container was set up.
    Open(OwnedFd),
    /// To be found in the running container; not made.
    Path(String),
}

/// Finds the working directory of a container's first process, or makes it, root's with mode 0755.
pub(crate) fn prepare(root: BorrowedFd<'_>, path: &str) -> Result<Cwd, StartError> {
    let what = || format!("cannot make the working directory {path}");
    match target::find_or_make(root, path, Shape::Directory) {
        Ok(place) if is_directory(&place).during("cwd", what)? => Ok(Cwd::Open(place)),
        Ok(_) | Err(Errno::NOTDIR) => Err(failed(
            "cwd",
            format!("cannot mkdir: {path} is not a directory"),
        )),
        // A working directory that cannot be made because the root is read-only is a missing one.
        Err(error) => Err(error).during("cwd", what),
    }
}

/// Enters the prepared working directory, still as root: the user need not be allowed to.
pub(crate) fn enter_open(place: &OwnedFd) -> Result<(), StartError> {
    rustix::process::fchdir(place).during("cwd", || "cannot enter the working directory".to_owned())
}

/// Enters a working directory of a running container, still as root.
pub(crate) fn enter_path(path: &str) -> Result<(), StartError> {
    rustix::process::chdir(path).map_err(|error| {
        let code = if error == Errno::NOENT { 127 } else { 126 };
        let message = format!("chdir to cwd ({path:?}) failed: {}", text(&error.into()));
        StartError {
            code,
            ..failed("cwd", message)
        }
    })
}
