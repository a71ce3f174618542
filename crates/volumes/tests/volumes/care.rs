//! What keeps volumes from being lost, and what changes them while they live.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::PathBuf;

use store::ErrorKind;
use volumes::{ChownRequest, Claim, Disposal, PruneRequest, TrashLimit, TrashPolicy, VolumeError};

use crate::scratch::{Opened, Scratch, named, open_dir, trash_for, write_files};

fn with_data(opened: &Opened, name: &str, content: &str) {
    opened.volumes.create(named(name)).unwrap();
    write_files(&opened.paths.mountpoint(name), &[("file", content)]);
}

fn content(opened: &Opened, name: &str) -> String {
    std::fs::read_to_string(opened.paths.mountpoint(name).join("file")).unwrap()
}

#[test]
fn what_was_removed_comes_back() {
    let scratch = Scratch::new();
    let opened = scratch.open();
    let volumes = &opened.volumes;
    volumes.set_trash_policy(trash_for(3600)).unwrap();
    with_data(&opened, "data", "first");
    let set = BTreeMap::from([("colour".to_owned(), "blue".to_owned())]);
    volumes.label("data", &set, &[]).unwrap();
    volumes.remove("data", false).unwrap();
    assert!(matches!(volumes.get("data"), Err(VolumeError::NotFound(_))));
    assert!(!opened.paths.mountpoint("data").exists());
    // The name is free; the newest of that name is meant.
    with_data(&opened, "data", "second");
    volumes.remove("data", false).unwrap();
    with_data(&opened, "data", "third");
    assert!(matches!(
        volumes.undelete("data", None),
        Err(VolumeError::NameTaken(_))
    ));
    volumes.undelete("data", Some("two")).unwrap();
    assert_eq!(content(&opened, "two"), "second");
    let first = volumes.trash().unwrap().remove(0);
    let back = volumes
        .undelete(&first.id.as_str()[..12], Some("one"))
        .unwrap();
    assert_eq!(back.labels, Some(set), "labels come along");
    assert_eq!(content(&opened, "one"), "first");
    assert_eq!(content(&opened, "data"), "third");
    assert!(volumes.trash().unwrap().is_empty());
    let actions: Vec<String> = volumes
        .history("one")
        .unwrap()
        .into_iter()
        .map(|event| event.action)
        .collect();
    assert_eq!(actions, ["create", "label", "trash", "undelete"]);
    assert!(matches!(
        volumes.undelete("one", None),
        Err(VolumeError::NotInTrash(_))
    ));
    opened.assert_sound("undeleted");
}

#[test]
fn what_goes_at_once() {
    let scratch = Scratch::new();
    let opened = scratch.open();
    let volumes = &opened.volumes;
    volumes.set_trash_policy(trash_for(3600)).unwrap();
    volumes.create(named("empty")).unwrap();
    volumes.remove("empty", false).unwrap();
    with_data(&opened, "now", "x");
    volumes.dispose("now", false, Disposal::Now).unwrap();
    volumes.set_trash_policy(trash_for(0)).unwrap();
    with_data(&opened, "off", "x");
    volumes.remove("off", false).unwrap();
    assert!(volumes.trash().unwrap().is_empty());
    opened.assert_sound("removed");
}

#[test]
fn the_trash_ends_by_time_and_by_size() {
    let scratch = Scratch::new();
    let opened = scratch.open();
    let volumes = &opened.volumes;
    let policy = |grace, bytes| TrashPolicy {
        grace,
        limit: TrashLimit::Bytes(bytes),
    };
    volumes.set_trash_policy(policy(3600, u64::MAX)).unwrap();
    for name in ["old", "young"] {
        with_data(&opened, name, &"x".repeat(64 << 10));
        volumes.remove(name, false).unwrap();
    }
    assert!(volumes.tidy_trash().unwrap().is_some());
    assert_eq!(volumes.trash().unwrap().len(), 2, "there is room for both");
    let size = volumes.trash().unwrap()[1].bytes.unwrap();
    assert!(size >= 64 << 10, "measured: {size}");
    volumes
        .set_trash_policy(policy(3600, size + size / 2))
        .unwrap();
    volumes.tidy_trash().unwrap();
    let left = volumes.trash().unwrap();
    assert_eq!((left.len(), left[0].name.as_str()), (1, "young"));
    // An end that has passed.
    opened
        .store
        .write(|tx| {
            let mut row = tx.trash()?.remove(0);
            tx.delete_trashed(&row.volume.id)?;
            tx.insert_volume(&row.volume)?;
            row.expires_at = "2020-01-01T00:00:00Z".to_owned();
            tx.trash_volume(&row)
        })
        .unwrap();
    assert_eq!(volumes.tidy_trash().unwrap(), None);
    opened.assert_sound("expired");
    assert!(volumes.trash().unwrap().is_empty());
}

