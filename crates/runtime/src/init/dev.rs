//! The container's /dev: the nodes and links that programs count on, and the devices that were asked for.

use std::os::fd::{AsFd as _, BorrowedFd};

use rustix::fs::{AtFlags, FileType, Gid, Mode, Uid};
use rustix::io::Errno;
use shim_protocol::StartError;
use sys::device_filter::Kind;

use super::attach;
use super::target::{self, Shape};
use super::tmpfs::{self, Options};
use crate::devices::Node;
use crate::failure::During as _;

/// Minor numbers below major 1, but for tty's.
const NODES: [(&str, u32, u32); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

const LINKS: [(&str, &str); 5] = [
    ("pts/ptmx", "ptmx"),
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
];

/// Makes a file system with the usual nodes and links; detached, writable.
pub(crate) fn create(target: &str) -> Result<std::os::fd::OwnedFd, StartError> {
    let options = ["nosuid", "strictatime", "mode=755", "size=65536k"].map(str::to_owned);
    let dev = tmpfs::create(target, &Options::parse(&options)?)?;
    // Nodes get exactly these modes.
    let umask = rustix::process::umask(Mode::empty());
    let made = populate(dev.as_fd());
    rustix::process::umask(umask);
    made.map(|()| dev)
}

fn populate(dev: BorrowedFd<'_>) -> Result<(), StartError> {
    for (name, major, minor) in NODES {
        let number = rustix::fs::makedev(major, minor);
        match rustix::fs::mknodat(
            dev,
            name,
            FileType::CharacterDevice,
            Mode::from(0o666),
            number,
        ) {
            Ok(()) => {}
            Err(Errno::PERM) => bind(dev, name, &format!("/dev/{name}"))?,
            Err(error) => return Err(error).during("dev", || format!("cannot make /dev/{name}")),
        }
    }
    for (to, name) in LINKS {
        rustix::fs::symlinkat(to, dev, name)
            .during("dev", || format!("cannot make /dev/{name}"))?;
    }
    Ok(())
}

/// Puts the host's node in place where new ones cannot be made.
fn bind(dev: BorrowedFd<'_>, name: &str, source: &str) -> Result<(), StartError> {
    use rustix::fs::OFlags;
    let what = || format!("cannot make /dev/{name}");
    let new = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::WRONLY;
    match rustix::fs::openat(dev, name, new, Mode::from(0o666)) {
        Ok(_) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error).during("dev", what),
    }
    let path = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let place = rustix::fs::openat(dev, name, path, Mode::empty()).during("dev", what)?;
    let node = rustix::fs::open(source, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .during("dev", what)?;
    let tree = attach::copy(node.as_fd(), false).during("dev", what)?;
    attach::attach(tree.as_fd(), place.as_fd()).during("dev", what)
}

/// Makes the devices that were asked for. What is in the way (an image's file, a default node) is replaced.
pub(crate) fn add(root: BorrowedFd<'_>, nodes: &[Node]) -> Result<(), StartError> {
    if nodes.is_empty() {
        return Ok(());
    }
    let umask = rustix::process::umask(Mode::empty());
    let made = nodes.iter().try_for_each(|node| add_one(root, node));
    rustix::process::umask(umask);
    made
}

fn add_one(root: BorrowedFd<'_>, node: &Node) -> Result<(), StartError> {
    let what = || format!("cannot make device {}", node.target);
    let (parent, name) = node.target.rsplit_once('/').unwrap_or(("/", &node.target));
    rustix::process::umask(Mode::from(0o022));
    let parent = target::find_or_make(root, parent, Shape::Directory).during("devices", what)?;
    rustix::process::umask(Mode::empty());
    let (kind, number) = (
        match node.kind {
            Kind::Block => FileType::BlockDevice,
            Kind::Character => FileType::CharacterDevice,
        },
        rustix::fs::makedev(node.major, node.minor),
    );
    let make = || rustix::fs::mknodat(&parent, name, kind, node.mode, number);
    let made = match make() {
        Err(Errno::EXIST) => {
            if let Ok(there) = rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW)
                && FileType::from_raw_mode(there.st_mode) == kind
                && there.st_rdev == number
            {
                return Ok(());
            }
            rustix::fs::unlinkat(&parent, name, AtFlags::empty()).during("devices", what)?;
            make()
        }
        other => other,
    };
    match made {
        Ok(()) => {}
        Err(Errno::PERM) => return bind(parent.as_fd(), name, &node.source.to_string_lossy()),
        Err(error) => return Err(error).during("devices", what),
    }
    let (uid, gid) = (Uid::from_raw(node.uid), Gid::from_raw(node.gid));
    rustix::fs::chownat(
        &parent,
        name,
        Some(uid),
        Some(gid),
        AtFlags::SYMLINK_NOFOLLOW,
    )
    .during("devices", what)
}
