//! `import`: the contents of a tar archive into a volume.
//!
//! The archive is unpacked over what is there, as `tar -x` would: its files replace those of the same name, others stay.
//! Before anything of the volume changes, the whole archive is unpacked into staging, so that one that is broken or hostile
//! changes nothing; then the entries are moved into place one by one.
//!
//! Steps of the journaled operation:
//! 1. begin: the operation is recorded
//! 2. `unpack`: the archive is in `staging/<op>`, durable; the commit point
//! 3. `merge`: every entry is moved from staging into the volume; idempotent, for what was moved is no longer in staging
//! 4. `clean`: staging goes
//!
//! The archive itself cannot be read again after a crash, which is why the commit point is 2: before it nothing has
//! happened, after it recovery moves the rest.

use std::cell::RefCell;
use std::io::Read;
use std::os::fd::AsFd as _;

use serde::{Deserialize, Serialize};
use store::journal::{self, Operation};
use store::{OpId, Paths, VolumeId, WriteTx};

use crate::{VolumeError, Volumes, held, merge, open_directory};

impl Volumes {
    /// Unpacks `tar` (plain, gzip or zstd) into the volume.
    ///
    /// # Errors
    /// [`VolumeError::NotFound`], [`VolumeError::Import`] for an archive that cannot be taken.
    pub fn import(&self, name: &str, tar: &mut (dyn Read + Send)) -> Result<(), VolumeError> {
        const HOLDER: &str = "import";
        self.mount(name, HOLDER)?;
        let imported = self.import_mounted(name, tar);
        self.unmount(name, HOLDER)?;
        imported
    }

    fn import_mounted(&self, name: &str, tar: &mut (dyn Read + Send)) -> Result<(), VolumeError> {
        let lock = self.name_lock(name);
        let _held = held(&lock);
        let row = self.row(name)?;
        let plain = archive::decompress(tar).map_err(|error| VolumeError::Io {
            action: "read the archive for",
            path: self.paths.mountpoint(name),
            source: std::io::Error::new(std::io::ErrorKind::InvalidData, error),
        })?;
        let import = Import { id: row.id, name: row.name };
        let context = Context { paths: &self.paths, tar: RefCell::new(Some(plain)) };
        journal::execute(&self.store, &import, &context)
    }
}

/// What the steps work with.
pub struct Context<'a> {
    pub(crate) paths: &'a Paths,
    /// Taken by the step that reads it; absent in recovery.
    pub(crate) tar: RefCell<Option<Box<dyn Read + Send + 'a>>>,
}

impl std::fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").finish_non_exhaustive()
    }
}

/// The journaled operation.
#[derive(Debug, Serialize, Deserialize)]
pub struct Import {
    id: VolumeId,
    name: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Unpack,
    Merge,
    Clean,
}

impl Operation for Import {
    const KIND: &'static str = "volume-import";
    const STEPS: &'static [(&'static str, Step)] =
        &[("unpack", Step::Unpack), ("merge", Step::Merge), ("clean", Step::Clean)];
    const COMMIT: Option<Step> = Some(Step::Unpack);
    type Step = Step;
    type Context<'a> = Context<'a>;
    type Error = VolumeError;

    fn object(&self) -> &str {
        &self.name
    }

    fn begin(&self, _tx: &WriteTx<'_>) -> Result<(), VolumeError> {
        Ok(())
    }

    fn run(&self, step: Step, op: &OpId, context: &Context<'_>) -> Result<(), VolumeError> {
        let staging = context.paths.staging(op);
        match step {
            Step::Unpack => {
                sys::durable::create_dir(&staging, 0o700).map_err(VolumeError::io("make", &staging))?;
                let target = open_directory(&staging).map_err(VolumeError::io("open", &staging))?;
                let tar = context.tar.borrow_mut().take().expect("only recovery lacks it, and never gets here");
                archive::unpack(tar, target.as_fd(), &archive::UnpackOptions::default())
                    .map_err(|source| VolumeError::Import { name: self.name.clone(), source })?;
                sys::durable::sync_tree(&staging).map_err(VolumeError::io("sync", staging))
            }
            Step::Merge => {
                let from = match open_directory(&staging) {
                    Ok(from) => from,
                    // Everything was moved by the attempt that a crash cut short.
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
                    Err(error) => return Err(VolumeError::io("open", staging)(error)),
                };
                let content = context.paths.volume_content(&self.id);
                let to = open_directory(&content).map_err(VolumeError::io("open", &content))?;
                merge::into(from.as_fd(), to.as_fd()).map_err(VolumeError::io("move the archive's files into", content))
            }
            Step::Clean => remove(&staging),
        }
    }

    fn record(&self, _step: Step, _tx: &WriteTx<'_>) -> Result<(), VolumeError> {
        Ok(())
    }

    fn undo(&self, _step: Step, op: &OpId, context: &Context<'_>) -> Result<(), VolumeError> {
        remove(&context.paths.staging(op))
    }

    fn abandon(&self, _tx: &WriteTx<'_>) -> Result<(), VolumeError> {
        Ok(())
    }
}

fn remove(staging: &std::path::Path) -> Result<(), VolumeError> {
    match sys::dir::remove_tree(staging) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        result => result.map_err(VolumeError::io("delete", staging)),
    }
}
