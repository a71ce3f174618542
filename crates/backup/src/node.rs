//! Trees as restic writes them: a tree is a directory, its nodes are the entries.
//!
//! A node holds what a restore needs. Names that are no UTF-8 are written as Go quotes them. Times are kept to the nanosecond;
//! the time of access is that of the last change, because a backup would change it otherwise.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;

use base64::Engine as _;
use jiff::Timestamp;
use rustic_core::Id;
use rustix::fs::FileType;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sys::dir::{Stat, Time};

/// Go's bits for what a file is, beside the nine of its permissions.
mod go {
    pub(super) const DIR: u32 = 1 << 31;
    pub(super) const SYMLINK: u32 = 1 << 27;
    pub(super) const DEVICE: u32 = 1 << 26;
    pub(super) const FIFO: u32 = 1 << 25;
    pub(super) const SOCKET: u32 = 1 << 24;
    pub(super) const SETUID: u32 = 1 << 23;
    pub(super) const SETGID: u32 = 1 << 22;
    pub(super) const CHARACTER: u32 = 1 << 21;
    pub(super) const STICKY: u32 = 1 << 20;
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Tree {
    #[serde(deserialize_with = "null_is_empty")]
    pub(crate) nodes: Vec<Node>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Node {
    /// Quoted; [`Node::file_name`] is what it means.
    pub(crate) name: String,
    #[serde(rename = "type")]
    pub(crate) kind: NodeKind,
    #[serde(default)]
    pub(crate) mode: u32,
    #[serde(default)]
    pub(crate) mtime: Timestamp,
    #[serde(default)]
    pub(crate) atime: Timestamp,
    /// Only where the source has the same one at the next backup.
    #[serde(default, skip_serializing_if = "is_zero_time")]
    pub(crate) ctime: Timestamp,
    #[serde(default)]
    pub(crate) uid: u32,
    #[serde(default)]
    pub(crate) gid: u32,
    /// Tells which names are of one file, where `links` says that there are several.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) inode: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) device_id: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) size: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) links: u64,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) linktarget: String,
    /// The target, where it is no UTF-8.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        serialize_with = "to_base64",
        deserialize_with = "from_base64"
    )]
    pub(crate) linktarget_raw: Option<Vec<u8>>,
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_is_empty"
    )]
    pub(crate) extended_attributes: Vec<Attribute>,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) device: u64,
    #[serde(default)]
    pub(crate) content: Option<Vec<Id>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) subtree: Option<Id>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum NodeKind {
    File,
    Dir,
    Symlink,
    #[serde(rename = "dev")]
    Block,
    #[serde(rename = "chardev")]
    Character,
    Fifo,
    Socket,
    /// restic's "irregular", and whatever comes later.
    #[serde(other)]
    Other,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Attribute {
    pub(crate) name: String,
    #[serde(
        default,
        serialize_with = "to_base64",
        deserialize_with = "from_base64"
    )]
    pub(crate) value: Option<Vec<u8>>,
}

impl Node {
    /// Of something in the source. Content, target and attributes are the caller's to add. `device`: the filesystem of the
    /// source, whose number is another one after each mount and is left out.
    pub(crate) fn of(name: &OsStr, stat: &Stat, with_change: bool, device: u64) -> Self {
        let kind = match stat.kind() {
            FileType::RegularFile => NodeKind::File,
            FileType::Directory => NodeKind::Dir,
            FileType::Symlink => NodeKind::Symlink,
            FileType::BlockDevice => NodeKind::Block,
            FileType::CharacterDevice => NodeKind::Character,
            FileType::Fifo => NodeKind::Fifo,
            FileType::Socket => NodeKind::Socket,
            FileType::Unknown => NodeKind::Other,
        };
        // Names that are of one file are told apart by inode and device; where there is one name, both would only make the
        // tree another one when the source is a copy in another place.
        let several = kind != NodeKind::Dir && stat.nlink > 1;
        let mtime = timestamp(stat.mtime);
        let is_device = matches!(kind, NodeKind::Block | NodeKind::Character);
        Self {
            name: quote(name).into_owned(),
            kind,
            mode: go_mode(kind, stat.permissions()),
            mtime,
            atime: mtime,
            ctime: if with_change {
                timestamp(stat.ctime)
            } else {
                Timestamp::default()
            },
            uid: stat.uid,
            gid: stat.gid,
            inode: if several || with_change { stat.ino } else { 0 },
            device_id: if several && stat.dev != device {
                stat.dev
            } else {
                0
            },
            size: if kind == NodeKind::File { stat.size } else { 0 },
            links: if kind == NodeKind::Dir { 0 } else { stat.nlink },
            linktarget: String::new(),
            linktarget_raw: None,
            extended_attributes: Vec::new(),
            device: if is_device { stat.rdev } else { 0 },
            content: (kind == NodeKind::File).then(Vec::new),
            subtree: None,
        }
    }

