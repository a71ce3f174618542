//! Limits that hold, wherever a volume lies: one life of a limited volume on every backend.
//!
//! What differs between the backends is what they declare ([`volumes::Abilities`]); the suite asks for that and for
//! nothing else. A backend that the host cannot offer is counted as ignored.

#![allow(
    clippy::disallowed_methods,
    reason = "tests make their own scratch files and processes"
)]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::cell::Cell;
use std::ffi::CStr;
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sys::project_quota::Use;
use testkit::libtest_mimic::{self, Arguments, Trial};
use volumes::driver::{Bound, Sharing};
use volumes::snapshot::{Quiet, Unheld};
use volumes::{
    CloneVolume, CreatePool, CreateSnapshots, CreateVolume, Disposal, DriverError, Observer,
    PoolError, ResizeVolume, RestoreFrom, Unobserved, VolumeAction, VolumeError,
};

use crate::scratch::{Opened, Scratch, named, on_filesystem, open_dir, trash_for};

#[path = "../volumes/scratch.rs"]
mod scratch;

const MIB: u64 = 1 << 20;
const LIMIT: u64 = 24 * MIB;

/// Where a volume is made, and what keeps its limit there.
struct Backend {
    name: &'static str,
    filesystem: &'static str,
    make: &'static [&'static str],
    /// How it is mounted.
    mounted: Option<&'static CStr>,
    /// Before the engine starts.
    prepare: fn(&Path),
    /// The pool in which it is made.
    pool: fn(&Opened, &Scratch) -> Option<&'static str>,
    options: &'static [(&'static str, &'static str)],
    bound: Bound,
    sharing: Sharing,
}

const BACKENDS: &[Backend] = &[
    Backend {
        name: "project quotas of ext4",
        filesystem: "ext4",
        make: PROJECTS_OF_EXT4,
        mounted: Some(c"prjquota"),
        prepare: |_| {},
        pool: |_, _| None,
        options: &[],
        bound: Bound::ProjectQuota,
        sharing: Sharing::Copy,
    },
    Backend {
        name: "project quotas of XFS",
        filesystem: "xfs",
        make: &["mkfs.xfs", "-q"],
        mounted: Some(c"prjquota"),
        prepare: |_| {},
        pool: |opened, scratch| directory_pool(opened, scratch),
        options: &[],
        bound: Bound::ProjectQuota,
        sharing: Sharing::Shared,
    },
    Backend {
        name: "ext4 that only counts by project",
        filesystem: "ext4",
        make: PROJECTS_OF_EXT4,
        mounted: None,
        prepare: |_| {},
        pool: |_, _| None,
        options: &[],
        bound: Bound::Image,
        sharing: Sharing::Copy,
    },
    Backend {
        name: "dir on ext4",
        filesystem: "ext4",
        make: &["mkfs.ext4", "-q"],
        mounted: None,
        prepare: |_| {},
        pool: |_, _| None,
        options: &[],
        bound: Bound::Image,
        sharing: Sharing::Copy,
    },
    Backend {
        name: "dir on XFS with reflinks",
        filesystem: "xfs",
        make: &["mkfs.xfs", "-q"],
        mounted: None,
        prepare: |_| {},
        pool: |_, _| None,
        options: &[],
        bound: Bound::Image,
        sharing: Sharing::Instant,
    },
    Backend {
        name: "dir on btrfs",
        filesystem: "btrfs",
        make: &["mkfs.btrfs", "-q"],
        mounted: None,
        prepare: |_| {},
        pool: |_, _| None,
        options: &[],
        bound: Bound::SimpleQuota,
        sharing: Sharing::Instant,
    },
    Backend {
        name: "dir on btrfs with groups",
        filesystem: "btrfs",
        make: &["mkfs.btrfs", "-q"],
        mounted: None,
        prepare: |root| {
            let root = std::fs::File::open(root).unwrap();
            sys::btrfs_quota::enable_groups(std::os::fd::AsFd::as_fd(&root)).unwrap();
        },
        pool: |_, _| None,
        options: &[],
        bound: Bound::QuotaGroup,
        sharing: Sharing::Instant,
    },
    Backend {
        name: "image on btrfs",
        filesystem: "btrfs",
        make: &["mkfs.btrfs", "-q"],
        mounted: None,
        prepare: |_| {},
        pool: |_, _| None,
        options: &[("image", "true")],
        bound: Bound::Image,
        sharing: Sharing::Instant,
    },
    Backend {
        name: "btrfs pool in a file",
        filesystem: "ext4",
        make: &["mkfs.ext4", "-q"],
        mounted: None,
        prepare: |_| {},
        pool: |opened, _| {
            let request = CreatePool {
                name: "fast".to_owned(),
                kind: "btrfs".to_owned(),
                size: Some(256 * MIB),
                ..CreatePool::default()
            };
            opened.volumes.create_pool(request).unwrap();
            Some("fast")
        },
        options: &[],
        bound: Bound::SimpleQuota,
        sharing: Sharing::Instant,
    },
    Backend {
        name: "dir pool",
        filesystem: "xfs",
        make: &["mkfs.xfs", "-q"],
        mounted: None,
        prepare: |_| {},
        pool: |opened, scratch| directory_pool(opened, scratch),
        options: &[],
        bound: Bound::Image,
        sharing: Sharing::Instant,
    },
];

type Full = (
    &'static str,
    &'static str,
    &'static [&'static str],
    Option<&'static str>,
);

