//! One process of a build (`RUN`), on layers that are no image yet.
//!
//! It is no container that anybody sees: it has no row, so no verb can meet it, and `ps` does not list it. It runs in the
//! same sandbox, by the same shim. Steps:
//! 1. `build-step/<id>` is recorded: from here on recovery knows of it
//! 2. directory, network, files for /etc, then the shim; its upper directory is the new layer
//! 3. its output is passed on until the last process has gone; who cancels the build kills it
//! 4. the network is given back, and the record becomes the wish that the files go ([`super::sweep`])

use std::collections::BTreeMap;
use std::fmt;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use shim_protocol::frame::receive;
use shim_protocol::messages::AttachSpec;
use shim_protocol::spec::Mount;
use shim_protocol::stdio::Demultiplexer;
use shim_protocol::{Notice, Request};
use store::{ContainerRow, LayerId};

use super::archive::view::View;
use super::clean::bare_spec;
use super::create::{NEVER, to_json};
use super::mounts::realise::is_late;
use super::spec::Prepared;
use super::sweep::discard;
use super::{Config, ContainerError, Containers, HostConfig, NetworkSettings};
use crate::build::Cancel;

const KEY: &str = "build-step/";
const SIGKILL: i32 = 9;

/// What runs, and where.
pub(crate) struct BuildStep<'a> {
    pub(crate) id: String,
    /// Layers below, topmost first, relative to the layers directory.
    pub(crate) lowers: Vec<std::path::PathBuf>,
    /// What the process changes.
    pub(crate) layer: LayerId,
    pub(crate) config: &'a Config,
    pub(crate) host: &'a HostConfig,
    /// Beside those that every container has.
    pub(crate) mounts: Vec<Mount>,
    /// Environment that is in no configuration: secrets.
    pub(crate) env: Vec<String>,
}

