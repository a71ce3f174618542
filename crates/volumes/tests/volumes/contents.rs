//! Populate, import, export.

use std::io::Cursor;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt};
use std::path::Path;

use store::ErrorKind;
use volumes::Disposal;

use crate::scratch::{Opened, Scratch, named, open_dir, tree, write_files};

fn populate(opened: &Opened, name: &str, subpath: Option<&str>, source: &Path) -> bool {
    opened
        .volumes
        .populate(name, subpath, open_dir(source).as_fd(), None)
        .unwrap()
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().mode() & 0o7777
}

#[test]
fn an_empty_volume_takes_contents_and_root_attributes_once() {
    let scratch = Scratch::new();
    let opened = scratch.open();
    let source = scratch.source(&[("a", "1"), ("d/b", "2")]);
    std::fs::set_permissions(&source, PermissionsExt::from_mode(0o2750)).unwrap();
    std::os::unix::fs::chown(&source, Some(5), Some(6)).unwrap();
    std::os::unix::fs::symlink("a", source.join("link")).unwrap();
    std::fs::hard_link(source.join("a"), source.join("d/hard")).unwrap();
    opened.volumes.create(named("data")).unwrap();
    let root = opened.paths.mountpoint("data");
    assert_eq!(mode(&root), 0o755);

    assert!(populate(&opened, "data", None, &source));
    assert_eq!(tree(&root), tree(&source));
    let meta = std::fs::metadata(&root).unwrap();
    assert_eq!(
        (meta.mode() & 0o7777, meta.uid(), meta.gid()),
        (0o2750, 5, 6)
    );
    assert_eq!(meta.mtime(), std::fs::metadata(&source).unwrap().mtime());
    assert_eq!(
        std::fs::metadata(root.join("a")).unwrap().ino(),
        std::fs::metadata(root.join("d/hard")).unwrap().ino()
    );

    write_files(&source, &[("later", "3")]);
    assert!(
        !populate(&opened, "data", None, &source),
        "it is not empty any more"
    );
    assert!(!root.join("later").exists());
    opened.assert_sound("populated");
}

#[test]
fn an_empty_source_gives_its_attributes_again_and_again() {
    let scratch = Scratch::new();
    let opened = scratch.open();
    let source = scratch.source(&[]);
    opened.volumes.create(named("data")).unwrap();
    let root = opened.paths.mountpoint("data");
    for wanted in [0o1777, 0o700] {
        std::fs::set_permissions(&source, PermissionsExt::from_mode(wanted)).unwrap();
        assert!(populate(&opened, "data", None, &source));
        assert_eq!(mode(&root), wanted);
    }
}

#[test]
fn a_lost_and_found_disables_it_and_subpaths_stay_inside() {
    let scratch = Scratch::new();
    let opened = scratch.open();
    let source = scratch.source(&[("a", "1")]);
    opened.volumes.create(named("data")).unwrap();
    let root = opened.paths.mountpoint("data");
    std::fs::create_dir(root.join("lost+found")).unwrap();
    assert!(!populate(&opened, "data", None, &source));
    assert!(populate(&opened, "data", Some("lost+found"), &source));
    assert_eq!(tree(&root.join("lost+found")), tree(&source));
    assert!(!populate(&opened, "data", Some("missing"), &source));
    std::os::unix::fs::symlink("/", root.join("out")).unwrap();
    for escape in ["../..", "out/tmp", "/tmp"] {
        let result = opened
            .volumes
            .populate("data", Some(escape), open_dir(&source).as_fd(), None);
        assert!(!matches!(result, Ok(true)), "{escape}: {result:?}");
    }
    opened.assert_sound("populated");
}

#[test]
fn a_failed_copy_changes_nothing() {
    let scratch = Scratch::new();
    let opened = scratch.open();
    let source = scratch.source(&[("a", "1")]);
    opened.volumes.create(named("data")).unwrap();
    let before = opened.view();
    let armed = sys::fault::at_step("volume-fill:stage:done", sys::fault::Action::Fail(28));
    let error = opened
        .volumes
        .populate("data", None, open_dir(&source).as_fd(), None)
        .unwrap_err();
    drop(armed);
    assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}");
    assert_eq!(opened.view(), before);
    opened.assert_sound("failed");
}

