//! The check of a drill: one command in a container that has the restored volume, no network, and a time limit.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use super::{DrillError, Drills, Exercise, LABEL, PATIENCE, recipe};
use crate::backups::BackupDetail;
use crate::cancel::Cancel;
use crate::containers::{
    Config, ContainerError, CreateRequest, Healthcheck, HostConfig, LogRequest, WaitCondition,
};

/// Where a volume is in the container when nothing tells.
const TARGET: &str = "/data";
/// Lines of what the command said.
const LINES: usize = 20;
/// Of its end.
const BYTES: usize = 2000;

/// What is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Task {
    image: String,
    pub(super) command: String,
    target: String,
    writable: bool,
    /// Recipes know which user the data belongs to; commands run as the image says.
    as_root: bool,
    env: Vec<String>,
    limit: Duration,
}

impl Task {
    /// What is to be run; `None`: nothing.
    pub(super) fn of(
        exercise: &Exercise,
        detail: &BackupDetail,
    ) -> Result<Option<Self>, DrillError> {
        let volume = detail.info.volume.as_deref().unwrap_or_default();
        let containers = detail.containers.as_ref();
        let user = containers.and_then(|all| {
            all.containers.iter().find_map(|container| {
                let mount = container
                    .volumes
                    .iter()
                    .find(|mount| mount.name == volume)?;
                Some((container, mount))
            })
        });
        let image = match (&exercise.image, user) {
            (given, _) if !given.is_empty() => given.clone(),
            (_, Some((container, _))) => container.image.clone(),
            _ => String::new(),
        };
        let ready = match exercise.recipe.as_str() {
            "" | "none" => None,
            "auto" => recipe::fitting(&image),
            name => recipe::named(name),
        };
        let (command, writes, as_root) = match (&exercise.command, ready) {
            (given, _) if !given.is_empty() => (given.clone(), false, false),
            (_, Some(ready)) => (ready.command.to_owned(), ready.writes, true),
            _ => return Ok(None),
        };
        if image.is_empty() {
            return Err(DrillError::NoImage);
        }
        let target = match (&exercise.target, user) {
            (given, _) if !given.is_empty() => given.clone(),
            (_, Some((_, mount))) => mount.destination.clone(),
            _ => TARGET.to_owned(),
        };
        // What the server was told it is told again: names of users and databases among it.
        let mut env = user.map_or_else(Vec::new, |(container, _)| container.config.env.clone());
        env.extend(exercise.env.iter().cloned());
        env.push(format!("DATA={target}"));
        Ok(Some(Self {
            image,
            command,
            target,
            writable: exercise.writable || writes,
            as_root,
            env,
            limit: exercise
                .timeout_seconds
                .map_or(PATIENCE, Duration::from_secs),
        }))
    }
}

impl Drills {
    /// Runs the command to its end; what it said last. The container stays for the caller to remove.
    pub(super) fn run(
        &self,
        task: &Task,
        name: &str,
        cancel: &Arc<Cancel>,
    ) -> Result<String, DrillError> {
        let words = ["sh", "-c", &task.command].map(str::to_owned);
        let mut config = Config {
            image: task.image.clone(),
            entrypoint: Some(words.into()),
            cmd: Some(Vec::new()),
            env: task.env.clone(),
            labels: [(LABEL.to_owned(), name.to_owned())].into(),
            ..Config::default()
        };
        if task.as_root {
            "0:0".clone_into(&mut config.user);
        }
        config.healthcheck = Some(Healthcheck {
            test: vec!["NONE".to_owned()],
            ..Healthcheck::default()
        });
        let mode = if task.writable { "rw" } else { "ro" };
        let host_config = HostConfig {
            // What the image holds at that place is not the volume's.
            binds: Some(vec![format!("{name}:{}:{mode},nocopy", task.target)]),
            image_volumes: "tmpfs".to_owned(),
            network_mode: "none".to_owned(),
            ..HostConfig::default()
        };
        let created = self.containers.create(CreateRequest {
            name: Some(name.to_owned()),
            config,
            host_config,
            ..CreateRequest::default()
        })?;
        sys::fault::step("backup-drill:container");
        let (sender, ended) = channel::<Option<i32>>();
        let told = sender.clone();
        self.containers.wait(
            &created.id,
            WaitCondition::NextExit,
            Box::new(move |outcome| {
                // Nobody waits any more after the time limit.
                told.send(Some(outcome.code)).unwrap_or_default();
            }),
        )?;
        self.containers.start(&created.id)?;
        sys::fault::step("backup-drill:running");
        let _hooked = cancel.on_cancel(Box::new(move || {
            // As above.
            sender.send(None).unwrap_or_default();
        }));
        match ended.recv_timeout(task.limit) {
            Ok(Some(0)) => Ok(self.said(&created.id)?),
            Ok(Some(code)) => Err(DrillError::Check {
                code,
                said: self.said(&created.id)?,
            }),
            Ok(None) => Err(DrillError::Cancelled),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                Err(DrillError::Late {
                    seconds: task.limit.as_secs(),
                    said: self.said(&created.id)?,
                })
            }
        }
    }

    /// The end of what the container has said.
    fn said(&self, id: &str) -> Result<String, ContainerError> {
        let mut reader = self.containers.logs(
            id,
            &LogRequest {
                stdout: true,
                stderr: true,
                follow: false,
                since: None,
                until: None,
                tail: Some(LINES),
            },
        )?;
        let mut said = String::new();
        loop {
            let lines = reader.next_lines()?;
            if lines.is_empty() {
                break;
            }
            for line in lines {
                said.push_str(&String::from_utf8_lossy(&line.line));
            }
        }
        let said = said.trim();
        let cut = said
            .char_indices()
            .map(|(at, _)| at)
            .find(|at| said.len() - at <= BYTES)
            .unwrap_or(said.len());
        Ok(said[cut..].to_owned())
    }
}
