//! The sending side: goes through its tree and sends what the other one lacks.
//!
//! What the other side has is known here at every moment, entry by entry and block by block: from what it said at the
//! beginning, and from what was sent. A pass compares the tree with that. Of a file that was read in an earlier pass, the time
//! of its last change of status tells whether it must be read again; where that time is so young that another change could
//! bear it, too, it is read again.

use std::collections::{BTreeMap, HashSet};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::FileType;
use sys::dir::{self, Stat, Time};

use crate::blocks;
use crate::entry::{Digest, Entry, Node, TreeDigest};
use crate::error::TransferError;
use crate::path::RelPath;
use crate::read::{self, Found, Names, Places, is_gone};
use crate::wire::{Link, Message};

/// Bytes read between two tellings.
pub(crate) const STRIDE: u64 = 8 << 20;
/// What a receiver may claim to have beyond what the sender has: it may hold an older state.
const LENIENCY: usize = 1 << 17;

/// What a pass did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Passed {
    pub entries: u64,
    /// Contents that were sent.
    pub sent: u64,
    /// Contents that were read.
    pub read: u64,
}

/// Makes the other side's tree what this one is.
#[derive(Debug)]
pub struct Sender<'l, R, W: Write> {
    pub(crate) link: &'l mut Link<R, W>,
    /// What the other side has.
    pub(crate) model: BTreeMap<RelPath, Known>,
    pub(crate) sent: u64,
    /// Whether the other side takes streams.
    pub(crate) streams: bool,
    /// Whether it has what a stream has made, and nothing else.
    pub(crate) streamed: bool,
}

#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) entry: Entry,
    pub(crate) stamp: Option<Stamp>,
}

/// Tells whether an inode is what it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    dev: u64,
    ino: u64,
    size: u64,
    ctime: Time,
}

impl Stamp {
    /// `None` when a change after this look could leave the same times.
    fn of(stat: &Stat) -> Option<Self> {
        Self::as_of(stat, SystemTime::now())
    }

    /// As [`Stamp::of`], of a look at that time.
    pub(crate) fn as_of(stat: &Stat, seen: SystemTime) -> Option<Self> {
        // One tick of the coarsest clock that local filesystems take times from, and some; others count seconds.
        let grain = if stat.ctime.nanoseconds == 0 {
            Duration::from_secs(2)
        } else {
            Duration::from_millis(100)
        };
        let now = seen.duration_since(UNIX_EPOCH).ok()?;
        let changed = Duration::new(
            u64::try_from(stat.ctime.seconds).ok()?,
            stat.ctime.nanoseconds,
        );
        (changed + grain < now).then_some(Self {
            dev: stat.dev,
            ino: stat.ino,
            size: stat.size,
            ctime: stat.ctime,
        })
    }

    pub(crate) fn fits(&self, stat: &Stat) -> bool {
        (self.dev, self.ino, self.size, self.ctime) == (stat.dev, stat.ino, stat.size, stat.ctime)
    }
}

impl<'l, R: Read, W: Write> Sender<'l, R, W> {
    pub fn new(link: &'l mut Link<R, W>) -> Self {
        Self {
            link,
            model: BTreeMap::new(),
            sent: 0,
            streams: false,
            streamed: false,
        }
    }

    /// Says something that is no part of the tree.
    ///
    /// # Errors
    /// [`TransferError`].
    pub fn say(&mut self, message: &Message) -> Result<(), TransferError> {
        self.link.send(message)?;
        self.link.flush()
    }

    /// The connection, between two passes.
    pub fn link(&mut self) -> &mut Link<R, W> {
        self.link
    }

