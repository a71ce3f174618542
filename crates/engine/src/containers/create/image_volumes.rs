//! What becomes of the volumes that an image declares, before the mounts are decided.

use std::collections::{BTreeMap, BTreeSet};

use super::super::mounts::{ResolvedMount, clean};
use super::{Config, ContainerError, HostConfig};

/// As `--image-volumes` says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ImageVolumes {
    /// Docker's way: a new volume for each, filled from the image.
    Anonymous,
    /// Memory, empty at each start.
    Tmpfs,
    /// The image's own files, as if nothing were declared.
    Ignore,
}

impl ImageVolumes {
    pub(super) fn parse(text: &str) -> Result<Self, ContainerError> {
        match text {
            "" | "anonymous" => Ok(Self::Anonymous),
            "tmpfs" => Ok(Self::Tmpfs),
            "ignore" => Ok(Self::Ignore),
            other => Err(ContainerError::Invalid(format!(
                "invalid image volumes policy '{other}': must be one of anonymous, tmpfs, ignore"
            ))),
        }
    }

    /// Takes the declared volumes out of the image's configuration unless they become volumes.
    pub(super) fn take(self, image: &mut Config) -> BTreeSet<String> {
        let declared = match self {
            Self::Anonymous => image.volumes.clone(),
            Self::Tmpfs | Self::Ignore => image.volumes.take(),
        };
        let place = |path: String| clean(&format!("/{}", path.trim_start_matches('/')));
        declared
            .into_iter()
            .flatten()
            .map(|(path, _)| place(path))
            .collect()
    }

    /// Makes memory of those where nothing else is mounted.
    pub(super) fn settle(
        self,
        declared: &BTreeSet<String>,
        mounts: &[ResolvedMount],
        host: &mut HostConfig,
    ) {
        if self != Self::Tmpfs {
            return;
        }
        for path in declared {
            let taken = mounts.iter().any(|mount| mount.point.destination == *path)
                || (host.tmpfs.iter().flatten()).any(|(other, _)| clean(other) == *path);
            if !taken {
                host.tmpfs
                    .get_or_insert_with(BTreeMap::new)
                    .insert(path.clone(), String::new());
            }
        }
    }
}
