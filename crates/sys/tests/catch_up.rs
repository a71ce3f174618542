//! Copies that are brought up to date: what has changed meanwhile is in them, whether data is shared (XFS) or copied (ext4),
//! and whether the names of the source are looked at or its inodes. Needs root.

#![expect(clippy::unwrap_used, reason = "a test")]
#![allow(
    clippy::disallowed_methods,
    reason = "tests make their own scratch files"
)]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::fs::{FileExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::fs::{chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use sys::catch_up::{Began, catch_up};
use sys::copy_tree::{CopyError, CopyOptions, Counts, copy_tree};
use sys::dir;
use sys::xattr::{self, Subject};
use testkit::Disk;

/// How a tree is copied.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    /// Every name is looked at, as there are few.
    Names,
    Inodes,
    /// Byte by byte, without the files that somebody may write to.
    AtRest,
}

const WAYS: [Way; 3] = [Way::Names, Way::Inodes, Way::AtRest];
const DIRECTORIES: usize = 10;

impl Way {
    fn filesystem(self) -> &'static str {
        match self {
            Self::Names | Self::Inodes => "xfs",
            Self::AtRest => "ext4",
        }
    }

    fn files(self) -> usize {
        match self {
            Self::Names | Self::AtRest => 3,
            Self::Inodes => 300,
        }
    }
}

/// A filesystem until the end of the test.
struct Place {
    way: Way,
    disk: Option<Disk>,
    root: PathBuf,
    /// A program that another test starts has the files of this one open for a moment, which keeps them from being unmounted.
    _alone: Option<MutexGuard<'static, ()>>,
}

static ALONE: Mutex<()> = Mutex::new(());

impl Place {
    fn new(way: Way) -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: mounts need root");
            return None;
        }
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("sys-catch-up-{}-{number}", std::process::id());
        let root = std::env::temp_dir().join(name);
        fs::create_dir(&root).unwrap();
        let disk = Disk::mount(way.filesystem(), &root.join("disk"), 400 << 20);
        Some(Self {
            way,
            disk: Some(disk),
            root,
            _alone: Some(alone),
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join("disk").join(name)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(self.disk.take());
        if !std::thread::panicking() {
            fs::remove_dir(&self.root).unwrap();
        }
    }
}

/// Files in directories, directories in directories, links and special files.
fn plant(root: &Path, files: usize) {
    for directory in 0..DIRECTORIES {
        let directory = root.join(format!("d{directory}/below"));
        fs::create_dir_all(&directory).unwrap();
        for file in 0..files {
            let place = if file % 2 == 0 {
                directory.parent().unwrap()
            } else {
                &directory
            };
            fs::write(place.join(format!("f{file}")), format!("file {file}")).unwrap();
        }
    }
    symlink("d0", root.join("link")).unwrap();
    fs::hard_link(root.join("d1/f0"), root.join("d2/same")).unwrap();
    let fifo = Command::new("mkfifo").arg(root.join("fifo")).status();
    assert!(fifo.unwrap().success());
}

fn open(path: &Path) -> OwnedFd {
    dir::open(path).unwrap()
}

/// Everything that a copy must keep.
fn describe(root: &Path) -> BTreeMap<PathBuf, String> {
    fn walk(root: &Path, at: &Path, all: &mut BTreeMap<PathBuf, String>) {
        for entry in fs::read_dir(root.join(at)).unwrap() {
            let entry = entry.unwrap();
            let path = at.join(entry.file_name());
            let metadata = entry.metadata().unwrap();
            let kind = metadata.file_type();
            let content = if kind.is_file() {
                fs::read_to_string(entry.path()).unwrap()
            } else if kind.is_symlink() {
                fs::read_link(entry.path()).unwrap().display().to_string()
            } else {
                format!("{} {}", kind.is_dir(), kind.is_fifo())
            };
            let note = if kind.is_symlink() {
                None
            } else {
                let opened = open(&root.join(at));
                let subject = Subject::Entry(opened.as_fd(), entry.file_name().leak());
                xattr::get(subject, OsStr::new("user.note")).unwrap()
            };
            let nlink = if kind.is_dir() { 0 } else { metadata.nlink() };
            let (mode, owner) = (metadata.mode(), metadata.uid());
            let (modified, part) = (metadata.mtime(), metadata.mtime_nsec());
            let told =
                format!("{mode:o} {owner} {modified}.{part:09} x{nlink} {note:?}: {content}");
            all.insert(path.clone(), told);
            if kind.is_dir() {
                walk(root, &path, all);
            }
        }
    }
    let mut all = BTreeMap::new();
    walk(root, Path::new(""), &mut all);
    all
}

