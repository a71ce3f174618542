//! Pools: other places than the state directory in which volumes can lie.
//!
//! A pool is a directory of its own, on whatever is there (`dir`), or a btrfs (`btrfs`): an existing directory on one, a
//! block device, or a file of the engine's. The state directory itself is the pool [`DEFAULT`], which needs no record.
//!
//! * [`create`], [`remove`], [`resize`], [`rename`] make, end and change one;
//! * [`up`] finds it again at each start: by the UUID of its filesystem and by the file `orlop-pool.json` in it.
//!
//! Guarantees
//! * A pool that does not come up keeps its record and its volumes' records; the volumes are unavailable until it does.
//! * What is not the pool's filesystem is never used in its place, and never written to.
//! * A pool in which there is a volume, be it in the trash, is never removed; nothing that its maker found is removed
//!   with it.
//!
//! In `data/<id>` of a volume in a pool there is a link to where it lies. It is made again from the pools at each start.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use store::{PoolId, PoolRow, PoolState, VolumeId};

use crate::Volumes;
use crate::driver::{Abilities, Driver as _, Local};

pub mod create;
pub mod remove;
pub mod rename;
pub mod resize;

mod error;
pub(crate) mod up;

pub use create::CreatePool;
pub use error::PoolError;

/// Name of the pool that is the state directory.
pub const DEFAULT: &str = "default";
pub(crate) const SETTING: &str = "default-pool";

/// On what a pool is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolKind {
    Dir,
    Btrfs,
}

impl PoolKind {
    /// What users write.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dir => "dir",
            Self::Btrfs => "btrfs",
        }
    }

    /// The reverse of [`PoolKind::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Dir, Self::Btrfs]
            .into_iter()
            .find(|kind| kind.as_str() == text)
    }
}

/// A pool as callers see it.
#[derive(Debug, Clone)]
pub struct Pool {
    /// `None`: the state directory.
    pub id: Option<PoolId>,
    pub name: String,
    pub kind: &'static str,
    /// A directory or a device; `None`: a file of the engine's own.
    pub source: Option<String>,
    /// Where its volumes are.
    pub path: PathBuf,
    pub uuid: Option<String>,
    pub labels: BTreeMap<String, String>,
    /// RFC 3339.
    pub created_at: Option<String>,
    /// New volumes go there unless told otherwise.
    pub is_default: bool,
    /// Why its volumes are unavailable; `None`: they are not.
    pub down: Option<String>,
    /// Of its filesystem, while it is up.
    pub room: Option<Room>,
    pub abilities: Option<Abilities>,
    /// Names; those in the trash with `trash: ` before them.
    pub volumes: Vec<String>,
}

/// Bytes of a filesystem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    pub size: u64,
    pub free: u64,
}

/// `pool.json`, and `orlop-pool.json` in the pool itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Marker {
    pub(crate) format: u32,
    pub(crate) id: PoolId,
    pub(crate) name: String,
    pub(crate) kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) source: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) size: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) uuid: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) labels: Option<BTreeMap<String, String>>,
    pub(crate) created_at: String,
    /// New volumes go there; only in `pool.json`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) is_default: bool,
}

/// Raised when a reader of an older version would misunderstand.
const FORMAT: u32 = 1;

impl Marker {
    pub(crate) fn of(row: &PoolRow) -> Self {
        Self {
            format: FORMAT,
            id: row.id.clone(),
            name: row.name.clone(),
            kind: row.kind.clone(),
            source: row.source.clone(),
            size: row.size,
            uuid: row.uuid.clone(),
            labels: row.labels.clone(),
            created_at: row.created_at.clone(),
            is_default: false,
        }
    }

    pub(crate) fn row(self) -> PoolRow {
        PoolRow {
            id: self.id,
            name: self.name,
            kind: self.kind,
            source: self.source,
            size: self.size,
            uuid: self.uuid,
            labels: self.labels,
            state: PoolState::Ready,
            created_at: self.created_at,
        }
    }

