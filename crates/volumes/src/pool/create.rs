//! `pool create`: a new, empty pool.
//!
//! Steps of the journaled operation:
//! 1. begin: row `creating`; the name is taken
//! 2. `build`: `pools/<id>`; its file, or a filesystem on its device; mounted, or a link to its directory; the marker and
//!    the directory of volumes in it
//! 3. commit, with step 2's record: row `ready`
//!
//! Before 3 everything is undone: files and filesystems that were made go, what was found stays.

use std::collections::BTreeMap;
use std::os::fd::AsFd as _;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use store::journal::{self, Operation};
use store::names::is_name;
use store::{OpId, PoolId, PoolRow, PoolState, WriteTx};

use super::{DEFAULT, Marker, Pool, PoolError, PoolKind};
use crate::{Volumes, held, open_directory};

/// The kernel gives no btrfs a smaller size.
pub(super) const LEAST: u64 = 256 << 20;

/// Which pool shall be.
#[derive(Debug, Clone, Default)]
pub struct CreatePool {
    pub name: String,
    /// `dir` or `btrfs`.
    pub kind: String,
    /// A directory, or for a btrfs a block device; `None`: a file that is made.
    pub source: Option<PathBuf>,
    /// Bytes of that file.
    pub size: Option<u64>,
    /// Make a filesystem on the device.
    pub format: bool,
    /// Whatever the device holds.
    pub force: bool,
    pub labels: BTreeMap<String, String>,
}

/// What there is to do for a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Make {
    /// A file with a btrfs in it.
    File,
    /// A btrfs on the device.
    Format { force: bool },
    /// The btrfs of the device is mounted.
    Mount,
    /// The directory is there.
    Directory,
    /// It is made.
    NewDirectory,
}

impl Volumes {
    /// Makes a pool.
    ///
    /// # Errors
    /// [`PoolError`]; nothing is left of a create that failed.
    pub fn create_pool(&self, request: CreatePool) -> Result<Pool, PoolError> {
        if !is_name(&request.name) {
            return Err(PoolError::Name(request.name));
        }
        if request.name == DEFAULT {
            return Err(PoolError::Taken(request.name));
        }
        let lock = self.name_lock(&lock_name(&request.name));
        let _held = held(&lock);
        let kind =
            PoolKind::parse(&request.kind).ok_or_else(|| PoolError::Kind(request.kind.clone()))?;
        let (make, source, uuid) = self.plan_pool(kind, &request)?;
        let create = Create {
            row: Marker::of(&PoolRow {
                id: PoolId::random(),
                name: request.name,
                kind: kind.as_str().to_owned(),
                source: source.map(|source| source.to_string_lossy().into_owned()),
                size: request.size,
                uuid,
                labels: (!request.labels.is_empty()).then_some(request.labels),
                state: PoolState::Creating,
                created_at: Timestamp::now().to_string(),
            }),
            make,
        };
        journal::execute(&self.store, &create, self)?;
        self.pool(&create.row.name)
    }

    /// What is to be done, where, and which filesystem it will be.
    fn plan_pool(
        &self,
        kind: PoolKind,
        request: &CreatePool,
    ) -> Result<(Make, Option<PathBuf>, Option<String>), PoolError> {
        let new_uuid = || -> Result<String, PoolError> {
            let uuid =
                sys::uuid::random().map_err(PoolError::io("draw a UUID for", &request.name))?;
            Ok(sys::uuid::text(uuid))
        };
        let Some(source) = &request.source else {
            return match (kind, request.size) {
                (PoolKind::Dir, _) => Err(PoolError::Needs {
                    kind: "dir",
                    needs: "a source",
                }),
                (PoolKind::Btrfs, None) => Err(PoolError::Needs {
                    kind: "btrfs",
                    needs: "a source or a size",
                }),
                (PoolKind::Btrfs, Some(size)) if size < LEAST => Err(PoolError::TooSmall(LEAST)),
                (PoolKind::Btrfs, Some(_)) => Ok((Make::File, None, Some(new_uuid()?))),
            };
        };
        if request.size.is_some() {
            return Err(PoolError::Senseless("a size"));
        }
        if !source.is_absolute() {
            return Err(PoolError::Relative(source.clone()));
        }
        let found = std::fs::metadata(source);
        if found
            .as_ref()
            .is_ok_and(|found| found.file_type().is_block_device())
        {
            if kind == PoolKind::Dir {
                return Err(PoolError::NoPlace(source.clone()));
            }
            let there = sys::btrfs_quota::uuid_on(source).map_err(PoolError::io("read", source))?;
            return match (request.format, there) {
                (true, _) => {
                    let force = request.force;
                    Ok((
                        Make::Format { force },
                        Some(source.clone()),
                        Some(new_uuid()?),
                    ))
                }
                (false, Some(uuid)) => Ok((
                    Make::Mount,
                    Some(source.clone()),
                    Some(sys::uuid::text(uuid)),
                )),
                (false, None) => Err(PoolError::NoFilesystem(source.clone())),
            };
        }
        if request.format {
            return Err(PoolError::Senseless("--format"));
        }
        self.plan_directory(kind, source, found.is_ok())
    }

