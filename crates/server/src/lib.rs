//! The HTTP face of the engine: Docker's Engine API on a unix socket. The only async crate.
//!
//! * [`listen`] - the socket, its life, and leaving when idle.
//! * [`dispatch`] - API versions, the route tables, headers that every answer has.
//! * [`routes`] - one file for each kind of object: a `ROUTES` table and its handlers.
//! * [`convert`] - between the engine's values and what travels.
//! * [`bridge`] - the only way from here into blocking code.
//! * [`hijack`] - connections that become streams.
//! * [`scrape`] - the metrics, and nothing else, on TCP.

#![recursion_limit = "256"]
#![cfg_attr(
    test,
    allow(
        clippy::disallowed_methods,
        reason = "tests make their own scratch files"
    )
)]

use std::ffi::OsString;
use std::fs::File;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use engine::backups::Proxies;
use engine::{Engine, EngineConfig, OpenError, PluginSettings};

mod bridge;
mod connections;
mod convert;
mod daemon_file;
mod dispatch;
mod errors;
mod event_filter;
mod filters;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod hangup;
mod hijack;
mod listen;
mod request;
mod routes;
mod scrape;
mod stream;
mod versions;
mod websocket;

/// What an engine process is told.
#[derive(Debug)]
pub struct ServeOptions {
    pub root: PathBuf,
    pub socket: PathBuf,
    /// A socket that listens already: a service manager's, who keeps it when the engine ends.
    pub listener: Option<OwnedFd>,
    /// Where the metrics are served on TCP, beside the socket.
    pub metrics: Option<SocketAddr>,
    /// Started by a client: logs into the root and leaves when idle.
    pub embedded: bool,
    /// Told `ready`, `already running`, or an error, as one line.
    pub ready: Option<OwnedFd>,
    /// How long an embedded engine stays without anything to do.
    pub idle: Duration,
    /// This very program, which is also the shim.
    pub program: PathBuf,
    /// Asked for Docker Hub's images before it, beside those of the configuration file.
    pub mirrors: Vec<String>,
    /// Registries that need no TLS, likewise.
    pub insecure: Vec<String>,
    /// Through whom servers that keep backups are reached.
    pub proxies: Proxies,
    /// Where volume plugins have their sockets, if not in Docker's place.
    pub plugin_sockets: Option<PathBuf>,
    /// Where files name the addresses of volume plugins; none: in Docker's places.
    pub plugin_specs: Vec<PathBuf>,
    /// A database that is damaged is put aside, and a new one made from what lies beside the data.
    pub rescue: bool,
}

/// Larger logs of earlier runs are dropped at a start.
const MAX_LOG: u64 = 10 << 20;

/// Runs until it is told to stop, or is idle. The result is the exit code.
#[must_use]
pub fn serve(options: ServeOptions) -> i32 {
    let mut ready = options.ready.map(File::from);
    let mut tell = |word: &str| {
        if let Some(mut pipe) = ready.take() {
            // A client that went away needs no word.
            writeln!(pipe, "{word}").unwrap_or_default();
        }
    };
    if let Err(error) = log_to(options.embedded.then_some(options.root.as_path())) {
        tell(&format!("cannot open the log: {error}"));
        return 1;
    }
    let metrics = Vec::from_iter(options.metrics.map(|address| address.to_string()));
    let flags = flags("--registry-mirror", &options.mirrors)
        .chain(flags("--insecure-registry", &options.insecure))
        .chain(flags("--metrics", &metrics));
    let wake_flags: Vec<OsString> = flags
        .chain(paths("--plugin-sockets", options.plugin_sockets.as_slice()))
        .chain(paths("--plugin-specs", &options.plugin_specs))
        .collect();
    let mut plugins = PluginSettings::default();
    if let Some(sockets) = options.plugin_sockets {
        plugins.sockets = sockets;
    }
    if !options.plugin_specs.is_empty() {
        plugins.specs = options.plugin_specs;
    }
    let settings = match daemon_file::settings(&options.root, options.mirrors, options.insecure) {
        Ok(settings) => settings,
        Err(error) => {
            let text = engine::chain(&error);
            tracing::error!("{text}");
            tell(&text);
            return 1;
        }
    };
    let scraped = match options.metrics.map(scrape::listen).transpose() {
        // One that was woken has containers to look after.
        Err(error) if options.embedded => {
            tracing::warn!("{error}");
            None
        }
        Err(error) => {
            tracing::error!("{error}");
            tell(&error.to_string());
            return 1;
        }
        Ok(listener) => listener,
    };
    let config = EngineConfig {
        wake: ["serve", "--embedded", "--root"]
            .into_iter()
            .map(Into::into)
            .chain([
                options.root.clone().into_os_string(),
                "--socket".into(),
                options.socket.clone().into_os_string(),
            ])
            .chain(wake_flags)
            .collect(),
        root: options.root.clone(),
        socket: options.socket.clone(),
        shim_program: options.program.clone(),
        permanent: !options.embedded,
        bridge_subnet: None,
        bridge_mtu: None,
        address_pools: settings.address_pools,
        registries: settings.registries,
        proxies: options.proxies,
        care: settings.care,
        plugins,
        rescue: options.rescue,
    };
    let wake = std::iter::once(options.program.into_os_string())
        .chain(config.wake.clone())
        .collect();
    let engine = match Engine::open(EngineConfig { wake, ..config }) {
        Ok(engine) => engine,
        Err(OpenError::AlreadyRunning(root)) if options.embedded => {
            tracing::debug!(root, "another engine is running");
            tell("already running");
            return 0;
        }
        Err(error) => {
            let text = engine::chain(&error);
            tracing::error!("{text}");
            tell(&text);
            return 1;
        }
    };
    for sentence in &engine.repaired {
        tracing::info!("repaired: {sentence}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(bridge::THREADS)
        .thread_stack_size(1 << 20)
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            tell(&format!("cannot start: {error}"));
            return 1;
        }
    };
    let idle = options.embedded.then_some(options.idle);
    let door = listen::Door {
        socket: &options.socket,
        given: options.listener,
        scraped,
    };
    let ended = runtime.block_on(listen::run(Arc::new(engine), door, idle, || tell("ready")));
    // What still runs on other threads ends with the process; the containers do not.
    runtime.shutdown_background();
    match ended {
        Ok(()) => 0,
        Err(error) => {
            tracing::error!(%error, "cannot serve");
            tell(&format!(
                "cannot listen on {}: {error}",
                options.socket.display()
            ));
            1
        }
    }
}

/// A flag as often as it has values.
fn flags<'a>(flag: &'a str, values: &'a [String]) -> impl Iterator<Item = OsString> + 'a {
    values
        .iter()
        .flat_map(move |value| [flag.into(), value.into()])
}

fn paths<'a>(flag: &'a str, values: &'a [PathBuf]) -> impl Iterator<Item = OsString> + 'a {
    values
        .iter()
        .flat_map(move |value| [flag.into(), value.clone().into_os_string()])
}

/// Logs go to standard error, or for an embedded engine to a file in the root.
fn log_to(root: Option<&Path>) -> std::io::Result<()> {
    let builder = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::INFO)
        .with_ansi(false)
        .with_target(false);
    let Some(root) = root else {
        builder.with_writer(std::io::stderr).init();
        return Ok(());
    };
    std::fs::DirBuilder::new().recursive(true).create(root)?;
    let path = root.join("engine.log");
    let file = File::options().create(true).append(true).open(path)?;
    if file.metadata()?.len() > MAX_LOG {
        file.set_len(0)?;
    }
    builder.with_writer(file).init();
    Ok(())
}
