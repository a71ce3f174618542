//! A directory for one test, and descriptions of what is in directories.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use sys::dir;
use sys::xattr::{self, Subject};

pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("archive-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn dir(&self, name: &str) -> OwnedFd {
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

pub(crate) fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("skipped: needs root");
    }
    root
}

/// Runs a program and returns what it printed.
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Everything that an archive keeps, by path; the root is `""`.
pub(crate) fn describe(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut out = BTreeMap::new();
    let mut inodes = BTreeMap::new();
    let top = dir::open(root).unwrap();
    let stat = dir::stat(top.as_fd()).unwrap();
    let times = format!("{:?}", stat.mtime);
    out.insert(
        PathBuf::new(),
        format!(
            "{:o} {}:{} {times} {:?}",
            stat.mode,
            stat.uid,
            stat.gid,
            attributes(Subject::Open(top.as_fd()))
        ),
    );
    walk(root, Path::new(""), &mut inodes, &mut out);
    out
}

fn attributes(subject: Subject<'_>) -> Vec<String> {
    let mut found: Vec<_> = xattr::list(subject)
        .unwrap()
        .into_iter()
        .map(|key| {
            format!(
                "{key:?}={}",
                xattr::get(subject, &key).unwrap().unwrap().escape_ascii()
            )
        })
        .collect();
    found.sort();
    found
}

fn walk(
    root: &Path,
    at: &Path,
    inodes: &mut BTreeMap<u64, PathBuf>,
    out: &mut BTreeMap<PathBuf, String>,
) {
    let here = root.join(at);
    let opened = dir::open(&here).unwrap();
    let mut names: Vec<_> = fs::read_dir(&here)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    for name in names {
        let path = at.join(&name);
        let full = root.join(&path);
        let meta = fs::symlink_metadata(&full).unwrap();
        let attributes = attributes(Subject::Entry(opened.as_fd(), &name));
        let content = if meta.is_file() {
            let bytes = fs::read(&full).unwrap();
            let sum = bytes.iter().fold(0_u64, |sum, byte| {
                sum.wrapping_mul(31).wrapping_add(u64::from(*byte))
            });
            format!("{} {sum:x}", bytes.len())
        } else if meta.is_symlink() {
            fs::read_link(&full)
                .unwrap()
                .as_os_str()
                .as_bytes()
                .escape_ascii()
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
        let text = format!(
            "{:o} {}:{} {}.{:09} {:x} {attributes:?} {first:?} {content}",
            meta.mode(),
            meta.uid(),
            meta.gid(),
            meta.mtime(),
            meta.mtime_nsec(),
            meta.rdev(),
        );
        out.insert(path.clone(), text);
        if meta.is_dir() {
            walk(root, &path, inodes, out);
        }
    }
}