impl fmt::Debug for BuildStep<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BuildStep")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl Containers {
    /// Runs a step to its end and returns the exit code. `sink` gets the output, both streams in their order.
    pub(crate) fn run_build_step(
        self: &Arc<Self>,
        step: &BuildStep<'_>,
        cancel: &Cancel,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Result<i32, ContainerError> {
        let key = format!("{KEY}{}", step.id);
        self.store.write(|tx| tx.set_meta(&key, ""))?;
        sys::fault::step("build-step:recorded");
        let ran = self.run_recorded(step, cancel, sink);
        self.end_build_step(&step.id)?;
        ran
    }

    fn run_recorded(
        self: &Arc<Self>,
        step: &BuildStep<'_>,
        cancel: &Cancel,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Result<i32, ContainerError> {
        let id = step.id.as_str();
        let directory = self.paths.container(id);
        sys::durable::create_dir_unsynced(&directory, 0o710).map_err(|source| {
            ContainerError::Io {
                action: format!("cannot make {}", directory.display()),
                source,
            }
        })?;
        let mut config = step.config.clone();
        id[..12].clone_into(&mut config.hostname);
        let mut host = step.host.clone();
        super::create::merge::defaults(&mut host);
        "none".clone_into(&mut host.log_config.kind);
        let mut row = row(id, &config, &host);
        let wanted = NetworkSettings {
            mode: host.network_mode.clone(),
            endpoints: self.choose_networks(&config, &mut host, BTreeMap::new())?,
            ..NetworkSettings::default()
        };
        row.network = Some(to_json(&wanted));
        let (settings, mut joined) = self.join_networks(&row, &config, &host)?;
        let (_, resolving) = self.write_etc(&row, &config, &host, &settings)?;
        joined.network.resolver = self.resolver(&settings, resolving)?;
        let mut mounts: Vec<Mount> = self.engine_mounts(id, &host);
        mounts.sort_by_key(|mount| is_late(&mount.target));
        let late = mounts
            .iter()
            .position(|mount| is_late(&mount.target))
            .unwrap_or(mounts.len());
        let tail = mounts.split_off(late);
        mounts.extend(step.mounts.iter().cloned());
        mounts.extend(tail);
        let prepared = Prepared {
            lowers: step.lowers.clone(),
            mounts,
            network: joined.network,
            link_env: Vec::new(),
        };
        let mut spec = self.run_spec(&row, &config, &host, prepared)?;
        spec.root.upper = self.paths.layer_fs(step.layer);
        spec.root.work = self.paths.layer_work(step.layer);
        spec.process.env.extend(step.env.iter().cloned());
        let (ours, theirs) = UnixStream::pair().map_err(|source| ContainerError::Io {
            action: "no socket pair for the output of a build step".to_owned(),
            source,
        })?;
        let attach = AttachSpec {
            stdin: false,
            stdout: true,
            stderr: true,
            detach_keys: None,
        };
        sys::fault::step("build-step:shim");
        let (_, shim) =
            self.spawn_shim(&spec, Vec::new(), vec![(attach, OwnedFd::from(theirs))])?;
        sys::fault::step("build-step:running");
        let killed = {
            let (containers, id) = (Arc::clone(self), id.to_owned());
            cancel.on_cancel(Box::new(move || containers.kill_build_step(&id)))
        };
        let output = pass_on(&ours, sink);
        let code = self.build_step_code(id, shim.stream);
        drop(killed);
        super::shim::reap(shim.pid);
        self.wait_for_shim_end(id)?;
        output?;
        code
    }

    fn kill_build_step(&self, id: &str) {
        let kill = Request::Kill {
            signal: SIGKILL,
            stop: true,
        };
        if let Err(error) = self.ask(id, &kill) {
            tracing::debug!(step = id, %error, "a build step ended before it was killed");
        }
    }

    fn build_step_code(&self, id: &str, mut notices: UnixStream) -> Result<i32, ContainerError> {
        loop {
            match receive::<Notice>(&mut notices) {
                Ok(Notice::Exited { exit, .. }) => return Ok(exit.code),
                Ok(_) => {}
                // The shim died: its process died with it.
                Err(_) => {
                    self.wait_for_shim_end(id)?;
                    let spec = bare_spec(&self.paths, id);
                    self.clean_after(&spec)?;
                    return Err(ContainerError::Shim(format!(
                        "the shim of build step {} ended without telling how",
                        &id[..12]
                    )));
                }
            }
        }
    }

    /// Step 4. Idempotent.
    fn end_build_step(&self, id: &str) -> Result<(), ContainerError> {
        self.network.disconnect_all(id)?;
        self.store.write(|tx| {
            tx.delete_meta(&format!("{KEY}{id}"))?;
            discard(tx, id)
        })?;
        sys::fault::step("build-step:forgotten");
        self.sweeper.sweep(id);
        Ok(())
    }

    /// Ends the steps of builds whose engine died: the build is gone, its processes must go, too.
    pub(crate) fn recover_build_steps(&self) -> Result<Vec<String>, ContainerError> {
        let left = self.store.read(|tx| tx.meta_with_prefix(KEY))?;
        let mut sentences = Vec::new();
        for key in left {
            let id = &key[KEY.len()..];
            if self.shim_lives(id)? {
                self.kill_build_step(id);
            }
            self.wait_for_shim_end(id)?;
            self.clean_after(&bare_spec(&self.paths, id))?;
            self.end_build_step(id)?;
            sentences.push(format!(
                "step {} of an unfinished build was ended",
                &id[..12]
            ));
        }
        Ok(sentences)
    }

    /// The files of a stack of layers; changes go to `upper`. Without layers, the view is `upper` itself.
    pub(crate) fn view_layers(
        &self,
        lowers: Vec<std::path::PathBuf>,
        upper: std::path::PathBuf,
        work: std::path::PathBuf,
    ) -> Result<View<'_>, ContainerError> {
        let mut spec = bare_spec(&self.paths, store::ContainerId::random().as_ref());
        spec.root.lowers = lowers;
        spec.root.upper = upper;
        spec.root.work = work;
        self.view_root(&spec)
    }
}

/// What the verbs of a start want to see of a container; it is never stored.
fn row(id: &str, config: &Config, host: &HostConfig) -> ContainerRow {
    ContainerRow {
        id: id.to_owned(),
        name: format!("build-{}", &id[..12]),
        image_id: String::new(),
        image_ref: String::new(),
        created_at: jiff::Timestamp::now().to_string(),
        config: to_json(config),
        host_config: to_json(host),
        mounts: "[]".to_owned(),
        network: Some(to_json(&NetworkSettings::default())),
        status: super::Status::Creating.as_str().to_owned(),
        pid: 0,
        exit_code: 0,
        error: String::new(),
        oom_killed: false,
        started_at: NEVER.to_owned(),
        finished_at: NEVER.to_owned(),
        restart_count: 0,
        manually_stopped: false,
        auto_remove: false,
        log_path: String::new(),
        health: None,
    }
}

/// Until the last process has closed its output.
fn pass_on(mut from: &UnixStream, sink: &mut dyn FnMut(&[u8])) -> Result<(), ContainerError> {
    use std::io::Read as _;
    let failed = |source| ContainerError::Io {
        action: "cannot read the output of a build step".to_owned(),
        source,
    };
    let mut frames = Demultiplexer::default();
    let mut buffer = vec![0; 32 << 10];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => frames
                .feed(&buffer[..count], |_, piece| sink(piece))
                .map_err(|error| failed(std::io::Error::other(error)))?,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            // The shim was killed.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return Ok(()),
            Err(error) => return Err(failed(error)),
        }
    }
}
