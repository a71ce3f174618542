//! Finds what is damaged or missing in a repository, and which backups that hurts.
//!
//! Nothing is believed because a cache has it: everything is read from the place itself. Keys, records, index and packs of trees
//! are always read whole; packs of data as many as asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Mutex, PoisonError};

use rayon::iter::{IntoParallelIterator as _, ParallelIterator as _};
use rustic_core::Id;

use crate::crypt::{id_of, random};
use crate::error::BackupError;
use crate::index::{BlobKind, IdMap, IdSet, Index, IndexBlob, IndexFile, IndexPack};
use crate::keys::there;
use crate::node::{NodeKind, Tree};
use crate::place::{Kind, Name};
use crate::repository::{Repository, Watch, checked, pool, threads};
use crate::snapshot::Snapshot;

/// How much to check.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Check {
    /// Everything but the contents of files: that it is there is checked, not that it can be read.
    Structure,
    /// And so many percent of the contents, other ones each time.
    Sample(f64),
    /// And all contents.
    Everything,
    /// Everything that one backup needs.
    Backup(Id),
}

/// What is wrong with a file of the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file: `pack 3f…`, `index …`, `key …`, `snapshot …`.
    pub file: String,
    pub damage: Damage,
    /// Blobs of it that cannot be had, where it is a pack.
    pub blobs: Vec<Id>,
    /// Backups that cannot be restored completely because of it, oldest first.
    pub backups: Vec<Id>,
}

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Damage {
    /// It is not there.
    Missing,
    /// It is not what was written.
    Damaged,
    /// It has another length than the index says.
    Length,
    /// It is there, but something that it refers to is in no pack.
    Incomplete,
    /// No part of the index mentions it: left behind by somebody who was killed, and harmless.
    Unused,
}

impl Problem {
    fn new(name: Name, damage: Damage) -> Self {
        Self {
            file: name.to_string(),
            damage,
            blobs: Vec::new(),
            backups: Vec::new(),
        }
    }

    /// Whether something is lost; what is merely unused is not.
    #[must_use]
    pub fn is_loss(&self) -> bool {
        self.damage != Damage::Unused
    }
}

impl Problem {
    /// What is wrong, without whom it hurts.
    #[must_use]
    pub fn what(&self) -> String {
        let what = match self.damage {
            Damage::Missing => "is missing",
            Damage::Damaged => "is damaged",
            Damage::Length => "has another length than the index says",
            Damage::Incomplete => "refers to something that is in no pack",
            Damage::Unused => "is in no index",
        };
        let blobs = self.blobs.first().map(|first| {
            let count = self.blobs.len();
            format!(" ({count} blobs, the first is {first})")
        });
        format!("{} {what}{}", self.file, blobs.unwrap_or_default())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what())?;
        for (at, id) in self.backups.iter().enumerate() {
            let before = if at == 0 {
                ", which hurts backup "
            } else {
                ", "
            };
            write!(f, "{before}{id}")?;
        }
        Ok(())
    }
}

impl Repository {
    /// Checks. Problems are what is wrong with the repository; an error is that it could not be found out.
    ///
    /// # Errors
    /// [`BackupError::Locked`], [`BackupError::NoBackup`], [`BackupError::Stopped`]; those of the place.
    pub fn check(&self, how: Check, watch: &dyn Watch) -> Result<Vec<Problem>, BackupError> {
        let _lock = self.lock_to_read()?;
        let checking = Checking {
            repository: self,
            watch,
            problems: Mutex::default(),
        };
        checking.keys()?;
        let snapshots = checking.snapshots(how)?;
        let (index, packs) = checking.index()?;
        let (there, mut bad) = checking.list_packs(&packs)?;
        let whole: Vec<&IndexPack> = packs
            .values()
            .filter(|pack| there.contains(&pack.id))
            .collect();
        let (trees, data): (Vec<_>, Vec<_>) = whole
            .into_iter()
            .partition(|pack| pack.kind() == BlobKind::Tree);
        let mut to_read = trees;
        let mut used = match how {
            Check::Backup(_) => Some(IdSet::default()),
            _ => None,
        };
        let size = |packs: &[&IndexPack]| packs.iter().map(|pack| pack.size()).sum::<u64>();
        let of_trees = size(&to_read);
        watch.total(of_trees);
        bad.extend(checking.read(&to_read)?);
        if let Some(used) = &mut used {
            checking.collect_data(&index, &snapshots, used);
        }
        to_read = match how {
            Check::Structure => Vec::new(),
            Check::Everything => data,
            Check::Sample(percent) => sample(data, percent),
            Check::Backup(_) => {
                let used = used.unwrap_or_default();
                let needed = |pack: &&IndexPack| pack.blobs.iter().any(|it| used.contains(&it.id));
                data.into_iter().filter(needed).collect()
            }
        };
        watch.total(of_trees + size(&to_read));
        bad.extend(checking.read(&to_read)?);
        // What is in a missing pack is as bad as what is damaged.
        for pack in packs.values().filter(|pack| !there.contains(&pack.id)) {
            bad.extend(pack.blobs.iter().map(|blob| (blob.id, pack.id)));
        }
        let lost = without_copies(&bad, packs.values().filter(|pack| there.contains(&pack.id)));
        checking.hurt(&index, &snapshots, &lost);
        let mut problems = checking
            .problems
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        problems.sort_by(|a, b| (&a.file, a.damage).cmp(&(&b.file, b.damage)));
        // What is wrong with a file is told once: of one that is cut short also blobs cannot be read.
        problems.dedup_by(|next, first| {
            let is_same = next.file == first.file;
            if is_same && next.damage == first.damage {
                first.blobs.append(&mut next.blobs);
            }
            is_same
        });
        problems.sort_by(|a, b| (a.damage, &a.file).cmp(&(b.damage, &b.file)));
        Ok(problems)
    }
}

