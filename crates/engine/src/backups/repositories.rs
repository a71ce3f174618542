//! Repositories by name: made, added, listed, locked and forgotten. Nothing here ever deletes a backup.

use std::time::Duration;

use backup::{Backup, Location, Repository, S3Keys, Unlock};
use jiff::Timestamp;
use store::names::is_name;
use store::{RepositoryId, RepositoryRow};

use super::reference::volume_of;
use super::secret::Secret;
use super::{BackupError, Backups, alone, hex};

/// The record of which repository is meant when none is named.
const DEFAULT: &str = "default-repository";

/// A repository that shall have a name.
#[derive(Clone, Default)]
pub struct AddRepository {
    pub name: String,
    /// As restic writes it.
    pub location: String,
    pub password: String,
    /// Make it; else it is there already.
    pub create: bool,
    pub s3: Option<S3Keys>,
    /// Certificates in PEM that vouch for the server, in place of those that this host trusts.
    pub authority: Option<String>,
    /// Added to the command line of ssh.
    pub ssh_arguments: Vec<String>,
    /// Bytes a second.
    pub upload_limit: Option<u64>,
    pub download_limit: Option<u64>,
    /// How often a request is made again, and how long a server may say nothing; `None`: as is usual.
    pub retries: Option<u32>,
    pub patience: Option<Duration>,
    /// Let it be the one that is meant when none is named. The first one always is.
    pub default: bool,
}

/// Without what is secret in it.
impl std::fmt::Debug for AddRepository {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AddRepository")
            .field("name", &self.name)
            .field("create", &self.create)
            .finish_non_exhaustive()
    }
}

/// A repository as callers see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryInfo {
    pub name: String,
    /// Without a password.
    pub location: String,
    /// The id that it gave itself.
    pub id: String,
    /// RFC 3339: when it got its name here.
    pub created_at: String,
    /// It is meant when none is named.
    pub default: bool,
    /// Its key is not kept here: nobody can use it until somebody gives the password.
    pub locked: bool,
}

/// One of the keys of a repository; each has a password of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    pub id: String,
    /// Who made it, and where.
    pub user: String,
    pub host: String,
    /// RFC 3339; empty where the program that made it did not say.
    pub created_at: String,
}

impl Backups {
    /// Makes a repository, or finds one that is there, and gives it a name. The password is not kept; the master key that
    /// it opens is.
    ///
    /// # Errors
    /// [`BackupError::RepositoryName`], [`BackupError::RepositoryTaken`], [`BackupError::Location`],
    /// [`BackupError::Repository`] when it cannot be reached, made or opened.
    pub fn add_repository(&self, request: &AddRepository) -> Result<RepositoryInfo, BackupError> {
        let name = request.name.clone();
        if !is_name(&name) {
            return Err(BackupError::RepositoryName(name));
        }
        if self.row(&name)?.is_some() {
            return Err(BackupError::RepositoryTaken(name));
        }
        let mut secret = Secret {
            location: request.location.clone(),
            s3: request.s3.clone().map(Into::into),
            authority: request.authority.clone(),
            ssh_arguments: request.ssh_arguments.clone(),
            upload_limit: request.upload_limit,
            download_limit: request.download_limit,
            retries: request.retries,
            patience: request.patience,
            master_key: None,
        };
        let id = RepositoryId::random();
        let location =
            Location::parse(&request.location).map_err(|reason| BackupError::Location {
                name: name.clone(),
                reason,
            })?;
        let place = self.place(&name, &id, &secret)?;
        let opened = if request.create {
            Repository::create(&place, &request.password)
        } else {
            Repository::open(&place, Unlock::Password(&request.password))
        };
        let opened = opened.map_err(|source| BackupError::Repository {
            name: name.clone(),
            source: Box::new(source),
        });
        // A cache may have been begun.
        let opened = opened.inspect_err(|_| self.drop_or_warn(&id))?;
        secret.master_key = Some(opened.master_key());
        let row = RepositoryRow {
            id: id.clone(),
            name,
            location: location.to_string(),
            repository_id: opened.id(),
            created_at: Timestamp::now().to_string(),
        };
        self.keep_secret(&id, &secret)?;
        let recorded = self.store.write(|tx| {
            if tx.repository_by_name(&row.name)?.is_some() {
                return Err(BackupError::RepositoryTaken(row.name.clone()));
            }
            tx.insert_repository(&row)?;
            if request.default || tx.meta(DEFAULT)?.is_none() {
                tx.set_meta(DEFAULT, id.as_str())?;
            }
            Ok(())
        });
        recorded.inspect_err(|_| self.drop_or_warn(&id))?;
        self.shown(row)
    }

    fn drop_or_warn(&self, id: &RepositoryId) {
        if let Err(error) = self.drop_secret(id) {
            tracing::warn!(%error, "what was kept for a repository stays until the next start");
        }
    }