fn counts(root: &Path) -> Counts {
    let all = describe(root);
    let mut seen = std::collections::BTreeSet::new();
    let mut bytes = 0;
    for path in all.keys() {
        let metadata = fs::symlink_metadata(root.join(path)).unwrap();
        if metadata.is_file() && seen.insert(metadata.ino()) {
            bytes += metadata.len();
        }
    }
    Counts {
        entries: all.len() as u64,
        bytes,
    }
}

const OPTIONS: CopyOptions<'_> = CopyOptions {
    root_attributes: true,
    one_file_system: true,
    share_always: true,
    share_never: false,
    only_at_rest: false,
    seen: None,
    watch: None,
};

/// A source and its copy.
struct Copied {
    src: PathBuf,
    dst: PathBuf,
    began: Began,
}

impl Copied {
    /// What `plant` makes, and what `more` does to it before the copy.
    fn new(place: &Place, name: &str, more: impl FnOnce(&Path)) -> Self {
        let src = place.path(&format!("{name}-src"));
        let dst = place.path(&format!("{name}-dst"));
        fs::create_dir(&src).unwrap();
        fs::create_dir(&dst).unwrap();
        plant(&src, place.way.files());
        more(&src);
        let began = Began::after_rest();
        let copied = Self { src, dst, began };
        copied.copy(place.way).unwrap();
        let is_by_number = copied.began.seen().is_by_number();
        assert_eq!(is_by_number, place.way == Way::Inodes, "{name}");
        copied
    }

    fn copy(&self, way: Way) -> Result<Counts, CopyError> {
        let options = CopyOptions {
            seen: Some(self.began.seen()),
            only_at_rest: way == Way::AtRest,
            ..OPTIONS
        };
        copy_tree(open(&self.src).as_fd(), open(&self.dst).as_fd(), &options)
    }

    fn catch_up(&self) -> Option<Counts> {
        let (src, dst) = (open(&self.src), open(&self.dst));
        catch_up(src.as_fd(), dst.as_fd(), &self.began, &OPTIONS).unwrap()
    }

    fn is_caught_up(&self, what: &str) {
        assert_eq!(self.catch_up(), Some(counts(&self.src)), "{what}");
        assert_eq!(describe(&self.src), describe(&self.dst), "{what}");
    }
}

/// What happens to a tree, and how it is called.
type Change<'a> = (&'a str, fn(&Path));

