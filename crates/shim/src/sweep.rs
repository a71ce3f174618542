//! `orlop shim-clean`: takes away what a shim that was killed could not.
//!
//! Steps: 1. read a [`RunSpec`] from descriptor 3; 2. take the lock of its run directory, so that a living shim is never
//! disturbed; 3. kill what is left of the container and remove its cgroups; 4. answer `Ok`, or `Refused`.

use std::os::unix::net::UnixStream;

use shim_protocol::{Response, RunSpec, receive, send};
use sys::lock::FileLock;

use crate::records;

/// Cleans up; the result is the exit code.
pub(crate) fn run() -> i32 {
    let Ok(control) = sys::fd::inherited(3) else {
        return 1;
    };
    let control = UnixStream::from(control);
    let (code, answer) = match sweep(&control) {
        Ok(()) => (0, Response::Ok),
        Err(reason) => (1, Response::Refused { reason }),
    };
    // An engine that is gone needs no answer.
    send(&mut &control, &answer).unwrap_or_default();
    code
}

fn sweep(control: &UnixStream) -> Result<(), String> {
    sys::process::close_from(4).map_err(|error| error.to_string())?;
    let spec: RunSpec = receive(&mut &*control).map_err(|error| error.to_string())?;
    let _lock = match FileLock::try_exclusive(spec.run_dir.join(records::LOCK)) {
        Ok(Some(lock)) => Some(lock),
        Ok(None) => return Err("the shim lives".into()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(error.to_string()),
    };
    // Usually nothing is left to kill, and then often no cgroup either; what matters is the removal.
    runtime::kill_all(&spec, 9).unwrap_or_default();
    runtime::clean(&spec).map_err(|error| error.to_string())?;
    records::remove(&spec.run_dir, records::SOCKET).unwrap_or_default();
    Ok(())
}
