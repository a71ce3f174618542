//! `reseed`: what an image filled a volume with is brought up to date after the image was upgraded.
//!
//! Which directory of which image filled a volume is noted with the filling. While that image is still there, what users
//! did since is known, and kept ([`volumes::reseed`] decides); else only what is missing is added.

use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};
use volumes::{Reseeded, Reseeding, SeedChange};

use store::ErrorKind;

use super::onlooker::Onlooker;
use super::users::parse;
use crate::cancel::Cancel;
use crate::containers::create::to_json;
use crate::containers::find::Columns as _;
use crate::containers::{ContainerError, Containers};
use crate::engine::Engine;
use crate::progress::Progress;
use crate::snapshot::TurnBackError;

/// What filled a volume.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Seed {
    /// As users named it.
    pub image: String,
    #[serde(rename = "ImageID")]
    pub image_id: String,
    /// The directory of the image.
    pub path: String,
    /// The directory of the volume, if it was not the root.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subpath: Option<String>,
    /// RFC 3339.
    pub at: String,
}

/// A container whose image is not the one that filled its volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Drift {
    pub container: String,
    pub name: String,
    pub image: String,
    #[serde(rename = "ImageID")]
    pub image_id: String,
}

/// What is wished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReseedMode {
    /// Only look.
    Diff,
    /// Keep what users changed.
    Merge,
    /// Update that as well.
    Replace,
}

/// What a reseed did, or would do.
#[derive(Debug)]
pub struct Reseed {
    pub from: Seed,
    /// The image that filled the volume is there: what users changed is known.
    pub base_known: bool,
    pub changes: Vec<Reseeded>,
    /// Name of the snapshot with what was there before.
    pub kept: Option<String>,
}

impl Engine {
    /// Compares a volume with what an image would fill it with, and takes that over as `mode` says. `from` is `IMAGE`,
    /// `IMAGE:/PATH`, or nothing: what filled it, as it is called now. Nothing has changed when it is cancelled before the new
    /// files are all there.
    ///
    /// # Errors
    /// [`ContainerError::Invalid`] when nobody knows what filled it, [`ContainerError::NotFound`] for a directory that the
    /// image has not; those of images, snapshots and volumes.
    pub fn reseed_volume(
        &self,
        name: &str,
        from: Option<&str>,
        mode: ReseedMode,
        snapshot: bool,
        progress: &dyn Progress,
        cancel: &Cancel,
    ) -> Result<Reseed, TurnBackError> {
        let noted: Option<Seed> = self
            .volumes
            .notes(name)?
            .seeded_by
            .as_deref()
            .and_then(parse);
        let (image, path) = match from {
            Some(from) => split(from),
            None => ("", None),
        };
        let unknown = |what: &str| {
            ContainerError::Invalid(format!(
                "it is not known which {what} filled volume {name}: say --from IMAGE:/PATH"
            ))
        };
        let known = |part: fn(&Seed) -> &String| noted.as_ref().map(part).cloned();
        let image = if image.is_empty() {
            known(|seed| &seed.image).ok_or_else(|| unknown("image"))?
        } else {
            image.to_owned()
        };
        let path = match path {
            Some(path) => path.to_owned(),
            None => known(|seed| &seed.path).ok_or_else(|| unknown("directory of an image"))?,
        };
        let found = self.images.for_run(&image).map_err(ContainerError::from)?;
        let seed = Seed {
            image,
            image_id: found.id,
            path,
            subpath: noted.as_ref().and_then(|seed| seed.subpath.clone()),
            at: jiff::Timestamp::now().to_string(),
        };
        let base = noted.as_ref().and_then(|noted| {
            let lowers = self.images.lowers(&noted.image_id).ok()?;
            Some((lowers, noted))
        });
        let onlooker = Onlooker::new(progress, cancel);
        let act = |new: BorrowedFd<'_>, base: Option<BorrowedFd<'_>>| {
            let reseeding = Reseeding {
                base,
                new,
                subpath: seed.subpath.as_deref(),
                replace: mode == ReseedMode::Replace,
            };
            let planned = self.volumes.plan_reseed(name, &reseeding, &onlooker)?;
            let changes = planned.iter().any(|one| one.change != SeedChange::Keep);
            let same = noted
                .as_ref()
                .is_some_and(|noted| noted.image_id == seed.image_id);
            if mode == ReseedMode::Diff || !changes && same {
                return Ok((planned, None));
            }
            let kept = if snapshot && changes {
                let stopped = || cancel.is_cancelled();
                Some(self.keep_before("reseed", name, &[], progress, &stopped)?)
            } else {
                None
            };
            match self
                .volumes
                .reseed(name, &reseeding, &to_json(&seed), &onlooker)
            {
                Ok(done) => Ok::<_, TurnBackError>((done, kept)),
                Err(error) => {
                    // It holds nothing that the volume does not.
                    if error.kind() == ErrorKind::Cancelled
                        && let Some(kept) = &kept
                        && let Err(error) = self.volumes.remove_snapshot(name, kept)
                    {
                        let error = &error as &dyn std::error::Error;
                        tracing::warn!(error, volume = name, snapshot = %kept, "it stays");
                    }
                    Err(error.into())
                }
            }
        };
        let (base_known, (changes, kept)) =
            self.with_directory(&found.lowers, &seed, |new| match &base {
                Some((lowers, noted)) => self
                    .with_directory(lowers, noted, |base| act(new, Some(base)))
                    .map(|done| (true, done)),
                None => act(new, None).map(|done| (false, done)),
            })?;
        Ok(Reseed {
            from: seed,
            base_known,
            changes,
            kept,
        })
    }

