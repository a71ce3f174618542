//! `state.json` and `exit.json` in the run directory: what an engine reads that was not there to be told.
//!
//! Both are replaced by rename, so that a reader sees the old or the new content. The run directory is a memory
//! filesystem: a record lives as long as the kernel, which is as long as it means anything.

use std::io;
use std::path::Path;

use shim_protocol::{ExitRecord, StateRecord};

pub(crate) const STATE: &str = "state.json";
pub(crate) const EXIT: &str = "exit.json";
pub(crate) const SOCKET: &str = "shim.sock";
pub(crate) const LOCK: &str = "shim.lock";

/// Waits for no disk, should the run directory be on one: the record means nothing without this process.
pub(crate) fn write_state(run_dir: &Path, state: &StateRecord) -> io::Result<()> {
    let bytes = serde_json::to_vec(state)?;
    sys::durable::write_atomic_unsynced(&run_dir.join(STATE), &bytes, 0o600)
}

pub(crate) fn write_exit(run_dir: &Path, exit: &ExitRecord) -> io::Result<()> {
    let bytes = serde_json::to_vec(exit)?;
    sys::durable::write_atomic(&run_dir.join(EXIT), &bytes, 0o600)
}

/// Removes `name` in the run directory, if it is there.
pub(crate) fn remove(run_dir: &Path, name: &str) -> io::Result<()> {
    sys::durable::remove_file(&run_dir.join(name)).map(drop)
}