    /// A directory above the source, of which nothing is known.
    pub(crate) fn above(name: &str, subtree: Id) -> Self {
        Self {
            subtree: Some(subtree),
            ..Self::plain(name, NodeKind::Dir, 0o755, Timestamp::UNIX_EPOCH)
        }
    }

    /// A file of the engine's beside the source.
    pub(crate) fn beside(name: &str, size: u64, mtime: Timestamp, content: Vec<Id>) -> Self {
        Self {
            size,
            links: 1,
            content: Some(content),
            ..Self::plain(name, NodeKind::File, 0o600, mtime)
        }
    }

    fn plain(name: &str, kind: NodeKind, mode: u32, mtime: Timestamp) -> Self {
        Self {
            name: quote(OsStr::new(name)).into_owned(),
            kind,
            mode: go_mode(kind, mode),
            mtime,
            atime: mtime,
            ctime: Timestamp::default(),
            uid: 0,
            gid: 0,
            inode: 0,
            device_id: 0,
            size: 0,
            links: 0,
            linktarget: String::new(),
            linktarget_raw: None,
            extended_attributes: Vec::new(),
            device: 0,
            content: None,
            subtree: None,
        }
    }

    pub(crate) fn file_name(&self) -> Cow<'_, OsStr> {
        unquote(&self.name)
    }

    pub(crate) fn set_target(&mut self, target: &OsStr) {
        match target.to_str() {
            Some(text) => text.clone_into(&mut self.linktarget),
            None => {
                self.linktarget = target.to_string_lossy().into_owned();
                self.linktarget_raw = Some(target.as_bytes().to_vec());
            }
        }
    }

    pub(crate) fn target(&self) -> &OsStr {
        match &self.linktarget_raw {
            Some(raw) => OsStr::from_bytes(raw),
            None => OsStr::new(&self.linktarget),
        }
    }

    /// The twelve bits of `chmod`.
    pub(crate) fn permissions(&self) -> u32 {
        let mut mode = self.mode & 0o777;
        for (go, unix) in [
            (go::SETUID, 0o4000),
            (go::SETGID, 0o2000),
            (go::STICKY, 0o1000),
        ] {
            if self.mode & go != 0 {
                mode |= unix;
            }
        }
        mode
    }
}

fn go_mode(kind: NodeKind, permissions: u32) -> u32 {
    let mut mode = permissions & 0o777;
    for (unix, go) in [
        (0o4000, go::SETUID),
        (0o2000, go::SETGID),
        (0o1000, go::STICKY),
    ] {
        if permissions & unix != 0 {
            mode |= go;
        }
    }
    mode | match kind {
        NodeKind::File | NodeKind::Other => 0,
        NodeKind::Dir => go::DIR,
        NodeKind::Symlink => go::SYMLINK,
        NodeKind::Block => go::DEVICE,
        NodeKind::Character => go::DEVICE | go::CHARACTER,
        NodeKind::Fifo => go::FIFO,
        NodeKind::Socket => go::SOCKET,
    }
}

/// Times that no calendar has become the nearest that it has.
fn timestamp(time: Time) -> Timestamp {
    let nanoseconds = i32::try_from(time.nanoseconds).unwrap_or(0);
    Timestamp::new(time.seconds, nanoseconds).unwrap_or(if time.seconds < 0 {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    })
}

