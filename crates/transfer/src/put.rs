//! A file on its way: announced when something of it differs, with the blocks that do.

use std::io::{Read, Write};

use crate::blocks;
use crate::entry::{Digest, Entry};
use crate::error::TransferError;
use crate::wire::{Link, Message};

/// A file that is announced only when something of it differs.
pub(crate) struct Put<'e> {
    pub(crate) entry: &'e mut Entry,
    pub(crate) fresh: bool,
    pub(crate) begun: bool,
}

impl Put<'_> {
    pub(crate) fn begin<R: Read, W: Write>(
        &mut self,
        link: &mut Link<R, W>,
    ) -> Result<(), TransferError> {
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

    /// What the block holds that is being sent.
    pub(crate) fn set(&mut self, index: u64, digest: Option<Digest>) {
        let blocks = &mut self.entry.blocks;
        match (find(blocks, index), digest) {
            (Ok(at), Some(digest)) => blocks[at].1 = digest,
            (Ok(at), None) => drop(blocks.remove(at)),
            (Err(at), Some(digest)) => blocks.insert(at, (index, digest)),
            (Err(_), None) => {}
        }
    }
}

fn find(blocks: &[(u64, Digest)], index: u64) -> Result<usize, usize> {
    blocks.binary_search_by_key(&index, |(index, _)| *index)
}

/// Blocks of a file of `size` bytes that are not what they were.
pub(crate) fn differing(old: &[(u64, Digest)], now: &[(u64, Digest)], size: u64) -> Vec<u64> {
    let digest = |blocks: &[(u64, Digest)], index| find(blocks, index).ok().map(|at| blocks[at].1);
    let changed = now
        .iter()
        .filter(|(index, is)| digest(old, *index) != Some(*is));
    let emptied = old.iter().filter(|(index, _)| {
        blocks::length(*index, size).is_some() && digest(now, *index).is_none()
    });
    let mut differing: Vec<u64> = changed.chain(emptied).map(|(index, _)| *index).collect();
    differing.sort_unstable();
    differing
}
