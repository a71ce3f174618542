//! What the records say at one moment, for who compares it with the disk.

use std::collections::{BTreeMap, HashMap, HashSet};

use store::{OpRow, PoolId, SnapshotRow, Store, StoreError, VolumeId, VolumeNotes, VolumeState};
use volumes::{ANONYMOUS_LABEL, Volumes};

/// Volumes, the trash, operations; and, unless it is to be quick, where volumes lie and what snapshots they have.
#[derive(Debug, Default)]
pub(super) struct Records {
    /// By name.
    pub(super) volumes: Vec<(VolumeId, String, VolumeState)>,
    /// Places in `volumes`, by id.
    by_id: Vec<usize>,
    /// What is in the trash was called so.
    pub(super) trash: HashMap<VolumeId, String>,
    ops: Vec<OpRow>,
    pools: HashMap<VolumeId, PoolId>,
    /// Kept by plugins.
    elsewhere: HashSet<VolumeId>,
    /// By their volumes.
    snapshots: BTreeMap<VolumeId, Vec<SnapshotRow>>,
}

impl Records {
    /// One look at them.
    pub(super) fn read(store: &Store, volumes: &Volumes, fast: bool) -> Result<Self, StoreError> {
        let mut records = store.read(|tx| {
            let mut records = Self {
                volumes: tx.volume_identities()?,
                trash: (tx.trash()?.into_iter())
                    .map(|row| (row.volume.id, row.volume.name))
                    .collect(),
                ops: tx.ops()?,
                ..Self::default()
            };
            if !fast {
                let stored = tx.all_volume_storage()?.into_iter();
                records.pools = stored
                    .filter_map(|(id, storage)| Some((id, storage.pool?)))
                    .collect();
                let drivers = tx.volume_drivers()?.into_iter();
                records.elsewhere = drivers
                    .filter(|(_, _, driver)| volumes.is_elsewhere(driver))
                    .map(|(id, _, _)| id)
                    .collect();
                for row in tx.snapshots_in_any_state()? {
                    let of_volume = records.snapshots.entry(row.volume.clone());
                    of_volume.or_default().push(row);
                }
            }
            Ok::<_, StoreError>(records)
        })?;
        let mut by_id: Vec<usize> = (0..records.volumes.len()).collect();
        by_id.sort_unstable_by(|&a, &b| records.volumes[a].0.cmp(&records.volumes[b].0));
        records.by_id = by_id;
        Ok(records)
    }

    /// Name and state of the volume that has this id; those in the trash have none.
    pub(super) fn volume(&self, id: &str) -> Option<(&str, VolumeState)> {
        let at = self
            .by_id
            .binary_search_by_key(&id, |&at| self.volumes[at].0.as_str())
            .ok()?;
        let (_, name, state) = &self.volumes[self.by_id[at]];
        Some((name, *state))
    }

    /// Whether a volume is complete.
    pub(super) fn is_ready(&self, id: &VolumeId) -> bool {
        self.volume(id.as_str())
            .is_some_and(|(_, state)| state == VolumeState::Ready)
    }

    /// Whether a directory of this name is owned by a volume, be it in the trash, or by an operation.
    pub(super) fn owns(&self, id: &str) -> bool {
        let trashed = |id| self.trash.contains_key(&id);
        self.volume(id).is_some()
            || VolumeId::parse(id).is_some_and(trashed)
            || self.is_worked_on(id)
    }

    /// Whether an operation names this volume or snapshot: what lies there is its affair. What one deletes has no other record.
    pub(super) fn is_worked_on(&self, id: &str) -> bool {
        self.ops.iter().any(|op| op.params.contains(id))
    }

    /// Whether a volume has this name, or an operation has to do with it.
    pub(super) fn knows_name(&self, name: &str) -> bool {
        self.has_name(name) || {
            let quoted = format!("\"{name}\"");
            self.ops.iter().any(|op| op.params.contains(&quoted))
        }
    }

    fn has_name(&self, name: &str) -> bool {
        let known = |(_, known, _): &(VolumeId, String, VolumeState)| known.as_str().cmp(name);
        self.volumes.binary_search_by(known).is_ok()
    }

    pub(super) fn has_op(&self, id: &str) -> bool {
        self.ops.iter().any(|op| op.id.as_str() == id)
    }

    /// Where a volume lies; `None`: in the state directory.
    pub(super) fn pool(&self, id: &VolumeId) -> Option<&PoolId> {
        self.pools.get(id)
    }

    pub(super) fn is_elsewhere(&self, id: &VolumeId) -> bool {
        self.elsewhere.contains(id)
    }

    /// In whatever state.
    pub(super) fn snapshots(&self, volume: &VolumeId) -> &[SnapshotRow] {
        self.snapshots.get(volume).map_or(&[], Vec::as_slice)
    }

    pub(super) fn has_snapshot(&self, volume: &VolumeId, snapshot: &str) -> bool {
        self.snapshots(volume)
            .iter()
            .any(|row| row.id.as_str() == snapshot)
    }
}

/// A volume that nobody uses.
#[derive(Debug)]
pub(super) struct Unused {
    pub(super) name: String,
    pub(super) created_at: String,
    labels: BTreeMap<String, String>,
}

impl Unused {
    pub(super) fn has_label(&self, label: &str) -> bool {
        self.labels.contains_key(label)
    }
}

/// Volumes that nobody uses, with what is noted of them; `fast`: only those whose name nobody chose.
pub(super) fn unused(store: &Store, fast: bool) -> Result<Vec<(Unused, VolumeNotes)>, StoreError> {
    store.read(|tx| {
        let rows = if fast {
            tx.volumes_labelled_without_lease(ANONYMOUS_LABEL)?
        } else {
            tx.volumes_without_lease()?
        };
        let noted = rows.into_iter().map(|row| {
            let notes = tx.volume_notes(&row.id)?;
            let unused = Unused {
                name: row.name,
                created_at: row.created_at,
                labels: row.labels.unwrap_or_default(),
            };
            Ok((unused, notes))
        });
        noted.collect()
    })
}
