//! Snapshots on the filesystems that users have: btrfs, XFS and ext4, each in a file of its own.

use std::cell::Cell;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::mount::{MountFlags, UnmountFlags, unmount};
use sys::fault::{Action, at_step};
use volumes::driver::Sharing;
use volumes::snapshot::{Policy, Unheld};
use volumes::{
    CloneVolume, CreateSnapshots, Observer, Quiet, RestoreFrom, SnapshotError, Unobserved,
};

use crate::scratch::{
    Opened, Scratch, named, on_filesystem, open_dir, trash_for, tree, write_files,
};

const KINDS: [(&str, Sharing, &[&str]); 3] = [
    ("btrfs", Sharing::Instant, &["mkfs.btrfs", "-q"]),
    ("xfs", Sharing::Shared, &["mkfs.xfs", "-q"]),
    ("ext4", Sharing::Copy, &["mkfs.ext4", "-q"]),
];

/// Runs `test` on each kind of filesystem, in a mount namespace of its own.
fn everywhere(test: fn(&Scratch, Sharing)) {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: mounts need root");
        return;
    }
    for (kind, sharing, make) in KINDS {
        on_filesystem(kind, make, None, 400 << 20, move |scratch| {
            test(scratch, sharing);
        })
        .unwrap();
    }
}

fn request(volumes: &[&str], name: &str) -> CreateSnapshots {
    CreateSnapshots {
        volumes: volumes.iter().map(|&name| name.to_owned()).collect(),
        name: Some(name.to_owned()),
        reason: "manual".to_owned(),
        consistency: "none".to_owned(),
        ..CreateSnapshots::default()
    }
}

fn take(opened: &Opened, volume: &str, name: &str) {
    opened
        .volumes
        .create_snapshots(&request(&[volume], name), &Unheld, &Unobserved)
        .unwrap();
}

fn changes(opened: &Opened, from: &str, to: Option<&str>) -> Vec<String> {
    opened
        .volumes
        .diff_snapshots("data", from, to)
        .unwrap()
        .iter()
        .map(|change| format!("{} {}", change.kind.as_str(), change.path.display()))
        .collect()
}

fn content(opened: &Opened, volume: &str) -> std::path::PathBuf {
    opened.paths.mountpoint(volume)
}

