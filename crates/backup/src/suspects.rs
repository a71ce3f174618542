//! Files of a repository that were once found to be damaged. Before the next backup relies on one it is looked at again.
//!
//! They are noted beside the cache: a note that gets lost, or is wrong, costs one more look.

use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use rustic_core::Id;

use crate::place::{Kind, Name};

const DIRECTORY: &str = "damaged";
const MODE: u32 = 0o600;
/// What is noted; all else is read whole at each run.
const KINDS: [Kind; 2] = [Kind::Index, Kind::Pack];

#[derive(Debug)]
pub(crate) struct Suspects {
    path: PathBuf,
}

impl Suspects {
    /// Beside the cache of a repository, which is below `path`.
    pub(crate) fn beside(path: &Path, repository: Id) -> Self {
        let path = path.join(repository.to_hex().as_str()).join(DIRECTORY);
        Self { path }
    }

    fn path(&self, name: Name) -> PathBuf {
        let id = name.id.to_hex();
        self.path
            .join(format!("{}-{}", name.kind.directory(), id.as_str()))
    }

    pub(crate) fn note(&self, name: Name) {
        let noted = sys::durable::create_dir_all(&self.path, 0o700)
            .and_then(|()| sys::durable::write_unsynced(&self.path(name), b"", MODE));
        if let Err(error) = noted
            && error.kind() != std::io::ErrorKind::AlreadyExists
        {
            tracing::debug!(%error, %name, "that it is damaged is not noted");
        }
    }

    pub(crate) fn clear(&self, name: Name) {
        if let Err(error) = sys::durable::remove_file(&self.path(name)) {
            tracing::debug!(%error, %name, "stays noted as damaged");
        }
    }

    pub(crate) fn all(&self) -> Vec<Name> {
        let entries =
            sys::dir::open(&self.path).and_then(|opened| sys::dir::read_dir(opened.as_fd()));
        // Nothing was ever noted.
        let entries = entries.unwrap_or_default();
        let name = |text: &str| {
            let (directory, id) = text.split_once('-')?;
            let kind = KINDS
                .into_iter()
                .find(|kind| kind.directory() == directory)?;
            Some(Name::new(kind, id.parse().ok()?))
        };
        entries
            .iter()
            .filter_map(|entry| name(entry.name.to_str()?))
            .collect()
    }
}
