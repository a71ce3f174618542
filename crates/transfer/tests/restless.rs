//! A tree that somebody changes in every way while it is sent, holds still, and is sent for the last time: what arrives is what
//! is there, and neither side has to doubt.
//!
//! `TRANSFER_ROUNDS` says how often, `TRANSFER_SCRATCH` where. Where that is a btrfs, every other round goes by streams.

#![cfg(test)]
#![expect(clippy::disallowed_methods, reason = "a test program")]

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _, symlink};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::SystemTime;

use rustix::fs::{CWD, FallocateFlags, FileType, Mode, OFlags};
use transfer::{Ending, Link, Message, Receiver, RelPath, Sender, Still, Streamed};

const DIRECTORIES: u64 = 8;
const LARGE: u64 = 3 << 20;

struct Scratch {
    path: PathBuf,
    is_btrfs: bool,
}

impl Scratch {
    fn new() -> Self {
        let above =
            std::env::var_os("TRANSFER_SCRATCH").map_or_else(std::env::temp_dir, PathBuf::from);
        let path = above.join(format!("restless-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        let is_btrfs = sys::btrfs::is_btrfs(File::open(&path).unwrap().as_fd()).unwrap();
        let scratch = Self { path, is_btrfs };
        scratch.make("from");
        scratch.make("to");
        scratch
    }

    fn make(&self, name: &str) {
        if self.is_btrfs {
            let parent = File::open(&self.path).unwrap();
            sys::btrfs::create_subvolume(parent.as_fd(), OsStr::new(name)).unwrap();
        } else {
            fs::create_dir(self.path.join(name)).unwrap();
        }
    }

    fn remove(&self, name: &str) {
        if self.is_btrfs {
            let parent = File::open(&self.path).unwrap();
            sys::btrfs::delete_subvolume(parent.as_fd(), OsStr::new(name)).unwrap();
        } else {
            fs::remove_dir_all(self.path.join(name)).unwrap();
        }
    }

    fn snapshot(&self, name: &str) -> (File, SystemTime) {
        let taken = SystemTime::now();
        let (parent, source) = (File::open(&self.path).unwrap(), self.open("from"));
        sys::btrfs::snapshot(source.as_fd(), parent.as_fd(), OsStr::new(name), true).unwrap();
        (self.open(name), taken)
    }

    fn open(&self, name: &str) -> File {
        File::open(self.path.join(name)).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !thread::panicking() {
            self.remove("from");
            self.remove("to");
            fs::remove_dir_all(&self.path).unwrap();
        }
    }
}

/// Sets it when it goes, by a panic, too.
struct Stop<'s>(&'s AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Numbers that look as if they were random (xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % most
    }
}

/// One change; what is not there any more cannot be changed.
fn change(tree: &Path, dice: &mut Dice) -> std::io::Result<()> {
    let directory = |dice: &mut Dice| tree.join(dice.below(DIRECTORIES).to_string());
    let file = |dice: &mut Dice| directory(dice).join(format!("f{}", dice.below(6)));
    let kind = dice.below(20);
    match kind {
        0 => {
            let mut log = File::options()
                .append(true)
                .create(true)
                .open(tree.join("log"))?;
            log.write_all(b"one more line\n")
        }
        1..4 => {
            let large = File::options().write(true).open(tree.join("large"))?;
            let block = [u8::try_from(dice.below(256)).unwrap(); 4096];
            large.write_all_at(&block, dice.below(LARGE / 4096) * 4096)
        }
        4 => {
            let large = File::options().write(true).open(tree.join("large"))?;
            large.set_len(LARGE - dice.below(300_000))
        }
        5 => {
            let large = File::options().write(true).open(tree.join("large"))?;
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            Ok(rustix::fs::fallocate(
                &large,
                flags,
                dice.below(LARGE),
                200_000,
            )?)
        }
        6..8 => {
            let (from, to) = (directory(dice), tree.join("away"));
            fs::rename(&from, &to)?;
            fs::rename(to, from)
        }
        // Left elsewhere, and moved into another one.
        8 => fs::rename(directory(dice), tree.join("away")),
        9 => fs::rename(tree.join("away"), directory(dice)),
        10 => {
            let into = directory(dice).join("inner");
            fs::create_dir(&into)?;
            fs::write(into.join("file"), [7; 5000])
        }
        11 => fs::rename(directory(dice).join("inner"), directory(dice).join("inner")),
        12 => fs::rename(file(dice), file(dice)),
        13 => {
            let name = file(dice);
            if fs::hard_link(file(dice), &name).is_err() {
                fs::remove_file(name)?;
            }
            Ok(())
        }
        14 => {
            fs::create_dir(directory(dice)).unwrap_or_default();
            let length = usize::try_from(dice.below(300_000)).unwrap();
            // A fifo is not waited for.
            let flags = OFlags::NONBLOCK | OFlags::CREATE | OFlags::TRUNC | OFlags::WRONLY;
            let mut file = File::from(rustix::fs::open(
                file(dice),
                flags,
                Mode::from_raw_mode(0o644),
            )?);
            file.write_all(&vec![u8::try_from(length % 251).unwrap(); length])
        }
        15 => {
            let name = file(dice);
            fs::remove_file(&name)?;
            symlink("somewhere", name)
        }
        16 => {
            let name = file(dice);
            fs::remove_file(&name)?;
            let mode = Mode::RUSR | Mode::WUSR;
            rustix::fs::mknodat(CWD, &name, FileType::Fifo, mode, 0)?;
            fs::hard_link(&name, file(dice))
        }
        17 => fs::set_permissions(
            file(dice),
            fs::Permissions::from_mode(0o600 + u32::try_from(dice.below(64)).unwrap()),
        ),
        18 => {
            let directory = directory(dice);
            if dice.below(4) == 0 {
                fs::remove_dir_all(directory)?;
            }
            Ok(())
        }
        _ => {
            let value = dice.below(1000).to_string();
            Ok(rustix::fs::setxattr(
                file(dice),
                c"user.value",
                value.as_bytes(),
                rustix::fs::XattrFlags::empty(),
            )?)
        }
    }
}

fn populate(tree: &Path) {
    for number in 0..DIRECTORIES {
        let directory = tree.join(number.to_string());
        fs::create_dir(&directory).unwrap();
        for file in 0..6 {
            fs::write(directory.join(format!("f{file}")), vec![1; 20_000]).unwrap();
        }
    }
    let bytes: Vec<u8> = (0..LARGE / 4)
        .flat_map(|n| u32::try_from(n).unwrap().to_le_bytes())
        .collect();
    fs::write(tree.join("large"), bytes).unwrap();
}

type Ours = Link<UnixStream, UnixStream>;

fn links() -> (Ours, Ours) {
    let (one, other) = UnixStream::pair().unwrap();
    let link = |stream: UnixStream| Link::new(stream.try_clone().unwrap(), stream);
    (link(one), link(other))
}

/// Receives into `to` until both agree.
fn receive(mut link: Ours, to: &File, streams: bool, unchanging: bool) {
    let mut receiver = Receiver::new(&mut link, to.as_fd());
    if streams {
        receiver = receiver.streams();
    }
    if unchanging {
        receiver = receiver.unchanging();
    }
    receiver.tell().unwrap();
    let mut ended = receiver.run().unwrap();
    if receiver.verify(&ended).is_err() {
        receiver.doubt().unwrap();
        ended = receiver.run().unwrap();
        receiver.verify(&ended).unwrap();
    }
    let digest = ended.digest;
    link.send(&Message::Done { digest }).unwrap();
    link.flush().unwrap();
}

/// Says that this is all; what the other side has not as it is.
fn end(sender: &mut Sender<'_, UnixStream, UnixStream>, from: &File) -> Vec<RelPath> {
    if sender.end().unwrap() != Ending::Doubted {
        return Vec::new();
    }
    let differing = sender.relearn(from.as_fd()).unwrap();
    sender.pass(from.as_fd(), "Sending").unwrap();
    sender.end().unwrap();
    differing
}

fn send(
    scratch: &Scratch,
    link: &mut Ours,
    streams: bool,
    rounds: u64,
    still: impl FnOnce(),
) -> Vec<RelPath> {
    let from = scratch.open("from");
    let mut sender = Sender::new(link);
    if streams {
        sender.allow_streams();
    }
    sender.learn(from.as_fd()).unwrap();
    let mut before: Option<File> = None;
    let mut still = Some(still);
    for round in 0..=rounds {
        if round == rounds {
            still.take().unwrap()();
        } else if round == 0 {
            // Whatever was mapped.
            rustix::fs::syncfs(&from).unwrap();
        }
        let mut streamed = false;
        if streams && (round == 0 || before.is_some()) {
            let name = format!("snapshot-{round}");
            let (snapshot, taken) = scratch.snapshot(&name);
            let read = if round == rounds { &from } else { &snapshot };
            let state = Still {
                snapshot: snapshot.as_fd(),
                taken,
                read: read.as_fd(),
            };
            let done = sender
                .stream(&state, before.as_ref().map(File::as_fd), "Sending")
                .unwrap();
            assert!(matches!(done, Streamed::Whole(_)), "{done:?}");
            streamed = true;
            if before.replace(snapshot).is_some() {
                scratch.remove(&format!("snapshot-{}", round - 1));
            }
        }
        if !streamed {
            sender.pass(from.as_fd(), "Sending").unwrap();
        }
        if round < rounds {
            sender.settle().unwrap();
        }
    }
    if before.is_some() {
        scratch.remove(&format!("snapshot-{rounds}"));
    }
    end(&mut sender, &from)
}

#[test]
fn what_is_changed_all_the_time_arrives() {
    let scratch = Scratch::new();
    let tree = scratch.path.join("from");
    populate(&tree);
    let rounds = std::env::var("TRANSFER_ROUNDS").map_or(12, |rounds| rounds.parse().unwrap());
    let seed = AtomicU64::new(0x9e37_79b9_7f4a_7c15);
    for round in 0..rounds {
        let streams = scratch.is_btrfs && round % 2 == 1;
        if streams || round % 5 == 0 {
            scratch.remove("to");
            scratch.make("to");
        }
        let (mut ours, theirs) = links();
        let is_still = AtomicBool::new(false);
        let differing = thread::scope(|scope| {
            let _stop = Stop(&is_still);
            let changing = scope.spawn(|| {
                let mut dice = Dice(seed.load(Ordering::Relaxed));
                while !is_still.load(Ordering::Relaxed) {
                    // What cannot be done now can be later.
                    drop(change(&tree, &mut dice));
                }
                seed.store(dice.0, Ordering::Relaxed);
            });
            let to = scratch.open("to");
            let receiving = scope.spawn(move || receive(theirs, &to, streams, false));
            let differing = send(&scratch, &mut ours, streams, 1 + round % 3, || {
                is_still.store(true, Ordering::Relaxed);
                changing.join().unwrap();
            });
            receiving.join().unwrap();
            differing
        });
        assert!(
            differing.is_empty(),
            "round {round}, streams {streams}: {differing:?}"
        );
        // Once more, by who has seen nothing of it: there is nothing to do.
        let (mut ours, theirs) = links();
        thread::scope(|scope| {
            let to = scratch.open("to");
            scope.spawn(move || receive(theirs, &to, false, true));
            let from = scratch.open("from");
            let mut sender = Sender::new(&mut ours);
            sender.learn(from.as_fd()).unwrap();
            let passed = sender.pass(from.as_fd(), "Sending").unwrap();
            assert_eq!(passed.sent, 0, "round {round}, streams {streams}");
            assert_eq!(end(&mut sender, &from), []);
        });
    }
}
