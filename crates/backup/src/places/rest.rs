//! A repository on a server that speaks restic's REST protocol, version 2 (version 1 for lists).
//!
//! The server is trusted to make files appear whole: it knows their length before they come.

use base64::Engine as _;
use bytes::Bytes;
use rustic_core::Id;
use serde::Deserialize;

use super::Place;
use super::http::{Answer, Server, range};
use crate::place::{Kind, Name, PlaceError, Storage};

const ACCEPT: &str = "application/vnd.x.restic.rest.v2";

#[derive(Debug)]
pub(crate) struct Rest {
    server: Server,
    /// With a slash at its end.
    url: String,
    login: Login,
}

/// Hidden from those who print it.
struct Login(Option<String>);

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Login(…)")
    }
}

/// An entry of a list.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Listed {
    Sized {
        name: String,
        size: u64,
    },
    /// As servers of version 1 have it.
    Name(String),
}

/// What a list says: ids, and how long the files are if it knows. Names that are no ids are not of the repository.
pub(crate) fn understand(body: &[u8]) -> Result<Vec<(Id, Option<u64>)>, String> {
    let listed: Option<Vec<Listed>> =
        serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let files = listed.into_iter().flatten().filter_map(|entry| {
        let (name, size) = match entry {
            Listed::Sized { name, size } => (name, Some(size)),
            Listed::Name(name) => (name, None),
        };
        let id = (name.len() == 64).then(|| name.parse().ok())??;
        Some((id, size))
    });
    Ok(files.collect())
}

impl Rest {
    pub(crate) fn new(
        url: &str,
        user: Option<&str>,
        password: Option<&str>,
        place: &Place,
    ) -> Result<Self, PlaceError> {
        let login = user.map(|user| {
            let text = format!("{user}:{}", password.unwrap_or_default());
            format!(
                "Basic {}",
                base64::engine::general_purpose::STANDARD.encode(text)
            )
        });
        Ok(Self {
            server: Server::new(url, place)?,
            url: url.to_owned(),
            login: Login(login),
        })
    }

    fn url(&self, name: Name) -> String {
        match name.kind {
            Kind::Config => format!("{}config", self.url),
            kind => format!(
                "{}{}/{}",
                self.url,
                kind.directory(),
                name.id.to_hex().as_str()
            ),
        }
    }

    fn send(
        &self,
        method: &str,
        url: &str,
        more: Option<(&str, &str)>,
        body: Option<&[u8]>,
    ) -> Result<Answer, PlaceError> {
        let mut headers = vec![("Accept", ACCEPT)];
        headers.extend(
            self.login
                .0
                .as_deref()
                .map(|login| ("Authorization", login)),
        );
        headers.extend(more);
        self.server.send(method, url, &headers, body)
    }

    /// How long a file is; `None` when it is not there.
    fn size(&self, name: Name) -> Result<Option<u64>, PlaceError> {
        let answer = self.send("HEAD", &self.url(name), None, None)?;
        if answer.status == 404 {
            return Ok(None);
        }
        let answer = self.server.expect(answer, &name.to_string())?;
        let length = answer.headers.get("Content-Length");
        Ok(length
            .and_then(|length| length.to_str().ok())
            .and_then(|length| length.parse().ok()))
    }
}

impl Storage for Rest {
    fn shown(&self) -> String {
        self.server.place()
    }

    fn prepare(&self) -> Result<(), PlaceError> {
        let url = format!("{}?create=true", self.url);
        let answer = self.send("POST", &url, None, Some(b""))?;
        self.server.expect(answer, "the repository").map(drop)
    }

    fn list(&self, kind: Kind) -> Result<Vec<(Id, u64)>, PlaceError> {
        if kind == Kind::Config {
            let size = self.size(Name::config())?;
            return Ok(size.map(|size| (Id::default(), size)).into_iter().collect());
        }
        let what = format!("the list of {}", kind.directory());
        let url = format!("{}{}/", self.url, kind.directory());
        let answer = self.send("GET", &url, None, None)?;
        if answer.status == 404 {
            return Ok(Vec::new());
        }
        let answer = self.server.expect(answer, &what)?;
        let listed = understand(&answer.body).map_err(|detail| PlaceError::Nonsense {
            place: self.shown(),
            file: what,
            detail,
        })?;
        let mut files = Vec::new();
        for (id, size) in listed {
            let size = match size {
                Some(size) => Some(size),
                None => self.size(Name::new(kind, id))?,
            };
            files.extend(size.map(|size| (id, size)));
        }
        Ok(files)
    }

    fn read(&self, name: Name) -> Result<Bytes, PlaceError> {
        let answer = self.send("GET", &self.url(name), None, None)?;
        Ok(self.server.expect(answer, &name.to_string())?.body)
    }

    fn read_part(&self, name: Name, offset: u64, length: u64) -> Result<Bytes, PlaceError> {
        let range = range(offset, length);
        let answer = self.send("GET", &self.url(name), Some(("Range", &range)), None)?;
        let answer = self.server.expect(answer, &name.to_string())?;
        self.server.part(&answer, name, offset, length)
    }

    fn write(&self, name: Name, bytes: &[u8]) -> Result<(), PlaceError> {
        let answer = self.send("POST", &self.url(name), None, Some(bytes))?;
        // Servers refuse to write a file twice, as we do when the first answer was lost.
        let twice = matches!(answer.status, 403 | 405 | 409)
            && self.size(name)? == Some(bytes.len() as u64);
        if twice {
            return Ok(());
        }
        self.server.expect(answer, &name.to_string()).map(drop)
    }

    fn remove(&self, name: Name) -> Result<(), PlaceError> {
        let answer = self.send("DELETE", &self.url(name), None, None)?;
        if answer.status == 404 {
            return Ok(());
        }
        self.server.expect(answer, &name.to_string()).map(drop)
    }
}
