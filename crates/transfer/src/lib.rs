//! A directory tree made equal to one on another machine, over any connection that carries bytes both ways.
//!
//! One side sends, the other one receives ([`wire`] has the messages):
//!
//! 1. the receiver says what it has: nothing at first, what an earlier attempt left when one was cut off; it reads all of
//!    that, and trusts no time or size
//! 2. the sender goes through its tree, once or several times, and sends what the receiver lacks: entries, and those blocks
//!    of files that differ. A later pass looks only into files that changed since the one before
//! 3. between two passes, and while others still write where it comes from, the receiver may be asked to read what it has got
//! 4. the sender says the digest of what it has sent; the receiver compares it with that of its whole tree. What it has read in 3
//!    and not changed since it does not read again
//! 5. if they do not agree, once, the receiver says what it has, as in 1, and the sender compares every byte of its tree with that
//!
//! Between two btrfs a tree that the receiver has nothing of may come as the filesystem's own stream, and later ones with what
//! has changed ([`stream`]), instead of 2; the rest is the same.
//!
//! Kept: owners, modes, times in nanoseconds, extended attributes, ACLs, hard links, holes, devices, fifos, sockets, names
//! of any bytes. Labels of security modules are the machine's affair and stay.
//!
//! Guarantees: nothing that the other side says leads out of the tree, makes more memory be used than its own tree justifies,
//! or is believed before the digests agree. Nobody may rely on anything being on disk.

#![cfg_attr(
    test,
    allow(
        clippy::disallowed_methods,
        reason = "tests make their own scratch files"
    )
)]

mod blocks;
mod census;
mod entry;
mod error;
mod path;
mod put;
mod read;
mod receive;
mod send;
mod stamp;
mod stock;
mod stream;
pub mod wire;
mod write;

#[cfg(test)]
mod tests;

pub use entry::{Digest, Entry, Meta, Node};
pub use error::TransferError;
pub use path::RelPath;
pub use receive::{Ended, Receiver};
pub use send::{Ending, Passed, Sender};
pub use stream::emit::{Still, Streamed};
pub use wire::{Link, Message};

/// Raised when a side of an older version would misunderstand.
pub const FORMAT: u32 = 2;