/// Filesystems that are full, and a pool on one that is not.
const FULL: &[Full] = &[
    ("a full ext4", "ext4", &["mkfs.ext4", "-q"], None),
    ("a full XFS", "xfs", &["mkfs.xfs", "-q"], None),
    ("a full btrfs", "btrfs", &["mkfs.btrfs", "-q"], None),
    ("a full pool", "ext4", &["mkfs.ext4", "-q"], Some("fast")),
];

const PROJECTS_OF_EXT4: &[&str] = &["mkfs.ext4", "-q", "-O", "quota,project"];

fn directory_pool(opened: &Opened, scratch: &Scratch) -> Option<&'static str> {
    let request = CreatePool {
        name: "big".to_owned(),
        kind: "dir".to_owned(),
        source: Some(scratch.root.join("elsewhere")),
        ..CreatePool::default()
    };
    opened.volumes.create_pool(request).unwrap();
    Some("big")
}

/// Writes until nothing fits any more; how many bytes did.
#[track_caller]
fn fill(path: &Path) -> u64 {
    let _bounded = bounded();
    // Room that a removed file had is given back when the filesystem gets to it.
    let directory = std::fs::File::open(path.parent().unwrap()).unwrap();
    let mut made = std::fs::File::create(path);
    for _ in 0..500 {
        if made.is_ok() {
            break;
        }
        rustix::fs::syncfs(&directory).unwrap();
        made = std::fs::File::create(path);
    }
    let mut file = made.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let chunk = vec![0xA5_u8; 256 << 10];
    let mut written = 0;
    loop {
        match file.write_all(&chunk).and_then(|()| file.sync_data()) {
            Ok(()) => written += chunk.len() as u64,
            Err(error) => {
                let errno = error.raw_os_error().unwrap();
                assert!([28, 122].contains(&errno), "{error}");
                return written;
            }
        }
        assert!(written < 8 * LIMIT, "nothing stops it");
    }
}

/// What makes a container of this thread: ext4 lets who has this capability write beyond a quota.
fn bounded() -> sys::capability::Without {
    sys::capability::without(sys::capability::bit("CAP_SYS_RESOURCE").unwrap()).unwrap()
}

fn roughly(written: u64, limit: u64) {
    assert!(
        written <= limit && written >= limit / 100 * 60,
        "{written} of {limit}"
    );
}

fn snapshot(opened: &Opened, name: &str) {
    let request = CreateSnapshots {
        volumes: vec!["data".to_owned()],
        name: Some(name.to_owned()),
        ..CreateSnapshots::default()
    };
    opened
        .volumes
        .create_snapshots(&request, &Unheld, &Unobserved)
        .unwrap();
}

/// Writes at the last moment, and tells whether a filesystem was there to be written to by then.
struct LastMoment<'a> {
    late: &'a Path,
    /// Where the filesystem is made.
    around: &'a Path,
    there: Cell<bool>,
}

impl Quiet for LastMoment<'_> {
    fn hold(&self) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let images = walk(self.around)
            .into_iter()
            .filter(|path| path.extension().is_some_and(|end| end == "image"));
        self.there.set(images.count() > 0);
        std::fs::write(self.late, "late")?;
        Ok(())
    }

    fn is_felt(&self) -> bool {
        true
    }

    fn release(&self) {}
}

fn walk(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(walk(&path));
        }
        found.push(path);
    }
    found
}

/// A filesystem for a copy is made before writers wait for it, not while they do.
fn made_before(opened: &Opened, scratch: &Scratch) {
    let data = opened.paths.mountpoint("data").canonicalize().unwrap();
    let moment = |late: &'static str, around: &Path, act: &dyn Fn(&dyn Quiet)| {
        let moment = LastMoment {
            late: &data.join(late),
            around,
            there: Cell::new(false),
        };
        act(&moment);
        assert!(moment.there.get(), "{late}: it is made before");
    };
    moment("kept", &data.with_file_name("snapshots"), &|quiet| {
        let request = CreateSnapshots {
            volumes: vec!["data".to_owned()],
            name: Some("ahead".to_owned()),
            ..CreateSnapshots::default()
        };
        opened
            .volumes
            .create_snapshots(&request, quiet, &Unobserved)
            .unwrap();
        let clone = CloneVolume {
            source: "data".to_owned(),
            snapshot: Some("ahead".to_owned()),
            name: "moved".to_owned(),
            ..CloneVolume::default()
        };
        opened
            .volumes
            .clone_volume(&clone, &Unheld, &Unobserved)
            .unwrap();
        let kept = std::fs::read_to_string(opened.paths.mountpoint("moved").join("kept"));
        assert_eq!(kept.unwrap(), "late");
    });
    opened
        .volumes
        .dispose("moved", false, Disposal::Now)
        .unwrap();
    opened.volumes.remove_snapshot("data", "ahead").unwrap();
    directory_pool(opened, scratch);
    moment("cloned", &scratch.root.join("elsewhere"), &|quiet| {
        let clone = CloneVolume {
            source: "data".to_owned(),
            name: "moved".to_owned(),
            pool: Some("big".to_owned()),
            ..CloneVolume::default()
        };
        opened
            .volumes
            .clone_volume(&clone, quiet, &Unobserved)
            .unwrap();
        let content = opened.paths.mountpoint("moved");
        for name in ["precious", "kept", "cloned"] {
            assert!(content.join(name).exists(), "{name}");
        }
    });
    opened
        .volumes
        .dispose("moved", false, Disposal::Now)
        .unwrap();
    for late in ["kept", "cloned"] {
        std::fs::remove_file(data.join(late)).unwrap();
    }
}

/// Whoever looks on leaves at once, or when the copy is complete and is held against what it is of.
struct Leaves {
    at_once: bool,
    compares: AtomicBool,
}