#[test]
fn protected_volumes_stay() {
    let scratch = Scratch::new();
    let opened = scratch.open();
    let volumes = &opened.volumes;
    with_data(&opened, "kept", "x");
    with_data(&opened, "gone", "x");
    volumes.protect("kept", true).unwrap();
    let error = volumes.remove("kept", true).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(
        error.to_string(),
        "volume kept is protected; unprotect it first"
    );
    assert!(!volumes.remove_anonymous_if_unused("kept").unwrap());
    let all = PruneRequest {
        all: true,
        ..PruneRequest::default()
    };
    assert_eq!(volumes.prune(&all).unwrap().names, ["gone"]);
    let description = std::fs::read_to_string(
        opened
            .paths
            .volume_metadata(&volumes.get("kept").unwrap().id.unwrap()),
    )
    .unwrap();
    assert!(description.contains("\"protected\": true"), "{description}");
    volumes.protect("kept", false).unwrap();
    volumes.remove("kept", false).unwrap();
}

#[test]
fn names_and_labels_change_in_use() {
    let scratch = Scratch::new();
    let opened = scratch.open();
    let volumes = &opened.volumes;
    with_data(&opened, "before", "x");
    with_data(&opened, "taken", "y");
    volumes.lease("before", "holder", "/x", false).unwrap();
    assert!(matches!(
        volumes.rename("before", "taken", &|_| Ok(())),
        Err(VolumeError::NameTaken(_))
    ));
    assert!(matches!(
        volumes.rename("before", "a/b", &|_| Ok(())),
        Err(VolumeError::Name { .. })
    ));
    let seen = volumes.get("before").unwrap();
    volumes.rename("before", "after", &|_| Ok(())).unwrap();
    volumes.create(named("before")).unwrap();
    assert_eq!(volumes.again(&seen).unwrap().name, "after");
    volumes.remove("before", false).unwrap();
    assert_eq!(volumes.holders("after").unwrap(), ["holder"]);
    assert_eq!(content(&opened, "after"), "x");
    assert!(!opened.paths.volume_link("before").is_symlink());
    let labels = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|&(key, value)| (key.to_owned(), value.to_owned()))
            .collect()
    };
    volumes
        .label("after", &labels(&[("a", "1"), ("b", "2")]), &[])
        .unwrap();
    let volume = volumes
        .label(
            "after",
            &labels(&[("b", "3")]),
            &["a".to_owned(), "z".to_owned()],
        )
        .unwrap();
    assert_eq!(volume.labels, Some(labels(&[("b", "3")])));
    opened.assert_sound("renamed");
}

/// A volume `data` with a file of each name; where it is.
fn filled(opened: &Opened, names: &[String]) -> PathBuf {
    opened.volumes.create(named("data")).unwrap();
    let root = opened.paths.mountpoint("data");
    let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "x")).collect();
    write_files(&root, &files);
    root
}

