//! Whether anything is mounted at or below a directory: asked before a tree is deleted, because a walk would go on into
//! what is mounted there, and that belongs to somebody else.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

/// Whether this process sees a mount at `path` or below it. `path` is absolute and free of links.
pub(crate) fn any_below(path: &Path) -> io::Result<bool> {
    Ok(!below(path)?.is_empty())
}

/// Where this process sees mounts at `path` or below it; links on the way to `path` are followed.
pub(crate) fn below(path: &Path) -> io::Result<Vec<PathBuf>> {
    let real = path.canonicalize();
    let path = real.as_deref().unwrap_or(path);
    let table = std::fs::read("/proc/thread-self/mountinfo")?;
    Ok(table
        .split(|byte| *byte == b'\n')
        .filter(|line| line_is_below(line, path.as_os_str().as_bytes()))
        .filter_map(|line| line.split(|byte| *byte == b' ').nth(4))
        .map(|point| PathBuf::from(OsString::from_vec(unescape(point))))
        .collect())
}

/// Whether something is mounted exactly at `path`.
pub(crate) fn is_mountpoint(path: &Path) -> io::Result<bool> {
    use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags};
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    match rustix::fs::statx(CWD, path, flags, StatxFlags::empty()) {
        Ok(stat) => Ok(stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT)),
        Err(rustix::io::Errno::NOENT) => Ok(false),
        // A mount whose server is gone is a mount all the same; only the table still knows it.
        Err(rustix::io::Errno::STALE | rustix::io::Errno::IO | rustix::io::Errno::HOSTDOWN) => {
            any_below(path)
        }
        Err(error) => Err(error.into()),
    }
}

fn line_is_below(line: &[u8], path: &[u8]) -> bool {
    let Some(point) = line.split(|byte| *byte == b' ').nth(4) else {
        return false;
    };
    let point = unescape(point);
    match point.strip_prefix(path) {
        Some(rest) => rest.is_empty() || rest[0] == b'/',
        None => false,
    }
}

/// The kernel writes blanks, tabs, newlines and backslashes as three octal digits.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        let digits = tail
            .get(..3)
            .and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) if *first == b'\\' => {
                plain.push(byte);
                rest = &tail[3..];
            }
            _ => {
                plain.push(*first);
                rest = tail;
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let line =
            br"36 35 98:0 /mnt1 /var/lib/a\040b/data rw,noatime master:1 - ext3 /dev/root rw";
        for (path, below) in [
            ("/var/lib/a b/data", true),
            ("/var/lib/a b", true),
            ("/var/lib/a b/dat", false),
            ("/var/lib/a b/data/x", false),
        ] {
            assert_eq!(line_is_below(line, path.as_bytes()), below, "{path}");
        }
        assert!(!line_is_below(b"", b"/"));
    }

    #[test]
    fn the_kernel_agrees() {
        assert!(is_mountpoint(Path::new("/proc")).expect("asked"));
        assert!(any_below(Path::new("/proc")).expect("asked"));
        assert!(!is_mountpoint(Path::new("/proc/self")).expect("asked"));
        assert!(!is_mountpoint(Path::new("/nowhere")).expect("asked"));
    }
}
