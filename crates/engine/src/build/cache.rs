//! What builds remember: looked up, listed, pruned.
//!
//! The key of a step is the digest of the layers below it and of everything that it says and reads. A record holds its layer as
//! an image does; removing a record frees the layer unless an image has it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use store::{BuildRecordRow, LayerId};

use super::copy::hex;
use super::{BuildError, Builder};
use crate::containers::list::Filters;

/// A line of `system df -v`.
#[derive(Debug, Clone)]
pub struct BuildCacheEntry {
    pub id: String,
    /// `regular` or `exec.cachemount`, as Docker has them.
    pub kind: &'static str,
    pub description: String,
    /// A step that runs uses it.
    pub in_use: bool,
    /// An image has its layer, too.
    pub shared: bool,
    pub size: u64,
    pub created_at: String,
    pub used_at: String,
    pub uses: u64,
    key: String,
    source: Source,
}

#[derive(Debug, Clone)]
enum Source {
    Step(Option<LayerId>),
    Directory(i64),
}

/// What `builder prune` removes.
#[derive(Debug, Clone, Default)]
pub struct PruneBuilds {
    /// Also records whose layers an image has.
    pub all: bool,
    /// `id`, `type`, `until`, `unused-for`, `description`, `shared`, `inuse`.
    pub filters: Filters,
    /// Bytes that may stay, of what was used last.
    pub keep: u64,
}

#[derive(Debug, Clone, Default)]
pub struct PrunedBuilds {
    pub ids: Vec<String>,
    pub reclaimed: u64,
}

/// The name of a step upon some layers.
pub(super) fn key(below: &str, body: &str) -> String {
    format!(
        "sha256:{}",
        hex(&Sha256::digest(format!("{below} {body}").as_bytes()))
    )
}

impl Builder {
    pub(super) fn look_up(
        &self,
        below: &str,
        body: &str,
    ) -> Result<Option<BuildRecordRow>, BuildError> {
        let key = key(below, body);
        self.store.read(|tx| Ok(tx.build_record(&key)?))
    }

    /// Everything that is remembered, what was used longest ago first.
    pub fn usage(&self) -> Result<Vec<BuildCacheEntry>, BuildError> {
        let (records, mounts, layers) = self.store.read(|tx| {
            let records = tx.build_records()?;
            let mut layers = BTreeMap::new();
            for id in records.iter().filter_map(|record| record.layer) {
                let size = tx.layer(id)?.map_or(0, |layer| layer.size);
                layers.insert(id, (size, tx.images_with_layer(id)? > 0));
            }
            Ok::<_, BuildError>((records, tx.build_mounts()?, layers))
        })?;
        let mut entries: Vec<BuildCacheEntry> = records
            .into_iter()
            .filter(|record| !record.alias)
            .map(|record| {
                let (size, shared) = record
                    .layer
                    .and_then(|id| layers.get(&id).copied())
                    .unwrap_or((0, false));
                BuildCacheEntry {
                    id: record.key["sha256:".len()..].chars().take(25).collect(),
                    kind: "regular",
                    description: record.description,
                    in_use: false,
                    shared,
                    size,
                    created_at: record.created_at,
                    used_at: record.used_at,
                    uses: record.uses,
                    key: record.key,
                    source: Source::Step(record.layer),
                }
            })
            .collect();
        for mount in mounts {
            let Some(key) = mount.key else { continue };
            let path = self.paths.build_mount(mount.id);
            entries.push(BuildCacheEntry {
                id: hex(&Sha256::digest(format!("mount {}", mount.id).as_bytes()))
                    .chars()
                    .take(25)
                    .collect(),
                kind: "exec.cachemount",
                description: mount.description,
                in_use: self.shared.is_used(&key),
                shared: false,
                size: sys::dir::tree_size(&path).map_or(0, |size| size.bytes),
                created_at: mount.created_at,
                used_at: mount.used_at,
                uses: mount.uses,
                key,
                source: Source::Directory(mount.id),
            });
        }
        entries.sort_by(|one, other| one.used_at.cmp(&other.used_at));
        Ok(entries)
    }

