//! `recover`: what a start does with what the last engine left.
//!
//! 0. pools come up ([`crate::pool::up`]); a database that knows of no volume gets them from the descriptions beside the
//!    data ([`crate::rescue`])
//! 1. what this crate's own calls held is given back
//! 2. open operations are undone or completed, by kind
//! 3. filesystems of volumes are mounted again; mounts that nobody counts are taken down; counts without a mount (a
//!    reboot) are forgotten; what plugins are to be told is noted, for plugins are not called here
//! 4. the links by name are made again from the records
//! 5. staging and trash of operations that are closed are deleted
//! 6. what no record explains is reported, and left as it is; but a volume's directory that holds nothing, or only its
//!    description, is removed

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use store::journal::{self, Recovered};
use store::{OpId, VolumeId, VolumeState};

use crate::adopt::Adopt;
use crate::arrive::begin::Begin;
use crate::arrive::publish::Publish;
use crate::convert::{self, Convert};
use crate::create::Create;
use crate::elsewhere::withdraw::Withdraw;
use crate::fill::{self, Fill};
use crate::mount::OWN;
use crate::purge::Purge;
use crate::receive::{self, Receive};
use crate::remove::Remove;
use crate::rename::Rename;
use crate::resize::Resize;
use crate::trash::Trash;
use crate::undelete::Undelete;
use crate::{Unobserved, VolumeError, Volumes, description, link, place, pool};

/// So few descriptions are not worth a thread of their own.
const LOOKED_AT_TOGETHER: usize = 500;

impl Volumes {
    /// Puts right what was cut short; a sentence for each repair, and for each thing that somebody should look at.
    ///
    /// To be called under the instance lock, before anything else.
    ///
    /// # Errors
    /// When the journal, a record or a directory cannot be read: nothing is skipped. A single operation, link or mount
    /// that resists is a sentence.
    pub fn recover(&self) -> Result<Vec<String>, VolumeError> {
        let mut sentences = Vec::new();
        self.rescue_pools(&mut sentences)?;
        tell(
            "creation of pool",
            journal::recover::<pool::create::Create>(&self.store, self)?,
            &mut sentences,
        );
        tell(
            "removal of pool",
            journal::recover::<pool::remove::Remove>(&self.store, self)?,
            &mut sentences,
        );
        self.recover_pools(&mut sentences)?;
        tell(
            "resizing of pool",
            journal::recover::<pool::resize::Resize>(&self.store, self)?,
            &mut sentences,
        );
        sentences.extend(self.rescue()?);
        self.forget_own_mounts()?;
        let context = self.context();
        tell(
            "creation of volume",
            journal::recover::<Create>(&self.store, &context)?,
            &mut sentences,
        );
        tell(
            "restore of volume",
            journal::recover::<Receive>(&self.store, &receive::Context::for_recovery(self))?,
            &mut sentences,
        );
        tell(
            "arrival of volume",
            journal::recover::<Begin>(&self.store, &context)?,
            &mut sentences,
        );
        tell(
            "completion of volume",
            journal::recover::<Publish>(&self.store, &context)?,
            &mut sentences,
        );
        tell(
            "removal of volume",
            journal::recover::<Remove>(&self.store, &context)?,
            &mut sentences,
        );
        tell(
            "removal of volume",
            journal::recover::<Withdraw>(&self.store, &context)?,
            &mut sentences,
        );
        tell(
            "move into the trash of volume",
            journal::recover::<Trash>(&self.store, &context)?,
            &mut sentences,
        );
        tell(
            "deletion of volume",
            journal::recover::<Purge>(&self.store, &context)?,
            &mut sentences,
        );
        tell(
            "return from the trash of volume",
            journal::recover::<Undelete>(&self.store, &context)?,
            &mut sentences,
        );
        tell(
            "renaming of volume",
            journal::recover::<Rename<'_>>(&self.store, &context)?,
            &mut sentences,
        );
        tell(
            "adoption of volume",
            journal::recover::<Adopt>(&self.store, &context)?,
            &mut sentences,
        );
        let context = fill::Context::for_recovery(self);
        tell(
            "filling of volume",
            journal::recover::<Fill>(&self.store, &context)?,
            &mut sentences,
        );
        for error in context.given_up.into_inner() {
            sentences.push(format!("{error}: {}", cause(&error)));
        }
        for (what, outcomes) in self.recover_snapshots()? {
            tell(&format!("{what} volume"), outcomes, &mut sentences);
        }
        tell(
            "resizing of volume",
            journal::recover::<Resize>(&self.store, self)?,
            &mut sentences,
        );
        let converting = convert::Context {
            volumes: self,
            observer: &Unobserved,
        };
        tell(
            "resizing of volume",
            journal::recover::<Convert>(&self.store, &converting)?,
            &mut sentences,
        );
        self.recover_mounts(&mut sentences)?;
        self.recover_images(&mut sentences)?;
        sentences.extend(self.drop_received()?);
        self.recover_plugin_mounts()?;
        self.recover_links(&mut sentences)?;
        self.describe_again()?;
        self.describe_pools();
        self.sweep(&mut sentences)?;
        self.report_unknown(&mut sentences)?;
        Ok(sentences)
    }

