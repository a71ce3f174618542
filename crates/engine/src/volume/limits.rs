//! Limits of volumes: changing them, and watching the soft ones: whoever listens to events is told when a volume holds more than it should.
//!
//! Nobody tells when a volume grows, so the thread looks: often while there is a soft limit anywhere, else hardly ever.
//! A look costs a few system calls for each such volume, whatever is in it. The thread ends with the engine.

use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use volumes::{Observer, ResizeVolume, VolumeStorage, Volumes};

use crate::cancel::Cancel;
use crate::containers::ContainerError;
use crate::engine::Engine;
use crate::progress::Progress;

const OFTEN: Duration = Duration::from_secs(2);
const HARDLY_EVER: Duration = Duration::from_secs(3600);

impl Engine {
    /// Changes what a volume may hold. None of its containers starts or stops meanwhile.
    ///
    /// # Errors
    /// Those of [`Volumes::resize`], with the containers that keep it from being copied.
    pub fn resize_volume(
        &self,
        name: &str,
        change: ResizeVolume,
        progress: &dyn Progress,
        cancel: &Cancel,
    ) -> Result<VolumeStorage, ContainerError> {
        let users = self.containers.users_of(name)?;
        let lives = self.containers.lives(users.iter().map(|user| &*user.id));
        let _verbs = lives.hold();
        let mounted = self
            .containers
            .users_of(name)?
            .iter()
            .any(|user| user.status.is_active());
        let converting = Converting { progress, cancel };
        Ok(self
            .volumes
            .resize(name, ResizeVolume { mounted, ..change }, &converting)?)
    }
}

/// The copy that a limit of another kind takes.
struct Converting<'a> {
    progress: &'a dyn Progress,
    cancel: &'a Cancel,
}

impl Observer for Converting<'_> {
    fn copied(&self, volume: &str, bytes: u64) {
        self.progress.step(volume, "Copying", bytes, 0);
    }

    fn settles(&self, volume: &str, bytes: u64) {
        self.progress.step(volume, "Copying", bytes, bytes);
        self.progress.status(volume, "Comparing");
    }

    fn is_stopped(&self) -> bool {
        self.cancel.is_cancelled()
    }
}

/// Starts the thread.
pub(crate) fn start(volumes: &Arc<Volumes>) -> std::io::Result<()> {
    let news = volumes.on_limits();
    let volumes: Weak<Volumes> = Arc::downgrade(volumes);
    thread::Builder::new()
        .name("limits".to_owned())
        .spawn(move || {
            while let Some(volumes) = volumes.upgrade() {
                let any = volumes.watch_soft_limits().unwrap_or_else(|error| {
                    tracing::warn!(%error, "soft limits cannot be watched");
                    true
                });
                drop(volumes);
                match news.recv_timeout(if any { OFTEN } else { HARDLY_EVER }) {
                    Ok(()) | Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        })
        .map(drop)
}
