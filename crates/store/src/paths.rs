//! Where everything is: the only file that joins paths below the state directory and the run directory.
//!
//! ```text
//! <root>/                          0711  default /var/lib/orlop
//!   orlop.db, -wal, -shm           0600  names, relations, intent
//!   reserve                        0600  room that the records have when the disk is full
//!   store.lock                           held while the database is opened and migrated
//!   engine.lock                          held by the one engine of this root
//!   engine.log
//!   docker.sock                          API of a root that is not the default one
//!   data/<volume id>/              0701  one volume
//!     _data/                             its bytes, or what its driver mounts there
//!     volume.json                  0600  what the database knows of it
//!     _next/                             what a restore or resize is going to make `_data`
//!     _old/                              what a resize has replaced by `_data`, until it is deleted
//!     _data.image, _next.image           a filesystem of the volume's own, mounted there
//!     snapshots/<snapshot id>/     0700  its bytes as they were, or where <snapshot id>.image is mounted
//!   data/<volume id>                     of a volume in a pool: link to ../pools/<pool id>/fs/volumes/<volume id>
//!   pools/<pool id>/               0711  one pool
//!     pool.json                    0600  what the database knows of it
//!     image                              its own file, of a pool with a size
//!     fs                                 where its filesystem is mounted, or a link to its directory; in it:
//!       orlop-pool.json                  says that this is the pool
//!       volumes/<volume id>/             as in data/
//!   backups/<repository id>/       0700  one repository of backups that has a name here
//!     secret.json                  0600  what opens it
//!     cache/                             what it holds of its index and trees
//!   volumes/<name>                       link to ../data/<volume id>, so that volumes/<name>/_data is the mountpoint
//!   layers/<n>/fs/                       one unpacked image layer
//!   downloads/<digest>             0600  a blob that a pull has not made a layer's yet
//!   build/<n>/                     0700  a directory that steps of builds share
//!   containers/<id>/               0710  upper, work, hostname, hosts, resolv.conf, <id>-json.log
//!   staging/<op>/                  0700  what an operation builds before it publishes it
//!   trash/<op>/                    0700  what an operation has taken away and is deleting
//! /run/orlop/<tag>/<container id>/       shim.lock, shim.sock, exit.json; gone after a reboot
//! /run/orlop/<tag>/names/<network id>/   one file for each container on the network: its names and addresses
//! ```
//!
//! Users' names occur in one place, `volumes/<name>`, and only after [`crate::names::check_volume_name`].

use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::error::StoreError;
use crate::ids::{LayerId, OpId, PoolId, RepositoryId, SnapshotId, VolumeId};

/// State directory of the engine that needs no option to find.
pub const DEFAULT_ROOT: &str = "/var/lib/orlop";
const RUN: &str = "/run/orlop";

/// The places of one state directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    root: PathBuf,
    run_root: PathBuf,
    tag: String,
}

impl Paths {
    /// Finds the canonical path of `root`, making the directory (0711) when it is missing.
    ///
    /// # Errors
    /// [`StoreError::Io`] when it cannot be made or resolved.
    pub fn new(root: impl AsRef<Path>) -> Result<Self, StoreError> {
        let root = root.as_ref();
        let failed = |action| {
            move |source| StoreError::Io {
                action,
                path: root.to_owned(),
                source,
            }
        };
        sys::durable::create_dir_all(root, 0o711).map_err(failed("make the state directory"))?;
        let root = root
            .canonicalize()
            .map_err(failed("resolve the state directory"))?;
        let digest = Sha256::digest(std::os::unix::ffi::OsStrExt::as_bytes(root.as_os_str()));
        let tag = crate::ids::hex(&digest[..6]);
        let run_root = Path::new(RUN).join(&tag);
        Ok(Self {
            root,
            run_root,
            tag,
        })
    }

