//! The engine's side of shims: starting one, asking it, hearing from it.
//!
//! A container runs exactly as long as somebody holds `shim.lock` in its run directory; a pid proves nothing.

use std::io::Write as _;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use shim_protocol::client::{CallError, answer};
use shim_protocol::frame::{FrameError, encode, receive};
use shim_protocol::{ExitRecord, Notice, Request, Response, RunSpec, StateRecord};

use store::ContainerRow;
use sys::socket::FdWriter;

use super::create::NEVER;
use super::health::Probed;
use super::start::Attached;
use super::{ContainerError, Containers, Status};
use crate::{ErrorKind, Fault as _};

/// A connection on which a shim sends its notices.
#[derive(Debug)]
pub(super) struct Shim {
    pub(super) stream: UnixStream,
    /// 0 for a shim that another engine started: it is no child of ours.
    pub(super) pid: i32,
}

impl Shim {
    /// Waits until the process has ended; it does, for its container has.
    pub(super) fn reap(&self) {
        reap(self.pid);
    }
}

/// A request that a shim has, and whose answer is still to come.
#[derive(Debug)]
pub(super) struct Asked {
    id: String,
    pub(super) stream: UnixStream,
}

impl Asked {
    pub(super) fn answer(&mut self) -> Result<Response, ContainerError> {
        answer(&mut self.stream).map_err(|error| match error {
            CallError::StartFailed(error) => ContainerError::Start {
                message: error.message,
                code: error.code,
            },
            CallError::Refused(reason) => ContainerError::Conflict(reason),
            // The shim left between our connect and its answer.
            CallError::Send(_) | CallError::Receive(_) => {
                ContainerError::NotRunning(self.id.clone())
            }
        })
    }
}

/// Waits until a shim of ours has ended.
pub(super) fn reap(pid: i32) {
    if pid != 0
        && let Err(error) = sys::process::wait(pid)
    {
        tracing::debug!(pid, %error, "shim was reaped by somebody else");
    }
}

/// What Docker records when nobody knows how a container ended.
const EXIT_UNKNOWN: i32 = 137;

impl Containers {
    /// Starts a shim and with it the container. When this returns Ok the container runs and does not need us.
    pub(super) fn spawn_shim(
        self: &Arc<Self>,
        spec: &RunSpec,
        sockets: Vec<OwnedFd>,
        attached: Attached,
    ) -> Result<(StateRecord, Shim), ContainerError> {
        let failed = |what: &str| {
            let action = format!("failed to create task for container: {what}");
            move |source: std::io::Error| ContainerError::Io { action, source }
        };
        sys::durable::create_dir_all(&spec.run_dir, 0o700).map_err(failed("run directory"))?;
        let (ours, theirs) = UnixStream::pair().map_err(failed("socket pair"))?;
        let pid =
            sys::command::spawn_with_control(self.shim_program.path(), &["shim"], theirs.as_fd())
                .map_err(failed("starting the shim"))?;
        drop(theirs);
        let (attach, streams): (Vec<_>, Vec<_>) = attached.into_iter().unzip();
        let request = Request::Start {
            version: shim_protocol::VERSION,
            spec: Box::new(spec.clone()),
            attach,
        };
        let bytes = encode(&request).map_err(|error| {
            ContainerError::Invalid(format!("container configuration: {error}"))
        })?;
        let descriptors: Vec<BorrowedFd<'_>> =
            sockets.iter().chain(&streams).map(OwnedFd::as_fd).collect();
        let sent = FdWriter::new(&ours, &descriptors).write_all(&bytes);
        drop((sockets, streams));
        let mut shim = Shim { stream: ours, pid };
        let answered = match sent {
            Ok(()) => answer(&mut shim.stream),
            // It may have said why it left before it read the request.
            Err(error) => {
                answer(&mut shim.stream).map_err(|_| CallError::Send(FrameError::Io(error)))
            }
        };
        if !matches!(answered, Ok(Response::Started { .. })) {
            shim.reap();
        }
        match answered {
            Ok(Response::Started { state }) => Ok((state, shim)),
            Ok(other) => Err(ContainerError::Shim(format!("unexpected answer {other:?}"))),
            Err(CallError::StartFailed(error)) => Err(ContainerError::Start {
                message: error.message,
                code: error.code,
            }),
            Err(error) => Err(ContainerError::Shim(format!(
                "the shim ended before the container started ({error})"
            ))),
        }
    }