impl Observer for Leaves {
    fn copied(&self, _volume: &str, _bytes: u64) {}

    fn settles(&self, _volume: &str, _bytes: u64) {}

    fn compared(&self, volume: &str, bytes: u64) {
        assert!(["plain", "data"].contains(&volume) && bytes > 0);
        self.compares.store(true, Ordering::Relaxed);
    }

    fn is_stopped(&self) -> bool {
        self.at_once || self.compares.load(Ordering::Relaxed)
    }
}

/// A volume of files among others gets a limit that only a filesystem of its own can keep, and loses it again.
fn converted(opened: &Opened, sharing: Sharing) {
    opened.volumes.create(named("plain")).unwrap();
    let plain = opened.paths.mountpoint("plain");
    std::fs::create_dir(plain.join("deep")).unwrap();
    std::fs::write(plain.join("deep/file"), "kept").unwrap();
    std::fs::write(plain.join("big"), vec![7; 20 << 20]).unwrap();
    let owner = (Some(1000), Some(1000));
    std::os::unix::fs::chown(plain.join("deep/file"), owner.0, owner.1).unwrap();
    let keep = |name: &str| {
        let request = CreateSnapshots {
            volumes: vec!["plain".to_owned()],
            name: Some(name.to_owned()),
            ..CreateSnapshots::default()
        };
        opened
            .volumes
            .create_snapshots(&request, &Unheld, &Unobserved)
            .unwrap();
    };
    let resize = |bytes, mounted| {
        let change = ResizeVolume {
            bytes: Some(bytes),
            mounted,
            ..ResizeVolume::default()
        };
        opened.volumes.resize("plain", change, &Unobserved)
    };
    let back_to = |name: &str| {
        let from = RestoreFrom::Snapshot(name.to_owned());
        opened
            .volumes
            .restore("plain", &from, false, &Unobserved)
            .unwrap();
    };
    let entries = || {
        let mut entries: Vec<String> = walk(plain.canonicalize().unwrap().parent().unwrap())
            .iter()
            .filter(|path| path.extension().is_some_and(|end| end == "image"))
            .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
            .filter(|name| name.starts_with('_'))
            .collect();
        entries.sort();
        entries
    };
    keep("files");

    // Not while somebody would go on writing to what is there, and not into too little room.
    let refused = resize(LIMIT, true).unwrap_err();
    let live = matches!(
        &refused,
        VolumeError::Resize {
            reason: DriverError::Live { .. },
            ..
        }
    );
    assert!(live, "{refused}");
    let refused = resize(12 * MIB, false).unwrap_err();
    let too_full = matches!(
        &refused,
        VolumeError::Resize {
            reason: DriverError::TooFull { .. },
            ..
        }
    );
    assert!(too_full, "{refused}");
    assert_eq!(entries(), Vec::<String>::new());
    // Nor when nobody waits for it any more.
    for at_once in [true, false] {
        let change = ResizeVolume {
            bytes: Some(LIMIT + 8 * MIB),
            ..ResizeVolume::default()
        };
        let leaves = Leaves {
            at_once,
            compares: AtomicBool::new(false),
        };
        let stopped = opened.volumes.resize("plain", change, &leaves).unwrap_err();
        assert_eq!(stopped.kind(), store::ErrorKind::Cancelled, "{stopped}");
        assert_eq!(leaves.compares.into_inner(), !at_once);
        assert_eq!(entries(), Vec::<String>::new());
    }
    assert_eq!(opened.volumes.storage("plain").unwrap().limits.bytes, None);

    let kept = || {
        assert_eq!(
            std::fs::read_to_string(plain.join("deep/file")).unwrap(),
            "kept"
        );
        let file = plain.join("deep/file").metadata().unwrap();
        assert_eq!((Some(file.uid()), Some(file.gid())), owner);
        assert_eq!(std::fs::read(plain.join("big")).unwrap(), vec![7; 20 << 20]);
    };
    let storage = resize(LIMIT + 8 * MIB, false).unwrap();
    let abilities = storage.abilities.unwrap();
    assert_eq!(
        (abilities.bound, abilities.sharing),
        (Some(Bound::Image), sharing)
    );
    kept();
    assert_eq!(entries(), ["_data.image"]);
    assert!(fill(&plain.join("full")) < 12 * MIB);
    std::fs::remove_file(plain.join("full")).unwrap();
    // Snapshots of either kind become contents of the kind that the limit takes.
    keep("filesystem");
    std::fs::remove_file(plain.join("big")).unwrap();
    back_to("files");
    kept();
    assert_eq!(entries(), ["_data.image"]);
    assert!(fill(&plain.join("full")) < 12 * MIB);

    let storage = resize(0, false).unwrap();
    assert_eq!(storage.limits.bytes, None);
    std::fs::remove_file(plain.join("full")).unwrap();
    kept();
    assert_eq!(entries(), Vec::<String>::new());
    std::fs::remove_file(plain.join("big")).unwrap();
    back_to("filesystem");
    kept();
    assert_eq!(entries(), Vec::<String>::new());
    let clone = CloneVolume {
        source: "plain".to_owned(),
        snapshot: Some("filesystem".to_owned()),
        name: "copy".to_owned(),
        ..CloneVolume::default()
    };
    opened
        .volumes
        .clone_volume(&clone, &Unheld, &Unobserved)
        .unwrap();
    assert!(opened.paths.mountpoint("copy").join("big").exists());
    for name in ["plain", "copy"] {
        opened.volumes.dispose(name, false, Disposal::Now).unwrap();
    }
}

