//! `diff`: what a container changed in its root, mounts excluded.

use std::os::fd::AsFd as _;

use super::{ContainerError, Containers};

impl Containers {
    /// Kind as in the API (0 modified, 1 added, 2 deleted) and path, sorted by path.
    pub fn changes(&self, reference: &str) -> Result<Vec<(u8, String)>, ContainerError> {
        let row = self.find(reference)?;
        let failed = |source| ContainerError::Io {
            action: format!("cannot compare container {} with its image", row.id),
            source,
        };
        let upper = sys::dir::open(&self.paths.container_upper(&row.id)).map_err(failed)?;
        let lowers = self.images.lowers(&row.image_id)?;
        let changes = sys::overlay::with_view(&self.paths.layers(), &lowers, None, |lower| {
            archive::changes(upper.as_fd(), lower)
        })
        .map_err(failed)?
        .map_err(|error| failed(std::io::Error::other(error)))?;
        Ok(changes
            .into_iter()
            .map(|change| {
                let kind = match change.kind {
                    archive::ChangeKind::Modified => 0,
                    archive::ChangeKind::Added => 1,
                    archive::ChangeKind::Deleted => 2,
                };
                (kind, change.path.to_string_lossy().into_owned())
            })
            .collect())
    }
}
