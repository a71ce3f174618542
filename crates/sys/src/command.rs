//! Other programs: run to their end with captured output, or started with one descriptor to talk over.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Descriptor on which a program started by [`spawn_with_control`] finds its control socket.
pub const CONTROL_FD: i32 = 3;

/// Runs `program` with a clean environment (only PATH) and no input; its output is captured.
#[expect(
    clippy::disallowed_methods,
    reason = "the place where programs are started"
)]
pub fn run(program: &str, arguments: &[&str]) -> io::Result<Output> {
    Command::new(program)
        .args(arguments)
        .env_clear()
        .env(
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        )
        .stdin(Stdio::null())
        .output()
}

/// Starts `program`, as `orlop` among the processes, with `control` as descriptor 3, /dev/null as standard streams and our environment; returns its pid.
///
/// posix_spawn shares our memory until the exec, so the cost does not grow with the caller's heap; a fork's would. The
/// caller reaps the child.
pub fn spawn_with_control(
    program: &Path,
    arguments: &[&str],
    control: BorrowedFd<'_>,
) -> io::Result<i32> {
    let nul_free =
        |text: &[u8]| CString::new(text).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput));
    let program = nul_free(program.as_os_str().as_bytes())?;
    // Not its path, which may be a descriptor's.
    let mut words = vec![c"orlop".to_owned()];
    for argument in arguments {
        words.push(nul_free(argument.as_bytes())?);
    }
    let mut argv: Vec<*mut libc::c_char> =
        words.iter().map(|word| word.as_ptr().cast_mut()).collect();
    argv.push(std::ptr::null_mut());
    let mut actions = Actions::new()?;
    for stream in 0..3 {
        actions.open_null(stream)?;
    }
    actions.duplicate(control.as_raw_fd(), CONTROL_FD)?;
    let mut pid = 0;
    // SAFETY: the list is only read, here and by the spawn; nothing in this program changes the environment.
    let environment = unsafe { libc::environ };
    // SAFETY: program and argv are NUL-terminated and outlive the call, as does the environment; the attributes may be
    // null; pid is written before the return.
    let error = unsafe {
        libc::posix_spawn(
            &raw mut pid,
            program.as_ptr(),
            &raw const actions.0,
            std::ptr::null(),
            argv.as_ptr(),
            environment.cast_const(),
        )
    };
    if error != 0 {
        return Err(io::Error::from_raw_os_error(error));
    }
    Ok(pid)
}

struct Actions(libc::posix_spawn_file_actions_t);

impl Actions {
    fn new() -> io::Result<Self> {
        let mut actions = std::mem::MaybeUninit::uninit();
        // SAFETY: the call initialises the memory it is given.
        check(unsafe { libc::posix_spawn_file_actions_init(actions.as_mut_ptr()) })?;
        // SAFETY: initialised by the successful call above.
        Ok(Self(unsafe { actions.assume_init() }))
    }

    fn open_null(&mut self, target: i32) -> io::Result<()> {
        // SAFETY: the actions are initialised and the path is a literal.
        check(unsafe {
            libc::posix_spawn_file_actions_addopen(
                &raw mut self.0,
                target,
                c"/dev/null".as_ptr(),
                libc::O_RDWR,
                0,
            )
        })
    }

    fn duplicate(&mut self, from: i32, to: i32) -> io::Result<()> {
        // SAFETY: the actions are initialised. With from == to the flag close-on-exec is cleared, as POSIX asks.
        check(unsafe { libc::posix_spawn_file_actions_adddup2(&raw mut self.0, from, to) })
    }
}

impl Drop for Actions {
    fn drop(&mut self) {
        // SAFETY: initialised in new and destroyed once.
        unsafe { libc::posix_spawn_file_actions_destroy(&raw mut self.0) };
    }
}

fn check(error: i32) -> io::Result<()> {
    if error == 0 {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(error))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::fd::AsFd as _;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn the_child_finds_its_socket_as_descriptor_three() {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let pid = spawn_with_control(
            Path::new("/bin/sh"),
            &["-c", "echo hello >&3"],
            theirs.as_fd(),
        )
        .unwrap();
        drop(theirs);
        let mut text = String::new();
        ours.read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello\n");
        crate::process::wait(pid).unwrap();
    }

    #[test]
    fn output_is_captured() {
        assert_eq!(run("echo", &["x"]).unwrap().stdout, b"x\n");
    }
}
