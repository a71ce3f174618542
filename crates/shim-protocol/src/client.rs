//! The engine's half of a connection to a shim: send one request, read its answer.
//!
//! Connecting, and passing descriptors beside a message, is the caller's: this crate knows bytes only. After the answer
//! to `Watch` the caller goes on with [`receive`]`::<`[`Notice`](crate::Notice)`>`; after the answer to `Attach` or
//! `Exec` the same stream carries the process's streams, and no byte of them has been taken by the answer.

use std::io::{Read, Write};

use crate::frame::{FrameError, receive, send};
use crate::messages::{Request, Response, StartError};

/// Why a request to a shim brought no answer, or a negative one.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    #[error("request could not be sent to the shim")]
    Send(#[source] FrameError),
    #[error("shim gave no answer")]
    Receive(#[source] FrameError),
    /// The shim's own words.
    #[error("{0}")]
    Refused(String),
    #[error("{}", .0.message)]
    StartFailed(StartError),
}

/// Sends `request` and waits for the answer. Negative answers come back as errors.
pub fn call(stream: &mut (impl Read + Write), request: &Request) -> Result<Response, CallError> {
    send(stream, request).map_err(CallError::Send)?;
    answer(stream)
}

/// Waits for the answer to a request that was already sent (beside descriptors, for instance).
pub fn answer(stream: &mut impl Read) -> Result<Response, CallError> {
    match receive(stream).map_err(CallError::Receive)? {
        Response::Refused { reason } => Err(CallError::Refused(reason)),
        Response::StartFailed { error } => Err(CallError::StartFailed(error)),
        response => Ok(response),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn refusals_are_errors_and_streams_stay_in_the_socket() {
        let (mut engine, mut shim) = UnixStream::pair().unwrap();
        send(
            &mut shim,
            &Response::Refused {
                reason: "container is not running".into(),
            },
        )
        .unwrap();
        send(&mut shim, &Response::Ok).unwrap();
        shim.write_all(b"output").unwrap();

        let error = call(&mut engine, &Request::Pause { unwell: false }).unwrap_err();
        assert_eq!(error.to_string(), "container is not running");
        assert_eq!(
            call(&mut engine, &Request::Pause { unwell: false }).unwrap(),
            Response::Ok
        );
        let mut rest = [0; 6];
        engine.read_exact(&mut rest).unwrap();
        assert_eq!(&rest, b"output");
    }
}
