//! Streams of btrfs: what its kernel says a snapshot is made of, or what has changed since another one, and the same done to
//! a tree here.
//!
//! * [`emit`] - the sending side has the kernel write the stream, and reads the same tree meanwhile, for its digest
//! * [`command`] - bytes become commands, one at a time
//! * [`apply`] - a command is done
//!
//! A stream is only a faster way to the state that digests are compared of. It is version 1 of the format: commands have 64 KiB
//! at most, and none sets flags of inodes.

pub(crate) mod apply;
pub(crate) mod command;
pub(crate) mod emit;