    /// Makes the directories of the state directory and the run directory, with their modes. Idempotent.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn create_skeleton(&self) -> Result<(), StoreError> {
        for (path, mode) in [
            (self.root.clone(), 0o711),
            (self.data(), 0o711),
            (self.volumes(), 0o711),
            (self.pools(), 0o711),
            (self.backups(), 0o700),
            (self.layers(), 0o700),
            (self.downloads(), 0o700),
            (self.build(), 0o700),
            (self.containers(), 0o710),
            (self.staging_root(), 0o700),
            (self.trash_root(), 0o700),
        ] {
            sys::durable::ensure_dir(&path, mode).map_err(|source| StoreError::Io {
                action: "make the directory",
                path,
                source,
            })?;
        }
        self.create_run_root()
    }

    /// Makes the run directory, which a reboot takes away.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn create_run_root(&self) -> Result<(), StoreError> {
        sys::durable::create_dir_all(&self.run_root, 0o711).map_err(|source| StoreError::Io {
            action: "make the run directory",
            path: self.run_root.clone(),
            source,
        })
    }

    /// The canonical state directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// 12 hex digits that tell this state directory from every other on the host: for names of kernel objects.
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// Whether this is the state directory that needs no option.
    pub fn is_default(&self) -> bool {
        self.root == Path::new(DEFAULT_ROOT)
    }

    /// The bridge of this engine; at most 15 bytes, as the kernel demands.
    pub fn bridge(&self) -> String {
        if self.is_default() {
            "orlop0".to_owned()
        } else {
            format!("orl-{}", &self.tag[..8])
        }
    }

    /// Name of its cgroup below each controller, and of its packet filter table.
    pub fn kernel_name(&self) -> String {
        format!("orlop-{}", self.tag)
    }

    /// The database.
    pub fn database(&self) -> PathBuf {
        self.root.join("orlop.db")
    }

    /// The database's files, and what each is called once it is put aside at `time`; none of these is there yet.
    pub fn database_files(&self, time: &str) -> Vec<(PathBuf, PathBuf)> {
        let called = |end: &str| -> Vec<(PathBuf, PathBuf)> {
            ["orlop.db", "orlop.db-wal", "orlop.db-shm"]
                .into_iter()
                .map(|name| {
                    let aside = format!("{name}.broken-{end}");
                    (self.root.join(name), self.root.join(aside))
                })
                .collect()
        };
        let mut files = called(time);
        let mut more = 2_u32;
        while files.iter().any(|(_, aside)| aside.exists()) {
            files = called(&format!("{time}-{more}"));
            more += 1;
        }
        files
    }

    /// Whether there are volumes below `root`, be it by one record or by none. Makes nothing.
    pub fn is_state_directory(root: &Path) -> bool {
        root.join("data").is_dir()
    }

    /// Room that is kept for the database.
    pub(crate) fn reserve(&self) -> PathBuf {
        self.root.join("reserve")
    }

    /// Lock of the first opening and of migrations.
    pub fn store_lock(&self) -> PathBuf {
        self.root.join("store.lock")
    }

    /// Lock of the engine.
    pub fn engine_lock(&self) -> PathBuf {
        self.root.join("engine.lock")
    }

    /// Where an engine in the background logs.
    pub fn engine_log(&self) -> PathBuf {
        self.root.join("engine.log")
    }

    /// Where the API listens unless told otherwise.
    pub fn socket(&self) -> PathBuf {
        if self.is_default() {
            Path::new(RUN).join("docker.sock")
        } else {
            self.root.join("docker.sock")
        }
    }

    /// All volumes by id.
    pub fn data(&self) -> PathBuf {
        self.root.join("data")
    }

    /// One volume. Of a volume in a pool this is where it lies there, as the link in `data` says.
    pub fn volume(&self, id: &VolumeId) -> PathBuf {
        let entry = self.volume_entry(id);
        let home = std::fs::read_link(&entry)
            .ok()
            .and_then(|target| self.home_of_target(&target));
        match home {
            Some((pool, id)) => self.volume_home(&id, Some(&pool)),
            None => entry,
        }
    }

    /// The entry of one volume in `data`: its directory, or a link to it.
    pub fn volume_entry(&self, id: &VolumeId) -> PathBuf {
        self.data().join(id.as_str())
    }

    /// The bytes of one volume, by its id.
    pub fn volume_content(&self, id: &VolumeId) -> PathBuf {
        self.volume(id).join("_data")
    }

    /// What a restore of one volume is going to put in the place of its content.
    pub fn volume_next(&self, id: &VolumeId) -> PathBuf {
        self.volume(id).join("_next")
    }

    /// What a resize has replaced by `_data`, until it is deleted.
    pub fn volume_old(&self, id: &VolumeId) -> PathBuf {
        self.volume(id).join("_old")
    }

    /// All snapshots of one volume.
    pub fn snapshots(&self, id: &VolumeId) -> PathBuf {
        self.volume(id).join("snapshots")
    }

    /// The bytes of one snapshot.
    pub fn snapshot(&self, volume: &VolumeId, id: &SnapshotId) -> PathBuf {
        self.snapshots(volume).join(id.as_str())
    }

    /// What the database knows of one volume, beside its bytes.
    pub fn volume_metadata(&self, id: &VolumeId) -> PathBuf {
        self.metadata_in(&self.volume(id))
    }

    /// The same in the directory of a volume.
    pub fn metadata_in(&self, directory: &Path) -> PathBuf {
        directory.join("volume.json")
    }

    /// The bytes in the directory of a volume.
    pub fn content_in(&self, directory: &Path) -> PathBuf {
        directory.join("_data")
    }

    /// All volumes by name: links.
    pub fn volumes(&self) -> PathBuf {
        self.root.join("volumes")
    }

    /// The link with a volume's name.
    pub fn volume_link(&self, name: &str) -> PathBuf {
        self.volumes().join(name)
    }

    /// All pools.
    pub fn pools(&self) -> PathBuf {
        self.root.join("pools")
    }

    /// One pool.
    pub fn pool(&self, id: &PoolId) -> PathBuf {
        self.pools().join(id.as_str())
    }

    /// What the database knows of a pool.
    pub fn pool_description(&self, id: &PoolId) -> PathBuf {
        self.pool(id).join("pool.json")
    }

    /// The file of a pool that has one of its own.
    pub fn pool_image(&self, id: &PoolId) -> PathBuf {
        self.pool(id).join("image")
    }

    /// Where a pool's filesystem is mounted, or a link to its directory.
    pub fn pool_fs(&self, id: &PoolId) -> PathBuf {
        self.pool(id).join("fs")
    }

    /// What says in a pool's filesystem that it is the pool.
    pub fn pool_marker(&self, id: &PoolId) -> PathBuf {
        self.pool_marker_in(&self.pool_fs(id))
    }

    /// The same below a directory that may be one.
    pub fn pool_marker_in(&self, directory: &Path) -> PathBuf {
        directory.join("orlop-pool.json")
    }

    /// The directory of a pool that is made in `parent`.
    pub fn pool_source(&self, parent: &Path, name: &std::ffi::OsStr) -> PathBuf {
        parent.join(name)
    }

    /// A block device by the kernel's name.
    pub fn device(&self, name: &std::ffi::OsStr) -> PathBuf {
        Path::new("/dev").join(name)
    }

    /// All volumes of a pool.
    pub fn pool_volumes(&self, id: &PoolId) -> PathBuf {
        self.pool_fs(id).join("volumes")
    }

    /// Where the directory of a volume is, or will be.
    pub fn volume_home(&self, id: &VolumeId, pool: Option<&PoolId>) -> PathBuf {
        match pool {
            Some(pool) => self.pool_volumes(pool).join(id.as_str()),
            None => self.volume_entry(id),
        }
    }

    /// The bytes of a volume by [`Paths::volume_home`].
    pub fn volume_home_content(&self, id: &VolumeId, pool: Option<&PoolId>) -> PathBuf {
        self.volume_home(id, pool).join("_data")
    }

    /// What the link in `data`, or later in `trash`, holds of a volume in a pool.
    pub fn volume_home_target(&self, id: &VolumeId, pool: &PoolId) -> PathBuf {
        Path::new("../pools")
            .join(pool.as_str())
            .join("fs/volumes")
            .join(id.as_str())
    }

    /// The pool and the volume that such a link's content names, if it is one of ours.
    pub fn home_of_target(&self, target: &Path) -> Option<(PoolId, VolumeId)> {
        let mut parts = target.strip_prefix("../pools").ok()?.iter();
        let pool = PoolId::parse(parts.next()?.to_str()?)?;
        let rest: Vec<_> = parts.collect();
        match rest.as_slice() {
            [fs, volumes, id] if *fs == "fs" && *volumes == "volumes" => {
                Some((pool, VolumeId::parse(id.to_str()?)?))
            }
            _ => None,
        }
    }

    /// All repositories of backups.
    pub fn backups(&self) -> PathBuf {
        self.root.join("backups")
    }

    /// What is kept for one repository.
    pub fn repository(&self, id: &RepositoryId) -> PathBuf {
        self.backups().join(id.as_str())
    }

    /// What opens it.
    pub fn repository_secret(&self, id: &RepositoryId) -> PathBuf {
        self.repository(id).join("secret.json")
    }

    /// What was read from it and need not be read again.
    pub fn repository_cache(&self, id: &RepositoryId) -> PathBuf {
        self.repository(id).join("cache")
    }

    /// What the link of a volume holds.
    pub fn volume_link_target(&self, id: &VolumeId) -> PathBuf {
        Path::new("../data").join(id.as_str())
    }

    /// The id that a link's content names, if it is one of ours.
    pub fn volume_of_link_target(&self, target: &Path) -> Option<VolumeId> {
        let id = target.strip_prefix("../data").ok()?.to_str()?;
        VolumeId::parse(id)
    }

    /// Where people find a volume's bytes.
    pub fn mountpoint(&self, name: &str) -> PathBuf {
        // Lists of thousands of volumes have one each.
        let (volumes, content) = ("volumes", "_data");
        let parts = [
            self.root.as_os_str().len(),
            volumes.len(),
            name.len(),
            content.len(),
        ];
        let mut path = PathBuf::with_capacity(parts.iter().sum::<usize>() + parts.len());
        path.push(&self.root);
        path.extend([volumes, name, content]);
        path
    }

    /// All layers.
    pub fn layers(&self) -> PathBuf {
        self.root.join("layers")
    }

    /// One layer.
    pub fn layer(&self, id: LayerId) -> PathBuf {
        self.layers().join(id.to_string())
    }

    /// The files of one layer.
    pub fn layer_fs(&self, id: LayerId) -> PathBuf {
        self.layer(id).join("fs")
    }

    /// The files of one layer, relative to [`Paths::layers`].
    pub fn layer_relative(&self, id: LayerId) -> PathBuf {
        Path::new(&id.to_string()).join("fs")
    }

    /// Where an overlay of one layer in the making works.
    pub fn layer_work(&self, id: LayerId) -> PathBuf {
        self.layer(id).join("work")
    }

    /// What pulls have fetched and not made an image's yet.
    pub fn downloads(&self) -> PathBuf {
        self.root.join("downloads")
    }

    /// One blob of it, by the hexadecimal digits of its digest.
    pub fn download(&self, hex: &str) -> PathBuf {
        self.downloads().join(hex)
    }

    /// All directories that steps of builds share.
    pub fn build(&self) -> PathBuf {
        self.root.join("build")
    }

    /// One of them.
    pub fn build_mount(&self, id: i64) -> PathBuf {
        self.build().join(id.to_string())
    }

    /// All containers.
    pub fn containers(&self) -> PathBuf {
        self.root.join("containers")
    }

    /// One container.
    pub fn container(&self, id: &str) -> PathBuf {
        self.containers().join(id)
    }

    /// Upper directory of its overlay.
    pub fn container_upper(&self, id: &str) -> PathBuf {
        self.container(id).join("upper")
    }

    /// Work directory of its overlay.
    pub fn container_work(&self, id: &str) -> PathBuf {
        self.container(id).join("work")
    }

    /// `hostname`, `hosts` or `resolv.conf`.
    pub fn container_file(&self, id: &str, file: &str) -> PathBuf {
        self.container(id).join(file)
    }

    /// Its json-file log.
    pub fn container_log(&self, id: &str) -> PathBuf {
        self.container(id).join(format!("{id}-json.log"))
    }

    /// What operations build.
    pub fn staging_root(&self) -> PathBuf {
        self.root.join("staging")
    }

    /// What one operation builds.
    pub fn staging(&self, op: &OpId) -> PathBuf {
        self.staging_root().join(op.as_str())
    }

    /// The tree that an operation is going to move into place as a whole or entry by entry.
    pub fn staging_tree(&self, op: &OpId) -> PathBuf {
        self.staging(op).join("tree")
    }

    /// What operations are deleting.
    pub fn trash_root(&self) -> PathBuf {
        self.root.join("trash")
    }

    /// What one operation is deleting.
    pub fn trash(&self, op: &OpId) -> PathBuf {
        self.trash_root().join(op.as_str())
    }

    /// Run directories of all containers.
    pub fn run_root(&self) -> &Path {
        &self.run_root
    }

    /// Run directory of one container.
    pub fn run(&self, id: &str) -> PathBuf {
        self.run_root.join(id)
    }

    /// Who is called what on each network.
    pub fn names(&self) -> PathBuf {
        self.run_root.join("names")
    }

    /// Who is called what on one network.
    pub fn network_names(&self, network: &str) -> PathBuf {
        self.names().join(network)
    }

    /// What one container is called on one network.
    pub fn container_names(&self, network: &str, container: &str) -> PathBuf {
        self.network_names(network).join(container)
    }

    /// Held by the container's shim as long as it lives.
    pub fn shim_lock(&self, id: &str) -> PathBuf {
        self.run(id).join("shim.lock")
    }

    /// Where the container's shim listens.
    pub fn shim_socket(&self, id: &str) -> PathBuf {
        self.run(id).join("shim.sock")
    }

    /// How the container ended.
    pub fn shim_exit(&self, id: &str) -> PathBuf {
        self.run(id).join("exit.json")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::tests::Scratch;

    #[test]
    fn one_directory_has_one_tag_by_whatever_name() {
        let scratch = Scratch::new();
        let paths = Paths::new(&scratch.0).expect("made");
        assert_eq!(paths.tag().len(), 12);
        let again = Paths::new(
            scratch
                .0
                .join("../")
                .join(scratch.0.file_name().expect("named")),
        )
        .expect("the same");
        assert_eq!(paths, again);
        assert!(paths.bridge().len() <= 15);
        assert!(!paths.is_default());
        assert_eq!(paths.socket(), paths.root().join("docker.sock"));
    }

    #[test]
    fn link_targets_round_trip() {
        let scratch = Scratch::new();
        let paths = Paths::new(&scratch.0).expect("made");
        let id = VolumeId::random();
        assert_eq!(
            paths.volume_of_link_target(&paths.volume_link_target(&id)),
            Some(id)
        );
        assert_eq!(
            paths.volume_of_link_target(Path::new("../data/../../etc")),
            None
        );
        assert_eq!(paths.volume_of_link_target(Path::new("/etc")), None);
    }
}
