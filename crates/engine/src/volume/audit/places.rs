//! The state directory and the pools against the records: what no record owns, and what a record owns and is not there.
//!
//! Others go on making, copying and removing volumes meanwhile. So the disk is looked at first, then the records, and what
//! does not fit is looked at once more after that: only what does not fit both times is told. What lies where an
//! operation works is that operation's.

use std::collections::HashSet;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::SystemTime;

use store::{OpId, Paths, PoolId, SnapshotId, SnapshotState, VolumeId, VolumeState};
use volumes::Pool;

use super::records::Records;
use super::{Finding, Look, Weight, finding};
use crate::containers::ContainerError;

/// A finding, and whether it still is one.
struct Suspect<'a> {
    finding: Finding,
    stands: Box<dyn Fn(&Records) -> bool + 'a>,
}

struct Places<'a> {
    paths: &'a Paths,
    records: &'a Records,
    suspects: Vec<Suspect<'a>>,
}

impl Look<'_> {
    /// How many volumes there are.
    pub(super) fn places(&mut self, fast: bool) -> Result<usize, ContainerError> {
        let (engine, paths) = (self.engine, &*self.engine.paths);
        let read = || Records::read(&engine.store, &engine.volumes, fast);
        let pools = engine.volumes.made_pools()?;
        // The directories first: a volume that is made meanwhile has its record before them.
        let (directories, links) = (names(&paths.data())?, names(&paths.volumes())?);
        let mut in_pools = Vec::new();
        if !fast {
            for pool in pools.iter().filter(|pool| pool.down.is_none()) {
                let Some(id) = &pool.id else { continue };
                in_pools.push((pool, id.clone(), names(&paths.pool_volumes(id))?));
            }
        }
        let records = read()?;
        let mut places = Places {
            paths,
            records: &records,
            suspects: Vec::new(),
        };
        places.directories(&directories, &pools);
        places.links(&links);
        let up: HashSet<&PoolId> = in_pools.iter().map(|(_, id, _)| id).collect();
        places.missing(&directories, &up);
        if !fast {
            for (pool, id, names) in &in_pools {
                places.in_pool(&pool.name, id, names);
            }
            places.inside(&up)?;
            places.left_over()?;
        }
        let suspects = places.suspects;
        if !suspects.is_empty() {
            let again = read()?;
            let stand = suspects.into_iter().filter(|one| (one.stands)(&again));
            self.findings.extend(stand.map(|suspect| suspect.finding));
        }
        if !fast {
            let up = pools.iter().filter(|pool| pool.down.is_none());
            self.pools = up
                .filter_map(|pool| pool.path.canonicalize().ok())
                .collect();
        }
        self.pools(&pools);
        let ready = |state| state == VolumeState::Ready;
        let count = records.volumes.iter().filter(|(_, _, state)| ready(*state));
        Ok(count.count())
    }

    fn pools(&mut self, pools: &[Pool]) {
        for pool in pools {
            if let Some(why) = &pool.down {
                self.found(
                    "missing-pool",
                    Weight::High,
                    &pool.name,
                    format!("{why}; unavailable: [{}]", pool.volumes.join(", ")),
                    "bring its device or directory back; nothing is lost, and the next use of it tries again",
                );
            }
        }
    }
}

impl<'a> Places<'a> {
    fn suspect(&mut self, finding: Finding, stands: impl Fn(&Records) -> bool + 'a) {
        let stands = Box::new(stands);
        self.suspects.push(Suspect { finding, stands });
    }

    /// What is in `data` and belongs to nobody.
    fn directories(&mut self, found: &[String], pools: &[Pool]) {
        let (paths, records) = (self.paths, self.records);
        let data = paths.data();
        for name in found.iter().filter(|name| !records.owns(name)) {
            let own = name.clone();
            let Some(id) = VolumeId::parse(name) else {
                let finding = foreign(&data, name);
                self.suspect(finding, move |records| !records.owns(&own));
                continue;
            };
            let (entry, directory) = (paths.volume_entry(&id), paths.volume(&id));
            // A pool that is not there may hold it still.
            let is_gone = entry != directory
                && is_missing(&directory)
                && pools
                    .iter()
                    .any(|pool| pool.down.is_none() && directory.starts_with(&pool.path));
            let shown = directory.to_string_lossy();
            let finding = if is_gone {
                finding(
                    "dangling-link",
                    Weight::Low,
                    entry.to_string_lossy(),
                    "it leads nowhere",
                    "remove it: orlop volume audit --fix",
                )
            } else if is_empty(&directory, &paths.volume_content(&id)) {
                finding(
                    "empty-orphan",
                    Weight::Low,
                    shown,
                    "no record owns this directory, and it holds nothing",
                    "remove it: orlop volume audit --fix",
                )
            } else {
                finding(
                    "orphan-data",
                    Weight::High,
                    shown,
                    "no record owns this directory",
                    format!("make it a volume again: orlop volume adopt {id} --name NAME"),
                )
            };
            self.suspect(finding, move |records| {
                !records.owns(&own) && entry.symlink_metadata().is_ok()
            });
        }
    }