    /// Hears what the other side has; `root` says how much that can sensibly be.
    ///
    /// # Errors
    /// [`TransferError`].
    pub fn learn(&mut self, root: BorrowedFd<'_>) -> Result<(), TransferError> {
        let found = read::list(root)?;
        let bytes: u64 = found.iter().map(|found| found.stat.size).sum();
        let most_entries = found.len() * 2 + LENIENCY;
        let most_blocks = usize::try_from(bytes / blocks::BLOCK as u64)
            .unwrap_or(usize::MAX)
            .saturating_mul(2)
            .saturating_add(LENIENCY);
        drop(found);
        let mut blocks = 0;
        let mut last: Option<RelPath> = None;
        loop {
            match self.link.receive()? {
                Message::Have(entry) => {
                    if !entry.is_sound() {
                        return Err(TransferError::Unsound(entry.path));
                    }
                    if self.model.len() >= most_entries {
                        return Err(TransferError::Nonsense("more entries than there can be"));
                    }
                    last = entry.is_file().then(|| entry.path.clone());
                    self.model
                        .insert(entry.path.clone(), Known { entry, stamp: None });
                }
                Message::HaveBlocks(some) => {
                    blocks += some.len();
                    let known = last.as_ref().and_then(|path| self.model.get_mut(path));
                    let Some(known) = known.filter(|_| blocks <= most_blocks) else {
                        return Err(TransferError::Nonsense("more blocks than there can be"));
                    };
                    known.entry.blocks.extend(some);
                    if !known.entry.blocks.is_sorted_by(|a, b| a.0 < b.0) {
                        return Err(TransferError::Nonsense("blocks in no order"));
                    }
                }
                Message::HaveEnd => return Ok(()),
                Message::Progress { .. } | Message::Note(_) => {}
                _ => return Err(TransferError::Nonsense("a message of the other side's")),
            }
        }
    }

    /// Brings the other side to what `root` is now. What changes while it is read is right after a later pass during which
    /// nothing does.
    ///
    /// # Errors
    /// [`TransferError`].
    pub fn pass(&mut self, root: BorrowedFd<'_>, action: &str) -> Result<Passed, TransferError> {
        let found = read::list(root)?;
        self.streamed = false;
        self.forget_missing(&found)?;
        let mut pass = Pass {
            link: self.link,
            model: &mut self.model,
            places: Places::new(root),
            names: Names::default(),
            passed: Passed::default(),
            done: 0,
            told: 0,
            total: found
                .iter()
                .filter(|found| found.stat.kind() == FileType::RegularFile)
                .map(|found| found.stat.size)
                .sum(),
            action,
        };
        for found in &found {
            pass.one(found)?;
        }
        pass.tell()?;
        let passed = pass.passed;
        self.sent += passed.sent;
        self.link.flush()?;
        Ok(passed)
    }

    fn forget_missing(&mut self, found: &[Found]) -> Result<(), TransferError> {
        let present: HashSet<&RelPath> = found.iter().map(|found| &found.path).collect();
        let missing: Vec<RelPath> = self
            .model
            .keys()
            .filter(|path| !present.contains(path))
            .cloned()
            .collect();
        for path in missing {
            self.model.remove(&path);
            // What is below something that is gone went with it.
            let parent = path.parent().unwrap_or_default();
            if present.contains(&parent) {
                self.link.send(&Message::Remove(path))?;
            }
        }
        Ok(())
    }

    /// Says that this is all, and waits until the other side has compared and put its tree where it shall be. Its answer is
    /// the digest of both.
    ///
    /// # Errors
    /// [`TransferError`].
    pub fn end(&mut self) -> Result<Digest, TransferError> {
        let mut tree = TreeDigest::default();
        for known in self.model.values() {
            tree.add(&known.entry);
        }
        let digest = tree.finish();
        self.say(&Message::End {
            digest,
            entries: self.model.len() as u64,
            bytes: self.sent,
        })?;
        loop {
            match self.link.receive()? {
                Message::Progress { .. } | Message::Note(_) => {}
                Message::Done { digest: theirs } if theirs == digest => return Ok(digest),
                Message::Done { digest: theirs } => {
                    return Err(TransferError::Disagree {
                        wanted: digest,
                        found: theirs,
                    });
                }
                _ => return Err(TransferError::Nonsense("a message of the other side's")),
            }
        }
    }
}

struct Pass<'p, 'a, R, W: Write> {
    link: &'p mut Link<R, W>,
    model: &'p mut BTreeMap<RelPath, Known>,
    places: Places<'a>,
    names: Names,
    passed: Passed,
    done: u64,
    told: u64,
    total: u64,
    action: &'p str,
}

