//! The engine as one value: opened once for a state directory, shared by every caller.
//!
//! Opening recovers, in this order, under the instance lock: volumes, images, containers, network. Nothing is served
//! before that is done. Volume plugins are called only afterwards: an engine starts also when one of them hangs.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use store::{InstanceLock, Paths, SqlError, Store};
use volumes::{VolumeAction, Volumes};

use crate::backups::{BackupError, Backups};
use crate::build::{BuildError, Builder};
use crate::config::EngineConfig;
use crate::containers::{ContainerError, Containers};
use crate::drill::{DrillError, Drills};
use crate::error::{ErrorKind, Fault, chain};
use crate::events::Events;
use crate::images::{ImageError, Images};
use crate::network::{Network, NetworkConfig, NetworkError, Networks};
use crate::schedules::{ScheduleError, Schedules};
use crate::snapshot::{Snapshots, TurnBackError};
use crate::volume::RescueError;
use crate::volume::rescue::open_or_put_aside;

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
    pub networks: Arc<Networks>,
    pub containers: Arc<Containers>,
    pub builder: Arc<Builder>,
    pub snapshots: Arc<Snapshots>,
    pub backups: Arc<Backups>,
    pub drills: Arc<Drills>,
    pub schedules: Arc<Schedules>,
    /// What the start repaired, one sentence each.
    pub repaired: Vec<String>,
    /// What was done of a rescue that the engine was started for, until somebody asks.
    pub(crate) rescued: Mutex<Vec<String>>,
    /// Held for life: one engine for each state directory.
    _lock: InstanceLock,
}

