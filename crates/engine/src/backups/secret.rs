//! `backups/<id>/secret.json`: what opens a repository without asking anybody: its master key and the keys of its place.
//!
//! It is readable by the engine's user alone. Whoever has it reads every backup in the repository: `backup lock` takes
//! the master key out of it, and from then on no schedule runs.

use std::time::Duration;

use backup::{Location, MasterKey, Place, S3Keys};
use serde::{Deserialize, Serialize};
use store::{RepositoryId, RepositoryRow};

use super::{BackupError, Backups};

/// What the file holds. Never shown, not even for debugging.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Secret {
    /// As it was written: a REST server's may hold a password.
    pub(super) location: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) s3: Option<S3Secret>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) authority: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) ssh_arguments: Vec<String>,
    /// Bytes a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) upload_limit: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) download_limit: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) retries: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) patience: Option<Duration>,
    /// `None`: locked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) master_key: Option<MasterKey>,
}

/// What an object store asks for.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct S3Secret {
    access_key: String,
    secret_key: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    session_token: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    region: Option<String>,
    #[serde(default)]
    path_style: bool,
}

impl From<S3Keys> for S3Secret {
    fn from(keys: S3Keys) -> Self {
        Self {
            access_key: keys.access_key,
            secret_key: keys.secret_key,
            session_token: keys.session_token,
            region: keys.region,
            path_style: keys.path_style,
        }
    }
}

impl From<S3Secret> for S3Keys {
    fn from(secret: S3Secret) -> Self {
        Self {
            access_key: secret.access_key,
            secret_key: secret.secret_key,
            session_token: secret.session_token,
            region: secret.region,
            path_style: secret.path_style,
        }
    }
}

impl Backups {
    pub(super) fn secret(&self, row: &RepositoryRow) -> Result<Secret, BackupError> {
        let path = self.paths.repository_secret(&row.id);
        let bytes = std::fs::read(&path).map_err(BackupError::io("read", &path))?;
        serde_json::from_slice(&bytes).map_err(|_| BackupError::Secret { path })
    }

    /// Writes it durably, with its directory if that is not there.
    pub(super) fn keep_secret(
        &self,
        id: &RepositoryId,
        secret: &Secret,
    ) -> Result<(), BackupError> {
        let (directory, path) = (self.paths.repository(id), self.paths.repository_secret(id));
        sys::durable::ensure_dir(&directory, 0o700).map_err(BackupError::io("make", directory))?;
        let text = serde_json::to_vec(secret).expect("plain data serialises");
        sys::durable::write_atomic(&path, &text, 0o600).map_err(BackupError::io("write", path))
    }

    /// Takes everything away that is kept for a repository here.
    pub(super) fn drop_secret(&self, id: &RepositoryId) -> Result<(), BackupError> {
        let directory = self.paths.repository(id);
        match sys::dir::remove_tree(&directory) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            other => other.map_err(BackupError::io("delete", directory)),
        }
    }

    /// Keys of repositories that have no record: a crash came between.
    pub(super) fn sweep_secrets(&self) -> Result<Vec<String>, BackupError> {
        let known = self.store.read(|tx| tx.repositories())?;
        let directory = self.paths.backups();
        let entries = std::fs::read_dir(&directory).map_err(BackupError::io("list", &directory))?;
        let mut sentences = Vec::new();
        for entry in entries {
            let entry = entry.map_err(BackupError::io("list", &directory))?;
            let name = entry.file_name();
            let Some(id) = name.to_str().and_then(RepositoryId::parse) else {
                continue;
            };
            if known.iter().all(|row| row.id != id) {
                self.drop_secret(&id)?;
                sentences.push(
                    "the key of a repository of backups that was not added was removed".to_owned(),
                );
            }
        }
        Ok(sentences)
    }

    /// Where the repository is and how it is reached.
    pub(super) fn place(
        &self,
        name: &str,
        id: &RepositoryId,
        secret: &Secret,
    ) -> Result<Place, BackupError> {
        let location =
            Location::parse(&secret.location).map_err(|reason| BackupError::Location {
                name: name.to_owned(),
                reason,
            })?;
        let mut place = Place::new(location);
        place.s3 = secret.s3.clone().map(S3Keys::from);
        place.authority.clone_from(&secret.authority);
        place.proxies.clone_from(&self.containers.config.proxies);
        place.ssh.clone_from(&secret.ssh_arguments);
        place.upload_limit = secret.upload_limit;
        place.download_limit = secret.download_limit;
        place.retries = secret.retries.unwrap_or(place.retries);
        place.patience = secret.patience.unwrap_or(place.patience);
        place.cache = Some(self.paths.repository_cache(id));
        Ok(place)
    }
}
