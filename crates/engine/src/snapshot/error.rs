//! Why a volume could not be kept or turned back.

use store::ErrorKind;

use crate::containers::ContainerError;
use crate::error::Fault;

#[derive(Debug, thiserror::Error)]
pub enum TurnBackError {
    #[error("invalid consistency {0:?}: it is none, sync, freeze, hook or stop")]
    Consistency(String),
    #[error("unknown hook {0:?}: there is {known}", known = super::hooks::NAMES)]
    Recipe(String),
    #[error("consistency hook needs a command to run: --hook, --pre or --post")]
    NoHook,
    #[error("a hook runs in a container: none that runs has volume {0}")]
    NobodyToAsk(String),
    #[error("hook {container}={recipe}: container {container} does not run with volume {volume}")]
    NotThere {
        container: String,
        recipe: &'static str,
        volume: String,
    },
    #[error(
        "hook {recipe}: no running container that writes to volume {volume} has {}",
        programs.join(" or ")
    )]
    NoProgram {
        recipe: &'static str,
        volume: String,
        programs: &'static [&'static str],
    },
    #[error("container {0} began to run while volumes were copied, again and again")]
    NeverStill(String),
    #[error("containers that write to volume {0} are being started, and that does not end")]
    Starting(String),
    #[error(
        "volume {volume} is mounted by running containers: {}; stop them, or use force: they keep what they have until \
         they are restarted",
        containers.join(", ")
    )]
    Mounted {
        volume: String,
        containers: Vec<String>,
    },
    #[error("container {0} is removed when it stops (--rm): choose another consistency than stop")]
    AutoRemove(String),
    #[error("the command {command:?} in container {container} ended with {code}: {said}")]
    Hook {
        container: String,
        command: String,
        code: i32,
        said: String,
    },
    #[error(
        "the command {command:?} in container {container} did not end within {seconds} seconds and was killed"
    )]
    HookHangs {
        container: String,
        command: String,
        seconds: u64,
    },
    #[error("cannot start the thread that keeps schedules")]
    Thread(#[source] std::io::Error),
    #[error(transparent)]
    Snapshot(#[from] volumes::SnapshotError),
    #[error(transparent)]
    Volume(#[from] volumes::VolumeError),
    #[error(transparent)]
    Container(#[from] ContainerError),
    #[error(transparent)]
    Store(#[from] store::StoreError),
}

impl Fault for TurnBackError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Consistency(_) | Self::Recipe(_) | Self::NoHook => ErrorKind::Invalid,
            Self::NobodyToAsk(_)
            | Self::NotThere { .. }
            | Self::NoProgram { .. }
            | Self::NeverStill(_)
            | Self::Starting(_)
            | Self::Mounted { .. }
            | Self::AutoRemove(_) => ErrorKind::Conflict,
            Self::Hook { .. } | Self::HookHangs { .. } | Self::Thread(_) => ErrorKind::Internal,
            Self::Snapshot(error) => error.kind(),
            Self::Volume(error) => error.kind(),
            Self::Container(error) => error.kind(),
            Self::Store(error) => error.kind(),
        }
    }
}
