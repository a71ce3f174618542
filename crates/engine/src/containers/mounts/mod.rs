//! Where containers and volumes meet: from what a request says about mounts to the list that a shim carries out.
//!
//! 1. [`bind_spec`] reads the `-v` form, [`mount_spec`] checks the `--mount` form, [`volumes_from`] its namesake;
//! 2. [`resolve`] puts them together by Docker's precedence, one entry for each destination;
//! 3. [`sources`] judges the sources of binds, [`prepare`] makes and leases the volumes and fills the empty ones from the image (at create);
//! 4. [`realise`] turns the stored list into mounts in mounting order (at every start).
//!
//! [`attach`] adds one to a container that exists, or takes one away; [`present`] follows volumes that are renamed.

use serde::{Deserialize, Serialize};

use super::config::TmpfsOptions;
use super::inspect::MountPoint;

pub mod attach;
mod bind_spec;
mod idmap;
mod mount_spec;
pub(crate) mod prepare;
mod present;
pub(crate) mod realise;
pub(crate) mod resolve;
pub mod sources;
mod volumes_from;

pub(crate) use present::name_as_present;

/// One mount of a container after resolution; stored in the container's row.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ResolvedMount {
    /// What `inspect` shows. `point.destination` is clean and absolute.
    pub(crate) point: MountPoint,
    /// A volume that the request gave no name: `rm -v` of its last holder removes it.
    pub(crate) anonymous: bool,
    /// An anonymous volume that is made for this very container, under a name chosen before it exists.
    pub(crate) made_here: bool,
    /// Fill the volume from the image when it is empty.
    pub(crate) copy: bool,
    pub(crate) subpath: Option<String>,
    /// Make a missing bind source.
    pub(crate) create_source: bool,
    pub(crate) non_recursive: bool,
    pub(crate) read_only_non_recursive: bool,
    pub(crate) read_only_force_recursive: bool,
    pub(crate) tmpfs: Option<TmpfsOptions>,
    /// Options for the volume's driver, used when it does not exist yet.
    pub(crate) driver_options: std::collections::BTreeMap<String, String>,
    pub(crate) volume_labels: std::collections::BTreeMap<String, String>,
    /// What a volume mount shows instead of the present.
    pub(crate) snapshot: Option<SnapshotSource>,
    /// No other container may write to the volume while this one runs.
    pub(crate) exclusive: bool,
    /// The volume was made for this mount, just now.
    #[serde(skip)]
    pub(crate) fresh: bool,
    /// Id of the image of an image mount.
    pub(crate) image: Option<String>,
    /// Owners of the source appear as others inside, in the form of the request.
    pub(crate) idmap: Option<String>,
    /// Directories of a bind that stay hidden.
    pub(crate) exclude: Vec<String>,
    /// What becomes of a bind source that does not exist, where `create_source` allows to make one.
    pub(crate) missing: sources::BindMissing,
    /// Refuse to start when the source of a bind is on another filesystem than it was.
    pub(crate) require_device: bool,
    /// Which volume it is, whatever is called so later; `None` where a plugin keeps the bytes.
    pub(crate) volume_id: Option<String>,
    /// Where the source of a bind was.
    pub(crate) noted: Option<sources::SourceNote>,
    /// It was attached to a running container, and goes when that stops.
    pub(crate) temporary: bool,
}

/// A snapshot that a container reads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct SnapshotSource {
    pub(crate) volume: store::VolumeId,
    pub(crate) id: store::SnapshotId,
}

/// `path.Clean` of Go: no `.`, `..` or doubled slashes; `..` at the root stays at the root.
pub(crate) fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if matches!(parts.last(), Some(&last) if last != "..") => {
                parts.pop();
            }
            ".." if rooted => {}
            part => parts.push(part),
        }
    }
    match (rooted, parts.join("/")) {
        (true, joined) => format!("/{joined}"),
        (false, joined) if joined.is_empty() => ".".to_owned(),
        (false, joined) => joined,
    }
}

#[cfg(test)]
mod tests {
    use super::clean;

    #[test]
    fn clean_follows_go() {
        for (path, cleaned) in [
            ("/a/b/", "/a/b"),
            ("//a//./b", "/a/b"),
            ("/../a", "/a"),
            ("/a/../..", "/"),
            ("a/../../b", "../b"),
            ("a/..", "."),
            ("foo", "foo"),
        ] {
            assert_eq!(clean(path), cleaned, "{path}");
        }
    }
}