#[test]
fn there_and_back_again() {
    everywhere(|scratch, sharing| {
        let opened = scratch.open();
        opened.volumes.create(named("data")).unwrap();
        let data = content(&opened, "data");
        assert_eq!(
            std::fs::metadata(&data).unwrap().mode() & 0o7777,
            0o755,
            "as on every filesystem"
        );
        write_files(
            &data,
            &[
                ("a", "1"),
                ("dir/b", "2"),
                ("dir/deep/c", "3"),
                ("same", "s"),
            ],
        );
        std::fs::hard_link(data.join("a"), data.join("linked")).unwrap();
        std::os::unix::fs::symlink("a", data.join("symbolic")).unwrap();
        std::os::unix::fs::chown(data.join("dir"), Some(7), Some(8)).unwrap();
        let before = tree(&data);
        let cost = opened.volumes.copy_cost("data", None).unwrap();
        assert_eq!(cost.sharing, sharing);
        assert_eq!(cost.bytes.is_some(), sharing == Sharing::Copy);

        take(&opened, "data", "one");
        let one = opened.volumes.snapshot("data", "one").unwrap();
        assert_eq!(tree(&one.path), before);
        assert_eq!(std::fs::metadata(one.path.join("dir")).unwrap().uid(), 7);
        assert_eq!(std::fs::metadata(one.path.join("a")).unwrap().nlink(), 2);
        assert!(changes(&opened, "one", None).is_empty());
        if sharing == Sharing::Instant {
            std::fs::write(one.path.join("x"), "").expect_err("read-only");
        }

        write_files(&data, &[("a", "longer"), ("new/x", "n"), ("same", "t")]);
        std::fs::remove_dir_all(data.join("dir/deep")).unwrap();
        let after = tree(&data);
        let wanted = [
            "M /a",
            "M /linked",
            "A /new",
            "M /same",
            "D /dir/deep",
            "D /dir/deep/c",
            "A /new/x",
        ];
        assert_eq!(changes(&opened, "one", None), wanted);
        take(&opened, "data", "two");
        assert_eq!(changes(&opened, "one", Some("two")), wanted);
        let error = opened
            .volumes
            .create_snapshots(&request(&["data"], "two"), &Unheld, &Unobserved)
            .expect_err("taken");
        assert!(matches!(error, SnapshotError::Taken { .. }), "{error}");

        let from = RestoreFrom::Snapshot("one".to_owned());
        let restored = opened
            .volumes
            .restore("data", &from, false, &Unobserved)
            .unwrap();
        assert_eq!(tree(&data), before);
        let kept = opened
            .volumes
            .snapshot("data", &restored.kept.unwrap())
            .unwrap();
        assert_eq!(tree(&kept.path), after);
        write_files(&data, &[("since", "x")]);
        opened
            .volumes
            .restore("data", &RestoreFrom::LastKept, false, &Unobserved)
            .unwrap();
        assert_eq!(tree(&data), after);
        opened
            .volumes
            .restore("data", &RestoreFrom::LastKept, false, &Unobserved)
            .unwrap();
        assert!(data.join("since").exists(), "undone and done again");

        let clone = CloneVolume {
            source: "data".to_owned(),
            snapshot: Some("one".to_owned()),
            name: "copy".to_owned(),
            labels: [("k".to_owned(), "v".to_owned())].into(),
            ..CloneVolume::default()
        };
        let volume = opened
            .volumes
            .clone_volume(&clone, &Unheld, &Unobserved)
            .unwrap();
        assert_eq!(volume.labels.unwrap()["k"], "v");
        let copy = content(&opened, "copy");
        assert_eq!(tree(&copy), before);
        write_files(&copy, &[("a", "changed in the clone")]);
        assert_eq!(tree(&one.path), before);
        opened
            .volumes
            .clone_volume(&clone, &Unheld, &Unobserved)
            .expect_err("the name is taken");
        opened.assert_sound("at the end");

        for snapshot in opened.volumes.snapshots(Some("data")).unwrap() {
            opened
                .volumes
                .remove_snapshot("data", &snapshot.name)
                .unwrap();
        }
        opened.assert_sound("without snapshots");
        assert!(data.join("since").exists());
    });
}

#[test]
fn a_volume_takes_its_snapshots_into_the_trash_and_out_of_it() {
    everywhere(|scratch, _| {
        let opened = scratch.open();
        opened.volumes.set_trash_policy(trash_for(3600)).unwrap();
        opened.volumes.create(named("data")).unwrap();
        write_files(&content(&opened, "data"), &[("d/a", "1"), ("b", "2")]);
        for name in ["one", "two"] {
            take(&opened, "data", name);
        }
        let policy = Policy {
            daily: 1,
            ..Policy::default()
        };
        opened.volumes.set_schedule("data", &policy).unwrap();
        let listed = |opened: &Opened| opened.volumes.snapshots(None).unwrap().len();
        opened.volumes.remove("data", false).unwrap();
        assert_eq!(listed(&opened), 0);
        assert!(opened.volumes.schedules().unwrap().is_empty());
        drop(opened);
        let opened = scratch.open();
        opened.volumes.undelete("data", None).unwrap();
        assert_eq!(listed(&opened), 2);
        assert_eq!(opened.volumes.schedules().unwrap().len(), 1);
        let from = RestoreFrom::Snapshot("one".to_owned());
        opened
            .volumes
            .restore("data", &from, false, &Unobserved)
            .unwrap();

        let id = opened.volumes.get("data").unwrap().id.unwrap();
        opened.volumes.remove("data", false).unwrap();
        opened.volumes.empty_trash(None).unwrap();
        assert!(!opened.paths.volume(&id).exists());
        let rows = opened.store.read(|tx| tx.snapshots_in_any_state()).unwrap();
        assert!(rows.is_empty(), "{rows:?}");
        assert!(opened.store.read(|tx| tx.schedules()).unwrap().is_empty());
        opened.assert_sound("at the end");
    });
}