    fn plan_directory(
        &self,
        kind: PoolKind,
        source: &Path,
        exists: bool,
    ) -> Result<(Make, Option<PathBuf>, Option<String>), PoolError> {
        // One that is made lies where its parent lies.
        let look = if exists {
            source
        } else {
            source.parent().unwrap_or(source)
        };
        let canonical = look
            .canonicalize()
            .map_err(PoolError::io("look at", look))?;
        let directory = match open_directory(&canonical) {
            Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => {
                return Err(PoolError::NoPlace(source.to_owned()));
            }
            other => other.map_err(PoolError::io("open", look))?,
        };
        let failed = || PoolError::io("look at", look);
        if kind == PoolKind::Btrfs && !sys::btrfs::is_btrfs(directory.as_fd()).map_err(failed())? {
            return Err(PoolError::NotBtrfs(source.to_owned()));
        }
        if exists {
            if let Some(marker) = Marker::read(&self.paths.pool_marker_in(&canonical)) {
                return Err(PoolError::IsPool {
                    path: source.to_owned(),
                    name: marker.name,
                });
            }
            let entries = sys::dir::read_dir(directory.as_fd()).map_err(failed())?;
            // What mkfs puts there is nobody's.
            if entries.iter().any(|entry| entry.name != "lost+found") {
                return Err(PoolError::NotEmpty(source.to_owned()));
            }
        }
        let uuid = sys::uuid::of_filesystem(directory.as_fd()).map_err(failed())?;
        let (make, source) = match (exists, source.file_name()) {
            (false, Some(name)) => (Make::NewDirectory, self.paths.pool_source(&canonical, name)),
            _ => (Make::Directory, canonical),
        };
        Ok((make, Some(source), uuid.map(sys::uuid::text)))
    }
}

/// Volumes' names have locks in the same place.
pub(super) fn lock_name(pool: &str) -> String {
    format!("pool {pool}")
}

/// The journaled operation.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Create {
    row: Marker,
    make: Make,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Build,
}

impl Create {
    fn pool(&self) -> PoolRow {
        self.row.clone().row()
    }

    fn uuid(&self) -> Option<[u8; 16]> {
        self.row.uuid.as_deref().and_then(sys::uuid::parse)
    }

    /// The file or the device.
    fn device(&self, volumes: &Volumes) -> PathBuf {
        match &self.row.source {
            Some(source) => PathBuf::from(source),
            None => volumes.paths.pool_image(&self.row.id),
        }
    }