    /// `None` when there is none that this version understands.
    pub(crate) fn read(path: &Path) -> Option<Self> {
        let marker: Self = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
        (marker.format == FORMAT).then_some(marker)
    }

    pub(crate) fn write(&self, path: &Path) -> Result<(), PoolError> {
        let text = serde_json::to_vec_pretty(self).expect("maps have string keys");
        sys::durable::write_atomic(path, &text, 0o600).map_err(PoolError::io("write", path))
    }
}

impl Volumes {
    /// All pools, the state directory first.
    ///
    /// # Errors
    /// [`PoolError::Store`].
    pub fn pools(&self) -> Result<Vec<Pool>, PoolError> {
        let mut pools = vec![self.state_directory()?];
        pools.extend(self.made_pools()?);
        Ok(pools)
    }

    /// All but the state directory.
    ///
    /// # Errors
    /// [`PoolError::Store`].
    pub fn made_pools(&self) -> Result<Vec<Pool>, PoolError> {
        let mut pools = Vec::new();
        let rows = self.store.read(|tx| tx.pools())?;
        for row in rows.into_iter().filter(|row| row.state == PoolState::Ready) {
            let pool = self.shown_pool(row)?;
            // It may have been removed meanwhile.
            if pool.down.is_none() || self.pool_row(&pool.name).is_ok() {
                pools.push(pool);
            }
        }
        Ok(pools)
    }

    /// One pool.
    ///
    /// # Errors
    /// [`PoolError::NotFound`].
    pub fn pool(&self, name: &str) -> Result<Pool, PoolError> {
        if name == DEFAULT {
            return self.state_directory();
        }
        self.shown_pool(self.pool_row(name)?)
    }

    /// Lets volumes be made in this pool unless they are told otherwise.
    ///
    /// # Errors
    /// [`PoolError::NotFound`].
    pub fn set_default_pool(&self, name: &str) -> Result<(), PoolError> {
        if name == DEFAULT {
            self.store.write(|tx| tx.delete_meta(SETTING))?;
        } else {
            let id = self.pool_row(name)?.id;
            self.store.write(|tx| tx.set_meta(SETTING, id.as_str()))?;
        }
        self.describe_pools();
        Ok(())
    }

