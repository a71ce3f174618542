//! `local`: a plain directory, or, with `type`, `device` and `o`, whatever mount(2) can put on one.
//!
//! Options are Docker's and ours: [`options`] checks them, [`mount_call`] turns them into the call. Where the volume lies
//! on a btrfs the content is a subvolume; [`trees`] copies contents by what the filesystem can do best. [`bound`] keeps
//! limits by the quotas of the filesystem, or the content is an [`image`].

use std::ffi::OsStr;
use std::path::Path;

use rustix::mount::UnmountFlags;

use super::{
    Abilities, Access, Ahead, Bound, Capabilities, Driver, DriverError, Held, Limits, Options,
    Place, Replica, Requested, Scope, Sharing, Watch,
};
use crate::mount_table;

mod bound;
mod groups;
mod image;
mod mount_call;
mod options;
mod trees;

pub use options::parse_size;

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
        let make = DriverError::io("make", place.content);
        let limits = options::limits(place.options)?;
        if self.needs_mount(place.options) {
            made(sys::durable::create_dir_unsynced(place.content, 0o755)).map_err(make)?;
        } else if limits.is_none() {
            made(trees::make_root(place.content, 0o755)).map_err(make)?;
        } else {
            self.build_limited(place, limits)?;
        }
        sys::durable::sync_dir(place.directory).map_err(DriverError::io("sync", place.directory))
    }

    fn unbuild(&self, place: Place<'_>) -> Result<(), DriverError> {
        image::unmake(place.content)?;
        // While the group of its tree is there to be taken out of the volume's. What is in use keeps its bound.
        if std::fs::read_dir(place.content).is_ok_and(|mut entries| entries.next().is_none()) {
            let volume = place.directory.file_name().and_then(OsStr::to_str);
            bound::renounce(place.directory, volume);
        }
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
        if !self.needs_mount(place.options) {
            return Ok(false);
        }
        mount_table::is_mountpoint(place.content).map_err(DriverError::io("stat", place.content))
    }

    fn sharing(&self, place: Place<'_>) -> Result<Option<Sharing>, DriverError> {
        if self.needs_mount(place.options) {
            return Ok(None);
        }
        trees::sharing(place.content).map(Some)
    }

    fn sharing_with(
        &self,
        from: &Path,
        around: &Path,
        limits: Limits,
        moved: bool,
    ) -> Result<Sharing, DriverError> {
        trees::sharing_with(from, around, limits, moved)
    }

    fn replicate(
        &self,
        from: &Path,
        to: &Path,
        access: Access,
        watch: &Watch<'_>,
    ) -> Result<Replica, DriverError> {
        trees::replicate(from, to, access, watch)
    }

    fn transplant(
        &self,
        from: &Path,
        to: &Path,
        limits: Limits,
        watch: &Watch<'_>,
    ) -> Result<Replica, DriverError> {
        trees::transplant(from, to, limits, watch)
    }

    fn transplant_ahead(
        &self,
        from: &Path,
        to: &Path,
        limits: Limits,
    ) -> Result<Option<Ahead>, DriverError> {
        trees::transplant_ahead(from, to, limits)
    }

    fn copy_ahead(
        &self,
        from: &Path,
        to: &Path,
        watch: &Watch<'_>,
    ) -> Result<Option<Ahead>, DriverError> {
        trees::copy_ahead(from, to, watch)
    }

    fn catch_up(
        &self,
        from: &Path,
        to: &Path,
        ahead: &Ahead,
        watch: &Watch<'_>,
    ) -> Result<Option<Replica>, DriverError> {
        trees::catch_up(from, to, ahead, watch)
    }

    fn raise(&self, like: &Path, tree: &Path) -> Result<(), DriverError> {
        trees::discard(tree)?;
        if image::exists(like)? {
            return image::make_like(like, tree);
        }
        trees::make_root(tree, 0o755).map_err(DriverError::io("make", tree))
    }

    fn settle(&self, tree: &Path, access: Access, replica: Replica) -> Result<(), DriverError> {
        trees::settle(tree, access, replica)
    }

    fn is_committed_whole(&self, tree: &Path) -> Result<bool, DriverError> {
        trees::is_committed_whole(tree)
    }

    fn is_evident(&self, tree: &Path) -> Result<bool, DriverError> {
        trees::is_evident(tree)
    }

    fn seal(&self, tree: &Path) -> Result<(), DriverError> {
        trees::seal(tree)
    }

    fn discard(&self, tree: &Path) -> Result<(), DriverError> {
        trees::discard(tree)
    }

    fn requested(&self, options: &Options) -> Result<Requested, DriverError> {
        Ok(Requested {
            placeable: options.contains_key("pool") || !self.needs_mount(options),
            limits: options::limits(options)?,
            soft_bytes: options::soft_size(options)?,
        })
    }

    fn abilities(&self, place: Place<'_>) -> Result<Option<Abilities>, DriverError> {
        let Some(sharing) = self.sharing(place)? else {
            return Ok(None);
        };
        Ok(Some(abilities(sharing, bound::of_tree(place.content)?)))
    }

    fn abilities_in(&self, directory: &Path) -> Result<Option<Abilities>, DriverError> {
        let sharing = trees::sharing_in(directory)?;
        Ok(Some(abilities(sharing, bound::in_directory(directory)?)))
    }

    fn limit(&self, tree: &Path, limits: Limits) -> Result<(), DriverError> {
        bound::limit(tree, limits)
    }

    fn takes_another_tree(&self, place: Place<'_>, limits: Limits) -> Result<bool, DriverError> {
        if self.needs_mount(place.options) {
            return Ok(false);
        }
        if image::exists(place.content)? {
            return Ok(limits.is_none() && !options::wants_image(place.options));
        }
        if limits.bytes.is_none() {
            return Ok(false);
        }
        Ok(match bound::of_tree(place.content)? {
            Some(Bound::SimpleQuota) => groups::is_uncounted(place.content)?,
            Some(_) => false,
            // A subvolume that was copied as files is a directory as any other: its next copy is a subvolume again.
            None => bound::in_directory(place.directory)?.is_some(),
        })
    }

    fn rebuild(
        &self,
        from: &Path,
        to: &Path,
        limits: Limits,
        watch: &Watch<'_>,
    ) -> Result<Replica, DriverError> {
        trees::rebuild(from, to, limits, watch)
    }

    fn replicate_within(
        &self,
        from: &Path,
        to: &Path,
        limits: Limits,
        watch: &Watch<'_>,
    ) -> Result<Replica, DriverError> {
        trees::replicate_within(from, to, limits, watch)
    }

    fn held(&self, tree: &Path) -> Result<Option<Held>, DriverError> {
        bound::held(tree)
    }

    fn expose(&self, tree: &Path) -> Result<(), DriverError> {
        image::expose(tree)
    }

    fn hide(&self, tree: &Path) -> Result<(), DriverError> {
        if image::exists(tree)? {
            image::hide(tree)?;
        }
        Ok(())
    }

    fn renounce(&self, directory: &Path, volume: Option<&str>) {
        bound::renounce(directory, volume);
    }

    fn relocate(&self, from: &Path, to: &Path) -> Result<(), DriverError> {
        if image::exists(from)? || image::exists(to)? {
            return image::relocate(from, to);
        }
        sys::durable::rename_new(from, to).map_err(DriverError::io("move", from))
    }
}

impl Local {
    fn build_limited(&self, place: Place<'_>, limits: Limits) -> Result<(), DriverError> {
        let bound = if options::wants_image(place.options) {
            Some(Bound::Image)
        } else {
            bound::in_directory(place.directory)?
        };
        match bound {
            None => Err(DriverError::NoQuota),
            Some(Bound::Image) => image::make(place.content, limits),
            Some(_) => {
                made(trees::make_root(place.content, 0o755))
                    .map_err(DriverError::io("make", place.content))?;
                self.limit(place.content, limits)
            }
        }
    }
}

fn abilities(sharing: Sharing, bound: Option<Bound>) -> Abilities {
    Abilities {
        sharing,
        bound,
        inodes: matches!(bound, Some(Bound::ProjectQuota | Bound::Image)),
        live_grow: bound.is_some(),
        live_shrink: !matches!(bound, Some(Bound::Image) | None),
    }
}

/// What is there already was made by the attempt before.
fn made(result: std::io::Result<()>) -> std::io::Result<()> {
    match result {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}
