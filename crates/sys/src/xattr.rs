//! Extended attributes of open files and of directory entries, symbolic links and device nodes included.
//!
//! A filesystem without extended attributes has none: listing gives nothing and reading gives `None`. Entries are
//! reached as `/proc/self/fd/<directory>/<name>` and never followed, so `/proc` must be mounted.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use rustix::fs::XattrFlags;
use rustix::io::Errno;

pub(crate) const ACCESS_ACL: &str = "system.posix_acl_access";
pub(crate) const DEFAULT_ACL: &str = "system.posix_acl_default";

/// The kernel's bound for one value and for one list of names.
const LARGEST: usize = 64 * 1024;

/// Whose attributes.
#[derive(Debug, Clone, Copy)]
pub enum Subject<'a> {
    /// A file that is open for reading or writing.
    Open(BorrowedFd<'a>),
    /// Anything opened with `O_PATH`; a symbolic link stands for itself.
    Path(BorrowedFd<'a>),
    /// An entry of a directory; a symbolic link stands for itself.
    Entry(BorrowedFd<'a>, &'a OsStr),
}

impl Subject<'_> {
    /// A path and whether the last step of it must be followed.
    fn path(self) -> Option<(Vec<u8>, bool)> {
        match self {
            Self::Open(_) => None,
            Self::Path(fd) => Some((
                format!("/proc/self/fd/{}", fd.as_raw_fd()).into_bytes(),
                true,
            )),
            Self::Entry(dir, name) => {
                let mut path = format!("/proc/self/fd/{}/", dir.as_raw_fd()).into_bytes();
                path.extend_from_slice(name.as_bytes());
                Some((path, false))
            }
        }
    }
}

/// The names of all attributes that the caller may see.
pub fn list(subject: Subject<'_>) -> io::Result<Vec<OsString>> {
    let path = subject.path();
    let names = sized(|buffer| match (&path, subject) {
        (Some((path, true)), _) => rustix::fs::listxattr(path.as_slice(), buffer),
        (Some((path, false)), _) => rustix::fs::llistxattr(path.as_slice(), buffer),
        (None, Subject::Open(fd) | Subject::Path(fd) | Subject::Entry(fd, _)) => {
            rustix::fs::flistxattr(fd, buffer)
        }
    });
    match names {
        Ok(names) => Ok(names
            .split(|byte| *byte == 0)
            .filter(|name| !name.is_empty())
            .map(|name| OsString::from_vec(name.to_vec()))
            .collect()),
        Err(Errno::OPNOTSUPP) => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

/// The value of one attribute, `None` when there is no such attribute.
pub fn get(subject: Subject<'_>, name: &OsStr) -> io::Result<Option<Vec<u8>>> {
    let path = subject.path();
    let value = sized(|buffer| match (&path, subject) {
        (Some((path, true)), _) => rustix::fs::getxattr(path.as_slice(), name, buffer),
        (Some((path, false)), _) => rustix::fs::lgetxattr(path.as_slice(), name, buffer),
        (None, Subject::Open(fd) | Subject::Path(fd) | Subject::Entry(fd, _)) => {
            rustix::fs::fgetxattr(fd, name, buffer)
        }
    });
    match value {
        Ok(value) => Ok(Some(value)),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Sets one attribute, whether it is there or not.
///
/// # Errors
/// `Unsupported` when the filesystem, or this kind of file, has no such attributes.
pub fn set(subject: Subject<'_>, name: &OsStr, value: &[u8]) -> io::Result<()> {
    let flags = XattrFlags::empty();
    match (subject.path(), subject) {
        (Some((path, true)), _) => rustix::fs::setxattr(path.as_slice(), name, value, flags)?,
        (Some((path, false)), _) => rustix::fs::lsetxattr(path.as_slice(), name, value, flags)?,
        (None, Subject::Open(fd) | Subject::Path(fd) | Subject::Entry(fd, _)) => {
            rustix::fs::fsetxattr(fd, name, value, flags)?;
        }
    }
    Ok(())
}

/// Removes one attribute; that there is none is fine.
pub fn remove(subject: Subject<'_>, name: &OsStr) -> io::Result<()> {
    let removed = match (subject.path(), subject) {
        (Some((path, true)), _) => rustix::fs::removexattr(path.as_slice(), name),
        (Some((path, false)), _) => rustix::fs::lremovexattr(path.as_slice(), name),
        (None, Subject::Open(fd) | Subject::Path(fd) | Subject::Entry(fd, _)) => {
            rustix::fs::fremovexattr(fd, name)
        }
    };
    match removed {
        Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Whether two files have the same attributes, of those that say something of the file on every machine: what a copy carries
/// ([`is_copied`]) without labels of security modules.
pub fn are_same(one: Subject<'_>, other: Subject<'_>) -> io::Result<bool> {
    let listed = |subject| -> io::Result<Vec<OsString>> {
        let mut names = list(subject)?;
        names.retain(|name| is_copied(name) && !is_label(name));
        names.sort_unstable();
        Ok(names)
    };
    let names = listed(one)?;
    if names != listed(other)? {
        return Ok(false);
    }
    for name in &names {
        if get(one, name)? != get(other, name)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What belongs to the file, and not to the filesystem that it lies in.
pub(crate) fn is_copied(name: &OsStr) -> bool {
    let name = name.as_bytes();
    if name.starts_with(b"trusted.overlay.") {
        return false;
    }
    name.starts_with(b"user.")
        || name.starts_with(b"trusted.")
        || name.starts_with(b"security.")
        || name == ACCESS_ACL.as_bytes()
        || name == DEFAULT_ACL.as_bytes()
}

/// What follows the policy of the machine.
pub(crate) fn is_label(name: &OsStr) -> bool {
    name.as_bytes().starts_with(b"security.") && name != "security.capability"
}

/// Reads into a small buffer first, as nearly all lists and values are short.
fn sized(read: impl Fn(&mut [u8]) -> rustix::io::Result<usize>) -> rustix::io::Result<Vec<u8>> {
    let mut small = [0; 512];
    match read(&mut small) {
        Ok(length) => Ok(small[..length].to_vec()),
        Err(Errno::RANGE) => {
            let mut large = vec![0; LARGEST];
            let length = read(&mut large)?;
            large.truncate(length);
            Ok(large)
        }
        Err(error) => Err(error),
    }
}