    fn make_filesystem(&self, volumes: &Volumes) -> Result<(), PoolError> {
        let device = self.device(volumes);
        let uuid = self.uuid();
        let there = |device: &Path| {
            sys::btrfs_quota::uuid_on(device).map_err(PoolError::io("read", device))
        };
        match self.make {
            Make::Mount | Make::Directory | Make::NewDirectory => return Ok(()),
            Make::File => {
                let size = self.row.size.unwrap_or(LEAST);
                match sys::image_file::create(&device, size) {
                    Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                    other => other.map_err(PoolError::io("make", &device))?,
                }
            }
            Make::Format { .. } => {}
        }
        if uuid.is_some() && there(&device)? == uuid {
            return Ok(());
        }
        let (shown, uuid) = (
            device.to_string_lossy(),
            self.row.uuid.clone().unwrap_or_default(),
        );
        let mut arguments = vec!["-q", "-U", &uuid, "-L", &self.row.name];
        if matches!(self.make, Make::Format { force: true } | Make::File) {
            arguments.push("-f");
        }
        arguments.push(&shown);
        let output = match sys::command::run("mkfs.btrfs", &arguments) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(PoolError::NoProgram("mkfs.btrfs"));
            }
            other => other.map_err(PoolError::io("run", "mkfs.btrfs"))?,
        };
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said
            .lines()
            .find_map(|line| line.strip_prefix("ERROR: "))
            .unwrap_or(said.trim())
            .to_owned();
        Err(match self.make {
            Make::Format { force: false } => PoolError::Holds { device, said },
            _ => PoolError::Program {
                program: "mkfs.btrfs",
                said,
            },
        })
    }
}

impl Operation for Create {
    const KIND: &'static str = "pool-create";
    const STEPS: &'static [(&'static str, Step)] = &[("build", Step::Build)];
    const COMMIT: Option<Step> = Some(Step::Build);
    type Step = Step;
    type Context<'a> = Volumes;
    type Error = PoolError;

    fn object(&self) -> &str {
        &self.row.name
    }

    fn begin(&self, tx: &WriteTx<'_>) -> Result<(), PoolError> {
        if tx.pool_by_name(&self.row.name)?.is_some() {
            return Err(PoolError::Taken(self.row.name.clone()));
        }
        Ok(tx.insert_pool(&PoolRow {
            state: PoolState::Creating,
            ..self.pool()
        })?)
    }

    fn run(&self, _step: Step, _op: &OpId, volumes: &Volumes) -> Result<(), PoolError> {
        let paths = &volumes.paths;
        let row = self.pool();
        let directory = paths.pool(&row.id);
        sys::durable::ensure_dir(&directory, 0o711).map_err(PoolError::io("make", &directory))?;
        Marker::of(&row).write(&paths.pool_description(&row.id))?;
        if self.make == Make::NewDirectory {
            let source = self.device(volumes);
            sys::durable::ensure_dir(&source, 0o711).map_err(PoolError::io("make", source))?;
        }
        self.make_filesystem(volumes)?;
        volumes.attach_pool(&row)?;
        // What a device brought along that was a pool is not this one.
        let marker = paths.pool_marker(&row.id);
        match Marker::read(&marker) {
            Some(other) if other.id != row.id => {
                return Err(PoolError::IsPool {
                    path: self.device(volumes),
                    name: other.name,
                });
            }
            _ => Marker::of(&row).write(&marker)?,
        }
        let content = paths.pool_volumes(&row.id);
        sys::durable::ensure_dir(&content, 0o711).map_err(PoolError::io("make", &content))?;
        if matches!(self.make, Make::File | Make::Format { .. }) {
            // From the first byte on, so that nothing is left uncounted.
            open_directory(&content)
                .and_then(|content| sys::btrfs_quota::enable(content.as_fd()))
                .map_err(PoolError::io("switch quotas on for", content))?;
        }
        Ok(())
    }

    fn record(&self, _step: Step, tx: &WriteTx<'_>) -> Result<(), PoolError> {
        Ok(tx.set_pool_state(&self.row.id, PoolState::Ready)?)
    }

    fn undo(&self, _step: Step, _op: &OpId, volumes: &Volumes) -> Result<(), PoolError> {
        let row = self.pool();
        volumes.dismantle_pool(&row)?;
        if self.make == Make::NewDirectory {
            let source = self.device(volumes);
            sys::durable::remove_dir(&source).map_err(PoolError::io("remove", source))?;
        }
        if let (Make::Format { .. }, Some(uuid)) = (self.make, self.uuid()) {
            let device = self.device(volumes);
            // Only the one that was made here.
            sys::btrfs_quota::unmake(&device, uuid).map_err(PoolError::io("clear", device))?;
        }
        Ok(())
    }

    fn abandon(&self, tx: &WriteTx<'_>) -> Result<(), PoolError> {
        Ok(tx.delete_pool(&self.row.id)?)
    }
}
