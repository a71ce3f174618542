//! What is lost goes out of the index, before the rest is pruned: the library that prunes trusts the index, and of two copies of a
//! blob might keep the damaged one.
//!
//! Steps, under the exclusive lock of a prune: 1. what can still be read in damaged packs and is nowhere else is stored again;
//! 2. every backup is found to have all that it needs, or nothing more is done; 3. the index is written without what is lost,
//! and only then its old files go; 4. the packs go. Whatever kills it leaves an index that says no less than before.

use crate::error::BackupError;
use crate::index::{IdSet, Index, IndexFile};
use crate::place::{Kind, Name};
use crate::repository::{Repository, Watch};
use crate::save::Packs;
use crate::survey::Survey;

impl Repository {
    /// # Errors
    /// [`BackupError::StillNeeded`]; those of the place.
    pub(crate) fn set_aside_what_is_lost(&self, watch: &dyn Watch) -> Result<(), BackupError> {
        let survey = self.survey()?;
        if survey.lost.is_empty() && survey.damaged.is_empty() {
            return Ok(());
        }
        self.rescue(&survey)?;
        let index = self.index_without(&survey)?;
        if let Some(backup) = self.lacking(&index, watch)? {
            return Err(BackupError::StillNeeded {
                place: self.shown(),
                what: survey.sentences().swap_remove(0),
                backup: backup.to_hex().to_string(),
            });
        }
        self.rewrite_index(&survey)?;
        for (pack, _) in &survey.lost {
            let name = Name::new(Kind::Pack, pack.id);
            self.storage.remove(name)?;
            self.unsuspect(name);
        }
        Ok(())
    }

    /// Step 1.
    fn rescue(&self, survey: &Survey) -> Result<(), BackupError> {
        let index = survey.index();
        let stored = Packs::run(self, &index, |packs| {
            for (pack, _) in &survey.lost {
                let bytes = match self.origin.read(Name::new(Kind::Pack, pack.id)) {
                    Err(error) if error.is_loss() => continue,
                    other => other?,
                };
                for blob in &pack.blobs {
                    if let Some(plain) = self.open_in(&bytes, blob) {
                        packs.add(blob.kind, &plain)?;
                    }
                }
            }
            Ok(())
        });
        stored.map(drop)
    }

    /// What the index will be.
    fn index_without(&self, survey: &Survey) -> Result<Index, BackupError> {
        let lost = ids(survey);
        let (mut packs, _) = self.indexed()?;
        packs.retain(|pack| !lost.contains(&pack.id));
        Ok(Index::of(&packs, &[]))
    }

    /// Step 3.
    fn rewrite_index(&self, survey: &Survey) -> Result<(), BackupError> {
        let lost = ids(survey);
        for (id, _) in self.storage.list(Kind::Index)? {
            let name = Name::new(Kind::Index, id);
            if survey.damaged.contains(&id) {
                self.storage.remove(name)?;
                continue;
            }
            let mut file: IndexFile = self.file(&*self.storage, name)?;
            let before = file.packs.len();
            file.packs.retain(|pack| !lost.contains(&pack.id));
            if file.packs.len() == before {
                continue;
            }
            if !file.packs.is_empty() {
                self.save_file(Kind::Index, &file)?;
            }
            self.storage.remove(name)?;
        }
        Ok(())
    }
}

fn ids(survey: &Survey) -> IdSet {
    survey.lost.iter().map(|(pack, _)| pack.id).collect()
}
