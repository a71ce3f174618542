//! What a client asks of a build.

use std::collections::BTreeMap;
use std::fmt;

use registry::Credentials;

use crate::containers::HostConfig;
use crate::progress::Progress;

#[derive(Clone, Default)]
pub struct BuildRequest {
    /// Path in the context; empty for `Dockerfile`.
    pub dockerfile: String,
    /// Names for the image.
    pub tags: Vec<String>,
    /// Only the image's id is said.
    pub quiet: bool,
    pub no_cache: bool,
    /// Images whose steps need not be done again, beside those that are remembered.
    pub cache_from: Vec<String>,
    /// Ask registries for newer base images.
    pub pull: bool,
    /// `None`: the argument is named without a value.
    pub arguments: BTreeMap<String, Option<String>>,
    pub labels: BTreeMap<String, String>,
    /// A stage by name or number; empty for the last one.
    pub target: String,
    /// `os/architecture[/variant]`
    pub platform: Option<String>,
    /// Network, limits and names of the steps' sandboxes.
    pub host: HostConfig,
    /// What `RUN` writes below a declared volume is kept, as BuildKit does it.
    pub keep_volumes: bool,
    /// By registry.
    pub credentials: BTreeMap<String, Credentials>,
    /// By id. Never part of an image, of the cache or of a log.
    pub secrets: BTreeMap<String, Vec<u8>>,
}

impl fmt::Debug for BuildRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BuildRequest")
            .field("dockerfile", &self.dockerfile)
            .field("tags", &self.tags)
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

/// Hears what a build says.
pub trait BuildOutput: Progress {
    /// Text as it is to be shown, line ends included; pieces of lines too.
    fn text(&self, text: &str);
    /// The id of the finished image, for programs.
    fn image(&self, id: &str);
}