    /// All repositories that have names, by name.
    ///
    /// # Errors
    /// [`BackupError::Store`].
    pub fn repositories(&self) -> Result<Vec<RepositoryInfo>, BackupError> {
        let rows = self.store.read(|tx| tx.repositories())?;
        let mut shown = Vec::with_capacity(rows.len());
        for row in rows {
            let (id, name) = (row.id.clone(), row.name.clone());
            match self.shown(row) {
                Ok(info) => shown.push(info),
                // Forgotten meanwhile.
                Err(_) if self.row(&name)?.is_none_or(|now| now.id != id) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(shown)
    }

    /// Whether any repository has a name.
    ///
    /// # Errors
    /// [`BackupError::Store`].
    pub fn has_repositories(&self) -> Result<bool, BackupError> {
        Ok(!self.store.read(|tx| tx.repositories())?.is_empty())
    }

    /// Forgets a repository's name, its key and what was noted of it. The repository itself stays as it is.
    ///
    /// # Errors
    /// [`BackupError::NoSuchRepository`].
    pub fn forget_repository(&self, name: &str) -> Result<(), BackupError> {
        let row = self.named(name)?;
        let lock = self.lock_of(&row);
        // Whoever works with it comes to an end first.
        let _alone = alone(&lock);
        self.store.write(|tx| {
            tx.delete_repository(&row.id)?;
            if tx.meta(DEFAULT)?.as_deref() == Some(row.id.as_str()) {
                tx.delete_meta(DEFAULT)?;
            }
            Ok::<_, BackupError>(())
        })?;
        self.drop_secret(&row.id)
    }

    /// Lets a repository be the one that is meant when none is named.
    ///
    /// # Errors
    /// [`BackupError::NoSuchRepository`].
    pub fn set_default_repository(&self, name: &str) -> Result<(), BackupError> {
        let row = self.named(name)?;
        Ok(self
            .store
            .write(|tx| tx.set_meta(DEFAULT, row.id.as_str()))?)
    }

    /// Forgets the key of a repository: until [`Backups::unlock_repository`] nothing can use it, schedules neither.
    ///
    /// # Errors
    /// [`BackupError::NoSuchRepository`], those of the disk.
    pub fn lock_repository(&self, name: &str) -> Result<(), BackupError> {
        let row = self.named(name)?;
        let secret = Secret {
            master_key: None,
            ..self.secret(&row)?
        };
        self.keep_secret(&row.id, &secret)
    }

    /// Keeps the key of a repository again.
    ///
    /// # Errors
    /// [`BackupError::Repository`] with a wrong password, [`BackupError::NoSuchRepository`].
    pub fn unlock_repository(&self, name: &str, password: &str) -> Result<(), BackupError> {
        let row = self.named(name)?;
        let mut secret = self.secret(&row)?;
        let opened = self.reach(&row, &secret, Unlock::Password(password))?;
        secret.master_key = Some(opened.master_key());
        self.keep_secret(&row.id, &secret)
    }

    /// The keys of a repository.
    ///
    /// # Errors
    /// Those of [`Backups::unlock_repository`].
    pub fn keys(&self, name: &str) -> Result<Vec<Key>, BackupError> {
        let (row, opened) = self.opened(name)?;
        let keys = opened.keys().map_err(of(&row))?;
        Ok(keys
            .into_iter()
            .map(|key| Key {
                id: hex(key.id),
                user: key.user,
                host: key.host,
                created_at: key.created.map(|time| time.to_string()).unwrap_or_default(),
            })
            .collect())
    }

    /// Lets a repository be opened with another password as well; the id of the new key.
    ///
    /// # Errors
    /// Those of [`Backups::keys`].
    pub fn add_key(&self, name: &str, password: &str) -> Result<String, BackupError> {
        let (row, opened) = self.opened(name)?;
        let id = opened.add_key(password, &host_name()).map_err(of(&row))?;
        Ok(hex(id))
    }

    /// Takes a key away: its password opens the repository no longer.
    ///
    /// # Errors
    /// Those of [`Backups::keys`]; the last key cannot be removed.
    pub fn remove_key(&self, name: &str, id: &str) -> Result<(), BackupError> {
        let (row, opened) = self.opened(name)?;
        opened.remove_key(id).map(drop).map_err(of(&row))
    }

    fn row(&self, name: &str) -> Result<Option<RepositoryRow>, BackupError> {
        Ok(self.store.read(|tx| tx.repository_by_name(name))?)
    }

    fn named(&self, name: &str) -> Result<RepositoryRow, BackupError> {
        self.row(name)?
            .ok_or_else(|| BackupError::NoSuchRepository(name.to_owned()))
    }

    fn shown(&self, row: RepositoryRow) -> Result<RepositoryInfo, BackupError> {
        let default = self.store.read(|tx| tx.meta(DEFAULT))?;
        Ok(RepositoryInfo {
            default: default.as_deref() == Some(row.id.as_str()),
            locked: self.secret(&row)?.master_key.is_none(),
            name: row.name,
            location: row.location,
            id: row.repository_id,
            created_at: row.created_at,
        })
    }

    /// The repository that is meant when none is named.
    pub(super) fn default_repository(&self) -> Result<RepositoryRow, BackupError> {
        let (id, rows) = self
            .store
            .read(|tx| Ok::<_, BackupError>((tx.meta(DEFAULT)?, tx.repositories()?)))?;
        rows.into_iter()
            .find(|row| Some(row.id.as_str()) == id.as_deref())
            .ok_or(BackupError::NoRepository)
    }

    /// The repository with this name or at this location; nothing named: the default one.
    pub(super) fn pick(&self, text: Option<&str>) -> Result<RepositoryRow, BackupError> {
        let Some(text) = text.filter(|text| !text.is_empty()) else {
            return self.default_repository();
        };
        let rows = self.store.read(|tx| tx.repositories())?;
        let at = place_of(text);
        rows.into_iter()
            .find(|row| row.name == text || (at.is_some() && at == place_of(&row.location)))
            .ok_or_else(|| unknown(text))
    }

    /// The name of the repository that is called so or is there; nothing said: of the default one.
    ///
    /// # Errors
    /// [`BackupError::NoSuchRepository`], [`BackupError::Unnamed`], [`BackupError::NoRepository`].
    pub(crate) fn repository_named(&self, text: &str) -> Result<String, BackupError> {
        Ok(self.pick(Some(text))?.name)
    }

    /// A repository and what is needed to work with it.
    pub(super) fn opened(&self, name: &str) -> Result<(RepositoryRow, Repository), BackupError> {
        let row = self.pick(Some(name))?;
        let opened = self.open_row(&row)?;
        Ok((row, opened))
    }

    pub(super) fn open_row(&self, row: &RepositoryRow) -> Result<Repository, BackupError> {
        let secret = self.secret(row)?;
        let Some(master) = &secret.master_key else {
            return Err(BackupError::Locked {
                name: row.name.clone(),
            });
        };
        self.reach(row, &secret, Unlock::Master(master))
    }

    fn reach(
        &self,
        row: &RepositoryRow,
        secret: &Secret,
        unlock: Unlock<'_>,
    ) -> Result<Repository, BackupError> {
        let place = self.place(&row.name, &row.id, secret)?;
        let opened = Repository::open(&place, unlock).map_err(of(row))?;
        let is = opened.id();
        if is != row.repository_id {
            return Err(BackupError::Exchanged {
                name: row.name.clone(),
                was: row.repository_id.clone(),
                is,
            });
        }
        Ok(opened)
    }
}

/// A location as it is shown, however it was written; `None`: the text is none.
pub(super) fn place_of(text: &str) -> Option<String> {
    Some(Location::parse(text).ok()?.to_string())
}

/// What to say of a repository that nobody has named. A location may be followed by a volume.
pub(super) fn unknown(text: &str) -> BackupError {
    let location = match text.rsplit_once(':') {
        Some((location, volume)) if !volume.contains('/') => {
            place_of(location).or_else(|| place_of(text))
        }
        _ => place_of(text),
    };
    match location {
        Some(location) => BackupError::Unnamed(location),
        None => {
            let name = text.split_once(':').map_or(text, |(name, _)| name);
            BackupError::NoSuchRepository(name.to_owned())
        }
    }
}

/// Names the repository in an error of its own.
pub(super) fn of(row: &RepositoryRow) -> impl FnOnce(backup::BackupError) -> BackupError {
    let name = row.name.clone();
    move |source| match source {
        backup::BackupError::Stopped => BackupError::Cancelled,
        source => BackupError::Repository {
            name,
            source: Box::new(source),
        },
    }
}

/// Names the backup, too, where something of it is lost.
pub(super) fn of_backup(
    row: &RepositoryRow,
    backup: &Backup,
) -> impl FnOnce(backup::BackupError) -> BackupError {
    let row = row.clone();
    let what = named(backup.id, Some(backup));
    move |source| {
        if !source.is_loss() {
            return of(&row)(source);
        }
        BackupError::Unreadable {
            what,
            repository: row.name,
            source: Box::new(source),
        }
    }
}

/// A backup in a sentence; without its record only its id is known.
pub(super) fn named(id: backup::Id, backup: Option<&Backup>) -> String {
    match backup.and_then(volume_of) {
        Some(volume) => format!("backup {id} of volume {volume}"),
        None => format!("backup {id}"),
    }
}

/// What this host calls itself.
pub(super) fn host_name() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}
