//! Ending the processes of a group and taking its directory away.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags};
use rustix::time::Timespec;

use super::{CgroupError, read};

pub(super) const SIGKILL: i32 = 9;

/// How long killed processes may take to be gone: only ones that hang in the kernel take more than a moment.
const PATIENCE: Duration = Duration::from_secs(10);

/// Process ids in the groups and the groups below them.
pub(super) fn processes(groups: &[PathBuf]) -> Result<BTreeSet<i32>, CgroupError> {
    let mut pids = BTreeSet::new();
    for group in groups {
        pids.extend(processes_of(group)?);
    }
    Ok(pids)
}

fn processes_of(path: &Path) -> Result<Vec<i32>, CgroupError> {
    let mut pids: Vec<i32> = match read(&path.join("cgroup.procs")) {
        Ok(text) => text.lines().filter_map(|line| line.parse().ok()).collect(),
        Err(CgroupError::Read { source, .. }) if gone(&source) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    for below in directories(path)? {
        pids.extend(processes_of(&below)?);
    }
    // Zero stands for a process of another pid namespace, which has no name here.
    pids.retain(|pid| *pid > 0);
    Ok(pids)
}

fn gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
        || error.raw_os_error() == Some(Errno::NODEV.raw_os_error())
}

fn directories(path: &Path) -> Result<Vec<PathBuf>, CgroupError> {
    let error = |source| CgroupError::Read {
        path: path.to_owned(),
        source,
    };
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(source) if gone(&source) => return Ok(Vec::new()),
        Err(source) => return Err(error(source)),
    };
    let mut below = Vec::new();
    for entry in entries {
        let entry = entry.map_err(error)?;
        if entry.file_type().map_err(error)?.is_dir() {
            below.push(entry.path());
        }
    }
    Ok(below)
}

/// Sends `signal` to every process of the groups once; with SIGKILL until no new ones appear.
pub(super) fn signal(groups: &[PathBuf], signal: i32) -> Result<(), CgroupError> {
    let mut done = BTreeSet::new();
    loop {
        let fresh: Vec<i32> = processes(groups)?.difference(&done).copied().collect();
        if fresh.is_empty() {
            return Ok(());
        }
        for pid in fresh {
            match sys::process::kill(pid, signal) {
                Ok(()) => {}
                Err(error) if error.raw_os_error() == Some(Errno::SRCH.raw_os_error()) => {}
                Err(source) => return Err(CgroupError::Kill { pid, source }),
            }
            done.insert(pid);
        }
        if signal != SIGKILL {
            return Ok(());
        }
    }
}

/// Waits until the killed processes of the groups have left them.
pub(super) fn wait_until_empty(groups: &[PathBuf]) -> Result<(), CgroupError> {
    let end = Instant::now() + PATIENCE;
    loop {
        let left = processes(groups)?;
        let Some(pid) = left.first().copied().and_then(Pid::from_raw) else {
            return Ok(());
        };
        if Instant::now() >= end {
            let path = groups.first().cloned().unwrap_or_default();
            return Err(CgroupError::InUse { path });
        }
        if let Ok(pidfd) = rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
            let patience = Timespec {
                tv_sec: 0,
                tv_nsec: 50_000_000,
            };
            let mut wait = [PollFd::from_borrowed_fd(pidfd.as_fd(), PollFlags::IN)];
            // An interrupted or timed out wait is looked at again above.
            rustix::event::poll(&mut wait, Some(&patience)).ok();
        }
    }
}

/// Removes the group and those that the container has made below it.
pub(super) fn remove(path: &Path) -> Result<(), CgroupError> {
    let end = Instant::now() + PATIENCE;
    loop {
        match rustix::fs::rmdir(path) {
            Ok(()) | Err(Errno::NOENT | Errno::NODEV) => return Ok(()),
            Err(Errno::BUSY | Errno::NOTEMPTY) if Instant::now() < end => {
                for below in directories(path)? {
                    remove(&below)?;
                }
                // A process that is reaped may hold its group for some microseconds longer.
                pause(Duration::from_micros(500));
            }
            Err(Errno::BUSY | Errno::NOTEMPTY) => {
                return Err(CgroupError::InUse {
                    path: path.to_owned(),
                });
            }
            Err(error) => {
                return Err(CgroupError::Make {
                    path: path.to_owned(),
                    source: error.into(),
                });
            }
        }
    }
}

pub(super) fn pause(time: Duration) {
    let time = Timespec {
        tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(time.subsec_nanos()),
    };
    // Ending early is fine: every caller looks again.
    rustix::event::poll(&mut [], Some(&time)).ok();
}