impl<R: Read, W: Write> Pass<'_, '_, R, W> {
    fn one(&mut self, found: &Found) -> Result<(), TransferError> {
        self.passed.entries += 1;
        let first = self.names.first(found);
        if self.is_unchanged(found, first.as_ref()) {
            self.advance(found.stat.size)?;
            return Ok(());
        }
        if !self.has_place(&found.path) {
            self.names.forget(found);
            return Ok(());
        }
        match self.changed(found, first) {
            Err(TransferError::Io { source, .. }) if is_gone(&source) => {
                self.names.forget(found);
                if self.model.remove(&found.path).is_some() {
                    self.link.send(&Message::Remove(found.path.clone()))?;
                    self.forget_below(&found.path);
                }
                Ok(())
            }
            other => other,
        }
    }

    /// Whether the other side has the directory that the entry is in. One that was elsewhere when it was its turn may be back by
    /// now; a later pass finds it.
    fn has_place(&self, path: &RelPath) -> bool {
        path.parent().is_none_or(|parent| {
            self.model
                .get(&parent)
                .is_some_and(|known| known.entry.node == Node::Directory)
        })
    }

    fn forget_below(&mut self, path: &RelPath) {
        let below: Vec<RelPath> = self
            .model
            .range(path.clone()..)
            .map(|(known, _)| known)
            .take_while(|known| known.as_path().starts_with(path.as_path()))
            .cloned()
            .collect();
        for path in below {
            self.model.remove(&path);
        }
    }

    fn is_unchanged(&self, found: &Found, first: Option<&RelPath>) -> bool {
        self.model.get(&found.path).is_some_and(|known| {
            let same_name = match (&known.entry.node, first) {
                (Node::Link(known), Some(first)) => known == first,
                (node, None) => !matches!(node, Node::Link(_)),
                _ => false,
            };
            same_name && known.stamp.is_some_and(|stamp| stamp.fits(&found.stat))
        })
    }

    fn changed(&mut self, found: &Found, first: Option<RelPath>) -> Result<(), TransferError> {
        let failed = || TransferError::io("read", &found.path);
        let dir = self.places.parent(&found.path).map_err(failed())?;
        let node = match first {
            Some(first) => Node::Link(first),
            None => read::node(dir, found).map_err(failed())?,
        };
        if let Node::File { .. } = node {
            let file = read::open(dir, found).map_err(failed())?;
            return self.file(found, &file);
        }
        let entry = Entry {
            meta: read::meta(dir, found).map_err(failed())?,
            path: found.path.clone(),
            node,
            blocks: Vec::new(),
        };
        let there = self.model.get(&entry.path).is_some_and(|known| {
            known.entry.node == entry.node
                && (known.entry.meta == entry.meta || matches!(entry.node, Node::Link(_)))
        });
        if !there {
            if entry.node != Node::Directory {
                // Whatever was below it, when it was a directory, is not there any more.
                self.forget_below(&entry.path);
            }
            self.link.send(&Message::Put {
                entry: entry.clone(),
                fresh: false,
            })?;
        }
        // Cheap to look at again.
        let stamp = None;
        self.model
            .insert(entry.path.clone(), Known { entry, stamp });
        Ok(())
    }

