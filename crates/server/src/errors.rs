//! From what went wrong to an HTTP answer: the kind gives the status, the error's own sentence the message.
//!
//! Every refusal is `{"message": "…"}`. The one exception is 304, which has no body.

use std::error::Error;

use engine::containers::ContainerError;
use engine::images::ImageError;
use engine::{ErrorKind, Fault as _, chain};
use hyper::{Response, StatusCode, header};
use serde_json::json;

use crate::stream::Body;

/// A request that is not fulfilled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) message: String,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
        }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    pub(crate) fn unsupported(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, message)
    }

    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    }

    pub(crate) fn of(kind: ErrorKind, error: &dyn Error) -> Self {
        Self::new(status(kind), chain(error))
    }

    pub(crate) fn into_response(self) -> Response<Body> {
        let mut response = if self.status == StatusCode::NOT_MODIFIED {
            Response::new(Body::empty())
        } else {
            let mut response = Response::new(Body::json(&json!({ "message": self.message })));
            response.headers_mut().insert(
                header::CONTENT_TYPE,
                header::HeaderValue::from_static("application/json"),
            );
            response
        };
        *response.status_mut() = self.status;
        response
    }
}

fn status(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::Conflict | ErrorKind::InUse => StatusCode::CONFLICT,
        ErrorKind::Invalid => StatusCode::BAD_REQUEST,
        ErrorKind::Unsupported => StatusCode::NOT_IMPLEMENTED,
        ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::Denied => StatusCode::FORBIDDEN,
        ErrorKind::NoSpace | ErrorKind::Cancelled | ErrorKind::Corrupt | ErrorKind::Internal => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
    }
}

impl From<ContainerError> for Refusal {
    fn from(error: ContainerError) -> Self {
        match &error {
            ContainerError::NotModified => Self::new(StatusCode::NOT_MODIFIED, ""),
            // A program that is missing or may not be executed is the caller's mistake.
            ContainerError::Start {
                code: 126 | 127, ..
            } => Self::invalid(chain(&error)),
            ContainerError::Start { .. } => Self::internal(chain(&error)),
            _ => Self::of(error.kind(), &error),
        }
    }
}

impl From<ImageError> for Refusal {
    fn from(error: ImageError) -> Self {
        Self::of(error.kind(), &error)
    }
}

impl From<engine::build::BuildError> for Refusal {
    fn from(error: engine::build::BuildError) -> Self {
        Self::of(error.kind(), &error)
    }
}

impl From<engine::VolumeError> for Refusal {
    fn from(error: engine::VolumeError) -> Self {
        Self::of(error.kind(), &error)
    }
}

impl From<engine::network::NetworkError> for Refusal {
    fn from(error: engine::network::NetworkError) -> Self {
        Self::of(error.kind(), &error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_and_sentences() {
        let table: [(ContainerError, u16, &str); 9] = [
            (
                ContainerError::NoSuch("x".into()),
                404,
                "No such container: x",
            ),
            (ContainerError::Invalid("bad".into()), 400, "bad"),
            (ContainerError::Conflict("busy".into()), 409, "busy"),
            (ContainerError::NotModified, 304, ""),
            (ContainerError::Unsupported("no".into()), 501, "no"),
            (
                ContainerError::NotRunning("c".into()),
                409,
                "container c is not running",
            ),
            (
                ContainerError::Start {
                    message: "exec: \"x\": not found".into(),
                    code: 127,
                },
                400,
                "failed to create task for container: exec: \"x\": not found",
            ),
            (
                ContainerError::Start {
                    message: "mount".into(),
                    code: 128,
                },
                500,
                "failed to create task for container: mount",
            ),
            (
                ImageError::NoSuch("i".into()).into(),
                404,
                "No such image: i",
            ),
        ];
        for (error, status, message) in table {
            let refusal = Refusal::from(error);
            assert_eq!(
                (refusal.status.as_u16(), refusal.message.as_str()),
                (status, message)
            );
        }
    }

    #[test]
    fn causes_are_told_once() {
        let source = std::io::Error::from_raw_os_error(28);
        let error = ContainerError::Io {
            action: "cannot make /x".into(),
            source,
        };
        assert_eq!(chain(&error), "cannot make /x: no space left on device");
        let wrapped = ContainerError::Image(ImageError::Invalid("bad name".into()));
        assert_eq!(chain(&wrapped), "bad name");
    }
}
