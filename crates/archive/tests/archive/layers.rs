//! Image layers: deletions in archives, in overlay mounts, and in lists of changes.

use std::ffi::OsStr;
use std::fs;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use archive::{
    ChangeKind, PackOptions, PackWhiteouts, UnpackOptions, UnpackWhiteouts, changes, pack, unpack,
};
use sys::dir;
use sys::xattr::{self, Subject};

use crate::raw::{Raw, tar};
use crate::scratch::{Scratch, describe, is_root};

const LAYER: UnpackOptions<'static> = UnpackOptions {
    whiteouts: UnpackWhiteouts::ToOverlay,
    devices: archive::Devices::Allow,
    owner: archive::Owner::Keep,
    limits: archive::Limits {
        max_bytes: u64::MAX,
        max_entries: u64::MAX,
    },
    no_overwrite_dir_non_dir: false,
    rename: None,
    progress: None,
};

fn is_whiteout(path: &Path) -> bool {
    let parent = dir::open(path.parent().unwrap()).unwrap();
    dir::stat_at(parent.as_fd(), path.file_name().unwrap())
        .unwrap()
        .is_whiteout()
}

fn is_opaque(path: &Path) -> bool {
    let opened = dir::open(path).unwrap();
    xattr::get(
        Subject::Open(opened.as_fd()),
        OsStr::new("trusted.overlay.opaque"),
    )
    .unwrap()
    .is_some()
}

#[test]
fn deletions_in_a_layer() {
    if !is_root() {
        return;
    }
    let scratch = Scratch::new();
    let root = scratch.dir("layer");
    let at = |name: &str| scratch.path("layer").join(name);
    let stream = tar(&[
        Raw::file("gone/.wh.one", ""),
        Raw::dir("hides"),
        Raw::file("hides/.wh..wh..opq", ""),
        Raw::file("hides/new", ""),
        Raw::file("implicit/.wh..wh..opq", ""),
        // Deleted below and made anew, in either order.
        Raw::file(".wh.before", ""),
        Raw::dir("before"),
        Raw::file("before/x", ""),
        Raw::dir("after"),
        Raw::file("after/x", ""),
        Raw::file(".wh.after", ""),
        Raw::file(".wh.bare", ""),
        Raw::file("bare/x", ""),
        Raw::file(".wh.file", ""),
        Raw::file("file", "new"),
        Raw::file("file2", "new"),
        Raw::file(".wh.file2", ""),
        // What AUFS leaves in its layers.
        Raw::dir(".wh..wh.plnk"),
        Raw::file(".wh..wh.plnk/12.34", ""),
        Raw::file(".wh..wh.aufs", ""),
    ]);
    let done = unpack(stream.as_slice(), root.as_fd(), &LAYER).unwrap();
    assert_eq!(done.skipped, 3);
    assert!(is_whiteout(&at("gone/one")));
    for opaque in ["hides", "implicit", "before", "after", "bare"] {
        assert!(is_opaque(&at(opaque)), "{opaque}");
    }
    for kept in ["hides/new", "before/x", "after/x", "bare/x"] {
        assert!(at(kept).is_file(), "{kept}");
    }
    assert_eq!(
        (
            fs::read(at("file")).unwrap(),
            fs::read(at("file2")).unwrap()
        ),
        (b"new".to_vec(), b"new".to_vec())
    );
    assert!(!at(".wh..wh.plnk").exists() && !at(".wh.one").exists());
    for wrong in [".wh.", ".wh...", ".wh.."] {
        let error = unpack(
            tar(&[Raw::file(wrong, "")]).as_slice(),
            root.as_fd(),
            &LAYER,
        )
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("a path of the archive is not usable: {wrong}")
        );
    }
    // As plain names where no layer is made.
    let plain = scratch.dir("plain");
    unpack(stream.as_slice(), plain.as_fd(), &UnpackOptions::default()).unwrap();
    assert!(
        scratch.path("plain/gone/.wh.one").is_file()
            && scratch.path("plain/.wh..wh.plnk/12.34").is_file()
    );
}

