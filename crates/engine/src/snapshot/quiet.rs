//! The ladder of consistency: what is done so that the bytes of a snapshot fit together.
//!
//! | rung | what is done | what the snapshot holds |
//! |---|---|---|
//! | `none` | nothing | each file as it was read |
//! | `sync` | the filesystem is synced first, unless that is known to be hardly anything | the same, and less to write while it is taken |
//! | `freeze` | and every running container that may write is frozen meanwhile | one instant, as after a power cut |
//! | `hook` | and before it a command has run in these containers, after it another one | what the command prepared |
//! | `stop` | these containers are stopped first and started again | what they leave when they end |
//!
//! Steps, from `freeze` on:
//! 1. what will have to be made good is recorded: what to run, whom to start
//! 2. commands run, containers stop, the freezer closes
//! 3. the content is copied
//! 4. the freezer opens; then commands and starts; the record goes
//!
//! 4 happens whatever 2 and 3 say, and what fails there takes nothing back: the answer has both, what is made and what failed. A crash before its end opens the freezer at once, for it is held by a connection to each shim; what
//! is recorded is made good by the next start ([`recover`]).

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::io;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use volumes::Quiet;

use super::hooks::{Hook, PATIENCE};
use super::{Snapshots, TurnBackError};
use crate::containers::hold::{Ended, Held, Released, User};
use crate::containers::{ContainerError, Containers, Status};
use crate::error::chain;

const KEY: &str = "quiesced/";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rung {
    None,
    Sync,
    Freeze,
    Hook,
    Stop,
}

impl Rung {
    pub(super) fn parse(text: &str) -> Option<Self> {
        [Self::None, Self::Sync, Self::Freeze, Self::Hook, Self::Stop]
            .into_iter()
            .find(|rung| rung.as_str() == text)
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Sync => "sync",
            Self::Freeze => "freeze",
            Self::Hook => "hook",
            Self::Stop => "stop",
        }
    }
}

/// What has to be made good for one container.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Debt {
    start: bool,
    run: String,
}

/// What was done on a rung of the ladder.
#[derive(Debug)]
pub(crate) struct Done<T> {
    pub(crate) made: T,
    /// For how long containers were frozen.
    pub(crate) frozen: Duration,
    /// Whether what was owed then could be made good; what was made is there in any case.
    pub(crate) paid: Result<(), TurnBackError>,
}

impl<T> Done<T> {
    /// What failed after it was made, in one sentence.
    pub(super) fn failed(&self) -> Option<String> {
        self.paid.as_ref().err().map(|error| chain(error))
    }
}

impl Snapshots {
    /// Calls `act` on a rung of the ladder.
    pub(crate) fn on_rung<T>(
        &self,
        volumes: &[String],
        rung: Rung,
        hook: &Hook,
        writers: &[User],
        act: impl FnOnce(&dyn Quiet) -> Result<T, volumes::SnapshotError>,
    ) -> Result<Done<T>, TurnBackError> {
        let still = Still {
            snapshots: self,
            volumes,
            rung,
            freeze: if matches!(rung, Rung::Freeze | Rung::Hook) {
                writers
            } else {
                &[]
            },
            frozen: RefCell::default(),
            going_on: RefCell::default(),
            time: Cell::default(),
        };
        if matches!(rung, Rung::None | Rung::Sync) || writers.is_empty() {
            return Ok(Done {
                made: act(&still)?,
                frozen: Duration::ZERO,
                paid: Ok(()),
            });
        }
        if rung == Rung::Stop
            && let Some(user) = writers.iter().find(|user| user.auto_remove)
        {
            return Err(TurnBackError::AutoRemove(user.name.clone()));
        }
        let owes = matches!(rung, Rung::Hook | Rung::Stop);
        if owes {
            self.owe(writers, rung, hook)?;
        }
        let mut stopped = Vec::new();
        let made = self.prepared(rung, hook, writers, &mut stopped, || {
            let made = act(&still);
            still.wait();
            Ok(made?)
        });
        let paid = if owes {
            self.pay(writers, rung, hook, &stopped)
        } else {
            Ok(())
        };
        Ok(Done {
            made: made?,
            frozen: still.time.get(),
            paid,
        })
    }

