//! `state.json` and `exit.json` in the run directory: what an engine reads that was not there to be told.
//!
//! Both are replaced by rename, so that a reader sees the old or the new content. The run directory is a memory
//! filesystem: a record lives as long as the kernel, which is as long as it means anything.

use std::io;
use std::path::Path;

use serde::Serialize;
use shim_protocol::{ExitRecord, StateRecord};

pub(crate) const STATE: &str = "state.json";
pub(crate) const EXIT: &str = "exit.json";
pub(crate) const SOCKET: &str = "shim.sock";
pub(crate) const LOCK: &str = "shim.lock";

pub(crate) fn write_state(run_dir: &Path, state: &StateRecord) -> io::Result<()> {
    write(run_dir, STATE, state)
}

pub(crate) fn write_exit(run_dir: &Path, exit: &ExitRecord) -> io::Result<()> {
    write(run_dir, EXIT, exit)
}

/// Removes `name` in the run directory, if it is there.
pub(crate) fn remove(run_dir: &Path, name: &str) -> io::Result<()> {
    sys::durable::remove_file(&run_dir.join(name)).map(drop)
}

fn write(run_dir: &Path, name: &str, record: &impl Serialize) -> io::Result<()> {
    sys::durable::write_atomic(&run_dir.join(name), &serde_json::to_vec(record)?, 0o600)
}