fn live(backend: &Backend, scratch: &Scratch) {
    (backend.prepare)(&scratch.root);
    let opened = scratch.open();
    let pool = (backend.pool)(&opened, scratch);
    let mut options: std::collections::BTreeMap<String, String> = backend
        .options
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    options.insert("size".to_owned(), LIMIT.to_string());
    if let Some(pool) = pool {
        options.insert("pool".to_owned(), pool.to_owned());
    }
    opened
        .volumes
        .create(CreateVolume {
            options,
            ..named("data")
        })
        .unwrap();
    let data = opened.paths.mountpoint("data");

    // It says what it is.
    let storage = opened.volumes.storage("data").unwrap();
    let abilities = storage.abilities.unwrap();
    assert_eq!(
        (abilities.bound, abilities.sharing),
        (Some(backend.bound), backend.sharing)
    );
    assert_eq!(storage.pool, pool.unwrap_or("default"));
    assert_eq!(storage.limits.bytes, Some(LIMIT));
    assert_eq!(std::fs::read_dir(&data).unwrap().count(), 0, "it is empty");
    assert!(abilities.live_grow);

    // The limit holds, and room that is given back can be used again.
    std::fs::write(data.join("precious"), "old").unwrap();
    roughly(fill(&data.join("full")), LIMIT);
    let storage = opened.volumes.storage("data").unwrap();
    assert!(storage.abilities.is_some(), "of a full volume, too");
    std::fs::remove_file(data.join("full")).unwrap();
    rustix::fs::syncfs(std::fs::File::open(&data).unwrap()).unwrap();
    let held = opened.volumes.storage("data").unwrap().held.unwrap();
    assert!(held.bytes < LIMIT, "{held:?}");

    if (backend.bound, backend.sharing) == (Bound::Image, Sharing::Copy) {
        made_before(&opened, scratch);
    }

    if backend.bound == Bound::Image && pool.is_none() && backend.options.is_empty() {
        converted(&opened, backend.sharing);
    }

    // Turned back, cloned: in either the limit holds.
    snapshot(&opened, "s");
    std::fs::write(data.join("precious"), "new").unwrap();
    let clone = CloneVolume {
        source: "data".to_owned(),
        snapshot: Some("s".to_owned()),
        name: "copy".to_owned(),
        ..CloneVolume::default()
    };
    opened
        .volumes
        .clone_volume(&clone, &Unheld, &Unobserved)
        .unwrap();
    let from = RestoreFrom::Snapshot("s".to_owned());
    opened
        .volumes
        .restore("data", &from, false, &Unobserved)
        .unwrap();
    for volume in ["data", "copy"] {
        let content = opened.paths.mountpoint(volume);
        assert_eq!(
            std::fs::read_to_string(content.join("precious")).unwrap(),
            "old"
        );
        roughly(fill(&content.join("full")), LIMIT);
        std::fs::remove_file(content.join("full")).unwrap();
    }
    let undone = opened
        .volumes
        .restore("data", &RestoreFrom::LastKept, false, &Unobserved);
    undone.unwrap();
    assert_eq!(
        std::fs::read_to_string(data.join("precious")).unwrap(),
        "new"
    );
    let changed = opened.volumes.diff_snapshots("data", "s", None).unwrap();
    assert_eq!(changed.len(), 1, "{changed:?}");

    // Grown; shrunk to what it holds, and never below.
    let resize = |bytes| {
        opened.volumes.resize(
            "data",
            ResizeVolume {
                bytes: Some(bytes),
                ..ResizeVolume::default()
            },
            &Unobserved,
        )
    };
    resize(2 * LIMIT).unwrap();
    let written = fill(&data.join("full"));
    assert!(written > LIMIT && written <= 2 * LIMIT, "{written}");
    let refused = resize(LIMIT).unwrap_err();
    assert!(
        matches!(
            &refused,
            VolumeError::Resize {
                reason: DriverError::TooFull { .. },
                ..
            }
        ),
        "{refused}"
    );
    std::fs::remove_file(data.join("full")).unwrap();
    rustix::fs::syncfs(std::fs::File::open(&data).unwrap()).unwrap();
    resize(LIMIT).unwrap();
    roughly(fill(&data.join("full")), LIMIT);
    std::fs::remove_file(data.join("full")).unwrap();
    assert_eq!(
        std::fs::read_to_string(data.join("precious")).unwrap(),
        "new"
    );

    soft_limit(&opened, &data);

    // Another name, the trash and back.
    opened.volumes.rename("data", "named", &|_| Ok(())).unwrap();
    opened.volumes.set_trash_policy(trash_for(3600)).unwrap();
    opened.volumes.remove("named", false).unwrap();
    if let Some(pool) = pool {
        let refused = opened.volumes.remove_pool(pool).unwrap_err();
        assert!(
            matches!(&refused, PoolError::InUse { volumes, .. }
            if *volumes == ["copy", "trash: named"]),
            "{refused}"
        );
    }
    opened.volumes.undelete("named", Some("data")).unwrap();
    assert_eq!(
        std::fs::read_to_string(data.join("precious")).unwrap(),
        "new"
    );
    opened.assert_sound(backend.name);
    let view = opened.view();

    // A reboot; then a lost database.
    drop(opened);
    scratch.unmount_all();
    let opened = scratch.open();
    assert_eq!(
        opened.view(),
        view,
        "after a reboot: {:?}",
        opened.sentences
    );
    opened.assert_sound(backend.name);
    drop(opened);
    for file in ["orlop.db", "orlop.db-wal", "orlop.db-shm"] {
        std::fs::remove_file(scratch.root.join("state").join(file)).ok();
    }
    let opened = scratch.open();
    assert_eq!(opened.view(), view, "after a loss: {:?}", opened.sentences);
    assert_eq!(
        opened.volumes.storage("data").unwrap().limits.bytes,
        Some(LIMIT)
    );
    roughly(fill(&data.join("full")), LIMIT);
    opened.assert_sound(backend.name);

    // Nothing is left of what is removed.
    for volume in ["data", "copy"] {
        opened
            .volumes
            .dispose(volume, false, Disposal::Now)
            .unwrap();
    }
    assert_eq!(std::fs::read_dir(opened.paths.data()).unwrap().count(), 0);
    if let Some(pool) = pool {
        let content = opened.volumes.pool(pool).unwrap().path;
        assert_eq!(std::fs::read_dir(content).unwrap().count(), 0);
        opened.volumes.remove_pool(pool).unwrap();
        assert_eq!(std::fs::read_dir(opened.paths.pools()).unwrap().count(), 0);
    }
    opened.assert_sound(backend.name);
}

