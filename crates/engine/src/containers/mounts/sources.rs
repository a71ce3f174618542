//! Sources of binds: what becomes of those that are missing, and whether they are still where they were.

use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};
use sys::identity::Identity;

use super::ResolvedMount;
use crate::containers::{ContainerError, Containers};

/// What becomes of a bind source that does not exist.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BindMissing {
    /// Docker's way: a directory of root's, whatever was meant.
    #[default]
    Create,
    /// The container is refused.
    Error,
    /// A directory that belongs to whom the one around it does, unless the image has a file at the target.
    CreateAsOwner,
}

impl BindMissing {
    /// # Errors
    /// A sentence that names the possible words.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "create" => Ok(Self::Create),
            "error" => Ok(Self::Error),
            "create-as-owner" => Ok(Self::CreateAsOwner),
            other => Err(format!(
                "invalid bind-missing policy '{other}': must be one of create, error, create-as-owner"
            )),
        }
    }
}

/// Where a bind source was.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct SourceNote {
    /// `major:minor`.
    pub(crate) device: String,
    /// The filesystem's own number, where it tells.
    pub(crate) uuid: Option<String>,
    /// Of a single file: the one that the container has, as of its last start.
    pub(crate) file: Option<u64>,
}

impl SourceNote {
    fn of(identity: Identity) -> Self {
        Self {
            device: identity.device,
            uuid: identity.uuid,
            file: (!identity.directory).then_some(identity.inode),
        }
    }

    /// What is at `path` now.
    pub(crate) fn now(path: &str) -> Option<Self> {
        sys::identity::of(Path::new(path)).ok().map(Self::of)
    }

    /// Whether `other` is on the same filesystem: by its own number, or where it has none by the device's.
    pub(crate) fn same_filesystem(&self, other: &Self) -> bool {
        match (&self.uuid, &other.uuid) {
            (Some(one), Some(other)) => one == other,
            _ => self.device == other.device,
        }
    }
}

impl Containers {
    /// Judges the bind sources of a container that is made, or about to start, and notes where they are; warnings.
    ///
    /// `lowers` are the image's layers.
    pub(crate) fn settle_sources(
        &self,
        mounts: &mut [ResolvedMount],
        lowers: &[PathBuf],
    ) -> Result<Vec<String>, ContainerError> {
        let mut warnings = Vec::new();
        let mut missing = Vec::new();
        for mount in mounts.iter_mut().filter(|mount| mount.point.kind == "bind") {
            let source = &mount.point.source;
            match (SourceNote::now(source), &mount.noted) {
                (Some(now), Some(before))
                    if mount.require_device && !before.same_filesystem(&now) =>
                {
                    return Err(ContainerError::Conflict(format!(
                        "bind source {source} is on another filesystem (device {}) than before (device {}): is its disk mounted?",
                        now.device, before.device
                    )));
                }
                (Some(now), Some(before)) => {
                    // The first place is the right one until somebody makes the container anew.
                    mount.noted = Some(SourceNote {
                        file: now.file,
                        ..before.clone()
                    });
                }
                (Some(now), None) => mount.noted = Some(now),
                (None, _) if mount.require_device => {
                    return Err(ContainerError::Conflict(format!(
                        "bind source {source} does not exist, and must be on the filesystem that it was on: is its disk mounted?"
                    )));
                }
                (None, _) => missing.push(mount),
            }
        }
        if missing.is_empty() {
            return Ok(warnings);
        }
        let mut judge = |root: Option<BorrowedFd<'_>>| {
            missing.iter().try_for_each(|mount| {
                warnings.extend(missing_source(mount, root)?);
                Ok::<_, ContainerError>(())
            })
        };
        if lowers.is_empty() {
            judge(None)?;
        } else {
            sys::overlay::with_view(&self.paths.layers(), lowers, None, |root| judge(Some(root)))
                .map_err(|source| ContainerError::Io {
                    action: "the image's files cannot be read".to_owned(),
                    source,
                })??;
        }
        Ok(warnings)
    }
}

/// A warning, or the refusal.
fn missing_source(
    mount: &ResolvedMount,
    root: Option<BorrowedFd<'_>>,
) -> Result<Option<String>, ContainerError> {
    let (source, target) = (&mount.point.source, &mount.point.destination);
    let refuse = |why: &str| {
        Err(ContainerError::Invalid(format!(
            "invalid mount config for type \"bind\": bind source path does not exist: {source}{why}"
        )))
    };
    let over_file = root.is_some_and(|root| is_file(root, target));
    match mount.missing {
        _ if !mount.create_source => Ok(None),
        BindMissing::Error => refuse(""),
        BindMissing::CreateAsOwner if over_file => refuse(&format!(
            ", and {target} is a file in the image: a directory in its place is not made"
        )),
        BindMissing::CreateAsOwner => Ok(None),
        BindMissing::Create if over_file => Ok(Some(format!(
            "bind source path {source} does not exist: the start makes a directory of it, which cannot be mounted over \
             the file {target} of the image"
        ))),
        BindMissing::Create => Ok(Some(format!(
            "bind source path {source} does not exist: the start makes a directory of it, owned by root"
        ))),
    }
}

fn is_file(root: BorrowedFd<'_>, path: &str) -> bool {
    use std::os::fd::AsFd as _;
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    sys::dir::open_in_root(root, Path::new(path), flags)
        .and_then(|found| sys::dir::stat(found.as_fd()))
        .is_ok_and(|stat| stat.kind() != rustix::fs::FileType::Directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_the_filesystem_decides_where_there_is_one() {
        let note = |device: &str, uuid: Option<&str>| SourceNote {
            device: device.to_owned(),
            uuid: uuid.map(str::to_owned),
            file: None,
        };
        for (one, other, same) in [
            (note("8:1", Some("a")), note("8:17", Some("a")), true),
            (note("8:1", Some("a")), note("8:1", Some("b")), false),
            (note("8:1", None), note("8:1", Some("b")), true),
            (note("0:5", None), note("0:6", None), false),
        ] {
            assert_eq!(one.same_filesystem(&other), same, "{one:?} {other:?}");
        }
    }
}