    /// Removes what nobody needs; what a build uses stays.
    pub fn prune(&self, request: &PruneBuilds) -> Result<PrunedBuilds, BuildError> {
        const KNOWN: [&str; 9] = [
            "description",
            "id",
            "inuse",
            "label",
            "label!",
            "shared",
            "type",
            "until",
            "unused-for",
        ];
        // Also where there is nothing to prune.
        if let Some(unknown) = request
            .filters
            .0
            .keys()
            .find(|name| !KNOWN.contains(&name.as_str()))
        {
            return Err(BuildError::Invalid(format!(
                "failed to prune build cache: invalid filter '{unknown}'"
            )));
        }
        let entries = self.usage()?;
        let mut kept = request.keep;
        let mut chosen = Vec::new();
        // What was used last is kept first.
        for entry in entries.into_iter().rev() {
            if entry.in_use || (entry.shared && !request.all) || !fits(&entry, &request.filters)? {
                continue;
            }
            if kept > 0 && !entry.shared && entry.size <= kept {
                kept -= entry.size;
                continue;
            }
            chosen.push(entry);
        }
        let chosen = self.store.write(|tx| {
            let (mut forgotten, mut layers) = (Vec::new(), Vec::new());
            for entry in chosen {
                if let Source::Step(layer) = entry.source {
                    // A build that ended since may have given it to an image.
                    if !request.all
                        && let Some(layer) = layer
                        && tx.images_with_layer(layer)? > 0
                    {
                        continue;
                    }
                    tx.delete_build_record(&entry.key)?;
                    layers.extend(layer);
                }
                forgotten.push(entry);
            }
            for record in tx.build_records()? {
                if record.alias && record.layer.is_none_or(|layer| layers.contains(&layer)) {
                    tx.delete_build_record(&record.key)?;
                }
            }
            Ok::<_, BuildError>(forgotten)
        })?;
        let mut pruned = PrunedBuilds::default();
        sys::fault::step("build-prune:forgotten");
        for entry in &chosen {
            if let Source::Directory(id) = entry.source
                && !self.shared.is_used(&entry.key)
            {
                pruned.reclaimed += self.remove_shared(id)?;
            }
        }
        pruned.reclaimed += self.images.sweep()?;
        pruned.ids = chosen.into_iter().map(|entry| entry.id).collect();
        self.containers
            .events
            .publish_prune("builder", pruned.reclaimed);
        Ok(pruned)
    }

    /// Finishes removals that an engine left unfinished.
    pub(super) fn recover_shared(&self) -> Result<Vec<String>, BuildError> {
        let mut sentences = Vec::new();
        for mount in self.store.read(|tx| tx.build_mounts())? {
            if mount.key.is_none() {
                self.remove_shared(mount.id)?;
                sentences.push("removal of a build cache directory was finished".to_owned());
            }
        }
        Ok(sentences)
    }
}

fn fits(entry: &BuildCacheEntry, filters: &Filters) -> Result<bool, BuildError> {
    for (name, values) in &filters.0 {
        let any = |fits: &dyn Fn(&str) -> bool| values.iter().any(|value| fits(value));
        let is = |truth: bool| any(&|value| matches!(value, "1" | "true") == truth);
        let fits = match name.as_str() {
            "id" => any(&|value| entry.id.starts_with(value)),
            "type" => any(&|value| entry.kind == value),
            "description" => any(&|value| entry.description.contains(value)),
            "shared" => is(entry.shared),
            "inuse" => is(entry.in_use),
            // Steps have no labels: who prunes by them means other things.
            "label" | "label!" => false,
            "until" | "unused-for" => {
                let until = Filters(BTreeMap::from([("until".to_owned(), values.clone())]))
                    .until()
                    .map_err(|error| BuildError::Invalid(error.to_string()))?;
                let used = entry.used_at.parse::<Timestamp>().ok();
                until.is_none_or(|until| used.is_none_or(|used| used < until))
            }
            _ => {
                return Err(BuildError::Invalid(format!("invalid filter '{name}'")));
            }
        };
        if !fits {
            return Ok(false);
        }
    }
    Ok(true)
}
