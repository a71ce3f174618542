//! `export`: the container's root as one tar stream, mounts excluded.

use std::io::Write;
use std::os::fd::BorrowedFd;

use store::ContainerRow;

use super::{ContainerError, Containers};

impl Containers {
    pub fn export(
        &self,
        reference: &str,
        out: &mut (dyn Write + Send),
    ) -> Result<(), ContainerError> {
        let row = self.find(reference)?;
        let failed = |source| ContainerError::Io {
            action: format!("cannot export container {}", row.id),
            source,
        };
        self.with_root(&row, |root| {
            archive::pack(root, out, &archive::PackOptions::default()).map(drop)
        })?
        .map_err(|error| failed(std::io::Error::other(error)))?;
        self.publish(&row, "export", &[]);
        Ok(())
    }

    /// The container's files without its mounts, read-only, in a mount namespace that nobody else sees.
    pub(super) fn with_root<R: Send>(
        &self,
        row: &ContainerRow,
        look: impl FnOnce(BorrowedFd<'_>) -> R + Send,
    ) -> Result<R, ContainerError> {
        let mut layers = vec![self.paths.container_upper(&row.id)];
        layers.extend(self.images.lowers(&row.image_id)?);
        sys::overlay::with_view(&self.paths.layers(), &layers, None, look).map_err(|source| {
            ContainerError::Io {
                action: format!("cannot look at the files of container {}", row.id),
                source,
            }
        })
    }
}
