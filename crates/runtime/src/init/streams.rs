//! Standard input, output and error of the program.

use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Uid};
use rustix::io::Errno;
use shim_protocol::StartError;

use super::user::User;
use crate::Stdio;
use crate::failure::During as _;

/// Puts the streams at descriptors 0 to 2 and gives them to `user`, so that the program can open /dev/stdout.
pub(crate) fn install(
    stdio: Stdio,
    terminal: Option<OwnedFd>,
    user: &User,
) -> Result<(), StartError> {
    let what = || "cannot set up the standard streams".to_owned();
    let is_terminal = terminal.is_some();
    let streams = match (stdio, terminal) {
        (_, Some(slave)) => {
            let second = rustix::io::fcntl_dupfd_cloexec(&slave, 3).during("streams", what)?;
            let third = rustix::io::fcntl_dupfd_cloexec(&slave, 3).during("streams", what)?;
            [slave, second, third]
        }
        (
            Stdio::Pipes {
                stdin,
                stdout,
                stderr,
            },
            None,
        ) => [stdin, stdout, stderr],
        (Stdio::Tty, None) => return Ok(()),
    };
    // One that is at 0, 1 or 2 already must not be overwritten before it is moved.
    let away = |stream: OwnedFd| {
        if stream.as_raw_fd() > 2 {
            Ok(stream)
        } else {
            rustix::io::fcntl_dupfd_cloexec(&stream, 3)
        }
    };
    let [stdin, stdout, stderr] = streams;
    let stdin = away(stdin).during("streams", what)?;
    let stdout = away(stdout).during("streams", what)?;
    let stderr = away(stderr).during("streams", what)?;
    rustix::stdio::dup2_stdin(&stdin).during("streams", what)?;
    rustix::stdio::dup2_stdout(&stdout).during("streams", what)?;
    rustix::stdio::dup2_stderr(&stderr).during("streams", what)?;
    if user.uid != 0 {
        for stream in [
            rustix::stdio::stdin(),
            rustix::stdio::stdout(),
            rustix::stdio::stderr(),
        ] {
            own(stream, user, is_terminal).during("streams", what)?;
        }
    }
    if is_terminal {
        sys::pty::take_control(rustix::stdio::stdin()).during("terminal", || {
            "cannot take control of the terminal".to_owned()
        })?;
    }
    Ok(())
}

/// Only what was made for this container: never a device of the host such as /dev/null.
fn own(stream: BorrowedFd<'_>, user: &User, terminal: bool) -> rustix::io::Result<()> {
    let stat = rustix::fs::fstat(stream)?;
    let ours = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Fifo | FileType::Socket => true,
        FileType::CharacterDevice => terminal,
        _ => false,
    };
    if !ours || stat.st_uid == user.uid {
        return Ok(());
    }
    match rustix::fs::fchown(stream, Some(Uid::from_raw(user.uid)), None) {
        // Some kinds of streams cannot change hands; the program can still use the descriptor.
        Ok(()) | Err(Errno::PERM | Errno::INVAL | Errno::ROFS) => Ok(()),
        Err(error) => Err(error),
    }
}