#[test]
fn subvolumes_and_mounts_in_a_tree() {
    everywhere(|scratch, sharing| {
        if sharing != Sharing::Instant {
            return;
        }
        let tree = scratch.root.join("tree");
        std::fs::create_dir_all(tree.join("plain")).unwrap();
        let make = |parent: &Path, name: &str| {
            sys::btrfs::create_subvolume(open_dir(parent).as_fd(), name.as_ref()).unwrap();
            parent.join(name)
        };
        let outer = make(&tree, "outer");
        let inner = make(&outer, "inner");
        write_files(&inner, &[("file", "x")]);
        sys::btrfs::set_read_only(open_dir(&inner).as_fd(), true).unwrap();
        sys::btrfs::set_read_only(open_dir(&outer).as_fd(), true).unwrap();
        let mounted = make(&tree, "mounted");
        std::fs::create_dir(mounted.join("point")).unwrap();
        rustix::mount::mount(
            "none",
            mounted.join("point"),
            "tmpfs",
            MountFlags::empty(),
            None,
        )
        .unwrap();
        write_files(&mounted.join("point"), &[("precious", "x")]);
        let error = sys::dir::remove_tree(&mounted).expect_err("something is mounted in it");
        assert_eq!(error.kind(), std::io::ErrorKind::ResourceBusy);
        assert!(mounted.join("point/precious").exists());
        unmount(mounted.join("point"), UnmountFlags::empty()).unwrap();
        sys::dir::remove_tree(&tree).unwrap();
        assert!(!tree.exists());
    });
}

#[test]
fn an_error_at_each_point_of_a_restore_leaves_one_or_the_other() {
    everywhere(|scratch, _| {
        let points = volumes::recover::points();
        for (number, point) in points
            .iter()
            .filter(|point| point.starts_with("volume-restore:"))
            .enumerate()
        {
            let name = format!("data{number}");
            let opened = scratch.open();
            opened.volumes.create(named(&name)).unwrap();
            let data = content(&opened, &name);
            write_files(&data, &[("file", "old")]);
            let old = tree(&data);
            take(&opened, &name, "s");
            write_files(&data, &[("file", "later")]);
            let later = tree(&data);
            let armed = at_step(point, Action::Fail(5));
            let from = RestoreFrom::Snapshot("s".to_owned());
            let outcome = opened.volumes.restore(&name, &from, false, &Unobserved);
            drop(armed);
            drop(opened);
            let opened = scratch.open();
            opened.assert_sound(point);
            let snapshots = opened.volumes.snapshots(Some(&name)).unwrap();
            if tree(&data) == old {
                assert_eq!(snapshots.len(), 2, "{point}: what was there is kept");
                assert_eq!(tree(&snapshots[1].path), later, "{point}");
            } else {
                assert!(outcome.is_err(), "{point}");
                assert_eq!((tree(&data), snapshots.len()), (later, 1), "{point}");
            }
        }
    });
}

#[test]
fn first_contents_keep_their_links() {
    everywhere(|scratch, _| {
        let opened = scratch.open();
        opened.volumes.create(named("data")).unwrap();
        let source = scratch.source(&[("bin/one", "program"), ("other", "x")]);
        std::fs::hard_link(source.join("bin/one"), source.join("two")).unwrap();
        opened
            .volumes
            .populate("data", None, open_dir(&source).as_fd(), None)
            .unwrap();
        let data = content(&opened, "data");
        assert_eq!(tree(&data), tree(&source));
        assert_eq!(std::fs::metadata(data.join("two")).unwrap().nlink(), 2);
        opened.assert_sound("filled");
    });
}