    /// Verb locks are held while nobody may start or stop the containers, and taken before any lock of a volume's.
    fn prepared<T>(
        &self,
        rung: Rung,
        hook: &Hook,
        writers: &[User],
        stopped: &mut Vec<String>,
        act: impl FnOnce() -> Result<T, TurnBackError>,
    ) -> Result<T, TurnBackError> {
        if rung == Rung::Hook {
            for user in writers {
                self.run_hook(user, &hook.before, hook.limit)?;
            }
        }
        let lives = self.containers.lives(writers.iter().map(|user| &*user.id));
        let _verbs = lives.hold();
        if rung == Rung::Stop {
            for user in writers {
                let row = self.containers.find(&user.id)?;
                match self.containers.stop_locked(&row, None, None) {
                    Ok(()) => stopped.push(user.id.clone()),
                    // It has ended by itself meanwhile.
                    Err(ContainerError::NotModified) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        act()
    }

    fn run_hook(&self, user: &User, command: &str, limit: Duration) -> Result<(), TurnBackError> {
        if command.is_empty() {
            return Ok(());
        }
        let Ended { code, said } = self.containers.run_in(&user.id, command, limit)?;
        let (container, command) = (user.name.clone(), command.to_owned());
        match code {
            Some(0) => Ok(()),
            Some(code) => Err(TurnBackError::Hook {
                container,
                command,
                code,
                said,
            }),
            None => Err(TurnBackError::HookHangs {
                container,
                command,
                seconds: limit.as_secs(),
            }),
        }
    }

    fn owe(&self, writers: &[User], rung: Rung, hook: &Hook) -> Result<(), TurnBackError> {
        let debt = Debt {
            start: rung == Rung::Stop,
            run: if rung == Rung::Hook {
                hook.after.clone()
            } else {
                String::new()
            },
        };
        let text = serde_json::to_string(&debt).expect("plain data serialises");
        Ok(self.store.write(|tx| {
            writers
                .iter()
                .try_for_each(|user| tx.set_meta(&format!("{KEY}{}", user.id), &text))
        })?)
    }

    /// What is owed after the freezer has opened. All of it is tried; the first failure is told.
    fn pay(
        &self,
        writers: &[User],
        rung: Rung,
        hook: &Hook,
        stopped: &[String],
    ) -> Result<(), TurnBackError> {
        let mut first = Ok(());
        for user in writers {
            let paid = match rung {
                Rung::Hook => self.run_hook(user, &hook.after, hook.limit),
                Rung::Stop if stopped.contains(&user.id) => match self.containers.start(&user.id) {
                    Ok(()) | Err(ContainerError::NotModified) => Ok(()),
                    Err(error) => Err(error.into()),
                },
                Rung::None | Rung::Sync | Rung::Freeze | Rung::Stop => Ok(()),
            };
            if first.is_ok() {
                first = paid;
            }
        }
        self.store.write(|tx| {
            writers
                .iter()
                .try_for_each(|user| tx.delete_meta(&format!("{KEY}{}", user.id)))
        })?;
        first
    }
}

/// Makes good what an engine that is gone owed to containers; a sentence for each.
pub(super) fn recover(containers: &Arc<Containers>) -> Result<Vec<String>, TurnBackError> {
    let store = &containers.store;
    let mut sentences = Vec::new();
    for key in store.read(|tx| tx.meta_with_prefix(KEY))? {
        let id = &key[KEY.len()..];
        let debt: Debt = store
            .read(|tx| tx.meta(&key))?
            .and_then(|text| serde_json::from_str(&text).ok())
            .unwrap_or_default();
        if !debt.run.is_empty() {
            sentences.push(match containers.run_in(id, &debt.run, PATIENCE) {
                Ok(Ended { code: Some(0), .. }) => {
                    format!("the command after a snapshot was run in container {id:.12}")
                }
                Ok(Ended {
                    code: Some(code),
                    said,
                }) => format!(
                    "the command after a snapshot ended with {code} in container {id:.12}: {said}"
                ),
                Ok(Ended { code: None, .. }) => format!(
                    "the command after a snapshot did not end in container {id:.12} and was killed"
                ),
                Err(error) => format!(
                    "the command after a snapshot could not be run in container {id:.12}: {error}"
                ),
            });
        }
        if debt.start {
            match containers.start(id) {
                Ok(()) => sentences.push(format!(
                    "container {id:.12} had been stopped for a snapshot and was started again"
                )),
                Err(ContainerError::NotModified | ContainerError::NoSuch(_)) => {}
                Err(error) => sentences.push(format!(
                    "container {id:.12} had been stopped for a snapshot and does not start: {error}"
                )),
            }
        }
        store.write(|tx| tx.delete_meta(&key))?;
    }
    Ok(sentences)
}

/// One hold, for the crate that copies.
struct Still<'a> {
    snapshots: &'a Snapshots,
    volumes: &'a [String],
    rung: Rung,
    freeze: &'a [User],
    frozen: RefCell<Vec<(&'a str, Held)>>,
    going_on: RefCell<Vec<(&'a str, Released)>>,
    time: Cell<Duration>,
}

/// So little is written while containers are frozen, and nobody feels it.
const LITTLE: u64 = 1 << 20;

/// Syncs the filesystem of `path` unless there is little to write. Copies take what is in memory, too: this is for those who are
/// held meanwhile.
fn sync_much(path: &Path) -> io::Result<()> {
    let root = sys::dir::open(path)?;
    match sys::btrfs_unwritten::bytes(root.as_fd())? {
        Some(..=LITTLE) => Ok(()),
        Some(_) | None => {
            rustix::fs::syncfs(root.as_fd())?;
            sys::xfs_log::wait_for_room(root.as_fd())
        }
    }
}

impl Still<'_> {
    fn sync(&self) -> Result<(), TurnBackError> {
        for volume in self.volumes {
            let path = self.snapshots.volumes.get(volume)?.mountpoint;
            sync_much(&path).map_err(|source| ContainerError::Io {
                action: format!("cannot sync {}", path.display()),
                source,
            })?;
        }
        Ok(())
    }

    /// Waits until those who were held go on.
    fn wait(&self) {
        for (container, released) in self.going_on.take() {
            match released.wait() {
                Ok(time) => self.time.set(self.time.get().max(time.unwrap_or_default())),
                Err(error) => tracing::error!(
                    container, %error,
                    "a container may still be frozen after a snapshot: pause it and unpause it"
                ),
            }
        }
    }
}

impl Quiet for Still<'_> {
    fn ready(&self) -> Result<(), Box<dyn Error + Send + Sync>> {
        if self.rung != Rung::None {
            self.sync()?;
        }
        Ok(())
    }

    fn hold(&self) -> Result<(), Box<dyn Error + Send + Sync>> {
        if self.freeze.is_empty() {
            return Ok(());
        }
        for user in self
            .freeze
            .iter()
            .filter(|user| user.status == Status::Running)
        {
            if let Some(held) = self.snapshots.containers.hold(&user.id)? {
                self.frozen.borrow_mut().push((&user.id, held));
            }
        }
        sys::fault::step("snapshot-freeze:frozen");
        Ok(())
    }

    fn is_felt(&self) -> bool {
        self.freeze
            .iter()
            .any(|user| user.status == Status::Running)
    }

    /// What is left to do for the snapshot does not wait for the answers.
    fn release(&self) {
        let released = self.frozen.take().into_iter();
        self.going_on
            .borrow_mut()
            .extend(released.map(|(id, held)| (id, held.release())));
    }
}
