//! Finding and making places in the container's file tree, which may hold anything an image's author thought of.
//!
//! Every path is resolved with the container's root as `/`: absolute links and `..` stay inside, links of /proc are not
//! followed, and what is found is a descriptor, so that nothing is resolved twice. Other containers may change shared
//! volumes meanwhile; that can make a step fail, but never leads outside.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// What is made when there is nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Directory,
    File,
}

/// Links followed before a path counts as a loop; the kernel's own number.
const MOST_LINKS: usize = 40;

/// Opens what is at `path` (`O_PATH`). `NOENT` when there is nothing.
pub(crate) fn find(root: BorrowedFd<'_>, path: &str) -> rustix::io::Result<OwnedFd> {
    open_in(root, path, OFlags::PATH)
}

/// Opens what is at `path` with `flags`.
pub(crate) fn open_in(
    root: BorrowedFd<'_>,
    path: &str,
    flags: OFlags,
) -> rustix::io::Result<OwnedFd> {
    let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let path = if path.is_empty() { "/" } else { path };
    loop {
        match rustix::fs::openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), inside) {
            // The tree was changed under `..`; the answer would not be certain.
            Err(Errno::AGAIN) => {}
            other => return other,
        }
    }
}

/// Opens what is at `path`, after making it and the directories on the way when missing.
pub(crate) fn find_or_make(
    root: BorrowedFd<'_>,
    path: &str,
    shape: Shape,
) -> rustix::io::Result<OwnedFd> {
    match find(root, path) {
        Err(Errno::NOENT) => make(root, path, shape),
        other => other,
    }
}

/// Whether `fd` is a directory.
pub(crate) fn is_directory(fd: impl AsFd) -> rustix::io::Result<bool> {
    let stat = rustix::fs::fstat(fd)?;
    Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}

/// Walks `path` component by component, following links by hand, because a link to something missing is to be made
/// where it points to.
fn make(root: BorrowedFd<'_>, path: &str, shape: Shape) -> rustix::io::Result<OwnedFd> {
    let top = rustix::fs::openat(root, ".", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let mut stack = vec![top];
    let mut todo: VecDeque<OsString> = components(path.as_bytes()).collect();
    let mut links = 0;
    while let Some(name) = todo.pop_front() {
        if name == ".." {
            if stack.len() > 1 {
                stack.pop();
            }
            continue;
        }
        let last = todo.iter().all(|name| name == "..");
        let here = stack.last().expect("the root is never popped").as_fd();
        let entry = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let found = match rustix::fs::openat(here, &name, entry, Mode::empty()) {
            Err(Errno::NOENT) => {
                if last && todo.is_empty() && shape == Shape::File {
                    let new = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                    match rustix::fs::openat(here, &name, new | OFlags::WRONLY, Mode::from(0o644)) {
                        Ok(_) | Err(Errno::EXIST) => {}
                        Err(error) => return Err(error),
                    }
                } else {
                    match rustix::fs::mkdirat(here, &name, Mode::from(0o755)) {
                        Ok(()) | Err(Errno::EXIST) => {}
                        Err(error) => return Err(error),
                    }
                }
                rustix::fs::openat(here, &name, entry, Mode::empty())?
            }
            other => other?,
        };
        match FileType::from_raw_mode(rustix::fs::fstat(&found)?.st_mode) {
            FileType::Symlink => {
                links += 1;
                if links > MOST_LINKS {
                    return Err(Errno::LOOP);
                }
                let target = rustix::fs::readlinkat(&found, "", Vec::new())?.into_bytes();
                if target.first() == Some(&b'/') {
                    stack.truncate(1);
                }
                for name in components(&target).collect::<Vec<_>>().into_iter().rev() {
                    todo.push_front(name);
                }
            }
            FileType::Directory => stack.push(found),
            _ if todo.is_empty() => return Ok(found),
            _ => return Err(Errno::NOTDIR),
        }
    }
    Ok(stack.pop().expect("the root is never popped"))
}

fn components(path: &[u8]) -> impl Iterator<Item = OsString> + '_ {
    path.split(|byte| *byte == b'/')
        .filter(|name| !name.is_empty() && *name != b".")
        .map(|name| OsString::from_vec(name.to_vec()))
}

/// Owner, group and permission bits of `fd`.
pub(crate) fn owner_and_mode(fd: impl AsFd) -> rustix::io::Result<(u32, u32, u32)> {
    let stat = rustix::fs::statat(fd, "", AtFlags::EMPTY_PATH)?;
    Ok((stat.st_uid, stat.st_gid, stat.st_mode & 0o7777))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn tree(name: &str) -> (std::path::PathBuf, OwnedFd) {
        let path =
            std::env::temp_dir().join(format!("runtime-target-{name}-{}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(&path, flags, Mode::empty()).unwrap();
        (path, root)
    }

    #[test]
    fn missing_places_are_made_inside() {
        let (path, root) = tree("inside");
        let outside = path.with_extension("outside");
        symlink("/elsewhere/deep", path.join("absolute")).unwrap();
        symlink("../../../../top", path.join("up")).unwrap();
        symlink(&outside, path.join("host")).unwrap();
        symlink("b", path.join("a")).unwrap();
        symlink("a", path.join("b")).unwrap();
        std::fs::write(path.join("file"), "").unwrap();
        for (target, shape, made) in [
            ("/new/dir", Shape::Directory, "new/dir"),
            ("/new/../other/x", Shape::Directory, "other/x"),
            ("/absolute/more", Shape::Directory, "elsewhere/deep/more"),
            ("/up", Shape::File, "top"),
            ("relative", Shape::File, "relative"),
            ("/../../../dots", Shape::Directory, "dots"),
        ] {
            let fd = find_or_make(root.as_fd(), target, shape).unwrap();
            assert_eq!(
                is_directory(&fd).unwrap(),
                shape == Shape::Directory,
                "{target}"
            );
            assert!(path.join(made).exists(), "{target}");
            find(root.as_fd(), target).unwrap();
        }
        find_or_make(root.as_fd(), "/host/x", Shape::Directory).unwrap();
        assert!(!outside.exists());
        assert!(
            path.join(outside.strip_prefix("/").unwrap())
                .join("x")
                .is_dir()
        );
        for (target, error) in [("/a/x", Errno::LOOP), ("/file/x", Errno::NOTDIR)] {
            let got = find_or_make(root.as_fd(), target, Shape::Directory).unwrap_err();
            assert_eq!(got, error, "{target}");
        }
        std::fs::remove_dir_all(path).unwrap();
    }
}