/// It is told of once, and again only after it was over.
fn soft_limit(opened: &Opened, data: &Path) {
    let told = std::sync::Arc::new(std::sync::Mutex::new(0));
    let count = std::sync::Arc::clone(&told);
    opened.volumes.on_event(Box::new(move |event| {
        if matches!(event.action, VolumeAction::SoftLimit { .. }) {
            *count.lock().unwrap() += 1;
        }
    }));
    let soft = |bytes| ResizeVolume {
        soft_bytes: Some(bytes),
        ..ResizeVolume::default()
    };
    let above = opened
        .volumes
        .resize("data", soft(2 * LIMIT), &Unobserved)
        .unwrap_err();
    assert!(above.to_string().contains("never crossed"), "{above}");
    opened
        .volumes
        .resize("data", soft(LIMIT / 2), &Unobserved)
        .unwrap();
    let sync = || rustix::fs::syncfs(std::fs::File::open(data).unwrap()).unwrap();
    for wanted in [1, 2] {
        fill(&data.join("full"));
        sync();
        for _ in 0..2 {
            assert!(opened.volumes.watch_soft_limits().unwrap());
            assert_eq!(*told.lock().unwrap(), wanted);
        }
        std::fs::remove_file(data.join("full")).unwrap();
        // Room is given back when the filesystem gets to it.
        let calm = (0..500).any(|_| {
            sync();
            opened.volumes.watch_soft_limits().unwrap();
            !opened.volumes.storage("data").unwrap().soft_crossed
        });
        assert!(calm);
    }
    soft_limit_alone(opened, &told);
    opened.volumes.resize("data", soft(0), &Unobserved).unwrap();
}

/// What nothing counts is measured.
fn soft_limit_alone(opened: &Opened, told: &std::sync::Mutex<i32>) {
    let create = CreateVolume {
        options: [("soft-size".to_owned(), "4m".to_owned())].into(),
        ..named("soft")
    };
    opened.volumes.create(create).unwrap();
    let file = opened.paths.mountpoint("soft").join("file");
    let before = *told.lock().unwrap();
    let crossed = |wanted: bool| {
        rustix::fs::syncfs(open_dir(file.parent().unwrap())).unwrap();
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            assert!(opened.volumes.watch_soft_limits().unwrap());
            if opened.volumes.storage("soft").unwrap().soft_crossed == wanted {
                break;
            }
            assert!(Instant::now() < until, "crossed: {wanted}");
        }
    };
    crossed(false);
    for wanted in [1, 2] {
        std::fs::write(&file, vec![1; 6 << 20]).unwrap();
        crossed(true);
        assert_eq!(*told.lock().unwrap() - before, wanted);
        std::fs::remove_file(&file).unwrap();
        crossed(false);
    }
    opened
        .volumes
        .dispose("soft", false, Disposal::Now)
        .unwrap();
}

