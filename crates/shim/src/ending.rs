//! The end of the container: exit record, restart, and leaving without a trace.
//!
//! Steps of an end for good, each done before the next: 1. all output is in the log and given to the clients (see
//! [`Supervisor::settle`]); 2. the host's ports and the container's names are free; 3. `exit.json` is written; 4. watchers are told; 5. the
//! runtime cleans up, which may take its time; 6. the socket is removed and the lock given up, so that an engine may
//! remove the container's directories; 7. if nobody was told, an engine is woken; 8. clients that have not taken all of
//! the output yet are served until they have.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use shim_protocol::messages::Notice;
use shim_protocol::{ExitRecord, StartError};

use crate::connection::Role;
use crate::records;
use crate::supervise::{End, Process, Supervisor};

/// How long an engine that has just started the container may take to come back and watch it.
const LATECOMERS: Duration = Duration::from_millis(300);

/// How long watchers may take to read the last notice.
const DELIVERY: Duration = Duration::from_secs(2);

impl Supervisor {
    /// pid 1 has ended and its output is given out.
    pub(crate) fn container_ended(&mut self, process: &Process) {
        self.main = None;
        self.close_dns();
        self.log.finish();
        if let Some(health) = &mut self.health {
            health.end();
        }
        self.end_execs();
        let end = process.end.clone().unwrap_or_else(|| End::unknown(255));
        let restart =
            self.restarts
                .next(&self.spec.restart, end.code, end.ran, self.stop_requested);
        let exit = ExitRecord {
            code: end.code,
            oom_killed: end.oom_killed,
            finished_at: end.at.to_string(),
            restart_count: self.restarts.count(),
            error: String::new(),
        };
        let Some(delay) = restart else {
            self.conclude(exit);
            return;
        };
        self.between_runs(&exit, true);
        self.announce(&Notice::Exited {
            exit,
            restarting: true,
        });
        // A restart begins from nothing; what cannot be removed makes the restart fail, with the reason.
        runtime::clean(&self.spec).unwrap_or_default();
        self.restart_at = Some(Instant::now() + delay);
    }

    /// Starts the container again when its time has come.
    pub(crate) fn restart(&mut self) {
        match self.launch() {
            Ok(()) => {
                self.announce(&Notice::Restarted {
                    state: self.state.clone(),
                });
            }
            Err(error) => {
                let exit = ExitRecord {
                    code: error.code,
                    oom_killed: false,
                    finished_at: Timestamp::now().to_string(),
                    restart_count: self.restarts.count(),
                    error: error.message.clone(),
                };
                // As in Docker, a restart that fails is the last one.
                self.record_exit(&exit);
                self.announce(&Notice::RestartFailed {
                    error,
                    restarting: false,
                });
                self.conclude(exit);
            }
        }
    }

    /// A stop came while the container waited for its restart.
    pub(crate) fn conclude_after_backoff(&mut self) {
        if let Some(exit) = self.state.last_exit.clone() {
            self.conclude(exit);
        }
    }

    /// Records and tells the end for good.
    fn conclude(&mut self, exit: ExitRecord) {
        self.ports.close();
        self.forget_names(|_| true);
        self.record_exit(&exit);
        self.announce(&Notice::Exited {
            exit: exit.clone(),
            restarting: false,
        });
        self.over = Some(exit);
    }

    fn record_exit(&mut self, exit: &ExitRecord) {
        // A full run directory must not keep the end from those who listen.
        records::write_exit(&self.spec.run_dir, exit).unwrap_or_default();
        self.between_runs(exit, false);
    }

    fn between_runs(&mut self, exit: &ExitRecord, restarting: bool) {
        self.state.pid = 0;
        self.state.pid_start = 0;
        self.state.paused = false;
        self.state.restarting = restarting;
        self.state.restart_count = self.restarts.count();
        self.state.last_exit = Some(exit.clone());
    }

    /// Steps 4 to 8.
    pub(crate) fn wind_down(mut self) {
        let delivery = Instant::now() + DELIVERY;
        while self.watchers().any(|waiting| waiting) && Instant::now() < delivery {
            self.turn(Some(delivery));
        }
        let watched = self.watchers().next().is_some();
        self.told |= watched;
        // What cannot be removed now is found by the engine when it removes the container.
        runtime::clean(&self.spec).unwrap_or_default();
        let latest = Instant::now() + LATECOMERS;
        while !self.told && Instant::now() < latest {
            self.turn(Some(latest));
        }
        self.listener = None;
        // The run directory may be gone already; then so is the socket.
        records::remove(&self.spec.run_dir, records::SOCKET).unwrap_or_default();
        self.lock = None;
        if !self.told {
            wake(&self.spec.wake);
        }
        self.connections
            .retain(|_, connection| matches!(connection.role, Role::Leaving));
        while !self.connections.is_empty() {
            self.turn(None);
        }
    }

    /// For each watcher, whether something waits for it.
    fn watchers(&self) -> impl Iterator<Item = bool> {
        self.connections
            .values()
            .filter(|connection| matches!(connection.role, Role::Watching))
            .map(|connection| !connection.outbound.is_empty())
    }

    /// The first start failed: removes what was made for it.
    pub(crate) fn abandon(mut self) {
        self.ports.close();
        self.close_dns();
        self.forget_names(|_| true);
        self.listener = None;
        for name in [records::SOCKET, records::EXIT] {
            // The engine removes the whole directory; this is tidiness.
            records::remove(&self.spec.run_dir, name).unwrap_or_default();
        }
        runtime::clean(&self.spec).unwrap_or_default();
    }

    /// Sends the outcome of the start on the start connection.
    pub(crate) fn tell_start(&mut self, number: u32, outcome: Result<(), StartError>) -> bool {
        use shim_protocol::messages::Response;
        match outcome {
            Ok(()) => {
                let state = self.state.clone();
                if self.say(number, &Response::Started { state })
                    && let Some(connection) = self.connections.get_mut(&number)
                {
                    connection.role = Role::Watching;
                    self.refresh_connection(number);
                }
                true
            }
            Err(error) => {
                self.say(number, &Response::StartFailed { error });
                false
            }
        }
    }
}

/// Starts an engine that finds the exit record. It outlives the shim and has nothing of it.
#[expect(
    clippy::disallowed_methods,
    reason = "nobody waits for this program, which sys::command would"
)]
fn wake(command: &[String]) {
    let Some((program, arguments)) = command.split_first() else {
        return;
    };
    // If no engine can be started, the next one to be started by hand finds the record.
    drop(
        Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn(),
    );
}
