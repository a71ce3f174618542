//! The states of a container and what is legal in each: the one home of that knowledge.

use serde::{Deserialize, Serialize};

/// Docker's states, plus `creating` for a record whose container is not complete yet and never shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Creating,
    Created,
    Running,
    Paused,
    Restarting,
    Exited,
    Removing,
    Dead,
}

impl Status {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Exited => "exited",
            Self::Removing => "removing",
            Self::Dead => "dead",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [
            Self::Creating,
            Self::Created,
            Self::Running,
            Self::Paused,
            Self::Restarting,
            Self::Exited,
            Self::Removing,
            Self::Dead,
        ]
        .into_iter()
        .find(|status| status.as_str() == text)
    }

    /// A process of it may exist.
    pub fn is_active(self) -> bool {
        matches!(self, Self::Running | Self::Paused | Self::Restarting)
    }
}
