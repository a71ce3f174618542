//! Every operation is cut short at each of its points, by an error and by SIGKILL, and at each durable call in it.
//! Afterwards the change has happened or it has not, and nothing else is left.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::os::fd::AsFd as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use sys::fault::{Action, at_step, fail_nth};
use volumes::receive::Received;
use volumes::snapshot::Unheld;
use volumes::{
    ArriveVolume, CloneVolume, CreatePool, CreateSnapshots, CreateVolume, PoolError, PruneRequest,
    ResizeVolume, RestoreFrom, SnapshotError, Unobserved, VolumeError,
};

use crate::scratch::{Opened, Scratch, named, open_dir, trash_for, write_files};

type View = BTreeMap<String, BTreeMap<String, String>>;

struct Case {
    name: &'static str,
    /// Which operations it goes through.
    kinds: &'static [&'static str],
    /// What must be there before.
    prepare: fn(&Opened),
    act: fn(&Opened, &Scratch) -> Result<(), VolumeError>,
}

const CASES: &[Case] = &[
    Case {
        name: "create",
        kinds: &["volume-create"],
        prepare: |_| {},
        act: |opened, _| {
            let labels = [("k".to_owned(), "v".to_owned())].into();
            opened
                .volumes
                .create(CreateVolume {
                    labels,
                    ..named("new")
                })
                .map(drop)
        },
    },
    Case {
        name: "remove",
        kinds: &["volume-remove"],
        prepare: |_| {},
        act: |opened, _| opened.volumes.remove("old", false),
    },
    Case {
        name: "prune",
        kinds: &["volume-remove"],
        prepare: |opened| {
            opened
                .volumes
                .lease("bystander", "holder", "/x", false)
                .unwrap();
        },
        act: |opened, _| {
            let request = PruneRequest {
                all: true,
                ..PruneRequest::default()
            };
            let pruned = opened.volumes.prune(&request)?;
            // A prune goes on after a volume that it cannot remove; here that counts as a failure.
            if pruned.names.is_empty() {
                Err(VolumeError::NotFound("old".to_owned()))
            } else {
                Ok(())
            }
        },
    },
    Case {
        name: "arrive",
        kinds: &["volume-arrive", "volume-publish"],
        prepare: |_| {},
        act: |opened, _| {
            let luggage = opened
                .volumes
                .luggage("old", None)
                .map_err(as_volume_error)?;
            let arrival = opened.volumes.begin_arrival(&ArriveVolume {
                luggage,
                name: Some("arrived".to_owned()),
                pool: None,
                without_limits: false,
            })?;
            write_files(arrival.content(), &[("file", "from afar")]);
            opened.volumes.publish_arrival(&arrival)
        },
    },
    Case {
        name: "let go",
        kinds: &["volume-trash"],
        prepare: |opened| {
            opened
                .volumes
                .lease("old", "stopped", "/data", false)
                .unwrap();
        },
        act: |opened, _| {
            let luggage = opened
                .volumes
                .luggage("old", None)
                .map_err(as_volume_error)?;
            let holders = ["stopped".to_owned()];
            opened.volumes.let_go("old", &luggage.origin, &holders)
        },
    },
    Case {
        name: "trash",
        kinds: &["volume-trash"],
        prepare: |opened| opened.volumes.set_trash_policy(trash_for(3600)).unwrap(),
        act: |opened, _| opened.volumes.remove("old", false),
    },
    Case {
        name: "purge",
        kinds: &["volume-purge"],
        prepare: into_the_trash,
        act: |opened, _| opened.volumes.empty_trash(None).map(drop),
    },
    Case {
        name: "undelete",
        kinds: &["volume-undelete"],
        prepare: into_the_trash,
        act: |opened, _| opened.volumes.undelete("old", Some("back")).map(drop),
    },
    Case {
        name: "rename",
        kinds: &["volume-rename"],
        prepare: |opened| {
            opened.volumes.lease("old", "holder", "/x", false).unwrap();
        },
        act: |opened, _| {
            opened
                .volumes
                .rename("old", "renamed", &|_| Ok(()))
                .map(drop)
        },
    },
    Case {
        name: "populate",
        kinds: &["volume-fill"],
        prepare: |opened| {
            opened.volumes.create(named("empty")).unwrap();
        },
        act: |opened, scratch| {
            let source = scratch.source(&[("a", "1"), ("d/e/f", "2"), ("d/g", "3")]);
            opened
                .volumes
                .populate("empty", None, open_dir(&source).as_fd(), None)
                .map(drop)
        },
    },
    Case {
        name: "import",
        kinds: &["volume-fill"],
        prepare: |_| {},
        act: |opened, scratch| {
            let source = scratch.source(&[("file", "new"), ("dir/new", "new"), ("top", "new")]);
            let mut tar = Vec::new();
            archive::pack(
                open_dir(&source).as_fd(),
                &mut tar,
                &archive::PackOptions::default(),
            )
            .unwrap();
            opened
                .volumes
                .import("old", &mut Cursor::new(tar))
                .map(drop)
        },
    },
    Case {
        name: "import into a new volume",
        kinds: &["volume-receive"],
        prepare: |_| {},
        act: |opened, _| {
            let mut tar = Vec::new();
            opened
                .volumes
                .export("old", archive::Compressed::Not, &mut tar)?;
            opened
                .volumes
                .import("new", &mut Cursor::new(tar))
                .map(drop)
        },
    },
    Case {
        name: "snapshot",
        kinds: &["snapshot-create"],
        prepare: |_| {},
        act: |opened, _| snapshot(opened, &["old", "bystander"], "s"),
    },
    Case {
        name: "removal of a snapshot",
        kinds: &["snapshot-remove"],
        prepare: |opened| snapshot(opened, &["old"], "s").unwrap(),
        act: |opened, _| {
            opened
                .volumes
                .remove_snapshot("old", "s")
                .map_err(as_volume_error)
        },
    },
    Case {
        name: "clone",
        kinds: &["volume-clone"],
        prepare: |_| {},
        act: |opened, _| {
            let clone = CloneVolume {
                source: "old".to_owned(),
                name: "new".to_owned(),
                ..CloneVolume::default()
            };
            opened
                .volumes
                .clone_volume(&clone, &Unheld, &Unobserved)
                .map(drop)
                .map_err(as_volume_error)
        },
    },
    Case {
        name: "restore",
        kinds: &["volume-restore"],
        prepare: |opened| {
            snapshot(opened, &["old"], "s").unwrap();
            write_files(
                &opened.paths.mountpoint("old"),
                &[("file", "later"), ("more", "later")],
            );
        },
        act: |opened, _| {
            opened
                .volumes
                .restore(
                    "old",
                    &RestoreFrom::Snapshot("s".to_owned()),
                    false,
                    &Unobserved,
                )
                .map(drop)
                .map_err(as_volume_error)
        },
    },
    Case {
        name: "receive",
        kinds: &["volume-receive"],
        prepare: |_| {},
        act: |opened, _| {
            let mut filling = received;
            opened
                .volumes
                .receive(named("new"), Received::default(), &mut filling)
                .map(drop)
        },
    },
    Case {
        name: "receive with a filesystem of its own",
        kinds: &["volume-receive"],
        prepare: |_| {},
        act: |opened, _| {
            let create = CreateVolume {
                options: [("size".to_owned(), "8m".to_owned())].into(),
                ..named("new")
            };
            let mut filling = received;
            opened
                .volumes
                .receive(create, Received::default(), &mut filling)
                .map(drop)
        },
    },
    Case {
        name: "restore of what was received",
        kinds: &["snapshot-receive", "volume-restore"],
        prepare: |_| {},
        act: |opened, _| receive_content(opened, "old"),
    },
    Case {
        name: "restore of what was received by a filesystem of its own",
        kinds: &["snapshot-receive", "volume-restore"],
        prepare: |opened| limited(opened, "small", None).unwrap(),
        act: |opened, _| receive_content(opened, "small"),
    },
    Case {
        name: "creation with a filesystem of its own",
        kinds: &["volume-create"],
        prepare: |_| {},
        act: |opened, _| limited(opened, "new", None),
    },
    Case {
        name: "resize",
        kinds: &["volume-resize"],
        prepare: |opened| limited(opened, "small", None).unwrap(),
        act: |opened, _| resized(opened, "small", 16 << 20),
    },
    Case {
        name: "resize into a filesystem of its own",
        kinds: &["volume-convert"],
        prepare: |_| {},
        act: |opened, _| resized(opened, "old", 16 << 20),
    },
    Case {
        name: "resize out of a filesystem of its own",
        kinds: &["volume-convert"],
        prepare: |opened| {
            limited(opened, "small", None).unwrap();
            write_files(&opened.paths.mountpoint("small"), &[("file", "kept")]);
        },
        act: |opened, _| resized(opened, "small", 0),
    },
    Case {
        name: "restore of a filesystem of its own",
        kinds: &["volume-restore"],
        prepare: |opened| {
            limited(opened, "small", None).unwrap();
            write_files(&opened.paths.mountpoint("small"), &[("file", "first")]);
            snapshot(opened, &["small"], "s").unwrap();
            write_files(&opened.paths.mountpoint("small"), &[("file", "later")]);
        },
        act: |opened, _| {
            opened
                .volumes
                .restore(
                    "small",
                    &RestoreFrom::Snapshot("s".to_owned()),
                    false,
                    &Unobserved,
                )
                .map(drop)
                .map_err(as_volume_error)
        },
    },
    Case {
        name: "trash of a filesystem of its own",
        kinds: &["volume-trash"],
        prepare: |opened| {
            limited(opened, "small", None).unwrap();
            write_files(&opened.paths.mountpoint("small"), &[("file", "first")]);
            opened.volumes.set_trash_policy(trash_for(3600)).unwrap();
        },
        act: |opened, _| opened.volumes.remove("small", false),
    },
    Case {
        name: "pool on a directory",
        kinds: &["pool-create"],
        prepare: |_| {},
        act: |opened, scratch| directory_pool(opened, scratch),
    },
    Case {
        name: "pool in a file",
        kinds: &["pool-create"],
        prepare: |_| {},
        act: |opened, _| file_pool(opened),
    },
    Case {
        name: "removal of a pool",
        kinds: &["pool-remove"],
        prepare: |opened| file_pool(opened).unwrap(),
        act: |opened, _| {
            opened
                .volumes
                .remove_pool("p")
                .map_err(|error| of_pool(&error))
        },
    },
    Case {
        name: "resizing of a pool",
        kinds: &["pool-resize"],
        prepare: |opened| file_pool(opened).unwrap(),
        act: |opened, _| {
            opened
                .volumes
                .resize_pool("p", Some(320 << 20))
                .map(drop)
                .map_err(|error| of_pool(&error))
        },
    },
    Case {
        name: "creation in a pool",
        kinds: &["volume-create"],
        prepare: |opened| file_pool(opened).unwrap(),
        act: |opened, _| limited(opened, "new", Some("p")),
    },
    Case {
        name: "removal in a pool",
        kinds: &["volume-remove"],
        prepare: |opened| {
            file_pool(opened).unwrap();
            limited(opened, "there", Some("p")).unwrap();
        },
        act: |opened, _| opened.volumes.remove("there", false),
    },
    Case {
        name: "resize of what another volume wrote",
        kinds: &["volume-convert"],
        prepare: |opened| {
            file_pool(opened).unwrap();
            let create = CreateVolume {
                options: [("pool".to_owned(), "p".to_owned())].into(),
                ..named("there")
            };
            opened.volumes.create(create).unwrap();
            let long = "x".repeat(1 << 20);
            write_files(&opened.paths.mountpoint("there"), &[("file", &long)]);
            let clone = CloneVolume {
                source: "there".to_owned(),
                name: "clone".to_owned(),
                ..CloneVolume::default()
            };
            opened
                .volumes
                .clone_volume(&clone, &Unheld, &Unobserved)
                .unwrap();
        },
        act: |opened, _| resized(opened, "clone", 16 << 20),
    },
    Case {
        name: "clone in a pool",
        kinds: &["volume-clone"],
        prepare: |opened| {
            file_pool(opened).unwrap();
            limited(opened, "there", Some("p")).unwrap();
            write_files(&opened.paths.mountpoint("there"), &[("file", "first")]);
        },
        act: |opened, _| {
            let clone = CloneVolume {
                source: "there".to_owned(),
                name: "new".to_owned(),
                ..CloneVolume::default()
            };
            opened
                .volumes
                .clone_volume(&clone, &Unheld, &Unobserved)
                .map(drop)
                .map_err(as_volume_error)
        },
    },
];

