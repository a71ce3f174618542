//! `exit.json` in the run directory: what an engine reads that was not there to be told.
//!
//! It appears by rename, so that a reader sees nothing or all of it.

use std::io;
use std::path::Path;

use shim_protocol::ExitRecord;

pub(crate) const EXIT: &str = "exit.json";
pub(crate) const SOCKET: &str = "shim.sock";
pub(crate) const LOCK: &str = "shim.lock";

pub(crate) fn write_exit(run_dir: &Path, exit: &ExitRecord) -> io::Result<()> {
    let bytes = serde_json::to_vec(exit)?;
    sys::durable::write_atomic(&run_dir.join(EXIT), &bytes, 0o600)
}

/// Removes `name` in the run directory, if it is there.
pub(crate) fn remove(run_dir: &Path, name: &str) -> io::Result<()> {
    sys::durable::remove_file(&run_dir.join(name)).map(drop)
}
