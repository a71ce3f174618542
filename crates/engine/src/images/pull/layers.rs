//! Several layers at a time: three downloads, each unpacked as it comes.
//!
//! The first failure ends the others; what they had made is removed.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use registry::{Descriptor, RegistryError};

use super::Pull;
use super::receive::receive;
use crate::images::ImageError;
use crate::images::layers::Layer;

/// Docker's number.
const AT_ONCE: usize = 3;

/// A layer to be fetched.
#[derive(Debug, Clone, Copy)]
pub(super) struct Missing<'a> {
    /// Its place in the image, 0 is the bottom.
    pub(super) position: usize,
    pub(super) descriptor: &'a Descriptor,
    pub(super) diff_id: &'a str,
    pub(super) chain_id: &'a str,
}

impl Pull<'_> {
    /// Fetches all of them; the layers are not published yet.
    pub(super) fn fetch(&self, missing: &[Missing<'_>]) -> Result<Vec<(usize, Layer)>, ImageError> {
        let cancel = self.cancel.child();
        let next = AtomicUsize::new(0);
        let done: Mutex<Vec<(usize, Layer)>> = Mutex::default();
        let failed: Mutex<Option<ImageError>> = Mutex::default();
        std::thread::scope(|scope| {
            for _ in 0..AT_ONCE.min(missing.len()) {
                scope.spawn(|| {
                    while let Some(one) = missing.get(next.fetch_add(1, Ordering::Relaxed)) {
                        if cancel.is_given_up() {
                            return;
                        }
                        match receive(self.images, self.session, &cancel, self.progress, one) {
                            Ok(layer) => done
                                .lock()
                                .unwrap_or_else(PoisonError::into_inner)
                                .push((one.position, layer)),
                            Err(error) => {
                                let mut failed =
                                    failed.lock().unwrap_or_else(PoisonError::into_inner);
                                // Those that were ended because of the first say nothing new.
                                let consequence =
                                    matches!(error, ImageError::Registry(RegistryError::Cancelled));
                                if failed.is_none() && !consequence {
                                    *failed = Some(error);
                                }
                                cancel.give_up();
                                return;
                            }
                        }
                    }
                });
            }
        });
        let done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
        let failed = failed.or_else(|| {
            // Nothing failed, and yet not everything may be there: nobody wants it any more.
            self.cancel
                .is_given_up()
                .then(|| RegistryError::Cancelled.into())
        });
        match failed {
            None => Ok(done),
            Some(error) => {
                let layers: Vec<Layer> = done.into_iter().map(|(_, layer)| layer).collect();
                self.images.abandon_layers(&layers)?;
                Err(error)
            }
        }
    }
}
