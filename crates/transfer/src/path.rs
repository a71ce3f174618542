//! A path inside the tree, of any bytes, that cannot lead out of it.

use std::cmp::Ordering;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// As many bytes as a path may have here; the kernel's own bound is for one call.
const LONGEST: usize = 64 << 10;
const LONGEST_NAME: usize = 255;

/// Names with slashes between them; empty for the root. Ordered as a walk meets them: a directory, then what is in it.
#[derive(Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct RelPath(Vec<u8>);

impl RelPath {
    /// A path as it came from outside. [`RelPath::is_sound`] must be asked before it is used.
    pub fn from_bytes(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// Whether every name in it is one.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.0.len() <= LONGEST
            && (self.0.is_empty()
                || self.0.split(|&byte| byte == b'/').all(|name| {
                    !matches!(name, b"" | b"." | b"..")
                        && name.len() <= LONGEST_NAME
                        && !name.contains(&0)
                }))
    }

    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The directory that holds it; `None` for the root.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        if self.is_root() {
            return None;
        }
        let end = self.0.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
        Some(Self(self.0[..end].to_vec()))
    }

    /// The last name; `.` for the root.
    #[must_use]
    pub fn name(&self) -> &OsStr {
        if self.is_root() {
            return OsStr::new(".");
        }
        let begin = self
            .0
            .iter()
            .rposition(|&byte| byte == b'/')
            .map_or(0, |slash| slash + 1);
        OsStr::from_bytes(&self.0[begin..])
    }

    #[must_use]
    pub fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }

    pub(crate) fn child(&self, name: &OsStr) -> Self {
        let mut bytes = self.0.clone();
        if !bytes.is_empty() {
            bytes.push(b'/');
        }
        bytes.extend_from_slice(name.as_bytes());
        Self(bytes)
    }
}

impl fmt::Debug for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_path())
    }
}

impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() {
            f.write_str(".")
        } else {
            write!(f, "{}", self.as_path().display())
        }
    }
}

impl Ord for RelPath {
    fn cmp(&self, other: &Self) -> Ordering {
        // No name holds a zero byte: with that for a slash, bytes compare as names do.
        let key = |byte: &u8| if *byte == b'/' { 0 } else { *byte };
        self.0.iter().map(key).cmp(other.0.iter().map(key))
    }
}

impl PartialOrd for RelPath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RelPath {
        RelPath::from_bytes(text)
    }

    #[test]
    fn what_leads_out_is_unsound() {
        for good in ["", "a", "a/b", "a/...", "\u{1}", "-", "a b/ c"] {
            assert!(path(good).is_sound(), "{good:?}");
        }
        let long = "x".repeat(256);
        for bad in [
            "/", "/a", "a/", "a//b", ".", "..", "a/..", "../a", "a/./b", "a\0b", &long,
        ] {
            assert!(!path(bad).is_sound(), "{bad:?}");
        }
    }

    #[test]
    fn the_order_is_that_of_a_walk() {
        let mut paths = ["b", "a/b", "a b", "a", "a/b/c", "", "a!"].map(path);
        paths.sort();
        assert_eq!(paths, ["", "a", "a/b", "a/b/c", "a b", "a!", "b"].map(path));
        assert_eq!(path("a/b").parent(), Some(path("a")));
        assert_eq!(path("a").parent(), Some(path("")));
        assert_eq!(path("").parent(), None);
        assert_eq!(path("a/b").name(), "b");
    }
}
