//! The parent's entries of a directory beside those that are there, both in order.

use std::ffi::OsString;

use crate::node::Node;

/// Finds names in an old tree, which are asked for in order.
pub(super) struct Cursor<'a> {
    rest: &'a [Node],
}

impl<'a> Cursor<'a> {
    pub(super) fn new(nodes: &'a [Node]) -> Self {
        Self { rest: nodes }
    }

    pub(super) fn find(&mut self, name: &OsString) -> Option<&'a Node> {
        while let Some((first, rest)) = self.rest.split_first() {
            match (*first.file_name()).cmp(name.as_os_str()) {
                std::cmp::Ordering::Less => self.rest = rest,
                std::cmp::Ordering::Equal => {
                    self.rest = rest;
                    return Some(first);
                }
                std::cmp::Ordering::Greater => return None,
            }
        }
        None
    }
}