    /// What is where the volumes of a pool are, and belongs to nobody.
    fn in_pool(&mut self, pool: &str, pool_id: &PoolId, found: &[String]) {
        let (paths, records) = (self.paths, self.records);
        let volumes = paths.pool_volumes(pool_id);
        for name in found {
            let Some(id) = VolumeId::parse(name) else {
                self.suspect(foreign(&volumes, name), |_| true);
                continue;
            };
            let home = paths.volume_home(&id, Some(pool_id));
            let shown = home.to_string_lossy();
            let (own, own_pool) = (id.clone(), pool_id.clone());
            if let Some((of, _)) = records.volume(name) {
                if records.pool(&id) == Some(pool_id) {
                    continue;
                }
                let finding = finding(
                    "orphan-data",
                    Weight::High,
                    shown,
                    format!("volume {of} has this id and lies somewhere else than in pool {pool}"),
                    "compare the two, and move this one out of the pool",
                );
                self.suspect(finding, move |records| {
                    records.pool(&own) != Some(&own_pool)
                        && !records.is_worked_on(own.as_str())
                        && !is_missing(&home)
                });
                continue;
            }
            // What a link in `data` leads to was found there.
            if records.owns(name) || paths.volume(&id) == home {
                continue;
            }
            let finding = finding(
                "orphan-data",
                Weight::High,
                shown.clone(),
                format!("no record owns this directory of pool {pool}"),
                format!("make it a volume again: orlop volume adopt {shown} --name NAME"),
            );
            self.suspect(finding, move |records| {
                !records.owns(own.as_str()) && !is_missing(&home)
            });
        }
    }

    /// Records without their directories. What is in a pool that is not up is not missing.
    fn missing(&mut self, found: &[String], up: &HashSet<&PoolId>) {
        let (paths, records) = (self.paths, self.records);
        let found: HashSet<&str> = found.iter().map(String::as_str).collect();
        for (id, name, state) in &records.volumes {
            let is_there = records.pool(id).is_none_or(|pool| up.contains(pool));
            if *state != VolumeState::Ready || found.contains(id.as_str()) || !is_there {
                continue;
            }
            let entry = paths.volume_entry(id);
            let home = paths.volume_home(id, records.pool(id));
            if home != entry && !is_missing(&home) {
                self.suspect(missing_link(name, &entry), move |records| {
                    needs_link(records, id) && is_missing(&entry)
                });
                continue;
            }
            let finding = missing_data(name, &format!("its directory {}", home.display()));
            self.suspect(finding, move |records| {
                records.is_ready(id) && !records.is_worked_on(id.as_str()) && is_missing(&entry)
            });
        }
    }

    /// `volumes/`: what belongs to no volume, and volumes without their link.
    fn links(&mut self, found: &[String]) {
        let (paths, records) = (self.paths, self.records);
        for name in found.iter().filter(|name| !records.knows_name(name)) {
            let path = paths.volume_link(name);
            let finding = if path.is_symlink() && !path.exists() {
                finding(
                    "dangling-link",
                    Weight::Low,
                    path.to_string_lossy(),
                    "it leads nowhere",
                    "remove it: orlop volume audit --fix",
                )
            } else {
                foreign(&paths.volumes(), name)
            };
            let name = name.clone();
            self.suspect(finding, move |records| {
                !records.knows_name(&name) && path.symlink_metadata().is_ok()
            });
        }
    }

    /// What is in the directory of each volume.
    fn inside(&mut self, up: &HashSet<&PoolId>) -> Result<(), ContainerError> {
        let records = self.records;
        for (id, name, state) in &records.volumes {
            let is_there = records.pool(id).is_none_or(|pool| up.contains(pool));
            if *state != VolumeState::Ready || records.is_elsewhere(id) || !is_there {
                continue;
            }
            self.link(id, name);
            self.tree(id, name, Records::is_ready)?;
            self.snapshots(id, name)?;
        }
        for (id, name) in &records.trash {
            if records.pool(id).is_none_or(|pool| up.contains(pool)) {
                let is_trashed = |records: &Records, id: &VolumeId| records.trash.contains_key(id);
                self.tree(id, &format!("{name} (in the trash)"), is_trashed)?;
            }
        }
        Ok(())
    }

