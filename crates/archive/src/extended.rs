//! Which extended attributes travel in archives, and which of an archive are believed.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt as _;

use rustix::fs::FileType;
use sys::xattr::{self, Subject};

use crate::{OVERLAY_ATTRIBUTES, acl};

const XATTR: &[u8] = b"SCHILY.xattr.";
const ACCESS: (&[u8], &str) = (b"SCHILY.acl.access", "system.posix_acl_access");
const DEFAULT: (&[u8], &str) = (b"SCHILY.acl.default", "system.posix_acl_default");

/// The attribute that a PAX record stands for. Private attributes of overlay mounts are not taken from anybody: they
/// would redirect what a later mount shows.
pub(crate) fn from_record(key: &[u8], value: &[u8]) -> Option<(OsString, Vec<u8>)> {
    for (record, attribute) in [ACCESS, DEFAULT] {
        if key == record {
            return Some((attribute.into(), acl::from_text(value)?));
        }
    }
    let name = key.strip_prefix(XATTR)?;
    let known = [&b"user."[..], b"trusted.", b"security."]
        .iter()
        .any(|start| name.starts_with(start))
        || [ACCESS, DEFAULT]
            .iter()
            .any(|(_, attribute)| name == attribute.as_bytes());
    if !known || name.starts_with(OVERLAY_ATTRIBUTES) || name.contains(&0) {
        return None;
    }
    Some((OsStr::from_bytes(name).to_owned(), value.to_vec()))
}

/// Sets what an archive says about a file of the kind `kind`.
pub(crate) fn set(
    subject: Subject<'_>,
    kind: FileType,
    attributes: &[(OsString, Vec<u8>)],
) -> io::Result<()> {
    for (name, value) in attributes {
        match xattr::set(subject, name, value) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {}
            Err(_) if !is_essential(name, kind) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Labels of security modules follow the policy of the machine, and only files and directories can have attributes of
/// users.
fn is_essential(name: &OsStr, kind: FileType) -> bool {
    let name = name.as_bytes();
    if name.starts_with(b"security.") {
        return name == b"security.capability";
    }
    !name.starts_with(b"user.") || matches!(kind, FileType::RegularFile | FileType::Directory)
}

/// What a file has that matters here.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// PAX records.
    pub(crate) records: Vec<(Vec<u8>, Vec<u8>)>,
    /// The overlay mount's mark that this directory hides what is below it.
    pub(crate) is_opaque: bool,
    /// The file's contents, or the directory's, are elsewhere in the stack of an overlay mount.
    pub(crate) is_partial: bool,
}

/// Reads the attributes of a file, sorted by name.
pub(crate) fn read(subject: Subject<'_>) -> io::Result<Found> {
    let mut found = Found::default();
    let mut names = xattr::list(subject)?;
    names.sort_unstable();
    for name in &names {
        let bytes = name.as_bytes();
        if let Some(overlay) = bytes.strip_prefix(OVERLAY_ATTRIBUTES) {
            match overlay {
                b"opaque" => {
                    found.is_opaque = xattr::get(subject, name)?.is_some_and(|value| value == b"y");
                }
                b"metacopy" | b"redirect" => found.is_partial = true,
                _ => {}
            }
            continue;
        }
        let record = if name == ACCESS.1 {
            ACCESS.0.to_vec()
        } else if name == DEFAULT.1 {
            DEFAULT.0.to_vec()
        } else if bytes.starts_with(b"user.")
            || bytes.starts_with(b"trusted.")
            || bytes == b"security.capability"
        {
            [XATTR, bytes].concat()
        } else {
            continue;
        };
        let Some(value) = xattr::get(subject, name)? else {
            continue;
        };
        if record.starts_with(XATTR) {
            found.records.push((record, value));
        } else if let Some(text) = acl::to_text(&value) {
            found.records.push((record, text.into_bytes()));
        }
    }
    Ok(found)
}
