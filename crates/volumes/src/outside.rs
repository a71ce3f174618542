//! `adopt` of a directory that is not the engine's: its content is copied into a new volume, and it stays as it is.
//!
//! What the directory is can be seen: `_data` with our description beside it is a copy of a volume, of which name, labels, limits,
//! protection and the time of its creation are taken over; `_data` alone is a volume of Docker's, whose name is that of the
//! directory; anything else is a plain directory, and needs a name. The steps are those of [`crate::receive`].

use std::error::Error;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use sys::copy_tree::{Copied, CopyError, CopyOptions, copy_tree};

use crate::description::{self, Description};
use crate::driver::Replica;
use crate::observer::Observed;
use crate::passport::Passport;
use crate::receive::{Received, own};
use crate::{CreateVolume, Observer, Volume, VolumeError, Volumes, open_directory};

/// A directory that became a volume.
#[derive(Debug, Clone)]
pub struct Adopted {
    pub volume: Volume,
    /// In what it is not as it was, one sentence each.
    pub warnings: Vec<String>,
}

/// What a directory was found to be.
struct Found {
    content: PathBuf,
    name: Option<String>,
    description: Option<Description>,
    warnings: Vec<String>,
}

impl Volumes {
    /// Makes a volume with the content of `directory`. `name` goes before the name that it had.
    ///
    /// # Errors
    /// [`VolumeError::NotAdoptable`], [`VolumeError::NameTaken`], [`VolumeError::Name`], [`VolumeError::Cancelled`]; what the
    /// disk says. There is no volume then.
    pub fn adopt_outside(
        &self,
        directory: &Path,
        name: Option<&str>,
        observer: &dyn Observer,
    ) -> Result<Adopted, VolumeError> {
        let found = self.look_at(directory)?;
        let name = name.map(str::to_owned).or(found.name).ok_or_else(|| {
            refused(
                directory,
                "it does not say what the volume was called; --name does",
            )
        })?;
        let mut warnings = found.warnings;
        let mut received = Received {
            event: Some(("adopt".to_owned(), directory.to_string_lossy().into_owned())),
            ..Received::default()
        };
        let request = match found.description {
            Some(description) => {
                received.protected = description.protected;
                received.created_at = Some(description.created_at.clone());
                if !description.snapshots.is_empty() {
                    warnings.push("snapshots are not copied".to_owned());
                }
                let (request, said) = Passport::described(description).request(&name);
                warnings.extend(said);
                request
            }
            None => CreateVolume {
                name: Some(name.clone()),
                ..CreateVolume::default()
            },
        };
        let source =
            open_directory(&found.content).map_err(VolumeError::io("open", &found.content))?;
        let observed = Observed::new(&name, observer);
        let mut filling = |content: &Path| -> Result<(), Box<dyn Error + Send + Sync>> {
            let target = open_directory(content).map_err(VolumeError::io("open", content))?;
            let watch = |more: Copied| observed.advance(more);
            let options = CopyOptions {
                root_attributes: true,
                one_file_system: true,
                share_always: true,
                watch: Some(&watch),
                ..CopyOptions::default()
            };
            copy_tree(source.as_fd(), target.as_fd(), &options).map_err(|error| match error {
                CopyError::Stopped => VolumeError::Cancelled(name.clone()),
                source => VolumeError::Populate {
                    name: name.clone(),
                    source,
                },
            })?;
            observed.settles(Replica::Files { bytes: 0 });
            Ok(())
        };
        let volume = self.receive(request, received, &mut filling).map_err(own)?;
        Ok(Adopted { volume, warnings })
    }

    fn look_at(&self, directory: &Path) -> Result<Found, VolumeError> {
        // A last slash would follow a link.
        let directory: PathBuf = directory.components().collect();
        let refused = |why: &str| Err(refused(&directory, why));
        let kind = match directory.symlink_metadata() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return refused("there is no such directory");
            }
            other => other.map_err(VolumeError::io("look at", &directory))?,
        };
        if kind.is_symlink() {
            return refused("it is a symbolic link; name the directory that it leads to");
        }
        if !kind.is_dir() {
            return refused("it is not a directory");
        }
        let place = directory
            .canonicalize()
            .map_err(VolumeError::io("look at", &directory))?;
        if place.starts_with(self.paths.root()) {
            return refused("it is inside the state directory");
        }
        if self.paths.root().starts_with(&place) {
            return refused("the state directory is inside it");
        }
        for pool in self.store.read(|tx| tx.pools())? {
            let volumes = self.paths.pool_volumes(&pool.id).canonicalize();
            if volumes.is_ok_and(|volumes| place.starts_with(volumes)) {
                return refused("it is inside a pool");
            }
        }
        let content = self.paths.content_in(&place);
        let is_volume = content.symlink_metadata().is_ok_and(|found| found.is_dir());
        if !is_volume {
            return Ok(Found {
                content: place,
                name: None,
                description: None,
                warnings: Vec::new(),
            });
        }
        let description = description::anyones(&self.paths, &place);
        let has_image = content.with_extension("image").exists();
        let is_bare =
            || std::fs::read_dir(&content).is_ok_and(|mut inside| inside.next().is_none());
        if has_image && is_bare() {
            return refused(
                "its files are in the filesystem _data.image; mount that on its _data first (mount -o loop)",
            );
        }
        let mut warnings = Vec::new();
        if description.is_none() && self.paths.metadata_in(&place).exists() {
            warnings.push(
                "what is written in volume.json cannot be understood, and was left out".to_owned(),
            );
        }
        let called = place
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        Ok(Found {
            content,
            name: description
                .as_ref()
                .map(|description| description.name.clone())
                .or(called),
            description,
            warnings,
        })
    }
}

fn refused(directory: &Path, why: &str) -> VolumeError {
    VolumeError::NotAdoptable {
        path: directory.to_owned(),
        why: why.to_owned(),
    }
}