    /// Writes beside the pools what the database says of them, where that has changed: a copy of it, as
    /// [`crate::description`] is of volumes. What cannot be written now is at the next start.
    pub(crate) fn describe_pools(&self) {
        let describe = || -> Result<(), PoolError> {
            let default = self.default_pool()?;
            for row in self.store.read(|tx| tx.pools())? {
                if row.state != PoolState::Ready {
                    continue;
                }
                let marker = Marker::of(&row);
                let own = Marker {
                    is_default: default.as_ref() == Some(&row.id),
                    ..marker.clone()
                };
                let mut places = vec![(self.paths.pool_description(&row.id), own)];
                if self.is_up_pool(&row.id) {
                    places.push((self.paths.pool_marker(&row.id), marker));
                }
                for (path, wanted) in places {
                    if Marker::read(&path).as_ref() != Some(&wanted) {
                        wanted.write(&path)?;
                    }
                }
            }
            Ok(())
        };
        if let Err(error) = describe() {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the description of a pool is not up to date"
            );
        }
    }

    /// The pool for a new volume: the one that was asked for, or the default one; `None`: the state directory.
    pub(crate) fn pool_for(&self, wanted: Option<&str>) -> Result<Option<PoolId>, PoolError> {
        let row = match wanted {
            Some(DEFAULT) => return Ok(None),
            Some(name) => self.pool_row(name)?,
            None => {
                let Some(id) = self.default_pool()? else {
                    return Ok(None);
                };
                let Some(row) = self.store.read(|tx| tx.pool(&id))? else {
                    return Ok(None);
                };
                row
            }
        };
        self.must_be_up(&row)?;
        Ok(Some(row.id))
    }

    fn default_pool(&self) -> Result<Option<PoolId>, PoolError> {
        let id = self.store.read(|tx| tx.meta(SETTING))?;
        Ok(id.as_deref().and_then(PoolId::parse))
    }

    pub(crate) fn pool_row(&self, name: &str) -> Result<PoolRow, PoolError> {
        self.store
            .read(|tx| tx.pool_by_name(name))?
            .filter(|row| row.state == PoolState::Ready)
            .ok_or_else(|| PoolError::NotFound(name.to_owned()))
    }

    /// The pool that keeps a volume from being used, because it is not there.
    pub(crate) fn down_pool_of(&self, id: &VolumeId) -> Result<Option<String>, store::StoreError> {
        let Some(pool) = self.store.read(|tx| tx.volume_storage(id))?.pool else {
            return Ok(None);
        };
        if self.is_up_pool(&pool) {
            return Ok(None);
        }
        let Some(row) = self.store.read(|tx| tx.pool(&pool))? else {
            return Ok(Some(pool.to_string()));
        };
        // It may have come back.
        Ok(self.must_be_up(&row).err().map(|_| row.name))
    }

    fn state_directory(&self) -> Result<Pool, PoolError> {
        let path = self.paths.data();
        let storage = self.store.read(|tx| tx.all_volume_storage())?;
        let elsewhere: std::collections::BTreeSet<_> = storage
            .into_iter()
            .filter(|(_, storage)| storage.pool.is_some())
            .map(|(id, _)| id)
            .collect();
        let volumes = self
            .store
            .read(|tx| tx.volumes())?
            .into_iter()
            .filter(|row| !elsewhere.contains(&row.id))
            .map(|row| row.name)
            .collect();
        let is_btrfs = crate::open_directory(&path)
            .and_then(|data| sys::btrfs::is_btrfs(std::os::fd::AsFd::as_fd(&data)))
            .map_err(PoolError::io("look at", &path))?;
        Ok(Pool {
            id: None,
            name: DEFAULT.to_owned(),
            kind: if is_btrfs {
                PoolKind::Btrfs
            } else {
                PoolKind::Dir
            }
            .as_str(),
            source: Some(self.paths.root().to_string_lossy().into_owned()),
            uuid: None,
            labels: BTreeMap::new(),
            created_at: None,
            is_default: self.default_pool()?.is_none(),
            down: None,
            room: Some(room(&path)?),
            abilities: Local.abilities_in(&path)?,
            volumes,
            path,
        })
    }

    fn shown_pool(&self, row: PoolRow) -> Result<Pool, PoolError> {
        let path = self.paths.pool_volumes(&row.id);
        let volumes = self.store.read(|tx| tx.volumes_in_pool(&row.id))?;
        let seen = self.must_be_up(&row).and_then(|()| {
            let abilities = Local.abilities_in(&path)?;
            Ok((room(&path)?, abilities))
        });
        let (down, room, abilities) = match seen {
            Ok((room, abilities)) => (None, Some(room), abilities),
            Err(error) => (Some(error.to_string()), None, None),
        };
        Ok(Pool {
            is_default: self.default_pool()?.as_ref() == Some(&row.id),
            kind: PoolKind::parse(&row.kind).map_or("unknown", PoolKind::as_str),
            id: Some(row.id),
            name: row.name,
            source: row.source,
            path,
            uuid: row.uuid,
            labels: row.labels.unwrap_or_default(),
            created_at: Some(row.created_at),
            down,
            room,
            abilities,
            volumes,
        })
    }
}

fn room(path: &Path) -> Result<Room, PoolError> {
    let stat =
        rustix::fs::statvfs(path).map_err(|error| PoolError::io("measure", path)(error.into()))?;
    Ok(Room {
        size: stat.f_blocks.saturating_mul(stat.f_frsize),
        free: stat.f_bavail.saturating_mul(stat.f_frsize),
    })
}
