//! `reseed`: new contents from where the old ones came, without losing what was done to them.
//!
//! Three trees decide: the *base* that once filled the volume, the *new* one, and the volume. What users added or changed
//! is known only while the base is there; without it everything counts as theirs.
//!
//! | in the volume | in the new tree | merge | replace |
//! |---|---|---|---|
//! | missing, never there | there | added | added |
//! | missing, users removed it | there | stays away | added |
//! | as the base has it | another | updated | updated |
//! | changed by users | another | kept | updated |
//! | as the base has it | gone | removed | removed |
//! | changed or added by users | gone | kept | kept |
//! | of another type, with something of users in it | there | kept | kept |
//!
//! The steps are those of [`crate::fill`].

use std::collections::BTreeSet;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::{Path, PathBuf};

use crate::fill::{Source, Wish};
use crate::merge::Existing;
use crate::mount::IMPORT;
use crate::observer::Observed;
use crate::snapshot::diff::{Same, compare_trees};
use crate::{Change, ChangeKind, Observer, VolumeError, Volumes, held};

/// What a reseed works with.
#[derive(Debug)]
pub struct Reseeding<'a> {
    pub base: Option<BorrowedFd<'a>>,
    pub new: BorrowedFd<'a>,
    /// The directory of the volume that was filled; `None`: all of it.
    pub subpath: Option<&'a str>,
    /// Files that users changed are updated as well.
    pub replace: bool,
}

/// What becomes of one entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeedChange {
    Add,
    Update,
    Remove,
    /// It differs from the new tree, and stays as it is.
    Keep,
}

impl SeedChange {
    /// The letter in lists.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Add => "A",
            Self::Update => "M",
            Self::Remove => "D",
            Self::Keep => "=",
        }
    }
}

/// One entry that is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reseeded {
    pub change: SeedChange,
    /// From the directory that is reseeded, absolute.
    pub path: PathBuf,
}

impl Volumes {
    /// What [`Volumes::reseed`] would do; changes nothing.
    ///
    /// # Errors
    /// As [`Volumes::reseed`].
    pub fn plan_reseed(
        &self,
        name: &str,
        reseeding: &Reseeding<'_>,
        observer: &dyn Observer,
    ) -> Result<Vec<Reseeded>, VolumeError> {
        let row = self.row(name)?;
        self.attach(&row, IMPORT)?;
        let planned = self.plan(name, reseeding, observer);
        let detached = self.detach(&row, IMPORT);
        planned.and_then(|planned| detached.map(|()| planned))
    }

    /// Brings the volume, which may be in use, to the new tree, and notes `seed` as what filled it; what it did.
    ///
    /// # Errors
    /// [`VolumeError::NotFound`], [`VolumeError::Subpath`], [`VolumeError::Compare`], those of mounting and of
    /// [`Volumes::import`]; [`VolumeError::Cancelled`] when the observer stopped it before anything was changed.
    pub fn reseed(
        &self,
        name: &str,
        reseeding: &Reseeding<'_>,
        seed: &str,
        observer: &dyn Observer,
    ) -> Result<Vec<Reseeded>, VolumeError> {
        let lock = self.name_lock(name);
        let _held = held(&lock);
        let row = self.row(name)?;
        self.attach(&row, IMPORT)?;
        let reseeded = self.plan(name, reseeding, observer).and_then(|planned| {
            let of = |wanted: &[SeedChange]| {
                planned
                    .iter()
                    .filter(|one| wanted.contains(&one.change))
                    .map(|one| one.path.clone())
                    .collect::<Vec<PathBuf>>()
            };
            let chosen: BTreeSet<PathBuf> = of(&[SeedChange::Add, SeedChange::Update])
                .into_iter()
                .collect();
            let mut remove = of(&[SeedChange::Remove]);
            remove.sort();
            remove.reverse();
            let wish = Wish {
                remove,
                seed: Some(seed.to_owned()),
                ..Wish::new(Existing::Replace)
            };
            let source = Source::Chosen(reseeding.new, &chosen);
            self.fill_observed(&row, reseeding.subpath, source, wish, observer)?;
            Ok(planned)
        });
        let detached = self.detach(&row, IMPORT);
        reseeded.and_then(|reseeded| detached.map(|()| reseeded))
    }