/// What a caller writes into a volume that is made, or made anew.
fn received(tree: &Path) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    write_files(tree, &[("file", "received"), ("dir/more", "received")]);
    Ok(())
}

/// To its end: what is received and not restored goes at the next start.
fn receive_content(opened: &Opened, volume: &str) -> Result<(), VolumeError> {
    let mut filling = received;
    let name = opened
        .volumes
        .receive_content(volume, &mut filling)
        .map_err(as_volume_error)?;
    opened
        .volumes
        .restore(volume, &RestoreFrom::Received(name), false, &Unobserved)
        .map(drop)
        .map_err(as_volume_error)
}

fn resized(opened: &Opened, volume: &str, bytes: u64) -> Result<(), VolumeError> {
    let change = ResizeVolume {
        bytes: Some(bytes),
        ..ResizeVolume::default()
    };
    opened.volumes.resize(volume, change, &Unobserved).map(drop)
}

fn limited(opened: &Opened, name: &str, pool: Option<&str>) -> Result<(), VolumeError> {
    let mut options: BTreeMap<String, String> = [("size".to_owned(), "8m".to_owned())].into();
    options.extend(pool.map(|pool| ("pool".to_owned(), pool.to_owned())));
    let create = CreateVolume {
        options,
        ..named(name)
    };
    opened.volumes.create(create).map(drop)
}

