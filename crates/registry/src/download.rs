//! A file from any web server: what `ADD` of a URL asks for.

use std::io::{self, Cursor, Read};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;

use crate::cancel::{Cancel, PATIENCE};
use crate::client::Client;
use crate::error::RegistryError;
use crate::transport::Payload;

/// An answer whose body is still to read.
pub struct Download {
    pub reader: Box<dyn Read + Send>,
    /// The name that the server suggests.
    pub name: Option<String>,
    /// `Last-Modified`, as the server writes it.
    pub modified: Option<String>,
}

impl std::fmt::Debug for Download {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Download")
            .field("name", &self.name)
            .field("modified", &self.modified)
            .finish_non_exhaustive()
    }
}

/// Bytes that are read ahead at a time, and how many such portions.
const PORTION: usize = 256 << 10;
const AHEAD: usize = 4;

/// A body that is read on a thread of its own: a server that says nothing keeps that thread alone once it was given up.
struct Body {
    /// An empty one is the end.
    portions: Receiver<io::Result<Vec<u8>>>,
    current: Cursor<Vec<u8>>,
    cancel: Arc<Cancel>,
}

impl Body {
    fn new(mut from: impl Read + Send + 'static, cancel: &Arc<Cancel>) -> io::Result<Self> {
        let (sender, portions) = sync_channel(AHEAD);
        thread::Builder::new()
            .name("download".to_owned())
            .spawn(move || {
                loop {
                    let mut portion = vec![0; PORTION];
                    let read = from.read(&mut portion).map(|length| {
                        portion.truncate(length);
                        portion
                    });
                    let last = read.as_ref().map_or(true, Vec::is_empty);
                    // Who was to read it may have given up.
                    if sender.send(read).is_err() || last {
                        return;
                    }
                }
            })?;
        Ok(Self {
            portions,
            current: Cursor::default(),
            cancel: Arc::clone(cancel),
        })
    }
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let length = self.current.read(buffer)?;
            if length > 0 || buffer.is_empty() {
                return Ok(length);
            }
            if self.cancel.is_given_up() {
                return Err(io::Error::other(RegistryError::Cancelled));
            }
            match self.portions.recv_timeout(PATIENCE) {
                Ok(portion) => {
                    let portion = portion?;
                    if portion.is_empty() {
                        return Ok(0);
                    }
                    self.current = Cursor::new(portion);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
        }
    }
}

impl Client {
    /// Asks for an `http` or `https` URL; redirections are followed. `cancel` ends the reading of the answer as well.
    ///
    /// # Errors
    /// [`RegistryError::Request`] when nobody answers, [`RegistryError::Status`] when the server has no such file,
    /// [`RegistryError::Cancelled`].
    pub fn download(&self, url: &str, cancel: &Arc<Cancel>) -> Result<Download, RegistryError> {
        let host = url
            .split_once("://")
            .map_or(url, |(_, rest)| rest)
            .split(['/', '?', '#'])
            .next()
            .unwrap_or_default();
        let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
        let answer = self
            .transport(host)
            .send(cancel, "GET", url, &[], Payload::Nothing)?;
        if !answer.is_success() {
            return Err(RegistryError::Status {
                status: answer.status,
                url: url.to_owned(),
            });
        }
        let name = answer
            .header("Content-Disposition")
            .and_then(|text| {
                text.split(';')
                    .find_map(|part| part.trim().strip_prefix("filename="))
            })
            .map(|name| name.trim_matches('"').to_owned())
            .filter(|name| !name.is_empty() && !name.contains('/'));
        let modified = answer.header("Last-Modified").map(str::to_owned);
        let reader = Body::new(answer.into_reader(), cancel)
            .map_err(|source| RegistryError::Local { source })?;
        Ok(Download {
            reader: Box::new(reader),
            name,
            modified,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives one portion and then nothing until the test lets go of it.
    struct Stalled(bool, Receiver<()>);

    impl Read for Stalled {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if std::mem::replace(&mut self.0, true) {
                self.1.recv().unwrap_err();
                return Ok(0);
            }
            buffer[..4].copy_from_slice(b"once");
            Ok(4)
        }
    }

    #[test]
    fn a_body_that_stalls_is_left_alone() {
        let (hold, held) = sync_channel(0);
        let cancel = Arc::new(Cancel::default());
        let mut body = Body::new(Stalled(false, held), &cancel).expect("a thread");
        let mut read = [0; 16];
        assert_eq!(body.read(&mut read).expect("there"), 4);
        cancel.give_up();
        let error = body.read(&mut read).expect_err("given up");
        assert_eq!(error.kind(), io::ErrorKind::Other);
        drop(hold);
    }

    #[test]
    fn a_body_comes_whole() {
        let bytes: Vec<u8> = (0..=255).cycle().take(3 * PORTION + 7).collect();
        let cancel = Arc::default();
        let mut body = Body::new(Cursor::new(bytes.clone()), &cancel).expect("a thread");
        let mut read = Vec::new();
        body.read_to_end(&mut read).expect("whole");
        assert!(read == bytes);
    }
}
