//! What a directory or file has besides contents: owner, mode, times, extended attributes and ACLs, copied as a whole.

use std::io;
use std::os::fd::BorrowedFd;

use crate::copy_attributes::{self, Acl};
use crate::dir;

/// Gives `dst` everything that `src` has besides contents. Attributes that only `dst` has stay, ACLs excepted.
///
/// # Errors
/// Any I/O error; extended attributes that the target's filesystem does not know are left out.
pub fn copy(src: BorrowedFd<'_>, dst: BorrowedFd<'_>) -> io::Result<()> {
    let stat = dir::stat(src)?;
    copy_attributes::to_open(src, dst, &stat, Acl::Inherited)
}

/// [`copy`] from the entry `name` of `src` to the entry of the same name of `dst`, for links, devices and the like.
///
/// # Errors
/// As [`copy`].
pub fn copy_entry(
    src: BorrowedFd<'_>,
    dst: BorrowedFd<'_>,
    name: &std::ffi::OsStr,
) -> io::Result<()> {
    let stat = dir::stat_at(src, name)?;
    copy_attributes::to_entry(src, dst, name, &stat, Acl::Inherited)
}
