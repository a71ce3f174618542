//! `--chown`: numbers, or names as the image's own files of users and groups know them.

use std::io::{self, Read as _};
use std::os::fd::BorrowedFd;
use std::path::Path;

use rustix::fs::OFlags;

use crate::build::BuildError;

/// More than any such file that is meant.
const MOST: u64 = 16 << 20;

/// Uid and gid; without a group, that of the user, or the same number.
pub(super) fn resolve(root: BorrowedFd<'_>, text: &str) -> Result<(u32, u32), BuildError> {
    let invalid = || {
        BuildError::Invalid(format!(
            "invalid chown string format: {text}, expected user[:group]"
        ))
    };
    let (user, group) = match text.split_once(':') {
        Some((user, group)) if !group.contains(':') => (user, Some(group)),
        Some(_) => return Err(invalid()),
        None => (text, None),
    };
    if user.is_empty() {
        return Err(invalid());
    }
    let (uid, own) = match user.parse::<u32>() {
        Ok(uid) => (uid, uid),
        Err(_) => {
            let line = line(root, "etc/passwd", user)?.ok_or_else(|| {
                BuildError::Invalid(format!(
                    "unable to convert uid/gid chown string to host mapping: can't find uid for user {user}: no such user: {user}"
                ))
            })?;
            let field = |index: usize| line.get(index).and_then(|field| field.parse().ok());
            (field(2).ok_or_else(invalid)?, field(3).ok_or_else(invalid)?)
        }
    };
    let gid = match group.filter(|group| !group.is_empty()) {
        None => own,
        Some(group) => match group.parse::<u32>() {
            Ok(gid) => gid,
            Err(_) => line(root, "etc/group", group)?
                .and_then(|line| line.get(2)?.parse().ok())
                .ok_or_else(|| {
                    BuildError::Invalid(format!(
                        "unable to convert uid/gid chown string to host mapping: can't find gid for group {group}: no such group: {group}"
                    ))
                })?,
        },
    };
    Ok((uid, gid))
}

/// The fields of the line that begins with `name`.
fn line(root: BorrowedFd<'_>, file: &str, name: &str) -> Result<Option<Vec<String>>, BuildError> {
    let failed = |source| BuildError::File {
        action: "cannot read the image's",
        path: file.into(),
        source,
    };
    let opened =
        match sys::dir::open_in_root(root, Path::new(file), OFlags::RDONLY | OFlags::NONBLOCK) {
            Ok(opened) => opened,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
    let mut bytes = Vec::new();
    std::fs::File::from(opened)
        .take(MOST)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    let text = String::from_utf8_lossy(&bytes);
    Ok(text
        .lines()
        .map(|line| line.split(':').map(str::to_owned).collect::<Vec<_>>())
        .find(|fields| fields.first().is_some_and(|first| first == name)))
}
