//! `chown`: as [`volumes::Volumes::chown`], and whoever waits for it sees how far it is.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};

use sys::copy_tree::Copied;
use volumes::{ChownRequest, VolumeError};

use crate::cancel::Cancel;
use crate::engine::Engine;
use crate::progress::Progress;

impl Engine {
    /// Changes the owners; tells how many files and directories changed.
    ///
    /// # Errors
    /// As [`volumes::Volumes::chown`]; one that is cancelled is taken up again by asking for it once more.
    pub fn chown_volume(
        &self,
        name: &str,
        request: ChownRequest,
        progress: &dyn Progress,
        cancel: &Cancel,
    ) -> Result<u64, VolumeError> {
        // What keeps it from being known will keep the owners from being changed.
        let notes = self.volumes.notes(name).ok();
        let known = notes
            .and_then(|notes| notes.measured)
            .map(|size| size.bytes);
        let done = AtomicU64::new(0);
        let watch = |more: Copied| {
            if cancel.is_cancelled() {
                return ControlFlow::Break(());
            }
            let done = done.fetch_add(more.bytes, Ordering::Relaxed) + more.bytes;
            // It may have grown since it was measured.
            let total = known.map_or(0, |known| known.max(done));
            progress.step(name, "Changing owners", done, total);
            ControlFlow::Continue(())
        };
        self.volumes.chown(name, request, &watch)
    }
}