impl Repository {
    /// The oldest backup that needs something which the index does not have.
    pub(crate) fn lacking(
        &self,
        index: &Index,
        watch: &dyn Watch,
    ) -> Result<Option<Id>, BackupError> {
        let checking = Checking {
            repository: self,
            watch,
            problems: Mutex::default(),
        };
        let snapshots = checking.snapshots(Check::Structure)?;
        checking.hurt(index, &snapshots, &IdMap::default());
        let problems = checking.problems.into_inner();
        let problems = problems.unwrap_or_else(PoisonError::into_inner);
        let hurt = problems.iter().find_map(|problem| problem.backups.first());
        Ok(hurt.copied())
    }
}

struct Checking<'a> {
    repository: &'a Repository,
    watch: &'a dyn Watch,
    problems: Mutex<Vec<Problem>>,
}

/// Blobs that cannot be had, each with the pack that should have it.
type Bad = Vec<(Id, Id)>;
type Snapshots = Vec<(Id, Snapshot)>;

impl Checking<'_> {
    fn found(&self, problem: Problem) {
        self.problems
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(problem);
    }

    fn keys(&self) -> Result<(), BackupError> {
        let origin = &self.repository.origin;
        for (id, _) in origin.list(Kind::Key)? {
            let name = Name::new(Kind::Key, id);
            let Some(bytes) = there(origin.read(name))? else {
                continue;
            };
            if checked(name, bytes).is_none() {
                self.found(Problem::new(name, Damage::Damaged));
            }
        }
        Ok(())
    }

    fn snapshots(&self, how: Check) -> Result<Snapshots, BackupError> {
        let repository = self.repository;
        let mut snapshots: Snapshots = Vec::new();
        for (id, _) in repository.origin.list(Kind::Snapshot)? {
            let name = Name::new(Kind::Snapshot, id);
            match repository.file::<Snapshot>(&*repository.origin, name) {
                Ok(snapshot) => snapshots.push((id, snapshot)),
                Err(BackupError::Damaged { .. }) => {
                    let mut problem = Problem::new(name, Damage::Damaged);
                    problem.backups.push(id);
                    self.found(problem);
                }
                // Forgotten meanwhile.
                Err(BackupError::Place(error)) if error.is_missing() => {}
                Err(error) => return Err(error),
            }
        }
        if let Check::Backup(wanted) = how {
            snapshots.retain(|(id, _)| *id == wanted);
            let is_damaged = || {
                let problems = self.problems.lock().unwrap_or_else(PoisonError::into_inner);
                problems.iter().any(|it| it.backups.contains(&wanted))
            };
            if snapshots.is_empty() && !is_damaged() {
                return Err(BackupError::NoBackup {
                    place: repository.shown(),
                    text: wanted.to_hex().to_string(),
                });
            }
        }
        snapshots.sort_by_key(|(id, snapshot)| (snapshot.time, *id));
        Ok(snapshots)
    }

    fn index(&self) -> Result<(Index, BTreeMap<Id, IndexPack>), BackupError> {
        let repository = self.repository;
        let mut index = Index::default();
        let mut packs: BTreeMap<Id, IndexPack> = BTreeMap::new();
        for (id, _) in repository.origin.list(Kind::Index)? {
            let name = Name::new(Kind::Index, id);
            match repository.file::<IndexFile>(&*repository.origin, name) {
                Ok(file) => {
                    for pack in file.packs {
                        index.add(&pack);
                        packs.insert(pack.id, pack);
                    }
                }
                Err(BackupError::Damaged { .. }) => {
                    self.found(Problem::new(name, Damage::Damaged));
                    repository.suspect(name);
                }
                Err(error) => return Err(error),
            }
        }
        Ok((index, packs))
    }

    /// Compares what is there with the index; the packs that can be read, and the blobs behind the end of one.
    fn list_packs(
        &self,
        packs: &BTreeMap<Id, IndexPack>,
    ) -> Result<(BTreeSet<Id>, Bad), BackupError> {
        let (mut there, mut behind) = (BTreeSet::new(), Vec::new());
        for (id, size) in self.repository.origin.list(Kind::Pack)? {
            let name = Name::new(Kind::Pack, id);
            match packs.get(&id) {
                None => self.found(Problem::new(name, Damage::Unused)),
                Some(pack) => {
                    there.insert(id);
                    if pack.size() != size {
                        let mut problem = Problem::new(name, Damage::Length);
                        let cut = |blob: &&IndexBlob| {
                            u64::from(blob.offset) + u64::from(blob.length) > size
                        };
                        let lost = pack.blobs.iter().filter(cut).map(|blob| blob.id);
                        problem.blobs = lost.collect();
                        behind.extend(problem.blobs.iter().map(|blob| (*blob, id)));
                        self.found(problem);
                    }
                }
            }
        }
        for pack in packs.values().filter(|pack| !there.contains(&pack.id)) {
            let mut problem = Problem::new(Name::new(Kind::Pack, pack.id), Damage::Missing);
            problem.blobs = pack.blobs.iter().map(|blob| blob.id).collect();
            self.found(problem);
        }
        Ok((there, behind))
    }

    /// Reads whole packs; the blobs that cannot be had, and where they should be.
    fn read(&self, packs: &[&IndexPack]) -> Result<Bad, BackupError> {
        let results: Vec<Bad> = pool(threads())?.install(|| {
            packs
                .into_par_iter()
                .map(|pack| {
                    if self.watch.stop() {
                        return Err(BackupError::Stopped);
                    }
                    self.pack(pack)
                })
                .collect::<Result<_, _>>()
        })?;
        Ok(results.into_iter().flatten().collect())
    }

    fn pack(&self, pack: &IndexPack) -> Result<Bad, BackupError> {
        let name = Name::new(Kind::Pack, pack.id);
        let bytes = self.repository.origin.read(name)?;
        let bad: Vec<Id> = pack
            .blobs
            .iter()
            .filter(|blob| self.repository.open_in(&bytes, blob).is_none())
            .map(|blob| blob.id)
            .collect();
        if !bad.is_empty() || id_of(&bytes) != pack.id {
            let mut problem = Problem::new(name, Damage::Damaged);
            problem.blobs.clone_from(&bad);
            self.found(problem);
            self.repository.suspect(name);
        }
        self.watch.advance(bytes.len() as u64);
        Ok(bad.into_iter().map(|blob| (blob, pack.id)).collect())
    }

    fn collect_data(&self, index: &Index, snapshots: &Snapshots, used: &mut IdSet) {
        let mut seen = IdSet::default();
        let mut ahead: Vec<Id> = snapshots.iter().map(|(_, it)| it.tree).collect();
        while let Some(id) = ahead.pop() {
            if !seen.insert(id) {
                continue;
            }
            // Trees that cannot be read are found again when it is asked whom they hurt.
            let Ok(tree) = self.repository.tree(index, id) else {
                continue;
            };
            for node in tree.nodes {
                used.extend(node.content.into_iter().flatten());
                ahead.extend(node.subtree);
            }
        }
    }

    /// Walks all backups and adds to each problem those that it hurts; backups that refer to what is in no pack are problems of
    /// their own.
    fn hurt(&self, index: &Index, snapshots: &Snapshots, bad: &IdMap<Id>) {
        let mut known: IdMap<BTreeSet<Cause>> = IdMap::default();
        let mut by_file: BTreeMap<String, Vec<Id>> = BTreeMap::new();
        for (id, snapshot) in snapshots {
            let causes = self.causes(index, snapshot.tree, bad, &mut known);
            for cause in causes {
                match cause {
                    Cause::Pack(pack) => by_file
                        .entry(Name::new(Kind::Pack, pack).to_string())
                        .or_default()
                        .push(*id),
                    Cause::Nowhere(blob) => {
                        let mut problem =
                            Problem::new(Name::new(Kind::Snapshot, *id), Damage::Incomplete);
                        problem.blobs.push(blob);
                        problem.backups.push(*id);
                        self.found(problem);
                    }
                }
            }
        }
        let mut problems = self.problems.lock().unwrap_or_else(PoisonError::into_inner);
        for problem in &mut *problems {
            if let Some(backups) = by_file.get(&problem.file)
                && problem.backups.is_empty()
            {
                problem.backups.clone_from(backups);
            }
        }
    }

    /// What keeps the tree from being restored. A tree that several backups share is looked at once.
    fn causes(
        &self,
        index: &Index,
        root: Id,
        bad: &IdMap<Id>,
        known: &mut IdMap<BTreeSet<Cause>>,
    ) -> BTreeSet<Cause> {
        let mut ahead = vec![(root, None::<Vec<Id>>)];
        while let Some((id, below)) = ahead.pop() {
            if let Some(below) = below {
                let mut causes = known.remove(&id).unwrap_or_default();
                for below in below {
                    causes.extend(known.get(&below).into_iter().flatten().copied());
                }
                known.insert(id, causes);
                continue;
            }
            if known.contains_key(&id) {
                continue;
            }
            let mut causes = BTreeSet::new();
            let mut blob = |kind: BlobKind, id: Id| match (bad.get(&id), index.has(kind, &id)) {
                (Some(pack), _) => {
                    causes.insert(Cause::Pack(*pack));
                    false
                }
                (None, false) => {
                    causes.insert(Cause::Nowhere(id));
                    false
                }
                (None, true) => true,
            };
            let mut below = Vec::new();
            if blob(BlobKind::Tree, id) {
                match self.repository.tree(index, id) {
                    Ok(Tree { nodes }) => {
                        for node in nodes {
                            for id in node.content.into_iter().flatten() {
                                blob(BlobKind::Data, id);
                            }
                            match node.subtree {
                                Some(subtree) => below.push(subtree),
                                None if node.kind == NodeKind::Dir => {
                                    blob(BlobKind::Tree, Id::default());
                                }
                                None => {}
                            }
                        }
                    }
                    Err(error) => {
                        tracing::warn!(%error, "a tree cannot be read");
                        let pack = index
                            .find(BlobKind::Tree, &id)
                            .map(|it| index.pack(it.pack));
                        causes.extend(pack.map(Cause::Pack));
                    }
                }
            }
            known.insert(id, causes);
            ahead.push((id, Some(below.clone())));
            ahead.extend(below.into_iter().map(|id| (id, None)));
        }
        known.get(&root).cloned().unwrap_or_default()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Cause {
    /// Something in it is damaged, or it is missing.
    Pack(Id),
    /// A blob that no pack has.
    Nowhere(Id),
}

/// The blobs among `bad` that no readable pack has, each with one that should.
fn without_copies<'p>(
    bad: &[(Id, Id)],
    readable: impl Iterator<Item = &'p IndexPack>,
) -> IdMap<Id> {
    let mut lost: IdMap<Id> = bad.iter().copied().collect();
    if lost.is_empty() {
        return lost;
    }
    let bad: BTreeSet<(Id, Id)> = bad.iter().copied().collect();
    for pack in readable {
        for blob in &pack.blobs {
            if lost.contains_key(&blob.id) && !bad.contains(&(blob.id, pack.id)) {
                lost.remove(&blob.id);
            }
        }
    }
    lost
}

/// So many percent of the bytes, chosen at random, but at least one pack.
fn sample(mut packs: Vec<&IndexPack>, percent: f64) -> Vec<&IndexPack> {
    let total: u64 = packs.iter().map(|pack| pack.size()).sum();
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share needs no exact numbers, and is never negative"
    )]
    let wanted = (total as f64 * (percent.clamp(0.0, 100.0) / 100.0)) as u64;
    let mut chosen = Vec::new();
    let mut size = 0;
    while (size < wanted || chosen.is_empty()) && !packs.is_empty() {
        let mut bytes = [0; 8];
        random(&mut bytes);
        let number = u64::from_le_bytes(bytes) % packs.len() as u64;
        let pack = packs.swap_remove(usize::try_from(number).unwrap_or(0));
        size += pack.size();
        chosen.push(pack);
    }
    chosen
}
