//! Volumes in registries: an OCI artifact, whose configuration is the volume's luggage and whose layers are tar archives of
//! parts of its files.
//!
//! * [`plan`] - which file is in which layer, so that a layer without a change is the same bytes as before;
//! * [`push`] - the layers that the registry lacks, then the manifest;
//! * [`pull`] - into a place that nobody sees, each digest compared, then published.
//!
//! What archives cannot hold, sockets, stays behind.

mod plan;
mod pull;
mod push;

pub use pull::PullVolume;
pub use push::PushVolume;

const ARTIFACT_TYPE: &str = "application/vnd.orlop.volume.v1";
const CONFIG_TYPE: &str = "application/vnd.orlop.volume.config.v1+json";
/// A label of the volume's, its key behind this.
const LABEL: &str = "vnd.orlop.volume.label.";
