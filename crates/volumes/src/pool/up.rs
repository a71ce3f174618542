//! Finds pools again: at each start, and whenever somebody asks for one.
//!
//! A pool with a filesystem of its own is mounted on `pools/<id>/fs`; that of a directory is a link there. Either is the
//! pool only if `orlop-pool.json` in it says so, and the filesystem has the UUID that it had when the pool was made.

use std::collections::BTreeSet;
use std::ffi::CStr;
use std::io;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags};
use store::{PoolId, PoolRow, PoolState, VolumeId};
use sys::loop_device::{self, LoopDevice};

use super::{Marker, PoolError};
use crate::{VolumeError, Volumes, mount_table, open_directory};

/// A pool's file has holes where nothing is, and gets them back.
const OPTIONS: &CStr = c"discard=async";
const BLOCK: u32 = 4096;

impl Volumes {
    /// Brings every pool up, and makes the links to their volumes again; a sentence for each that does not come.
    pub(crate) fn recover_pools(&self, sentences: &mut Vec<String>) -> Result<(), VolumeError> {
        for row in self.store.read(|tx| tx.pools())? {
            if row.state != PoolState::Ready {
                continue;
            }
            if let Err(error) = self.bring_pool_up(&row) {
                let volumes = self.store.read(|tx| tx.volumes_in_pool(&row.id))?;
                let cause = crate::recover::cause(&error);
                sentences.push(format!(
                    "pool {} is not there, and its volumes [{}] are unavailable: {error}{}",
                    row.name,
                    volumes.join(", "),
                    if cause == error.to_string() {
                        String::new()
                    } else {
                        format!(": {cause}")
                    },
                ));
                continue;
            }
            self.link_volumes_of(&row.id, sentences)?;
        }
        Ok(())
    }

    /// Links in `data` to what lies in a pool.
    fn link_volumes_of(
        &self,
        pool: &PoolId,
        sentences: &mut Vec<String>,
    ) -> Result<(), VolumeError> {
        let directory = self.paths.pool_volumes(pool);
        let trashed: BTreeSet<VolumeId> = self.homes_being_deleted()?;
        for name in crate::recover::names_in(&directory)? {
            let Some(id) = VolumeId::parse(&name).filter(|id| !trashed.contains(id)) else {
                continue;
            };
            let entry = self.paths.volume_entry(&id);
            let target = self.paths.volume_home_target(&id, pool);
            match std::fs::read_link(&entry) {
                Ok(found) if found == target => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    sys::durable::symlink_unsynced(&target, &entry)
                        .map_err(VolumeError::io("link", &entry))?;
                }
                // A volume and a copy of it: which one is meant nobody but its owner can say.
                Ok(_) | Err(_) => sentences.push(format!(
                    "{} is in {} as well as where {} leads, and was left as it is",
                    name,
                    directory.display(),
                    entry.display()
                )),
            }
        }
        Ok(())
    }

    /// Volumes whose links have moved to where operations delete.
    fn homes_being_deleted(&self) -> Result<BTreeSet<VolumeId>, VolumeError> {
        let trash = self.paths.trash_root();
        let entries = std::fs::read_dir(&trash).map_err(VolumeError::io("list", &trash))?;
        let mut found = BTreeSet::new();
        for entry in entries {
            let entry = entry.map_err(VolumeError::io("list", &trash))?;
            let home = std::fs::read_link(entry.path())
                .ok()
                .and_then(|target| self.paths.home_of_target(&target));
            found.extend(home.map(|(_, id)| id));
        }
        Ok(found)
    }

    /// Whether the pool can be used now.
    pub(crate) fn is_up_pool(&self, id: &PoolId) -> bool {
        Marker::read(&self.paths.pool_marker(id)).is_some_and(|marker| marker.id == *id)
    }

    /// # Errors
    /// [`PoolError::Down`] when it cannot.
    pub(super) fn must_be_up(&self, row: &PoolRow) -> Result<(), PoolError> {
        if self.is_up_pool(&row.id) {
            return Ok(());
        }
        self.bring_pool_up(row).map_err(|error| PoolError::Down {
            name: row.name.clone(),
            why: crate::recover::cause(&error),
        })
    }

    /// Attaches a pool, if that is not done, and makes sure that it is the one.
    pub(crate) fn bring_pool_up(&self, row: &PoolRow) -> Result<(), PoolError> {
        self.attach_pool(row)?;
        if self.is_up_pool(&row.id) {
            return Ok(());
        }
        let why = format!("{} is not this pool", self.shown_source(row));
        self.detach_pool(row)?;
        Err(PoolError::Down {
            name: row.name.clone(),
            why,
        })
    }

    fn shown_source(&self, row: &PoolRow) -> String {
        row.source.clone().unwrap_or_else(|| {
            self.paths
                .pool_image(&row.id)
                .to_string_lossy()
                .into_owned()
        })
    }

    /// Mounts the pool's filesystem, or makes the link to its directory, if it is the right filesystem.
    pub(super) fn attach_pool(&self, row: &PoolRow) -> Result<(), PoolError> {
        let fs = self.paths.pool_fs(&row.id);
        let wanted = row.uuid.as_deref().and_then(sys::uuid::parse);
        if let Some(source) = row.source.as_ref().map(Path::new)
            && !is_device(source)
            && !self.paths.pool_image(&row.id).exists()
            && (source.is_dir() || fs.is_symlink())
        {
            let directory = open_directory(source).map_err(PoolError::io("open", source))?;
            let found = sys::uuid::of_filesystem(directory.as_fd())
                .map_err(PoolError::io("look at", source))?;
            if let (Some(wanted), Some(found)) = (wanted, found)
                && wanted != found
            {
                return Err(other_filesystem(row, source, found));
            }
            return sys::durable::symlink_unsynced(source, &fs).map_err(PoolError::io("link", fs));
        }
        sys::durable::ensure_dir(&fs, 0o711).map_err(PoolError::io("make", &fs))?;
        if mount_table::is_mountpoint(&fs).map_err(PoolError::io("look at", &fs))? {
            let found = open_directory(&fs)
                .and_then(|fs| sys::uuid::of_filesystem(fs.as_fd()))
                .map_err(PoolError::io("look at", &fs))?;
            return match found {
                Some(found) if wanted.is_some_and(|wanted| wanted != found) => {
                    Err(other_filesystem(row, &fs, found))
                }
                _ => Ok(()),
            };
        }
        let mount = |device: &Path| {
            rustix::mount::mount(device, &fs, "btrfs", MountFlags::empty(), OPTIONS)
                .map_err(|error| PoolError::io("mount", device)(error.into()))
        };
        match &row.source {
            Some(source) => mount(&self.find_device(row, Path::new(source), wanted)?),
            None => {
                let image = self.paths.pool_image(&row.id);
                let device = attach_image(&image).map_err(PoolError::io("attach", &image))?;
                mount(device.path())
            }
        }
    }

    /// Takes the mount or the link away; what it led to stays.
    pub(super) fn detach_pool(&self, row: &PoolRow) -> Result<(), PoolError> {
        let fs = self.paths.pool_fs(&row.id);
        if fs.is_symlink() {
            return sys::durable::remove_file(&fs)
                .map(drop)
                .map_err(PoolError::io("unlink", fs));
        }
        while mount_table::is_mountpoint(&fs).map_err(PoolError::io("look at", &fs))? {
            rustix::mount::unmount(&fs, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)
                .map_err(|error| PoolError::io("unmount", &fs)(error.into()))?;
        }
        Ok(())
    }

    /// Takes every pool's mount away; links stay.
    pub(crate) fn detach_pools(&self) -> Result<(), PoolError> {
        for row in self.store.read(|tx| tx.pools())? {
            if !self.paths.pool_fs(&row.id).is_symlink() {
                self.detach_pool(&row)?;
            }
        }
        Ok(())
    }

    /// Takes away what was made for a pool without volumes; what was found stays. Idempotent.
    pub(super) fn dismantle_pool(&self, row: &PoolRow) -> Result<(), PoolError> {
        let paths = &self.paths;
        if self.is_up_pool(&row.id) || Marker::read(&paths.pool_marker(&row.id)).is_none() {
            let content = paths.pool_volumes(&row.id);
            sys::durable::remove_dir(&content).map_err(PoolError::io("remove", &content))?;
            let marker = paths.pool_marker(&row.id);
            if self.is_up_pool(&row.id) {
                sys::durable::remove_file(&marker).map_err(PoolError::io("remove", marker))?;
            }
        }
        self.detach_pool(row)?;
        for file in [paths.pool_image(&row.id), paths.pool_description(&row.id)] {
            sys::durable::remove_file(&file).map_err(PoolError::io("remove", file))?;
        }
        for directory in [paths.pool_fs(&row.id), paths.pool(&row.id)] {
            sys::durable::remove_dir(&directory).map_err(PoolError::io("remove", directory))?;
        }
        Ok(())
    }
}

