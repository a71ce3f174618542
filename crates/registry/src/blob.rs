//! Blobs: downloads that go on where they broke off, counted and digested on the way.
//!
//! Steps of a download:
//! 1. what an earlier one had fetched is digested, and the blob is asked for from the byte that is missing on;
//! 2. each part is digested and handed to the caller, who must take nothing for true yet;
//! 3. a connection that breaks is followed by another, with a growing pause, five times without progress at most;
//! 4. size and digest are compared: only when this succeeds was the blob what it is called.

use std::fmt::Write as _;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;

use sha2::{Digest as _, Sha256};

use crate::cancel::{Cancel, PATIENCE};
use crate::error::RegistryError;
use crate::session::{ATTEMPTS, Session, back_off};
use crate::transport::{Answer, Payload, unanswered};

const PART: usize = 256 << 10;
/// Parts that may wait to be digested.
const AHEAD: usize = 4;
/// Connections for one blob, with or without progress.
const MOST_ATTEMPTS: u32 = 100;

/// `sha256:…` of some bytes.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    shown(Sha256::new_with_prefix(bytes))
}

fn shown(hash: Sha256) -> String {
    let mut text = String::from("sha256:");
    for byte in hash.finalize() {
        write!(text, "{byte:02x}").expect("writing to a string");
    }
    text
}

struct Progress<'s> {
    hash: Sha256,
    at: u64,
    size: u64,
    sink: &'s mut dyn FnMut(&[u8]) -> io::Result<()>,
}

impl Progress<'_> {
    /// Digests what is there already.
    fn learn(&mut self, known: &mut dyn Read, cancel: &Cancel) -> Result<(), RegistryError> {
        let mut known = known.take(self.size);
        let mut buffer = vec![0; PART];
        loop {
            if cancel.is_given_up() {
                return Err(RegistryError::Cancelled);
            }
            match known.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => {
                    self.hash.update(&buffer[..count]);
                    self.at += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(RegistryError::Local { source }),
            }
        }
    }
}

impl Session<'_> {
    /// Fetches a blob of `size` bytes and gives it to `sink` part by part, each byte once. What `known` has of it, from
    /// the beginning and not more than `size`, is not fetched and not given to `sink`; nobody has to have checked it.
    ///
    /// # Errors
    /// [`RegistryError::Mismatch`] when size or digest are wrong, after `sink` has seen everything; [`RegistryError::Local`]
    /// with what `sink` said; [`RegistryError::Cancelled`]; [`RegistryError::GaveUp`].
    pub fn download(
        &self,
        digest: &str,
        size: u64,
        cancel: &Arc<Cancel>,
        known: &mut dyn Read,
        sink: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(), RegistryError> {
        let mut progress = Progress {
            hash: Sha256::new(),
            at: 0,
            size,
            sink,
        };
        progress.learn(known, cancel)?;
        let (mut attempts, mut idle) = (0, 0);
        while progress.at < size {
            let before = progress.at;
            let error = match self.download_some(digest, cancel, &mut progress) {
                Ok(()) => break,
                Err(error) if error.is_passing() => error,
                Err(error) => return Err(error),
            };
            attempts += 1;
            idle = if progress.at > before { 1 } else { idle + 1 };
            if idle >= ATTEMPTS || attempts >= MOST_ATTEMPTS {
                return Err(RegistryError::GaveUp {
                    attempts,
                    source: Box::new(error),
                });
            }
            tracing::debug!(digest, at = progress.at, %error, "a download is resumed");
            if cancel.pause(back_off(idle)) {
                return Err(RegistryError::Cancelled);
            }
        }
        let found = shown(progress.hash);
        if found == digest {
            return Ok(());
        }
        Err(RegistryError::Mismatch {
            what: format!("filesystem layer verification failed for digest {digest}"),
            expected: digest.to_owned(),
            got: found,
        })
    }

    fn download_some(
        &self,
        digest: &str,
        cancel: &Arc<Cancel>,
        progress: &mut Progress<'_>,
    ) -> Result<(), RegistryError> {
        let url = self.url(&format!("blobs/{digest}"));
        let range = format!("bytes={}-", progress.at);
        let headers: &[(&str, &str)] = if progress.at > 0 {
            &[("Range", &range)]
        } else {
            &[]
        };
        let mut answer = self.send_for(cancel, "GET", &url, headers, Payload::Nothing)?;
        if answer.status == 416 && progress.at > 0 {
            // What cannot send a part may yet send the whole.
            answer = self.send_for(cancel, "GET", &url, &[], Payload::Nothing)?;
        }
        let begins = match answer.status {
            200 => 0,
            206 => begin_of(&answer),
            _ => return Err(answer.into_error()),
        };
        if begins > progress.at {
            return Err(RegistryError::Answer {
                url,
                why: "it begins after the byte that was asked for".to_owned(),
            });
        }
        let wrong_size = |got: String| RegistryError::Mismatch {
            what: format!("{digest} does not have its size"),
            expected: progress.size.to_string(),
            got,
        };
        if let Some(length) = answer.length()
            && begins + length != progress.size
        {
            return Err(wrong_size((begins + length).to_string()));
        }
        // A registry without ranges sends again what is known.
        let mut skip = progress.at - begins;
        let parts =
            read_ahead(answer.into_reader()).map_err(|source| RegistryError::Local { source })?;
        loop {
            if cancel.is_given_up() {
                return Err(RegistryError::Cancelled);
            }
            let part = match parts.recv_timeout(PATIENCE) {
                Ok(part) => part.map_err(|error| unanswered("GET", &url, &error.into()))?,
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => Vec::new(),
            };
            let count = part.len();
            if count == 0 {
                if progress.at == progress.size {
                    return Ok(());
                }
                let early = io::Error::from(io::ErrorKind::UnexpectedEof);
                return Err(unanswered("GET", &url, &early.into()));
            }
            let known = usize::try_from(skip).unwrap_or(usize::MAX).min(count);
            skip -= known as u64;
            let part = &part[known..];
            if part.len() as u64 > progress.size - progress.at {
                return Err(RegistryError::Mismatch {
                    what: format!("{digest} does not have its size"),
                    expected: progress.size.to_string(),
                    got: "more".to_owned(),
                });
            }
            progress.hash.update(part);
            (progress.sink)(part).map_err(|source| RegistryError::Local { source })?;
            progress.at += part.len() as u64;
        }
    }
}

/// Reads in a thread of its own, so that whoever waits for a silent registry can stop waiting. The thread ends when the
/// connection does, or has been silent for too long.
fn read_ahead(mut reader: impl Read + Send + 'static) -> io::Result<Receiver<io::Result<Vec<u8>>>> {
    let (sender, parts) = sync_channel(AHEAD);
    thread::Builder::new()
        .name("download".to_owned())
        .spawn(move || {
            let mut buffer = vec![0; PART];
            loop {
                let part = match reader.read(&mut buffer) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    result => result.map(|count| buffer[..count].to_vec()),
                };
                let is_last = part.as_ref().map_or(true, Vec::is_empty);
                if sender.send(part).is_err() || is_last {
                    return;
                }
            }
        })?;
    Ok(parts)
}

/// `bytes 5-9/10` begins at 5. One that cannot be read is taken for the beginning, and compared by size.
fn begin_of(answer: &Answer) -> u64 {
    answer
        .header("Content-Range")
        .and_then(|range| {
            range
                .strip_prefix("bytes ")?
                .split('-')
                .next()?
                .parse()
                .ok()
        })
        .unwrap_or(0)
}