/// Go's quoting, as the library does it; nearly all names are themselves.
pub(crate) fn quote(name: &OsStr) -> Cow<'_, str> {
    let plain = |byte: &u8| !matches!(byte, b'\\' | b'"') && *byte >= b' ' && *byte < 0x7f;
    match name.to_str() {
        Some(text) if name.as_bytes().iter().all(plain) => Cow::Borrowed(text),
        _ => Cow::Owned(library_node(name).name),
    }
}

pub(crate) fn unquote(name: &str) -> Cow<'_, OsStr> {
    if !name.contains('\\') {
        return Cow::Borrowed(OsStr::new(name));
    }
    let mut node = library_node(OsStr::new(""));
    name.clone_into(&mut node.name);
    let name: OsString = node.name().into_owned();
    Cow::Owned(name)
}

fn library_node(name: &OsStr) -> rustic_core::repofile::Node {
    use rustic_core::repofile::{Metadata, NodeType};
    rustic_core::repofile::Node::new_node(name, NodeType::File, Metadata::default())
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn is_zero_time(time: &Timestamp) -> bool {
    *time == Timestamp::default()
}

fn null_is_empty<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[expect(clippy::ref_option, reason = "serde calls it")]
fn to_base64<S: Serializer>(bytes: &Option<Vec<u8>>, serializer: S) -> Result<S::Ok, S::Error> {
    match bytes {
        None => serializer.serialize_none(),
        Some(bytes) => {
            serializer.serialize_str(&base64::engine::general_purpose::STANDARD.encode(bytes))
        }
    }
}

fn from_base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<u8>>, D::Error> {
    let text: Option<Cow<'de, str>> = Option::deserialize(deserializer)?;
    text.map(|text| base64::engine::general_purpose::STANDARD.decode(text.as_bytes()))
        .transpose()
        .map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive() {
        for name in [
            &b"plain"[..],
            b"with space",
            b"back\\slash",
            b"\"quoted\"",
            b"new\nline\ttab",
            b"\xff\xfe",
            "é∂".as_bytes(),
            b"\x7f",
        ] {
            let name = OsStr::from_bytes(name);
            let quoted = quote(name).into_owned();
            assert_eq!(unquote(&quoted), name, "{quoted}");
        }
    }

    #[test]
    fn what_restic_writes_is_understood() {
        let text = r#"{"nodes":[{"name":"a","type":"file","mode":420,"mtime":"2024-01-02T03:04:05.123456789+02:00",
            "atime":"2024-01-02T03:04:05+02:00","ctime":"2024-01-02T03:04:05+02:00","uid":1,"gid":2,"user":"x","group":"y",
            "inode":7,"device_id":9,"size":3,"links":1,
            "extended_attributes":[{"name":"user.a","value":"AQI="},{"name":"user.b","value":null}],
            "content":["0000000000000000000000000000000000000000000000000000000000000001"]},
            {"name":"d","type":"dir","mode":2147484141,"mtime":"0001-01-01T00:00:00Z","atime":"0001-01-01T00:00:00Z",
            "content":null,"subtree":"0000000000000000000000000000000000000000000000000000000000000002"},
            {"name":"i","type":"irregular","content":null}]}"#;
        let tree: Tree = serde_json::from_str(text).unwrap();
        assert_eq!(tree.nodes[0].mtime.subsec_nanosecond(), 123_456_789);
        let values: Vec<_> = tree.nodes[0]
            .extended_attributes
            .iter()
            .map(|attribute| attribute.value.clone())
            .collect();
        assert_eq!(values, [Some(vec![1, 2]), None]);
        assert_eq!(tree.nodes[1].kind, NodeKind::Dir);
        assert_eq!(tree.nodes[1].permissions(), 0o755);
        assert_eq!(tree.nodes[2].kind, NodeKind::Other);
        assert!(
            serde_json::from_str::<Tree>(r#"{"nodes":null}"#)
                .unwrap()
                .nodes
                .is_empty()
        );
    }

    #[test]
    fn modes_survive() {
        for mode in [0o4755, 0o2755, 0o1777, 0o000, 0o7777] {
            let node = Node::plain("x", NodeKind::File, mode, Timestamp::UNIX_EPOCH);
            assert_eq!(node.permissions(), mode, "{mode:o}");
        }
    }
}
