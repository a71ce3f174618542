//! A repository in a bucket of a server that speaks S3. Objects appear whole or not at all.

use std::time::Duration;

use bytes::Bytes;
use rustic_core::Id;
use rusty_s3::actions::{CreateBucket, ListObjectsV2, ListObjectsV2Response};
use rusty_s3::{Bucket, Credentials, S3Action as _, UrlStyle};

use super::Place;
use super::http::{Server, range};
use crate::location;
use crate::place::{Kind, Name, PlaceError, Storage};

/// How long a signature is good for: longer than any request takes.
const SIGNED_FOR: Duration = Duration::from_secs(3600);
/// What S3 means when no region is named.
const REGION: &str = "us-east-1";
/// More pages than any repository has: a server that never ends its list is wrong.
const MOST_PAGES: usize = 100_000;

pub(crate) struct ObjectStore {
    server: Server,
    bucket: Bucket,
    credentials: Option<Credentials>,
    /// Empty, or with a slash at its end.
    prefix: String,
}

impl std::fmt::Debug for ObjectStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ObjectStore")
            .field("server", &self.server)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

impl ObjectStore {
    pub(crate) fn new(location: &location::ObjectStore, place: &Place) -> Result<Self, PlaceError> {
        let keys = place.s3.as_ref();
        let nonsense = |detail: String| PlaceError::Nonsense {
            place: place.location.to_string(),
            file: "the address".to_owned(),
            detail,
        };
        let style = if keys.is_none_or(|keys| keys.path_style) {
            UrlStyle::Path
        } else {
            UrlStyle::VirtualHost
        };
        let region = keys.and_then(|keys| keys.region.clone());
        let region = region.unwrap_or_else(|| REGION.to_owned());
        let endpoint = location
            .endpoint
            .parse()
            .map_err(|_| nonsense(location.endpoint.clone()))?;
        let bucket = Bucket::new(endpoint, style, location.bucket.clone(), region)
            .map_err(|error| nonsense(error.to_string()))?;
        let credentials = keys.map(|keys| match &keys.session_token {
            None => Credentials::new(&*keys.access_key, &*keys.secret_key),
            Some(token) => {
                Credentials::new_with_token(&*keys.access_key, &*keys.secret_key, &**token)
            }
        });
        let prefix = if location.prefix.is_empty() {
            String::new()
        } else {
            format!("{}/", location.prefix)
        };
        Ok(Self {
            server: Server::new(&location.endpoint, place)?,
            bucket,
            credentials,
            prefix,
        })
    }

    fn key(&self, name: Name) -> String {
        format!("{}{}", self.prefix, name.path())
    }

    fn page(
        &self,
        prefix: &str,
        after: Option<&str>,
        what: &str,
    ) -> Result<ListObjectsV2Response, PlaceError> {
        let mut action = ListObjectsV2::new(&self.bucket, self.credentials.as_ref());
        action.with_prefix(prefix);
        if let Some(after) = after {
            action.with_continuation_token(after);
        }
        let url = action.sign(SIGNED_FOR);
        let answer = self.server.send("GET", url.as_str(), &[], None)?;
        let answer = self.server.expect(answer, what)?;
        understand(&answer.body).map_err(|detail| PlaceError::Nonsense {
            place: self.shown(),
            file: what.to_owned(),
            detail,
        })
    }

    fn get(&self, name: Name, range: Option<&str>) -> Result<super::http::Answer, PlaceError> {
        let key = self.key(name);
        let url = self
            .bucket
            .get_object(self.credentials.as_ref(), &key)
            .sign(SIGNED_FOR);
        let headers: Vec<_> = range.map(|range| ("Range", range)).into_iter().collect();
        let answer = self.server.send("GET", url.as_str(), &headers, None)?;
        self.server.expect(answer, &name.to_string())
    }
}

/// A page of a list.
pub(crate) fn understand(body: &[u8]) -> Result<ListObjectsV2Response, String> {
    ListObjectsV2::parse_response(body).map_err(|error| error.to_string())
}

/// The id that a key ends with.
pub(crate) fn id(key: &str) -> Option<Id> {
    let name = key.rsplit('/').next()?;
    (name.len() == 64).then(|| name.parse().ok())?
}

impl Storage for ObjectStore {
    fn shown(&self) -> String {
        self.server.place()
    }

    fn prepare(&self) -> Result<(), PlaceError> {
        match self.page(&self.prefix, None, "the bucket") {
            Err(error) if error.is_missing() => {}
            other => return other.map(drop),
        }
        let Some(credentials) = &self.credentials else {
            return Err(PlaceError::Missing {
                place: self.shown(),
                file: "such bucket".to_owned(),
            });
        };
        let url = CreateBucket::new(&self.bucket, credentials).sign(SIGNED_FOR);
        let answer = self.server.send("PUT", url.as_str(), &[], Some(b""))?;
        self.server.expect(answer, "the bucket").map(drop)
    }

    fn list(&self, kind: Kind) -> Result<Vec<(Id, u64)>, PlaceError> {
        let what = format!("the list of {}", kind.directory());
        let prefix = match kind {
            Kind::Config => format!("{}config", self.prefix),
            kind => format!("{}{}/", self.prefix, kind.directory()),
        };
        let mut files = Vec::new();
        let mut after: Option<String> = None;
        for _ in 0..MOST_PAGES {
            let page = match self.page(&prefix, after.as_deref(), &what) {
                // Without a bucket there is nothing in it.
                Err(error) if error.is_missing() => return Ok(Vec::new()),
                other => other?,
            };
            for object in page.contents {
                if kind == Kind::Config {
                    if object.key == prefix {
                        files.push((Id::default(), object.size));
                    }
                } else if let Some(id) = id(&object.key) {
                    files.push((id, object.size));
                }
            }
            after = page.next_continuation_token;
            if after.is_none() {
                return Ok(files);
            }
        }
        Err(PlaceError::Nonsense {
            place: self.shown(),
            file: what,
            detail: "it has no end".to_owned(),
        })
    }

    fn read(&self, name: Name) -> Result<Bytes, PlaceError> {
        Ok(self.get(name, None)?.body)
    }

    fn read_part(&self, name: Name, offset: u64, length: u64) -> Result<Bytes, PlaceError> {
        let answer = self.get(name, Some(&range(offset, length)))?;
        self.server.part(&answer, name, offset, length)
    }

    fn write(&self, name: Name, bytes: &[u8]) -> Result<(), PlaceError> {
        let key = self.key(name);
        let url = self
            .bucket
            .put_object(self.credentials.as_ref(), &key)
            .sign(SIGNED_FOR);
        let headers = [("Content-Type", "application/octet-stream")];
        let answer = self
            .server
            .send("PUT", url.as_str(), &headers, Some(bytes))?;
        self.server.expect(answer, &name.to_string()).map(drop)
    }

    fn remove(&self, name: Name) -> Result<(), PlaceError> {
        let key = self.key(name);
        let url = self
            .bucket
            .delete_object(self.credentials.as_ref(), &key)
            .sign(SIGNED_FOR);
        let answer = self.server.send("DELETE", url.as_str(), &[], None)?;
        if answer.status == 404 {
            return Ok(());
        }
        self.server.expect(answer, &name.to_string()).map(drop)
    }
}
