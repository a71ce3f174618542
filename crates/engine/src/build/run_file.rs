//! Files in memory that a step finds mounted: scripts, secrets.

use std::path::PathBuf;

use super::{BuildError, Builder};

impl Builder {
    /// A file in memory for a step that is going to run; it goes with the step.
    pub(super) fn write_run_file(
        &self,
        id: &str,
        name: &str,
        bytes: &[u8],
        mode: u32,
        (uid, gid): (u32, u32),
    ) -> Result<PathBuf, BuildError> {
        let path = self.paths.run(id).join(name);
        sys::durable::create_dir_all(&self.paths.run(id), 0o700)
            .and_then(|()| sys::durable::write_atomic(&path, bytes, mode))
            .and_then(|()| {
                let (uid, gid) = (
                    rustix::fs::Uid::from_raw(uid),
                    rustix::fs::Gid::from_raw(gid),
                );
                Ok(rustix::fs::chown(&path, Some(uid), Some(gid))?)
            })
            .map_err(|source| BuildError::File {
                action: "cannot write",
                path: path.clone(),
                source,
            })?;
        Ok(path)
    }
}