#[test]
fn a_containers_changes_become_a_layer() {
    if !is_root() {
        return;
    }
    let scratch = Scratch::new();
    for name in ["lower", "upper", "work", "empty", "again"] {
        scratch.dir(name);
    }
    let lower = |name: &str| scratch.path("lower").join(name);
    for (name, text) in [
        ("etc/passwd", "root"),
        ("etc/hosts", ""),
        ("etc/deep/er/file", ""),
        ("gone", "x"),
        ("untouched/x", ""),
        ("tree/a", ""),
        ("tree/b", ""),
        ("dir-to-file/x", ""),
        ("file-to-dir", ""),
        ("a-b", ""),
        ("a/b", ""),
    ] {
        fs::create_dir_all(lower(name).parent().unwrap()).unwrap();
        fs::write(lower(name), text).unwrap();
    }
    let layers = [PathBuf::from("lower"), "empty".into()];
    let (upper, work) = (scratch.path("upper"), scratch.path("work"));
    sys::overlay::with_view(&scratch.0, &layers, Some((&upper, &work)), |root| {
        let path = |name: &str| {
            PathBuf::from(format!(
                "/proc/self/fd/{}/{name}",
                std::os::fd::AsRawFd::as_raw_fd(&root)
            ))
        };
        // A file changed in place, one added deep, some deleted, types changed, a mode, a directory replaced.
        fs::write(path("etc/passwd"), "changed").unwrap();
        fs::write(path("etc/deep/er/new"), "new").unwrap();
        fs::remove_file(path("gone")).unwrap();
        fs::remove_file(path("a-b")).unwrap();
        fs::write(path("a/c"), "").unwrap();
        fs::remove_dir_all(path("dir-to-file")).unwrap();
        fs::write(path("dir-to-file"), "now a file").unwrap();
        fs::remove_file(path("file-to-dir")).unwrap();
        fs::create_dir(path("file-to-dir")).unwrap();
        fs::write(path("file-to-dir/y"), "").unwrap();
        fs::remove_dir_all(path("tree")).unwrap();
        fs::create_dir(path("tree")).unwrap();
        fs::write(path("tree/b"), "other").unwrap();
        fs::create_dir_all(path("added/below")).unwrap();
        symlink("nowhere", path("added/below/link")).unwrap();
        fs::set_permissions(path("untouched"), fs::Permissions::from_mode(0o700)).unwrap();
        fs::write(path(".wh.mine"), "").unwrap();
    })
    .unwrap();

    let listed: Vec<String> = sys::overlay::with_view(&scratch.0, &layers, None, |below| {
        changes(dir::open(&upper).unwrap().as_fd(), below).unwrap()
    })
    .unwrap()
    .into_iter()
    .map(|change| {
        let kind = match change.kind {
            ChangeKind::Modified => 'C',
            ChangeKind::Added => 'A',
            ChangeKind::Deleted => 'D',
        };
        format!("{kind} {}", change.path.display())
    })
    .collect();
    let expected = [
        "A /.wh.mine",
        "C /a",
        "D /a-b",
        "A /a/c",
        "A /added",
        "A /added/below",
        "A /added/below/link",
        "C /dir-to-file",
        "C /etc",
        "C /etc/deep",
        "C /etc/deep/er",
        "A /etc/deep/er/new",
        "C /etc/passwd",
        "C /file-to-dir",
        "A /file-to-dir/y",
        "D /gone",
        "C /tree",
        "D /tree/a",
        "C /tree/b",
        "C /untouched",
    ];
    assert_eq!(listed, expected);

    let mut layer = Vec::new();
    let options = PackOptions {
        whiteouts: PackWhiteouts::ToAufs,
        ..Default::default()
    };
    let packed = pack(dir::open(&upper).unwrap().as_fd(), &mut layer, &options).unwrap();
    assert_eq!((packed.skipped, packed.bytes), (1, layer.len() as u64));
    let mut names: Vec<String> = Vec::new();
    for entry in tar::Archive::new(layer.as_slice()).entries().unwrap() {
        names.push(entry.unwrap().path().unwrap().display().to_string());
    }
    for name in [
        ".wh.gone",
        ".wh.a-b",
        "tree/",
        "tree/.wh..wh..opq",
        "file-to-dir/",
        "dir-to-file",
    ] {
        assert!(
            names.iter().any(|known| known == name),
            "{name} is missing in {names:?}"
        );
    }
    assert!(
        !names.iter().any(|name| name.contains(".wh.mine")),
        "{names:?}"
    );

    // On top of the same layers it gives the same tree.
    unpack(
        layer.as_slice(),
        dir::open(&scratch.path("again")).unwrap().as_fd(),
        &LAYER,
    )
    .unwrap();
    let tree = |top: &str| {
        let lowers = [PathBuf::from(top), "lower".into()];
        sys::overlay::with_view(&scratch.0, &lowers, None, |root| {
            let path = format!("/proc/self/fd/{}/.", std::os::fd::AsRawFd::as_raw_fd(&root));
            let mut described = describe(Path::new(&path));
            described.remove(Path::new(".wh.mine"));
            described.remove(Path::new(""));
            described
        })
        .unwrap()
    };
    assert_eq!(tree("upper"), tree("again"));
}

#[test]
fn incomplete_files_are_not_committed() {
    if !is_root() {
        return;
    }
    let scratch = Scratch::new();
    let upper = scratch.dir("upper");
    fs::write(scratch.path("upper/half"), "").unwrap();
    let half = Subject::Entry(upper.as_fd(), OsStr::new("half"));
    xattr::set(half, OsStr::new("trusted.overlay.metacopy"), b"").unwrap();
    let options = PackOptions {
        whiteouts: PackWhiteouts::ToAufs,
        ..Default::default()
    };
    let error = pack(upper.as_fd(), Vec::new(), &options).unwrap_err();
    assert_eq!(
        error.to_string(),
        "half is not complete without the layers below"
    );
}
