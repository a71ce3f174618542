//! What a helper process does to change the mounts of a container that runs.
//!
//! To add one:
//!  1. copy what is to appear, as the host has it, and map its owners;
//!  2. join the container's mount namespace;
//!  3. put it in its place, as a start would. What is left of a failure is taken away again.
//!
//! To take one out:
//!  1. join;
//!  2. find the mount at the target, by its number, and where it is, by the kernel's own table: the path that was named may
//!     lead through links that the container has changed since;
//!  3. unmount it in the directory that holds it; before it the mounts below it that came with it, the innermost first. Who is in use
//!     keeps all of them: what was unmounted already is mounted again.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, StatxAttributes, StatxFlags};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;
use shim_protocol::StartError;
use shim_protocol::spec::Mount;
use sys::namespace::Kinds;

use super::{attach, idmap, mounts, sources, submounts, target};
use crate::failure::{During as _, failed};

/// A container that runs.
#[derive(Debug)]
pub(crate) struct Container<'a> {
    pub(crate) pid: i32,
    pub(crate) pidfd: BorrowedFd<'a>,
    /// In the form of the specification.
    pub(crate) user: &'a str,
}

/// Adds a mount. This process is thrown away afterwards.
pub(crate) fn add(container: &Container<'_>, mount: &Mount) -> Result<(), StartError> {
    let mut trees = sources::open(std::slice::from_ref(mount))?;
    let tree = trees.pop().flatten();
    let outside = open(&format!("/proc/{}/root", container.pid))?;
    idmap::apply(outside.as_fd(), mount, tree.as_ref(), container.user)?;
    drop(outside);
    let copy = tree
        .as_ref()
        .map(|tree| tree.mount.try_clone())
        .transpose()
        .during("mount", || "cannot keep the mount".to_owned())?;
    let table = table(container)?;
    join(container)?;
    let root = open("/")?;
    let no_cgroups =
        |_: BorrowedFd<'_>| Err(failed("mount", "control groups are mounted at the start"));
    let added = mounts::mount(root.as_fd(), mount, tree, no_cgroups).and_then(|later| {
        later.map_or(Ok(()), |later| {
            attach::make_read_only(later.as_fd(), false)
                .during("mount", || "cannot make a tmpfs read-only".to_owned())
        })
    });
    if added.is_err()
        && let Some(copy) = copy
        && let Some(number) = number(copy.as_fd())
    {
        drop(copy);
        // The error to tell is the first one; a mount that was never attached is in no table.
        if let Some(place) = place_of(&read(table)?, &number) {
            unmount(root.as_fd(), &place, UnmountFlags::DETACH).ok();
        }
    }
    added
}

/// Takes out the mount at `path`.
pub(crate) fn take(container: &Container<'_>, path: &str, lazy: bool) -> Result<(), StartError> {
    let table = table(container)?;
    let outside = table_of("self")?;
    join(container)?;
    let root = open("/")?;
    let nothing = || failed("mount", format!("nothing is mounted at {path}"));
    let place = match target::find(root.as_fd(), path) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Err(nothing()),
        found => found.during("mount", || format!("cannot find {path}"))?,
    };
    let number = number(place.as_fd()).ok_or_else(nothing)?;
    // An open place is a use.
    drop(place);
    let (table, outside) = (read(table)?, read(outside)?);
    let mounted = place_of(&table, &number)
        .ok_or_else(|| failed("mount", format!("the mount at {path} cannot be seen")))?;
    // A link inside must not lead to what hides and protects the host.
    let of_the_kernel = ["/proc", "/sys", "/dev"]
        .iter()
        .any(|top| mounted.starts_with(top));
    if of_the_kernel && mounted != Path::new(path) {
        return Err(nothing());
    }
    let said = |place: &Path, error: Errno| match error {
        Errno::BUSY => failed(
            "mount",
            format!(
                "{} is busy: a process of the container uses it. A lazy unmount takes it away when the last one leaves it",
                place.display()
            ),
        ),
        error => failed(
            "mount",
            format!(
                "cannot unmount {}: {}",
                place.display(),
                crate::failure::text(&error.into())
            ),
        ),
    };
    let named = Path::new(path);
    if lazy {
        return unmount(root.as_fd(), &mounted, UnmountFlags::DETACH)
            .map_err(|error| said(named, error));
    }
    let below = submounts::of(&table, &number);
    if let Some(own) = below
        .iter()
        .find(|line| !submounts::came_along(line, &outside))
    {
        return Err(failed(
            "mount",
            format!(
                "a process of the container has mounted something at {}: only a lazy unmount takes {path} away with it",
                own.place.display()
            ),
        ));
    }
    let mut taken: Vec<(OwnedFd, &Path)> = Vec::new();
    let outcome = below
        .iter()
        .map(|line| line.place.as_path())
        .chain(std::iter::once(mounted.as_path()))
        .try_for_each(|place| {
            let shown = if place == mounted { named } else { place };
            let copy = open_at(root.as_fd(), place)
                .and_then(|open| attach::copy(open.as_fd(), false))
                .map_err(|error| said(shown, error))?;
            unmount(root.as_fd(), place, UnmountFlags::empty())
                .map_err(|error| said(shown, error))?;
            taken.push((copy, place));
            Ok(())
        });
    if outcome.is_err() {
        // All or nothing: those above come back first.
        for (copy, place) in taken.iter().rev() {
            open_at(root.as_fd(), place)
                .and_then(|open| attach::attach(copy.as_fd(), open.as_fd()))
                .during("mount", || {
                    format!("cannot mount {} again", place.display())
                })?;
        }
    }
    outcome
}