#[test]
fn every_file_changes_hands() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: needs root");
        return;
    }
    let scratch = Scratch::new();
    let opened = scratch.open();
    let volumes = &opened.volumes;
    let names: Vec<String> = (0..300).map(|n| format!("d{}/e/f{n}", n % 7)).collect();
    let root = filled(&opened, &names);
    std::fs::set_permissions(
        root.join("d0/e/f0"),
        std::fs::Permissions::from_mode(0o4755),
    )
    .unwrap();
    let outside = scratch.source(&[("outside", "x")]);
    std::os::unix::fs::symlink(outside.join("outside"), root.join("link")).unwrap();
    let request = |uid, from| ChownRequest {
        uid,
        gid: Some(77),
        from,
    };
    let all = |_| std::ops::ControlFlow::Continue(());
    // 300 files, 14 directories, the link, the root.
    assert_eq!(volumes.chown("data", request(5, None), &all).unwrap(), 316);
    assert_eq!(volumes.chown("data", request(5, None), &all).unwrap(), 0);
    assert_eq!(volumes.chown("data", request(6, Some(4)), &all).unwrap(), 0);
    let one = std::fs::metadata(root.join("d0/e/f0")).unwrap();
    assert_eq!((one.uid(), one.gid(), one.mode() & 0o7777), (5, 77, 0o4755));
    assert_eq!(std::fs::metadata(outside.join("outside")).unwrap().uid(), 0);
}

#[test]
fn files_without_a_container() {
    let scratch = Scratch::new();
    let opened = scratch.open();
    let volumes = &opened.volumes;
    volumes.create(named("data")).unwrap();
    let root = opened.paths.mountpoint("data");
    write_files(&root, &[("a", "text"), ("d/b", "more")]);
    std::os::unix::fs::symlink("/etc", root.join("out")).unwrap();
    let listed = |path: &str| -> Vec<String> {
        volumes
            .list_files("data", path)
            .unwrap()
            .into_iter()
            .map(|entry| entry.name)
            .collect()
    };
    assert_eq!(listed("/"), ["a", "d", "out"]);
    assert_eq!(listed("d/../d"), ["b"]);
    assert_eq!(listed("a"), ["a"]);
    for path in ["nope", "out", "out/passwd"] {
        assert!(
            matches!(
                volumes.list_files("data", path),
                Err(VolumeError::Subpath { .. })
            ),
            "{path}"
        );
    }
    let read = |path: &str| volumes.with_file("data", path, std::io::read_to_string);
    assert_eq!(read("/d/b").unwrap(), "more");
    assert!(read("d").is_err());
    let source = scratch.source(&[("new", "1")]);
    let mut tar = Vec::new();
    archive::pack(
        open_dir(&source).as_fd(),
        &mut tar,
        &archive::PackOptions::default(),
    )
    .unwrap();
    std::fs::set_permissions(root.join("d"), std::fs::Permissions::from_mode(0o700)).unwrap();
    volumes
        .import_into("data", "/d", &mut Cursor::new(&tar))
        .unwrap();
    assert_eq!(read("d/new").unwrap(), "1");
    let mode = std::fs::metadata(root.join("d")).unwrap().mode();
    assert_eq!(mode & 0o7777, 0o700, "the directory keeps its attributes");
    assert!(
        volumes
            .import_into("data", "nope", &mut Cursor::new(&tar))
            .is_err()
    );
    opened.assert_sound("copied");
}

#[test]
fn one_writer_at_a_time() {
    let scratch = Scratch::new();
    let opened = scratch.open();
    let volumes = &opened.volumes;
    volumes.create(named("data")).unwrap();
    let claim = |exclusive| {
        [Claim {
            volume: "data".to_owned(),
            exclusive,
        }]
    };
    let nobody = |_: &str| Ok::<_, VolumeError>(Vec::new());
    volumes.claim("a", &claim(false), nobody).unwrap();
    volumes.claim("b", &claim(false), nobody).unwrap();
    let error = volumes.claim("c", &claim(true), nobody).unwrap_err();
    assert!(matches!(error, VolumeError::Exclusive { .. }), "{error}");
    volumes.unclaim("a");
    volumes.unclaim("b");
    volumes.claim("c", &claim(true), nobody).unwrap();
    assert!(volumes.claim("a", &claim(false), nobody).is_err());
    volumes.unclaim("c");
    // One that runs, and a volume that says so itself.
    let runs = |_: &str| Ok::<_, VolumeError>(vec![("r".to_owned(), false)]);
    volumes.claim("a", &claim(false), runs).unwrap();
    volumes.unclaim("a");
    let set = BTreeMap::from([("orlop.exclusive".to_owned(), "true".to_owned())]);
    volumes.label("data", &set, &[]).unwrap();
    assert!(volumes.claim("a", &claim(false), runs).is_err());
    volumes.claim("r", &claim(false), runs).unwrap();
}