fn file_pool(opened: &Opened) -> Result<(), VolumeError> {
    let create = CreatePool {
        name: "p".to_owned(),
        kind: "btrfs".to_owned(),
        size: Some(256 << 20),
        ..CreatePool::default()
    };
    let made = opened.volumes.create_pool(create);
    made.map(drop).map_err(|error| of_pool(&error))
}

fn directory_pool(opened: &Opened, scratch: &Scratch) -> Result<(), VolumeError> {
    let create = CreatePool {
        name: "p".to_owned(),
        kind: "dir".to_owned(),
        source: Some(scratch.root.join("pool")),
        ..CreatePool::default()
    };
    let made = opened.volumes.create_pool(create);
    made.map(drop).map_err(|error| of_pool(&error))
}

fn of_pool(error: &PoolError) -> VolumeError {
    VolumeError::NotFound(format!("{error:?}"))
}

fn snapshot(opened: &Opened, volumes: &[&str], name: &str) -> Result<(), VolumeError> {
    let request = CreateSnapshots {
        volumes: volumes.iter().map(|&name| name.to_owned()).collect(),
        name: Some(name.to_owned()),
        reason: "manual".to_owned(),
        ..CreateSnapshots::default()
    };
    opened
        .volumes
        .create_snapshots(&request, &Unheld, &Unobserved)
        .map(drop)
        .map_err(as_volume_error)
}

