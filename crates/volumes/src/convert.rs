//! `convert`: a volume's content becomes a filesystem of its own, or files among others again, because its limit takes that; or it
//! becomes a copy that counts, where quotas count what is written and not what is there.
//!
//! Steps of the journaled operation:
//! 1. begin: the operation is recorded
//! 2. `stage`: a copy is in `_next`, durable, nothing in it differs from the content, and it has the new limit; the commit point
//! 3. `flip`: `_data` is renamed to `_old`, `_next` to `_data`; with its record the limit is recorded
//! 4. `discard`: `_old` is deleted
//!
//! Nobody uses the volume meanwhile: who has the old tree open would go on writing to it. Before 2's record the copy goes, and the
//! limit that was before is set again, which may be one of all trees of the volume. After it recovery renames what is not renamed yet, and deletes the old tree only when the new one is the content. Snapshots stay
//! what they are.

use std::io::ErrorKind;
use std::os::fd::AsFd as _;
use std::path::Path;

use serde::{Deserialize, Serialize};
use store::journal::Operation;
use store::{OpId, WriteTx};

use crate::driver::{Access, Driver, DriverError, Limits};
use crate::observer::Observed;
use crate::resize::Resize;
use crate::snapshot::diff::{Same, compare_trees};
use crate::{Observer, VolumeError, Volumes, open_directory};

pub(crate) struct Context<'a> {
    pub(crate) volumes: &'a Volumes,
    pub(crate) observer: &'a dyn Observer,
}

/// The journaled operation: a resize by another tree.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Convert(pub(crate) Resize);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Stage,
    Flip,
    Discard,
}

impl Convert {
    fn refused(&self, reason: DriverError) -> VolumeError {
        VolumeError::Resize {
            name: self.0.name.clone(),
            reason,
        }
    }

    fn stage(&self, context: &Context<'_>, driver: &dyn Driver) -> Result<(), VolumeError> {
        let Context { volumes, observer } = context;
        let observed = Observed::new(&self.0.name, *observer);
        let watch = |more| observed.advance(more);
        let content = volumes.paths.volume_content(&self.0.id);
        let next = volumes.paths.volume_next(&self.0.id);
        let limits = self.0.limits();
        driver
            .expose(&content)
            .and_then(|()| has_room(&content, &volumes.paths.volume(&self.0.id)))
            .and_then(|()| driver.rebuild(&content, &next, limits, &watch))
            .and_then(|replica| {
                observed.settles(replica);
                driver.settle(&next, Access::Writable, replica)
            })
            .map_err(|error| self.refused(with_size(error, &content, limits)))?;
        let opened = |path: &Path| open_directory(path).map_err(VolumeError::io("open", path));
        let (old, new) = (opened(&content)?, opened(&next)?);
        observed.begin();
        let looking = |bytes| observed.compared(bytes);
        let changes = compare_trees(old.as_fd(), new.as_fd(), Same::ByBytes, &looking)
            .map_err(|error| VolumeError::uncompared(&self.0.name, error))?;
        match changes.into_iter().next() {
            None if observer.is_stopped() => Err(VolumeError::Cancelled(self.0.name.clone())),
            None => driver
                .limit(&next, limits)
                .map_err(|error| self.refused(error)),
            Some(change) => Err(self.refused(DriverError::Differs { path: change.path })),
        }
    }

    fn flip(&self, volumes: &Volumes, driver: &dyn Driver) -> Result<(), VolumeError> {
        let content = volumes.paths.volume_content(&self.0.id);
        let next = volumes.paths.volume_next(&self.0.id);
        let old = volumes.paths.volume_old(&self.0.id);
        // Without it the attempt that a crash cut short had renamed both.
        if exists(&next)? {
            if exists(&content)? {
                driver
                    .relocate(&content, &old)
                    .map_err(|error| self.refused(error))?;
            }
            driver
                .relocate(&next, &content)
                .map_err(|error| self.refused(error))?;
        }
        driver.expose(&content).map_err(|error| self.refused(error))
    }
}

/// Refuses a copy for which the disk has no room: a filesystem in a file would be told of that as of a broken disk.
fn has_room(content: &Path, beside: &Path) -> Result<(), DriverError> {
    let needed = sys::dir::tree_size(content)
        .map_err(DriverError::io("measure", content))?
        .bytes;
    let disk = rustix::fs::statvfs(beside)
        .map_err(|error| DriverError::io("measure", beside)(error.into()))?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    if needed > free {
        return Err(DriverError::NoRoom { needed, free });
    }
    Ok(())
}

/// A copy that did not fit, in the words of a content that does not.
fn with_size(error: DriverError, content: &Path, limits: Limits) -> DriverError {
    match (&error, limits.bytes) {
        (DriverError::Replicate { source, .. }, Some(wanted))
            if source
                .cause()
                .is_some_and(|cause| cause.kind() == ErrorKind::StorageFull) =>
        {
            match sys::dir::tree_size(content) {
                Ok(size) => DriverError::TooFull {
                    used: size.bytes,
                    wanted,
                },
                Err(_) => error,
            }
        }
        _ => error,
    }
}

fn exists(path: &Path) -> Result<bool, VolumeError> {
    path.try_exists().map_err(VolumeError::io("look at", path))
}

impl Operation for Convert {
    const KIND: &'static str = "volume-convert";
    const STEPS: &'static [(&'static str, Step)] = &[
        ("stage", Step::Stage),
        ("flip", Step::Flip),
        ("discard", Step::Discard),
    ];
    const COMMIT: Option<Step> = Some(Step::Stage);
    type Step = Step;
    type Context<'a> = Context<'a>;
    type Error = VolumeError;

    fn object(&self) -> &str {
        &self.0.name
    }

    fn begin(&self, _tx: &WriteTx<'_>) -> Result<(), VolumeError> {
        Ok(())
    }

    fn run(&self, step: Step, _op: &OpId, context: &Context<'_>) -> Result<(), VolumeError> {
        let volumes = context.volumes;
        let driver = self.0.driver_in(volumes)?;
        match step {
            Step::Stage => self.stage(context, driver),
            Step::Flip => self.flip(volumes, driver),
            Step::Discard => driver
                .discard(&volumes.paths.volume_old(&self.0.id))
                .map_err(|error| self.refused(error)),
        }
    }

    fn record(&self, step: Step, tx: &WriteTx<'_>) -> Result<(), VolumeError> {
        match step {
            Step::Flip => self.0.note(tx),
            Step::Stage | Step::Discard => Ok(()),
        }
    }

    fn undo(&self, _step: Step, _op: &OpId, context: &Context<'_>) -> Result<(), VolumeError> {
        let volumes = context.volumes;
        let driver = self.0.driver_in(volumes)?;
        driver
            .discard(&volumes.paths.volume_next(&self.0.id))
            .and_then(|()| {
                let content = volumes.paths.volume_content(&self.0.id);
                driver.limit(&content, self.0.limits_before())
            })
            .map_err(|error| self.refused(error))
    }

    fn abandon(&self, _tx: &WriteTx<'_>) -> Result<(), VolumeError> {
        Ok(())
    }
}
