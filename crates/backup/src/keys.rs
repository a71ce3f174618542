//! The keys of a repository: each opens the same master key with a password of its own.

use jiff::Timestamp;
use rustic_core::repofile::KeyFile;
use rustic_core::{Id, KeyOptions};
use serde::Deserialize;

use crate::crypt::MasterKey;
use crate::error::BackupError;
use crate::format::Library;
use crate::place::{Kind, Name, PlaceError, Storage};
use crate::repository::{Repository, checked};

/// What deriving a key may take; a repository that asks for more wants to exhaust us.
const MOST_MEMORY: u64 = 1 << 30;

/// A key, without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    pub id: Id,
    /// Who made it, where, when; whatever the program that did so wrote.
    pub user: String,
    pub host: String,
    pub created: Option<Timestamp>,
}

#[derive(Deserialize)]
pub(crate) struct About {
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    hostname: Option<String>,
    #[serde(default)]
    created: Option<Timestamp>,
}

/// Tries `password` on every key. Damaged ones are passed over, as long as another one fits.
pub(crate) fn with_password(
    storage: &dyn Storage,
    password: &str,
) -> Result<MasterKey, BackupError> {
    let mut damaged = None;
    for (id, _) in storage.list(Kind::Key)? {
        let name = Name::new(Kind::Key, id);
        let Some(bytes) = there(storage.read(name))? else {
            continue;
        };
        let file = checked(name, bytes).and_then(|bytes| readable(&bytes));
        let Some(file) = file else {
            damaged = Some(name);
            continue;
        };
        if let Ok(key) = file.key_from_password(&password) {
            let (encrypt, k, r) = key.to_keys();
            let mut master = rustic_core::repofile::MasterKey::new();
            master.encrypt = encrypt;
            master.mac.k = k;
            master.mac.r = r;
            return Ok(MasterKey(master));
        }
    }
    let place = storage.shown();
    Err(match damaged {
        Some(name) => BackupError::Damaged {
            place,
            what: name.to_string(),
        },
        None => BackupError::WrongPassword { place },
    })
}

/// A file that was listed; `None`: it was removed meanwhile.
pub(crate) fn there<T>(read: Result<T, PlaceError>) -> Result<Option<T>, PlaceError> {
    match read {
        Err(error) if error.is_missing() => Ok(None),
        other => other.map(Some),
    }
}

/// A key file that a password may be tried on.
pub(crate) fn readable(bytes: &[u8]) -> Option<KeyFile> {
    serde_json::from_slice(bytes).ok().filter(can_be_derived)
}

fn can_be_derived(file: &KeyFile) -> bool {
    let (n, r, p) = (u64::from(file.n), u64::from(file.r), u64::from(file.p));
    file.kdf == "scrypt"
        && file.n.is_power_of_two()
        && file.n > 1
        && r > 0
        && (1..=16).contains(&p)
        && n.saturating_mul(r).saturating_mul(128) <= MOST_MEMORY
}

impl Repository {
    /// All keys, oldest first.
    ///
    /// # Errors
    /// [`BackupError::Damaged`] with the key; those of the place.
    pub fn keys(&self) -> Result<Vec<Key>, BackupError> {
        let mut keys = Vec::new();
        for (id, _) in self.origin.list(Kind::Key)? {
            let name = Name::new(Kind::Key, id);
            let Some(bytes) = there(self.origin.read(name))? else {
                continue;
            };
            let about: About = checked(name, bytes)
                .and_then(|bytes| serde_json::from_slice(&bytes).ok())
                .ok_or_else(|| self.damaged(name.to_string()))?;
            keys.push(Key {
                id,
                user: about.username.unwrap_or_default(),
                host: about.hostname.unwrap_or_default(),
                created: about.created,
            });
        }
        keys.sort_by_key(|key| (key.created, key.id));
        Ok(keys)
    }

    /// Adds a key that opens the repository with `password`; `host` says where it was made.
    ///
    /// # Errors
    /// Those of the place.
    pub fn add_key(&self, password: &str, host: &str) -> Result<Id, BackupError> {
        let library = Library::open(&self.origin, &self.key)?;
        let options = KeyOptions::default()
            .hostname(host.to_owned())
            .with_created(true);
        let id = library
            .repository
            .add_key(password, &options)
            .map_err(|error| library.meaning("adding a key", &error))?;
        Ok(*id)
    }

    /// Removes the key whose id is, or begins with, `text`. What was encrypted stays readable for whoever kept the master
    /// key.
    ///
    /// # Errors
    /// [`BackupError::NoKey`], [`BackupError::Ambiguous`], [`BackupError::LastKey`]; those of the place.
    pub fn remove_key(&self, text: &str) -> Result<Id, BackupError> {
        self.may_remove()?;
        let ids: Vec<Id> = self
            .origin
            .list(Kind::Key)?
            .into_iter()
            .map(|(id, _)| id)
            .collect();
        let place = self.shown();
        let mut matching = ids
            .iter()
            .filter(|id| !text.is_empty() && id.to_hex().starts_with(text));
        let text = text.to_owned();
        let id = match (matching.next(), matching.next()) {
            (Some(id), None) => *id,
            (None, _) => return Err(BackupError::NoKey { place, text }),
            (Some(_), Some(_)) => return Err(BackupError::Ambiguous { place, text }),
        };
        if ids.len() == 1 {
            return Err(BackupError::LastKey { place });
        }
        self.origin.remove(Name::new(Kind::Key, id))?;
        Ok(id)
    }
}
