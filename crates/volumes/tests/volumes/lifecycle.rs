//! Create, inspect, lease, remove, prune: Docker's rules and words.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use store::ErrorKind;
use volumes::receive::Received;
use volumes::{CreateVolume, PruneRequest, VolumeAction, VolumeError};

use crate::scratch::{Scratch, named, write_files};

#[track_caller]
fn fails<T: std::fmt::Debug>(result: Result<T, VolumeError>, kind: ErrorKind, words: &str) {
    let error = result.unwrap_err();
    assert_eq!((error.kind(), error.to_string().as_str()), (kind, words));
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

#[test]
fn create_is_idempotent_by_name() {
    let scratch = Scratch::new();
    let opened = scratch.open();
    let volumes = &opened.volumes;
    let first = volumes
        .create(CreateVolume {
            labels: map(&[("a", "1")]),
            ..named("data")
        })
        .unwrap();
    assert!(first.fresh);
    assert_eq!(
        first.volume.mountpoint,
        opened.paths.root().join("volumes/data/_data")
    );
    assert!(first.volume.options.is_none());
    assert!(
        !first.volume.created_at.contains('.'),
        "{}",
        first.volume.created_at
    );
    let again = volumes
        .create(CreateVolume {
            labels: map(&[("b", "2")]),
            options: map(&[("nonsense", "x")]),
            driver: Some("local".to_owned()),
            ..named("data")
        })
        .unwrap();
    assert!(!again.fresh);
    assert_eq!(again.volume, first.volume);
    fails(
        volumes.create(CreateVolume {
            driver: Some("other".to_owned()),
            ..named("data")
        }),
        ErrorKind::Conflict,
        "create data: driver 'local' already has volume 'data': volume name must be unique",
    );
    fails(
        volumes.create(CreateVolume {
            driver: Some("other".to_owned()),
            ..named("new")
        }),
        ErrorKind::NotFound,
        "create new: error looking up volume plugin other: plugin \"other\" not found",
    );
    fails(
        volumes.create(CreateVolume {
            options: map(&[("size", "1g"), ("type", "tmpfs"), ("device", "tmpfs")]),
            ..named("new")
        }),
        ErrorKind::Invalid,
        "create new: quota size requested but no quota support",
    );
    fails(
        volumes.create(named("a b")),
        ErrorKind::Invalid,
        "create a b: \"a b\" includes invalid characters for a local volume name, only \
         \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path",
    );
    opened.assert_sound("after errors");
}

#[test]
fn a_volume_without_a_name_is_anonymous() {
    let scratch = Scratch::new();
    let opened = scratch.open();
    let volume = opened
        .volumes
        .create(CreateVolume::default())
        .unwrap()
        .volume;
    assert!(store::names::check_volume_name(&volume.name).is_ok());
    assert_eq!(volume.name.len(), 64);
    assert!(volume.anonymous);
    assert_eq!(
        volume.labels,
        Some(map(&[("com.docker.volume.anonymous", "")]))
    );
}

#[test]
fn use_protects_from_removal() {
    let scratch = Scratch::new();
    let opened = scratch.open();
    let volumes = &opened.volumes;
    volumes.create(named("data")).unwrap();
    volumes.lease("data", "bb", "/x", false).unwrap();
    volumes.lease("data", "aa", "/x", true).unwrap();
    volumes.lease("data", "aa", "/y", false).unwrap();
    volumes.lease("data", "aa", "/y", true).unwrap();
    assert_eq!(volumes.holders("data").unwrap(), ["aa", "bb"]);
    for force in [false, true] {
        fails(
            volumes.remove("data", force),
            ErrorKind::InUse,
            "remove data: volume is in use - [aa, bb]",
        );
    }
    assert!(!volumes.remove_anonymous_if_unused("data").unwrap());
    let released = volumes.release("aa").unwrap();
    let released: Vec<_> = released
        .iter()
        .map(|one| (one.destination.as_str(), one.anonymous))
        .collect();
    assert_eq!(
        released,
        [("/x", true), ("/y", false)],
        "the first lease of a destination counts"
    );
    assert!(volumes.release("aa").unwrap().is_empty());
    volumes.release("bb").unwrap();
    volumes.remove("data", false).unwrap();
    opened.assert_sound("removed");
    for error in [
        volumes.remove("data", false).unwrap_err(),
        volumes.get("data").unwrap_err(),
        volumes.mount("data", "aa").unwrap_err(),
        volumes.lease("data", "aa", "/x", false).unwrap_err(),
    ] {
        fails(
            Err::<(), _>(error),
            ErrorKind::NotFound,
            "get data: no such volume",
        );
    }
    volumes.remove("data", true).unwrap();
}

#[test]
fn leases_and_removals_race_and_one_wins() {
    let scratch = Scratch::new();
    let opened = scratch.open();
    let volumes = &opened.volumes;
    for round in 0..30 {
        volumes.create(named("contested")).unwrap();
        let (leased, removed) = std::thread::scope(|scope| {
            let lease = scope.spawn(|| volumes.lease("contested", "holder", "/x", false));
            let remove = scope.spawn(|| volumes.remove("contested", false));
            (lease.join().unwrap(), remove.join().unwrap())
        });
        match (leased, removed) {
            (Ok(()), Err(VolumeError::InUse { .. })) => {
                assert_eq!(
                    volumes.holders("contested").unwrap(),
                    ["holder"],
                    "round {round}"
                );
                volumes.release("holder").unwrap();
                volumes.remove("contested", false).unwrap();
            }
            (Err(VolumeError::NotFound(_)), Ok(())) => {}
            other => panic!("round {round}: {other:?}"),
        }
        opened.assert_sound("after a round");
    }
}

#[test]
fn those_that_are_there_are_leased_by_what_they_are() {
    let scratch = Scratch::new();
    let opened = scratch.open();
    let volumes = &opened.volumes;
    for name in ["kept", "gone", "old"] {
        volumes.create(named(name)).unwrap();
    }
    let listed = volumes.list().unwrap();
    volumes.remove("gone", false).unwrap();
    volumes.rename("old", "new", &|_| Ok(())).unwrap();
    // Others than those that were looked at.
    volumes.create(named("gone")).unwrap();
    volumes.create(named("old")).unwrap();
    let wanted: Vec<_> = listed.iter().collect();
    let leased = volumes.lease_those_there(&wanted, "holder", "/x").unwrap();
    let names: Vec<_> = leased.iter().map(|volume| volume.name.as_str()).collect();
    assert_eq!(names, ["kept", "new"]);
    for (name, holders) in [("kept", 1), ("new", 1), ("gone", 0), ("old", 0)] {
        assert_eq!(volumes.holders(name).unwrap().len(), holders, "{name}");
    }
    volumes.release("holder").unwrap();
    volumes.remove("new", false).unwrap();
    opened.assert_sound("leased and released");
}

#[test]
fn what_is_received_may_have_a_holder_from_the_beginning() {
    let scratch = Scratch::new();
    let opened = scratch.open();
    let volumes = &opened.volumes;
    let received = Received {
        holder: Some("holder".to_owned()),
        ..Received::default()
    };
    volumes
        .receive(named("data"), received, &mut |_| Ok(()))
        .unwrap();
    assert_eq!(volumes.holders("data").unwrap(), ["holder"]);
    volumes.release("holder").unwrap();
    volumes.remove("data", false).unwrap();
    opened.assert_sound("received and removed");
}

#[test]
fn one_of_many_creators_makes_the_volume() {
    let scratch = Scratch::new();
    let opened = scratch.open();
    let fresh: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| usize::from(opened.volumes.create(named("one")).unwrap().fresh))
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    });
    assert_eq!(fresh, 1);
    opened.assert_sound("created");
}