/// Each change, made after the copy, is in it at last, and what is counted is right.
fn changes(ways: &[Way], changes: &[Change<'_>]) {
    for &way in ways {
        let Some(place) = Place::new(way) else {
            return;
        };
        for (number, (what, change)) in changes.iter().enumerate() {
            let copied = Copied::new(&place, &number.to_string(), |_| ());
            assert_eq!(describe(&copied.src), describe(&copied.dst), "{what}");
            change(&copied.src);
            copied.is_caught_up(what);
        }
    }
}

fn append(path: &Path, text: &str) {
    let mut file = fs::OpenOptions::new().append(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

/// Makes something at `path`, instead of what is there, that has the number of an inode that was in use until now: XFS gives it
/// to something new in a directory that lies near.
fn again_with(number: u64, path: &Path, make: fn(&Path)) {
    let spare = path.with_extension("spare");
    let end = Instant::now() + Duration::from_secs(120);
    while Instant::now() < end {
        for attempt in 0..4000 {
            let new = spare.join(format!("{}/{attempt}", attempt % 8));
            fs::create_dir_all(new.parent().unwrap()).unwrap();
            make(&new);
            if fs::symlink_metadata(&new).unwrap().ino() == number {
                fs::rename(&new, path).unwrap();
                return dir::remove_tree(&spare).unwrap();
            }
        }
        // The kernel frees in the background, on a busy machine later than all of these were made.
        dir::remove_tree(&spare).unwrap();
        let around = open(path.parent().unwrap());
        rustix::fs::syncfs(&around).unwrap();
    }
    panic!("{number} is not given away again");
}

fn freed(path: &Path) -> u64 {
    let number = fs::symlink_metadata(path).unwrap().ino();
    dir::remove_tree(path).unwrap_or_else(|_| fs::remove_file(path).unwrap());
    number
}

#[test]
fn files_that_are_written_made_or_removed() {
    changes(
        &WAYS,
        &[
            ("nothing", |_| ()),
            ("appended", |src| append(&src.join("d3/f2"), "more")),
            ("one in each of two", |src| {
                append(&src.join("d3/f0"), "more");
                append(&src.join("d3/f2"), "more");
                append(&src.join("d4/below/f1"), "more");
            }),
            ("written in place", |src| {
                let file = fs::OpenOptions::new()
                    .write(true)
                    .open(src.join("d3/f2"))
                    .unwrap();
                file.write_all_at(b"FILE", 0).unwrap();
                let old = file.metadata().unwrap().modified().unwrap();
                file.set_modified(old - Duration::from_secs(1000)).unwrap();
            }),
            ("cut", |src| fs::write(src.join("d3/f2"), "").unwrap()),
            ("new", |src| fs::write(src.join("d3/new"), "new").unwrap()),
            ("removed", |src| {
                fs::remove_file(src.join("d3/f2")).unwrap();
            }),
            ("renamed", |src| {
                fs::rename(src.join("d3/f0"), src.join("d3/f2")).unwrap();
            }),
            ("moved", |src| {
                fs::rename(src.join("d3/f2"), src.join("d4/below/f1")).unwrap();
            }),
            ("exchanged", |src| {
                let (one, two) = (src.join("d3/f0"), src.join("d3/f2"));
                renameat_with(CWD, one, CWD, two, RenameFlags::EXCHANGE).unwrap();
                let (one, two) = (src.join("d4/f0"), src.join("d5/below/f1"));
                renameat_with(CWD, one, CWD, two, RenameFlags::EXCHANGE).unwrap();
            }),
            ("attributes", |src| {
                let mode = fs::Permissions::from_mode(0o604);
                fs::set_permissions(src.join("d3/f2"), mode).unwrap();
                chown(src.join("d4/f0"), Some(7), None).unwrap();
                let directory = open(&src.join("d5"));
                let subject = Subject::Entry(directory.as_fd(), OsStr::new("f0"));
                xattr::set(subject, OsStr::new("user.note"), b"new").unwrap();
                let mode = fs::Permissions::from_mode(0o2711);
                fs::set_permissions(src.join("d6"), mode).unwrap();
                fs::set_permissions(src, fs::Permissions::from_mode(0o711)).unwrap();
            }),
            ("a link elsewhere", |src| {
                fs::remove_file(src.join("link")).unwrap();
                symlink("d9", src.join("link")).unwrap();
            }),
        ],
    );
}

#[test]
fn directories_that_are_moved_made_or_removed() {
    changes(
        &WAYS,
        &[
            ("moved", |src| {
                fs::rename(src.join("d3"), src.join("d4/d3")).unwrap();
            }),
            ("moved, and written to", |src| {
                fs::rename(src.join("d3/below"), src.join("d4/inside")).unwrap();
                append(&src.join("d4/inside/f1"), "more");
            }),
            ("exchanged", |src| {
                let (one, two) = (src.join("d3"), src.join("d4"));
                renameat_with(CWD, one, CWD, two, RenameFlags::EXCHANGE).unwrap();
            }),
            ("away and back", |src| {
                fs::rename(src.join("d3/below"), src.join("below")).unwrap();
                fs::remove_file(src.join("below/f1")).unwrap();
                fs::rename(src.join("below"), src.join("d3/below")).unwrap();
            }),
            ("removed", |src| dir::remove_tree(&src.join("d3")).unwrap()),
            ("another in its place", |src| {
                dir::remove_tree(&src.join("d3")).unwrap();
                fs::create_dir(src.join("d3")).unwrap();
                fs::rename(src.join("d4/below"), src.join("d3/below")).unwrap();
            }),
            ("new and full", |src| {
                fs::create_dir_all(src.join("d3/new/and/deep")).unwrap();
                fs::write(src.join("d3/new/and/deep/file"), "new").unwrap();
                append(&src.join("d3/below/f1"), "more");
            }),
            ("all", |src| {
                dir::remove_contents(open(src).as_fd()).unwrap();
            }),
        ],
    );
}

#[test]
fn inodes_that_are_given_away_again() {
    changes(
        // ext4 lets a number rest for a while.
        &[Way::Names, Way::Inodes],
        &[
            ("a file of the same name", |src| {
                let path = src.join("d3/f2");
                again_with(freed(&path), &path, |path| {
                    fs::write(path, "file 9").unwrap();
                });
            }),
            ("a directory instead of a file", |src| {
                let path = src.join("d3/f2");
                again_with(freed(&path), &path, |path| {
                    fs::create_dir(path).unwrap();
                });
                fs::write(path.join("inside"), "new").unwrap();
            }),
            ("a file instead of a directory", |src| {
                let path = src.join("d3");
                again_with(freed(&path), &path, |path| {
                    fs::write(path, "new").unwrap();
                });
            }),
            ("a link, elsewhere", |src| {
                let number = freed(&src.join("d3/f2"));
                again_with(number, &src.join("d4/f2"), |path| {
                    symlink("nowhere", path).unwrap();
                });
            }),
        ],
    );
}

#[test]
fn files_with_several_names_are_nobodys_guess() {
    let known: [Change<'_>; 3] = [
        ("none of them", |src| append(&src.join("d3/f0"), "1")),
        ("none of them, in a directory that is looked into", |src| {
            fs::write(src.join("d1/new"), "1").unwrap();
        }),
        ("one less", |src| {
            fs::remove_file(src.join("d2/same")).unwrap();
        }),
    ];
    let unknown: [Change<'_>; 3] = [
        ("written", |src| append(&src.join("d2/same"), "1")),
        ("one more", |src| {
            fs::hard_link(src.join("d3/f0"), src.join("d4/same")).unwrap();
        }),
        ("exchanged", |src| {
            let (one, two) = (src.join("d2/same"), src.join("d2/f0"));
            renameat_with(CWD, one, CWD, two, RenameFlags::EXCHANGE).unwrap();
        }),
    ];
    changes(&WAYS, &known);
    for way in WAYS {
        let Some(place) = Place::new(way) else {
            return;
        };
        for (what, change) in unknown {
            let copied = Copied::new(&place, what, |_| ());
            change(&copied.src);
            assert_eq!(copied.catch_up(), None, "{what}");
        }
    }
}

/// Six bytes of a file, mapped so that they can be written to.
struct Mapping(*mut u8);

impl Mapping {
    fn new(path: &Path) -> Self {
        let mut options = fs::OpenOptions::new();
        let file = options.read(true).write(true).open(path).unwrap();
        let (protection, fd) = (libc::PROT_READ | libc::PROT_WRITE, file.as_raw_fd());
        let anywhere = std::ptr::null_mut();
        // SAFETY: it is a new mapping, at an address that the kernel chooses.
        let at = unsafe { libc::mmap(anywhere, 6, protection, libc::MAP_SHARED, fd, 0) };
        assert_ne!(at, libc::MAP_FAILED);
        Self(at.cast())
    }

    fn write(&self, byte: u8) {
        // SAFETY: the file has six bytes, and nobody else knows of the mapping.
        unsafe { self.0.write_volatile(byte) };
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: nobody uses it any more.
        assert_eq!(unsafe { libc::munmap(self.0.cast(), 6) }, 0);
    }
}

#[test]
fn a_write_through_a_mapping_that_was_dirty_before() {
    for way in WAYS {
        let Some(place) = Place::new(way) else {
            return;
        };
        let mut mapping = None;
        let copied = Copied::new(&place, "mapped", |src| {
            let new = Mapping::new(&src.join("d3/f2"));
            new.write(b'F');
            mapping = Some(new);
        });
        let mapping = mapping.unwrap();
        mapping.write(b'G');
        copied.is_caught_up("mapped");
        let content = fs::read_to_string(copied.dst.join("d3/f2")).unwrap();
        assert_eq!(content, "Gile 2");
    }
}

#[test]
fn what_somebody_may_write_to_is_not_copied_before() {
    let Some(place) = Place::new(Way::AtRest) else {
        return;
    };
    let mut opened = None;
    let copied = Copied::new(&place, "opened", |src| {
        let mut options = fs::OpenOptions::new();
        let file = options.append(true).open(src.join("d3/f2")).unwrap();
        let mapped = Mapping::new(&src.join("d4/f2"));
        // Readers change nothing.
        let read = fs::File::open(src.join("d5/f2")).unwrap();
        opened = Some((file, mapped, read));
    });
    for (name, is_there) in [("d3/f2", false), ("d4/f2", false), ("d5/f2", true)] {
        assert_eq!(copied.dst.join(name).exists(), is_there, "{name}");
    }
    // Neither of them is known by its time.
    let (file, mapped, _) = opened.unwrap();
    drop((file, mapped));
    copied.is_caught_up("opened");

    let mut options = fs::OpenOptions::new();
    let linked = copied.src.join("d2/same");
    let _linked = options.append(true).open(linked).unwrap();
    dir::remove_contents(open(&copied.dst).as_fd()).unwrap();
    let refused = copied.copy(Way::AtRest);
    assert!(
        matches!(refused, Err(CopyError::Restless { .. })),
        "{refused:?}"
    );
}

#[test]
fn others_on_the_same_filesystem_are_nobodys_business() {
    let Some(place) = Place::new(Way::Inodes) else {
        return;
    };
    let other = place.path("other");
    let copied = Copied::new(&place, "among", |src| {
        // As many inodes of others as of its own, between them.
        for number in 0..1000 {
            fs::create_dir_all(other.join("d")).unwrap();
            fs::create_dir_all(src.join("among")).unwrap();
            fs::write(other.join(format!("d/{number}")), "other").unwrap();
            fs::write(src.join(format!("among/{number}")), "own").unwrap();
        }
    });
    append(&other.join("d/7"), "more");
    dir::remove_tree(&other).unwrap();
    append(&copied.src.join("among/7"), "more");
    copied.is_caught_up("among");
}

#[test]
fn what_is_mounted_meanwhile_is_not_in_the_copy() {
    let run = |program: &str, arguments: &[&OsStr]| {
        let status = Command::new(program).args(arguments).status();
        assert!(status.unwrap().success(), "{program} {arguments:?}");
    };
    let tmpfs = ["-t", "tmpfs", "tmpfs"].map(OsStr::new);
    for way in WAYS {
        let Some(place) = Place::new(way) else {
            return;
        };
        let mut copied = Copied::new(&place, "mounted", |_| ());
        let over = copied.src.join("d3");
        run("mount", &[&tmpfs[..], &[over.as_os_str()]].concat());
        fs::write(over.join("elsewhere"), "").unwrap();
        let caught = copied.catch_up();
        run("umount", &[over.as_os_str()]);
        assert!(caught.is_some());
        let left = fs::read_dir(copied.dst.join("d3")).unwrap().count();
        assert_eq!(left, 0);

        // One that is taken away was left out, and is not any more.
        dir::remove_contents(open(&copied.dst).as_fd()).unwrap();
        run("mount", &[&tmpfs[..], &[over.as_os_str()]].concat());
        copied.began = Began::after_rest();
        let done = copied.copy(way);
        run("umount", &[over.as_os_str()]);
        done.unwrap();
        copied.is_caught_up("unmounted");
    }
}

#[test]
fn very_deep_directories_and_another_root() {
    for way in WAYS {
        let Some(place) = Place::new(way) else {
            return;
        };
        let deep: PathBuf = (0..70).map(|_| "deep").collect();
        let mut copied = Copied::new(&place, "deep", |src| {
            fs::create_dir_all(src.join(&deep)).unwrap();
            fs::write(src.join(&deep).join("file"), "file").unwrap();
        });
        append(&copied.src.join(&deep).join("file"), "more");
        copied.is_caught_up("deep");
        let other = copied.src.with_extension("other");
        fs::create_dir(&other).unwrap();
        plant(&other, 5);
        copied.src = other;
        copied.is_caught_up("another root");
    }
}

/// Set for the process without rights: where it works.
const WITHOUT_RIGHTS: &str = "ORLOP_TEST_WITHOUT_RIGHTS";

#[test]
fn who_may_not_ask_for_inodes_looks_at_names() {
    if let Some(root) = std::env::var_os(WITHOUT_RIGHTS) {
        let place = Place {
            way: Way::Names,
            disk: None,
            root: root.into(),
            _alone: None,
        };
        let copied = Copied::new(&place, "refused", |src| {
            for number in 0..3000 {
                fs::write(src.join(format!("d7/{number}")), "1").unwrap();
            }
        });
        append(&copied.src.join("d3/f2"), "more");
        fs::rename(copied.src.join("d4"), copied.src.join("d5/d4")).unwrap();
        copied.is_caught_up("refused");
        std::mem::forget(place);
        return;
    }
    let Some(place) = Place::new(Way::Names) else {
        return;
    };
    let output = Command::new("setpriv")
        .args(["--bounding-set", "-sys_admin"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "who_may_not_ask_for_inodes_looks_at_names"])
        .env(WITHOUT_RIGHTS, &place.root)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}");
    assert!(told.contains("1 passed"), "{told}");
}
