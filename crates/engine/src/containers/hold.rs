//! What a snapshot needs of containers: who uses a volume, and that they hold still for a moment.

use std::io::Read as _;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use shim_protocol::{Request, Response};
use store::ContainerRow;

use super::exec::{ExecRequest, ExecStart};
use super::find::Columns as _;
use super::shim::Asked;
use super::{ContainerError, Containers, Status};

/// How much longer the streams of a command are read than it may live.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// How a command in a container came to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ended {
    /// `None`: it was killed, for its time was over.
    pub(crate) code: Option<i32>,
    /// The end of what it said.
    pub(crate) said: String,
}

/// A container that has a volume.
#[derive(Debug, Clone)]
pub(crate) struct User {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) status: Status,
    /// It may write to it.
    pub(crate) writes: bool,
    /// It goes when it stops.
    pub(crate) auto_remove: bool,
}

impl User {
    pub(crate) fn runs(&self) -> bool {
        self.status == Status::Running
    }
}

/// A container that stands still. Its shim lets it go on when this is dropped, or this process ends.
#[derive(Debug)]
pub(crate) struct Held(Asked);

impl Held {
    /// Lets it go on; waits for nothing.
    pub(crate) fn release(self) -> Released {
        // A shim that is gone has ended its container.
        drop(self.0.stream.shutdown(Shutdown::Write));
        Released(self.0)
    }
}

/// A container that is going on.
#[derive(Debug)]
pub(crate) struct Released(Asked);

