//! The sending side of a stream: the kernel writes it, the other side gets it as it is, and the tree is read meanwhile.
//!
//! What the other side has afterwards is what was read here: [`Sender::end`] says so, and the other side compares. Of a file
//! that was read for the stream before, its times tell whether it must be read again ([`crate::stamp`]), as of the time when
//! that snapshot was made.
//!
//! Steps of one stream:
//! 1. the tree is listed; what a stream would leave out (subvolumes and mounts in it) makes it unfit, and nothing is said
//! 2. the kernel writes, and what it writes is handed on; at the same time the tree is read
//! 3. a stream that the kernel breaks off is said to be none, and the other side says what it has of it

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use rustix::fs::FileType;
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};
use sys::btrfs;
use sys::dir::Stat;

use crate::blocks::BLOCK;
use crate::census::{self, Believed};
use crate::error::TransferError;
use crate::path::RelPath;
use crate::read::{self, Found};
use crate::send::{Known, Passed, STRIDE, Sender};
use crate::stamp::{Stamp, Writers};
use crate::wire::Message;

/// Inodes of a filesystem's trees have higher numbers, but for their roots and what stands for the root of another one.
const LAST_ROOT: u64 = 256;
/// What the kernel may write ahead.
const PIPE: usize = 1 << 20;

/// A tree at one instant.
#[derive(Debug, Clone, Copy)]
pub struct Still<'a> {
    /// A read-only snapshot of it.
    pub snapshot: BorrowedFd<'a>,
    /// A time before it was made.
    pub taken: SystemTime,
    /// What is read for the digest: the snapshot, or the tree itself while nobody changes it.
    pub read: BorrowedFd<'a>,
}

/// What came of a stream.
#[derive(Debug)]
pub enum Streamed {
    /// The other side has the tree.
    Whole(Passed),
    /// The tree, or what the other side has, is not for streams. Nothing was sent.
    Unfit,
    /// The kernel wrote no more, and said why. What the other side has is known; a pass sends the rest.
    Broken(io::Error),
}

impl<R: Read, W: Write> Sender<'_, R, W> {
    /// The other side takes streams: it has said so.
    pub fn allow_streams(&mut self) {
        self.streams = true;
    }

    /// Whether a stream could be next: the other side takes it, and has nothing or what a stream has made.
    #[must_use]
    pub fn may_stream(&self) -> bool {
        let has_nothing = self.model.keys().all(RelPath::is_root);
        self.streams && (has_nothing || self.streamed)
    }

    /// Brings the other side to what `still` is, from `before`, which is what the last stream has sent, or from nothing.
    ///
    /// # Errors
    /// [`TransferError`].
    pub fn stream(
        &mut self,
        still: &Still<'_>,
        before: Option<BorrowedFd<'_>>,
        action: &str,
    ) -> Result<Streamed, TransferError> {
        if !self.may_stream() || self.streamed != before.is_some() || !is_snapshot(still.snapshot)?
        {
            return Ok(Streamed::Unfit);
        }
        let found = read::list(still.read)?;
        if !found.iter().all(is_within(&found)) {
            return Ok(Streamed::Unfit);
        }
        let total = before.map_or_else(|| allocated(&found), |_| 0);
        let known = std::mem::take(&mut self.model);
        self.streamed = false;
        let stop = AtomicBool::new(false);
        let (reader, writer) = pipe()?;
        self.link.send(&Message::Stream)?;
        let ((model, read), written, sent) = std::thread::scope(|scope| {
            let reading = scope.spawn(|| take_stock(still, found, &known, &stop));
            let writing = scope.spawn(move || {
                let written = sys::btrfs_send::send(still.snapshot, before, writer.as_fd());
                drop(writer);
                written
            });
            let sent = self.hand_on(&reader, action, total);
            // Ends the kernel's writing, if it has not come to its end.
            drop(reader);
            if sent.is_err() {
                stop.store(true, Ordering::Relaxed);
            }
            let written = writing.join().expect("a call of the kernel does not panic");
            let stock = reading.join().expect("a tree is read without a panic");
            let sent = sent?;
            // One that is broken off is asked for what it was, not taken for what it is.
            Ok::<_, TransferError>((stock?, written, sent))
        })?;
        let whole = written.is_ok();
        self.say(&Message::Streamed { whole })?;
        if let Err(why) = written {
            self.streams = false;
            self.learn(still.read)?;
            return Ok(Streamed::Broken(why));
        }
        self.model = model;
        self.streamed = true;
        self.sent += sent;
        Ok(Streamed::Whole(Passed {
            entries: self.model.len() as u64,
            sent,
            read,
        }))
    }

    /// Sends what comes out of the pipe until nobody writes into it any more; how much that was.
    fn hand_on(&mut self, pipe: &OwnedFd, action: &str, total: u64) -> Result<u64, TransferError> {
        let mut buffer = vec![0; BLOCK];
        let (mut done, mut told) = (0, 0);
        loop {
            let count = match rustix::io::read(pipe, &mut buffer[..]) {
                Ok(0) => return Ok(done),
                Ok(count) => count,
                Err(Errno::INTR) => continue,
                Err(error) => return Err(failed("read the stream of")(error.into())),
            };
            self.link.send_data(&buffer[..count])?;
            done += count as u64;
            if done - told >= STRIDE {
                told = done;
                self.link.send(&Message::Progress {
                    action: action.to_owned(),
                    // Not known for what has changed; names and attributes come beside the contents.
                    done: if total == 0 { done } else { done.min(total) },
                    total,
                })?;
            }
        }
    }
}