/// A btrfs counts for a limit what was there before it: what was written before quotas were, and what others wrote.
fn limited_later(backend: &Backend, scratch: &Scratch) {
    const WRITTEN: u64 = 12 * MIB;
    let bytes = b"0123456789abcdef".repeat(12 << 16);
    (backend.prepare)(&scratch.root);
    let opened = scratch.open();
    let pool = (backend.pool)(&opened, scratch);
    let create = |name: &str| {
        let options = pool.map(|pool| ("pool".to_owned(), pool.to_owned()));
        let request = CreateVolume {
            options: options.into_iter().collect(),
            ..named(name)
        };
        opened.volumes.create(request).unwrap();
        let content = opened.paths.mountpoint(name);
        std::fs::write(content.join("big"), &bytes).unwrap();
        std::fs::write(content.join("precious"), "old").unwrap();
        // Shared by two files it counts once.
        let big = std::fs::File::open(content.join("big")).unwrap();
        let same = std::fs::File::create(content.join("same")).unwrap();
        rustix::fs::ioctl_ficlone(&same, &big).unwrap();
        content
    };
    let resize = |name: &str, bytes, mounted| {
        let change = ResizeVolume {
            bytes: Some(bytes),
            mounted,
            ..ResizeVolume::default()
        };
        opened.volumes.resize(name, change, &Unobserved)
    };
    let refused = |name: &str, bytes| {
        let error = resize(name, bytes, false).unwrap_err();
        let used = match &error {
            VolumeError::Resize {
                reason: DriverError::TooFull { used, .. },
                ..
            } => *used,
            _ => panic!("{error}"),
        };
        assert!((WRITTEN..WRITTEN + MIB).contains(&used), "{name}: {used}");
        let limits = opened.volumes.storage(name).unwrap().limits;
        assert!(limits.is_none(), "{name}");
    };
    let holds = |content: &Path, limit: u64| {
        let precious = std::fs::read_to_string(content.join("precious"));
        assert_eq!(precious.unwrap(), "old");
        for name in ["big", "same"] {
            assert!(
                std::fs::read(content.join(name)).unwrap() == bytes,
                "{name}"
            );
        }
        let more = fill(&content.join("full"));
        assert!(
            more <= limit - WRITTEN && more > 0,
            "{more} more than {WRITTEN} of {limit}"
        );
        std::fs::remove_file(content.join("full")).unwrap();
    };
    let live = |name: &str| {
        let error = resize(name, 2 * LIMIT, true).unwrap_err();
        let live = matches!(
            &error,
            VolumeError::Resize {
                reason: DriverError::Live { .. },
                ..
            }
        );
        assert!(live, "{name}: {error}");
    };
    let simple = backend.bound == Bound::SimpleQuota;

    // Written before the filesystem counted anything, unless it did from its beginning.
    let data = create("data");
    snapshot(&opened, "s");
    refused("data", 8 * MIB);
    if simple && pool.is_none() {
        live("data");
    }
    // Not when nobody waits for it any more, and what it may hold is what it was.
    if simple && pool.is_none() {
        for at_once in [true, false] {
            let leaves = Leaves {
                at_once,
                compares: AtomicBool::new(false),
            };
            let change = ResizeVolume {
                bytes: Some(2 * LIMIT),
                ..ResizeVolume::default()
            };
            let stopped = opened.volumes.resize("data", change, &leaves).unwrap_err();
            assert_eq!(stopped.kind(), store::ErrorKind::Cancelled, "{stopped}");
        }
    }
    resize("data", 2 * LIMIT, false).unwrap();
    holds(&data, 2 * LIMIT);
    // Grown and shrunk as any other from here on, in use, too.
    resize("data", 3 * LIMIT, true).unwrap();
    resize("data", 0, true).unwrap();
    resize("data", 3 * LIMIT, true).unwrap();

    // What comes back from before the limit counts.
    let from = RestoreFrom::Snapshot("s".to_owned());
    opened
        .volumes
        .restore("data", &from, false, &Unobserved)
        .unwrap();
    let held = opened.volumes.storage("data").unwrap().held.unwrap();
    // What came back was copied, and what it was kept for counts as well.
    let copied = simple && pool.is_none();
    let least = if copied { 2 * WRITTEN } else { WRITTEN };
    assert!(held.bytes >= least, "{held:?}");

    // Written since it counts: no copy is made.
    let since = create("since");
    refused("since", 8 * MIB);
    resize("since", LIMIT, true).unwrap();
    holds(&since, LIMIT);

    // Shared with another volume.
    create("source");
    let clone = CloneVolume {
        source: "source".to_owned(),
        name: "clone".to_owned(),
        ..CloneVolume::default()
    };
    opened
        .volumes
        .clone_volume(&clone, &Unheld, &Unobserved)
        .unwrap();
    refused("clone", 8 * MIB);
    if simple {
        live("clone");
    }
    // Its files share nothing any more, not with each other either.
    resize("clone", 2 * LIMIT, false).unwrap();
    holds(&opened.paths.mountpoint("clone"), 2 * LIMIT);

    // Turned back before it was limited: a snapshot has what the volume wrote.
    let turned = create("turned");
    let request = CreateSnapshots {
        volumes: vec!["turned".to_owned()],
        name: Some("s".to_owned()),
        ..CreateSnapshots::default()
    };
    opened
        .volumes
        .create_snapshots(&request, &Unheld, &Unobserved)
        .unwrap();
    opened
        .volumes
        .restore("turned", &from, false, &Unobserved)
        .unwrap();
    refused("turned", 8 * MIB);
    resize("turned", LIMIT, true).unwrap();
    holds(&turned, LIMIT);

    // Full to the last block it is turned back all the same.
    fill(&turned.join("full"));
    let full = (0..).take_while(|number| {
        let path = turned.join(format!("full-{number}"));
        *number < 10_000 && std::fs::write(path, "x".repeat(4096)).is_ok()
    });
    assert!(full.count() < 10_000);
    opened
        .volumes
        .restore("turned", &from, false, &Unobserved)
        .unwrap();
    assert!(!turned.join("full").exists());
    opened
        .volumes
        .dispose("turned", false, Disposal::Now)
        .unwrap();

    opened.assert_sound(backend.name);
    let view = opened.view();
    drop(opened);
    scratch.unmount_all();
    let opened = scratch.open();
    assert_eq!(opened.view(), view, "{:?}", opened.sentences);
    for name in ["data", "since", "source", "clone"] {
        opened.volumes.dispose(name, false, Disposal::Now).unwrap();
    }
    opened.assert_sound(backend.name);
}

