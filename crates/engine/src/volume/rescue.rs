//! `system rescue`: makes the database of a state directory anew from what lies beside the data.
//!
//! 1. nobody else has the directory: its instance lock is taken (that of the engine's own directory is held already)
//! 2. a database that is damaged is put aside, with the time in its name; nothing is deleted. That of the engine's own
//!    directory when the engine starts for this ([`crate::EngineConfig::rescue`]), for until then none can
//! 3. the start's recovery runs: pools come up, a database that knows no volume gets all of them
//! 4. what is described and in no record gets one; names that are taken get the beginning of the id
//! 5. what was mounted for that is taken down again

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use store::{ErrorKind, InstanceLock, Paths, Store, StoreError};
use volumes::{VolumeError, Volumes};

use crate::engine::Engine;
use crate::error::{Fault, chain};

/// Why a directory could not be rescued.
#[derive(Debug, thiserror::Error)]
pub enum RescueError {
    #[error("{} is no state directory: there is no data in it", .0.display())]
    NoStateDirectory(PathBuf),
    #[error("another engine is running for {}", .0.display())]
    InUse(PathBuf),
    #[error(
        "{what}; stop the engine, then orlop system rescue {} puts the database aside and makes the records again from what lies \
         beside the data",
        root.display()
    )]
    Damaged { root: PathBuf, what: String },
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
            Self::Damaged { .. } => ErrorKind::Corrupt,
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
            None => return self.rescue_own(),
            Some(root) => root
                .canonicalize()
                .map_err(|_| RescueError::NoStateDirectory(root.to_owned()))?,
        };
        if root == self.paths.root() {
            return self.rescue_own();
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
        let store = open_or_put_aside(&paths, &mut sentences)?;
        let volumes = Volumes::open(Arc::new(store), paths, volumes::PluginSettings::default())?;
        sentences.extend(volumes.recover()?);
        sentences.extend(volumes.rescue_described()?);
        volumes.take_all_down();
        Ok(once(sentences))
    }

    /// With what the start has done already, if it was for this.
    fn rescue_own(&self) -> Result<Vec<String>, RescueError> {
        self.store.check().map_err(|error| {
            if !error.is_damage() {
                return RescueError::Store(error);
            }
            RescueError::Damaged {
                root: self.paths.root().to_owned(),
                what: chain(&error),
            }
        })?;
        let mut sentences = std::mem::take(
            &mut *self
                .rescued
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner),
        );
        sentences.extend(self.volumes.rescue_described()?);
        Ok(once(sentences))
    }
}

/// What a start says and a look after it as well is said once.
fn once(mut sentences: Vec<String>) -> Vec<String> {
    let mut said = HashSet::new();
    sentences.retain(|sentence| said.insert(sentence.clone()));
    sentences
}

/// The database of a directory whose lock is held, all of which can be read: if it cannot, a new one.
pub(crate) fn open_or_put_aside(
    paths: &Paths,
    sentences: &mut Vec<String>,
) -> Result<Store, RescueError> {
    let opened = Store::open(paths).and_then(|store| store.check().map(|()| store));
    match opened {
        Ok(store) => Ok(store),
        Err(error) if error.is_damage() => {
            let aside = put_aside(paths)?;
            sentences.push(format!(
                "the database cannot be read ({}) and was put aside as {}",
                chain(&error),
                aside.display()
            ));
            sentences.push(
                "only in it were containers, networks, images, backup repositories and schedules, the trash's settings, \
                 and the history of volumes"
                    .to_owned(),
            );
            Ok(Store::open(paths)?)
        }
        // A newer one is whole; only this program does not understand it. A disk may be full.
        Err(error) => Err(error.into()),
    }
}

/// Where the database is then.
fn put_aside(paths: &Paths) -> Result<PathBuf, RescueError> {
    let time = jiff::Timestamp::now()
        .strftime("%Y-%m-%dT%H-%M-%SZ")
        .to_string();
    let files = paths.database_files(&time);
    for (file, aside) in &files {
        match sys::durable::rename_sync(file, aside) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            other => other.map_err(|source| RescueError::Aside {
                path: file.clone(),
                source,
            })?,
        }
    }
    let database = files.into_iter().next();
    Ok(database.map(|(_, aside)| aside).unwrap_or_default())
}