impl Volumes {
    /// The device that holds the filesystem: under its name, or under another one that the kernel gave it at this boot.
    fn find_device(
        &self,
        row: &PoolRow,
        source: &Path,
        wanted: Option<[u8; 16]>,
    ) -> Result<PathBuf, PoolError> {
        let at = |path: &Path| {
            is_device(path)
                .then(|| sys::btrfs_quota::uuid_on(path).ok().flatten())
                .flatten()
        };
        let found = at(source);
        if found.is_some() && found == wanted {
            return Ok(source.to_owned());
        }
        let blocks = Path::new("/sys/class/block");
        let entries = std::fs::read_dir(blocks).map_err(PoolError::io("list", blocks))?;
        let elsewhere = entries
            .filter_map(Result::ok)
            .map(|entry| self.paths.device(&entry.file_name()))
            .find(|device| wanted.is_some() && at(device) == wanted);
        match (elsewhere, found) {
            (Some(device), _) => Ok(device),
            (None, Some(found)) => Err(other_filesystem(row, source, found)),
            (None, None) => Err(PoolError::Down {
                name: row.name.clone(),
                why: format!(
                    "no device holds the filesystem {}",
                    row.uuid.as_deref().unwrap_or("of this pool")
                ),
            }),
        }
    }
}

fn is_device(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt as _;
    std::fs::metadata(path).is_ok_and(|found| found.file_type().is_block_device())
}

fn other_filesystem(row: &PoolRow, place: &Path, found: [u8; 16]) -> PoolError {
    PoolError::Down {
        name: row.name.clone(),
        why: format!(
            "{} is another filesystem ({}) than the pool's ({})",
            place.display(),
            sys::uuid::text(found),
            row.uuid.as_deref().unwrap_or_default()
        ),
    }
}

/// The loop device of the file: the one to which it is attached, or a new one; never two.
pub(super) fn attach_image(image: &Path) -> io::Result<LoopDevice> {
    match loop_device::attached(image)?.first() {
        Some(device) => LoopDevice::open(device),
        None => loop_device::attach(image, BLOCK, false),
    }
}
