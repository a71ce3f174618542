//! The engine as one value: opened once for a state directory, shared by every caller.

use std::sync::Arc;

use store::{Paths, Store};
use volumes::Volumes;

use crate::config::EngineConfig;
use crate::containers::Containers;
use crate::events::Events;
use crate::images::Images;
use crate::network::Network;

/// Everything one engine owns. Dropping it stops nothing: containers belong to their shims.
#[derive(Debug)]
pub struct Engine {
    pub config: EngineConfig,
    pub store: Arc<Store>,
    pub paths: Arc<Paths>,
    pub events: Events,
    pub volumes: Arc<Volumes>,
    pub images: Arc<Images>,
    pub network: Arc<Network>,
    pub containers: Arc<Containers>,
    /// What the start repaired, one sentence each.
    pub repaired: Vec<String>,
}
