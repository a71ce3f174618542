//! Docker's volume plugins, protocol v1, as the engine's side of it: finding them, and every call they know.
//!
//! A plugin is a program of somebody else's: it may be slow, dead, or wrong. What holds therefore:
//! * every call has a deadline, every answer a size, and what an answer says is checked before anybody uses it;
//! * a plugin that did not answer is left alone for a while, and never has more than a few calls waiting for it: it can
//!   make nobody wait but those who need its volumes ([`gate`]);
//! * no lock is held while a plugin is called;
//! * a call is repeated only if the plugin cannot have seen it.
//!
//! Which plugins exist is looked up each time in their directories ([`discovery`]); nothing is known of one that nobody
//! asked for.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

mod activation;
mod address;
mod client;
mod discovery;
mod driver;
mod error;
mod gate;
mod listing;
mod plugin;
mod unix;

pub use driver::{Scope, Seen, is_volume_name};
pub use error::PluginError;
pub use listing::Listing;
pub use plugin::{Patience, Plugin};

/// Where plugins are looked for, and how long they are waited for.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Sockets: `NAME.sock` and `NAME/NAME.sock`.
    pub sockets: PathBuf,
    /// Files that name an address: `NAME.spec`, `NAME.json`, and both in a directory NAME. The first directory wins.
    pub specs: Vec<PathBuf>,
    /// How long a connection that cannot be made is tried again.
    pub patience: Duration,
    /// Deadline of calls that may have work to do: Create, Mount.
    pub long: Duration,
    /// Deadline of all others.
    pub short: Duration,
    /// How long a plugin that did not answer is left alone.
    pub rest: Duration,
}

impl Default for Settings {
    /// Docker's places and times.
    fn default() -> Self {
        Self {
            sockets: "/run/docker/plugins".into(),
            specs: vec![
                "/etc/docker/plugins".into(),
                "/usr/lib/docker/plugins".into(),
            ],
            patience: Duration::from_secs(30),
            long: Duration::from_secs(120),
            short: Duration::from_secs(60),
            rest: Duration::from_secs(10),
        }
    }
}

/// What asks all plugins waits so long for each.
pub const SOON: Duration = Duration::from_secs(2);

/// More plugins than any host has.
const MANY: usize = 256;

/// All plugins of a host.
#[derive(Debug)]
pub struct Plugins {
    settings: Arc<Settings>,
    /// Those that were found once, for what is known of them between two calls.
    known: Mutex<BTreeMap<String, Arc<Plugin>>>,
    held_off: Arc<AtomicBool>,
}

impl Plugins {
    pub fn new(settings: Settings) -> Self {
        Self {
            settings: Arc::new(settings),
            known: Mutex::default(),
            held_off: Arc::default(),
        }
    }

    /// From now on every call fails at once with [`PluginError::HeldOff`]: an engine that starts waits for nobody.
    pub fn hold_off(&self) {
        self.held_off.store(true, Ordering::Release);
    }

    /// Ends [`Plugins::hold_off`].
    pub fn admit(&self) {
        self.held_off.store(false, Ordering::Release);
    }

    /// Names of the plugins that are there now, in order; whether they are volume plugins, only calling them tells.
    pub fn names(&self) -> Vec<String> {
        discovery::names(&self.settings).into_iter().collect()
    }

    /// Names of the volume plugins that are there and answer soon, in order.
    pub fn drivers(&self) -> Vec<String> {
        let (sender, answers) = std::sync::mpsc::channel();
        for plugin in self.found() {
            if plugin.is_silent(SOON) {
                continue;
            }
            let sender = sender.clone();
            let spawned = std::thread::Builder::new()
                .name("plugin-ask".to_owned())
                .stack_size(256 << 10)
                .spawn(move || {
                    let is_driver = plugin.is_driver();
                    // Who asked may have gone.
                    drop(sender.send(is_driver.then(|| plugin.name().to_owned())));
                });
            if let Err(error) = spawned {
                tracing::error!(%error, "no thread to ask a plugin");
            }
        }
        drop(sender);
        let until = std::time::Instant::now() + SOON;
        let mut names = Vec::new();
        while let Ok(name) =
            answers.recv_timeout(until.saturating_duration_since(std::time::Instant::now()))
        {
            names.extend(name);
        }
        names.sort();
        names
    }

    /// The plugins that are there now.
    pub fn found(&self) -> Vec<Arc<Plugin>> {
        self.names().iter().map(|name| self.get(name)).collect()
    }

    /// The plugin called `name`, whether or not it is there: calling it tells.
    pub fn get(&self, name: &str) -> Arc<Plugin> {
        let mut known = held(&self.known);
        if let Some(plugin) = known.get(name) {
            return Arc::clone(plugin);
        }
        let plugin = Arc::new(Plugin::new(
            name,
            Arc::clone(&self.settings),
            Arc::clone(&self.held_off),
        ));
        // Names that were only tried are not kept for ever.
        if known.len() >= MANY {
            known.retain(|name, plugin| {
                Arc::strong_count(plugin) > 1
                    || !matches!(discovery::find(&self.settings, name), Ok(None))
            });
        }
        known.insert(name.to_owned(), Arc::clone(&plugin));
        plugin
    }
}

/// A lock that a panic of its last holder does not close: what it guards is right after each statement.
fn held<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}