    /// One request, one answer. `NotRunning` when no shim is there.
    pub(super) fn ask(&self, id: &str, request: &Request) -> Result<Response, ContainerError> {
        self.converse(id, request).map(|(_, response)| response)
    }

    /// As [`Containers::ask`], keeping the connection for what follows the answer.
    pub(super) fn converse(
        &self,
        id: &str,
        request: &Request,
    ) -> Result<(UnixStream, Response), ContainerError> {
        let mut asked = self.begin_to_ask(id, request)?;
        let response = asked.answer()?;
        Ok((asked.stream, response))
    }

    /// The first half of [`Containers::ask`]: the shim has the request.
    pub(super) fn begin_to_ask(
        &self,
        id: &str,
        request: &Request,
    ) -> Result<Asked, ContainerError> {
        let not_running = || ContainerError::NotRunning(id.to_owned());
        let mut stream = sys::socket::connect(&self.paths.run(id).join("shim.sock"))
            .map_err(|_| not_running())?;
        shim_protocol::send(&mut stream, request).map_err(|_| not_running())?;
        Ok(Asked {
            id: id.to_owned(),
            stream,
        })
    }

    /// Whether a shim holds the container's lock.
    pub(super) fn shim_lives(&self, id: &str) -> Result<bool, ContainerError> {
        sys::lock::is_locked(self.paths.shim_lock(id)).map_err(|source| ContainerError::Io {
            action: format!("cannot look at the lock of container {id}"),
            source,
        })
    }

    /// Blocks until the shim of an earlier run has cleaned up and let go.
    pub(super) fn wait_for_shim_end(&self, id: &str) -> Result<(), ContainerError> {
        let lock = self.paths.run(id).join("shim.lock");
        sys::lock::wait_unlocked(&lock).map_err(|source| ContainerError::Io {
            action: format!("cannot wait for the shim of container {id}"),
            source,
        })
    }

    /// Hears the shim out in a thread of its own: it sleeps in a read and costs a few pages.
    pub(super) fn hear(self: &Arc<Self>, id: &str, mut shim: Shim) {
        let (containers, id) = (Arc::clone(self), id.to_owned());
        let spawned = thread::Builder::new()
            .name(format!("shim-{}", &id[..12]))
            .stack_size(256 << 10)
            .spawn(move || {
                let result = containers.hear_out(&id, &mut shim.stream);
                if let Err(error) = result {
                    tracing::error!(container = id, %error, "end of a container could not be recorded");
                }
                shim.reap();
            });
        if let Err(error) = spawned {
            tracing::error!(%error, "no thread to hear a shim; the next start of the engine will look");
        }
    }

    fn hear_out(self: &Arc<Self>, id: &str, stream: &mut UnixStream) -> Result<(), ContainerError> {
        loop {
            match receive::<Notice>(stream) {
                Ok(Notice::Exited {
                    exit,
                    restarting: true,
                }) => once_there_is_room(id, || self.restarting(id, &exit))?,
                Ok(Notice::Exited {
                    exit,
                    restarting: false,
                }) => return once_there_is_room(id, || self.ended(id, &exit)),
                Ok(Notice::Restarted { state }) => {
                    once_there_is_room(id, || self.restarted(id, &state))?;
                }
                Ok(Notice::RestartFailed { error, restarting }) => {
                    let exit = ExitRecord {
                        code: error.code,
                        oom_killed: false,
                        finished_at: jiff::Timestamp::now().to_string(),
                        restart_count: 0,
                        error: error.message,
                    };
                    if !restarting {
                        return once_there_is_room(id, || self.ended(id, &exit));
                    }
                    once_there_is_room(id, || self.restarting(id, &exit))?;
                }
                Ok(notice) => {
                    // What is missed in a running container must not keep anybody from hearing of its end.
                    if let Err(error) = self.pass_on(id, notice) {
                        tracing::warn!(container = id, %error, "news of a container are lost");
                    }
                }
                // The shim died: its container died with it.
                Err(_) => return once_there_is_room(id, || self.lost(id)),
            }
        }
    }

