//! The messages of a transfer and their frames.
//!
//! A frame is a byte for its kind, four bytes for its length, big end first, and so many bytes. A frame of kind 1 holds one
//! [`Message`], one of kind 2 the contents of the block that the message before it has announced.

use std::io::{self, BufReader, BufWriter, Read, Write};

use serde::{Deserialize, Serialize};

use crate::blocks::BLOCK;
use crate::entry::{Digest, Entry};
use crate::error::TransferError;
use crate::path::RelPath;

/// Bytes of one message at most: an entry with all the attributes that a kernel lets it have.
const LONGEST: usize = 1 << 20;
pub const HEAD: usize = 5;

const MESSAGE: u8 = 1;
const DATA: u8 = 2;

/// What a side says. S: the sender, R: the receiver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// S, first of all: what is to be sent; `about` is the callers' affair.
    Offer { format: u32, about: String },
    /// R: it is welcome.
    Accept { about: String },
    /// R: an entry that is there already, in the order of a walk.
    Have(Entry),
    /// R: blocks of the file named last.
    HaveBlocks(Vec<(u64, Digest)>),
    /// R: that is all.
    HaveEnd,
    /// S: no longer there, nor anything below it.
    Remove(RelPath),
    /// S: make it, or give it these attributes. `fresh`: a file that begins empty, whatever has its name.
    Put { entry: Entry, fresh: bool },
    /// S: a block of the file put last; its contents follow.
    Block { index: u64 },
    /// S: a block of it that holds zeros.
    Zero { index: u64 },
    /// S: the file put last is complete.
    Sealed,
    /// S: the tree is complete.
    End {
        digest: Digest,
        entries: u64,
        bytes: u64,
    },
    /// R: the digests agree, and the tree is where it shall be.
    Done { digest: Digest },
    /// S: its own tree was let go.
    Released { about: String },
    /// Either: how far it has come with what it does.
    Progress {
        action: String,
        done: u64,
        total: u64,
    },
    /// Either: for people.
    Note(String),
    /// Either, last of all.
    Failed(String),
    /// S, to a receiver that takes such: a stream of btrfs follows, in frames of contents.
    Stream,
    /// S: that was it. One that is not `whole` has left nobody knows what: the receiver says what it has, as at first.
    Streamed { whole: bool },
    /// S, between two passes: read what has come by now, more may follow.
    Settle,
    /// R: that was done.
    Settled,
    /// R, instead of `Done`, once: the digests do not agree. What it has follows, as at first.
    Doubt,
}

/// What a frame's head says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    pub is_message: bool,
    pub length: usize,
}

impl Head {
    /// # Errors
    /// [`TransferError::Nonsense`] for a kind that does not exist, and a length beyond the bound.
    pub fn parse(bytes: [u8; HEAD]) -> Result<Self, TransferError> {
        let [kind, length @ ..] = bytes;
        let length = usize::try_from(u32::from_be_bytes(length))
            .map_err(|_| TransferError::Nonsense("a frame without end"))?;
        let (is_message, most) = match kind {
            MESSAGE => (true, LONGEST),
            DATA => (false, BLOCK),
            _ => return Err(TransferError::Nonsense("a frame of no known kind")),
        };
        if length > most {
            return Err(TransferError::Nonsense("a frame that is too long"));
        }
        Ok(Self { is_message, length })
    }
}

impl Message {
    /// # Errors
    /// [`TransferError::Nonsense`].
    pub fn decode(bytes: &[u8]) -> Result<Self, TransferError> {
        postcard::from_bytes(bytes)
            .map_err(|_| TransferError::Nonsense("a message that cannot be read"))
    }

    fn encode(&self) -> Result<Vec<u8>, TransferError> {
        let bytes = postcard::to_allocvec(self).expect("plain data can be written to memory");
        if bytes.len() > LONGEST {
            return Err(TransferError::Nonsense(
                "an entry with more attributes than a message holds",
            ));
        }
        Ok(bytes)
    }
}

/// A frame, when either kind may come.
pub(crate) enum Piece<'l> {
    Said(Message),
    Data(&'l [u8]),
}

/// A connection to the other side.
pub struct Link<R, W: Write> {
    reader: BufReader<R>,
    writer: BufWriter<W>,
    buffer: Vec<u8>,
}