/// What a limited tree of project quotas meets that nothing else does.
fn projects(scratch: &Scratch) {
    let opened = scratch.open();
    let data = opened.paths.mountpoint("data");
    opened.volumes.create(named("data")).unwrap();
    let project = |directory: &Path| {
        let directory = std::fs::File::open(directory).unwrap();
        sys::project_quota::of(directory.as_fd()).unwrap()
    };
    let used = |number: u32| {
        let root = std::fs::File::open(&scratch.root).unwrap();
        sys::project_quota::used(root.as_fd(), number).unwrap()
    };
    // Without a limit it is nobody's.
    assert_eq!(project(&data), None);
    std::fs::create_dir_all(data.join("deep/er")).unwrap();
    std::fs::write(data.join("deep/er/file"), vec![1; 2 << 20]).unwrap();
    let resize = |bytes, inodes| {
        let change = ResizeVolume {
            bytes: Some(bytes),
            inodes: Some(inodes),
            ..ResizeVolume::default()
        };
        opened.volumes.resize("data", change, &Unobserved)
    };
    // A limit that comes later counts what is there, and is refused when that is more.
    let refused = resize(MIB, 0).unwrap_err();
    assert!(refused.to_string().contains("resize"), "{refused}");
    assert_eq!(opened.volumes.storage("data").unwrap().limits.bytes, None);
    resize(8 * MIB, 0).unwrap();
    let first = project(&data).unwrap();
    assert!(used(first).bytes >= 2 << 20, "{:?}", used(first));
    assert!(fill(&data.join("deep/full")) <= 6 * MIB);
    std::fs::remove_file(data.join("deep/full")).unwrap();

    // Of files, too.
    resize(8 * MIB, 40).unwrap();
    {
        let _bounded = bounded();
        let made =
            (0..60).take_while(|number| std::fs::write(data.join(number.to_string()), "").is_ok());
        let made = made.count();
        assert!((20..40).contains(&made), "{made}");
        for number in 0..made {
            std::fs::remove_file(data.join(number.to_string())).unwrap();
        }
    }

    // What comes from elsewhere is bound as well, and says so.
    let seed = scratch.source(&[("seed", &"x".repeat(12 << 20))]);
    std::fs::create_dir(data.join("empty")).unwrap();
    let seed = open_dir(&seed);
    let refused = opened
        .volumes
        .populate("data", Some("empty"), seed.as_fd(), None)
        .unwrap_err();
    assert!(matches!(refused, VolumeError::Merge { .. }), "{refused}");
    assert!(used(first).bytes <= 8 * MIB, "{:?}", used(first));

    // No tree has the number of another one, and none is given to two.
    snapshot(&opened, "s");
    let clone = CloneVolume {
        source: "data".to_owned(),
        name: "copy".to_owned(),
        ..CloneVolume::default()
    };
    opened
        .volumes
        .clone_volume(&clone, &Unheld, &Unobserved)
        .unwrap();
    let second = project(&opened.paths.mountpoint("copy")).unwrap();
    assert_ne!(first, second);
    let from = RestoreFrom::Snapshot("s".to_owned());
    opened
        .volumes
        .restore("data", &from, false, &Unobserved)
        .unwrap();
    let third = project(&data).unwrap();
    assert!(![first, second].contains(&third));
    assert_eq!(used(third).max_bytes, 8 * MIB);

    // A limit that the filesystem has forgotten is set again.
    sys::project_quota::assign(open_dir(&data).as_fd(), 0).unwrap();
    assert_eq!(project(&data), None);
    drop(opened);
    let opened = scratch.open();
    let again = project(&opened.paths.mountpoint("data")).unwrap();
    assert_eq!(used(again).max_bytes, 8 * MIB, "{:?}", opened.sentences);
    assert_ne!(again, third);

    // A number is free for others when the bytes of its tree are gone, and not before.
    let given_up = project(&opened.paths.mountpoint("copy")).unwrap();
    let open = std::fs::File::open(opened.paths.mountpoint("copy").join("deep/er/file")).unwrap();
    for name in ["data", "copy"] {
        opened.volumes.dispose(name, false, Disposal::Now).unwrap();
    }
    assert!(used(given_up).inodes > 0, "a file is still open");
    assert_eq!(used(given_up).max_bytes, 0);
    drop(open);
    let gone = || [first, again, given_up].map(used);
    let until = Instant::now() + Duration::from_secs(20);
    while gone() != [Use::default(); 3] {
        assert!(Instant::now() < until, "{:?}", gone());
        rustix::fs::syncfs(open_dir(&scratch.root)).unwrap();
    }
}

fn main() {
    let mut arguments = Arguments::from_args();
    // Each fills a filesystem and syncs it.
    arguments.test_threads.get_or_insert(2);
    let is_root = rustix::process::geteuid().is_root();
    let can = |backend: &'static Backend| {
        is_root && !arguments.list && (!backend.name.contains("project") || can_mount(backend))
    };
    let mut trials = Vec::new();
    for backend in BACKENDS {
        let ignored = !can(backend);
        trials.push(
            Trial::test(backend.name, move || {
                let test = move |scratch: &Scratch| live(backend, scratch);
                on_filesystem(
                    backend.filesystem,
                    backend.make,
                    backend.mounted,
                    700 * MIB,
                    test,
                )?;
                Ok(())
            })
            .with_ignored_flag(ignored),
        );
        if matches!(backend.bound, Bound::SimpleQuota | Bound::QuotaGroup) {
            let name = format!("{}, limited later", backend.name);
            trials.push(
                Trial::test(name, move || {
                    let (kind, make) = (backend.filesystem, backend.make);
                    let test = |scratch: &Scratch| limited_later(backend, scratch);
                    on_filesystem(kind, make, backend.mounted, 700 * MIB, test)?;
                    Ok(())
                })
                .with_ignored_flag(ignored),
            );
        }
        if backend.bound == Bound::ProjectQuota {
            let name = format!("{}, their numbers", backend.name);
            trials.push(
                Trial::test(name, move || {
                    let (kind, make) = (backend.filesystem, backend.make);
                    on_filesystem(kind, make, backend.mounted, 700 * MIB, projects)?;
                    Ok(())
                })
                .with_ignored_flag(ignored),
            );
        }
    }
    for (name, kind, make, pool) in FULL {
        trials.push(
            Trial::test(*name, move || {
                on_filesystem(kind, make, None, 400 * MIB, |scratch| full(scratch, *pool))?;
                Ok(())
            })
            .with_ignored_flag(!is_root),
        );
    }
    trials.push(
        Trial::test("a limit that nothing can keep", || {
            too_small();
            Ok(())
        })
        .with_ignored_flag(!is_root),
    );
    // Those that this host has nothing for stay ignored.
    arguments.ignored = false;
    arguments.include_ignored = false;
    libtest_mimic::run(&arguments, trials).exit();
}

