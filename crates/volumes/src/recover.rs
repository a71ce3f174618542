//! `recover`: what a start does with what the last engine left.
//!
//! 1. open operations are undone or completed, by kind
//! 2. mounts that nobody counts are taken down; counts without a mount (a reboot) are forgotten
//! 3. the links by name are made again from the records
//! 4. what no record explains is reported, and left as it is

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use store::journal::{self, Recovered};
use store::VolumeState;

use crate::create::{Context, Create};
use crate::import::{self, Import};
use crate::remove::Remove;
use crate::{VolumeError, Volumes, link, mount_table};

impl Volumes {
    /// Puts right what was cut short; a sentence for each repair, and for each thing that somebody should look at.
    ///
    /// # Errors
    /// When the journal or the directories cannot be read. A single operation that is stuck is a sentence, not an error.
    pub fn recover(&self) -> Result<Vec<String>, VolumeError> {
        let mut sentences = Vec::new();
        let context = Context { paths: &self.paths, drivers: &self.drivers };
        tell("creation", journal::recover::<Create>(&self.store, &context)?, &mut sentences);
        tell("removal", journal::recover::<Remove>(&self.store, &context)?, &mut sentences);
        let context = import::Context { paths: &self.paths, tar: RefCell::new(None) };
        tell("import into", journal::recover::<Import>(&self.store, &context)?, &mut sentences);
        self.recover_mounts(&mut sentences)?;
        self.recover_links(&mut sentences)?;
        self.report_unknown(&mut sentences)?;
        Ok(sentences)
    }

    fn recover_mounts(&self, sentences: &mut Vec<String>) -> Result<(), VolumeError> {
        let counts = self.store.read(|tx| tx.mount_counts())?;
        let used: BTreeSet<_> = counts.into_iter().map(|count| count.volume).collect();
        for row in self.store.read(|tx| tx.volumes())? {
            let content = self.paths.volume_content(&row.id);
            let options = row.options.clone().unwrap_or_default();
            if !self.driver_of(&row).is_ok_and(|driver| driver.needs_mount(&options)) {
                continue;
            }
            let mounted = mount_table::is_mountpoint(&content).unwrap_or(false);
            if mounted && !used.contains(&row.id) {
                self.take_down(&row)?;
                sentences.push(format!("volume {} was still mounted and nobody used it", row.name));
            }
            if !mounted && used.contains(&row.id) {
                self.store.write(|tx| tx.clear_mounts(&row.id))?;
            }
        }
        Ok(())
    }

    fn recover_links(&self, sentences: &mut Vec<String>) -> Result<(), VolumeError> {
        let names: BTreeMap<String, _> =
            self.store.read(|tx| tx.volumes())?.into_iter().map(|row| (row.name, row.id)).collect();
        for (name, id) in &names {
            let path = self.paths.volume_link(name);
            let there = link::points_at(&self.paths, name).map_err(VolumeError::io("read", &path))?;
            if there.as_ref() == Some(id) {
                continue;
            }
            match link::make(&self.paths, name, id) {
                Ok(()) => sentences.push(format!("the link to volume {name} was made again")),
                Err(error) => sentences.push(format!("{} is in the way of volume {name}: {error}", path.display())),
            }
        }
        let directory = self.paths.volumes();
        let failed = || VolumeError::io("list", directory.clone());
        for entry in std::fs::read_dir(&directory).map_err(|error| failed()(error))? {
            let name = entry.map_err(|error| failed()(error))?.file_name().to_string_lossy().into_owned();
            if names.contains_key(&name) {
                continue;
            }
            let target = link::points_at(&self.paths, &name).map_err(|error| failed()(error))?;
            match target {
                Some(id) if self.store.read(|tx| tx.volume(&id))?.is_none_or(|row| row.state == VolumeState::Ready) => {
                    link::remove(&self.paths, &name, &id).map_err(|error| failed()(error))?;
                    sentences.push(format!("a link to no volume, volumes/{name}, was removed"));
                }
                Some(_) => {}
                None => sentences.push(format!("volumes/{name} belongs to no volume and was left as it is")),
            }
        }
        Ok(())
    }

    fn report_unknown(&self, sentences: &mut Vec<String>) -> Result<(), VolumeError> {
        let known: BTreeSet<String> =
            self.store.read(|tx| tx.volumes_in_any_state())?.into_iter().map(|row| row.id.to_string()).collect();
        let directory = self.paths.data();
        let failed = || VolumeError::io("list", directory.clone());
        let mut found = BTreeSet::new();
        for entry in std::fs::read_dir(&directory).map_err(|error| failed()(error))? {
            found.insert(entry.map_err(|error| failed()(error))?.file_name().to_string_lossy().into_owned());
        }
        for name in found.difference(&known) {
            sentences.push(format!("data/{name} belongs to no volume and was left as it is"));
        }
        for id in known.difference(&found) {
            sentences.push(format!("the data directory of volume {id} is missing; its record was kept"));
        }
        Ok(())
    }
}

fn tell<E: std::error::Error>(what: &str, outcomes: Vec<Recovered<E>>, sentences: &mut Vec<String>) {
    for outcome in outcomes {
        sentences.push(match outcome {
            Recovered::Undone { object } => format!("unfinished {what} volume {object} was undone"),
            Recovered::Completed { object } => format!("unfinished {what} volume {object} was completed"),
            Recovered::Stuck { object, op, error } => {
                format!("unfinished {what} volume {object} is stuck (operation {op}): {error}")
            }
        });
    }
}
