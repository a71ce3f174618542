//! Layers that no image holds are removed, though not while an image is put together that may count on them.
//!
//! A sweep that somebody's build keeps from its work is done by whoever is the last to end.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError};

use super::{ImageError, Images};

/// Who puts images together, and whether a sweep waits for their end.
#[derive(Debug, Default)]
pub(super) struct Building {
    going_on: RwLock<()>,
    sweep_owed: AtomicBool,
}

impl Building {
    /// Nobody builds as long as this is held. `None`: somebody does, and sweeps when nobody does any more.
    fn alone(&self) -> Option<RwLockWriteGuard<'_, ()>> {
        // Owed before it is tried: whoever ends in between must find it.
        self.sweep_owed.store(true, Ordering::SeqCst);
        let alone = match self.going_on.try_write() {
            Ok(alone) => alone,
            Err(TryLockError::Poisoned(alone)) => alone.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        self.sweep_owed.store(false, Ordering::SeqCst);
        Some(alone)
    }
}

/// No layer is swept as long as this is held.
#[derive(Debug)]
pub(crate) struct Held<'a> {
    images: &'a Images,
    going_on: Option<RwLockReadGuard<'a, ()>>,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.going_on = None;
        if !self.images.building.sweep_owed.load(Ordering::SeqCst) {
            return;
        }
        if let Err(error) = self.images.sweep_layers() {
            tracing::warn!(%error, "layers that no image holds stay until the next image is removed");
        }
    }
}

impl Images {
    /// For as long as an image is put together.
    pub(crate) fn hold(&self) -> Held<'_> {
        let going_on = self.building.going_on.read();
        Held {
            images: self,
            going_on: Some(going_on.unwrap_or_else(PoisonError::into_inner)),
        }
    }

    /// Removes ready layers that no image holds, topmost first; returns the bytes that became free: none now, when an
    /// image is put together meanwhile.
    pub(super) fn sweep_layers(&self) -> Result<u64, ImageError> {
        let Some(_alone) = self.building.alone() else {
            return Ok(0);
        };
        let mut freed = 0;
        loop {
            let unused = self
                .store
                .read(|tx| Ok::<_, ImageError>(tx.unused_layers()?))?;
            if unused.is_empty() {
                return Ok(freed);
            }
            for row in unused {
                self.drop_layer(row.id)?;
                freed += row.size;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sweep_that_is_kept_from_its_work_is_owed() {
        let building = Building::default();
        let one = building.going_on.read().expect("nobody panicked");
        assert!(building.alone().is_none());
        assert!(building.sweep_owed.load(Ordering::SeqCst));
        drop(one);
        assert!(building.alone().is_some());
        assert!(!building.sweep_owed.load(Ordering::SeqCst));
    }
}