fn can_mount(backend: &'static Backend) -> bool {
    let (kind, make) = (backend.filesystem, backend.make);
    on_filesystem(kind, make, backend.mounted, 700 * MIB, |_| {}).is_ok()
}

/// Takes all the room that a directory's filesystem has, without writing it.
fn take_all(directory: &Path) {
    let file = std::fs::File::create(directory.join("all")).unwrap();
    let (mut at, mut step) = (0, 64 * MIB);
    while step >= MIB / 4 {
        match rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), at, step) {
            Ok(()) => at += step,
            Err(_) => step /= 2,
        }
    }
    rustix::fs::syncfs(&file).unwrap();
}

/// A full filesystem gets room from what was removed on it, the oldest first, and from nothing else.
fn full(scratch: &Scratch, pool: Option<&'static str>) {
    const SIZE: u64 = 24 * MIB;
    let opened = scratch.open();
    let volumes = &opened.volumes;
    volumes.set_trash_policy(trash_for(3600)).unwrap();
    if let Some(name) = pool {
        let request = CreatePool {
            name: name.to_owned(),
            kind: "btrfs".to_owned(),
            size: Some(256 * MIB),
            ..CreatePool::default()
        };
        volumes.create_pool(request).unwrap();
    }
    let create = |name: &str, pool: Option<&str>| {
        let options = pool.map(|pool| ("pool".to_owned(), pool.to_owned()));
        let request = CreateVolume {
            options: options.into_iter().collect(),
            ..named(name)
        };
        volumes.create(request).unwrap();
        opened.paths.mountpoint(name)
    };
    // What was removed first lies elsewhere, where there is room.
    if pool.is_some() {
        std::fs::write(create("elsewhere", None).join("file"), "kept").unwrap();
        volumes.remove("elsewhere", false).unwrap();
    }
    for name in ["first", "second", "third"] {
        std::fs::write(create(name, pool).join("file"), vec![1; 24 << 20]).unwrap();
        volumes.remove(name, false).unwrap();
    }
    let live = create("live", pool);
    take_all(&live);
    let told = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let tell = std::sync::Arc::clone(&told);
    volumes.on_event(Box::new(move |event| {
        if let VolumeAction::Purge { bytes, why } = event.action {
            tell.lock().unwrap().push((event.name, bytes >= SIZE, why));
        }
    }));
    let left = || -> Vec<String> {
        let trash = volumes.trash().unwrap();
        trash.into_iter().map(|volume| volume.name).collect()
    };
    let before = left();
    // Who removed something a moment ago may think better of it.
    assert!(volumes.tidy_trash().unwrap().is_some());
    assert_eq!(left(), before);
    let minutes_ago = |minutes| {
        let age = jiff::SignedDuration::from_mins(minutes);
        let aged = opened.store.write(|tx| {
            for mut row in tx.trash()? {
                tx.delete_trashed(&row.volume.id)?;
                tx.insert_volume(&row.volume)?;
                let at: jiff::Timestamp = row.trashed_at.parse().unwrap();
                row.trashed_at = at.checked_sub(age).unwrap().to_string();
                tx.trash_volume(&row)?;
            }
            Ok::<_, store::StoreError>(())
        });
        aged.unwrap();
    };
    minutes_ago(2);
    let again = volumes.tidy_trash().unwrap().unwrap();
    let soon = jiff::Timestamp::now().duration_until(again);
    assert!(soon <= jiff::SignedDuration::from_secs(1), "{soon:?}");
    assert_eq!(
        *told.lock().unwrap(),
        [("first".to_owned(), true, "full")],
        "of {before:?}"
    );
    let after: Vec<String> = before.into_iter().filter(|name| name != "first").collect();
    assert_eq!(left(), after);
    // Others stay until it is known what that has brought.
    volumes.tidy_trash().unwrap();
    assert_eq!(left(), after);
    let until = Instant::now() + Duration::from_secs(60);
    while std::fs::write(live.join("more"), vec![2; 8 << 20]).is_err() {
        assert!(Instant::now() < until, "there is no room");
        rustix::fs::syncfs(open_dir(&live)).unwrap();
    }
    volumes.undelete("third", None).unwrap();
    let third = opened.paths.mountpoint("third").join("file");
    assert_eq!(third.metadata().unwrap().len(), SIZE);
    opened.assert_sound("a full filesystem");
}

/// What no backend can keep is refused before anything is made.
fn too_small() {
    let scratch = Scratch::new();
    let opened = scratch.open();
    let options = [("size".to_owned(), "1m".to_owned())].into();
    let refused = opened
        .volumes
        .create(CreateVolume {
            options,
            ..named("tiny")
        })
        .unwrap_err();
    assert!(refused.to_string().contains("at least"), "{refused}");
    opened.assert_sound("after a refusal");
    assert!(opened.volumes.list().unwrap().is_empty());
}
