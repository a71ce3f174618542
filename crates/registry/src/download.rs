//! A file from any web server: what `ADD` of a URL asks for.

use std::io::Read;
use std::sync::Arc;

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

impl Client {
    /// Asks for an `http` or `https` URL; redirections are followed.
    ///
    /// # Errors
    /// [`RegistryError::Request`] when nobody answers, [`RegistryError::Status`] when the server has no such file.
    pub fn download(&self, url: &str) -> Result<Download, RegistryError> {
        let host = url
            .split_once("://")
            .map_or(url, |(_, rest)| rest)
            .split(['/', '?', '#'])
            .next()
            .unwrap_or_default();
        let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
        let answer =
            self.transport(host)
                .send(&Arc::default(), "GET", url, &[], Payload::Nothing)?;
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
        Ok(Download {
            reader: Box::new(answer.into_reader()),
            name,
            modified,
        })
    }
}