#[test]
fn prune_takes_what_nobody_needs() {
    let scratch = Scratch::new();
    let opened = scratch.open();
    let volumes = &opened.volumes;
    let reclaimed = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&reclaimed);
    volumes.on_event(Box::new(move |event| {
        if let VolumeAction::Prune { reclaimed } = event.action {
            heard.lock().unwrap().push(reclaimed);
        }
    }));
    let anonymous = volumes.create(CreateVolume::default()).unwrap().volume.name;
    let held = volumes.create(CreateVolume::default()).unwrap().volume.name;
    volumes.lease(&held, "holder", "/x", true).unwrap();
    for (name, labels) in [
        ("ab", &[("k", "v"), ("l", "1")][..]),
        ("ac", &[("k", "w")]),
        ("ad", &[]),
    ] {
        volumes
            .create(CreateVolume {
                labels: map(labels),
                ..named(name)
            })
            .unwrap();
    }
    let options = map(&[("type", "tmpfs"), ("device", "tmpfs")]);
    volumes
        .create(CreateVolume {
            options,
            ..named("tmpfs")
        })
        .unwrap();
    write_files(
        &opened.paths.mountpoint("ab"),
        &[("file", &"x".repeat(100_000))],
    );

    let plan = |all, labels: &[&str], without: &[&str]| {
        let owned = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect();
        let request = PruneRequest {
            all,
            labels: owned(labels),
            without_labels: owned(without),
            now: false,
        };
        let plan = volumes.plan_prune(&request).unwrap();
        plan.candidates
            .into_iter()
            .map(|one| one.name)
            .collect::<Vec<_>>()
    };
    assert_eq!(plan(false, &[], &[]), [anonymous.as_str()]);
    assert_eq!(plan(true, &["k"], &[]), ["ab", "ac"]);
    assert_eq!(plan(true, &["k=v"], &[]), ["ab"]);
    assert_eq!(plan(true, &["k", "l"], &[]), ["ab"], "several are ANDed");
    assert_eq!(plan(true, &["k"], &["k=v"]), ["ac"]);
    assert_eq!(
        plan(true, &["k"], &["k", "l"]),
        ["ac"],
        "only what has all of them is left out"
    );

    let pruned = volumes
        .prune(&PruneRequest {
            all: true,
            ..PruneRequest::default()
        })
        .unwrap();
    let mut expected = vec!["ab".to_owned(), "ac".to_owned(), "ad".to_owned(), anonymous];
    expected.sort();
    let mut names = pruned.names;
    names.sort();
    assert_eq!(names, expected);
    assert!(pruned.bytes >= 100_000, "{}", pruned.bytes);
    assert_eq!(*reclaimed.lock().unwrap(), [pruned.bytes]);
    let mut left: Vec<_> = volumes
        .list()
        .unwrap()
        .into_iter()
        .map(|one| one.name)
        .collect();
    left.sort();
    let mut expected = vec![held, "tmpfs".to_owned()];
    expected.sort();
    assert_eq!(left, expected);
    opened.assert_sound("pruned");
}

