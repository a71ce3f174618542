//! `exec`: another process in a running container.
//!
//! Execs live in memory only: a new engine knows nothing of those that an earlier one started, as Docker's.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::{MutexGuard, PoisonError};

use shim_protocol::spec::Process;
use shim_protocol::{ExecSpec, Request, Response};
use store::ContainerRow;

use super::attach::detach_keys;
use super::find::Columns as _;
use super::spec::override_env;
use super::{ContainerError, Containers, Status};

#[derive(Debug, Clone, Default)]
pub struct ExecRequest {
    pub cmd: Vec<String>,
    pub env: Vec<String>,
    pub user: String,
    pub working_dir: String,
    pub tty: bool,
    pub privileged: bool,
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
    pub detach_keys: Option<String>,
}

#[derive(Debug, Clone, Copy, Default)]
pub struct ExecStart {
    pub detach: bool,
    pub tty: bool,
    /// Rows, columns.
    pub console_size: Option<(u16, u16)>,
}

/// A created exec.
#[derive(Debug, Clone)]
pub(crate) struct Exec {
    container: String,
    request: ExecRequest,
    pid: i32,
    running: bool,
    exit_code: Option<i32>,
    started: bool,
}

#[derive(Debug, Clone)]
pub struct ExecDetail {
    pub id: String,
    pub container: String,
    pub request: ExecRequest,
    pub pid: i32,
    pub running: bool,
    pub exit_code: Option<i32>,
}

impl Containers {
    /// The exec's id.
    pub fn exec_create(
        &self,
        reference: &str,
        request: ExecRequest,
    ) -> Result<String, ContainerError> {
        let row = self.find(reference)?;
        must_run(&row)?;
        if request.cmd.is_empty() {
            return Err(ContainerError::Invalid(
                "No exec command specified".to_owned(),
            ));
        }
        detach_keys(request.detach_keys.as_deref())?;
        let id = store::ContainerId::random().to_string();
        self.publish(
            &row,
            &format!("exec_create: {}", event_words(&request.cmd)),
            &[("execID", &id)],
        );
        let exec = Exec {
            container: row.id,
            request,
            pid: 0,
            running: false,
            exit_code: None,
            started: false,
        };
        self.execs().insert(id.clone(), exec);
        Ok(id)
    }

    /// The streams (see [`Containers::attach`]) unless detached. Returns when the process has started.
    pub fn exec_start(
        &self,
        exec: &str,
        start: ExecStart,
    ) -> Result<Option<OwnedFd>, ContainerError> {
        let Exec {
            container, request, ..
        } = {
            let mut execs = self.execs();
            let known = execs
                .get_mut(exec)
                .ok_or_else(|| ContainerError::NoSuchExec(exec.to_owned()))?;
            if std::mem::replace(&mut known.started, true) {
                return Err(ContainerError::Conflict(format!(
                    "exec command {exec} is already running"
                )));
            }
            // The process may be over before the shim's answer is read here.
            known.running = true;
            known.clone()
        };
        let started = self.exec_start_in(&container, exec, &request, start);
        if let Err(error) = &started {
            let code = match error {
                ContainerError::Start { code, .. } => *code,
                _ => 126,
            };
            if let Some(known) = self.execs().get_mut(exec) {
                known.running = false;
                known.exit_code = Some(code);
            }
        }
        started
    }

    fn exec_start_in(
        &self,
        container: &str,
        exec: &str,
        request: &ExecRequest,
        start: ExecStart,
    ) -> Result<Option<OwnedFd>, ContainerError> {
        let row = self.find(container)?;
        must_run(&row)?;
        let spec = ExecSpec {
            exec: exec.to_owned(),
            process: self.exec_process(&row, request, start)?,
            privileged: request.privileged,
            stdin: request.stdin && !start.detach,
            stdout: request.stdout && !start.detach,
            stderr: request.stderr && !start.detach,
            detach: start.detach,
            detach_keys: Some(detach_keys(request.detach_keys.as_deref())?),
        };
        // As in Docker before it starts: its end may come before the shim's answer is read here.
        self.publish(
            &row,
            &format!("exec_start: {}", event_words(&request.cmd)),
            &[("execID", exec)],
        );
        let (stream, response) = self.converse(
            &row.id,
            &Request::Exec {
                spec: Box::new(spec),
            },
        )?;
        let Response::ExecStarted { pid } = response else {
            return Err(ContainerError::Shim(format!(
                "unexpected answer {response:?}"
            )));
        };
        if let Some(known) = self.execs().get_mut(exec) {
            known.pid = pid;
        }
        Ok((!start.detach).then(|| stream.into()))
    }

