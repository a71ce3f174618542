//! What we write, GNU tar reads, and the other way round; nothing is lost.

use std::ffi::OsStr;
use std::fs;
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use archive::{PackOptions, UnpackOptions, pack, unpack};
use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps};
use rustix::process::{Gid, Uid};
use sys::dir;
use sys::xattr::{self, Subject};

use crate::scratch::{Scratch, describe, is_root, run};

const WHOLE: PackOptions<'static> = PackOptions {
    annotations: &[],
    path: PathBuf::new(),
    follow: false,
    name: None,
    root_entry: true,
    whiteouts: archive::PackWhiteouts::Literal,
    one_file_system: false,
    choose: None,
    as_root: false,
    progress: None,
};

/// A tree with one of everything.
fn plant(root: &Path) {
    let at = |name: &str| root.join(name);
    let long = "long name ".repeat(20);
    fs::create_dir_all(at("a/b/empty")).unwrap();
    fs::create_dir_all(at(&long).join(&long)).unwrap();
    fs::write(at(&long).join(&long).join("file"), "far away").unwrap();
    fs::hard_link(at(&long).join(&long).join("file"), at("zz near")).unwrap();
    fs::write(at("a/file"), "contents").unwrap();
    fs::write(at("a/b/large"), vec![7; 3 << 20]).unwrap();
    fs::write(at("nothing"), "").unwrap();
    fs::write(root.join(OsStr::from_bytes(b"odd \xff\n name")), "x").unwrap();
    fs::hard_link(at("a/file"), at("same")).unwrap();
    symlink("../../etc/passwd", at("a/link")).unwrap();
    symlink(&long, at("long link")).unwrap();
    for (name, pieces, size) in [
        ("sparse middle", &[(5_u64 << 20, 4096_usize)][..], 8 << 20),
        ("sparse start", &[(0, 5000)], 1 << 20),
        ("sparse end", &[((1 << 20) - 100, 100)], 1 << 20),
        ("sparse all", &[], 8 << 20),
        (
            "sparse many",
            &[
                (0, 10),
                (100_000, 10),
                (200_000, 10),
                (300_000, 10),
                (400_000, 10),
                (500_000, 10),
                (600_000, 10),
            ],
            700_000,
        ),
    ] {
        let file = fs::File::create(at(name)).unwrap();
        file.set_len(size).unwrap();
        for (offset, length) in pieces {
            file.write_all_at(&vec![b'd'; *length], *offset).unwrap();
        }
    }
    for (name, kind, device) in [
        ("fifo", FileType::Fifo, 0),
        ("null", FileType::CharacterDevice, rustix::fs::makedev(1, 3)),
        (
            "disk",
            FileType::BlockDevice,
            rustix::fs::makedev(259, 70_000),
        ),
    ] {
        rustix::fs::mknodat(CWD, at(name), kind, Mode::from_raw_mode(0o640), device).unwrap();
    }
    for (name, uid, gid) in [
        ("a/file", 1000, 1001),
        ("a", 33, 34),
        ("a/link", 5, 6),
        ("fifo", 7, 8),
        ("nothing", 4_000_000_000, 3_999_999_999),
    ] {
        rustix::fs::chownat(
            CWD,
            at(name),
            Some(Uid::from_raw(uid)),
            Some(Gid::from_raw(gid)),
            AtFlags::SYMLINK_NOFOLLOW,
        )
        .unwrap();
    }
    for (name, mode) in [
        ("a", 0o3555),
        ("a/file", 0o6755),
        ("nothing", 0),
        ("a/b/empty", 0o1777),
    ] {
        fs::set_permissions(at(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    let top = dir::open(root).unwrap();
    let below = dir::open(&at("a")).unwrap();
    let set =
        |subject, name: &str, value: &[u8]| xattr::set(subject, OsStr::new(name), value).unwrap();
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    set(
        Subject::Entry(below.as_fd(), OsStr::new("file")),
        "security.capability",
        &capability,
    );
    set(
        Subject::Entry(below.as_fd(), OsStr::new("file")),
        "user.note",
        b"two\nlines=\0\xff",
    );
    set(Subject::Open(below.as_fd()), "trusted.mark", &[0, 255]);
    let mut acl = vec![2, 0, 0, 0];
    for (tag, permissions, id) in [
        (1_u16, 6_u16, u32::MAX),
        (2, 4, 123_456),
        (4, 4, u32::MAX),
        (16, 4, u32::MAX),
        (32, 0, u32::MAX),
    ] {
        acl.extend_from_slice(&tag.to_le_bytes());
        acl.extend_from_slice(&permissions.to_le_bytes());
        acl.extend_from_slice(&id.to_le_bytes());
    }
    set(
        Subject::Entry(top.as_fd(), OsStr::new("zz near")),
        "system.posix_acl_access",
        &acl,
    );
    set(
        Subject::Open(below.as_fd()),
        "system.posix_acl_default",
        &acl,
    );
    let time = |name: &str, seconds, nanoseconds| {
        let time = Timespec {
            tv_sec: seconds,
            tv_nsec: nanoseconds,
        };
        let times = Timestamps {
            last_access: time,
            last_modification: time,
        };
        rustix::fs::utimensat(CWD, at(name), &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    };
    time("nothing", -5, 0);
    for (name, seconds) in [
        ("a/file", 1_000_000_000),
        ("a/link", 999),
        ("fifo", 1),
        ("a/b", 1_500_000_000),
        ("a", 1_600_000_000),
        ("same", 7),
    ] {
        time(name, seconds, 123_456_789);
    }
    fs::set_permissions(root, fs::Permissions::from_mode(0o2751)).unwrap();
    time("", 1_234_567_890, 500);
}

fn pack_all(root: &Path) -> Vec<u8> {
    let mut stream = Vec::new();
    pack(dir::open(root).unwrap().as_fd(), &mut stream, &WHOLE).unwrap();
    stream
}

fn assert_sparse(root: &Path) {
    for name in ["sparse middle", "sparse start", "sparse end", "sparse all"] {
        let blocks = fs::metadata(root.join(name)).unwrap().blocks();
        assert!(blocks <= 32, "{name} takes {blocks} blocks");
    }
}

fn assert_same(one: &Path, other: &Path) {
    let (one, other) = (describe(one), describe(other));
    for (path, text) in &one {
        assert_eq!(other.get(path), Some(text), "{}", path.display());
    }
    assert_eq!(one.len(), other.len());
}

#[test]
fn through_our_own_hands() {
    if !is_root() {
        return;
    }
    let scratch = Scratch::new();
    let (src, dst) = (scratch.path("src"), scratch.path("dst"));
    scratch.dir("src");
    let target = scratch.dir("dst");
    plant(&src);
    let stream = pack_all(&src);
    assert!(
        stream.len() < 5 << 20,
        "holes were packed: {} bytes",
        stream.len()
    );
    let done = unpack(stream.as_slice(), target.as_fd(), &UnpackOptions::default()).unwrap();
    assert_same(&src, &dst);
    assert_sparse(&dst);
    assert_eq!(done.entries, describe(&src).len() as u64);
    assert_eq!(stream, pack_all(&dst), "the same tree gives other bytes");
}

#[test]
fn to_gnu_tar() {
    if !is_root() {
        return;
    }
    let scratch = Scratch::new();
    let (src, dst) = (scratch.path("src"), scratch.path("dst"));
    scratch.dir("src");
    scratch.dir("dst");
    plant(&src);
    fs::write(scratch.path("tar"), pack_all(&src)).unwrap();
    run(Command::new("tar")
        .args([
            "--xattrs",
            "--xattrs-include=*",
            "--acls",
            "--numeric-owner",
            "-xpf",
        ])
        .arg(scratch.path("tar"))
        .arg("-C")
        .arg(&dst));
    assert_same(&src, &dst);
    assert_sparse(&dst);
    // And another reader, for the names.
    let mut names = 0;
    for entry in tar::Archive::new(pack_all(&src).as_slice())
        .entries()
        .unwrap()
    {
        entry.unwrap();
        names += 1;
    }
    assert_eq!(names, describe(&src).len());
}

#[test]
fn from_gnu_tar() {
    if !is_root() {
        return;
    }
    let scratch = Scratch::new();
    let src = scratch.path("src");
    scratch.dir("src");
    plant(&src);
    for (number, arguments) in [
        &["--format=pax", "--xattrs", "--acls"][..],
        &["--format=pax", "--xattrs", "--acls", "--sparse"],
        &[
            "--format=pax",
            "--xattrs",
            "--acls",
            "--sparse",
            "--sparse-version=0.1",
        ],
        &[
            "--format=pax",
            "--xattrs",
            "--acls",
            "--sparse",
            "--sparse-version=0.0",
        ],
        &["--format=gnu", "--sparse"],
    ]
    .iter()
    .enumerate()
    {
        let stream = scratch.path(&format!("{number}.tar"));
        run(Command::new("tar")
            .args(*arguments)
            .args(["--numeric-owner", "-cf"])
            .arg(&stream)
            .arg("-C")
            .arg(&src)
            .arg("."));
        let name = format!("dst{number}");
        let target = scratch.dir(&name);
        unpack(
            fs::File::open(&stream).unwrap(),
            target.as_fd(),
            &UnpackOptions::default(),
        )
        .unwrap();
        let (expected, mut found) = (describe(&src), describe(&scratch.path(&name)));
        if arguments.contains(&"--format=gnu") {
            // That format has whole seconds and no attributes.
            for (path, text) in &expected {
                let size = |text: &str| text.rsplit(' ').take(2).collect::<Vec<_>>().join(" ");
                let mode = |text: &str| text.split(' ').take(2).collect::<Vec<_>>().join(" ");
                let found = found.remove(path).unwrap_or_default();
                assert_eq!(mode(&found), mode(text), "{}", path.display());
                if !path.as_os_str().is_empty() {
                    assert_eq!(size(&found), size(text), "{}", path.display());
                }
            }
        } else {
            assert_same(&src, &scratch.path(&name));
        }
        if arguments.contains(&"--sparse") {
            assert_sparse(&scratch.path(&name));
        }
        dir::remove_tree(&scratch.path(&name)).unwrap();
    }
}

fn packed_names(root: &Path, options: &PackOptions<'_>) -> Vec<String> {
    let mut stream = Vec::new();
    pack(dir::open(root).unwrap().as_fd(), &mut stream, options).unwrap();
    tar::Archive::new(stream.as_slice())
        .entries()
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let link = entry
                .link_name()
                .unwrap()
                .map(|link| format!(" -> {}", link.display()));
            format!(
                "{}{}",
                entry.path().unwrap().display(),
                link.unwrap_or_default()
            )
        })
        .collect()
}

#[test]
fn parts_of_a_tree() {
    let scratch = Scratch::new();
    for directory in ["etc/sub", "mnt", "outside"] {
        fs::create_dir_all(scratch.path("root").join(directory)).unwrap();
    }
    let root = scratch.path("root");
    fs::write(root.join("etc/b"), "b").unwrap();
    fs::hard_link(root.join("etc/b"), root.join("etc/a")).unwrap();
    fs::write(root.join("etc/sub/c"), "c").unwrap();
    symlink("/etc", root.join("link")).unwrap();
    symlink("link/b", root.join("file-link")).unwrap();
    rustix::fs::mknodat(
        CWD,
        root.join("etc/socket"),
        FileType::Socket,
        Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    let all = [
        "etc/",
        "etc/a",
        "etc/b -> etc/a",
        "etc/sub/",
        "etc/sub/c",
        "file-link -> link/b",
        "link -> /etc",
        "mnt/",
        "outside/",
    ];
    let etc = ["etc/", "etc/a", "etc/b -> etc/a", "etc/sub/", "etc/sub/c"];
    let with = |path: &str, name: Option<&str>, follow: bool| PackOptions {
        path: path.into(),
        name: name.map(PathBuf::from),
        follow,
        ..Default::default()
    };
    let renamed: Vec<String> = etc
        .iter()
        .map(|name| name.replace("etc/", "new/name/"))
        .collect();
    let link: Vec<String> = etc
        .iter()
        .map(|name| name.replace("etc/", "link/"))
        .collect();
    let cases: Vec<(PackOptions<'_>, Vec<String>)> = vec![
        (with("", None, false), all.map(str::to_owned).to_vec()),
        (with("/", None, false), all.map(str::to_owned).to_vec()),
        (with("/etc", None, false), etc.map(str::to_owned).to_vec()),
        (with("etc/", Some("new/name"), false), renamed),
        (with("link", None, false), vec!["link -> /etc".to_owned()]),
        (with("link", None, true), link),
        (
            with("link/../link/sub/c", None, false),
            vec!["c".to_owned()],
        ),
        (with("file-link", None, true), vec!["file-link".to_owned()]),
        (with("../../etc/b", Some("x"), false), vec!["x".to_owned()]),
    ];
    for (options, expected) in cases {
        assert_eq!(packed_names(&root, &options), expected, "{options:?}");
    }
    let mut whole = packed_names(&root, &WHOLE);
    assert_eq!(whole.remove(0), "./");
    assert_eq!(whole, all);
    let mut stream = Vec::new();
    let missing = pack(
        dir::open(&root).unwrap().as_fd(),
        &mut stream,
        &with("etc/none", None, false),
    );
    assert_eq!(missing.unwrap_err().to_string(), "cannot read etc/none");
    assert!(stream.is_empty());
}

#[test]
fn mounts_can_be_left_out() {
    if !is_root() {
        return;
    }
    let scratch = Scratch::new();
    scratch.dir("root/mnt");
    scratch.dir("other");
    fs::write(scratch.path("other/hidden"), "").unwrap();
    let root = scratch.path("root");
    rustix::mount::mount_bind(scratch.path("other"), root.join("mnt")).unwrap();
    let inside = packed_names(&root, &PackOptions::default());
    let only = packed_names(
        &root,
        &PackOptions {
            one_file_system: true,
            ..Default::default()
        },
    );
    rustix::mount::unmount(root.join("mnt"), rustix::mount::UnmountFlags::empty()).unwrap();
    assert_eq!(inside, ["mnt/", "mnt/hidden"]);
    assert_eq!(only, ["mnt/"]);
}

#[test]
fn files_from_memory() {
    let write = || {
        let mut stream: Vec<u8> = Vec::new();
        let mut writer = archive::FileWriter::new(&mut stream);
        writer.file("index.json", b"{}").unwrap();
        writer
            .stream(
                &format!("blobs/{}", "x".repeat(120)),
                700,
                &mut &[1; 1000][..],
            )
            .unwrap();
        writer.finish().unwrap();
        stream
    };
    let stream = write();
    assert_eq!(stream, write());
    let scratch = Scratch::new();
    let target = scratch.dir("t");
    let done = unpack(stream.as_slice(), target.as_fd(), &UnpackOptions::default()).unwrap();
    assert_eq!((done.entries, done.bytes), (2, 702));
    let mut short: Vec<u8> = Vec::new();
    let error = archive::FileWriter::new(&mut short)
        .stream("x", 5, &mut &b"abc"[..])
        .unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
}