fn join(container: &Container<'_>) -> Result<(), StartError> {
    sys::namespace::join(container.pidfd, Kinds::MOUNT).during("mount", || {
        "cannot join the container's mount namespace".to_owned()
    })
}

fn open(path: &str) -> Result<OwnedFd, StartError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, path, flags, Mode::empty())
        .during("mount", || "cannot open the container's root".to_owned())
}

/// The number of the mount of which `place` is the root; `None` when it is the root of none.
fn number(place: BorrowedFd<'_>) -> Option<String> {
    let found = rustix::fs::statx(place, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID).ok()?;
    found
        .stx_attributes
        .contains(StatxAttributes::MOUNT_ROOT)
        .then(|| found.stx_mnt_id.to_string())
}

/// The container's table of mounts, opened out here and read when it is asked: inside, /proc may be anything.
fn table(container: &Container<'_>) -> Result<File, StartError> {
    table_of(&container.pid.to_string())
}

fn table_of(process: &str) -> Result<File, StartError> {
    let path = format!("/proc/{process}/mountinfo");
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
        .during("mount", || {
            "cannot open the container's table of mounts".to_owned()
        })
        .map(File::from)
}

fn read(mut table: File) -> Result<String, StartError> {
    let mut text = Vec::new();
    table.read_to_end(&mut text).during("mount", || {
        "cannot read the container's table of mounts".to_owned()
    })?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Where the mount `number` is.
fn place_of(table: &str, number: &str) -> Option<PathBuf> {
    let line = table
        .lines()
        .find(|line| line.split(' ').next() == Some(number))?;
    Some(submounts::unescape(line.split(' ').nth(4)?))
}

const AS_IT_IS: ResolveFlags = ResolveFlags::IN_ROOT
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS);

/// What is at `place`, a path of the kernel's own that leads through no link.
fn open_at(root: BorrowedFd<'_>, place: &Path) -> rustix::io::Result<OwnedFd> {
    let open = OFlags::PATH | OFlags::CLOEXEC;
    rustix::fs::openat2(root, place, open, Mode::empty(), AS_IT_IS)
}

/// Unmounts what is at `place`, as [`open_at`] finds it.
fn unmount(root: BorrowedFd<'_>, place: &Path, flags: UnmountFlags) -> rustix::io::Result<()> {
    let (Some(parent), Some(name)) = (place.parent(), place.file_name()) else {
        return Err(Errno::INVAL);
    };
    let open = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let parent = rustix::fs::openat2(root, parent, open, Mode::empty(), AS_IT_IS)?;
    rustix::process::fchdir(&parent)?;
    rustix::mount::unmount(name, flags | UnmountFlags::NOFOLLOW)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_tells_where_a_mount_is() {
        let table = "22 1 8:1 / / rw - ext4 /dev/x rw\n\
            31 22 0:5 /a /with\\040blank\\134x rw,relatime shared:1 - tmpfs tmpfs rw\n";
        assert_eq!(place_of(table, "22"), Some(PathBuf::from("/")));
        assert_eq!(place_of(table, "31"), Some(PathBuf::from("/with blank\\x")));
        assert_eq!(place_of(table, "3"), None);
    }
}
