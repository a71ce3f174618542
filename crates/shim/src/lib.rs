//! The per-container process: owns stdio, log, exit status, restarts and execs, whatever becomes of the engine.
//!
//! One thread, one event loop, no shared state. The binary dispatches to [`run_shim`] and [`run_view`] before any
//! thread exists: both fork.
//!
//! * `begin`, `supervise`, `ending` - the life of a shim.
//! * `requests`, `exec`, `attach` - what clients of `shim.sock` get.
//! * `streams`, `connection`, `outbound`, `source` - the things that the loop waits for.
//! * `log`, `rotation`, `lines`, `json_line` - Docker's `json-file`.
//! * `detach`, `restart`, `records` - detach keys, restart policy, state and exit records.
//! * `health` - the health check.
//! * `ports`, `relay`, `datagrams` - published ports where the firewall does not redirect.
//! * `network`, `dns` - networks that come and go while the container runs, and names on them.
//! * `view` - a stopped container's files.
//! * `sweep` - what a killed shim leaves.

#![cfg_attr(
    test,
    allow(
        clippy::disallowed_methods,
        reason = "tests make their own scratch files"
    )
)]

mod attach;
mod begin;
mod connection;
mod datagrams;
mod detach;
mod dns;
mod ending;
mod exec;
mod health;
mod hold;
mod json_line;
mod lines;
mod log;
mod mounts;
mod network;
mod outbound;
mod ports;
mod records;
mod relay;
mod requests;
mod restart;
mod rotation;
mod source;
mod streams;
mod supervise;
mod sweep;
mod view;

/// `orlop shim`: runs one container from the start request on descriptor 3 to its end. Returns the exit code.
///
/// To be called in a process with one thread that has opened nothing: every descriptor from 4 on is closed.
pub fn run_shim() -> i32 {
    begin::run()
}

/// `orlop shim-view`: shows a stopped container's root to the engine on descriptor 3. Returns the exit code.
///
/// To be called like [`run_shim`].
pub fn run_view() -> i32 {
    view::run()
}

/// `orlop shim-clean`: removes what a killed shim left of the container on descriptor 3. Returns the exit code.
///
/// To be called like [`run_shim`].
pub fn run_clean() -> i32 {
    sweep::run()
}