    fn forget_own_mounts(&self) -> Result<(), VolumeError> {
        let own: Vec<_> = self
            .store
            .read(|tx| tx.mount_counts())?
            .into_iter()
            .filter(|count| count.holder.starts_with(OWN))
            .collect();
        if own.is_empty() {
            return Ok(());
        }
        self.store.write(|tx| {
            own.iter()
                .try_for_each(|count| Ok(tx.drop_mounts_of(&count.volume, &count.holder)?))
        })
    }

    fn recover_mounts(&self, sentences: &mut Vec<String>) -> Result<(), VolumeError> {
        let used: BTreeSet<_> = self
            .store
            .read(|tx| tx.mount_counts())?
            .into_iter()
            .map(|count| count.volume)
            .collect();
        for row in self.store.read(|tx| tx.volumes_with_options())? {
            match (self.is_up(&row), used.contains(&row.id)) {
                (Ok(true), false) => match self.take_down(&row) {
                    Ok(()) => sentences.push(format!(
                        "volume {} was still mounted and nobody used it",
                        row.name
                    )),
                    Err(error) => sentences.push(error.to_string()),
                },
                (Ok(false), true) => self.store.write(|tx| tx.clear_mounts(&row.id))?,
                (Ok(_), _) => {}
                (Err(error), _) => sentences.push(error.to_string()),
            }
        }
        Ok(())
    }

    pub(crate) fn recover_links(&self, sentences: &mut Vec<String>) -> Result<(), VolumeError> {
        let names: BTreeMap<String, _> = self
            .store
            .read(|tx| tx.volume_drivers())?
            .into_iter()
            .filter(|(_, _, driver)| !self.is_elsewhere(driver))
            .map(|(id, name, _)| (name, id))
            .collect();
        for (name, id) in &names {
            let path = self.paths.volume_link(name);
            let there =
                link::points_at(&self.paths, name).map_err(VolumeError::io("read", &path))?;
            if there.as_ref() == Some(id) {
                continue;
            }
            sentences.push(match link::make(&self.paths, name, id) {
                Ok(()) => format!("the link to volume {name} was made again"),
                Err(error) => {
                    format!("{} is in the way of volume {name}: {error}", path.display())
                }
            });
        }
        for name in names_in(&self.paths.volumes())? {
            if names.contains_key(&name) {
                continue;
            }
            let path = self.paths.volume_link(&name);
            let target =
                link::points_at(&self.paths, &name).map_err(VolumeError::io("read", &path))?;
            let Some(id) = target else {
                sentences.push(format!(
                    "{} belongs to no volume and was left as it is",
                    path.display()
                ));
                continue;
            };
            // The link of a volume that is being created or removed belongs to an operation that is stuck.
            let state = self.store.read(|tx| tx.volume(&id))?.map(|row| row.state);
            if matches!(state, None | Some(VolumeState::Ready)) {
                link::remove(&self.paths, &name, &id).map_err(VolumeError::io("remove", &path))?;
                sentences.push(format!(
                    "{} led to no volume and was removed",
                    path.display()
                ));
            }
        }
        Ok(())
    }

