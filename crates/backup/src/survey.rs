//! What of a repository is there and what is lost, as far as that is known without reading everything.
//!
//! Lost is a pack that is missing, one that is shorter than the index says, and one that somebody who read it found to be damaged
//! and that still is ([`crate::suspects`]); and files of the index that cannot be read. Nothing new shall refer to any of that.

use rustic_core::Id;

use crate::error::BackupError;
use crate::index::{IdMap, Index, IndexFile, IndexPack};
use crate::place::{Kind, Name};
use crate::repository::{Repository, checked};

pub(crate) struct Survey {
    /// Packs that are there.
    pub(crate) whole: Vec<IndexPack>,
    /// The others, and what is wrong with them.
    pub(crate) lost: Vec<(IndexPack, &'static str)>,
    /// Files of the index that cannot be read.
    pub(crate) damaged: Vec<Id>,
}

impl Survey {
    pub(crate) fn index(&self) -> Index {
        Index::of(&self.whole, &self.damaged)
    }

    /// A sentence for each thing that is lost.
    pub(crate) fn sentences(&self) -> Vec<String> {
        let damaged = self
            .damaged
            .iter()
            .map(|id| (Kind::Index, *id, "is damaged"));
        let lost = self
            .lost
            .iter()
            .map(|(pack, what)| (Kind::Pack, pack.id, *what));
        damaged
            .chain(lost)
            .map(|(kind, id, what)| format!("{} {what}", Name::new(kind, id)))
            .collect()
    }
}

impl Repository {
    /// Looks.
    ///
    /// # Errors
    /// Those of the place.
    pub(crate) fn survey(&self) -> Result<Survey, BackupError> {
        let mut bad = IdMap::default();
        for name in self.suspects.iter().flat_map(|suspects| suspects.all()) {
            match name.kind {
                Kind::Pack if self.is_damaged(name)? => {
                    bad.insert(name.id, "is damaged");
                }
                Kind::Index if self.is_damaged(name)? => self.write_again(name)?,
                _ => self.unsuspect(name),
            }
        }
        let (packs, damaged) = self.indexed()?;
        // After the index, which mentions no pack that is not there yet.
        let there: IdMap<u64> = self.storage.list(Kind::Pack)?.into_iter().collect();
        let mut survey = Survey {
            whole: Vec::with_capacity(packs.len()),
            lost: Vec::new(),
            damaged,
        };
        for pack in packs {
            let what = match there.get(&pack.id) {
                None => Some("is missing"),
                Some(length) if *length < pack.size() => Some("is cut short"),
                Some(_) => bad.get(&pack.id).copied(),
            };
            match what {
                None => survey.whole.push(pack),
                Some(what) => survey.lost.push((pack, what)),
            }
        }
        Ok(survey)
    }

    /// Notes that a file was found to be damaged.
    pub(crate) fn suspect(&self, name: Name) {
        if let Some(suspects) = &self.suspects {
            suspects.note(name);
        }
    }

    pub(crate) fn unsuspect(&self, name: Name) {
        if let Some(suspects) = &self.suspects {
            suspects.clear(name);
        }
    }

    fn is_damaged(&self, name: Name) -> Result<bool, BackupError> {
        match self.origin.read(name) {
            Ok(bytes) => Ok(checked(name, bytes).is_none()),
            // It has gone, as what is of no use does.
            Err(error) if error.is_missing() => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// What a damaged file of the index said is written anew, if the cache has it. The file itself stays until a prune, which
    /// alone may remove what others may be reading, and is known to be damaged from now on: the cache has it no longer.
    fn write_again(&self, name: Name) -> Result<(), BackupError> {
        if let Ok(file) = self.file::<IndexFile>(&*self.storage, name) {
            self.save_file(Kind::Index, &file)?;
            tracing::info!(%name, "what a damaged part of the index said was written again");
        }
        self.storage.doubt(name);
        self.unsuspect(name);
        Ok(())
    }
}