impl<R, W: Write> std::fmt::Debug for Link<R, W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").finish_non_exhaustive()
    }
}

impl<R: Read, W: Write> Link<R, W> {
    pub fn new(reader: R, writer: W) -> Self {
        Self {
            reader: BufReader::with_capacity(BLOCK, reader),
            writer: BufWriter::with_capacity(BLOCK, writer),
            buffer: Vec::new(),
        }
    }

    /// What comes with the connection, to set its time limits.
    pub fn writer(&self) -> &W {
        self.writer.get_ref()
    }

    /// Says something; it goes out with [`Link::flush`] at the latest.
    ///
    /// # Errors
    /// [`TransferError::Peer`] when the other side has said why it is gone, else [`TransferError::Broken`].
    pub fn send(&mut self, message: &Message) -> Result<(), TransferError> {
        let bytes = message.encode()?;
        self.frame(MESSAGE, &bytes)
    }

    pub(crate) fn send_data(&mut self, bytes: &[u8]) -> Result<(), TransferError> {
        self.frame(DATA, bytes)
    }

    fn frame(&mut self, kind: u8, bytes: &[u8]) -> Result<(), TransferError> {
        let length = u32::try_from(bytes.len()).expect("frames are short");
        let [a, b, c, d] = length.to_be_bytes();
        let head = [kind, a, b, c, d];
        let sent = self
            .writer
            .write_all(&head)
            .and_then(|()| self.writer.write_all(bytes));
        sent.map_err(|error| self.why(error))
    }

    /// # Errors
    /// As [`Link::send`].
    pub fn flush(&mut self) -> Result<(), TransferError> {
        let flushed = self.writer.flush();
        flushed.map_err(|error| self.why(error))
    }

    /// Who hung up may have said why.
    fn why(&mut self, error: io::Error) -> TransferError {
        if matches!(
            error.kind(),
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
        ) {
            loop {
                match self.receive() {
                    Ok(_) => {}
                    Err(TransferError::Peer(why)) => return TransferError::Peer(why),
                    Err(_) => break,
                }
            }
        }
        TransferError::Broken(error)
    }

    /// The next message. Blocks that were announced must be taken with [`Link::receive_data`].
    ///
    /// # Errors
    /// [`TransferError::Peer`] when it is the last one; [`TransferError::Broken`], [`TransferError::Nonsense`].
    pub fn receive(&mut self) -> Result<Message, TransferError> {
        let head = self.head()?;
        if !head.is_message {
            return Err(TransferError::Nonsense("a block that nobody announced"));
        }
        self.body(head.length)?;
        match Message::decode(&self.buffer)? {
            Message::Failed(why) => Err(TransferError::Peer(why)),
            message => Ok(message),
        }
    }

    /// What comes next, within a stream.
    pub(crate) fn receive_piece(&mut self) -> Result<Piece<'_>, TransferError> {
        let head = self.head()?;
        self.body(head.length)?;
        if !head.is_message {
            return Ok(Piece::Data(&self.buffer));
        }
        match Message::decode(&self.buffer)? {
            Message::Failed(why) => Err(TransferError::Peer(why)),
            message => Ok(Piece::Said(message)),
        }
    }

    pub(crate) fn receive_data(&mut self) -> Result<&[u8], TransferError> {
        let head = self.head()?;
        if head.is_message {
            return Err(TransferError::Nonsense("a block without its contents"));
        }
        self.body(head.length)?;
        Ok(&self.buffer)
    }

    fn head(&mut self) -> Result<Head, TransferError> {
        let mut head = [0; HEAD];
        self.reader
            .read_exact(&mut head)
            .map_err(TransferError::Broken)?;
        Head::parse(head)
    }

    fn body(&mut self, length: usize) -> Result<(), TransferError> {
        self.buffer.resize(length, 0);
        self.reader
            .read_exact(&mut self.buffer)
            .map_err(TransferError::Broken)
    }

    /// Says why this side ends, if somebody still listens.
    pub fn fail(&mut self, why: &str) {
        let message = Message::Failed(why.chars().take(4096).collect());
        // The other side may be what failed.
        drop(self.send(&message).and_then(|()| self.flush()));
    }
}
