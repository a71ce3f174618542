//! The receiving side: says what it has, does what it is told, and believes it when the digests agree.
//!
//! The sender is hostile until then: paths are opened below the root without following any link, blocks must lie in their
//! files, and only what the present message needs is in memory, beside the attributes of directories and the digests of
//! files that are there ([`crate::stock`]).

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::atomic::AtomicBool;
use std::thread;

use rustix::fs::FileType;
use sys::dir::{self, Stat};

use crate::blocks;
use crate::census;
use crate::entry::{Digest, Entry, Meta, Node, TreeDigest};
use crate::error::TransferError;
use crate::path::RelPath;
use crate::read::{self, Found, Places};
use crate::stock::Stock;
use crate::stream::apply::Applier;
use crate::stream::command::{Commands, Identity};
use crate::wire::{Link, Message, Piece};
use crate::write;

/// Blocks that one message names.
const PORTION: usize = 4096;

/// What the sender says of its tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    pub digest: Digest,
    pub entries: u64,
    /// Contents that came.
    pub bytes: u64,
}

/// Makes one tree what the other side has.
#[derive(Debug)]
pub struct Receiver<'a, 'l, R, W: Write> {
    link: &'l mut Link<R, W>,
    root: BorrowedFd<'a>,
    places: Places<'a>,
    /// Attributes of directories, which change with what is in them: set at the end.
    directories: BTreeMap<RelPath, Meta>,
    /// A file that is not complete yet.
    open: Option<Open>,
    received: u64,
    /// What it has read of its files.
    stock: Stock,
    unchanging: bool,
    streams: bool,
    /// What the tree is, by the last stream.
    identity: Option<Identity>,
}

#[derive(Debug)]
struct Open {
    file: OwnedFd,
    size: u64,
    entry: Entry,
    /// As it was when it was opened.
    stat: Stat,
}

impl<'a, 'l, R: Read, W: Write> Receiver<'a, 'l, R, W> {
    /// `root` is the tree to change; nobody else may.
    pub fn new(link: &'l mut Link<R, W>, root: BorrowedFd<'a>) -> Self {
        Self {
            link,
            root,
            places: Places::new(root),
            directories: BTreeMap::new(),
            open: None,
            received: 0,
            stock: Stock::default(),
            unchanging: false,
            streams: false,
            identity: None,
        }
    }

    /// Takes streams of btrfs, too. The tree must be empty, and on a filesystem whose files can share data.
    #[must_use]
    pub fn streams(mut self) -> Self {
        self.streams = true;
        self
    }

    /// Refuses every change: only whether the trees are equal is of interest.
    #[must_use]
    pub fn unchanging(mut self) -> Self {
        self.unchanging = true;
        self
    }

    /// Says what is there.
    ///
    /// # Errors
    /// [`TransferError`].
    pub fn tell(&mut self) -> Result<(), TransferError> {
        let (link, mut stock) = (&mut *self.link, Stock::default());
        let found = read::list(self.root)?;
        let never = AtomicBool::new(false);
        census::count(self.root, found, &census::doubt, &never, |counted| {
            let mut entry = counted.entry.clone();
            let blocks = std::mem::take(&mut entry.blocks);
            link.send(&Message::Have(entry))?;
            for portion in blocks.chunks(PORTION) {
                link.send(&Message::HaveBlocks(portion.to_vec()))?;
            }
            stock.keep(counted);
            Ok(())
        })?;
        self.stock = stock;
        self.link.send(&Message::HaveEnd)?;
        self.link.flush()
    }

    /// Says, once, that what the sender wants is not what is there, and what is.
    ///
    /// # Errors
    /// [`TransferError`].
    pub fn doubt(&mut self) -> Result<(), TransferError> {
        self.link.send(&Message::Doubt)?;
        self.streams = false;
        self.places.forget();
        self.tell()
    }

    /// Does what the sender says, until it says that this is all.
    ///
    /// # Errors
    /// [`TransferError`]; the tree then holds a part, and [`Receiver::tell`] of the next attempt says which.
    pub fn run(&mut self) -> Result<Ended, TransferError> {
        loop {
            match self.link.receive()? {
                Message::Remove(_) | Message::Put { .. } if self.unchanging => {
                    return Err(TransferError::Unchanging);
                }
                Message::Remove(path) => self.remove(&path)?,
                Message::Put { entry, fresh } => self.put(entry, fresh)?,
                Message::Block { index } => self.block(index)?,
                Message::Zero { index } => self.zero(index)?,
                Message::Sealed => self.seal()?,
                Message::Stream if self.streams && !self.unchanging => self.stream()?,
                Message::Settle => self.settle()?,
                Message::Progress { .. } | Message::Note(_) => {}
                Message::End {
                    digest,
                    entries,
                    bytes: _,
                } => {
                    if self.open.is_some() {
                        return Err(TransferError::Nonsense("an end within a file"));
                    }
                    self.finish_directories()?;
                    return Ok(Ended {
                        digest,
                        entries,
                        bytes: self.received,
                    });
                }
                _ => return Err(TransferError::Nonsense("a message of the other side's")),
            }
        }
    }

