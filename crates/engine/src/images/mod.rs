//! Local images: configurations, layers unpacked once and shared, names.
//!
//! Layers are a cache: an image can be loaded again, so unlike volumes they may be removed when nothing refers to them.

use std::path::PathBuf;
use std::sync::Arc;

use store::{Paths, Store};

use crate::claims::Claims;
use crate::containers::Config;
use crate::events::Events;

mod add;
pub(crate) mod built;
mod changes;
mod commit;
mod config;
mod distribution;
mod downloads;
mod error;
mod find;
mod import;
mod layers;
mod list;
mod load;
mod prune;
mod pull;
mod push;
mod reference;

mod remove;
mod room;
mod save;
mod sweep;
mod tag;

pub use changes::apply_changes;
pub use commit::CommitLayer;

#[cfg(feature = "fuzzing")]
pub(crate) use config::configuration;
pub use distribution::Distribution;
pub use error::ImageError;
#[cfg(feature = "fuzzing")]
pub(crate) use load::described;
pub use pull::PullRequest;
pub use push::PushRequest;
pub use reference::Reference;
pub use registry::Cancel;
pub(crate) use room::Room;

/// All images of one engine.
#[derive(Debug)]
pub struct Images {
    pub(crate) store: Arc<Store>,
    pub(crate) paths: Arc<Paths>,
    pub(crate) events: Events,
    /// Read-held while an image is put together, so that no layer it counts on is swept.
    building: sweep::Building,
    pub(crate) registries: ::registry::Client,
    /// Layers that are being fetched, so that nobody fetches them a second time.
    fetching: Claims<String>,
    downloads: downloads::Downloads,
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
    pub size: u64,
    pub shared_size: u64,
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
    pub size: u64,
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
    pub size: u64,
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

impl Images {
    /// Opens the image store; unfinished work of an earlier engine is undone, a sentence for each repair.
    pub fn open(
        store: Arc<Store>,
        paths: Arc<Paths>,
        events: Events,
        registries: ::registry::Settings,
    ) -> Result<(Self, Vec<String>), ImageError> {
        let images = Self {
            store,
            paths,
            events,
            building: sweep::Building::default(),
            registries: ::registry::Client::new(registries)?,
            fetching: Claims::default(),
            downloads: downloads::Downloads::default(),
        };
        let repaired = images.recover_layers()?;
        // By now a second name is that of a layer that stays.
        images.forget_finished_downloads()?;
        images.tidy_downloads()?;
        Ok((images, repaired))
    }
}
