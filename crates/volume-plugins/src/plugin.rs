//! One plugin: every call goes through here, with its deadline and its patience.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::activation::Active;
use crate::client::Client;
use crate::gate::Gate;
use crate::listing::Lister;
use crate::{PluginError, Settings, held};

/// How long a call waits for one of the places at a plugin.
const QUEUE: Duration = Duration::from_secs(10);
/// Docker's first pause; each is twice the one before.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// What is done about a plugin that nobody can connect to. After one call that waited in vain none waits, until one
/// succeeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// Nothing.
    Never,
    /// It is tried again for a while, in case it starts just now.
    IfFound,
    /// Likewise, even if nobody has heard of it yet: it is known to have existed.
    Known,
}

/// A plugin by name, there or not.
#[derive(Debug)]
pub struct Plugin {
    name: String,
    pub(crate) settings: Arc<Settings>,
    pub(crate) active: Mutex<Option<Arc<Active>>>,
    pub(crate) lister: Lister,
    gate: Gate,
    held_off: Arc<AtomicBool>,
    /// The last one who waited for it waited in vain.
    given_up: AtomicBool,
}

impl Plugin {
    pub(crate) fn new(name: &str, settings: Arc<Settings>, held_off: Arc<AtomicBool>) -> Self {
        Self {
            name: name.to_owned(),
            settings,
            active: Mutex::default(),
            lister: Lister::default(),
            gate: Gate::default(),
            held_off,
            given_up: AtomicBool::new(false),
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it does not answer, as far as that is known without asking: it rests, or a call has waited for `long`.
    pub fn is_silent(&self, long: Duration) -> bool {
        self.gate.is_silent(long)
    }

    /// Calls `method` and reads the answer.
    pub(crate) fn call<Q: Serialize, A: DeserializeOwned>(
        &self,
        method: &'static str,
        question: &Q,
        deadline: Duration,
        patience: Patience,
    ) -> Result<A, PluginError> {
        let body = serde_json::to_vec(question).expect("questions are plain data");
        let began = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            let error = match self.attempt(method, &body, deadline) {
                Ok(answer) => {
                    self.given_up.store(false, Ordering::Relaxed);
                    return parsed(&self.name, method, &answer);
                }
                Err(error) => error,
            };
            if !is_worth_waiting(&error, patience) {
                return Err(error);
            }
            if self.given_up.load(Ordering::Relaxed)
                || began.elapsed() + pause >= self.settings.patience
            {
                self.given_up.store(true, Ordering::Relaxed);
                return Err(error);
            }
            tracing::warn!(plugin = self.name, %error, ?pause, "volume plugin is tried again");
            // Also ends when another call has been answered.
            self.gate.wait_for_news(pause);
            pause *= 2;
        }
    }

    fn attempt(
        &self,
        method: &'static str,
        body: &[u8],
        deadline: Duration,
    ) -> Result<Vec<u8>, PluginError> {
        if self.held_off.load(Ordering::Acquire) {
            return Err(PluginError::HeldOff {
                plugin: self.name.clone(),
            });
        }
        let active = self.activate()?;
        let answer = self.post(&active.client, method, body, deadline);
        if matches!(answer, Err(PluginError::Unreachable { .. })) {
            // What listens there next may be another one.
            *held(&self.active) = None;
        }
        answer
    }

    pub(crate) fn post(
        &self,
        client: &Client,
        method: &'static str,
        body: &[u8],
        deadline: Duration,
    ) -> Result<Vec<u8>, PluginError> {
        let pass = self.gate.enter(&self.name, self.settings.rest, QUEUE)?;
        let answer = client.post(&self.name, method, body, deadline);
        match &answer {
            Err(error @ PluginError::Silent { .. }) => pass.unanswered(error.to_string()),
            Err(PluginError::Unreachable { .. } | PluginError::Unanswered { .. }) => drop(pass),
            _ => pass.answered(),
        }
        answer
    }
}

fn is_worth_waiting(error: &PluginError, patience: Patience) -> bool {
    match error {
        PluginError::Unreachable { .. } => patience != Patience::Never,
        PluginError::NotFound { .. } => patience == Patience::Known,
        PluginError::Inactive { reason, .. } => is_worth_waiting(reason, patience),
        _ => false,
    }
}

/// What a plugin said with status 200.
pub(crate) fn parsed<A: DeserializeOwned>(
    plugin: &str,
    method: &'static str,
    answer: &[u8],
) -> Result<A, PluginError> {
    #[derive(serde::Deserialize)]
    struct Refusal {
        #[serde(rename = "Err", default)]
        err: Option<String>,
    }
    let nonsense = |error: serde_json::Error| PluginError::Nonsense {
        plugin: plugin.to_owned(),
        method,
        why: format!("it is not the JSON that is expected: {error}"),
    };
    // Some say nothing where there is nothing to say.
    let answer = if answer.trim_ascii().is_empty() {
        b"{}"
    } else {
        answer
    };
    let refusal: Refusal = serde_json::from_slice(answer).map_err(nonsense)?;
    if let Some(err) = refusal.err.filter(|err| !err.is_empty()) {
        return Err(PluginError::Refused(crate::client::shortened(&err)));
    }
    serde_json::from_slice(answer).map_err(nonsense)
}
