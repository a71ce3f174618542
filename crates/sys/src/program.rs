//! A program that those who are started from it cannot change.
//!
//! What runs in a container begins as a copy of a process of ours, and may keep a handle on `/proc/self/exe`: with the
//! rights of the host's root it could write another program through it (CVE-2019-5736). Here that is a file on a
//! read-only mount that nothing else uses, so the kernel refuses.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::mount::OpenTreeFlags;

use crate::mount;

/// An open program. It stays what it is, also when another file takes its path.
#[derive(Debug)]
pub struct Program {
    path: PathBuf,
    /// The only hold on the mount.
    _mount: OwnedFd,
}

impl Program {
    /// # Errors
    /// No such file, or `PermissionDenied` without CAP_SYS_ADMIN.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mount = rustix::mount::open_tree(
            rustix::fs::CWD,
            path,
            OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC,
        )?;
        mount::set_attributes(mount.as_fd(), false, mount::READ_ONLY, None)?;
        Ok(Self {
            path: PathBuf::from(format!("/proc/self/fd/{}", mount.as_raw_fd())),
            _mount: mount,
        })
    }

    /// By which a child of this process executes it.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use rustix::fs::{Mode, OFlags};
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn who_runs_it_cannot_write_it() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: mounts need root");
            return;
        }
        let path = std::env::temp_dir().join(format!("orlop-program-{}", std::process::id()));
        std::fs::copy("/bin/sleep", &path).expect("a program to copy");
        let (ours, theirs) = crate::socket::pair().expect("a pair");
        let program = Program::open(&path).expect("opened");
        let pid = crate::command::spawn_with_control(program.path(), &["100"], theirs.as_fd())
            .expect("it starts");
        drop((program, ours));
        let exe = format!("/proc/{pid}/exe");
        let held = rustix::fs::open(&exe, OFlags::PATH, Mode::empty()).expect("its program");
        rustix::process::kill_process(
            rustix::process::Pid::from_raw(pid).expect("a pid"),
            rustix::process::Signal::KILL,
        )
        .expect("it ends");
        crate::process::wait(pid).expect("it has ended");
        // Nobody runs it now, so that only the mount is left to refuse.
        let again = format!("/proc/self/fd/{}", held.as_raw_fd());
        let refused = rustix::fs::open(&again, OFlags::WRONLY, Mode::empty());
        assert_eq!(refused.err(), Some(Errno::ROFS));
        std::fs::write(&path, "another").expect("its owner may");
        std::fs::remove_file(&path).expect("it was there");
    }
}