    fn file(&mut self, found: &Found, file: &OwnedFd) -> Result<(), TransferError> {
        let failed = || TransferError::io("read", &found.path);
        let stat = dir::stat(file.as_fd()).map_err(failed())?;
        if stat.kind() != FileType::RegularFile {
            return Err(failed()(rustix::io::Errno::NOENT.into()));
        }
        let stamp = Stamp::of(&stat);
        let (now, size) = (
            Found {
                path: found.path.clone(),
                stat,
            },
            stat.size,
        );
        let dir = self.places.parent(&found.path).map_err(failed())?;
        let mut entry = Entry {
            meta: read::meta(dir, &now).map_err(failed())?,
            path: found.path.clone(),
            node: Node::File { size },
            blocks: Vec::new(),
        };
        let old = self
            .model
            .remove(&found.path)
            .map(|known| known.entry)
            .filter(Entry::is_file);
        let mut put = Put {
            fresh: old.is_none(),
            entry: &mut entry,
            begun: false,
        };
        let mut before = old
            .as_ref()
            .map_or(&[][..], |old| old.blocks.as_slice())
            .iter()
            .peekable();
        blocks::each::<Stop>(file.as_fd(), size, |index, bytes, digest| {
            let mut same = false;
            while let Some((known, known_digest)) = before.next_if(|(known, _)| *known <= index) {
                if *known == index {
                    same = *known_digest == digest;
                } else {
                    put.begin(self.link)?;
                    self.link.send(&Message::Zero { index: *known })?;
                }
            }
            if !same {
                put.begin(self.link)?;
                self.link.send(&Message::Block { index })?;
                self.link.send_data(bytes)?;
                self.passed.sent += bytes.len() as u64;
            }
            put.entry.blocks.push((index, digest));
            self.passed.read += bytes.len() as u64;
            self.done += bytes.len() as u64;
            if put.begun && self.done - self.told >= STRIDE {
                self.told = self.done;
                self.link
                    .send(&progress(self.action, self.done, self.total))?;
            }
            Ok(())
        })
        .map_err(|stop| match stop {
            Stop::Read(error) => failed()(error),
            Stop::Sent(error) => error,
        })?;
        for (index, _) in before {
            if blocks::length(*index, size).is_some() {
                put.begin(self.link)?;
                self.link.send(&Message::Zero { index: *index })?;
            }
        }
        let same = old
            .as_ref()
            .is_some_and(|old| old.meta == put.entry.meta && old.node == put.entry.node);
        if !same {
            put.begin(self.link)?;
        }
        if put.begun {
            self.link.send(&Message::Sealed)?;
        }
        self.model
            .insert(entry.path.clone(), Known { entry, stamp });
        Ok(())
    }

    fn advance(&mut self, bytes: u64) -> Result<(), TransferError> {
        self.done = self.done.saturating_add(bytes);
        if self.done - self.told >= STRIDE {
            self.tell()?;
        }
        Ok(())
    }

    fn tell(&mut self) -> Result<(), TransferError> {
        self.told = self.done;
        self.link
            .send(&progress(self.action, self.done, self.total))
    }
}

fn progress(action: &str, done: u64, total: u64) -> Message {
    Message::Progress {
        action: action.to_owned(),
        // Holes are not read.
        done: done.min(total),
        total,
    }
}

/// A file that is announced only when something of it differs.
struct Put<'e> {
    entry: &'e mut Entry,
    fresh: bool,
    begun: bool,
}

impl Put<'_> {
    fn begin<R: Read, W: Write>(&mut self, link: &mut Link<R, W>) -> Result<(), TransferError> {
        if self.begun {
            return Ok(());
        }
        self.begun = true;
        let entry = Entry {
            blocks: Vec::new(),
            ..self.entry.clone()
        };
        link.send(&Message::Put {
            entry,
            fresh: self.fresh,
        })
    }
}

/// Which side of a copied file failed.
enum Stop {
    Read(io::Error),
    Sent(TransferError),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Read(error)
    }
}

impl From<TransferError> for Stop {
    fn from(error: TransferError) -> Self {
        Self::Sent(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_a_directory_that_was_elsewhere_waits() {
        let path = std::env::temp_dir().join(format!("transfer-send-{}", std::process::id()));
        std::fs::create_dir_all(path.join("moved")).expect("made");
        std::fs::write(path.join("moved/file"), "x").expect("written");
        let root = dir::open(&path).expect("opened");
        let mut link = Link::new(io::empty(), Vec::new());
        let mut sender = Sender::new(&mut link);
        let mut pass = Pass {
            link: sender.link,
            model: &mut sender.model,
            places: Places::new(root.as_fd()),
            names: Names::default(),
            passed: Passed::default(),
            done: 0,
            told: 0,
            total: 0,
            action: "Sending",
        };
        // The directory had another name when it was its turn.
        for found in read::list(root.as_fd()).expect("listed") {
            if found.path.as_path() != "moved" {
                pass.one(&found).expect("passed over");
            }
        }
        assert_eq!(sender.model.len(), 1);
        sender
            .pass(root.as_fd(), "Sending")
            .expect("sent by the next pass");
        assert_eq!(sender.model.len(), 3);
        std::fs::remove_dir_all(path).expect("removed");
    }
}