    /// Opens the directory of an image that `seed` names.
    fn with_directory<T>(
        &self,
        lowers: &[PathBuf],
        seed: &Seed,
        act: impl FnOnce(BorrowedFd<'_>) -> Result<T, TurnBackError>,
    ) -> Result<T, TurnBackError> {
        let missing = || {
            ContainerError::NotFound(format!(
                "image {} has no directory {}",
                seed.image, seed.path
            ))
        };
        if lowers.is_empty() {
            return Err(missing().into());
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        sys::overlay::with_view(&self.paths.layers(), lowers, None, |root| {
            let directory = sys::dir::open_in_root(root, Path::new(&seed.path), flags)
                .map_err(|_| missing())?;
            act(directory.as_fd())
        })
        .map_err(|source| ContainerError::Io {
            action: format!("the files of image {} cannot be read", seed.image),
            source,
        })?
    }
}

impl Containers {
    /// Containers that would have filled the volume with another image than the one that did.
    pub(crate) fn drift(&self, name: &str, seed: &Seed) -> Result<Vec<Drift>, ContainerError> {
        let mut found = Vec::new();
        for user in self.volume_users(name)? {
            if user.destination != seed.path || !user.rw {
                continue;
            }
            let row = match self.find(&user.container) {
                Ok(row) => row,
                // It was removed meanwhile.
                Err(ContainerError::NoSuch(_)) => continue,
                Err(error) => return Err(error),
            };
            if row.image_id != seed.image_id && row.status().is_ok() {
                found.push(Drift {
                    container: row.id,
                    name: row.name,
                    image: row.image_ref,
                    image_id: row.image_id,
                });
            }
        }
        Ok(found)
    }
}

/// `IMAGE`, `IMAGE:TAG`, each with `:/PATH` or not.
fn split(from: &str) -> (&str, Option<&str>) {
    match from.find(":/") {
        Some(at) => (&from[..at], Some(&from[at + 1..])),
        None => (from, None),
    }
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn images_with_and_without_a_path() {
        for (text, parts) in [
            ("nginx", ("nginx", None)),
            ("nginx:1.27", ("nginx:1.27", None)),
            (
                "host:5000/a/b:t:/etc/nginx",
                ("host:5000/a/b:t", Some("/etc/nginx")),
            ),
            (":/etc", ("", Some("/etc"))),
        ] {
            assert_eq!(split(text), parts, "{text}");
        }
    }
}
