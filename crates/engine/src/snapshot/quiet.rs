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

use super::create::Plan;
use super::hooks::{Hook, PATIENCE};
use super::{Snapshots, TurnBackError};
use crate::containers::hold::{Ended, Held, Released, User};
use crate::containers::{ContainerError, Containers};
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
    /// Calls `act` on a rung of the ladder, and again if somebody wrote meanwhile who could not be held.
    pub(crate) fn on_rung<T>(
        &self,
        volumes: &[String],
        plan: &Plan,
        mut act: impl FnMut(&dyn Quiet) -> Result<T, volumes::SnapshotError>,
    ) -> Result<Done<T>, TurnBackError> {
        let Plan {
            rung,
            hook,
            writers,
            freezes,
        } = plan;
        let rung = *rung;
        let still = Still {
            snapshots: self,
            volumes,
            rung,
            freezes: *freezes,
            writers: RefCell::new(if *freezes {
                writers.clone()
            } else {
                Vec::new()
            }),
            looked: Cell::default(),
            frozen: RefCell::default(),
            between_runs: RefCell::default(),
            going_on: RefCell::default(),
            time: Cell::default(),
        };
        let mut act = || {
            let mut tries = TRIES;
            loop {
                let made = act(&still);
                still.wait();
                tries -= 1;
                match made {
                    Err(volumes::SnapshotError::Quiet(error)) => match error.downcast::<Ran>() {
                        Ok(_) if tries > 0 => {}
                        Ok(ran) => return Err(TurnBackError::NeverStill(ran.0)),
                        Err(error) => return Err(volumes::SnapshotError::Quiet(error).into()),
                    },
                    other => return Ok(other?),
                }
            }
        };
        if matches!(rung, Rung::None | Rung::Sync) || writers.is_empty() {
            return Ok(Done {
                made: act()?,
                frozen: still.time.get(),
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
        let made = self.prepared(volumes, plan, &mut stopped, act);
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
        volumes: &[String],
        plan: &Plan,
        stopped: &mut Vec<String>,
        act: impl FnOnce() -> Result<T, TurnBackError>,
    ) -> Result<T, TurnBackError> {
        if plan.rung == Rung::Hook {
            self.run_before(volumes, plan)?;
        }
        let lives = self
            .containers
            .lives(plan.writers.iter().map(|user| &*user.id));
        let _verbs = lives.hold();
        if plan.rung == Rung::Stop {
            for user in &plan.writers {
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

    /// Ready-made commands where their programs are, then what was said for all.
    fn run_before(&self, volumes: &[String], plan: &Plan) -> Result<(), TurnBackError> {
        let hook = &plan.hook;
        let running = || plan.writers.iter().filter(|user| user.runs());
        for recipe in &hook.recipes {
            let mut asked = 0;
            for user in running() {
                let fits = match &recipe.container {
                    Some(id) => *id == user.id,
                    None => self.succeeds(user, &recipe.probe(), hook.limit),
                };
                if fits {
                    asked += 1;
                    self.run_hook(user, recipe.command, hook.limit)?;
                }
            }
            if asked == 0 {
                return Err(TurnBackError::NoProgram {
                    recipe: recipe.name,
                    volume: volumes.join(", "),
                    programs: recipe.programs,
                });
            }
        }
        running().try_for_each(|user| self.run_hook(user, &hook.before, hook.limit))
    }

    /// Whether a command does; one that cannot be run, for want of a shell, does not.
    fn succeeds(&self, user: &User, command: &str, limit: Duration) -> bool {
        let ended = self.containers.run_in(&user.id, command, limit);
        matches!(ended, Ok(Ended { code: Some(0), .. }))
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
                .filter(|user| rung == Rung::Stop || user.runs())
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
                Rung::Hook if user.runs() => self.run_hook(user, &hook.after, hook.limit),
                Rung::Stop if stopped.contains(&user.id) => match self.containers.start(&user.id) {
                    Ok(()) | Err(ContainerError::NotModified) => Ok(()),
                    Err(error) => Err(error.into()),
                },
                Rung::None | Rung::Sync | Rung::Freeze | Rung::Hook | Rung::Stop => Ok(()),
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
    freezes: bool,
    /// Who is frozen.
    writers: RefCell<Vec<User>>,
    looked: Cell<bool>,
    frozen: RefCell<Vec<(String, Held)>>,
    /// Who cannot be frozen, for it waits to be started again, and which run that will be.
    between_runs: RefCell<Vec<(User, (u32, bool))>>,
    going_on: RefCell<Vec<(String, Released)>>,
    time: Cell<Duration>,
}

/// A container that waited to be started again ran while volumes were copied.
#[derive(Debug, thiserror::Error)]
#[error("container {0} began to run while volumes were copied")]
struct Ran(String);

/// How often volumes are copied before such a container is too much.
const TRIES: u32 = 3;
/// How long containers are waited for that are being started.
const STARTS: Duration = Duration::from_secs(20);

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

    /// Looks for containers that have begun to write since the plan was made. Whoever copies holds locks without which no other
    /// one starts; who has passed those is waited for.
    fn look_again(&self) -> Result<(), TurnBackError> {
        let Snapshots { volumes, .. } = self.snapshots;
        if !volumes.wait_for_starts(self.volumes, STARTS) {
            return Err(TurnBackError::Starting(self.volumes.join(", ")));
        }
        self.writers.replace(self.snapshots.writers(self.volumes)?);
        self.looked.set(true);
        Ok(())
    }

    /// Freezes a container, or notes that there is nothing to freeze until its shim starts it again.
    fn hold_one(&self, user: &User) -> Result<(), TurnBackError> {
        let containers = &self.snapshots.containers;
        for _ in 0..TRIES {
            if let Some(held) = containers.hold(&user.id)? {
                self.frozen.borrow_mut().push((user.id.clone(), held));
                return Ok(());
            }
            match containers.which_run(&user.id)? {
                Some(run @ (_, true)) => {
                    self.between_runs.borrow_mut().push((user.clone(), run));
                    return Ok(());
                }
                // It has been started again in between.
                Some((_, false)) => {}
                None => return Ok(()),
            }
        }
        Err(TurnBackError::NeverStill(user.name.clone()))
    }

    /// Waits until those who were held go on.
    fn wait(&self) {
        for (container, released) in self.going_on.take() {
            let container = container.as_str();
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
        if !self.freezes {
            return Ok(());
        }
        self.look_again()?;
        let writers = self.writers.borrow();
        if writers.is_empty() {
            return Ok(());
        }
        self.between_runs.take();
        writers.iter().try_for_each(|user| self.hold_one(user))?;
        sys::fault::step("snapshot-freeze:frozen");
        Ok(())
    }

    fn stood_still(&self) -> Result<(), Box<dyn Error + Send + Sync>> {
        for (user, run) in self.between_runs.borrow().iter() {
            if self.snapshots.containers.which_run(&user.id)? != Some(*run) {
                return Err(Box::new(Ran(user.name.clone())));
            }
        }
        Ok(())
    }

    fn is_felt(&self) -> bool {
        if self.freezes
            && !self.looked.get()
            && let Err(error) = self.look_again()
        {
            // The hold will tell.
            tracing::debug!(%error, "who writes is not known");
        }
        !self.writers.borrow().is_empty()
    }

    /// What is left to do for the snapshot does not wait for the answers.
    fn release(&self) {
        let released = self.frozen.take().into_iter();
        self.going_on
            .borrow_mut()
            .extend(released.map(|(id, held)| (id, held.release())));
    }
}