    /// Mounts of volumes with filesystems of their own, after a reboot; those of snapshots that nobody reads go. A limit
    /// that the filesystem does not know, as in a copy of a state directory, is set again.
    pub(crate) fn recover_images(&self, sentences: &mut Vec<String>) -> Result<(), VolumeError> {
        let stored = self.store.read(|tx| tx.all_volume_storage())?;
        for (id, storage) in stored {
            if crate::resize::limits(&storage).is_none() {
                continue;
            }
            let Some(row) = self.store.read(|tx| tx.volume(&id))? else {
                continue;
            };
            if row.state != VolumeState::Ready {
                continue;
            }
            if let Err(error) = self.expose(&row, &self.paths.volume_content(&row.id)) {
                sentences.push(format!("{error}: {}", cause(&error)));
            }
            let Some(driver) = self.drivers.find(&row.driver) else {
                continue;
            };
            let content = self.paths.volume_content(&row.id);
            if matches!(driver.held(&content), Ok(None)) {
                let limits = crate::resize::limits(&storage);
                let is_uncounted = self.with_driver(&row, |driver, place| {
                    driver.takes_another_tree(place, limits)
                });
                sentences.push(
                    match driver.limit(&content, limits) {
                        Ok(()) if is_uncounted.unwrap_or(false) => format!(
                            "the limit of volume {0} was set again and does not count what was there: `volume resize {0} 0`, and give it anew",
                            row.name
                        ),
                        Ok(()) => format!("the limit of volume {} was set again", row.name),
                        Err(error) => {
                            let again = storage.bytes.map(|bytes| {
                                format!(
                                    "; orlop volume resize {} {bytes} copies it to where that is kept",
                                    row.name
                                )
                            });
                            format!(
                                "volume {} may hold more than its limit: {error}{}",
                                row.name,
                                again.unwrap_or_default()
                            )
                        }
                    },
                );
            }
            for snapshot in self.store.read(|tx| tx.snapshots_of(&row.id))? {
                let used = !self
                    .store
                    .read(|tx| tx.snapshot_holders(&snapshot.id))?
                    .is_empty();
                let tree = self.paths.snapshot(&row.id, &snapshot.id);
                if !used && let Err(error) = driver.hide(&tree) {
                    sentences.push(error.to_string());
                }
            }
        }
        Ok(())
    }

    /// Descriptions that are behind the records: a crash came between, or a power cut took them.
    fn describe_again(&self) -> Result<(), VolumeError> {
        let all = description::all(&self.context())?;
        let behind = |some: &[description::Description]| {
            let mut behind = Vec::new();
            for wanted in some {
                let is_there = description::tidy(&self.paths, wanted).map_err(|error| {
                    VolumeError::io("tidy up", self.paths.volume(&wanted.id))(error)
                })?;
                if !is_there {
                    behind.push(wanted.id.clone());
                }
            }
            Ok::<_, VolumeError>(behind)
        };
        // Of very many volumes this is most of what a start does.
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        let share = all.len().div_ceil(workers).max(LOOKED_AT_TOGETHER);
        let behind = std::thread::scope(|scope| {
            let looking: Vec<_> = all
                .chunks(share)
                .map(|some| scope.spawn(|| behind(some)))
                .collect();
            looking
                .into_iter()
                .map(|looked| looked.join().expect("looking does not panic"))
                .collect::<Result<Vec<_>, _>>()
        })?;
        for id in behind.into_iter().flatten() {
            self.describe(&id);
        }
        Ok(())
    }

    /// Staged trees are copies and trash has been given up: once their operation is closed, nobody needs them.
    fn sweep(&self, sentences: &mut Vec<String>) -> Result<(), VolumeError> {
        let open: BTreeSet<OpId> = self
            .store
            .read(|tx| tx.ops())?
            .into_iter()
            .map(|row| row.id)
            .collect();
        for (directory, path) in [
            (
                self.paths.staging_root(),
                store::Paths::staging as fn(&_, &OpId) -> _,
            ),
            (self.paths.trash_root(), store::Paths::trash),
        ] {
            for name in names_in(&directory)? {
                let Some(op) = OpId::parse(&name) else {
                    sentences.push(format!(
                        "{name} in {} belongs to no operation and was left as it is",
                        directory.display()
                    ));
                    continue;
                };
                if open.contains(&op) {
                    continue;
                }
                if let Err(error) =
                    place::delete(&self.paths, &self.drivers, &path(&self.paths, &op))
                {
                    sentences.push(format!(
                        "{name} in {} cannot be deleted: {}",
                        directory.display(),
                        cause(&error)
                    ));
                }
            }
        }
        Ok(())
    }