#[test]
fn recovery_rebuilds_links_and_touches_nothing_unknown() {
    let scratch = Scratch::new();
    let opened = scratch.open();
    for name in ["one", "two", "three"] {
        opened.volumes.create(named(name)).unwrap();
        write_files(&opened.paths.mountpoint(name), &[("file", name)]);
    }
    let paths = &opened.paths;
    std::fs::remove_file(paths.volume_link("one")).unwrap();
    std::fs::remove_file(paths.volume_link("two")).unwrap();
    std::os::unix::fs::symlink("../data/elsewhere", paths.volume_link("two")).unwrap();
    std::os::unix::fs::symlink(
        format!("../data/{}", "0".repeat(32)),
        paths.volume_link("stale"),
    )
    .unwrap();
    // What looks like a user's own directories, and one that is missing.
    write_files(
        &paths.data().join("f".repeat(32)),
        &[("_data/precious", "x")],
    );
    write_files(&paths.volumes().join("adopted"), &[("_data/precious", "x")]);
    // Somebody's notes, without data; and what a power cut leaves of a creation.
    write_files(&paths.data().join("e".repeat(32)), &[("notes", "x")]);
    std::fs::create_dir_all(paths.data().join("d".repeat(32)).join("_data")).unwrap();
    std::fs::rename(
        paths.volume(&opened.volumes.get("three").unwrap().id.unwrap()),
        scratch.root.join("taken-away"),
    )
    .unwrap();
    drop(opened);

    let opened = scratch.open();
    let all = opened.sentences.join("\n");
    for expected in [
        "the link to volume one was made again",
        "the link to volume two was made again",
        "stale led to no volume and was removed",
        "adopted belongs to no volume and was left as it is",
        "belongs to no volume and was left as it is",
        "the data directory of volume three is missing; its record was kept",
    ] {
        assert!(all.contains(expected), "{expected} in:\n{all}");
    }
    assert_eq!(
        std::fs::read_to_string(opened.paths.mountpoint("two").join("file")).unwrap(),
        "two"
    );
    assert!(
        opened
            .paths
            .data()
            .join("f".repeat(32))
            .join("_data/precious")
            .exists()
    );
    assert!(opened.paths.data().join("e".repeat(32)).exists());
    assert!(!opened.paths.data().join("d".repeat(32)).exists());
    assert!(
        opened
            .paths
            .volumes()
            .join("adopted/_data/precious")
            .exists()
    );
    let error = opened.volumes.mount("three", "holder").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(opened.volumes.list().unwrap().len(), 3, "the record stays");
}
