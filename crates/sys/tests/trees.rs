//! Trees: looking up, measuring, removing, copying, merging. Needs root; other users skip what they may not do.

#![expect(clippy::unwrap_used, reason = "a test")]
#![allow(
    clippy::disallowed_methods,
    reason = "tests make their own scratch files"
)]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, ErrorKind};
use std::ops::ControlFlow;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use rustix::fs::{AtFlags, CWD, FileType, IFlags, Mode, OFlags, Timespec, Timestamps};
use rustix::process::{Gid, Uid};
use sys::catch_up::Began;
use sys::copy_tree::{Copied, CopyError, CopyOptions, Counts, copy_tree};
use sys::dir;
use sys::untouched::is_untouched;
use sys::xattr::{self, Subject};

struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        Self::below(&std::env::temp_dir())
    }

    fn below(parent: &Path) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("sys-trees-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn dir(&self, name: &str) -> OwnedFd {
        fs::create_dir_all(self.path(name)).unwrap();
        dir::open(&self.path(name)).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = dir::remove_tree(&self.0) {
            eprintln!("{}: {error}", self.0.display());
        }
    }
}

fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("skipped: needs root");
    }
    root
}

/// Everything that a copy must keep, by path.
fn describe(root: &Path) -> BTreeMap<PathBuf, String> {
    fn walk(
        root: &Path,
        at: &Path,
        inodes: &mut BTreeMap<u64, PathBuf>,
        out: &mut BTreeMap<PathBuf, String>,
    ) {
        let here = root.join(at);
        let dir = dir::open(&here).unwrap();
        let mut names: Vec<_> = fs::read_dir(&here)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        for name in names {
            let path = at.join(&name);
            let meta = fs::symlink_metadata(root.join(&path)).unwrap();
            let subject = Subject::Entry(dir.as_fd(), &name);
            let mut attributes: Vec<_> = xattr::list(subject)
                .unwrap()
                .into_iter()
                .map(|key| (key.clone(), xattr::get(subject, &key).unwrap()))
                .filter(|(key, _)| !key.as_bytes().starts_with(b"trusted.overlay."))
                .collect();
            attributes.sort();
            let content = if meta.is_file() {
                let bytes = fs::read(root.join(&path)).unwrap();
                format!(
                    "{} {:?}",
                    bytes.len(),
                    bytes.iter().fold(0u64, |sum, byte| sum
                        .wrapping_mul(31)
                        .wrapping_add(u64::from(*byte)))
                )
            } else if meta.is_symlink() {
                fs::read_link(root.join(&path))
                    .unwrap()
                    .display()
                    .to_string()
            } else {
                String::new()
            };
            let first = if meta.is_dir() {
                path.clone()
            } else {
                inodes
                    .entry(meta.ino())
                    .or_insert_with(|| path.clone())
                    .clone()
            };
            out.insert(
                path.clone(),
                format!(
                    "{:o} {}:{} {}.{} {:x} {attributes:?} {} {content}",
                    meta.mode(),
                    meta.uid(),
                    meta.gid(),
                    meta.mtime(),
                    meta.mtime_nsec(),
                    meta.rdev(),
                    first.display()
                ),
            );
            if meta.is_dir() {
                walk(root, &path, inodes, out);
            }
        }
    }
    let mut out = BTreeMap::new();
    walk(root, Path::new(""), &mut BTreeMap::new(), &mut out);
    out
}

