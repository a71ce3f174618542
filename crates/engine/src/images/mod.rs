//! Local images: configurations, layers unpacked once and shared, names.
//!
//! Layers are a cache: an image can be loaded again, so unlike volumes they may be removed when nothing refers to them.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;
use store::{Paths, Store};

use crate::containers::Config;
use crate::events::Events;
use crate::progress::Progress;

mod error;
mod reference;

pub use error::ImageError;
pub use reference::Reference;

/// All images of one engine.
#[derive(Debug)]
pub struct Images {
    pub(crate) store: Arc<Store>,
    pub(crate) paths: Arc<Paths>,
    pub(crate) events: Events,
}

/// What a container needs of an image.
#[derive(Debug, Clone)]
pub struct ImageForRun {
    /// `sha256:…`.
    pub id: String,
    pub config: Config,
    pub os: String,
    pub architecture: String,
    /// Topmost first, relative to the layers directory.
    pub lowers: Vec<PathBuf>,
}

#[derive(Debug, Clone, Default)]
pub struct ImageSummary {
    pub id: String,
    pub parent: String,
    /// `name:tag`
    pub tags: Vec<String>,
    pub digests: Vec<String>,
    /// Unix seconds.
    pub created: i64,
    pub size: i64,
    pub shared_size: i64,
    pub labels: std::collections::BTreeMap<String, String>,
    /// Containers that use it (-1: not counted).
    pub containers: i64,
}

/// Everything of one image, for `image inspect`.
#[derive(Debug, Clone)]
pub struct ImageDetail {
    pub id: String,
    pub tags: Vec<String>,
    pub digests: Vec<String>,
    pub parent: String,
    pub comment: String,
    pub author: String,
    /// RFC 3339.
    pub created: String,
    pub architecture: String,
    pub variant: String,
    pub os: String,
    pub config: Config,
    pub size: i64,
    pub diff_ids: Vec<String>,
    pub last_tagged: Option<String>,
    /// Directories of the layers, topmost first.
    pub layer_dirs: Vec<PathBuf>,
}

#[derive(Debug, Clone)]
pub struct HistoryEntry {
    pub id: String,
    pub created: i64,
    pub created_by: String,
    pub size: i64,
    pub comment: String,
    pub tags: Vec<String>,
}

#[derive(Debug, Clone)]
pub enum Removed {
    Untagged(String),
    Deleted(String),
}

#[derive(Debug, Clone, Default)]
pub struct ImportRequest {
    pub repository: Option<String>,
    pub tag: Option<String>,
    pub message: String,
    pub changes: Vec<String>,
    pub platform: Option<String>,
}

#[derive(Debug, Clone, Default)]
pub struct ImageListRequest {
    pub all: bool,
    pub filters: crate::containers::list::Filters,
    pub shared_size: bool,
}

#[derive(Debug, Clone, Default)]
pub struct ImagePruneReport {
    pub deleted: Vec<Removed>,
    pub reclaimed: u64,
}

/// A layer that `commit` made: written into `layers/<n>/fs` by the caller's closure.
impl Images {
    /// Opens the image store; unfinished work of an earlier engine is undone, a sentence for each repair.
    pub fn open(store: Arc<Store>, paths: Arc<Paths>, events: Events) -> Result<(Self, Vec<String>), ImageError> {
        todo!()
    }
    /// By reference, id, or unique id prefix.
    pub fn for_run(&self, reference: &str) -> Result<ImageForRun, ImageError> {
        todo!()
    }
    /// By image id; used when a container is started again after its tag moved.
    pub fn lowers(&self, id: &str) -> Result<Vec<PathBuf>, ImageError> {
        todo!()
    }
    pub fn inspect(&self, reference: &str) -> Result<ImageDetail, ImageError> {
        todo!()
    }
    pub fn list(&self, request: &ImageListRequest) -> Result<Vec<ImageSummary>, ImageError> {
        todo!()
    }
    pub fn history(&self, reference: &str) -> Result<Vec<HistoryEntry>, ImageError> {
        todo!()
    }
    pub fn tag(&self, source: &str, repository: &str, tag: Option<&str>) -> Result<(), ImageError> {
        todo!()
    }
    /// `rmi`.
    pub fn remove(&self, reference: &str, force: bool, prune_parents: bool) -> Result<Vec<Removed>, ImageError> {
        todo!()
    }
    pub fn prune(&self, filters: &crate::containers::list::Filters) -> Result<ImagePruneReport, ImageError> {
        todo!()
    }
    /// `import`: a root file system as a tar (plain, gzip, zstd) becomes an image of one layer. Returns its id.
    pub fn import(
        &self,
        tar: &mut (dyn Read + Send),
        request: &ImportRequest,
        progress: &dyn Progress,
    ) -> Result<String, ImageError> {
        todo!()
    }
    /// `load`: docker-archive (old and new layout) or OCI layout, plain, gzip or zstd. Returns the sentences that docker
    /// prints (`Loaded image: name:tag`).
    pub fn load(&self, tar: &mut (dyn Read + Send), progress: &dyn Progress) -> Result<Vec<String>, ImageError> {
        todo!()
    }
    /// `save`: an archive that is both OCI layout and docker-archive.
    pub fn save(&self, references: &[String], out: &mut (dyn Write + Send)) -> Result<(), ImageError> {
        todo!()
    }
    /// `commit`: a new image on top of `parent` (an image id, or `None`) with one more layer, whose overlay contents are
    /// packed by `write_layer` as a layer tar stream. `config` is the complete configuration of the new image.
    pub fn commit_layer(
        &self,
        parent: Option<&str>,
        config: &Config,
        author: &str,
        comment: &str,
        created_by: &str,
        name: Option<(&str, Option<&str>)>,
        write_layer: &mut dyn FnMut(&mut (dyn Write + Send)) -> std::io::Result<()>,
    ) -> Result<String, ImageError> {
        todo!()
    }
}

/// Applies Dockerfile instructions of `--change` (CMD ENTRYPOINT ENV EXPOSE LABEL ONBUILD STOPSIGNAL USER VOLUME
/// WORKDIR HEALTHCHECK) to a configuration.
pub fn apply_changes(config: &mut Config, changes: &[String]) -> Result<(), ImageError> {
    todo!()
}

/// Raw JSON of an image configuration as stored.
pub type RawConfig = Value;