    /// News that change nothing in the container's life.
    fn pass_on(&self, id: &str, notice: Notice) -> Result<(), ContainerError> {
        match notice {
            Notice::Oom => self.publish(&self.find(id)?, "oom", &[]),
            Notice::ExecExited { exec, code } => self.exec_ended(&exec, code),
            Notice::Detached { exec: None } => self.publish(&self.find(id)?, "detach", &[]),
            Notice::Detached { exec: Some(exec) } => {
                self.publish(&self.find(id)?, "exec_detach", &[("execID", &exec)]);
            }
            Notice::Probing { exec } => self.probing(id, &exec)?,
            Notice::Probed {
                exec,
                code,
                status,
                failing_streak,
                probe,
            } => self.probed(
                id,
                Probed {
                    exec,
                    code,
                    status,
                    failing_streak,
                    probe,
                },
            )?,
            // Only verbs of ours pause, and they record it; the caller heard of ends.
            _ => {}
        }
        Ok(())
    }

    /// A shim that is gone without telling: what it left behind says how its container ended.
    pub(super) fn lost(self: &Arc<Self>, id: &str) -> Result<(), ContainerError> {
        self.wait_for_shim_end(id)?;
        let row = match self.find(id) {
            Ok(row) => row,
            Err(ContainerError::NoSuch(_)) => return Ok(()),
            Err(error) => return Err(error),
        };
        let exit = self.exit_record(id)?.unwrap_or_else(|| ExitRecord {
            code: EXIT_UNKNOWN,
            oom_killed: false,
            finished_at: jiff::Timestamp::now().to_string(),
            restart_count: row.restart_count,
            error: "the container's shim ended without telling how; exit code unknown".to_owned(),
        });
        if let Err(error) = self.sweep_leftovers(&row) {
            // The exit is told all the same; the next start of the engine tries again.
            tracing::warn!(container = id, %error, "a dead shim left something behind");
        }
        self.ended(id, &exit)
    }

    /// `exit.json`, when the shim came to write it for the run that the row tells of.
    fn exit_record(&self, id: &str) -> Result<Option<ExitRecord>, ContainerError> {
        let path = self.paths.run(id).join("exit.json");
        let unreadable = |source| ContainerError::Io {
            action: format!("cannot read {}", path.display()),
            source,
        };
        match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(|error| unreadable(error.into())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unreadable(error)),
        }
    }

    /// Has a helper remove what a shim that was killed could not: processes, cgroups, run files.
    pub(super) fn sweep_leftovers(&self, row: &ContainerRow) -> Result<(), ContainerError> {
        self.clean_after(&self.files_spec(row, Vec::new())?)
    }

    /// As [`Containers::sweep_leftovers`], for a process of the engine's own as well.
    pub(super) fn clean_after(&self, spec: &RunSpec) -> Result<(), ContainerError> {
        super::clean::after(&self.shim_program, spec)
    }

    /// The row's view of a shim that was found alive.
    pub(super) fn adopt_state(&self, id: &str, state: &StateRecord) -> Result<(), ContainerError> {
        let status = if state.restarting {
            Status::Restarting
        } else if state.paused {
            Status::Paused
        } else {
            Status::Running
        };
        let health = self.adopt_health(id, state.health.as_ref());
        self.change_state(id, |row| {
            status.as_str().clone_into(&mut row.status);
            row.health = health.or(row.health.take());
            row.pid = state.pid;
            row.restart_count = state.restart_count;
            if row.started_at == NEVER || !state.started_at.is_empty() {
                row.started_at.clone_from(&state.started_at);
            }
        })
        .map(drop)
    }
}

/// Records what a shim tells once: while the disk is full it is tried again, for whoever waits for the container.
#[expect(
    clippy::disallowed_methods,
    reason = "nobody tells when a disk has room again"
)]
fn once_there_is_room(
    id: &str,
    record: impl Fn() -> Result<(), ContainerError>,
) -> Result<(), ContainerError> {
    const LONGEST: Duration = Duration::from_secs(30);
    let mut pause = Duration::from_millis(500);
    loop {
        match record() {
            Err(error) if error.kind() == ErrorKind::NoSpace => {
                tracing::error!(container = id, %error, "the disk is too full to record what became of a container");
                thread::sleep(pause);
                pause = (pause * 2).min(LONGEST);
            }
            result => return result,
        }
    }
}
