//! `local`: a plain directory, or, with `type`, `device` and `o`, whatever mount(2) can put on one.
//!
//! Options are Docker's: [`options`] checks them, [`mount_call`] turns them into the call. Where the state directory lies
//! on a btrfs the content is a subvolume; [`trees`] copies contents by what the filesystem can do best.

use std::path::Path;

use rustix::mount::UnmountFlags;

use super::{Access, Capabilities, Driver, DriverError, Options, Place, Replica, Scope, Sharing};
use crate::mount_table;

mod mount_call;
mod options;
mod trees;

/// See the description of this module.
#[derive(Debug, Clone, Copy)]
pub struct Local;

impl Driver for Local {
    fn name(&self) -> &'static str {
        "local"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            scope: Scope::Local,
            prunable: true,
        }
    }

    fn check(&self, options: &Options) -> Result<(), DriverError> {
        options::check(options)
    }

    fn build(&self, place: Place<'_>) -> Result<(), DriverError> {
        made(sys::durable::create_dir_unsynced(place.directory, 0o701))
            .map_err(DriverError::io("make", place.directory))?;
        let content = if self.needs_mount(place.options) {
            sys::durable::create_dir_unsynced(place.content, 0o755)
        } else {
            trees::make_root(place.content, 0o755)
        };
        made(content).map_err(DriverError::io("make", place.content))?;
        sys::durable::sync_dir(place.directory).map_err(DriverError::io("sync", place.directory))
    }

    fn unbuild(&self, place: Place<'_>) -> Result<(), DriverError> {
        for path in [place.content, place.directory] {
            sys::durable::remove_dir(path).map_err(DriverError::io("remove", path))?;
        }
        Ok(())
    }

    fn needs_mount(&self, options: &Options) -> bool {
        options.contains_key("device")
    }

    fn mount(&self, place: Place<'_>) -> Result<(), DriverError> {
        if !self.needs_mount(place.options) || self.is_mounted(place)? {
            return Ok(());
        }
        mount_call::MountCall::new(place.options, place.mountpoint)?.run(place.content)
    }

    fn unmount(&self, place: Place<'_>) -> Result<(), DriverError> {
        while self.is_mounted(place)? {
            rustix::mount::unmount(place.content, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)
                .map_err(|error| DriverError::io("unmount", place.content)(error.into()))?;
        }
        Ok(())
    }

    fn is_mounted(&self, place: Place<'_>) -> Result<bool, DriverError> {
        mount_table::is_mountpoint(place.content).map_err(DriverError::io("stat", place.content))
    }

    fn sharing(&self, place: Place<'_>) -> Result<Option<Sharing>, DriverError> {
        if self.needs_mount(place.options) {
            return Ok(None);
        }
        trees::sharing(place.content).map(Some)
    }

    fn replicate(&self, from: &Path, to: &Path, access: Access) -> Result<Replica, DriverError> {
        trees::replicate(from, to, access)
    }

    fn settle(&self, tree: &Path, access: Access, replica: Replica) -> Result<(), DriverError> {
        trees::settle(tree, access, replica)
    }

    fn seal(&self, tree: &Path) -> Result<(), DriverError> {
        trees::seal(tree)
    }

    fn discard(&self, tree: &Path) -> Result<(), DriverError> {
        trees::discard(tree)
    }
}

/// What is there already was made by the attempt before.
fn made(result: std::io::Result<()>) -> std::io::Result<()> {
    match result {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}
