//! `RUN`: a process in the sandbox of a container, whose changes are a new layer.
//!
//! 1. The command line and everything it depends on: the key by which it is looked up.
//! 2. A new layer, its mounts, the places of declared volumes.
//! 3. The process; what it says is said.
//! 4. Empty mount points and what was written below volumes go, and the layer is packed in the background.

use std::io;
use std::os::fd::AsFd as _;
use std::path::Path;

use dockerfile::{Command, Instruction, Run};
use rustix::fs::{AtFlags, FileType};
use serde_json::json;
use store::LayerId;

use super::copy::body;
use super::output::Letters;
use super::scope::is_proxy;
use super::settings::shell;
use super::stage::{Made, Stage};
use super::{BuildError, mounts};
use crate::containers::build_step::BuildStep;

/// Where a script is seen whose text is a heredoc.
const SCRIPTS: &str = "/dev/pipes/";

/// What is executed.
struct Line {
    words: Vec<String>,
    /// A script that must be there as a file: its name and its text.
    script: Option<(String, String)>,
}

impl Stage<'_> {
    pub(super) fn run(&mut self, instruction: &Instruction, run: &Run) -> Result<(), BuildError> {
        if run.security.as_deref() == Some("insecure") {
            return Err(BuildError::Unsupported(
                "RUN --security=insecure is not allowed: builds have no privileges".to_owned(),
            ));
        }
        let line = self.line_of(run);
        let arguments = self.scope.in_use(&self.config);
        let wishes = self.mount_wishes(run)?;
        let network = self.network(run);
        let volumes: Vec<&str> = if self.build.request.keep_volumes {
            Vec::new()
        } else {
            self.volumes.iter().map(|one| one.path.as_str()).collect()
        };
        let key = body(&json!([
            "RUN",
            line.words,
            line.script,
            self.config.env,
            arguments,
            self.config.user,
            self.config.working_dir,
            wishes.iter().map(|wish| wish.key()).collect::<Vec<_>>(),
            network,
            volumes,
        ]));
        let by = created_by(&line.words, &arguments);
        if let Some(notes) = self.use_cached_notes(&key, &[], &by)? {
            self.warn_of_loss(instruction, &notes);
            return Ok(());
        }
        let (made, lost) = self.execute_line(instruction, &line, &wishes, &network, &arguments)?;
        self.warn_of_loss(instruction, &lost);
        self.record_with(&key, &[], made, &by, &lost);
        Ok(())
    }

    /// Heredocs: one that is the whole line is a script, others are given back to the shell.
    fn line_of(&self, run: &Run) -> Line {
        let plain = |text: String| {
            let mut words = shell(&self.config);
            words.push(text);
            Line {
                words,
                script: None,
            }
        };
        match (&run.command, run.heredocs.as_slice()) {
            (Command::Exec(words), _) => Line {
                words: words.clone(),
                script: None,
            },
            (Command::Shell(text), []) => plain(text.clone()),
            (Command::Shell(text), [script]) if !text.trim().contains(char::is_whitespace) => {
                if script.content.starts_with("#!") {
                    Line {
                        words: vec![format!("{SCRIPTS}{}", script.name)],
                        script: Some((script.name.clone(), script.content.clone())),
                    }
                } else {
                    plain(script.content.clone())
                }
            }
            (Command::Shell(text), heredocs) => {
                let mut whole = text.clone();
                for heredoc in heredocs {
                    whole.push('\n');
                    whole.push_str(&heredoc.content);
                    whole.push_str(&heredoc.name);
                }
                plain(whole)
            }
        }
    }

    fn network(&self, run: &Run) -> String {
        match run.network.as_deref() {
            Some("none") => "none".to_owned(),
            Some("host") => "host".to_owned(),
            _ => match self.build.request.host.network_mode.as_str() {
                "" | "default" => "bridge".to_owned(),
                other => other.to_owned(),
            },
        }
    }

    fn execute_line(
        &mut self,
        instruction: &Instruction,
        line: &Line,
        wishes: &[mounts::Wish<'_>],
        network: &str,
        arguments: &[String],
    ) -> Result<(Made, Vec<super::volumes::Lost>), BuildError> {
        let build = self.build;
        let builder = build.builder;
        let _place = build.gate.enter();
        build.check()?;
        let id = store::ContainerId::random().to_string();
        self.say(&format!(" ---> Running in {}\n", &id[..12]));
        let layer = builder.images.open_layer()?;
        let result = self.in_layer(instruction, line, wishes, network, arguments, &id, layer);
        self.say(&format!("Removing intermediate container {}\n", &id[..12]));
        match result {
            Ok(lost) => Ok((self.close_layer(layer)?, lost)),
            Err(error) => {
                builder.images.discard_layer(layer)?;
                Err(error)
            }
        }
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "what the steps of one execution share"
    )]
    fn in_layer(
        &self,
        instruction: &Instruction,
        line: &Line,
        wishes: &[mounts::Wish<'_>],
        network: &str,
        arguments: &[String],
        id: &str,
        layer: LayerId,
    ) -> Result<Vec<super::volumes::Lost>, BuildError> {
        let build = self.build;
        let builder = build.builder;
        let kept = self.keep_volumes(layer)?;
        let mut mounted = self.mount_all(wishes, id)?;
        if let Some((name, text)) = &line.script {
            let source = builder.write_run_file(id, "script", text.as_bytes(), 0o755, (0, 0))?;
            mounted
                .mounts
                .push(mounts::bind(source, None, format!("{SCRIPTS}{name}"), true));
        }
        let mut config = self.config.clone();
        config.entrypoint = None;
        config.cmd = Some(line.words.clone());
        config.env.extend(arguments.iter().cloned());
        for (name, value) in &build.request.arguments {
            if let Some(value) = value
                && is_proxy(name)
                && !self.scope.has(name)
            {
                config.env.push(format!("{name}={value}"));
            }
        }
        let mut host = build.request.host.clone();
        network.clone_into(&mut host.network_mode);
        let targets: Vec<String> = mounted
            .mounts
            .iter()
            .map(|mount| mount.target.clone())
            .collect();
        let step = BuildStep {
            id: id.to_owned(),
            lowers: builder.images.stack(&self.blocks),
            layer,
            config: &config,
            host: &host,
            mounts: mounted.mounts,
            env: mounted.env,
        };
        let mut letters = Letters::default();
        let code = builder
            .containers
            .run_build_step(&step, build.cancel, &mut |bytes| {
                self.say(&letters.feed(bytes));
            });
        self.say(&letters.finish());
        build.check()?;
        let code = code?;
        if code != 0 {
            return Err(BuildError::Command {
                command: line.words.join(" "),
                code,
            });
        }
        drop(mounted.in_use);
        let lost = self.drop_writes(layer, &kept)?;
        self.remove_mount_points(layer, &targets)?;
        sys::fault::step("build:ran");
        tracing::debug!(step = id, line = instruction.lines.first, "a step has run");
        Ok(lost)
    }

    /// Places that were made for mounts are no part of the image: nobody could put anything there.
    fn remove_mount_points(&self, layer: LayerId, targets: &[String]) -> Result<(), BuildError> {
        const ALWAYS: [&str; 6] = [
            "/proc",
            "/dev",
            "/sys",
            "/etc/resolv.conf",
            "/etc/hostname",
            "/etc/hosts",
        ];
        let path = self.build.builder.paths.layer_fs(layer);
        let failed = |source| BuildError::File {
            action: "cannot clean",
            path: path.clone(),
            source,
        };
        let root = sys::dir::open(&path).map_err(failed)?;
        for target in ALWAYS.into_iter().chain(targets.iter().map(String::as_str)) {
            let target = Path::new(target.trim_start_matches('/'));
            let (Some(name), Some(above)) = (target.file_name(), target.parent()) else {
                continue;
            };
            let Ok(parent) = sys::dir::open_deep(root.as_fd(), above) else {
                continue;
            };
            let stat = match sys::dir::stat_at(parent.as_fd(), name) {
                Ok(stat) => stat,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(failed(error)),
            };
            let removed = match stat.kind() {
                FileType::Directory => rustix::fs::unlinkat(&parent, name, AtFlags::REMOVEDIR),
                FileType::RegularFile if stat.size == 0 => {
                    rustix::fs::unlinkat(&parent, name, AtFlags::empty())
                }
                _ => Ok(()),
            };
            match removed {
                Ok(()) | Err(rustix::io::Errno::NOTEMPTY) => {}
                Err(error) => return Err(failed(error.into())),
            }
        }
        Ok(())
    }
}

/// As Docker's history shows a command, with the arguments that it could use.
fn created_by(words: &[String], arguments: &[String]) -> String {
    if arguments.is_empty() {
        return format!("RUN {}", words.join(" "));
    }
    format!(
        "RUN |{} {} {}",
        arguments.len(),
        arguments.join(" "),
        words.join(" ")
    )
}