fn failed(action: &'static str) -> impl FnOnce(io::Error) -> TransferError {
    TransferError::io(action, &RelPath::default())
}

fn is_snapshot(root: BorrowedFd<'_>) -> Result<bool, TransferError> {
    let looked = || Ok(btrfs::is_subvolume(root)? && btrfs::is_read_only(root)?);
    looked().map_err(failed("look at"))
}

/// Whether an entry belongs to the tree's own filesystem and subvolume, of which the first one is the root.
fn is_within(all: &[Found]) -> impl Fn(&Found) -> bool {
    let root = all.first().map(|root| root.stat.dev);
    move |found| {
        found.path.is_root() || (Some(found.stat.dev) == root && found.stat.ino > LAST_ROOT)
    }
}

/// Bytes that a whole stream is going to hold, nearly.
fn allocated(found: &[Found]) -> u64 {
    let files = found
        .iter()
        .filter(|found| found.stat.kind() == FileType::RegularFile);
    files
        .map(|found| found.stat.size.min(found.stat.blocks.saturating_mul(512)))
        .sum()
}

fn pipe() -> Result<(OwnedFd, OwnedFd), TransferError> {
    let (reader, writer) =
        pipe_with(PipeFlags::CLOEXEC).map_err(|error| failed("open a pipe for")(error.into()))?;
    // A shorter one, where more is not allowed, works as well.
    fcntl_setpipe_size(&writer, PIPE).unwrap_or_default();
    Ok((reader, writer))
}

type Model = BTreeMap<RelPath, Known>;

/// Reads a tree that nobody changes, but for those files that are what they were when `known` was read, until `stop` says that
/// nobody needs it. How many bytes that were comes along.
fn take_stock(
    still: &Still<'_>,
    found: Vec<Found>,
    known: &Model,
    stop: &AtomicBool,
) -> Result<(Model, u64), TransferError> {
    let mut model = Model::new();
    let mut bytes = 0;
    let belief = |found: &Found| {
        let known = known.get(&found.path)?;
        known.stamp?.fits(&anywhere(found)).then_some(Believed {
            blocks: &known.entry.blocks,
            stale: None,
            until: u64::MAX,
        })
    };
    census::count(still.read, found, &belief, stop, |counted| {
        bytes += counted.read;
        let stamp = counted
            .entry
            .is_file()
            .then(|| Stamp::before(&anywhere(&counted.found), still.taken, Writers::Others))
            .flatten();
        let known = Known {
            entry: counted.entry,
            stamp,
        };
        model.insert(counted.found.path, known);
        Ok(())
    })?;
    Ok((model, bytes))
}

/// A snapshot is a device of its own; its inodes have the numbers that they have in the tree.
fn anywhere(found: &Found) -> Stat {
    Stat {
        dev: 0,
        ..found.stat
    }
}
