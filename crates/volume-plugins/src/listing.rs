//! A plugin's volumes for lists, which wait for no plugin: one call at a time, and what it said last if that takes long.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::driver::Seen;
use crate::{Plugin, PluginError, held};

/// What a plugin has.
#[derive(Debug, Clone)]
pub struct Listing {
    /// In case of an error what it said the last time.
    pub volumes: Arc<Vec<Seen>>,
    pub error: Option<PluginError>,
}

#[derive(Debug, Default)]
pub(crate) struct Lister {
    state: Mutex<State>,
    answered: Condvar,
}

#[derive(Debug, Default)]
struct State {
    running: bool,
    /// Calls that were begun, those that are over, and how many there must be: who asks while a call is under way wants
    /// the next one, because the answer to this one may be older than the question.
    begun: u64,
    over: u64,
    wanted: u64,
    error: Option<PluginError>,
    volumes: Arc<Vec<Seen>>,
}

impl Plugin {
    /// Its volumes, if it tells them within `wait`.
    pub fn list_soon(self: &Arc<Self>, wait: Duration) -> Listing {
        let wait = if self.is_silent(crate::SOON) {
            Duration::ZERO
        } else {
            wait
        };
        let until = Instant::now() + wait;
        let mut state = held(&self.lister.state);
        let mine = state.begun + 1;
        state.wanted = mine;
        if !state.running {
            state.running = true;
            let plugin = Arc::clone(self);
            let spawned = std::thread::Builder::new()
                .name("plugin-list".to_owned())
                .stack_size(256 << 10)
                .spawn(move || plugin.keep_listing());
            if let Err(error) = spawned {
                state.running = false;
                tracing::error!(plugin = self.name(), %error, "no thread to ask a plugin");
            }
        }
        while state.over < mine && state.running {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let error = match &state.error {
                    Some(error) => error.clone(),
                    None => self.too_late(),
                };
                return Listing {
                    volumes: Arc::clone(&state.volumes),
                    error: Some(error),
                };
            }
            state = self
                .lister
                .answered
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        Listing {
            volumes: Arc::clone(&state.volumes),
            error: state.error.clone(),
        }
    }

    fn keep_listing(&self) {
        let mut state = held(&self.lister.state);
        while state.over < state.wanted {
            state.begun += 1;
            drop(state);
            let listed = self.list();
            state = held(&self.lister.state);
            state.over = state.begun;
            match listed {
                Ok(volumes) => {
                    state.volumes = Arc::new(volumes);
                    state.error = None;
                }
                Err(error) => state.error = Some(error),
            }
            self.lister.answered.notify_all();
        }
        state.running = false;
        self.lister.answered.notify_all();
    }

    fn too_late(&self) -> PluginError {
        PluginError::Silent {
            url: crate::address::Address::Unix("".into()).url(crate::driver::LIST),
            why: "context deadline exceeded".to_owned(),
        }
    }
}
