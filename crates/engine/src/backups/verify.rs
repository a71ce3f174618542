//! `check` and `verify`: whether a repository, or one backup in it, holds what it says.

use backup::Check;

use super::repositories::{named, of};
use super::watch::Watching;
use super::{BackupError, Backups, hex, shared};
use crate::cancel::Cancel;
use crate::progress::Progress;

/// How much is read.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum How {
    /// Index, trees and which packs there are; of data nothing.
    #[default]
    Structure,
    /// And so many percent of the packs.
    Sample(f64),
    /// And all of them.
    Everything,
}

/// What shall be looked at.
#[derive(Debug, Clone, Default)]
pub struct VerifyRequest {
    /// `REPOSITORY`, or one backup of it, of which then all data is read.
    pub from: String,
    pub how: How,
}

/// What was found.
#[derive(Debug, Clone, Default)]
pub struct Verified {
    pub repository: String,
    /// Id of the backup, if it was one.
    pub backup: Option<String>,
    /// Nothing: all is well.
    pub problems: Vec<Problem>,
}

/// Something that is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// One sentence that names pack, blob or file.
    pub what: String,
    /// The backups that cannot be restored whole because of it.
    pub hurts: Vec<String>,
}

impl Backups {
    /// Looks.
    ///
    /// # Errors
    /// Those of naming, and what keeps the repository from being read at all.
    pub fn verify(
        &self,
        request: &VerifyRequest,
        progress: &dyn Progress,
        cancel: &Cancel,
    ) -> Result<Verified, BackupError> {
        if let How::Sample(percent) = request.how
            && !(percent > 0.0 && percent <= 100.0)
        {
            return Err(BackupError::Sample);
        }
        let reference = self.reference(&request.from)?;
        let row = &reference.repository;
        let lock = self.lock_of(row);
        let _shared = shared(&lock);
        let opened = self.open_row(row)?;
        let one = if reference.volume.is_some() || reference.which.is_some() {
            Some(self.one(&request.from, &reference, &opened)?)
        } else {
            None
        };
        let how = match (&one, request.how) {
            (Some(backup), _) => Check::Backup(backup.id),
            (None, How::Structure) => Check::Structure,
            (None, How::Sample(percent)) => Check::Sample(percent),
            (None, How::Everything) => Check::Everything,
        };
        let watch = Watching::new(&row.name, "Verifying", progress, cancel);
        let problems = opened.check(how, &watch).map_err(of(row))?;
        let (known, _) = opened.readable_backups().map_err(of(row))?;
        // What is merely unused hurts nobody: a prune takes it. Packs that only others need do not keep one from being restored.
        let is_one = one.is_some();
        let counts = |problem: &backup::Problem| {
            let of_others = problem.backups.is_empty() && !problem.blobs.is_empty();
            problem.is_loss() && !(is_one && of_others)
        };
        Ok(Verified {
            repository: row.name.clone(),
            backup: one.map(|backup| hex(backup.id)),
            problems: problems
                .into_iter()
                .filter(counts)
                .map(|problem| Problem {
                    what: told(&problem, &known),
                    hurts: problem.backups.iter().copied().map(hex).collect(),
                })
                .collect(),
        })
    }
}

/// One sentence, with the volumes that it hurts.
fn told(problem: &backup::Problem, known: &[backup::Backup]) -> String {
    let hurt: Vec<String> = problem
        .backups
        .iter()
        .map(|id| named(*id, known.iter().find(|backup| backup.id == *id)))
        .collect();
    if hurt.is_empty() {
        problem.what()
    } else {
        format!("{}, which hurts {}", problem.what(), hurt.join(", "))
    }
}