#[test]
fn a_group_is_taken_while_writers_are_held() {
    struct Watch {
        held: Cell<u32>,
        released: Cell<u32>,
        refuse: bool,
        /// Somebody wrote all the same.
        wrote: bool,
    }
    impl Quiet for Watch {
        fn hold(&self) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
            self.held.set(self.held.get() + 1);
            if self.refuse {
                return Err("no".into());
            }
            Ok(())
        }

        fn stood_still(&self) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
            assert_eq!((self.held.get(), self.released.get()), (1, 0));
            if self.wrote {
                return Err("written".into());
            }
            Ok(())
        }

        fn is_felt(&self) -> bool {
            true
        }

        fn release(&self) {
            self.released.set(self.released.get() + 1);
        }
    }
    let scratch = Scratch::new();
    let opened = scratch.open();
    for name in ["first", "second"] {
        opened.volumes.create(named(name)).unwrap();
    }
    for (refuse, wrote) in [(true, false), (false, true), (false, false)] {
        let watch = Watch {
            held: Cell::new(0),
            released: Cell::new(0),
            refuse,
            wrote,
        };
        let refuse = refuse || wrote;
        let outcome = opened.volumes.create_snapshots(
            &request(&["second", "first"], "s"),
            &watch,
            &Unobserved,
        );
        assert_eq!(outcome.is_err(), refuse);
        assert_eq!((watch.held.get(), watch.released.get()), (1, 1));
        let made = opened.volumes.snapshots(None).unwrap();
        assert_eq!(made.len(), if refuse { 0 } else { 2 });
        assert!(refuse || made[0].group.is_some() && made[0].group == made[1].group);
        opened.assert_sound("after a group");
    }
}

#[test]
fn what_is_stopped_was_never_there() {
    /// Stops once it has heard so often how far a copy is.
    struct Impatient {
        patience: u32,
        heard: AtomicU32,
        settled: AtomicU32,
    }
    impl Observer for Impatient {
        fn copied(&self, volume: &str, bytes: u64) {
            assert!(["data", "copy"].contains(&volume) && bytes > 0);
            self.heard.fetch_add(1, Ordering::Relaxed);
        }

        fn settles(&self, _volume: &str, _bytes: u64) {
            self.settled.fetch_add(1, Ordering::Relaxed);
        }

        fn is_stopped(&self) -> bool {
            self.heard.load(Ordering::Relaxed) >= self.patience
        }
    }
    everywhere(|scratch, sharing| {
        let opened = scratch.open();
        opened.volumes.create(named("data")).unwrap();
        let data = content(&opened, "data");
        let large = vec![1; 24 << 20];
        std::fs::write(data.join("large"), &large).unwrap();
        write_files(&data, &[("dir/small", "s")]);
        take(&opened, "data", "kept");
        let before = tree(&data);
        // Data that is shared, and all that comes at one instant, tells of nothing before its end.
        let patience = if sharing == Sharing::Copy { 1 } else { 0 };
        let observer = || Impatient {
            patience,
            heard: AtomicU32::new(0),
            settled: AtomicU32::new(0),
        };
        let stopped = |what: &str, error: SnapshotError, observer: &Impatient| {
            assert_eq!(error.kind(), store::ErrorKind::Cancelled, "{what}: {error}");
            if sharing == Sharing::Copy {
                let settled = observer.settled.load(Ordering::Relaxed);
                assert_eq!(settled, 0, "{what} was stopped while it was copied");
            }
            assert_eq!(tree(&data), before, "{what}");
            assert_eq!(opened.volumes.snapshots(None).unwrap().len(), 1, "{what}");
            opened.assert_sound(what);
        };
        let eyes = observer();
        let request = request(&["data"], "s");
        let error = opened
            .volumes
            .create_snapshots(&request, &Unheld, &eyes)
            .expect_err("stopped");
        stopped("a snapshot", error, &eyes);
        let eyes = observer();
        let clone = CloneVolume {
            source: "data".to_owned(),
            snapshot: Some("kept".to_owned()),
            name: "copy".to_owned(),
            ..CloneVolume::default()
        };
        let error = opened
            .volumes
            .clone_volume(&clone, &Unheld, &eyes)
            .expect_err("stopped");
        stopped("a clone", error, &eyes);
        let eyes = observer();
        let from = RestoreFrom::Snapshot("kept".to_owned());
        let error = opened
            .volumes
            .restore("data", &from, false, &eyes)
            .expect_err("stopped");
        stopped("a restore", error, &eyes);

        // The next ones come to their end.
        take(&opened, "data", "s");
        opened
            .volumes
            .clone_volume(&clone, &Unheld, &Unobserved)
            .unwrap();
        assert_eq!(tree(&content(&opened, "copy")), before);
        opened.assert_sound("at the end");
    });
}