    fn link(&mut self, id: &'a VolumeId, name: &'a str) {
        let paths = self.paths;
        let (link, target) = (paths.volume_link(name), paths.volume_link_target(id));
        let leads_there = fs::read_link(&link).is_ok_and(|found| found == target);
        if leads_there {
            return;
        }
        let is_in_the_way = !link.is_symlink() && !is_missing(&link);
        let finding = if is_in_the_way {
            finding(
                "foreign-entry",
                Weight::Medium,
                link.to_string_lossy(),
                format!("it is where the link to volume {name} has to be"),
                "look what is in it, and move it out of the state directory",
            )
        } else {
            missing_link(name, &link)
        };
        self.suspect(finding, move |records| {
            let still_called = records.volume(id.as_str());
            needs_link(records, id)
                && still_called.is_some_and(|(still, _)| still == name)
                && !fs::read_link(&link).is_ok_and(|found| found == target)
        });
    }

    /// The content, and what operations may have left beside it.
    fn tree(
        &mut self,
        id: &'a VolumeId,
        name: &str,
        is_known: fn(&Records, &VolumeId) -> bool,
    ) -> Result<(), ContainerError> {
        let paths = self.paths;
        // Without a link in `data` it has been said.
        if is_missing(&paths.volume_entry(id)) {
            return Ok(());
        }
        let (directory, content) = (paths.volume(id), paths.volume_content(id));
        // Listed, not looked at one by one: what is mounted on a content may be a server that does not answer.
        let inside = names(&directory)?;
        let has = |path: &Path| {
            inside
                .iter()
                .any(|name| path.file_name() == Some(name.as_ref()))
        };
        if !has(&content) {
            let what = if is_missing(&directory) {
                format!("its directory {}", directory.display())
            } else {
                format!("its content {}", content.display())
            };
            let finding = missing_data(name, &what);
            self.suspect(finding, move |records| {
                is_known(records, id)
                    && !records.is_worked_on(id.as_str())
                    && names(&directory).is_ok_and(|inside| {
                        !inside
                            .iter()
                            .any(|name| content.file_name() == Some(name.as_ref()))
                    })
            });
        }
        for tree in [paths.volume_next(id), paths.volume_old(id)] {
            let mut parts = vec![tree.clone()];
            parts.extend(["image", "making"].map(|end| tree.with_extension(end)));
            parts.retain(|path| has(path));
            let Some(first) = parts.into_iter().next() else {
                continue;
            };
            let finding = left_behind(&first, &format!("beside the content of volume {name}"));
            self.suspect(finding, move |records| {
                is_known(records, id)
                    && !records.is_worked_on(id.as_str())
                    && first.symlink_metadata().is_ok()
            });
        }
        Ok(())
    }

    fn snapshots(&mut self, id: &'a VolumeId, volume: &str) -> Result<(), ContainerError> {
        let (paths, records) = (self.paths, self.records);
        let directory = paths.snapshots(id);
        let rows = records.snapshots(id);
        let found = names(&directory)?;
        for row in rows.iter().filter(|row| row.state == SnapshotState::Ready) {
            if found.iter().any(|name| name == row.id.as_str()) {
                continue;
            }
            // It was made after the look at the disk, or it is not there.
            let tree = paths.snapshot(id, &row.id);
            let finding = finding(
                "missing-snapshot",
                Weight::High,
                format!("{volume}@{}", row.name),
                format!("its tree {} is missing", tree.display()),
                format!(
                    "put it back from a backup, or give the snapshot up: orlop volume snapshot rm {volume}@{}",
                    row.name
                ),
            );
            self.suspect(finding, move |records| {
                let is_ready = |now: &store::SnapshotRow| {
                    now.id == row.id && now.state == SnapshotState::Ready
                };
                records.snapshots(id).iter().any(is_ready)
                    && !records.is_worked_on(row.id.as_str())
                    && is_missing(&tree)
            });
        }
        for name in &found {
            // A filesystem of its own, or one in the making, is the snapshot's beside which it is.
            let (stem, _) = name.split_once('.').unwrap_or((name, ""));
            let (path, own) = (format!("{}/{name}", directory.display()), stem.to_owned());
            if SnapshotId::parse(stem).is_none() {
                self.suspect(foreign(&directory, name), |_| true);
                continue;
            }
            if records.has_snapshot(id, stem) || records.is_worked_on(stem) {
                continue;
            }
            let finding = finding(
                "orphan-snapshot",
                Weight::Medium,
                &path,
                format!("no record knows this snapshot of volume {volume}"),
                "copy what is needed out of it, then delete it",
            );
            self.suspect(finding, move |records| {
                records.is_ready(id)
                    && !records.has_snapshot(id, &own)
                    && !records.is_worked_on(&own)
                    && !is_missing(Path::new(&path))
            });
        }
        Ok(())
    }