    fn report_unknown(&self, sentences: &mut Vec<String>) -> Result<(), VolumeError> {
        let rows = self.store.read(|tx| tx.volume_identities())?;
        let trash = self.store.read(|tx| tx.trash())?;
        let known: BTreeSet<&str> = rows
            .iter()
            .map(|(id, ..)| id)
            .chain(trash.iter().map(|row| &row.volume.id))
            .map(VolumeId::as_str)
            .collect();
        let directory = self.paths.data();
        let found: BTreeSet<String> = names_in(&directory)?.into_iter().collect();
        for name in found.iter().filter(|name| !known.contains(name.as_str())) {
            if let Some(id) = VolumeId::parse(name)
                && self.remove_if_empty(&id)
            {
                continue;
            }
            sentences.push(format!(
                "{name} in {} belongs to no volume and was left as it is",
                directory.display()
            ));
        }
        for (id, name, state) in &rows {
            if *state == VolumeState::Ready && !found.contains(id.as_str()) {
                sentences.push(format!(
                    "the data directory of volume {name} is missing; its record was kept"
                ));
            }
        }
        Ok(())
    }
}

impl Volumes {
    /// Takes away a volume's directory in which there is nothing but its description, as a power cut leaves it of a
    /// creation that was not acknowledged. The kernel refuses to remove directories with anything in them.
    fn remove_if_empty(&self, id: &VolumeId) -> bool {
        let (directory, content) = (self.paths.volume(id), self.paths.volume_content(id));
        let entry = self.paths.volume_entry(id);
        let description = self.paths.volume_metadata(id);
        let known = [&content, &description].map(|path| path.file_name());
        let Ok(names) = names_in(&directory) else {
            return false;
        };
        names
            .iter()
            .all(|name| known.contains(&Some(name.as_ref())))
            && sys::durable::remove_dir(&content).is_ok()
            && sys::durable::remove_file(&description).is_ok()
            && sys::durable::remove_dir(&directory).is_ok()
            && (entry == directory || sys::durable::remove_file(&entry).is_ok())
    }
}

/// Every point at which an operation of this crate can be cut short; tests go through all of them.
pub fn points() -> Vec<String> {
    [
        journal::points::<Create>(),
        journal::points::<Receive>(),
        journal::points::<Begin>(),
        journal::points::<Publish>(),
        journal::points::<Remove>(),
        journal::points::<Withdraw>(),
        crate::elsewhere::mount::points(),
        journal::points::<Trash>(),
        journal::points::<Purge>(),
        journal::points::<Undelete>(),
        journal::points::<Rename<'_>>(),
        journal::points::<Adopt>(),
        journal::points::<Fill>(),
        journal::points::<Resize>(),
        journal::points::<Convert>(),
        journal::points::<pool::create::Create>(),
        journal::points::<pool::remove::Remove>(),
        journal::points::<pool::resize::Resize>(),
        crate::snapshot::recover::points(),
    ]
    .concat()
}

pub(crate) fn names_in(directory: &Path) -> Result<Vec<String>, VolumeError> {
    let mut names = std::fs::read_dir(directory)
        .and_then(|entries| {
            entries
                .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
                .collect::<io::Result<Vec<_>>>()
        })
        .map_err(VolumeError::io("list", directory))?;
    names.sort();
    Ok(names)
}

fn tell<E: std::error::Error + 'static>(
    what: &str,
    outcomes: Vec<Recovered<E>>,
    sentences: &mut Vec<String>,
) {
    for outcome in outcomes {
        sentences.push(match outcome {
            Recovered::Undone { object } => {
                format!("the unfinished {what} {object} was undone")
            }
            Recovered::Completed { object } => {
                format!("the unfinished {what} {object} was completed")
            }
            Recovered::Stuck { object, op, error } => format!(
                "the unfinished {what} {object} is stuck (operation {op}): {error}: {}",
                cause(&error)
            ),
        });
    }
}

/// The innermost reason of an error.
pub(crate) fn cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