    /// Compares the whole tree with what the sender has said. What was read of it before, and was not changed since, is not read
    /// again.
    ///
    /// # Errors
    /// [`TransferError::Disagree`].
    pub fn verify(&mut self, ended: &Ended) -> Result<(), TransferError> {
        let mut tree = TreeDigest::default();
        self.stock = self.count(ended.entries, |entry| tree.add(entry))?;
        let found = tree.finish();
        if found == ended.digest {
            Ok(())
        } else {
            Err(TransferError::Disagree {
                wanted: ended.digest,
                found,
            })
        }
    }

    /// Reads what is there, and has it on its way to the disk, before anybody waits for that.
    fn settle(&mut self) -> Result<(), TransferError> {
        if self.open.is_some() {
            return Err(TransferError::Nonsense("a rest within a file"));
        }
        let root = self.root;
        self.stock = thread::scope(|scope| {
            let syncing = scope.spawn(move || rustix::fs::syncfs(root));
            let stock = self.count(0, |_| {});
            let synced = syncing.join().expect("a call of the kernel does not panic");
            synced.map_err(|error| {
                TransferError::io("sync the filesystem of", &RelPath::default())(error.into())
            })?;
            stock
        })?;
        self.link.send(&Message::Settled)?;
        self.link.flush()
    }

    /// Calls `each` with every entry, and returns what is known of them then. `total` is how many there should be.
    fn count(&mut self, total: u64, mut each: impl FnMut(&Entry)) -> Result<Stock, TransferError> {
        let (link, before) = (&mut *self.link, std::mem::take(&mut self.stock));
        let (mut after, mut done) = (Stock::default(), 0_u64);
        let found = read::list(self.root)?;
        let total = total.max(found.len() as u64);
        let never = AtomicBool::new(false);
        let belief = |found: &Found| before.believed(&found.stat);
        census::count(self.root, found, &belief, &never, |counted| {
            each(&counted.entry);
            after.keep(counted);
            done += 1;
            if done.is_multiple_of(1024) {
                link.send(&Message::Progress {
                    action: "Verifying".to_owned(),
                    done,
                    total,
                })?;
                link.flush()?;
            }
            Ok(())
        })?;
        Ok(after)
    }

    /// Keeps the attributes of a directory that is going to change with what is in it.
    fn touch(&mut self, path: &RelPath) -> Result<(), TransferError> {
        if self.directories.contains_key(path) {
            return Ok(());
        }
        let failed = || TransferError::io("look at", path);
        let parent = self.places.parent(path).map_err(failed())?;
        let stat = dir::stat_at(parent, path.name()).map_err(failed())?;
        if stat.kind() != FileType::Directory {
            return Err(TransferError::Nonsense("something in what is no directory"));
        }
        let found = Found {
            path: path.clone(),
            stat,
        };
        let meta = read::meta(parent, &found).map_err(failed())?;
        self.directories.insert(path.clone(), meta);
        Ok(())
    }

    fn remove(&mut self, path: &RelPath) -> Result<(), TransferError> {
        if self.open.is_some() {
            return Err(TransferError::Nonsense("a removal within a file"));
        }
        let Some(parent) = path.parent().filter(|_| path.is_sound()) else {
            return Err(TransferError::Unsound(path.clone()));
        };
        self.touch(&parent)?;
        self.clear(path)
    }

    /// Takes away whatever has the name, and what is remembered of it.
    fn clear(&mut self, path: &RelPath) -> Result<(), TransferError> {
        let below: Vec<RelPath> = self
            .directories
            .range(path.clone()..)
            .map(|(known, _)| known)
            .take_while(|known| known.as_path().starts_with(path.as_path()))
            .cloned()
            .collect();
        for known in below {
            self.directories.remove(&known);
        }
        self.places.forget();
        let dir = self
            .places
            .parent(path)
            .map_err(TransferError::io("open the directory of", path))?;
        write::remove(dir, path.name()).map_err(TransferError::io("remove", path))
    }

