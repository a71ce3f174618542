//! The kinds of places. A new one is a file here and a line in [`open`]; the conformance tests run over all.

mod directory;
pub(crate) mod http;
pub(crate) mod object_store;
mod proxy;
pub(crate) mod rest;
mod sftp;

use std::sync::Arc;
use std::time::Duration;

use directory::Directory;
use object_store::ObjectStore;
pub use proxy::Proxies;
use rest::Rest;
use sftp::Sftp;

use crate::location::Location;
use crate::place::{PlaceError, Storage};
use crate::retry::Retrying;

/// A repository's place: where it is, what is needed to get in, and how hard to press it.
#[derive(Debug, Clone)]
pub struct Place {
    pub location: Location,
    /// What an object store asks for; without it requests are not signed.
    pub s3: Option<S3Keys>,
    /// Certificates in PEM: whoever has one of them, or one that they vouch for, is the server. `None`: those that this system
    /// trusts vouch for it.
    pub authority: Option<String>,
    pub proxies: Proxies,
    /// Arguments for `ssh` before the host: `-i`, `-F`, `-o`. They come from whoever is trusted with running programs.
    pub ssh: Vec<String>,
    /// Bytes a second, over all requests together.
    pub upload_limit: Option<u64>,
    pub download_limit: Option<u64>,
    /// How often a request is made again after something that may pass.
    pub retries: u32,
    /// A server that says nothing for so long is taken to be gone.
    pub patience: Duration,
    /// Where indexes, trees and lists are kept between runs, so that they are not fetched again. Anything in it may be removed
    /// at any time.
    pub cache: Option<std::path::PathBuf>,
}

/// What an object store knows its users by.
#[derive(Clone)]
pub struct S3Keys {
    pub access_key: String,
    pub secret_key: String,
    pub session_token: Option<String>,
    pub region: Option<String>,
    /// The bucket is a part of the path, not of the host's name.
    pub path_style: bool,
}

impl std::fmt::Debug for S3Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("S3Keys")
            .field("access_key", &self.access_key)
            .field("region", &self.region)
            .finish_non_exhaustive()
    }
}

impl Place {
    /// With nothing but a location: no credentials, no proxies, no limits, five retries, half a minute of patience, no cache.
    #[must_use]
    pub fn new(location: Location) -> Self {
        Self {
            location,
            s3: None,
            authority: None,
            proxies: Proxies::default(),
            ssh: Vec::new(),
            upload_limit: None,
            download_limit: None,
            retries: 5,
            patience: Duration::from_secs(30),
            cache: None,
        }
    }
}

/// Connects; what is wrong with a server shows itself at the first request.
pub(crate) fn open(place: &Place) -> Result<Arc<dyn Storage>, PlaceError> {
    let shown = place.location.to_string();
    let storage: Box<dyn Storage> = match &place.location {
        Location::Directory(path) => Box::new(Directory::new(path)),
        Location::ObjectStore(location) => Box::new(ObjectStore::new(location, place)?),
        Location::Sftp(location) => {
            Box::new(Sftp::new(shown, location, &place.ssh, place.patience)?)
        }
        Location::Rest {
            url,
            user,
            password,
        } => Box::new(Rest::new(url, user.as_deref(), password.as_deref(), place)?),
    };
    Ok(Arc::new(Retrying::new(storage, place)))
}
