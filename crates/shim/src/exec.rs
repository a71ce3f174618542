//! Further processes in the running container: start, wait, terminal size, end.
//!
//! The end of an exec is told when its output has been given out. Codes of ended execs are kept for those who ask later,
//! the latest [`KEPT`] of them.

use std::os::fd::AsFd as _;

use shim_protocol::messages::{ExecSpec, Notice, Response};
use shim_protocol::{AttachSpec, StartError};

use crate::connection::Role;
use crate::streams::{self, Wanted};
use crate::supervise::{End, Process, Supervisor, broken};

/// Containers run for ever: the codes of their execs must not pile up.
const KEPT: usize = 1024;

/// Code of an exec that the end of its container took along.
const KILLED: i32 = 137;

impl Supervisor {
    /// Starts an exec for connection `number`, which then carries its streams.
    pub(crate) fn exec(&mut self, number: u32, spec: ExecSpec) {
        if self.exec_process(&spec.exec).is_some() {
            self.refuse(number, "exec is already running");
            return;
        }
        let detach = spec.detach;
        let streams = AttachSpec {
            stdin: spec.stdin,
            stdout: spec.stdout,
            stderr: spec.stderr,
            detach_keys: spec.detach_keys.clone(),
        };
        match self.start_exec(spec) {
            Err(error) => self.answer(number, &Response::StartFailed { error }),
            Ok(process) => {
                let pid = self
                    .processes
                    .get(&process)
                    .map_or(0, |process| process.pid);
                let started = Response::ExecStarted { pid };
                if detach {
                    self.answer(number, &started);
                } else if self.say(number, &started) {
                    self.attach(number, process, streams);
                } else if let Some(process) = self.processes.get_mut(&process) {
                    process.streams.end_input();
                }
            }
        }
    }

    pub(crate) fn start_exec(&mut self, spec: ExecSpec) -> Result<u32, StartError> {
        let not_running = || StartError {
            step: "exec".into(),
            message: "container is not running".into(),
            code: 128,
        };
        let main = self.running().ok_or_else(not_running)?;
        let pid = self.processes.get(&main).ok_or_else(not_running)?.pid;
        let attached = !spec.detach;
        let wanted = Wanted {
            tty: spec.process.tty,
            stdin: attached && spec.stdin,
            stdout: attached && spec.stdout,
            stderr: attached && spec.stderr,
        };
        let (ends, theirs) = streams::prepare(wanted).map_err(|e| broken("stdio", &e))?;
        let running = runtime::exec(&self.spec, pid, &spec.process, spec.privileged, theirs)?;
        let child = running.pidfd.try_clone();
        let number = self
            .adopt(running, ends, Some(spec.exec))
            .map_err(|error| {
                if let Ok(child) = child {
                    // It is reaped by the loop; if it has ended meanwhile, all the better.
                    sys::process::pidfd_kill(child.as_fd(), 9).unwrap_or_default();
                }
                broken("stdio", &error)
            })?;
        if let Some(process) = self.processes.get_mut(&number) {
            process.takes_stdin = wanted.stdin;
        }
        Ok(number)
    }

    /// Answers connection `number` when the exec has ended.
    pub(crate) fn await_exec(&mut self, number: u32, exec: String) {
        let ended = self
            .ended_execs
            .iter()
            .find(|(id, _)| *id == exec)
            .map(|(_, code)| *code);
        if let Some(code) = ended {
            self.answer(number, &Response::ExecExited { code });
        } else if self.exec_process(&exec).is_some() {
            if let Some(connection) = self.connections.get_mut(&number) {
                connection.role = Role::AwaitingExec(exec);
            }
            self.refresh_connection(number);
        } else {
            self.refuse(number, "no such exec");
        }
    }

    pub(crate) fn resize_exec(
        &mut self,
        exec: &str,
        rows: u16,
        columns: u16,
    ) -> Result<(), String> {
        let number = self.exec_process(exec).ok_or("exec is not running")?;
        let process = self.processes.get(&number).ok_or("exec is not running")?;
        process
            .streams
            .resize(rows, columns)
            .map_err(|error| error.to_string())
    }

    /// Tells the end of an exec whose output has been given out.
    pub(crate) fn exec_ended(&mut self, exec: String, process: &Process) {
        if let Some(capture) = &process.capture {
            self.probe_ended(exec, process, capture);
            return;
        }
        let code = process.end.as_ref().map_or(KILLED, |end| end.code);
        if self.ended_execs.len() == KEPT {
            self.ended_execs.pop_front();
        }
        self.ended_execs.push_back((exec.clone(), code));
        let waiting: Vec<u32> = self
            .connections
            .iter()
            .filter(|(_, c)| matches!(&c.role, Role::AwaitingExec(id) if *id == exec))
            .map(|(number, _)| *number)
            .collect();
        for number in waiting {
            self.answer(number, &Response::ExecExited { code });
        }
        self.announce(&Notice::ExecExited { exec, code });
    }

    /// Ends the execs that are left when the container ends.
    pub(crate) fn end_execs(&mut self) {
        let left: Vec<u32> = self.processes.keys().copied().collect();
        for number in left {
            let Some(process) = self.processes.get_mut(&number) else {
                continue;
            };
            process.end.get_or_insert_with(|| End::unknown(KILLED));
            self.drain(number);
            let Some(process) = self.processes.remove(&number) else {
                continue;
            };
            for client in process.clients.clone() {
                self.release(client);
            }
            if let Some(exec) = process.exec.clone() {
                self.exec_ended(exec, &process);
            }
        }
    }

    fn exec_process(&self, exec: &str) -> Option<u32> {
        self.processes
            .iter()
            .find(|(_, process)| process.exec.as_deref() == Some(exec))
            .map(|(number, _)| *number)
    }
}
