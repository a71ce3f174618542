//! A directory tree made equal to one on another machine, over any connection that carries bytes both ways.
//!
//! One side sends, the other one receives ([`wire`] has the messages):
//!
//! 1. the receiver says what it has: nothing at first, what an earlier attempt left when one was cut off; it reads all of
//!    that, and trusts no time or size
//! 2. the sender goes through its tree, once or several times, and sends what the receiver lacks: entries, and those blocks
//!    of files that differ. A later pass looks only into files that changed since the one before
//! 3. the sender says the digest of what it has sent; the receiver reads its whole tree again and compares
//!
//! Between two btrfs a tree that the receiver has nothing of may come as the filesystem's own stream, and later ones with what
//! has changed ([`stream`]), instead of 2; 3 is the same.
//!
//! Kept: owners, modes, times in nanoseconds, extended attributes, ACLs, hard links, holes, devices, fifos, sockets, names
//! of any bytes. Labels of security modules are the machine's affair and stay.
//!
//! Guarantees: nothing that the other side says leads out of the tree, makes more memory be used than its own tree justifies,
//! or is believed before the digests agree. Nothing is synced here.

#![cfg_attr(
    test,
    allow(
        clippy::disallowed_methods,
        reason = "tests make their own scratch files"
    )
)]

mod blocks;
mod entry;
mod error;
mod path;
mod read;
mod receive;
mod send;
mod stream;
pub mod wire;
mod write;

#[cfg(test)]
mod tests;

pub use entry::{Digest, Entry, Meta, Node};
pub use error::TransferError;
pub use path::RelPath;
pub use receive::{Ended, Receiver};
pub use send::{Passed, Sender};
pub use stream::emit::{Still, Streamed};
pub use wire::{Link, Message};

/// Raised when a side of an older version would misunderstand.
pub const FORMAT: u32 = 1;
