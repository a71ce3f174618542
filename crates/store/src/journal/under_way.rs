//! Which open operations somebody works on; the others were stopped by an error, and wait for the next recovery.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use crate::ids::OpId;

#[derive(Debug, Default)]
pub(crate) struct UnderWay(Mutex<BTreeSet<OpId>>);

impl UnderWay {
    /// Says so until what is returned is dropped.
    pub(crate) fn say(&self, op: &OpId) -> Saying<'_> {
        self.change(|ops| ops.insert(op.clone()));
        Saying {
            under_way: self,
            op: op.clone(),
        }
    }

    pub(crate) fn has(&self, op: &OpId) -> bool {
        self.change(|ops| ops.contains(op))
    }

    fn change<T>(&self, change: impl FnOnce(&mut BTreeSet<OpId>) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[derive(Debug)]
pub(crate) struct Saying<'a> {
    under_way: &'a UnderWay,
    op: OpId,
}

impl Drop for Saying<'_> {
    fn drop(&mut self) {
        self.under_way.change(|ops| ops.remove(&self.op));
    }
}