#[test]
fn export_and_import_round_trip_and_merge() {
    let scratch = Scratch::new();
    let opened = scratch.open();
    let volumes = &opened.volumes;
    for name in ["from", "into"] {
        volumes.create(named(name)).unwrap();
    }
    let (from, into) = (
        opened.paths.mountpoint("from"),
        opened.paths.mountpoint("into"),
    );
    write_files(&from, &[("a", "new"), ("d/b", "new"), ("was-dir", "file")]);
    std::fs::create_dir(from.join("was-file")).unwrap();
    std::fs::set_permissions(from.join("d"), PermissionsExt::from_mode(0o750)).unwrap();
    std::fs::set_permissions(&from, PermissionsExt::from_mode(0o1770)).unwrap();
    let mut tar = Vec::new();
    volumes
        .export("from", archive::Compressed::Not, &mut tar)
        .unwrap();

    write_files(
        &into,
        &[
            ("a", "old"),
            ("d/kept", "old"),
            ("kept", "old"),
            ("was-dir/x", "old"),
            ("was-file", "old"),
        ],
    );
    std::os::unix::fs::symlink("/etc", into.join("link")).unwrap();
    volumes.import("into", &mut Cursor::new(&tar)).unwrap();
    let mut expected = tree(&from);
    expected.insert("kept".to_owned(), "old".to_owned());
    expected.insert("d/kept".to_owned(), "old".to_owned());
    expected.insert("link".to_owned(), "-> /etc".to_owned());
    assert_eq!(tree(&into), expected);
    assert_eq!(mode(&into), 0o1770);
    opened.assert_sound("imported");

    // Without an entry for the root, the root stays as it is.
    let bare = scratch.source(&[("only", "1")]);
    let mut tar = Vec::new();
    archive::pack(
        open_dir(&bare).as_fd(),
        &mut tar,
        &archive::PackOptions::default(),
    )
    .unwrap();
    volumes.import("into", &mut Cursor::new(&tar)).unwrap();
    assert_eq!(mode(&into), 0o1770);
    assert!(into.join("only").exists());
}

#[test]
fn a_broken_archive_changes_nothing() {
    let scratch = Scratch::new();
    let opened = scratch.open();
    let volumes = &opened.volumes;
    volumes.create(named("data")).unwrap();
    write_files(
        &opened.paths.mountpoint("data"),
        &[("a", &"1".repeat(100_000))],
    );
    let mut tar = Vec::new();
    volumes
        .export("data", archive::Compressed::Not, &mut tar)
        .unwrap();
    let before = opened.view();
    for bad in [
        &tar[..tar.len() / 2],
        b"this is no archive at all",
        &[0x42; 2000],
    ] {
        let error = volumes.import("data", &mut Cursor::new(bad)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert_eq!(opened.view(), before);
        opened.assert_sound("refused");
    }
    // A volume that is made for an archive goes again when the archive is broken.
    let half = &tar[..tar.len() / 2];
    let error = volumes.import("none", &mut Cursor::new(half)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert_eq!(opened.view(), before);
    opened.assert_sound("taken back");
}

#[test]
fn a_new_volume_is_as_the_exported_one_was() {
    let scratch = Scratch::new();
    let opened = scratch.open();
    let volumes = &opened.volumes;
    let mut given = named("from");
    given.labels = [("team".to_owned(), "a".to_owned())].into();
    volumes.create(given).unwrap();
    write_files(&opened.paths.mountpoint("from"), &[("a", "1")]);
    for compressed in [
        archive::Compressed::Not,
        archive::Compressed::Gzip,
        archive::Compressed::Xz,
        archive::Compressed::Zstd,
    ] {
        let mut tar = Vec::new();
        volumes.export("from", compressed, &mut tar).unwrap();
        let imported = volumes.import("new", &mut Cursor::new(&tar)).unwrap();
        assert!(imported.created && imported.warnings.is_empty());
        let new = volumes.get("new").unwrap();
        assert_eq!(new.labels, volumes.get("from").unwrap().labels);
        assert_eq!(
            tree(&opened.paths.mountpoint("new")),
            tree(&opened.paths.mountpoint("from"))
        );
        // One that is there keeps its own.
        volumes
            .label("new", &[("team".to_owned(), "b".to_owned())].into(), &[])
            .unwrap();
        let imported = volumes.import("new", &mut Cursor::new(&tar)).unwrap();
        assert!(!imported.created);
        assert_eq!(volumes.get("new").unwrap().labels.unwrap()["team"], "b");
        volumes.dispose("new", false, Disposal::Now).unwrap();
        opened.assert_sound("imported");
    }
    // An archive that says nothing of itself makes no volume.
    let bare = scratch.source(&[("only", "1")]);
    let mut tar = Vec::new();
    archive::pack(
        open_dir(&bare).as_fd(),
        &mut tar,
        &archive::PackOptions::default(),
    )
    .unwrap();
    let error = volumes.import("new", &mut Cursor::new(&tar)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}
