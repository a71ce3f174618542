//! A state directory for one test, and what must always be true of it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CStr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::mount::{MountFlags, MountPropagationFlags, mount_change};
use store::{Paths, Store};
use volumes::{CreateVolume, TrashLimit, TrashPolicy, Volumes};

pub(crate) struct Scratch {
    pub(crate) root: PathBuf,
    owned: bool,
}

/// An engine's worth of volumes on a state directory.
pub(crate) struct Opened {
    pub(crate) volumes: Volumes,
    pub(crate) store: Arc<Store>,
    pub(crate) paths: Arc<Paths>,
    pub(crate) sentences: Vec<String>,
}

impl Scratch {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let root =
            std::env::temp_dir().join(format!("orlop-volumes-{}-{count}", std::process::id()));
        std::fs::create_dir_all(&root).unwrap();
        Self { root, owned: true }
    }

    /// The directory of another process's test.
    pub(crate) fn at(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            owned: false,
        }
    }

    /// As an engine starts: opened and recovered.
    pub(crate) fn open(&self) -> Opened {
        let paths = Arc::new(Paths::new(self.root.join("state")).unwrap());
        for directory in [
            paths.data(),
            paths.volumes(),
            paths.pools(),
            paths.staging_root(),
            paths.trash_root(),
        ] {
            sys::durable::ensure_dir(&directory, 0o711).unwrap();
        }
        let store = Arc::new(Store::open(&paths).unwrap());
        let volumes = Volumes::open(
            Arc::clone(&store),
            Arc::clone(&paths),
            self.plugin_settings(),
        )
        .unwrap();
        let sentences = volumes.recover().unwrap();
        volumes.admit_plugins();
        if store.read(|tx| tx.meta("volume-trash")).unwrap().is_none() {
            volumes.set_trash_policy(trash_for(0)).unwrap();
        }
        Opened {
            volumes,
            store,
            paths,
            sentences,
        }
    }

    /// Takes down every mount below, as a reboot does.
    pub(crate) fn unmount_all(&self) {
        let table = std::fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
        let below = format!("{}/", self.root.display());
        let mut points: Vec<&str> = table
            .lines()
            .filter_map(|line| line.split(' ').nth(4))
            .filter(|point| point.starts_with(&below))
            .collect();
        points.reverse();
        for point in points {
            rustix::mount::unmount(point, rustix::mount::UnmountFlags::DETACH).unwrap();
        }
    }

    /// Plugins of this test alone; nobody is waited for long.
    pub(crate) fn plugin_settings(&self) -> volumes::PluginSettings {
        volumes::PluginSettings {
            sockets: self.root.join("plugins"),
            specs: vec![self.root.join("specs")],
            patience: Duration::ZERO,
            long: Duration::from_secs(5),
            short: Duration::from_secs(5),
            rest: Duration::from_millis(100),
        }
    }

    /// A directory beside the state, for sources.
    pub(crate) fn source(&self, files: &[(&str, &str)]) -> PathBuf {
        let source = self.root.join("source");
        std::fs::create_dir_all(&source).unwrap();
        write_files(&source, files);
        source
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if self.owned {
            self.unmount_all();
            std::fs::remove_dir_all(&self.root).unwrap();
        }
    }
}

/// A trash that keeps everything for so many seconds; 0: none.
pub(crate) fn trash_for(grace: u64) -> TrashPolicy {
    TrashPolicy {
        grace,
        limit: TrashLimit::Bytes(u64::MAX),
    }
}

pub(crate) fn write_files(directory: &Path, files: &[(&str, &str)]) {
    for (name, content) in files {
        let path = directory.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
}

pub(crate) fn named(name: &str) -> CreateVolume {
    CreateVolume {
        name: Some(name.to_owned()),
        ..CreateVolume::default()
    }
}

pub(crate) fn open_dir(path: &Path) -> std::os::fd::OwnedFd {
    std::fs::File::open(path).unwrap().into()
}

/// Files below a directory with their contents, directories with a slash and their modes.
pub(crate) fn tree(directory: &Path) -> BTreeMap<String, String> {
    fn walk(directory: &Path, prefix: &str, found: &mut BTreeMap<String, String>) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            let meta = entry.metadata().unwrap();
            if meta.is_dir() {
                found.insert(format!("{name}/"), format!("{:o}", meta.mode() & 0o7777));
                walk(&entry.path(), &format!("{name}/"), found);
            } else if meta.is_symlink() {
                let target = std::fs::read_link(entry.path()).unwrap();
                found.insert(name, format!("-> {}", target.display()));
            } else {
                found.insert(name, std::fs::read_to_string(entry.path()).unwrap());
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(directory, "", &mut found);
    found
}

/// Runs `test` on a new filesystem, in a mount namespace of its own; an error when the kernel does not mount it so.
pub(crate) fn on_filesystem(
    kind: &'static str,
    make: &'static [&'static str],
    options: Option<&'static CStr>,
    bytes: u64,
    test: impl FnOnce(&Scratch) + Send + 'static,
) -> std::io::Result<()> {
    let outcome = std::thread::spawn(move || {
        sys::namespace::new_mounts().unwrap();
        mount_change(
            "/",
            MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
        )
        .unwrap();
        let scratch = Scratch::new();
        let image = scratch.root.join("image");
        std::fs::File::create(&image)
            .unwrap()
            .set_len(bytes)
            .unwrap();
        let made = Command::new(make[0])
            .args(&make[1..])
            .arg(&image)
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(made.success());
        let device = sys::loop_device::attach(&image, 512, false).unwrap();
        let point = scratch.root.join("mounted");
        std::fs::create_dir(&point).unwrap();
        if let Err(error) =
            rustix::mount::mount(device.path(), &point, kind, MountFlags::empty(), options)
        {
            return Ok(Err(error.into()));
        }
        drop(device);
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            test(&Scratch::at(&point));
            Ok(())
        }))
    })
    .join()
    .unwrap();
    outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn names(directory: &Path) -> BTreeSet<String> {
    std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect()
}