impl Released {
    /// Waits until its processes run again. For how long they stood still; `None` when it has ended meanwhile.
    pub(crate) fn wait(mut self) -> Result<Option<Duration>, ContainerError> {
        match self.0.answer() {
            Ok(Response::Thawed { microseconds }) => Ok(Some(Duration::from_micros(microseconds))),
            Ok(other) => Err(ContainerError::Shim(format!("unexpected answer {other:?}"))),
            Err(ContainerError::NotRunning(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Containers {
    /// Containers that have the volume's present mounted or will at their start, by id.
    pub(crate) fn users_of(&self, volume: &str) -> Result<Vec<User>, ContainerError> {
        let mut users = Vec::new();
        for id in self.volumes.holders(volume)? {
            let row = self
                .store
                .read(|tx| Ok::<_, ContainerError>(tx.container(&id)?))?;
            let Some(row) = row else {
                continue;
            };
            if let Some(user) = self.user(&row, volume)? {
                users.push(user);
            }
        }
        Ok(users)
    }

    fn user(&self, row: &ContainerRow, volume: &str) -> Result<Option<User>, ContainerError> {
        let mounts = self.stored_mounts(row)?;
        let of_volumes: Vec<_> = mounts
            .iter()
            .filter(|mount| mount.point.kind == "volume")
            .collect();
        let named: Vec<_> = of_volumes
            .iter()
            .filter(|mount| mount.snapshot.is_none() && mount.point.name == volume)
            .collect();
        let reads_snapshot = of_volumes.iter().any(|mount| {
            mount.snapshot.is_some()
                && mount
                    .point
                    .name
                    .split_once('@')
                    .is_some_and(|(name, _)| name == volume)
        });
        if named.is_empty() && reads_snapshot {
            return Ok(None);
        }
        Ok(Some(User {
            id: row.id.clone(),
            name: row.name.clone(),
            status: row.status()?,
            // A lease without a mount of this name: the volume had another one when the container was created.
            writes: named.is_empty() || named.iter().any(|mount| mount.point.rw),
            auto_remove: row.auto_remove,
        }))
    }

    /// Freezes a running container, whose state stays what it is, for as long as the result lives; `None` when there is nothing to
    /// freeze.
    pub(crate) fn hold(&self, id: &str) -> Result<Option<Held>, ContainerError> {
        let held = self.begin_to_ask(id, &Request::Hold).and_then(|mut asked| {
            asked.answer()?;
            Ok(Held(asked))
        });
        match held {
            Ok(held) => Ok(Some(held)),
            Err(ContainerError::NotRunning(_)) => Ok(None),
            // It has ended meanwhile; or its shim is older than this request.
            Err(ContainerError::Conflict(_)) if self.stands_still(id)? => Ok(None),
            Err(ContainerError::Conflict(reason)) => Err(ContainerError::Conflict(format!(
                "container {id:.12} cannot be frozen for a moment: {reason}"
            ))),
            Err(error) => Err(error),
        }
    }

    fn stands_still(&self, id: &str) -> Result<bool, ContainerError> {
        match self.ask(id, &Request::Watch) {
            Ok(Response::State { state }) => Ok(state.pid == 0 || state.paused),
            Ok(other) => Err(ContainerError::Shim(format!("unexpected answer {other:?}"))),
            Err(ContainerError::NotRunning(_)) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// How often the shim of a container has started it again, and whether it waits to do so: the same twice means that it has not
    /// run in between if it waits. `None` when nothing runs and nothing will.
    pub(crate) fn which_run(&self, id: &str) -> Result<Option<(u32, bool)>, ContainerError> {
        match self.ask(id, &Request::Watch) {
            Ok(Response::State { state }) => {
                let runs = !state.paused && (state.pid != 0 || state.restarting);
                Ok(runs.then_some((state.restart_count, state.restarting)))
            }
            Ok(other) => Err(ContainerError::Shim(format!("unexpected answer {other:?}"))),
            Err(ContainerError::NotRunning(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Runs a shell command in a running container and waits for its end, or kills it and its children when `limit` is
    /// over.
    pub(crate) fn run_in(
        &self,
        id: &str,
        script: &str,
        limit: Duration,
    ) -> Result<Ended, ContainerError> {
        let request = ExecRequest {
            cmd: vec!["sh".to_owned(), "-c".to_owned(), script.to_owned()],
            stdout: true,
            stderr: true,
            ..ExecRequest::default()
        };
        let exec = self.exec_create(id, request)?;
        let stream = self.exec_start(&exec, ExecStart::default())?;
        let killed = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let (running, ended) = channel::<()>();
            let (killed, exec) = (&killed, &exec);
            scope.spawn(move || {
                if ended.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
                    killed.store(true, Ordering::SeqCst);
                    self.kill_exec(exec);
                }
            });
            let said = match stream {
                Some(stream) => {
                    read_out(UnixStream::from(stream), limit + LAST_WORDS).map_err(|source| {
                        ContainerError::Io {
                            action: format!(
                                "the command {script:?} in container {id} gives no answer"
                            ),
                            source,
                        }
                    })
                }
                None => Ok(String::new()),
            };
            let waited = self.ask(id, &Request::ExecWait { exec: exec.clone() });
            drop(running);
            match waited? {
                Response::ExecExited { code } => Ok(Ended {
                    code: (!killed.load(Ordering::SeqCst)).then_some(code),
                    said: said?,
                }),
                other => Err(ContainerError::Shim(format!("unexpected answer {other:?}"))),
            }
        })
    }

    /// Kills a command and what it started, as far as that is in its process group.
    fn kill_exec(&self, exec: &str) {
        let Ok(detail) = self.exec_inspect(exec) else {
            return;
        };
        if let Some(group) = Pid::from_raw(detail.pid).filter(|_| detail.running) {
            // It may have ended by itself.
            rustix::process::kill_process_group(group, Signal::KILL).ok();
        }
    }
}

/// The text of both streams, which come in frames of eight bytes of head and their contents.
fn read_out(mut stream: UnixStream, limit: Duration) -> std::io::Result<String> {
    stream.set_read_timeout(Some(limit))?;
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        // Something that the command started, and that is not in its group, still has the streams.
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => 0,
        other => other?,
    };
    let mut text = Vec::new();
    let mut rest = bytes.as_slice();
    while let Some((head, tail)) = rest.split_first_chunk::<8>() {
        let length = u32::from_be_bytes([head[4], head[5], head[6], head[7]]);
        let length = usize::try_from(length)
            .unwrap_or(usize::MAX)
            .min(tail.len());
        text.extend_from_slice(&tail[..length]);
        rest = &tail[length..];
    }
    Ok(String::from_utf8_lossy(&text).trim().to_owned())
}
