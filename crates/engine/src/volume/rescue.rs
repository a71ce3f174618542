//! `system rescue`: makes the database of a state directory anew from what lies beside the data.
//!
//! 1. nobody else has the directory: its instance lock is taken (that of the engine's own directory is held already)
//! 2. a database that cannot be opened is put aside, with the time in its name; nothing is deleted
//! 3. the start's recovery runs: pools come up, a database that knows no volume gets all of them
//! 4. what is described and in no record gets one; names that are taken get the beginning of the id
//! 5. what was mounted for that is taken down again

use std::path::{Path, PathBuf};
use std::sync::Arc;

use store::{ErrorKind, InstanceLock, Paths, Store, StoreError};
use volumes::{VolumeError, Volumes};

use crate::engine::Engine;
use crate::error::Fault;

/// Why a directory could not be rescued.
#[derive(Debug, thiserror::Error)]
pub enum RescueError {
    #[error("{} is no state directory: there is no data in it", .0.display())]
    NoStateDirectory(PathBuf),
    #[error("another engine is running for {}", .0.display())]
    InUse(PathBuf),
    #[error("cannot put aside {}", path.display())]
    Aside {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error(transparent)]
    Volume(#[from] VolumeError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Fault for RescueError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoStateDirectory(_) => ErrorKind::Invalid,
            Self::InUse(_) => ErrorKind::Conflict,
            Self::Aside { source, .. } => ErrorKind::from(source),
            Self::Volume(error) => error.kind(),
            Self::Store(error) => error.kind(),
        }
    }
}

impl Engine {
    /// Finds what lies in a state directory and in no record; `None`: this engine's own. A sentence for each thing done.
    ///
    /// # Errors
    /// [`RescueError`].
    pub fn rescue(&self, root: Option<&Path>) -> Result<Vec<String>, RescueError> {
        let root = match root {
            None => return Ok(self.volumes.rescue_described()?),
            Some(root) => root
                .canonicalize()
                .map_err(|_| RescueError::NoStateDirectory(root.to_owned()))?,
        };
        if root == self.paths.root() {
            return Ok(self.volumes.rescue_described()?);
        }
        // Looked for before anything is made there.
        if !Paths::is_state_directory(&root) {
            return Err(RescueError::NoStateDirectory(root));
        }
        let paths = Arc::new(Paths::new(&root)?);
        let Some(_lock) = InstanceLock::try_take(&paths)? else {
            return Err(RescueError::InUse(root));
        };
        paths.create_skeleton()?;
        let mut sentences = Vec::new();
        let store = match Store::open(&paths) {
            Ok(store) => store,
            // A newer one is whole; only this program does not understand it.
            Err(error @ StoreError::Newer { .. }) => return Err(error.into()),
            Err(error) => {
                sentences.push(format!(
                    "the database cannot be opened ({error}) and was put aside"
                ));
                put_aside(&paths)?;
                Store::open(&paths)?
            }
        };
        let volumes = Volumes::open(Arc::new(store), paths, volumes::PluginSettings::default())?;
        sentences.extend(volumes.recover()?);
        sentences.extend(volumes.rescue_described()?);
        volumes.take_all_down();
        Ok(sentences)
    }
}

fn put_aside(paths: &Paths) -> Result<(), RescueError> {
    let time = jiff::Timestamp::now()
        .strftime("%Y-%m-%dT%H-%M-%SZ")
        .to_string();
    for (file, aside) in paths.database_files(&time) {
        match sys::durable::rename_sync(&file, &aside) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            other => other.map_err(|source| RescueError::Aside { path: file, source })?,
        }
    }
    Ok(())
}