#[test]
fn a_lost_database_loses_no_names() {
    let scratch = Scratch::new();
    let opened = scratch.open();
    let volumes = &opened.volumes;
    volumes.set_trash_policy(trash_for(3600)).unwrap();
    with_data(&opened, "first", "1");
    with_data(&opened, "second", "2");
    with_data(&opened, "removed", "3");
    with_data(&opened, "stripped", "4");
    let set = BTreeMap::from([("colour".to_owned(), "blue".to_owned())]);
    volumes.label("first", &set, &[]).unwrap();
    volumes.protect("first", true).unwrap();
    volumes.rename("second", "renamed", &|_| Ok(())).unwrap();
    volumes.remove("removed", false).unwrap();
    let stripped = volumes.get("stripped").unwrap().id.unwrap();
    std::fs::remove_file(opened.paths.volume_metadata(&stripped)).unwrap();
    let database = opened.paths.database();
    drop(opened);
    for suffix in ["", "-wal", "-shm"] {
        let path = format!("{}{suffix}", database.display());
        if std::fs::exists(&path).unwrap() {
            std::fs::remove_file(path).unwrap();
        }
    }
    let opened = scratch.open();
    let volumes = &opened.volumes;
    let names: Vec<String> = volumes
        .list()
        .unwrap()
        .into_iter()
        .map(|volume| volume.name)
        .collect();
    assert_eq!(names, ["first", "renamed"], "{:?}", opened.sentences);
    assert_eq!(volumes.get("first").unwrap().labels, Some(set));
    assert!(volumes.notes("first").unwrap().protected);
    assert_eq!(content(&opened, "renamed"), "2");
    volumes.undelete("removed", None).unwrap();
    assert_eq!(content(&opened, "removed"), "3");
    volumes.adopt(&stripped, Some("adopted")).unwrap();
    assert_eq!(content(&opened, "adopted"), "4");
    assert!(matches!(
        volumes.adopt(&stripped, None),
        Err(VolumeError::NotOrphan(_))
    ));
    opened.assert_sound("rescued");
}

#[test]
fn owners_that_are_changed_in_part() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: needs root");
        return;
    }
    let scratch = Scratch::new();
    let opened = scratch.open();
    let volumes = &opened.volumes;
    let names: Vec<String> = (0..3000).map(|n| format!("d{}/f{n}", n % 3)).collect();
    let root = filled(&opened, &names);
    let request = ChownRequest {
        uid: 5,
        gid: Some(77),
        from: None,
    };
    let told = std::sync::atomic::AtomicU64::new(0);
    let stopped = volumes.chown("data", request, &|more| {
        told.fetch_add(more.entries, std::sync::atomic::Ordering::Relaxed);
        std::ops::ControlFlow::Break(())
    });
    let error = stopped.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}");
    let theirs = names
        .iter()
        .filter(|name| std::fs::metadata(root.join(name)).unwrap().uid() == 5)
        .count();
    // Each thread ends after the first 256 of its directory.
    assert!(theirs < 2000, "{theirs}");
    let history = volumes.history("data").unwrap();
    let last = history.iter().find(|event| event.action == "chown");
    assert!(last.unwrap().detail.ends_with("to 5:77, not all"));
    // The rest is done by asking once more.
    let looked = std::sync::Mutex::new(0);
    let rest = volumes.chown("data", request, &|more| {
        *looked.lock().unwrap() += more.entries;
        std::ops::ControlFlow::Continue(())
    });
    let done = rest.unwrap();
    assert!((1003..3004).contains(&done), "{done}");
    assert_eq!(*looked.lock().unwrap(), 3003);
    assert!(told.into_inner() < 3003);
    for name in &names {
        assert_eq!(std::fs::metadata(root.join(name)).unwrap().uid(), 5);
    }
}
