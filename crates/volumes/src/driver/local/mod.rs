//! `local`: a plain directory, or, with `type`, `device` and `o`, whatever mount(2) can put on one.
//!
//! Options are Docker's: [`options`] checks them, [`mount_call`] turns them into the call.

use rustix::mount::UnmountFlags;

use super::{Capabilities, Driver, DriverError, Options, Place, Scope};
use crate::mount_table;

mod mount_call;
mod options;

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
        for (path, mode) in [(place.directory, 0o701), (place.content, 0o755)] {
            match sys::durable::create_dir_unsynced(path, mode) {
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                other => other.map_err(DriverError::io("make", path))?,
            }
        }
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
}