#[test]
fn leases_keep_snapshot_and_volume() {
    let scratch = Scratch::new();
    let opened = scratch.open();
    opened.volumes.create(named("data")).unwrap();
    take(&opened, "data", "s");
    opened
        .volumes
        .lease_snapshot("data", "s", "holder", "/old")
        .unwrap();
    let error = opened
        .volumes
        .remove_snapshot("data", "s")
        .expect_err("leased");
    assert!(matches!(error, SnapshotError::InUse { .. }), "{error}");
    opened.volumes.remove("data", false).expect_err("leased");
    opened.volumes.release("holder").unwrap();
    opened.volumes.release_snapshots("holder").unwrap();
    opened.volumes.remove_snapshot("data", "s").unwrap();
    let error = opened
        .volumes
        .restore("data", &RestoreFrom::LastKept, false, &Unobserved)
        .expect_err("never restored");
    assert!(matches!(error, SnapshotError::NothingToUndo(_)), "{error}");
}

/// Changes a volume at the last moment before nobody may: after all that is copied ahead.
struct LastMoment<'a> {
    data: &'a Path,
    change: fn(&Path),
    /// The number of a file that was copied ahead.
    ahead: Cell<Option<u64>>,
}

impl Quiet for LastMoment<'_> {
    fn hold(&self) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let snapshots = self.data.with_file_name("snapshots");
        let kept = std::fs::read_dir(snapshots)
            .ok()
            .and_then(|mut kept| kept.next());
        let kept = kept.map(|kept| kept.unwrap().path().join("a/b/c/d"));
        let found = kept.and_then(|kept| kept.metadata().ok());
        self.ahead.set(found.map(|found| found.ino()));
        (self.change)(self.data);
        Ok(())
    }

    fn is_felt(&self) -> bool {
        true
    }

    fn release(&self) {}
}

/// Contents, and what else a copy has to have.
fn faithful(root: &Path) -> Vec<String> {
    let mut found: Vec<String> = tree(root)
        .into_iter()
        .map(|(name, content)| {
            let meta = root
                .join(name.trim_end_matches('/'))
                .symlink_metadata()
                .unwrap();
            let time = (meta.mtime(), meta.mtime_nsec());
            let links = if meta.is_dir() { 0 } else { meta.nlink() };
            format!("{name} {content:?} {:o} {time:?} {links}", meta.mode())
        })
        .collect();
    let meta = root.metadata().unwrap();
    found.push(format!(
        "{:o} {:?}",
        meta.mode(),
        (meta.mtime(), meta.mtime_nsec())
    ));
    found
}