/// Cases have one type of error; which one it was does not matter to them.
fn as_volume_error(error: SnapshotError) -> VolumeError {
    match error {
        SnapshotError::Volume(error) => error,
        error => VolumeError::NotFound(error.to_string()),
    }
}

fn into_the_trash(opened: &Opened) {
    opened.volumes.set_trash_policy(trash_for(3600)).unwrap();
    opened.volumes.remove("old", false).unwrap();
}

fn prepared(case: &Case, scratch: &Scratch) -> Opened {
    let opened = scratch.open();
    for name in ["old", "bystander"] {
        opened.volumes.create(named(name)).unwrap();
        write_files(
            &opened.paths.mountpoint(name),
            &[("file", name), ("dir/file", name)],
        );
    }
    (case.prepare)(&opened);
    opened
}

/// What is seen before and after the change, when nothing goes wrong.
fn views(case: &Case) -> (View, View) {
    let scratch = Scratch::new();
    let opened = prepared(case, &scratch);
    let before = opened.view();
    (case.act)(&opened, &scratch).unwrap();
    opened.assert_sound(case.name);
    let after = opened.view();
    assert_ne!(before, after, "{}", case.name);
    (before, after)
}

fn points(case: &Case) -> Vec<String> {
    let points: Vec<String> = volumes::recover::points()
        .into_iter()
        .filter(|point| {
            case.kinds
                .iter()
                .any(|kind| point.starts_with(&format!("{kind}:")))
        })
        .collect();
    assert!(points.len() >= 4, "{}: {points:?}", case.name);
    points
}

/// After any interruption: two more starts, all or nothing, and the names can be used.
fn check(scratch: &Scratch, (before, after): &(View, View), at: &str) -> bool {
    let mut seen = None;
    for start in ["first", "second"] {
        let opened = scratch.open();
        opened.assert_sound(&format!("{at}, {start} start"));
        let view = opened.view();
        assert!(
            view == *before || view == *after,
            "{at}, {start} start: {view:#?}"
        );
        assert!(
            seen.is_none_or(|seen| seen == view),
            "{at}: the second start changed something"
        );
        seen = Some(view);
        if start == "second" {
            assert!(opened.sentences.is_empty(), "{at}: {:?}", opened.sentences);
        }
    }
    let opened = scratch.open();
    opened.volumes.create(named("new")).unwrap();
    opened.volumes.remove("new", false).unwrap();
    seen.as_ref() == Some(after)
}

