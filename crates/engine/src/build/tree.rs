//! A tree of files to copy from: the build context, or the files of a stage or an image.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::{Component, Path, PathBuf};

use archive::Stored;
use rustix::fs::OFlags;
use sha2::{Digest as _, Sha256};
use sys::dir::{FileType, Time};

use super::context::{Context, NodeKind};
use crate::containers::archive::view::View;

/// As many links as the kernel follows in one path.
const MOST_LINKS: usize = 40;

#[derive(Debug)]
pub(super) enum Tree<'a> {
    Context(&'a Context),
    Files(View<'a>),
}

/// An entry of a tree.
#[derive(Debug, Clone)]
pub(super) struct Found {
    /// Without links but the last name.
    pub(super) path: PathBuf,
    pub(super) kind: FoundKind,
    /// Permissions.
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: Time,
}

#[derive(Debug, Clone)]
pub(super) enum FoundKind {
    Directory,
    /// With its contents, where they are known already.
    File(Option<Stored>),
    Symlink(OsString),
    Other,
}

/// Replaces the links in a path; `link` gives the target of what is one. Absolute links and `..` stay inside.
pub(super) fn real(
    path: &Path,
    follow_last: bool,
    link: &mut dyn FnMut(&Path) -> io::Result<Option<OsString>>,
) -> io::Result<PathBuf> {
    let steps = |path: &Path| -> Vec<OsString> {
        path.components()
            .rev()
            .filter_map(|component| match component {
                Component::Normal(name) => Some(name.to_owned()),
                Component::ParentDir => Some(OsString::from("..")),
                _ => None,
            })
            .collect()
    };
    let mut ahead = steps(path);
    let mut real = PathBuf::new();
    let mut links = 0;
    while let Some(step) = ahead.pop() {
        if step == ".." {
            real.pop();
            continue;
        }
        real.push(&step);
        if ahead.is_empty() && !follow_last {
            break;
        }
        if let Some(target) = link(&real)? {
            links += 1;
            if links > MOST_LINKS {
                return Err(rustix::io::Errno::LOOP.into());
            }
            real.pop();
            let target = Path::new(&target);
            if target.is_absolute() {
                real.clear();
            }
            ahead.extend(steps(target));
        }
    }
    Ok(real)
}

/// The path without links of something in a root, whether it is there or not.
pub(super) fn real_in(root: BorrowedFd<'_>, path: &Path, follow_last: bool) -> io::Result<PathBuf> {
    real(path, follow_last, &mut |path| {
        let (parent, name) = match sys::dir::resolve_in_root(root, path) {
            Err(error) if is_absent(&error) => return Ok(None),
            other => other?,
        };
        match sys::dir::read_link_at(parent.as_fd(), &name) {
            Ok(target) => Ok(Some(target)),
            // No link.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput || is_absent(&error) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    })
}

pub(super) fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

impl Tree<'_> {
    /// What is at a path; links in it are followed, the last name only with `follow`.
    pub(super) fn find(&self, path: &Path, follow: bool) -> io::Result<Option<Found>> {
        match self {
            Self::Context(context) => {
                let path = real(path, follow, &mut |path| Ok(context.link(path)))?;
                let Some(node) = context.node(&path) else {
                    return Ok(None);
                };
                Ok(Some(Found {
                    kind: match &node.kind {
                        NodeKind::Directory => FoundKind::Directory,
                        NodeKind::File(stored) => FoundKind::File(Some(stored.clone())),
                        NodeKind::Symlink(target) => FoundKind::Symlink(target.clone()),
                        NodeKind::Other => FoundKind::Other,
                    },
                    mode: node.mode,
                    // Who owns a file on the client's side means nothing in an image.
                    uid: 0,
                    gid: 0,
                    mtime: node.mtime,
                    path,
                }))
            }
            Self::Files(view) => {
                let path = real_in(view.root(), path, follow)?;
                self.entry(view.root(), path)
            }
        }
    }

    /// An entry of a directory that [`Tree::find`] has found.
    pub(super) fn child(&self, directory: &Path, name: &OsStr) -> io::Result<Option<Found>> {
        let path: PathBuf = directory.iter().chain([name]).collect();
        match self {
            Self::Context(_) => self.find(&path, false),
            Self::Files(view) => self.entry(view.root(), path),
        }
    }

    fn entry(&self, root: BorrowedFd<'_>, path: PathBuf) -> io::Result<Option<Found>> {
        let looked = if path.as_os_str().is_empty() {
            sys::dir::stat(root).map(|stat| (stat, None))
        } else {
            sys::dir::resolve_in_root(root, &path).and_then(|(parent, name)| {
                let stat = sys::dir::stat_at(parent.as_fd(), &name)?;
                let target = if stat.kind() == FileType::Symlink {
                    Some(sys::dir::read_link_at(parent.as_fd(), &name)?)
                } else {
                    None
                };
                Ok((stat, target))
            })
        };
        let (stat, target) = match looked {
            Err(error) if is_absent(&error) => return Ok(None),
            other => other?,
        };
        let kind = match (stat.kind(), target) {
            (FileType::Directory, _) => FoundKind::Directory,
            (FileType::RegularFile, _) => FoundKind::File(None),
            (_, Some(target)) => FoundKind::Symlink(target),
            _ => FoundKind::Other,
        };
        Ok(Some(Found {
            path,
            kind,
            mode: stat.permissions(),
            uid: stat.uid,
            gid: stat.gid,
            mtime: stat.mtime,
        }))
    }

    /// Names in a directory that [`Tree::find`] has found, sorted.
    pub(super) fn names(&self, directory: &Path) -> io::Result<Vec<OsString>> {
        match self {
            Self::Context(context) => Ok(context.names(directory)),
            Self::Files(view) => {
                let opened = sys::dir::open_in_root(
                    view.root(),
                    directory,
                    OFlags::RDONLY | OFlags::DIRECTORY,
                )?;
                let mut names: Vec<OsString> = sys::dir::read_dir(opened.as_fd())?
                    .into_iter()
                    .map(|entry| entry.name)
                    .collect();
                names.sort();
                Ok(names)
            }
        }
    }

    /// SHA-256 of a file's contents.
    pub(super) fn digest(&self, found: &Found) -> io::Result<[u8; 32]> {
        match (self, &found.kind) {
            (_, FoundKind::File(Some(stored))) => Ok(stored.digest),
            (Self::Files(view), FoundKind::File(None)) => {
                let mut file = open(view.root(), &found.path)?;
                let mut hash = Sha256::new();
                let mut buffer = vec![0; 128 << 10];
                loop {
                    match file.read(&mut buffer) {
                        Ok(0) => return Ok(hash.finalize().into()),
                        Ok(count) => hash.update(&buffer[..count]),
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        Err(error) => return Err(error),
                    }
                }
            }
            _ => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    /// Reads a file.
    pub(super) fn reader<'t>(
        &'t self,
        found: &'t Found,
    ) -> io::Result<Box<dyn io::Read + Send + 't>> {
        match (self, &found.kind) {
            (Self::Context(context), FoundKind::File(Some(stored))) => {
                Ok(Box::new(context.reader(stored)))
            }
            (Self::Files(view), FoundKind::File(_)) => {
                Ok(Box::new(open(view.root(), &found.path)?))
            }
            _ => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    /// Writes a file's contents into an empty one.
    pub(super) fn write_to(&self, found: &Found, target: &std::fs::File) -> io::Result<()> {
        match (self, &found.kind) {
            (Self::Context(context), FoundKind::File(Some(stored))) => {
                context.reader(stored).write_to(target)
            }
            _ => io::copy(&mut self.reader(found)?, &mut &*target).map(drop),
        }
    }

    /// Extended attributes of a file or directory; those of a client's files mean nothing in an image.
    pub(super) fn attributes(&self, found: &Found) -> io::Result<Vec<(OsString, Vec<u8>)>> {
        let Self::Files(view) = self else {
            return Ok(Vec::new());
        };
        if !matches!(found.kind, FoundKind::File(_) | FoundKind::Directory) {
            return Ok(Vec::new());
        }
        let opened = sys::dir::open_in_root(view.root(), &found.path, OFlags::RDONLY)?;
        let subject = || sys::xattr::Subject::Open(opened.as_fd());
        let mut attributes = Vec::new();
        for name in sys::xattr::list(subject())? {
            let is_ours = name
                .to_str()
                .is_none_or(|name| name.starts_with("trusted.overlay."));
            if is_ours {
                continue;
            }
            if let Some(value) = sys::xattr::get(subject(), &name)? {
                attributes.push((name, value));
            }
        }
        attributes.sort();
        Ok(attributes)
    }
}

fn open(root: BorrowedFd<'_>, path: &Path) -> io::Result<std::fs::File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    sys::dir::open_in_root(root, path, flags).map(std::fs::File::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_stay_inside() {
        let mut link = |path: &Path| -> io::Result<Option<OsString>> {
            Ok(match path.to_str().unwrap() {
                "up" => Some("../../etc".into()),
                "abs" => Some("/a/b".into()),
                "a/rel" => Some("../c".into()),
                "loop" => Some("loop".into()),
                _ => None,
            })
        };
        for (path, wanted) in [
            ("up/x", "etc/x"),
            ("abs", "a/b"),
            ("a/rel/d", "c/d"),
            ("/../x/./y", "x/y"),
            ("", ""),
        ] {
            assert_eq!(
                real(Path::new(path), true, &mut link).unwrap(),
                Path::new(wanted),
                "{path}"
            );
        }
        assert_eq!(
            real(Path::new("abs"), false, &mut link).unwrap(),
            Path::new("abs")
        );
        assert!(real(Path::new("loop"), true, &mut link).is_err());
    }
}
