//! Why a call of a plugin failed, in Docker's words where Docker has some.

use std::time::Duration;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PluginError {
    /// No socket and no file names it.
    #[error("error looking up volume plugin {plugin}: plugin \"{plugin}\" not found")]
    NotFound { plugin: String },
    /// What names it cannot be read.
    #[error("error looking up volume plugin {plugin}: legacy plugin: {why}")]
    Unusable { plugin: String, why: String },
    /// It does not say what it is.
    #[error("error looking up volume plugin {plugin}: legacy plugin: {reason}")]
    Inactive { plugin: String, reason: Box<Self> },
    /// It is a plugin of another kind.
    #[error(
        "error looking up volume plugin {plugin}: legacy plugin: Plugin does not implement the requested driver: \
         plugin=\"{plugin}\", requested implementation=\"VolumeDriver\""
    )]
    NotImplemented { plugin: String },
    /// No connection: it has seen nothing of the call.
    #[error("Post \"{url}\": {why}")]
    Unreachable { url: String, why: String },
    /// It ended, or the connection did. It may have seen the call, and done it.
    #[error("Post \"{url}\": {why}")]
    Unanswered { url: String, why: String },
    /// Nothing came within the deadline. It may have seen the call, and do it yet.
    #[error("Post \"{url}\": {why}")]
    Silent { url: String, why: String },
    /// It says no.
    #[error("{0}")]
    Refused(String),
    /// It says no by an HTTP status.
    #[error("{method}: {message}")]
    Failed {
        method: &'static str,
        message: String,
    },
    /// Its answer cannot be what it means.
    #[error("{method}: volume plugin {plugin} gave an unusable answer: {why}")]
    Nonsense {
        plugin: String,
        method: &'static str,
        why: String,
    },
    /// It did not answer somebody else a moment ago.
    #[error("volume plugin {plugin} is left alone for {} s more: {last}", left.as_secs() + 1)]
    Resting {
        plugin: String,
        left: Duration,
        last: String,
    },
    #[error("volume plugin {plugin} is busy: {waiting} calls wait for its answer")]
    Busy { plugin: String, waiting: usize },
    /// See [`crate::Plugins::hold_off`].
    #[error("volume plugin {plugin} is not called while the engine starts")]
    HeldOff { plugin: String },
}

impl PluginError {
    /// The plugin itself has answered: the call is settled.
    pub fn is_answer(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::Failed { .. })
    }

    /// There is no volume plugin of that name.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::NotFound { .. } | Self::NotImplemented { .. })
    }

    /// The plugin has seen nothing of the call.
    pub fn is_unseen(&self) -> bool {
        matches!(
            self,
            Self::NotFound { .. }
                | Self::Unusable { .. }
                | Self::Inactive { .. }
                | Self::NotImplemented { .. }
                | Self::Unreachable { .. }
                | Self::Resting { .. }
                | Self::Busy { .. }
                | Self::HeldOff { .. }
        )
    }
}
