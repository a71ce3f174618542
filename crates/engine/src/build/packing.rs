//! Layers are packed in the background, while the next steps run.

use std::sync::Arc;
use std::thread;

use super::{BuildError, Builder};
use crate::images::ImageError;
use crate::images::built::Sealing;

impl Builder {
    /// Packs a layer in the background.
    pub(super) fn seal(&self, sealing: &Arc<Sealing>) -> Result<(), BuildError> {
        /// Nobody waits for ever for a thread that panicked.
        struct Guard(Arc<Sealing>, Option<Result<(String, u64), ImageError>>);
        impl Drop for Guard {
            fn drop(&mut self) {
                let result = self.1.take().unwrap_or_else(|| {
                    Err(ImageError::Io {
                        action: "a layer's packing ended unexpectedly".to_owned(),
                        source: std::io::ErrorKind::Other.into(),
                    })
                });
                self.0.done(result);
            }
        }
        let (images, gate) = (Arc::clone(&self.images), Arc::clone(&self.sealing));
        let sealing = Arc::clone(sealing);
        thread::Builder::new()
            .name("seal".to_owned())
            .spawn(move || {
                let mut guard = Guard(sealing, None);
                let _place = gate.enter();
                guard.1 = Some(images.seal(guard.0.id));
            })
            .map(drop)
            .map_err(|source| BuildError::File {
                action: "cannot start a thread for",
                path: "packing".into(),
                source,
            })
    }
}
