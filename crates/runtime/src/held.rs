//! Mount namespaces kept open past the death of their container.
//!
//! The last user of a mount namespace pays for taking its mounts down: a grace period of the kernel, and a sync of the
//! file system below the overlay. Without a second holder that is the container's first process, and its exit status
//! would wait for it. So the caller of [`crate::start`] holds each namespace until [`crate::clean`].

use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};

static HELD: Mutex<Vec<(String, OwnedFd)>> = Mutex::new(Vec::new());

/// Holds `namespace` for container `id`.
pub(crate) fn keep(id: &str, namespace: OwnedFd) {
    HELD.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push((id.to_owned(), namespace));
}

/// Lets go of what is held for container `id`.
pub(crate) fn release(id: &str) {
    HELD.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .retain(|(held, _)| held != id);
}
