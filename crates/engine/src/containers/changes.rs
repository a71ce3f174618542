//! `diff`: what a container changed in its root, mounts excluded.

use std::os::fd::AsFd as _;
use std::path::Path;

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
        let changes = without_places(changes);
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

/// Files that every container has mounted over its own: their places are no change of the container's.
const PLACES: [&str; 3] = ["/etc/hostname", "/etc/hosts", "/etc/resolv.conf"];

fn without_places(mut changes: Vec<archive::Change>) -> Vec<archive::Change> {
    let all = changes.len();
    changes.retain(|change| !PLACES.iter().any(|place| change.path == Path::new(place)));
    let etc = |change: &archive::Change| change.path == Path::new("/etc");
    let below = |change: &archive::Change| change.path.starts_with("/etc") && !etc(change);
    if changes.len() < all && !changes.iter().any(below) {
        // It was touched for them alone.
        changes.retain(|change| !etc(change));
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_mounts_are_no_changes() {
        let paths = |list: &[&str]| {
            let changes = list
                .iter()
                .map(|&path| archive::Change {
                    path: path.into(),
                    kind: archive::ChangeKind::Added,
                })
                .collect();
            without_places(changes)
                .into_iter()
                .map(|change| change.path.display().to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(paths(&["/etc", "/etc/hosts", "/x"]), ["/x"]);
        assert_eq!(paths(&["/etc", "/etc/hosts", "/etc/x"]), ["/etc", "/etc/x"]);
        assert_eq!(paths(&["/etc"]), ["/etc"]);
    }
}
