//! `commit`: a container's changes as a new image; volumes are never captured.
//!
//! The new layer is the container's upper directory as it is; mount points in it are the empty directories that the
//! runtime made.

use std::os::fd::AsFd as _;
use std::sync::Arc;

use super::find::Columns as _;
use super::{Config, ContainerError, Containers, Status};
use crate::images::{CommitLayer, Reference};

#[derive(Debug, Clone, Default)]
pub struct CommitRequest {
    pub repository: Option<String>,
    pub tag: Option<String>,
    pub comment: String,
    pub author: String,
    /// Dockerfile instructions (`VOLUME /x`), from `--change`.
    pub changes: Vec<String>,
    pub pause: bool,
    /// Overrides of the container's configuration.
    pub config: Option<Config>,
}

impl Containers {
    /// The new image's id.
    pub fn commit(
        self: &Arc<Self>,
        reference: &str,
        request: CommitRequest,
    ) -> Result<String, ContainerError> {
        let row = self.find(reference)?;
        let mut config = match request.config {
            Some(mut config) => {
                super::create::merge::image_into(&mut config, &row.config()?);
                config
            }
            None => row.config()?,
        };
        crate::images::apply_changes(&mut config, &request.changes)?;
        let freeze = request.pause && row.status()? == Status::Running;
        let frozen = freeze && unless_ended(self.pause(&row.id))?;
        let committed = self.commit_upper(
            &row,
            &config,
            &request.author,
            &request.comment,
            request.repository.as_deref(),
            request.tag.as_deref(),
        );
        if frozen {
            unless_ended(self.unpause(&row.id))?;
        }
        let id = committed?;
        self.publish(
            &row,
            "commit",
            &[
                ("imageID", &id),
                (
                    "imageRef",
                    request.repository.as_deref().unwrap_or_default(),
                ),
            ],
        );
        Ok(id)
    }

    fn commit_upper(
        &self,
        row: &store::ContainerRow,
        config: &Config,
        author: &str,
        comment: &str,
        repository: Option<&str>,
        tag: Option<&str>,
    ) -> Result<String, ContainerError> {
        let upper = sys::dir::open(&self.paths.container_upper(&row.id)).map_err(|source| {
            ContainerError::Io {
                action: format!("cannot read the changes of container {}", row.id),
                source,
            }
        })?;
        // What ran, not what the image will run.
        let created_by = row.config()?.cmd.unwrap_or_default().join(" ");
        let options = archive::PackOptions {
            whiteouts: archive::PackWhiteouts::ToAufs,
            ..Default::default()
        };
        let name = match (repository, tag) {
            (Some(repository), Some(tag)) if !repository.is_empty() && !tag.is_empty() => {
                Some(Reference::parse(&format!("{repository}:{tag}"))?)
            }
            (Some(repository), _) if !repository.is_empty() => Some(Reference::parse(repository)?),
            _ => None,
        };
        let commit = CommitLayer {
            parent: &row.image_id,
            config,
            author,
            comment,
            created_by: &created_by,
            name,
        };
        Ok(self.images.commit_layer(&commit, &mut |out| {
            archive::pack(upper.as_fd(), out, &options)
                .map(drop)
                .map_err(std::io::Error::other)
        })?)
    }
}

/// A container that ended meanwhile changes nothing any more: that it could not be paused is no failure.
fn unless_ended(done: Result<(), ContainerError>) -> Result<bool, ContainerError> {
    match done {
        Ok(()) => Ok(true),
        // One that removes itself is gone with its end.
        Err(
            ContainerError::NotRunning(_) | ContainerError::Conflict(_) | ContainerError::NoSuch(_),
        ) => Ok(false),
        Err(error) => Err(error),
    }
}