#[test]
fn an_error_at_each_point() {
    for case in CASES {
        let views = views(case);
        for point in points(case) {
            let at = format!("{} failed at {point}", case.name);
            let scratch = Scratch::new();
            let opened = prepared(case, &scratch);
            let armed = at_step(&point, Action::Fail(5));
            let outcome = (case.act)(&opened, &scratch);
            assert!(
                armed.fired() || point.ends_with(":end"),
                "{at}: the point was not reached"
            );
            drop(armed);
            assert_eq!(
                outcome.is_ok(),
                point.ends_with(":end"),
                "{at}: {outcome:?}"
            );
            if opened.store.read(|tx| tx.ops()).unwrap().is_empty() && outcome.is_err() {
                assert_eq!(opened.view(), views.0, "{at}: undone at once");
            }
            drop(opened);
            check(&scratch, &views, &at);
        }
    }
}

#[test]
fn a_kill_at_each_point() {
    for (index, case) in CASES.iter().enumerate() {
        let views = views(case);
        let mut outcomes = Vec::new();
        for point in points(case) {
            let at = format!("{} killed at {point}", case.name);
            let scratch = Scratch::new();
            drop(prepared(case, &scratch));
            let child = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "crash::child", "--nocapture"])
                .env("ORLOP_CRASH_CASE", index.to_string())
                .env("ORLOP_CRASH_POINT", &point)
                .env("ORLOP_CRASH_ROOT", &scratch.root)
                .stdout(Stdio::null())
                .status()
                .unwrap();
            assert_eq!(child.signal(), Some(9), "{at}: {child}");
            outcomes.push(check(&scratch, &views, &at));
        }
        // Once a change survives a kill, it survives every later one.
        assert!(outcomes.is_sorted(), "{}: {outcomes:?}", case.name);
        assert_eq!(outcomes.last(), Some(&true), "{}", case.name);
    }
}

/// What [`a_kill_at_each_point`] starts; does nothing in an ordinary run.
#[test]
fn child() {
    let Ok(root) = std::env::var("ORLOP_CRASH_ROOT") else {
        return;
    };
    let scratch = Scratch::at(Path::new(&root));
    let index: usize = std::env::var("ORLOP_CRASH_CASE").unwrap().parse().unwrap();
    let opened = scratch.open();
    let _armed = at_step(&std::env::var("ORLOP_CRASH_POINT").unwrap(), Action::Kill);
    let outcome = (CASES[index].act)(&opened, &scratch);
    panic!("still alive: {outcome:?}");
}

#[test]
fn an_error_of_each_durable_call() {
    for case in CASES {
        let views = views(case);
        // A filesystem that is made for each call takes its time; which error it is decides nothing there.
        let makes_filesystems = case.name.contains("own") || case.name.contains("pool");
        let errnos: &[i32] = if makes_filesystems { &[28] } else { &[5, 28] };
        for &errno in errnos {
            for n in 1.. {
                let at = format!("{} with call {n} failing ({errno})", case.name);
                let scratch = Scratch::new();
                let opened = prepared(case, &scratch);
                let armed = fail_nth(n, errno);
                let outcome = (case.act)(&opened, &scratch);
                let fired = armed.fired();
                drop(armed);
                if !fired {
                    outcome.unwrap();
                    assert!(n > 1, "{at}: nothing was counted");
                    break;
                }
                drop(opened);
                if matches!(outcome, Err(VolumeError::Merge { .. })) {
                    // Given up where it stood, which its words say.
                    scratch.open().assert_sound(&at);
                    continue;
                }
                let happened = check(&scratch, &views, &at);
                // Only the copy of the record beside the data may wait for the next start.
                assert!(
                    outcome.is_err() || happened,
                    "{at}: the error was swallowed"
                );
            }
        }
    }
}

#[test]
fn every_step_that_the_sources_name_is_gone_through() {
    let known: std::collections::BTreeSet<String> =
        volumes::recover::points().into_iter().collect();
    let missing: Vec<String> = testkit::steps_of("volumes")
        .into_iter()
        .filter(|step| !known.contains(step))
        .collect();
    assert_eq!(missing, [""; 0]);
}