    fn put(&mut self, entry: Entry, fresh: bool) -> Result<(), TransferError> {
        if self.open.is_some() {
            return Err(TransferError::Nonsense("an entry within a file"));
        }
        if !entry.is_sound() {
            return Err(TransferError::Unsound(entry.path));
        }
        let path = entry.path.clone();
        let Some(parent) = path.parent() else {
            self.directories.insert(path, entry.meta);
            return Ok(());
        };
        self.touch(&parent)?;
        let failed = || TransferError::io("make", &path);
        match &entry.node {
            Node::Directory => {
                let dir = self.places.parent(&path).map_err(failed())?;
                write::directory(dir, path.name()).map_err(failed())?;
                self.directories.insert(path, entry.meta);
            }
            Node::File { size } => {
                let size = *size;
                if fresh {
                    self.clear(&path)?;
                }
                let dir = self.places.parent(&path).map_err(failed())?;
                let file = if fresh {
                    write::create(dir, path.name()).map_err(failed())?
                } else {
                    write::open(dir, path.name())
                        .map_err(failed())?
                        .ok_or(TransferError::Nonsense("a change of what is no file"))?
                };
                let stat = dir::stat(file.as_fd()).map_err(failed())?;
                if fresh {
                    self.stock.forget(&stat);
                } else {
                    self.stock.open(&stat);
                    self.stock.resize(&stat, size);
                }
                rustix::fs::ftruncate(&file, size).map_err(|error| failed()(error.into()))?;
                self.open = Some(Open {
                    file,
                    size,
                    entry,
                    stat,
                });
            }
            Node::Link(first) => {
                self.clear(&path)?;
                let holder =
                    dir::open_deep(self.root, first.parent().unwrap_or_default().as_path())
                        .map_err(failed())?;
                let dir = self.places.parent(&path).map_err(failed())?;
                write::link(holder.as_fd(), first.name(), dir, path.name()).map_err(failed())?;
            }
            node => {
                self.clear(&path)?;
                let dir = self.places.parent(&path).map_err(failed())?;
                write::special(dir, path.name(), node).map_err(failed())?;
                let is_symlink = matches!(node, Node::Symlink(_));
                write::attributes(dir, &path, path.name(), &entry.meta, is_symlink)?;
            }
        }
        Ok(())
    }

    fn block(&mut self, index: u64) -> Result<(), TransferError> {
        let Some(open) = &self.open else {
            return Err(TransferError::Nonsense("a block of no file"));
        };
        let bytes = self.link.receive_data()?;
        if blocks::length(index, open.size) != Some(bytes.len()) {
            return Err(TransferError::Nonsense("a block that is not in its file"));
        }
        self.received += bytes.len() as u64;
        self.stock
            .write(&open.stat, blocks::at(index), bytes.len() as u64);
        write::block(open.file.as_fd(), index, bytes)
            .map_err(TransferError::io("write", &open.entry.path))
    }

    fn zero(&mut self, index: u64) -> Result<(), TransferError> {
        let Some(open) = &self.open else {
            return Err(TransferError::Nonsense("a block of no file"));
        };
        let length = blocks::length(index, open.size)
            .ok_or(TransferError::Nonsense("a block that is not in its file"))?;
        self.stock
            .write(&open.stat, blocks::at(index), length as u64);
        write::zero(open.file.as_fd(), index, length)
            .map_err(TransferError::io("write", &open.entry.path))
    }

    fn seal(&mut self) -> Result<(), TransferError> {
        let Some(Open { file, entry, .. }) = self.open.take() else {
            return Err(TransferError::Nonsense("the end of no file"));
        };
        let path = &entry.path;
        let dir = self
            .places
            .parent(path)
            .map_err(TransferError::io("open the directory of", path))?;
        write::attributes(dir, path, path.name(), &entry.meta, false)?;
        let stat = dir::stat(file.as_fd()).map_err(TransferError::io("look at", path))?;
        self.stock.close(&stat);
        Ok(())
    }

    fn stream(&mut self) -> Result<(), TransferError> {
        if self.open.is_some() || !self.directories.is_empty() {
            return Err(TransferError::Nonsense("a stream amid something else"));
        }
        self.places.forget();
        let mut commands = Commands::default();
        let mut applier = Applier::new(self.root, self.identity.take(), &mut self.stock);
        let whole = loop {
            match self.link.receive_piece()? {
                Piece::Data(bytes) => commands.feed(bytes),
                Piece::Said(Message::Progress { .. } | Message::Note(_)) => {}
                Piece::Said(Message::Streamed { whole }) => break whole,
                Piece::Said(_) => {
                    return Err(TransferError::Nonsense("a message within a stream"));
                }
            }
            while let Some(command) = commands.next()? {
                applier.apply(command)?;
            }
        };
        let applied = applier.finish();
        self.received += applied.received;
        if !whole {
            // Streams begin with nothing, or with what one has made.
            self.streams = false;
            return self.tell();
        }
        if !applied.ended || !commands.is_used_up() {
            return Err(TransferError::Nonsense("a stream without its end"));
        }
        self.identity = applied.identity;
        Ok(())
    }

    /// The deepest first: setting one changes the one above in nothing.
    fn finish_directories(&mut self) -> Result<(), TransferError> {
        let directories = std::mem::take(&mut self.directories);
        for (path, meta) in directories.into_iter().rev() {
            let dir = self
                .places
                .parent(&path)
                .map_err(TransferError::io("open the directory of", &path))?;
            write::attributes(dir, &path, path.name(), &meta, false)?;
        }
        Ok(())
    }
}
