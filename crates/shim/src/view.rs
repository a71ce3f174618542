//! `orlop shim-view`: shows a stopped container's root to the engine.
//!
//! Steps: 1. read a [`RunSpec`] from descriptor 3; 2. mount the container's root in a namespace of its own; 3. answer
//! `Ok` with the root directory's descriptor beside it, or `StartFailed`; 4. keep the mounts until the engine closes
//! its end. Nothing is left behind however this ends: the mounts die with the process and the descriptor.

use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;

use shim_protocol::{Response, RunSpec, StartError, receive, send};
use sys::socket::FdWriter;

/// Runs the view to its end; the result is the exit code.
pub(crate) fn run() -> i32 {
    let Ok(control) = sys::fd::inherited(3) else {
        return 1;
    };
    let control = UnixStream::from(control);
    if sys::process::close_from(4).is_err() {
        return 1;
    }
    match show(&control) {
        Ok(()) => 0,
        Err(error) => {
            // An engine that is gone needs no answer.
            send(&mut &control, &Response::StartFailed { error }).unwrap_or_default();
            1
        }
    }
}

fn show(control: &UnixStream) -> Result<(), StartError> {
    let failed = |message: String| StartError {
        step: "view".into(),
        message,
        code: 128,
    };
    let spec: RunSpec =
        receive(&mut &*control).map_err(|error| failed(format!("no request: {error}")))?;
    let root = runtime::mount_view(&spec)?;
    let mut writer = FdWriter::new(control, &[root.as_fd()]);
    send(&mut writer, &Response::Ok).map_err(|error| failed(error.to_string()))?;
    let mut byte = [0];
    // Whatever ends the wait, the view is over.
    while matches!((&mut &*control).read(&mut byte), Ok(1..)) {}
    Ok(())
}
