//! A disk whose every write and flush is logged, so that it can be seen as it was when the power went, at any moment.
//!
//! `qemu-storage-daemon` serves an image as a file that the kernel mounts, and its driver `blklogwrites` keeps a log in the
//! format of the kernel's `dm-log-writes`: a superblock, then for each request a header of one sector and its data. What was
//! written since the last flush may or may not survive a power cut: [`LoggedDisk::cut`] decides by throwing dice. Writes that are to be on disk
//! when they return (FUA) are none of their own here: a loop device has no such thing, so the kernel sends a flush after each.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use testkit::until;

use crate::dice::Dice;

const SECTOR: u64 = 512;
const FLUSH: u64 = 1;
const DISCARD: u64 = 4;

#[derive(Debug)]
pub(super) struct LoggedDisk {
    kind: &'static str,
    mountpoint: PathBuf,
    directory: PathBuf,
    daemon: Child,
    mounted: bool,
    /// The image as all that was flushed up to `applied` entries makes it.
    settled: File,
    applied: usize,
    cuts: u32,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    sector: u64,
    sectors: u64,
    flags: u64,
    /// Where its data begins in the log.
    data: u64,
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Whether this host has what it needs.
pub(super) fn is_possible() -> bool {
    let daemon = Command::new("qemu-storage-daemon").arg("--help").output();
    daemon.is_ok_and(|help| String::from_utf8_lossy(&help.stdout).contains("fuse"))
        && Path::new("/dev/fuse").exists()
}

fn mount(kind: &str, image: &Path, at: &Path) {
    let error = try_mount(kind, image, at);
    assert_eq!(error, None, "{} at {}", image.display(), at.display());
}

/// What the kernel says against it.
fn try_mount(kind: &str, image: &Path, at: &Path) -> Option<String> {
    let options = match kind {
        // Discards are not data; nothing of this is about them.
        "btrfs" => "loop,nodiscard",
        // All states of one disk have one UUID, and the last one may be mounted still: in a namespace that is about to go.
        "xfs" => "loop,nouuid",
        _ => "loop",
    };
    let output = Command::new("mount")
        .args(["-t", kind, "-o", options])
        .args([image, at])
        .output()
        .unwrap();
    (!output.status.success()).then(|| String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Helpers of an engine that has ended may still be at work there.
fn unmount(at: &Path) {
    until("nobody uses the disk any more", || {
        let unmounted = Command::new("umount").arg(at).output().unwrap();
        unmounted.status.success().then_some(())
    });
}

impl LoggedDisk {
    /// A new filesystem, mounted at `mountpoint`; from now on everything is logged.
    pub(super) fn mount(kind: &'static str, mountpoint: &Path, bytes: u64) -> Self {
        let directory = mountpoint.with_extension("disk");
        fs::create_dir_all(&directory).unwrap();
        let path = |name: &str| directory.join(name);
        File::create(path("image")).unwrap().set_len(bytes).unwrap();
        run(
            &format!("mkfs.{kind}"),
            &["-q", path("image").to_str().unwrap()],
        );
        run(
            "cp",
            &[
                "--sparse=always",
                path("image").to_str().unwrap(),
                path("settled").to_str().unwrap(),
            ],
        );
        File::create(path("log")).unwrap();
        // What is served as a file needs one to be mounted on.
        File::create(path("export")).unwrap();
        let node = |name: &str, file: &str| {
            format!(
                "driver=file,node-name={name},filename={},cache.no-flush=on",
                path(file).display()
            )
        };
        let daemon = Command::new("qemu-storage-daemon")
            .arg("--blockdev")
            .arg(node("image", "image"))
            .arg("--blockdev")
            .arg(node("log", "log"))
            .arg("--blockdev")
            .arg(format!(
                "driver=blklogwrites,node-name=logged,file=image,log=log,log-sector-size={SECTOR}"
            ))
            .arg("--export")
            .arg(format!(
                "type=fuse,id=export,node-name=logged,mountpoint={},writable=on",
                path("export").display()
            ))
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        until("the disk is served", || {
            let size = fs::metadata(path("export")).ok()?.len();
            (size == bytes).then_some(())
        });
        mount(kind, &path("export"), mountpoint);
        let settled = File::options()
            .read(true)
            .write(true)
            .open(path("settled"))
            .unwrap();
        Self {
            kind,
            mountpoint: mountpoint.to_owned(),
            settled,
            directory,
            daemon,
            mounted: true,
            applied: 0,
            cuts: 0,
        }
    }

    /// How many requests have been logged.
    pub(super) fn position(&self) -> usize {
        self.entries().len()
    }

    fn entries(&self) -> Vec<Entry> {
        let log = File::open(self.directory.join("log")).unwrap();
        let mut entries = Vec::new();
        // The first sector is the superblock.
        let mut at = SECTOR;
        loop {
            let mut header = [0_u8; 32];
            if log.read_exact_at(&mut header, at).is_err() {
                return entries;
            }
            let field = |index: usize| {
                u64::from_le_bytes(header[index * 8..index * 8 + 8].try_into().unwrap())
            };
            let entry = Entry {
                sector: field(0),
                sectors: field(1),
                flags: field(2),
                data: at + SECTOR,
            };
            if entry.sectors == 0 && entry.flags == 0 {
                return entries;
            }
            at = entry.data;
            if entry.flags & DISCARD == 0 {
                at += entry.sectors * SECTOR;
            }
            entries.push(entry);
        }
    }

    /// Ends the life of the disk.
    pub(super) fn unmount(&mut self) {
        unmount(&self.mountpoint);
        self.mounted = false;
        self.end();
    }

    fn end(&mut self) {
        // It may have ended by itself.
        kill_process(Pid::from_child(&self.daemon), Signal::TERM).ok();
        self.daemon.wait().unwrap();
    }

    /// Mounts the disk at `at` as it would be if the power had gone after `position` requests, which never decreases from
    /// call to call: with all that had been flushed, and of what had not with what the dice say.
    ///
    /// `None` when the kernel cannot mount that, which it says on standard output: a fault of the filesystem or of the log.
    pub(super) fn cut(&mut self, position: usize, dice: &mut Dice, at: &Path) -> Option<Cut> {
        let entries = self.entries();
        let log = File::open(self.directory.join("log")).unwrap();
        let flushed = entries[..position]
            .iter()
            .rposition(|entry| entry.flags & FLUSH != 0)
            .map_or(0, |index| index + 1);
        for entry in &entries[self.applied..flushed.max(self.applied)] {
            apply(&log, entry, &self.settled);
        }
        self.applied = self.applied.max(flushed);
        // A name and a file of its own: a loop device may outlive its mount for a moment, and must not be taken again.
        self.cuts += 1;
        let image = self.directory.join(format!("cut-{}", self.cuts));
        let settled = self.directory.join("settled");
        run(
            "cp",
            &[
                "--sparse=always",
                settled.to_str().unwrap(),
                image.to_str().unwrap(),
            ],
        );
        let file = File::options().write(true).open(&image).unwrap();
        // None of it, all of it, or about half.
        let chance = dice.below(3);
        for entry in &entries[flushed..position] {
            if chance == 1 || chance == 2 && dice.one_in(2) {
                apply(&log, entry, &file);
            }
        }
        if let Some(error) = try_mount(self.kind, &image, at) {
            println!("{}, request {position}: {error}", self.kind);
            fs::remove_file(image).unwrap();
            return None;
        }
        Some(Cut {
            mountpoint: at.to_owned(),
            image,
        })
    }
}

fn apply(log: &File, entry: &Entry, image: &File) {
    if entry.flags & DISCARD != 0 {
        return;
    }
    let mut data = vec![0; usize::try_from(entry.sectors * SECTOR).unwrap()];
    log.read_exact_at(&mut data, entry.data).unwrap();
    image.write_all_at(&data, entry.sector * SECTOR).unwrap();
}

impl Drop for LoggedDisk {
    fn drop(&mut self) {
        if self.mounted {
            // A test has failed: what it worked on must not outlive it.
            drop(
                Command::new("umount")
                    .arg("-l")
                    .arg(&self.mountpoint)
                    .status(),
            );
            self.end();
        }
        if !std::thread::panicking() {
            fs::remove_dir_all(&self.directory).unwrap();
        }
    }
}

/// A disk after a power cut, mounted.
#[derive(Debug)]
pub(super) struct Cut {
    mountpoint: PathBuf,
    image: PathBuf,
}

impl Drop for Cut {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            unmount(&self.mountpoint);
            fs::remove_file(&self.image).unwrap();
        }
    }
}
