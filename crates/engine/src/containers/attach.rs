//! `attach`: a connection to a container's streams.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::PoisonError;

use shim_protocol::Request;
use shim_protocol::messages::AttachSpec;

use super::find::Columns as _;
use super::{ContainerError, Containers, Status};

#[derive(Debug, Clone, Default)]
pub struct AttachRequest {
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
    /// Docker's notation (`ctrl-p,ctrl-q`); `None` is the default.
    pub detach_keys: Option<String>,
}

/// ctrl-p ctrl-q.
const DEFAULT_DETACH_KEYS: [u8; 2] = [16, 17];

/// `a`, `ctrl-a`, `ctrl-[`, separated by commas, to the bytes that a terminal sends.
pub(crate) fn detach_keys(text: Option<&str>) -> Result<Vec<u8>, ContainerError> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Ok(DEFAULT_DETACH_KEYS.to_vec());
    };
    text.split(',')
        .map(|key| {
            let unknown = || {
                ContainerError::Invalid(format!(
                    "Invalid detach keys ({text}) provided: Unknown character: '{key}'"
                ))
            };
            match key.as_bytes() {
                [byte] => Ok(*byte),
                _ => match key.strip_prefix("ctrl-").map(str::as_bytes) {
                    Some([letter @ b'a'..=b'z']) => Ok(letter - b'a' + 1),
                    Some([symbol @ (b'@' | b'[' | b'\\' | b']' | b'^' | b'_')]) => {
                        Ok(symbol - b'@')
                    }
                    _ => Err(unknown()),
                },
            }
        })
        .collect()
}

impl Containers {
    /// A connected stream socket that carries raw bytes when the container has a terminal (the flag), else frames with
    /// Docker's stream header; what is written to it goes to stdin. Before the start it waits for it.
    pub fn attach(
        &self,
        reference: &str,
        request: &AttachRequest,
    ) -> Result<(OwnedFd, bool), ContainerError> {
        let row = self.find(reference)?;
        let config = row.config()?;
        let keys = detach_keys(request.detach_keys.as_deref())?;
        match row.status()? {
            Status::Paused => {
                return Err(ContainerError::Conflict(format!(
                    "container {} is paused, unpause the container before attach",
                    row.id
                )));
            }
            Status::Restarting => {
                return Err(ContainerError::Conflict(format!(
                    "container {} is restarting, wait until the container is running",
                    row.id
                )));
            }
            _ => {}
        }
        let spec = AttachSpec {
            stdin: request.stdin && config.open_stdin,
            stdout: request.stdout,
            stderr: request.stderr,
            detach_keys: Some(keys),
        };
        if row.status()? == Status::Running {
            let request = Request::Attach {
                stdin: spec.stdin,
                stdout: spec.stdout,
                stderr: spec.stderr,
                detach_keys: spec.detach_keys,
            };
            let (stream, _) = self.converse(&row.id, &request)?;
            self.publish(&row, "attach", &[]);
            return Ok((stream.into(), config.tty));
        }
        let (ours, theirs) = UnixStream::pair().map_err(|source| ContainerError::Io {
            action: "no socket pair to attach with".to_owned(),
            source,
        })?;
        self.live(&row.id)
            .pending
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((spec, theirs.into()));
        self.publish(&row, "attach", &[]);
        Ok((ours.into(), config.tty))
    }

    pub fn resize(&self, reference: &str, rows: u16, columns: u16) -> Result<(), ContainerError> {
        let row = self.find(reference)?;
        if !row.status()?.is_active() {
            return Err(ContainerError::NotRunning(row.id));
        }
        self.ask(&row.id, &Request::Resize { rows, columns })?;
        let (height, width) = (rows.to_string(), columns.to_string());
        self.publish(&row, "resize", &[("height", &height), ("width", &width)]);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::detach_keys;

    #[test]
    fn detach_keys_are_read_like_docker() {
        assert_eq!(detach_keys(None).expect("default"), [16, 17]);
        assert_eq!(
            detach_keys(Some("ctrl-a,x,ctrl-[")).expect("valid"),
            [1, b'x', 27]
        );
        assert!(detach_keys(Some("ctrl-é")).is_err());
        assert!(detach_keys(Some("abc")).is_err());
    }
}