    fn plan(
        &self,
        name: &str,
        reseeding: &Reseeding<'_>,
        observer: &dyn Observer,
    ) -> Result<Vec<Reseeded>, VolumeError> {
        let row = self.row(name)?;
        let volume =
            self.open_subpath(&row, reseeding.subpath)?
                .ok_or_else(|| VolumeError::Subpath {
                    name: name.to_owned(),
                    subpath: reseeding.subpath.unwrap_or_default().to_owned(),
                    source: std::io::ErrorKind::NotFound.into(),
                })?;
        let observed = Observed::new(name, observer);
        let looking = |bytes| observed.compared(bytes);
        let differ = |old: BorrowedFd<'_>, new: BorrowedFd<'_>| {
            compare_trees(old, new, Same::ByBytes, &looking)
                .map_err(|error| VolumeError::uncompared(name, error))
        };
        let ahead = differ(volume.as_fd(), reseeding.new)?;
        let users = reseeding
            .base
            .map(|base| differ(base, volume.as_fd()))
            .transpose()?;
        Ok(decide(&ahead, users.as_deref(), reseeding.replace))
    }
}

/// `ahead`: what the new tree has other than the volume; `users`: what the volume has other than the base, when known.
fn decide(ahead: &[Change], users: Option<&[Change]>, replace: bool) -> Vec<Reseeded> {
    let touched = |path: &Path| -> Option<ChangeKind> {
        let users = users?;
        let exact = users.iter().find(|change| change.path == path);
        exact.map(|change| change.kind)
    };
    let touched_below = |path: &Path| match users {
        Some(users) => users.iter().any(|change| change.path.starts_with(path)),
        None => true,
    };
    // What users removed is not filled again piece by piece.
    let removed = |path: &Path| {
        let mut removed = users.unwrap_or_default().iter();
        removed.any(|change| change.kind == ChangeKind::Deleted && path.starts_with(&change.path))
    };
    let stays = |change: &Change| {
        change.kind == ChangeKind::Modified && change.retyped && touched_below(&change.path)
    };
    let kept: Vec<&Path> = ahead
        .iter()
        .filter(|change| stays(change))
        .map(|change| change.path.as_path())
        .collect();
    ahead
        .iter()
        .filter_map(|change| {
            let path = change.path.as_path();
            if kept
                .iter()
                .any(|kept| path != *kept && path.starts_with(kept))
            {
                return None;
            }
            let by_users = touched(path);
            let decided = match change.kind {
                ChangeKind::Added if removed(path) && !replace => SeedChange::Keep,
                ChangeKind::Added => SeedChange::Add,
                // A directory in place of a file, or the other way round, takes everything in it away.
                ChangeKind::Modified if stays(change) => SeedChange::Keep,
                ChangeKind::Modified if replace => SeedChange::Update,
                ChangeKind::Modified if users.is_some() && by_users.is_none() => SeedChange::Update,
                ChangeKind::Modified => SeedChange::Keep,
                // What users added is none of an image's business.
                ChangeKind::Deleted if users.is_none() => return None,
                ChangeKind::Deleted => match by_users {
                    None if touched_below(path) => return None,
                    None => SeedChange::Remove,
                    Some(ChangeKind::Modified) => SeedChange::Keep,
                    Some(_) => return None,
                },
            };
            Some(Reseeded {
                change: decided,
                path: path.to_owned(),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(kind: ChangeKind, path: &str) -> Change {
        Change {
            kind,
            path: path.into(),
            retyped: path.ends_with("retyped"),
        }
    }

    #[test]
    fn users_win_unless_all_is_replaced() {
        use ChangeKind::{Added, Deleted, Modified};
        let ahead = [
            change(Added, "/new"),
            change(Added, "/removed-by-users"),
            change(Modified, "/updated"),
            change(Modified, "/changed-by-users"),
            change(Modified, "/retyped"),
            change(Added, "/retyped/new"),
            change(Added, "/removed-by-users/new"),
            change(Deleted, "/dropped"),
            change(Deleted, "/dropped-but-changed"),
            change(Deleted, "/of-users"),
            change(Deleted, "/directory"),
        ];
        let users = [
            change(Deleted, "/removed-by-users"),
            change(Modified, "/changed-by-users"),
            change(Added, "/retyped/by-users"),
            change(Modified, "/dropped-but-changed"),
            change(Added, "/of-users"),
            change(Added, "/directory/of-users"),
        ];
        let shown = |users: Option<&[Change]>, replace| -> String {
            decide(&ahead, users, replace)
                .iter()
                .map(|one| format!("{}{} ", one.change.as_str(), one.path.display()))
                .collect()
        };
        assert_eq!(
            shown(Some(&users), false),
            "A/new =/removed-by-users M/updated =/changed-by-users =/retyped =/removed-by-users/new D/dropped =/dropped-but-changed "
        );
        assert_eq!(
            shown(Some(&users), true),
            "A/new A/removed-by-users M/updated M/changed-by-users =/retyped A/removed-by-users/new D/dropped =/dropped-but-changed "
        );
        assert_eq!(
            shown(None, false),
            "A/new A/removed-by-users =/updated =/changed-by-users =/retyped A/removed-by-users/new "
        );
    }
}