#[test]
fn what_changes_while_it_is_copied_ahead_is_in_the_snapshot() {
    use std::fs;
    type Named = (&'static str, fn(&Path));
    const CHANGES: [Named; 12] = [
        ("nothing", |_| {}),
        ("a file of the same length and time", |data| {
            let file = data.join("a/b/file");
            let modified = fs::metadata(&file).unwrap().modified().unwrap();
            fs::write(&file, "FILE").unwrap();
            fs::File::open(&file)
                .unwrap()
                .set_modified(modified)
                .unwrap();
        }),
        ("new entries", |data| {
            write_files(
                data,
                &[("a/new", "new"), ("a/deep/er/new", "new"), ("top", "new")],
            );
            std::os::unix::fs::symlink("a", data.join("a/link")).unwrap();
        }),
        ("removed entries", |data| {
            fs::remove_file(data.join("a/b/file")).unwrap();
            fs::remove_dir_all(data.join("other")).unwrap();
        }),
        ("renamed files", |data| {
            fs::rename(data.join("a/b/file"), data.join("other/file")).unwrap();
            fs::rename(data.join("one"), data.join("a/b/two")).unwrap();
        }),
        ("a renamed directory", |data| {
            fs::rename(data.join("a"), data.join("renamed")).unwrap();
        }),
        ("directories that changed places", |data| {
            fs::rename(data.join("a"), data.join("x")).unwrap();
            fs::rename(data.join("other"), data.join("a")).unwrap();
            fs::rename(data.join("x"), data.join("other")).unwrap();
        }),
        ("a directory in place of another one", |data| {
            fs::remove_dir_all(data.join("a")).unwrap();
            write_files(data, &[("a/b/file", "another")]);
        }),
        (
            "a file in place of a directory, and the other way",
            |data| {
                fs::remove_dir_all(data.join("a")).unwrap();
                fs::remove_file(data.join("one")).unwrap();
                write_files(data, &[("a", "file"), ("one/file", "directory")]);
            },
        ),
        ("modes", |data| {
            use std::os::unix::fs::PermissionsExt as _;
            for (name, mode) in [("a/b", 0o700), ("one", 0o600), ("", 0o711)] {
                fs::set_permissions(data.join(name), fs::Permissions::from_mode(mode)).unwrap();
            }
        }),
        ("a file with two names", |data| {
            fs::write(data.join("linked"), "changed").unwrap();
        }),
        ("a name more, and one less", |data| {
            fs::hard_link(data.join("one"), data.join("a/one")).unwrap();
            fs::remove_file(data.join("other/linked")).unwrap();
        }),
    ];
    everywhere(|scratch, sharing| {
        let opened = scratch.open();
        for (what, change) in CHANGES {
            opened.volumes.create(named("data")).unwrap();
            let data = content(&opened, "data");
            write_files(
                &data,
                &[
                    ("a/b/file", "file"),
                    ("a/b/c/d", "deep"),
                    ("one", "1"),
                    ("other/other", "other"),
                    ("linked", "linked"),
                ],
            );
            fs::hard_link(data.join("linked"), data.join("other/linked")).unwrap();
            // What has just been made may be changing still.
            let made = std::time::Instant::now();
            testkit::until("the files are older", || {
                (made.elapsed() > std::time::Duration::from_millis(150)).then_some(())
            });
            let quiet = LastMoment {
                data: &data,
                change,
                ahead: Cell::new(None),
            };
            opened
                .volumes
                .create_snapshots(&request(&["data"], "s"), &quiet, &Unobserved)
                .unwrap();
            let snapshot = opened.volumes.snapshot("data", "s").unwrap();
            assert_eq!(faithful(&snapshot.path), faithful(&data), "{what}");
            // It is not made anew, unless files with several names are in it.
            if sharing != Sharing::Instant && ["nothing", "new entries", "modes"].contains(&what) {
                let kept = snapshot.path.join("a/b/c/d").metadata().unwrap().ino();
                assert_eq!(quiet.ahead.get(), Some(kept), "{what}");
            }
            let clone = CloneVolume {
                source: "data".to_owned(),
                name: "copy".to_owned(),
                ..CloneVolume::default()
            };
            let quiet = LastMoment {
                change: |_| {},
                ..quiet
            };
            opened
                .volumes
                .clone_volume(&clone, &quiet, &Unobserved)
                .unwrap();
            assert_eq!(
                faithful(&content(&opened, "copy")),
                faithful(&data),
                "{what}"
            );
            opened.assert_sound(what);
            for volume in ["data", "copy"] {
                opened
                    .volumes
                    .dispose(volume, false, volumes::Disposal::Now)
                    .ok();
            }
        }
    });
}