/// Why an engine could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(
        "{what}: orlop system rescue {root} puts the database aside and makes the records again from what lies beside the data"
    )]
    Damaged { root: String, what: String },
    #[error(transparent)]
    Rescue(#[from] RescueError),
    #[error("another engine is already running for {0}")]
    AlreadyRunning(String),
    #[error(transparent)]
    Store(#[from] store::StoreError),
    #[error(transparent)]
    Volumes(#[from] volumes::VolumeError),
    #[error(transparent)]
    Images(#[from] ImageError),
    #[error(transparent)]
    Containers(#[from] ContainerError),
    #[error(transparent)]
    Network(#[from] NetworkError),
    #[error(transparent)]
    Builds(#[from] BuildError),
    #[error(transparent)]
    Snapshots(#[from] TurnBackError),
    #[error(transparent)]
    Backups(#[from] BackupError),
    #[error(transparent)]
    Drills(#[from] DrillError),
    #[error(transparent)]
    Schedules(#[from] ScheduleError),
}

impl Fault for OpenError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::AlreadyRunning(_) => ErrorKind::Conflict,
            Self::Damaged { .. } => ErrorKind::Corrupt,
            Self::Rescue(error) => error.kind(),
            Self::Store(error) => error.kind(),
            Self::Volumes(error) => error.kind(),
            Self::Images(error) => error.kind(),
            Self::Containers(error) => error.kind(),
            Self::Network(error) => error.kind(),
            Self::Builds(error) => error.kind(),
            Self::Snapshots(error) => error.kind(),
            Self::Backups(error) => error.kind(),
            Self::Drills(error) => error.kind(),
            Self::Schedules(error) => error.kind(),
        }
    }
}

impl Engine {
    /// Takes the instance lock, recovers what an earlier engine left unfinished, and finds its containers again.
    ///
    /// # Errors
    /// [`OpenError`]; the one of a damaged database says what helps.
    pub fn open(config: EngineConfig) -> Result<Self, OpenError> {
        let root = config.root.display().to_string();
        Self::open_as_it_is(config).map_err(|error| {
            if is_damage(&error) {
                let what = chain(&error);
                return OpenError::Damaged { root, what };
            }
            error
        })
    }

    fn open_as_it_is(config: EngineConfig) -> Result<Self, OpenError> {
        let paths = Arc::new(Paths::new(&config.root)?);
        let lock = InstanceLock::try_take(&paths)?
            .ok_or_else(|| OpenError::AlreadyRunning(config.root.display().to_string()))?;
        paths.create_skeleton()?;
        paths.create_run_root()?;
        let mut repaired = Vec::new();
        let store = Arc::new(if config.rescue {
            open_or_put_aside(&paths, &mut repaired)?
        } else {
            Store::open(&paths)?
        });
        let events = Events::default();

        let volumes = Volumes::open(
            Arc::clone(&store),
            Arc::clone(&paths),
            config.plugins.clone(),
        )?;
        repaired.extend(volumes.recover()?);
        let rescued = if config.rescue {
            repaired.clone()
        } else {
            Vec::new()
        };
        let volumes = Arc::new(volumes);
        publish_volume_events(&volumes, &events);
        let (images, sentences) = Images::open(
            Arc::clone(&store),
            Arc::clone(&paths),
            events.clone(),
            config.registries.clone(),
        )?;
        repaired.extend(sentences);
        let images = Arc::new(images);
        let network = Arc::new(Network::open(NetworkConfig {
            tag: paths.tag().to_owned(),
            default_root: paths.is_default(),
            state_file: paths.root().join("network.json"),
            subnet: config.bridge_subnet.clone(),
            mtu: config.bridge_mtu,
            pools: config.address_pools.clone(),
        })?);
        let (networks, sentences) = Networks::open(
            Arc::clone(&store),
            Arc::clone(&paths),
            events.clone(),
            Arc::clone(&network),
        )?;
        repaired.extend(sentences);
        let networks = Arc::new(networks);
        let shim_program = sys::program::Program::open(&config.shim_program)
            .map(Arc::new)
            .map_err(|source| ContainerError::Io {
                action: format!("cannot open {}", config.shim_program.display()),
                source,
            })?;
        let containers = Arc::new(Containers {
            config: config.clone(),
            store: Arc::clone(&store),
            paths: Arc::clone(&paths),
            events: events.clone(),
            volumes: Arc::clone(&volumes),
            images: Arc::clone(&images),
            network: Arc::clone(&network),
            networks: Arc::clone(&networks),
            live: Mutex::new(HashMap::new()),
            execs: Mutex::new(HashMap::new()),
            sweeper: crate::containers::Sweeper::start(
                Arc::clone(&store),
                Arc::clone(&paths),
                Arc::clone(&shim_program),
            )?,
            shim_program,
        });
        let reconnected = containers.reconnect()?;
        repaired.extend(reconnected.repaired);
        let (builder, sentences) = Builder::open(
            Arc::clone(&containers),
            Arc::clone(&images),
            Arc::clone(&store),
            Arc::clone(&paths),
        )?;
        repaired.extend(sentences);
        crate::volume::keeper::start(&volumes, &images).map_err(|source| ContainerError::Io {
            action: "cannot start a thread for the trash".to_owned(),
            source,
        })?;
        crate::volume::limits::start(&volumes).map_err(|source| ContainerError::Io {
            action: "cannot start a thread for limits".to_owned(),
            source,
        })?;
        repaired.extend(crate::travel::still::sweep(&volumes).map_err(TurnBackError::from)?);
        let (snapshots, sentences) = Snapshots::open(&containers)?;
        repaired.extend(sentences);
        let (backups, sentences) = Backups::open(&containers, &snapshots)?;
        repaired.extend(sentences);
        let (drills, sentences) = Drills::open(&backups, &containers)?;
        repaired.extend(sentences);
        let (schedules, sentences) =
            Schedules::open(&backups, &drills, &volumes, &store, events.clone())?;
        repaired.extend(sentences);
        crate::volume::plugins::start(&volumes).map_err(|source| ContainerError::Io {
            action: "cannot start a thread for volume plugins".to_owned(),
            source,
        })?;
        containers.start_later(reconnected.later);
        Ok(Self {
            config,
            store,
            paths,
            events,
            volumes,
            images,
            network,
            networks,
            containers,
            builder: Arc::new(builder),
            snapshots,
            backups,
            drills,
            schedules,
            repaired,
            rescued: Mutex::new(rescued),
            _lock: lock,
        })
    }
}

/// Whether the database's file is not what it was when it was written, whoever has found that.
fn is_damage(error: &OpenError) -> bool {
    if matches!(error, OpenError::Store(error) if error.is_damage()) {
        return true;
    }
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        if error
            .downcast_ref::<SqlError>()
            .is_some_and(SqlError::is_damage)
        {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Creations and removals; mounts are told by containers, which know where and how.
fn publish_volume_events(volumes: &Volumes, events: &Events) {
    let events = events.clone();
    volumes.on_event(Box::new(move |event| {
        let mut attributes = BTreeMap::from([("driver".to_owned(), event.driver)]);
        let action = match event.action {
            VolumeAction::Create => "create",
            VolumeAction::Destroy => "destroy",
            VolumeAction::Prune { reclaimed } => {
                events.publish_prune("volume", reclaimed);
                return;
            }
            VolumeAction::Resize { bytes } => {
                if let Some(bytes) = bytes {
                    attributes.insert("size".to_owned(), bytes.to_string());
                }
                "resize"
            }
            VolumeAction::SoftLimit { used, soft } => {
                attributes.insert("used".to_owned(), used.to_string());
                attributes.insert("softLimit".to_owned(), soft.to_string());
                "soft_limit"
            }
            VolumeAction::Purge { bytes, why } => {
                attributes.insert("size".to_owned(), bytes.to_string());
                attributes.insert("reason".to_owned(), why.to_owned());
                "purge"
            }
            VolumeAction::Rename { from } => {
                attributes.insert("oldName".to_owned(), from);
                "rename"
            }
            VolumeAction::Mount { .. } | VolumeAction::Unmount { .. } => return,
        };
        events.publish("volume", action, event.name, attributes);
    }));
}
