//! Container names: the user's, checked; or one made up, as people are used to from Docker.

use store::ContainerRow;

use crate::containers::{ContainerError, Containers};
use crate::images::ImageError;

/// Sea words, since an orlop is a deck of a ship.
const ADJECTIVES: [&str; 32] = [
    "able", "adrift", "ample", "balmy", "brave", "breezy", "bright", "brisk", "calm", "clear",
    "cosy", "deft", "eager", "fair", "fleet", "gentle", "hardy", "hearty", "jolly", "keen",
    "loyal", "mellow", "merry", "nimble", "patient", "plucky", "quiet", "salty", "snug", "sturdy",
    "tidy", "trim",
];
const NOUNS: [&str; 32] = [
    "anchor", "ballast", "barque", "beacon", "bollard", "bosun", "bowline", "brig", "buoy",
    "capstan", "clipper", "compass", "cutter", "dinghy", "fathom", "galley", "gannet", "halyard",
    "harbour", "keel", "ketch", "lantern", "lugger", "mast", "osprey", "petrel", "rudder",
    "schooner", "sextant", "sloop", "tiller", "wharf",
];

impl Containers {
    /// Inserts the row under `wanted` or a free made-up name: taking the name is the insert.
    pub(super) fn take_name(
        &self,
        row: &mut ContainerRow,
        wanted: Option<&str>,
    ) -> Result<(), ContainerError> {
        if let Some(name) = wanted.filter(|name| !name.is_empty()) {
            let name = name.strip_prefix('/').unwrap_or(name);
            store::names::check_container_name(name)
                .map_err(|error| ContainerError::Invalid(error.to_string()))?;
            name.clone_into(&mut row.name);
            return self
                .store
                .write(|tx| match tx.container_by_name(&row.name)? {
                    Some(holder) => Err(ContainerError::NameInUse {
                        name: row.name.clone(),
                        holder: holder.id,
                    }),
                    None => insert(tx, row),
                });
        }
        let number = usize::from_str_radix(&row.id[..7], 16).expect("ids are hex");
        let base = format!(
            "{}_{}",
            ADJECTIVES[number % ADJECTIVES.len()],
            NOUNS[number / ADJECTIVES.len() % NOUNS.len()]
        );
        self.store.write(|tx| {
            let mut suffix = 0_u32;
            row.name.clone_from(&base);
            while tx.container_by_name(&row.name)?.is_some() {
                suffix += 1;
                row.name = format!("{base}{suffix}");
            }
            insert(tx, row)
        })
    }
}

/// From here on the image cannot be removed; it must not have been removed just now.
fn insert(tx: &store::WriteTx<'_>, row: &ContainerRow) -> Result<(), ContainerError> {
    if tx.image(&row.image_id)?.is_none() {
        return Err(ImageError::NoSuch(row.image_ref.clone()).into());
    }
    Ok(tx.insert_container(row)?)
}
