//! Limits of volumes: changing them, and watching the soft ones: whoever listens to events is told when a volume holds more than it should.
//!
//! Nobody tells when a volume grows, so the thread looks: often while there is a soft limit anywhere, else hardly ever.
//! A look costs a few system calls for each such volume, whatever is in it. The thread ends with the engine.

use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use volumes::{ResizeVolume, VolumeStorage, Volumes};

use super::onlooker::Onlooker;
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
        // A limit of another kind takes a copy.
        let onlooker = Onlooker::new(progress, cancel);
        Ok(self
            .volumes
            .resize(name, ResizeVolume { mounted, ..change }, &onlooker)?)
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