    /// `staging` and `trash`: each start deletes what operations that have ended left there. What came since may be somebody's
    /// who has no operation: an image that is loaded, a step of a build.
    fn left_over(&mut self) -> Result<(), ContainerError> {
        let (paths, records) = (self.paths, self.records);
        let changed = |path: &Path| path.symlink_metadata().and_then(|found| found.modified());
        let started = changed(&paths.engine_lock()).unwrap_or_else(|_| SystemTime::now());
        let places = [
            (paths.staging_root(), Paths::staging as fn(&_, &OpId) -> _),
            (paths.trash_root(), Paths::trash),
        ];
        for (directory, path) in places {
            for name in names(&directory)? {
                let Some(op) = OpId::parse(&name) else {
                    self.suspect(foreign(&directory, &name), |_| true);
                    continue;
                };
                let path = path(paths, &op);
                let is_older = changed(&path).is_ok_and(|changed| changed < started);
                if records.has_op(&name) || !is_older {
                    continue;
                }
                let finding = left_behind(&path, "by an operation that has ended");
                self.suspect(finding, move |records| {
                    !records.has_op(&name) && !is_missing(&path)
                });
            }
        }
        Ok(())
    }
}

/// The link to this volume is missing by now, and by nobody's doing.
fn needs_link(records: &Records, id: &VolumeId) -> bool {
    records.is_ready(id) && !records.is_elsewhere(id) && !records.is_worked_on(id.as_str())
}

fn missing_link(name: &str, path: &Path) -> Finding {
    finding(
        "missing-link",
        Weight::Medium,
        name,
        format!("the link {} is missing", path.display()),
        "make it again: orlop volume audit --fix",
    )
}

fn missing_data(name: &str, what: &str) -> Finding {
    let plain = name.split(' ').next().unwrap_or(name);
    finding(
        "missing-data",
        Weight::High,
        name,
        format!("{what} is missing"),
        if plain == name {
            format!("put it back from a backup, or give the volume up: orlop volume rm {name}")
        } else {
            format!("put it back, or give the volume up: orlop volume trash empty {plain}")
        },
    )
}

fn foreign(directory: &Path, name: &str) -> Finding {
    finding(
        "foreign-entry",
        Weight::Medium,
        format!("{}/{name}", directory.display()),
        "it belongs to nothing here",
        "look what is in it, and move it out of the state directory",
    )
}

fn left_behind(path: &Path, whose: &str) -> Finding {
    finding(
        "leftover",
        Weight::Low,
        path.to_string_lossy(),
        format!("it was left {whose}, and no operation owns it"),
        "look what is in it, then delete it",
    )
}

fn is_missing(path: &Path) -> bool {
    matches!(path.symlink_metadata(), Err(error) if error.kind() == ErrorKind::NotFound)
}

/// Whether nothing but an empty `_data` is in it.
fn is_empty(directory: &Path, content: &Path) -> bool {
    let entries = |path: &Path| -> Option<Vec<std::path::PathBuf>> {
        let entries = fs::read_dir(path).ok()?;
        entries.map(|entry| Some(entry.ok()?.path())).collect()
    };
    let Some(inside) = entries(directory) else {
        return false;
    };
    match inside.as_slice() {
        [] => true,
        [only] if only == content && !content.is_symlink() => {
            entries(content).is_some_and(|inside| inside.is_empty())
        }
        _ => false,
    }
}

/// Nothing is in a directory that is not there: it may have been removed meanwhile.
fn names(directory: &Path) -> Result<Vec<String>, ContainerError> {
    let listed = fs::read_dir(directory).and_then(|entries| {
        entries
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect::<io::Result<Vec<_>>>()
    });
    match listed {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        other => other.map_err(|source| ContainerError::Io {
            action: format!("cannot list {}", directory.display()),
            source,
        }),
    }
}