fn set_time(path: &Path, seconds: i64, nanoseconds: i64) {
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: nanoseconds,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// A tree with one of everything.
fn plant(root: &Path) {
    let at = |name: &str| root.join(name);
    fs::create_dir_all(at("a/b/empty")).unwrap();
    fs::write(at("a/file"), "contents").unwrap();
    fs::write(at("a/b/large"), vec![7; 3 << 20]).unwrap();
    fs::write(at("nothing"), "").unwrap();
    fs::write(root.join(OsStr::from_bytes(b"odd \xff\n name")), "x").unwrap();
    fs::hard_link(at("a/file"), at("a/b/same")).unwrap();
    fs::hard_link(at("a/file"), at("same")).unwrap();
    symlink("../../etc/passwd", at("a/link")).unwrap();
    symlink("missing", at("dangling")).unwrap();
    fs::hard_link(at("dangling"), at("a/dangling too")).unwrap();
    let sparse = fs::File::create(at("sparse")).unwrap();
    sparse.set_len(64 << 20).unwrap();
    sparse.write_all_at(b"middle", 20 << 20).unwrap();
    for (name, kind, device) in [
        ("fifo", FileType::Fifo, 0),
        ("socket", FileType::Socket, 0),
        ("null", FileType::CharacterDevice, rustix::fs::makedev(1, 3)),
        ("whiteout", FileType::CharacterDevice, 0),
        ("disk", FileType::BlockDevice, rustix::fs::makedev(7, 200)),
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
        ("null", 0o666),
    ] {
        fs::set_permissions(at(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    let dir = dir::open(root).unwrap();
    let file = dir::open(&at("a")).unwrap();
    let set =
        |subject, name: &str, value: &[u8]| xattr::set(subject, OsStr::new(name), value).unwrap();
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    set(
        Subject::Entry(file.as_fd(), OsStr::new("file")),
        "security.capability",
        &capability,
    );
    set(
        Subject::Entry(file.as_fd(), OsStr::new("file")),
        "user.note",
        b"kept",
    );
    set(Subject::Open(file.as_fd()), "trusted.mark", &[0, 255]);
    set(Subject::Open(file.as_fd()), "trusted.overlay.opaque", b"y");
    set(
        Subject::Entry(dir.as_fd(), OsStr::new("dangling")),
        "trusted.link",
        b"on a link",
    );
    // user::rw- user:1000:r-- group::r-- mask::r-- other::---
    let acl = |rows: &[(u16, u16, u32)]| {
        let mut value = vec![2, 0, 0, 0];
        for (tag, permissions, id) in rows {
            value.extend_from_slice(&tag.to_le_bytes());
            value.extend_from_slice(&permissions.to_le_bytes());
            value.extend_from_slice(&id.to_le_bytes());
        }
        value
    };
    let rows = [
        (1, 6, u32::MAX),
        (2, 4, 1000),
        (4, 4, u32::MAX),
        (16, 4, u32::MAX),
        (32, 0, u32::MAX),
    ];
    set(
        Subject::Entry(dir.as_fd(), OsStr::new("sparse")),
        "system.posix_acl_access",
        &acl(&rows),
    );
    set(
        Subject::Open(file.as_fd()),
        "system.posix_acl_default",
        &acl(&rows),
    );
    for (number, name) in [
        "a/file",
        "a/link",
        "sparse",
        "fifo",
        "a/b/empty",
        "a/b",
        "a",
    ]
    .iter()
    .enumerate()
    {
        set_time(&at(name), 1_000_000_000 + number as i64, 123_456_789);
    }
    set_time(&at("nothing"), -5, 1);
}

#[test]
fn a_copy_keeps_everything() {
    if !is_root() {
        return;
    }
    let scratch = Scratch::new();
    let (src, dst) = (scratch.dir("src"), scratch.dir("dst"));
    plant(&scratch.path("src"));
    fs::set_permissions(scratch.path("src"), fs::Permissions::from_mode(0o2750)).unwrap();
    set_time(&scratch.path("src"), 1_234_567_890, 5);
    // What a file takes is settled when it is on the disk.
    rustix::fs::syncfs(&src).unwrap();
    let told = Mutex::new(Copied::default());
    let watch = |more: Copied| {
        let mut told = told.lock().unwrap();
        told.entries += more.entries;
        told.bytes += more.bytes;
        ControlFlow::Continue(())
    };
    let options = CopyOptions {
        root_attributes: true,
        watch: Some(&watch),
        ..Default::default()
    };
    let counts = copy_tree(src.as_fd(), dst.as_fd(), &options).unwrap();
    let told = *told.lock().unwrap();
    assert_eq!(told.entries, counts.entries);
    let takes = dir::tree_size_at(src.as_fd()).unwrap().bytes;
    assert_eq!(told.bytes, takes, "the watcher hears of every byte once");
    let expected = describe(&scratch.path("src"));
    assert_eq!(expected, describe(&scratch.path("dst")));
    assert_eq!(counts.entries, expected.len() as u64);
    assert_eq!(counts.bytes, 8 + (3 << 20) + 1 + (64 << 20));
    let sparse = fs::metadata(scratch.path("dst/sparse")).unwrap();
    assert!(
        sparse.blocks() * 512 < 1 << 20,
        "holes were filled: {} blocks",
        sparse.blocks()
    );
    let root = fs::metadata(scratch.path("dst")).unwrap();
    assert_eq!(
        (root.mode() & 0o7777, root.mtime(), root.mtime_nsec()),
        (0o2750, 1_234_567_890, 5)
    );
    let opaque = OsStr::new("trusted.overlay.opaque");
    assert_eq!(
        xattr::get(
            Subject::Open(dir::open(&scratch.path("dst/a")).unwrap().as_fd()),
            opaque
        )
        .unwrap(),
        None
    );
    assert_eq!(
        dir::tree_size_at(src.as_fd()).unwrap().entries,
        expected.len() as u64
    );
}

#[test]
fn what_the_target_passes_on_is_not_kept() {
    if !is_root() {
        return;
    }
    let scratch = Scratch::new();
    let (src, dst) = (scratch.dir("src"), scratch.dir("dst"));
    fs::create_dir(scratch.path("src/d")).unwrap();
    fs::write(scratch.path("src/d/f"), "").unwrap();
    fs::write(scratch.path("src/g"), "").unwrap();
    let expected = describe(&scratch.path("src"));
    let acl = [
        2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 4, 0, 4, 0, 255, 255, 255, 255, 32, 0, 0, 0,
        255, 255, 255, 255,
    ];
    xattr::set(
        Subject::Open(dst.as_fd()),
        OsStr::new("system.posix_acl_default"),
        &acl,
    )
    .unwrap();
    rustix::fs::fchown(&dst, None, Some(Gid::from_raw(77))).unwrap();
    rustix::fs::fchmod(&dst, Mode::from_raw_mode(0o2755)).unwrap();
    copy_tree(src.as_fd(), dst.as_fd(), &CopyOptions::default()).unwrap();
    assert_eq!(expected, describe(&scratch.path("dst")));
}

#[test]
fn wide_and_deep_trees_are_copied_and_removed() {
    let scratch = Scratch::new();
    let (src, dst) = (scratch.dir("src"), scratch.dir("dst"));
    let mut current = src.try_clone().unwrap();
    for level in 0..1500 {
        for name in ["next", "side"] {
            rustix::fs::mkdirat(&current, name, Mode::from_raw_mode(0o755)).unwrap();
        }
        let flags = OFlags::WRONLY | OFlags::CREATE;
        let file = rustix::fs::openat(&current, "file", flags, Mode::from_raw_mode(0o600)).unwrap();
        rustix::io::write(&file, format!("{level}").as_bytes()).unwrap();
        current = dir::open_at(current.as_fd(), OsStr::new("next")).unwrap();
    }
    rustix::fs::linkat(&src, "file", &current, "last", AtFlags::empty()).unwrap();
    for number in 0..2000 {
        fs::write(scratch.path(&format!("src/{number}")), [1; 10]).unwrap();
    }
    let counts = copy_tree(src.as_fd(), dst.as_fd(), &CopyOptions::default()).unwrap();
    assert_eq!(
        counts,
        Counts {
            entries: 3 * 1500 + 1 + 2000,
            bytes: 2000 * 10 + 4 * 500 + 3 * 900 + 2 * 90 + 10
        }
    );
    let deepest: PathBuf = std::iter::repeat_n("next", 1500).collect();
    let deepest = dir::open_deep(dst.as_fd(), &deepest).unwrap();
    let last = dir::stat_at(deepest.as_fd(), OsStr::new("last")).unwrap();
    assert_eq!(
        last.ino,
        dir::stat_at(dst.as_fd(), OsStr::new("file")).unwrap().ino
    );
    for name in ["src", "dst"] {
        dir::remove_tree(&scratch.path(name)).unwrap();
        assert!(!scratch.path(name).exists());
    }
}

#[test]
fn a_copy_that_is_stopped_ends_in_the_middle_of_a_file() {
    const SIZE: u64 = 256 << 20;
    let scratch = Scratch::new();
    let (src, dst) = (scratch.dir("src"), scratch.dir("dst"));
    let block = vec![7; 1 << 20];
    let large = fs::File::create(scratch.path("src/large")).unwrap();
    for at in (0..SIZE).step_by(block.len()) {
        large.write_all_at(&block, at).unwrap();
    }
    let calls = AtomicU32::new(0);
    let watch = |_| match calls.fetch_add(1, Ordering::Relaxed) {
        0 => ControlFlow::Continue(()),
        _ => ControlFlow::Break(()),
    };
    let options = CopyOptions {
        watch: Some(&watch),
        ..Default::default()
    };
    let error = copy_tree(src.as_fd(), dst.as_fd(), &options).unwrap_err();
    assert!(matches!(error, CopyError::Stopped), "{error}");
    assert!(error.cause().is_none());
    let copied = fs::metadata(scratch.path("dst/large")).unwrap().len();
    // Where data is shared the file comes as a whole.
    let shared = sys::reflink::is_possible(dst.as_fd()).unwrap();
    assert!(
        shared || copied < SIZE,
        "{copied} bytes were copied after the word to stop"
    );
}

/// Gives the same few names to files, links, fifos, sockets and directories in turn, each time by a rename or anew, until told to end.
fn churn(root: &Path, over: &AtomicBool) {
    fs::create_dir_all(root).unwrap();
    for turn in 0_usize.. {
        if over.load(Ordering::Relaxed) {
            return;
        }
        let name = root.join(format!("entry{}", turn % 3));
        let next = root.join("next");
        match turn % 7 {
            0 => fs::write(&next, "text").unwrap(),
            1 => symlink("nowhere", &next).unwrap(),
            2 => rustix::fs::mknodat(CWD, &next, FileType::Fifo, Mode::RUSR, 0).unwrap(),
            3 => rustix::fs::mknodat(CWD, &next, FileType::Socket, Mode::RUSR, 0).unwrap(),
            4 => {
                fs::create_dir_all(next.join("deep")).unwrap();
                fs::write(next.join("deep/file"), "text").unwrap();
            }
            _ => {}
        }
        if next.symlink_metadata().is_err() || fs::rename(&next, &name).is_err() {
            let is_directory = name.symlink_metadata().is_ok_and(|found| found.is_dir());
            if is_directory {
                fs::remove_dir_all(&name).unwrap();
            } else {
                fs::remove_file(&name).ok();
            }
            fs::rename(&next, &name).ok();
        }
    }
}

#[test]
fn what_others_remove_and_replace_meanwhile_ends_no_copy() {
    if !is_root() {
        return;
    }
    let scratch = Scratch::new();
    let source = scratch.path("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("stays"), "here").unwrap();
    let over = AtomicBool::new(false);
    std::thread::scope(|threads| {
        for number in 0..2 {
            let directory = source.join(format!("busy{number}"));
            threads.spawn(|| {
                let directory = directory;
                churn(&directory, &over);
            });
        }
        let copied = (0..300).try_for_each(|number| {
            let target = scratch.dir(&format!("copy{number}"));
            let from = dir::open(&source).unwrap();
            copy_tree(from.as_fd(), target.as_fd(), &CopyOptions::default()).map(drop)
        });
        over.store(true, Ordering::Relaxed);
        copied.unwrap();
    });
    assert_eq!(
        fs::read_to_string(scratch.path("copy299/stays")).unwrap(),
        "here"
    );
}

#[test]
fn a_copy_into_a_full_directory_names_the_path() {
    let scratch = Scratch::new();
    let (src, dst) = (scratch.dir("src"), scratch.dir("dst"));
    scratch.dir("src/d");
    fs::write(scratch.path("src/d/f"), "").unwrap();
    scratch.dir("dst/d");
    let error = copy_tree(src.as_fd(), dst.as_fd(), &CopyOptions::default()).unwrap_err();
    assert_eq!(error.to_string(), "cannot write d");
    assert!(matches!(&error, CopyError::Write { .. }));
    assert_eq!(error.cause().unwrap().kind(), ErrorKind::AlreadyExists);
}

#[test]
fn one_hundred_thousand_levels_are_removed() {
    // In memory: making so many directories takes minutes on some disks.
    let memory = Path::new("/dev/shm");
    let scratch = if memory.is_dir() {
        Scratch::below(memory)
    } else {
        Scratch::new()
    };
    let mut current = scratch.dir("deep");
    for _ in 0..100_000 {
        rustix::fs::mkdirat(&current, "d", Mode::from_raw_mode(0o755)).unwrap();
        current = dir::open_at(current.as_fd(), OsStr::new("d")).unwrap();
    }
    drop(current);
    assert_eq!(
        dir::tree_size(&scratch.path("deep")).unwrap().entries,
        100_000
    );
    dir::remove_tree(&scratch.path("deep")).unwrap();
    assert!(!scratch.path("deep").exists());
}

#[test]
fn removal_spares_links_mounts_and_says_why_it_stops() {
    if !is_root() {
        return;
    }
    let scratch = Scratch::new();
    let root = scratch.dir("tree");
    fs::write(scratch.path("outside"), "stays").unwrap();
    symlink(scratch.path("outside"), scratch.path("tree/link")).unwrap();
    symlink(&scratch.0, scratch.path("tree/up")).unwrap();
    scratch.dir("tree/a/mnt");
    fs::write(scratch.path("tree/a/file"), "").unwrap();
    scratch.dir("mounted/below");
    rustix::mount::mount_bind(scratch.path("mounted"), scratch.path("tree/a/mnt")).unwrap();
    let error = dir::remove_tree(&scratch.path("tree")).unwrap_err();
    rustix::mount::unmount(
        scratch.path("tree/a/mnt"),
        rustix::mount::UnmountFlags::empty(),
    )
    .unwrap();
    assert_eq!(
        (error.kind(), error.to_string().as_str()),
        (
            ErrorKind::ResourceBusy,
            "something is mounted on tree/a/mnt"
        )
    );
    assert!(scratch.path("mounted/below").exists());

    fs::write(scratch.path("tree/a/fixed"), "").unwrap();
    let fixed = fs::File::open(scratch.path("tree/a/fixed")).unwrap();
    rustix::fs::ioctl_setflags(&fixed, IFlags::IMMUTABLE).unwrap();
    let error = dir::remove_tree(&scratch.path("tree")).unwrap_err();
    rustix::fs::ioctl_setflags(&fixed, IFlags::empty()).unwrap();
    assert_eq!(
        error.to_string(),
        "tree/a/fixed is immutable or append-only (chattr)"
    );
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);

    dir::remove_contents(root.as_fd()).unwrap();
    assert_eq!(dir::read_dir(root.as_fd()).unwrap(), []);
    assert_eq!(fs::read(scratch.path("outside")).unwrap(), b"stays");
    assert_eq!(
        dir::remove_tree(&scratch.path("none")).unwrap_err().kind(),
        ErrorKind::NotFound
    );
}

#[test]
fn paths_stay_inside_their_root() {
    let scratch = Scratch::new();
    let root = scratch.dir("root");
    fs::write(scratch.path("secret"), "outside").unwrap();
    scratch.dir("root/etc");
    fs::write(scratch.path("root/secret"), "inside").unwrap();
    for (name, target) in [
        ("abs", "/secret"),
        ("up", "../../../secret"),
        ("dir", "/etc"),
        ("new", "/made/by"),
        ("loop", "loop"),
    ] {
        symlink(target, scratch.path("root").join(name)).unwrap();
    }
    let read = |path: &str| -> io::Result<String> {
        io::read_to_string(fs::File::from(dir::open_in_root(
            root.as_fd(),
            path.as_ref(),
            OFlags::RDONLY,
        )?))
    };
    for path in ["abs", "up", "/abs", "../secret", "etc/../../../secret"] {
        assert_eq!(read(path).unwrap(), "inside", "{path}");
    }
    for path in ["abs", "up", "../secret"] {
        let error = dir::open_beneath(root.as_fd(), path.as_ref(), OFlags::RDONLY).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::CrossesDevices, "{path}");
    }
    let (parent, name) = dir::resolve_in_root(root.as_fd(), "/dir/../dir/x".as_ref()).unwrap();
    assert_eq!(name, "x");
    assert_eq!(
        dir::stat(parent.as_fd()).unwrap().ino,
        fs::metadata(scratch.path("root/etc")).unwrap().ino()
    );
    for path in ["/", "..", "a/..", ""] {
        assert_eq!(
            dir::resolve_in_root(root.as_fd(), path.as_ref())
                .unwrap_err()
                .kind(),
            ErrorKind::InvalidInput
        );
    }

    let made = |path: &str| dir::mkdir_all_in_root(root.as_fd(), path.as_ref(), 0o751);
    for (path, real) in [
        ("x/y/z", "x/y/z"),
        ("../../p/../q/./r", "q/r"),
        ("new/deeper", "made/by/deeper"),
        ("dir/n", "etc/n"),
        ("/", ""),
    ] {
        let ino = dir::stat(made(path).unwrap().as_fd()).unwrap().ino;
        let real = scratch.path("root").join(real);
        assert_eq!(fs::metadata(&real).unwrap().ino(), ino, "{path}");
        if path.starts_with('x') {
            assert_eq!(fs::metadata(&real).unwrap().mode() & 0o7777, 0o751);
        }
    }
    assert_eq!(
        made("secret/x").unwrap_err().kind(),
        ErrorKind::NotADirectory
    );
    assert_eq!(made("loop/x").unwrap_err().raw_os_error(), Some(40));
    assert!(!scratch.path("p").exists() && !scratch.path("made").exists());
}

#[test]
fn a_view_merges_layers_and_leaves_nothing_behind() {
    if !is_root() {
        return;
    }
    let scratch = Scratch::new();
    for (path, text) in [
        ("layers/1/fs/a", "one"),
        ("layers/1/fs/b", "one"),
        ("layers/2/fs/b", "two"),
        ("odd,dir:x/c", "three"),
    ] {
        fs::create_dir_all(scratch.path(path).parent().unwrap()).unwrap();
        fs::write(scratch.path(path), text).unwrap();
    }
    for name in ["upper", "work"] {
        fs::create_dir(scratch.path(name)).unwrap();
    }
    let layers = scratch.path("layers");
    let read = |root: std::os::fd::BorrowedFd<'_>, name: &str| {
        dir::open_in_root(root, name.as_ref(), OFlags::RDONLY)
            .map(|file| io::read_to_string(fs::File::from(file)).unwrap())
            .ok()
    };
    let mounts = || {
        fs::read_to_string("/proc/self/mountinfo")
            .unwrap()
            .lines()
            .count()
    };
    let before = mounts();
    let lowers: Vec<PathBuf> = vec![scratch.path("odd,dir:x"), "2/fs".into(), "1/fs".into()];
    let seen = sys::overlay::with_view(&layers, &lowers, None, |root| {
        assert_eq!(
            rustix::fs::mkdirat(root, "new", Mode::from_raw_mode(0o755)),
            Err(rustix::io::Errno::ROFS)
        );
        assert!(dir::tree_size_at(root).is_ok_and(|size| size.entries == 3));
        ["a", "b", "c"].map(|name| read(root, name).unwrap())
    });
    assert_eq!(seen.unwrap(), ["one", "two", "three"]);
    let only = sys::overlay::with_view(&layers, &lowers[1..2], None, |root| {
        (read(root, "a"), read(root, "b"))
    });
    assert_eq!(only.unwrap(), (None, Some("two".to_owned())));
    let upper = Some((scratch.path("upper"), scratch.path("work")));
    let upper = upper
        .as_ref()
        .map(|(upper, work)| (upper.as_path(), work.as_path()));
    sys::overlay::with_view(&layers, &lowers[1..], upper, |root| {
        rustix::fs::unlinkat(root, "a", AtFlags::empty()).unwrap();
        rustix::fs::mkdirat(root, "new", Mode::from_raw_mode(0o755)).unwrap();
    })
    .unwrap();
    assert!(scratch.path("upper/new").is_dir());
    assert!(
        dir::stat_at(
            dir::open(&scratch.path("upper")).unwrap().as_fd(),
            OsStr::new("a")
        )
        .unwrap()
        .is_whiteout()
    );
    let lowers = [scratch.path("upper"), "2/fs".into(), "1/fs".into()];
    let stopped = sys::overlay::with_view(&layers, &lowers, None, |root| {
        (read(root, "a"), read(root, "b"))
    });
    assert_eq!(stopped.unwrap(), (None, Some("two".to_owned())));
    assert_eq!(mounts(), before);
    assert!(sys::overlay::with_view(&layers, &[], None, |_| ()).is_err());
}

#[test]
fn a_file_becomes_a_device_and_is_watched() {
    if !is_root() || !Path::new("/dev/loop-control").exists() {
        return;
    }
    let scratch = Scratch::new();
    let image = scratch.path("image");
    fs::write(&image, vec![0; 1 << 20]).unwrap();
    let watch = sys::watch::FileWatch::new(&image).unwrap();
    assert!(!watch.drain().unwrap());
    fs::OpenOptions::new()
        .write(true)
        .open(&image)
        .unwrap()
        .set_len(2 << 20)
        .unwrap();
    assert!(watch.drain().unwrap());
    assert!(!watch.drain().unwrap());

    let device = sys::loop_device::attach(&image, 4096, false).unwrap();
    assert_eq!(sys::loop_device::attached(&image).unwrap(), [device.path()]);
    let size = |path: &Path| {
        let name = path.file_name().unwrap().to_str().unwrap();
        fs::read_to_string(format!("/sys/block/{name}/size"))
            .unwrap()
            .trim()
            .parse::<u64>()
            .unwrap()
            * 512
    };
    assert_eq!(size(device.path()), 2 << 20);
    fs::OpenOptions::new()
        .write(true)
        .open(&image)
        .unwrap()
        .set_len(4 << 20)
        .unwrap();
    device.resize().unwrap();
    assert_eq!(size(device.path()), 4 << 20);
    let path = device.path().to_owned();
    sys::loop_device::detach(&path).unwrap();
    drop(device);
    // udev may hold it open for a moment.
    let gone = Command::new("timeout")
        .args([
            "5",
            "sh",
            "-c",
            "until test \"$(cat /sys/block/$0/size)\" = 0; do :; done",
        ])
        .arg(path.file_name().unwrap())
        .status();
    assert!(gone.unwrap().success());
    assert!(sys::loop_device::attached(&image).unwrap().is_empty());
}

/// A moment long enough after everything that was done to the tree.
fn moment(root: BorrowedFd<'_>) -> Began {
    let start = std::time::Instant::now();
    loop {
        let now = Began::now();
        if is_untouched(root, &now).unwrap() {
            return now;
        }
        assert!(start.elapsed().as_secs() < 30, "the tree never rests");
        std::thread::yield_now();
    }
}

#[test]
fn measuring_ends_when_it_is_told_to() {
    let scratch = Scratch::new();
    let root = scratch.dir("tree");
    for number in 0..3000 {
        fs::write(scratch.path(&format!("tree/{number}")), "").unwrap();
    }
    let mut counted = Vec::new();
    let ended = dir::tree_size_while(root.as_fd(), &mut |entries| {
        counted.push(entries);
        counted.len() < 2
    });
    assert_eq!(ended.unwrap(), None);
    assert_eq!(counted.len(), 2);
    assert!(counted[0] < counted[1] && counted[1] < 3000, "{counted:?}");
    assert_eq!(dir::tree_size_at(root.as_fd()).unwrap().entries, 3000);
}

#[test]
fn whatever_touches_a_tree_is_seen() {
    let scratch = Scratch::new();
    let root = scratch.dir("tree");
    let deep = scratch.path("tree/a/b");
    fs::create_dir_all(&deep).unwrap();
    let actions: [fn(&Path); 6] = [
        |deep| fs::write(deep.join("new"), "1").unwrap(),
        |deep| fs::write(deep.join("new"), "2").unwrap(),
        |deep| fs::rename(deep.join("new"), deep.join("other")).unwrap(),
        |deep| fs::hard_link(deep.join("other"), deep.join("link")).unwrap(),
        |deep| fs::set_permissions(deep.join("link"), fs::Permissions::from_mode(0o600)).unwrap(),
        |deep| fs::remove_file(deep.join("other")).unwrap(),
    ];
    for (number, action) in actions.into_iter().enumerate() {
        let since = moment(root.as_fd());
        action(&deep);
        assert!(!is_untouched(root.as_fd(), &since).unwrap(), "{number}");
    }
}
