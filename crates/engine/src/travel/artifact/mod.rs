//! Volumes in registries: an OCI artifact, whose configuration is the volume's luggage and whose layers are tar archives of
//! parts of its files.
//!
//! * [`plan`] - which file is in which layer, so that a layer without a change is the same bytes as before;
//! * [`push`] - the layers that the registry lacks, then the manifest;
//! * [`pull`] - into a place that nobody sees, each digest compared, then published.
//!
//! What archives cannot hold, sockets, stays behind.

use std::sync::Arc;

use registry::{Access, Cancel, Credentials, Repository, Session};

use super::TravelError;
use crate::engine::Engine;
use crate::images::{ImageError, Reference};

mod plan;
mod pull;
mod push;

pub use pull::PullVolume;
pub use push::PushVolume;

const ARTIFACT_TYPE: &str = "application/vnd.orlop.volume.v1";
const CONFIG_TYPE: &str = "application/vnd.orlop.volume.config.v1+json";
/// A label of the volume's, its key behind this.
const LABEL: &str = "vnd.orlop.volume.label.";

impl Engine {
    /// Opens the repository that a reference names.
    fn session<'a>(
        &'a self,
        name: &Reference,
        credentials: Option<&Credentials>,
        access: &Access,
        cancel: &Arc<Cancel>,
    ) -> Result<Session<'a>, TravelError> {
        let repository = Repository::parse(&name.repository);
        let registries = &self.images.registries;
        let endpoint = registries.registry(&repository.host);
        Ok(registries
            .open(&endpoint, &repository, credentials, access, cancel)
            .map_err(ImageError::from)?)
    }
}