    fn exec_process(
        &self,
        row: &ContainerRow,
        request: &ExecRequest,
        start: ExecStart,
    ) -> Result<Process, ContainerError> {
        let mut config = row.config()?;
        let mut host = row.host_config()?;
        host.privileged |= request.privileged;
        config.tty = request.tty;
        let security = super::spec::security(&host)?;
        let user = if request.user.is_empty() {
            config.user.clone()
        } else {
            request.user.clone()
        };
        let cwd = [&request.working_dir, &config.working_dir]
            .into_iter()
            .find(|directory| !directory.is_empty())
            .map_or_else(|| "/".to_owned(), Clone::clone);
        Ok(Process {
            args: request.cmd.clone(),
            env: override_env(super::spec::environment(&config, Vec::new()), &request.env),
            cwd,
            user,
            additional_groups: host.group_add.clone().unwrap_or_default(),
            tty: request.tty,
            console_size: start.console_size,
            capabilities: super::spec::capabilities(&host)?,
            no_new_privileges: security.no_new_privileges,
            seccomp: security.seccomp,
            rlimits: super::spec::rlimits(&host)?,
            apparmor_profile: security.apparmor_profile,
        })
    }

    /// Clients ask right after the streams have ended, which may be before the shim's notice of the end has come in.
    fn settle(&self, exec: &str) {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        use rustix::process::{Pid, PidfdFlags, pidfd_open};
        const MOMENT: Timespec = Timespec {
            tv_sec: 0,
            tv_nsec: 20_000_000,
        };
        let Some((container, pid)) = self
            .execs()
            .get(exec)
            .filter(|known| known.running)
            .and_then(|known| Some((known.container.clone(), Pid::from_raw(known.pid)?)))
        else {
            return;
        };
        // No such process: it has ended, and the shim knows how.
        let ended = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(process) => poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&MOMENT))
                .is_ok_and(|ready| ready > 0),
            Err(_) => true,
        };
        if !ended {
            return;
        }
        let request = Request::ExecWait {
            exec: exec.to_owned(),
        };
        if let Ok(Response::ExecExited { code }) = self.ask(&container, &request) {
            self.exec_ended(exec, code);
        }
    }

    pub fn exec_inspect(&self, exec: &str) -> Result<ExecDetail, ContainerError> {
        self.settle(exec);
        let known = self
            .execs()
            .get(exec)
            .cloned()
            .ok_or_else(|| ContainerError::NoSuchExec(exec.to_owned()))?;
        Ok(ExecDetail {
            id: exec.to_owned(),
            container: known.container,
            request: known.request,
            pid: known.pid,
            running: known.running,
            exit_code: known.exit_code,
        })
    }

    pub fn exec_resize(&self, exec: &str, rows: u16, columns: u16) -> Result<(), ContainerError> {
        let known = self.exec_inspect(exec)?;
        let container = known.container;
        if !self.find(&container)?.status()?.is_active() {
            return Err(ContainerError::NotRunning(container));
        }
        if known.exit_code.is_some() {
            return Err(ContainerError::NoSuchExec(exec.to_owned()));
        }
        self.ask(
            &container,
            &Request::ExecResize {
                exec: exec.to_owned(),
                rows,
                columns,
            },
        )
        .map(drop)
    }

    pub(super) fn exec_ended(&self, exec: &str, code: i32) {
        let ended = {
            let mut execs = self.execs();
            let Some(known) = execs.get_mut(exec) else {
                return;
            };
            if !std::mem::take(&mut known.running) {
                return;
            }
            known.exit_code = Some(code);
            known.container.clone()
        };
        if let Ok(row) = self.find(&ended) {
            self.publish(
                &row,
                "exec_die",
                &[("execID", exec), ("exitCode", &code.to_string())],
            );
        }
    }

    pub(super) fn running_execs(&self, container: &str) -> Vec<String> {
        self.execs()
            .iter()
            .filter(|(_, exec)| exec.container == container && exec.running)
            .map(|(id, _)| id.clone())
            .collect()
    }

    /// The container ended: its execs ended with it.
    pub(super) fn forget_execs(&self, container: &str) {
        for exec in self
            .execs()
            .values_mut()
            .filter(|exec| exec.container == container && exec.running)
        {
            exec.running = false;
            exec.exit_code.get_or_insert(137);
        }
    }

    /// The container is gone: nobody asks for its execs any more.
    pub(super) fn drop_execs(&self, container: &str) {
        self.execs().retain(|_, exec| exec.container != container);
    }

    fn execs(&self) -> MutexGuard<'_, HashMap<String, Exec>> {
        self.execs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A command as Docker writes it in events: the program, a blank, the arguments.
pub(super) fn event_words(command: &[String]) -> String {
    match command.split_first() {
        Some((program, arguments)) => format!("{program} {}", arguments.join(" ")),
        None => String::new(),
    }
}

fn must_run(row: &ContainerRow) -> Result<(), ContainerError> {
    match row.status()? {
        Status::Running => Ok(()),
        Status::Paused => Err(ContainerError::Conflict(format!(
            "Container {} is paused, unpause the container before exec",
            row.id
        ))),
        Status::Restarting => Err(ContainerError::Conflict(format!(
            "Container {} is restarting, wait until the container is running",
            row.id
        ))),
        _ => Err(ContainerError::NotRunning(row.id.clone())),
    }
}
