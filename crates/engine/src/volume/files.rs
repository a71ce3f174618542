//! Copies into and out of a volume without a container, in the form in which `cp` of a container speaks.

use std::io::{self, Read, Write};
use std::path::PathBuf;

use crate::containers::archive::place;
use crate::containers::mounts::clean;
use crate::containers::{ArchiveStat, ContainerError};
use crate::engine::Engine;
use crate::snapshot::TurnBackError;

impl Engine {
    /// What is at `path` in a volume.
    ///
    /// # Errors
    /// [`ContainerError::NotFound`], and those of mounting the volume.
    pub fn volume_stat(&self, name: &str, path: &str) -> Result<ArchiveStat, ContainerError> {
        self.volumes.with_root(name, |root| {
            place(root, path)
                .map(|place| place.shown)
                .map_err(|error| missing(name, path, error))
        })?
    }

    /// Calls `begin` with the stat, then writes a tar stream of `path` to what it returns.
    ///
    /// # Errors
    /// As [`Engine::volume_stat`]; what reading the files says.
    pub fn volume_get(
        &self,
        name: &str,
        path: &str,
        begin: &mut dyn FnMut(ArchiveStat) -> Box<dyn Write + Send>,
    ) -> Result<(), ContainerError> {
        self.volumes.with_root(name, |root| {
            let place = place(root, path).map_err(|error| missing(name, path, error))?;
            // `/x/.` names the contents of x, and the archive says so.
            let contents = path.trim_end_matches('/').ends_with("/.") || place.shown.name == "/";
            let options = archive::PackOptions {
                path: PathBuf::from(clean(&format!("/{path}"))),
                follow: place.through,
                name: Some(PathBuf::from(if contents {
                    "."
                } else {
                    &place.shown.name
                })),
                ..archive::PackOptions::default()
            };
            let mut out = begin(place.shown);
            archive::pack(root, &mut out, &options)
                .map(drop)
                .map_err(|error| ContainerError::Io {
                    action: format!("cannot copy {path} from volume {name}"),
                    source: io::Error::other(error),
                })
        })?
    }

    /// Unpacks a tar stream (plain, gzip, zstd) into the directory `path` of a volume. What it holds is kept first if care
    /// is wished (`None`: as configured).
    ///
    /// # Errors
    /// As [`volumes::Volumes::import_into`], and those of the snapshot.
    pub fn volume_put(
        &self,
        name: &str,
        path: &str,
        asked: Option<bool>,
        tar: &mut (dyn Read + Send),
    ) -> Result<(), TurnBackError> {
        self.keep_if_wished("copy", name, asked)?;
        Ok(self.volumes.import_into(name, path, tar)?)
    }
}

fn missing(name: &str, path: &str, error: io::Error) -> ContainerError {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            ContainerError::NotFound(format!("Could not find the file {path} in volume {name}"))
        }
        _ => ContainerError::Io {
            action: format!("cannot open {path} in volume {name}"),
            source: error,
        },
    }
}
