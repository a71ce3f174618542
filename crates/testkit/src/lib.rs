//! What end-to-end tests stand on: a private host, an engine in it, and the clients that drive it.
//!
//! * [`Host`] - network and mount namespaces of the test run, so that nothing of it is seen outside.
//! * [`Engine`] - a real `orlop serve` on a state directory of its own.
//! * [`Disk`] - a filesystem of its own; [`steps`] - where an engine can be made to die.
//! * [`Client`] - `orlop` or the stock `docker` CLI, run as a user would.
//! * [`FakePlugin`] - a volume plugin that hangs, dies and lies when it is told to.
//! * [`Registry`] - a registry beside the test; [`BackupServer`] - one that keeps backups; [`Mistreat`] - what networks do.
//! * [`Output`] - what a command said, with assertions that show all of it when they fail.
//! * [`Running`] - a command beside the test; [`Server`] - a program that serves it; [`Terminal`] - one on a pseudo-terminal, with somebody who types.
//! * [`until`] - waiting for a condition, bounded; nothing sleeps for a fixed time.

#![expect(clippy::print_stderr, reason = "a test tells what it skips and keeps")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]
#![allow(
    clippy::disallowed_methods,
    reason = "tests use the standard library's way to files and processes"
)]

mod backup_servers;
mod client;
mod disk;
mod engine;
mod host;
mod mistreat;
mod object_store;
mod output;
mod plugin;
mod registry;
mod running;
mod server;
mod steps;
mod terminal;
mod wait;

pub use backup_servers::{BackupServer, LOGIN, S3_BUCKET, S3_KEY, is_installed, ssh_arguments};
pub use client::Client;
pub use disk::Disk;
pub use engine::{Engine, binary, images_dir, peer, target_dir};
pub use host::Host;
pub use libtest_mimic;
pub use mistreat::{Mistreat, Treatment};
pub use object_store::install_s3_server;
pub use output::Output;
pub use plugin::{Behaviour, FakePlugin};
pub use registry::{Registry, RegistryOptions};
pub use running::Running;
pub use server::Server;
pub use steps::{steps, steps_of};
pub use terminal::Terminal;
pub use wait::{until, until_or_late};
