//! Carries out what clients of `shim.sock` ask for.

use std::io;
use std::os::fd::AsFd as _;
use std::time::Instant;

use shim_protocol::messages::{Notice, Request, Response};
use shim_protocol::spec::{Resources, RestartPolicy};
use shim_protocol::{AttachSpec, StateRecord, frame};

use crate::connection::Role;
use crate::health::Monitor;
use crate::supervise::Supervisor;

const NOT_RUNNING: &str = "container is not running";

impl Supervisor {
    /// Carries out the request of connection `number` once it has arrived completely.
    pub(crate) fn consider(&mut self, number: u32) {
        let Some(connection) = self.connections.get_mut(&number) else {
            return;
        };
        match frame::decode::<Request>(&connection.inbound) {
            Ok(None) => {}
            Ok(Some((request, length))) => {
                connection.inbound.drain(..length);
                self.carry_out(number, request);
            }
            Err(error) => {
                let mut reason = error.to_string();
                if let Some(source) = std::error::Error::source(&error) {
                    reason = format!("{reason}: {source}");
                }
                self.answer(number, &Response::Refused { reason });
            }
        }
    }

    fn carry_out(&mut self, number: u32, request: Request) {
        let result = match request {
            Request::Start { .. } => Err("this shim has its container".to_owned()),
            Request::Watch => {
                self.watch(number);
                return;
            }
            Request::Attach {
                stdin,
                stdout,
                stderr,
                detach_keys,
            } => {
                let Some(main) = self.running() else {
                    self.refuse(number, NOT_RUNNING);
                    return;
                };
                if self.say(number, &Response::Ok) {
                    let streams = AttachSpec {
                        stdin,
                        stdout,
                        stderr,
                        detach_keys,
                    };
                    self.attach(number, main, streams);
                }
                return;
            }
            Request::Exec { spec } => {
                self.exec(number, *spec);
                return;
            }
            Request::ExecWait { exec } => {
                self.await_exec(number, exec);
                return;
            }
            Request::Kill { signal, stop } => self.kill(signal, stop),
            Request::KillAll { signal } => {
                self.while_running(|shim| runtime::kill_all(&shim.spec, signal))
            }
            Request::Pause { unwell } => self.pause(true, unwell),
            Request::Unpause => self.pause(false, false),
            Request::Hold => match self.hold(number) {
                Ok(()) => {
                    self.say(number, &Response::Ok);
                    return;
                }
                refused => refused,
            },
            Request::Resize { rows, columns } => self
                .running()
                .ok_or(NOT_RUNNING.to_owned())
                .and_then(|main| {
                    let process = self.processes.get(&main).ok_or(NOT_RUNNING.to_owned())?;
                    process
                        .streams
                        .resize(rows, columns)
                        .map_err(|error| error.to_string())
                }),
            Request::ExecResize {
                exec,
                rows,
                columns,
            } => self.resize_exec(&exec, rows, columns),
            Request::Update { resources, restart } => self.update(*resources, restart),
            Request::ReopenLog => self.log.reopen().map_err(|error| error.to_string()),
            Request::Mount { mount, keep } => self.mount(*mount, keep),
            Request::Unmount { target, lazy } => self.unmount(&target, lazy),
            Request::Network { network } => self.change_network(*network),
        };
        match result {
            Ok(()) => self.answer(number, &Response::Ok),
            Err(reason) => self.refuse(number, &reason),
        }
    }

    /// The process that is pid 1, when it runs.
    pub(crate) fn running(&self) -> Option<u32> {
        self.main
            .filter(|main| self.processes.get(main).is_some_and(|p| p.end.is_none()))
    }

    fn while_running(&mut self, act: impl FnOnce(&Self) -> io::Result<()>) -> Result<(), String> {
        if self.running().is_none() {
            return Err(NOT_RUNNING.to_owned());
        }
        act(self).map_err(|error| error.to_string())
    }

    fn watch(&mut self, number: u32) {
        let mut state: StateRecord = self.state.clone();
        state.health = self.health.as_ref().map(Monitor::record);
        if !self.say(number, &Response::State { state }) {
            return;
        }
        if let Some(connection) = self.connections.get_mut(&number) {
            connection.role = Role::Watching;
        }
        if let Some(exit) = self.over.clone() {
            // Late, but it must not miss the end.
            if self.say(
                number,
                &Notice::Exited {
                    exit,
                    restarting: false,
                },
            ) {
                self.told = true;
            }
        }
        self.refresh_connection(number);
    }

    fn kill(&mut self, signal: i32, stop: bool) -> Result<(), String> {
        let Some(main) = self.running() else {
            // A container that waits for its restart is stopped by not restarting it.
            if stop && self.restart_at.take().is_some() {
                self.stop_requested = true;
                self.conclude_after_backoff();
                return Ok(());
            }
            return Err(NOT_RUNNING.to_owned());
        };
        self.stop_requested |= stop;
        let process = self.processes.get(&main).ok_or(NOT_RUNNING.to_owned())?;
        sys::process::pidfd_kill(process.pidfd.as_fd(), signal)
            .map_err(|error| error.to_string())?;
        // A frozen process does not even die.
        if stop || signal == 9 {
            if self.state.paused {
                self.pause(false, false)?;
            }
            self.let_go()?;
        }
        Ok(())
    }

    fn pause(&mut self, paused: bool, unwell: bool) -> Result<(), String> {
        if paused && self.held.is_some() {
            return Err("container is held for a snapshot".to_owned());
        }
        if self.state.paused == paused {
            return Err(format!(
                "container is {}paused",
                if paused { "already " } else { "not " }
            ));
        }
        if paused {
            self.freeze(unwell)?;
        } else if self.running().is_some() {
            self.thaw()?;
        } else {
            return Err(NOT_RUNNING.to_owned());
        }
        self.state.paused = paused;
        self.announce(if paused {
            &Notice::Paused
        } else {
            &Notice::Unpaused
        });
        Ok(())
    }

    /// Stops the processes, and the clock of their health check.
    pub(crate) fn freeze(&mut self, unwell: bool) -> Result<(), String> {
        self.while_running(|shim| runtime::pause(&shim.spec))?;
        if let Some(health) = &mut self.health {
            health.freeze(Instant::now(), unwell);
        }
        Ok(())
    }

    pub(crate) fn thaw(&mut self) -> Result<(), String> {
        runtime::unpause(&self.spec).map_err(|error| error.to_string())?;
        if let Some(health) = &mut self.health {
            health.thaw(Instant::now());
        }
        Ok(())
    }

    fn update(
        &mut self,
        resources: Resources,
        restart: Option<RestartPolicy>,
    ) -> Result<(), String> {
        if self.running().is_some() {
            runtime::update(&self.spec, &resources).map_err(|error| error.to_string())?;
        }
        self.spec.resources = resources;
        if let Some(policy) = restart {
            self.spec.restart = policy;
        }
        Ok(())
    }

    pub(crate) fn refuse(&mut self, number: u32, reason: &str) {
        self.answer(
            number,
            &Response::Refused {
                reason: reason.to_owned(),
            },
        );
    }

    /// Sends the last message of a connection.
    pub(crate) fn answer(&mut self, number: u32, response: &Response) {
        if self.say(number, response) {
            self.release(number);
        }
    }

    /// Sends a message; a connection that does not take it is closed. True when it goes on.
    pub(crate) fn say(&mut self, number: u32, message: &impl serde::Serialize) -> bool {
        let Some(connection) = self.connections.get_mut(&number) else {
            return false;
        };
        if connection.tell(message).is_err() {
            self.lose(number);
            return false;
        }
        true
    }
}
