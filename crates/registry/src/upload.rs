//! Pushing: blobs that a registry lacks, then the manifest that names them.

use std::io::{self, Read};
use std::sync::Arc;

use crate::cancel::Cancel;
use crate::error::RegistryError;
use crate::session::Session;
use crate::transport::Payload;

/// What became of the wish to put a blob into the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// The registry took it over from another repository.
    Mounted,
    /// It is to be sent to this place.
    Upload(String),
}

impl Session<'_> {
    /// The size of a blob that the repository has.
    ///
    /// # Errors
    /// As the registry refuses.
    pub fn blob_size(&self, digest: &str) -> Result<Option<u64>, RegistryError> {
        let url = self.url(&format!("blobs/{digest}"));
        Self::patiently(&self.cancel, || {
            let answer = self.send("HEAD", &url, &[], Payload::Nothing)?;
            match answer.status {
                404 => Ok(None),
                _ if answer.is_success() => Ok(Some(answer.length().unwrap_or(0))),
                _ => Err(answer.into_error()),
            }
        })
    }

    /// Begins to put a blob there; `from` is the path of a repository that has it.
    ///
    /// # Errors
    /// As the registry refuses.
    pub fn begin_upload(&self, digest: &str, from: Option<&str>) -> Result<Begun, RegistryError> {
        let mut url = self.url("blobs/uploads/");
        if let Some(from) = from {
            let query = crate::session::form(&[("mount", digest), ("from", from)]);
            url = format!("{url}?{query}");
        }
        let answer = self.send("POST", &url, &[], Payload::Nothing)?;
        match (answer.status, answer.header("Location")) {
            (201, _) => Ok(Begun::Mounted),
            (202, Some(location)) => Ok(Begun::Upload(self.resolve(location))),
            (202, None) => Err(RegistryError::Answer {
                url,
                why: "it names no place to upload to".to_owned(),
            }),
            _ => Err(answer.into_error()),
        }
    }

    /// Sends a blob of `size` bytes; `open` gives it from its beginning, once for each attempt.
    ///
    /// # Errors
    /// As the registry refuses; [`RegistryError::Local`] with what `open` said; [`RegistryError::Cancelled`].
    pub fn upload(
        &self,
        place: &str,
        digest: &str,
        size: u64,
        open: &mut dyn FnMut() -> io::Result<Box<dyn Read + Send>>,
    ) -> Result<(), RegistryError> {
        let mut place = Some(place.to_owned());
        Self::patiently(&self.cancel, || {
            // What was sent to a place before is not known: each attempt has one of its own.
            let place = match place.take() {
                Some(place) => place,
                None => match self.begin_upload(digest, None)? {
                    Begun::Mounted => return Ok(()),
                    Begun::Upload(place) => place,
                },
            };
            let reader = Watched {
                reader: open().map_err(|source| RegistryError::Local { source })?,
                cancel: Arc::clone(&self.cancel),
            };
            let headers = [("Content-Type", "application/octet-stream")];
            let payload = Payload::Stream {
                reader: Box::new(reader),
                size,
            };
            let answer = self.send("PATCH", &place, &headers, payload)?;
            let next = match (answer.is_success(), answer.header("Location")) {
                (true, Some(location)) => self.resolve(location),
                (true, None) => place,
                (false, _) => return Err(answer.into_error()),
            };
            let joint = if next.contains('?') { '&' } else { '?' };
            let query = crate::session::form(&[("digest", digest)]);
            let answer = self.send(
                "PUT",
                &format!("{next}{joint}{query}"),
                &[],
                Payload::Nothing,
            )?;
            if answer.is_success() {
                Ok(())
            } else {
                Err(answer.into_error())
            }
        })
    }

    /// Puts a manifest there under a tag or its digest.
    ///
    /// # Errors
    /// As the registry refuses.
    pub fn put_manifest(
        &self,
        reference: &str,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<(), RegistryError> {
        let url = self.url(&format!("manifests/{reference}"));
        Self::patiently(&self.cancel, || {
            let headers = [("Content-Type", media_type)];
            let answer = self.send("PUT", &url, &headers, Payload::Bytes(bytes.to_vec()))?;
            if answer.is_success() {
                Ok(())
            } else {
                Err(answer.into_error())
            }
        })
    }
}

/// Ends early when nobody wants the upload any more.
struct Watched {
    reader: Box<dyn Read + Send>,
    cancel: Arc<Cancel>,
}

impl Read for Watched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.cancel.is_given_up() {
            return Err(io::Error::other("the transfer was cancelled"));
        }
        self.reader.read(buffer)
    }
}
