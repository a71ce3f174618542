//! The sending side: goes through its tree and sends what the other one lacks.
//!
//! What the other side has is known here at every moment, entry by entry and block by block: from what it said at the
//! beginning, and from what was sent. A pass compares the tree with that. Of a file that was read in an earlier pass, its times
//! tell whether it must be read again ([`crate::stamp`]). When the other side has something else in the end nonetheless, it says
//! what, once, and the pass that follows believes nothing.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::SystemTime;

use rustix::fs::FileType;
use sys::{dir, is_gone};

use crate::blocks;
use crate::census;
use crate::entry::{Digest, Entry, Node, TreeDigest};
use crate::error::TransferError;
use crate::path::RelPath;
use crate::put::{Put, differing};
use crate::read::{self, Found, Names, Places};
use crate::stamp::{Stamp, Writers};
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
    /// What it should have had when it said that it had not.
    doubted: Option<BTreeMap<RelPath, Known>>,
}

/// What the other side says in the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// It has this, and put it where it shall be.
    Agreed(Digest),
    /// It has something else, and is about to say what: [`Sender::relearn`], another pass, and another end.
    Doubted,
}

#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) entry: Entry,
    pub(crate) stamp: Option<Stamp>,
}

impl<'l, R: Read, W: Write> Sender<'l, R, W> {
    pub fn new(link: &'l mut Link<R, W>) -> Self {
        Self {
            link,
            model: BTreeMap::new(),
            sent: 0,
            streams: false,
            streamed: false,
            doubted: None,
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

    /// Has the other side read what it has got so far, which it then need not do in the end.
    ///
    /// # Errors
    /// [`TransferError`].
    pub fn settle(&mut self) -> Result<(), TransferError> {
        self.say(&Message::Settle)?;
        loop {
            match self.link.receive()? {
                Message::Progress { .. } | Message::Note(_) => {}
                Message::Settled => return Ok(()),
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
            remade: HashSet::new(),
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

    /// Says that this is all, and waits until the other side has compared and put its tree where it shall be.
    ///
    /// # Errors
    /// [`TransferError`].
    pub fn end(&mut self) -> Result<Ending, TransferError> {
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
                Message::Done { digest: theirs } if theirs == digest => {
                    return Ok(Ending::Agreed(digest));
                }
                Message::Done { digest: theirs } => {
                    return Err(TransferError::Disagree {
                        wanted: digest,
                        found: theirs,
                    });
                }
                Message::Doubt if self.doubted.is_none() => {
                    self.doubted = Some(std::mem::take(&mut self.model));
                    self.streams = false;
                    self.streamed = false;
                    return Ok(Ending::Doubted);
                }
                _ => return Err(TransferError::Nonsense("a message of the other side's")),
            }
        }
    }

    /// Hears what the other side has when it has [`Ending::Doubted`]. The paths are those where it should have had something else.
    ///
    /// # Errors
    /// [`TransferError`].
    pub fn relearn(&mut self, root: BorrowedFd<'_>) -> Result<Vec<RelPath>, TransferError> {
        self.learn(root)?;
        let Some(before) = &mut self.doubted else {
            return Ok(Vec::new());
        };
        let before = std::mem::take(before);
        let differs = |path: &RelPath| {
            let (was, is) = (before.get(path), self.model.get(path));
            let digest = |known: &Known| known.entry.digest();
            was.map(digest) != is.map(digest)
        };
        let all: BTreeSet<&RelPath> = before.keys().chain(self.model.keys()).collect();
        Ok(all
            .into_iter()
            .filter(|path| differs(path))
            .cloned()
            .collect())
    }
}

struct Pass<'p, 'a, R, W: Write> {
    link: &'p mut Link<R, W>,
    model: &'p mut BTreeMap<RelPath, Known>,
    places: Places<'a>,
    names: Names,
    passed: Passed,
    /// What the other side makes anew: no other name that it had is one of this any more.
    remade: HashSet<RelPath>,
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
            meta: read::living_meta(dir, found).map_err(failed())?,
            path: found.path.clone(),
            node,
            blocks: Vec::new(),
        };
        let there = self
            .model
            .get(&entry.path)
            .is_some_and(|known| match &entry.node {
                Node::Link(first) => known.entry.node == entry.node && !self.remade.contains(first),
                node => known.entry.node == *node && known.entry.meta == entry.meta,
            });
        if !there {
            if found.stat.nlink > 1 && !matches!(entry.node, Node::Directory | Node::Link(_)) {
                self.remade.insert(entry.path.clone());
            }
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
        let stamp = Stamp::before(&stat, SystemTime::now(), Writers::Others);
        let (now, size) = (
            Found {
                path: found.path.clone(),
                stat,
            },
            stat.size,
        );
        let dir = self.places.parent(&found.path).map_err(failed())?;
        let mut entry = Entry {
            meta: read::living_meta(dir, &now).map_err(failed())?,
            path: found.path.clone(),
            node: Node::File { size },
            blocks: Vec::new(),
        };
        let old = self
            .model
            .remove(&found.path)
            .map(|known| known.entry)
            .filter(Entry::is_file);
        let sent = self.passed.sent;
        let mut put = Put {
            fresh: old.is_none(),
            entry: &mut entry,
            begun: false,
        };
        match &old {
            None => {
                if stat.nlink > 1 {
                    self.remade.insert(found.path.clone());
                }
                put.begin(self.link)?;
                blocks::each::<Stop>(file.as_fd(), size, |index, bytes, digest| {
                    put.entry.blocks.push((index, digest));
                    self.passed.read += bytes.len() as u64;
                    Ok(self.block(index, bytes)?)
                })
                .map_err(|stop| match stop {
                    Stop::Read(error) => failed()(error),
                    Stop::Sent(error) => error,
                })?;
            }
            Some(old) => {
                let (now, read) = census::contents(file.as_fd(), size).map_err(failed())?;
                self.passed.read += read;
                let differing = differing(&old.blocks, &now, size);
                put.entry.blocks = now;
                for index in differing {
                    put.begin(self.link)?;
                    // What was read may be other bytes by now.
                    let (bytes, digest) =
                        blocks::one(file.as_fd(), size, index).map_err(failed())?;
                    put.set(index, digest);
                    if digest.is_some() {
                        self.block(index, &bytes)?;
                    } else {
                        self.link.send(&Message::Zero { index })?;
                    }
                }
                if old.meta != put.entry.meta || old.node != put.entry.node {
                    put.begin(self.link)?;
                }
            }
        }
        if put.begun {
            self.link.send(&Message::Sealed)?;
        }
        // Holes, and what is there already, are done as well.
        self.advance(size.saturating_sub(self.passed.sent - sent))?;
        self.model
            .insert(entry.path.clone(), Known { entry, stamp });
        Ok(())
    }

    fn block(&mut self, index: u64, bytes: &[u8]) -> Result<(), TransferError> {
        self.link.send(&Message::Block { index })?;
        self.link.send_data(bytes)?;
        let sent = bytes.len() as u64;
        self.passed.sent += sent;
        self.advance(sent)
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
            remade: HashSet::new(),
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