impl Opened {
    /// Everything that a user can see of all volumes, by name.
    pub(crate) fn view(&self) -> BTreeMap<String, BTreeMap<String, String>> {
        let mut view = BTreeMap::new();
        for volume in self.volumes.trash().unwrap() {
            let content = self.paths.volume_content(&volume.id);
            view.insert(format!("trash/{}", volume.name), tree(&content));
        }
        for volume in self.volumes.list().unwrap() {
            let mut files = tree(&volume.mountpoint);
            let meta = std::fs::metadata(&volume.mountpoint).unwrap();
            files.insert(
                "/".to_owned(),
                format!("{:o} {}", meta.mode() & 0o7777, meta.uid()),
            );
            let storage = self.volumes.storage(&volume.name).unwrap();
            if let Some(bytes) = storage.limits.bytes {
                let room = rustix::fs::statvfs(&volume.mountpoint).unwrap();
                let room = format!("{bytes} of {}, in {}", room.f_blocks, storage.pool);
                files.insert("limit".to_owned(), room);
            }
            for (key, value) in volume.labels.unwrap_or_default() {
                files.insert(format!("label {key}"), value);
            }
            view.insert(volume.name, files);
        }
        for pool in self.volumes.pools().unwrap() {
            if pool.id.is_some() {
                let room = pool.room.map(|room| room.size.to_string());
                let shown = [("size".to_owned(), room.unwrap_or_default())].into();
                view.insert(format!("pool {}", pool.name), shown);
            }
        }
        for snapshot in self.volumes.snapshots(None).unwrap() {
            let tree = |path: &Path| {
                let volume = self.volumes.get(&snapshot.volume).unwrap().id;
                self.volumes
                    .snapshot_tree(volume.as_ref().unwrap(), &snapshot.id)
                    .unwrap();
                tree(path)
            };
            // Whatever the time.
            let name = if snapshot.reason == volumes::snapshot::BEFORE_RESTORE {
                volumes::snapshot::BEFORE_RESTORE
            } else {
                &snapshot.name
            };
            view.insert(format!("{}@{name}", snapshot.volume), tree(&snapshot.path));
        }
        view
    }

    /// Records, directories and links say the same, and nothing is under way.
    #[track_caller]
    pub(crate) fn assert_sound(&self, at: &str) {
        let mut rows = self.store.read(|tx| tx.volumes_in_any_state()).unwrap();
        // What has arrived in part waits for the rest, and is no volume.
        let arriving = self.volumes.arrivals().unwrap();
        let is_arriving =
            |row: &store::VolumeRow| arriving.iter().any(|arrival| arrival.name == row.name);
        let parts: Vec<String> = rows
            .iter()
            .filter(|row| is_arriving(row))
            .map(|row| row.id.to_string())
            .collect();
        rows.retain(|row| !is_arriving(row));
        let mut ids: BTreeSet<String> = rows.iter().map(|row| row.id.to_string()).collect();
        let is_here = |row: &&store::VolumeRow| !self.volumes.is_elsewhere(&row.driver);
        let shown: BTreeSet<String> = rows
            .iter()
            .filter(is_here)
            .map(|row| row.name.clone())
            .collect();
        assert_eq!(
            ids.len(),
            self.volumes.list().unwrap().len(),
            "{at}: rows in other states"
        );
        let pools: BTreeSet<String> = self
            .store
            .read(|tx| tx.pools())
            .unwrap()
            .iter()
            .map(|row| row.id.to_string())
            .collect();
        assert_eq!(names(&self.paths.pools()), pools, "{at}: pools");
        let trash = self.volumes.trash().unwrap();
        ids.extend(trash.iter().map(|volume| volume.id.to_string()));
        ids.extend(parts);
        assert_eq!(names(&self.paths.data()), ids, "{at}: directories");
        assert_eq!(names(&self.paths.volumes()), shown, "{at}: links");
        for row in &rows {
            let mut beside = names(&self.paths.volume(&row.id));
            beside.remove("_data");
            beside.remove("volume.json");
            beside.remove("_data.image");
            let known: BTreeSet<String> = self
                .volumes
                .snapshots(Some(&row.name))
                .unwrap()
                .iter()
                .map(|snapshot| snapshot.id.to_string())
                .collect();
            if beside.remove("snapshots") {
                assert_eq!(
                    names(&self.paths.snapshots(&row.id))
                        .into_iter()
                        .filter(|name| !name.ends_with(".image"))
                        .collect::<BTreeSet<_>>(),
                    known,
                    "{at}: snapshots of {}",
                    row.name
                );
            }
            assert!(known.is_empty() || self.paths.snapshots(&row.id).exists());
            assert!(beside.is_empty(), "{at}: beside the data: {beside:?}");
            if !is_here(&row) {
                continue;
            }
            let by_name = self.paths.mountpoint(&row.name).canonicalize().unwrap();
            let by_id = self.paths.volume_content(&row.id).canonicalize().unwrap();
            assert_eq!(by_name, by_id, "{at}: the link of {}", row.name);
        }
        let open = self.store.read(|tx| tx.ops()).unwrap();
        assert!(open.is_empty(), "{at}: open operations: {open:?}");
        assert!(
            names(&self.paths.staging_root()).is_empty(),
            "{at}: staging"
        );
        assert!(names(&self.paths.trash_root()).is_empty(), "{at}: trash");
    }
}
