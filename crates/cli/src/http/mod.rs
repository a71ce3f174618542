//! A small blocking HTTP/1.1 client for unix sockets.
//!
//! * A connection whose answer was read to its end is used again; one that the engine closed meanwhile is noticed before.
//! * Bodies are streamed in both directions; an upgraded connection is handed out.
//! * Requests are sent in the newest version of the API that this client knows, without asking first; an engine that finds it
//!   too new says what it speaks, and is asked again in that.

use std::io::{self, BufReader, Read, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::endpoint::Endpoint;
use crate::failure::{Failure, Outcome};

mod body;
mod head;
mod query;
#[cfg(test)]
mod tests;

pub(crate) use body::BodyReader;
pub(crate) use query::{Query, encode};

/// The newest API that this client was written for.
pub(crate) const API_VERSION: &str = "1.50";

/// Talks to one engine; clones share connection and version.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    endpoint: Endpoint,
    shared: Arc<Shared>,
    /// Sent with every request, each line ended.
    headers: Arc<str>,
}

#[derive(Debug)]
struct Shared {
    /// A connection with nothing under way on it.
    idle: Mutex<Option<BufReader<UnixStream>>>,
    version: Mutex<Version>,
}

#[derive(Debug)]
struct Version {
    number: String,
    /// The engine has answered to it.
    settled: bool,
}

impl Shared {
    fn keep(&self, connection: BufReader<UnixStream>) {
        *self.idle.lock().unwrap_or_else(PoisonError::into_inner) = Some(connection);
    }

    fn take(&self) -> Option<BufReader<UnixStream>> {
        let connection = self
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()?;
        is_quiet(connection.get_ref()).then_some(connection)
    }

    fn version(&self) -> (String, bool) {
        let version = self.version.lock().unwrap_or_else(PoisonError::into_inner);
        (version.number.clone(), version.settled)
    }

    fn settle(&self, number: &str) {
        let mut version = self.version.lock().unwrap_or_else(PoisonError::into_inner);
        number.clone_into(&mut version.number);
        version.settled = true;
    }
}

/// Between answers an engine says nothing; what can be read is the end of the connection.
fn is_quiet(stream: &UnixStream) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let mut descriptors = [PollFd::new(stream, PollFlags::IN)];
    poll(&mut descriptors, Some(&now)).is_ok_and(|ready| ready == 0)
}

/// What a request carries.
pub(crate) enum Body<'a> {
    Empty,
    Json(&'a Value),
    /// Sent chunked, with its content type.
    Stream(&'static str, &'a mut dyn Read),
}

/// Head of an answer, and its body still to read.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: BodyReader,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        head::find(&self.headers, name)
    }

    fn into_failure(mut self) -> Failure {
        let mut text = String::new();
        if let Err(error) = self.body.read_to_string(&mut text) {
            return Failure::new(format!("the engine's answer could not be read: {error}"));
        }
        let message = serde_json::from_str::<Value>(&text)
            .ok()
            .and_then(|value| value.get("message")?.as_str().map(str::to_owned))
            .unwrap_or_else(|| text.trim().to_owned());
        Failure::from_engine(self.status, &message)
    }

    /// The body as JSON; an empty one is `null`.
    pub(crate) fn json(self) -> Outcome<Value> {
        self.read()
    }

    /// The body as a type of the caller's: much faster than a tree of values where there are thousands.
    pub(crate) fn read<T: DeserializeOwned>(mut self) -> Outcome<T> {
        let mut bytes = Vec::new();
        self.body.read_to_end(&mut bytes)?;
        if bytes.is_empty() {
            bytes.extend(b"null");
        }
        serde_json::from_slice(&bytes).map_err(|error| {
            Failure::new(format!(
                "the engine's answer could not be understood: {error}"
            ))
        })
    }
}

/// Both directions of an upgraded connection.
#[derive(Debug)]
pub(crate) struct Upgraded {
    /// May hold bytes that came right behind the head.
    pub(crate) reader: BufReader<UnixStream>,
    pub(crate) writer: UnixStream,
}

impl Client {
    pub(crate) fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            shared: Arc::new(Shared {
                idle: Mutex::new(None),
                version: Mutex::new(Version {
                    number: API_VERSION.to_owned(),
                    settled: false,
                }),
            }),
            headers: Arc::from(""),
        }
    }

    /// As [`Endpoint::start_for_rescue`].
    pub(crate) fn start_for_rescue(&self, directory: Option<&Path>) -> Outcome<()> {
        self.endpoint.start_for_rescue(directory)
    }

    /// A connection on which nothing was said.
    pub(crate) fn dial(&self) -> Outcome<UnixStream> {
        self.endpoint.connect()
    }

    /// The same client, which sends one header more.
    pub(crate) fn with_header(&self, name: &str, value: &str) -> Self {
        Self {
            headers: format!("{}{name}: {value}\r\n", self.headers).into(),
            ..self.clone()
        }
    }

    pub(crate) fn get(&self, path: &str) -> Outcome<Value> {
        self.send("GET", path, Body::Empty)?.json()
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Outcome<Value> {
        self.send("POST", path, Body::Json(body))?.json()
    }

    /// A POST without a body whose answer says nothing.
    pub(crate) fn act(&self, path: &str) -> Outcome<()> {
        self.send("POST", path, Body::Empty).map(drop)
    }

    pub(crate) fn delete(&self, path: &str) -> Outcome<Value> {
        self.send("DELETE", path, Body::Empty)?.json()
    }

    /// Any request; answers from 400 on are failures. Paths of our own extension (`/orlop/…`) have no version.
    pub(crate) fn send(&self, method: &str, path: &str, mut body: Body<'_>) -> Outcome<Answer> {
        if let Body::Stream(..) = body
            && !self.shared.version().1
        {
            // A stream cannot be sent twice.
            self.ping()?;
        }
        let answer = self.exchange(method, path, &mut body, false)?;
        if answer.status < 400 {
            return Ok(answer);
        }
        let failure = answer.into_failure();
        match spoken(&failure) {
            Some(older) if !matches!(body, Body::Stream(..)) => {
                self.shared.settle(older);
                let answer = self.exchange(method, path, &mut body, false)?;
                if answer.status < 400 {
                    Ok(answer)
                } else {
                    Err(answer.into_failure())
                }
            }
            _ => Err(failure),
        }
    }

    /// Turns the connection into a stream of bytes in both directions.
    pub(crate) fn upgrade(&self, path: &str, mut body: Body<'_>) -> Outcome<Upgraded> {
        let mut answer = self.exchange("POST", path, &mut body, true)?;
        if answer.status >= 400 {
            let failure = answer.into_failure();
            let Some(older) = spoken(&failure) else {
                return Err(failure);
            };
            self.shared.settle(older);
            answer = self.exchange("POST", path, &mut body, true)?;
            if answer.status >= 400 {
                return Err(answer.into_failure());
            }
        }
        let reader = answer.body.into_raw()?;
        let writer = reader.get_ref().try_clone()?;
        Ok(Upgraded { reader, writer })
    }

    /// Learns which version the engine speaks at most.
    fn ping(&self) -> Outcome<()> {
        let answer = self.exchange("GET", "/_ping", &mut Body::Empty, false)?;
        let theirs = answer
            .header("Api-Version")
            .unwrap_or(API_VERSION)
            .to_owned();
        if answer.status >= 400 {
            return Err(answer.into_failure());
        }
        // Read to its end, the connection can be used again.
        io::copy(&mut { answer.body }, &mut io::sink())?;
        let number = |version: &str| -> Option<(u32, u32)> {
            let (major, minor) = version.split_once('.')?;
            Some((major.parse().ok()?, minor.parse().ok()?))
        };
        let older = number(&theirs) < number(API_VERSION);
        self.shared
            .settle(if older { &theirs } else { API_VERSION });
        Ok(())
    }

    fn exchange(
        &self,
        method: &str,
        path: &str,
        body: &mut Body<'_>,
        upgrade: bool,
    ) -> Outcome<Answer> {
        let mut reader = match self.shared.take() {
            Some(connection) => connection,
            None => BufReader::with_capacity(32 << 10, self.endpoint.connect()?),
        };
        let prefix = if path.starts_with("/orlop/") || path == "/_ping" {
            String::new()
        } else {
            format!("/v{}", self.shared.version().0)
        };
        let mut head = format!(
            "{method} {prefix}{path} HTTP/1.1\r\nHost: orlop\r\nUser-Agent: orlop/{}\r\n",
            env!("CARGO_PKG_VERSION")
        );
        head.push_str(&self.headers);
        if upgrade {
            head.push_str("Connection: Upgrade\r\nUpgrade: tcp\r\n");
        }
        let mut stream = reader.get_ref();
        // An engine that refuses may answer and close before it has read everything; its answer counts.
        let sent = match body {
            Body::Empty => stream.write_all(format!("{head}Content-Length: 0\r\n\r\n").as_bytes()),
            Body::Json(value) => {
                let bytes = value.to_string();
                let head = format!(
                    "{head}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                    bytes.len()
                );
                stream.write_all(format!("{head}{bytes}").as_bytes())
            }
            Body::Stream(kind, source) => {
                let head =
                    format!("{head}Content-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n");
                stream
                    .write_all(head.as_bytes())
                    .map_err(|_| Unsent::Connection)
                    .and_then(|()| send_chunks(stream, *source))
                    .or_else(Unsent::unless_source)?;
                Ok(())
            }
        };
        let head = match head::read(&mut reader, method) {
            Ok(head) => head,
            Err(error) => {
                sent?;
                return Err(Failure::new(format!("the engine gave no answer: {error}")));
            }
        };
        if head.status < 400 && !prefix.is_empty() && !self.shared.version().1 {
            self.shared.settle(&self.shared.version().0);
        }
        let home = (!upgrade && head.reusable && sent.is_ok()).then(|| Arc::clone(&self.shared));
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body: BodyReader::new(reader, head.length, home),
        })
    }
}

/// `… is too new. Maximum supported API version is 1.41`.
fn spoken(failure: &Failure) -> Option<&str> {
    if failure.status != Some(400) || !failure.text.contains("is too new") {
        return None;
    }
    let (_, version) = failure.text.rsplit_once("version is ")?;
    let version = version.trim_end_matches(|letter: char| !letter.is_ascii_digit());
    let is_version = version.contains('.')
        && version
            .chars()
            .all(|letter| letter.is_ascii_digit() || letter == '.');
    is_version.then_some(version)
}

/// Which side of a streamed body failed.
enum Unsent {
    Source(io::Error),
    Connection,
}

impl Unsent {
    /// A connection that broke may still hold an answer; a source that broke leaves a body that must not end well.
    fn unless_source(self) -> Outcome<()> {
        match self {
            Self::Source(error) => Err(error.into()),
            Self::Connection => Ok(()),
        }
    }
}

fn send_chunks(mut stream: &UnixStream, source: &mut dyn Read) -> Result<(), Unsent> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = match source.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            result => result.map_err(Unsent::Source)?,
        };
        let end: &[u8] = if count == 0 { b"0\r\n\r\n" } else { b"\r\n" };
        let mut write = || {
            if count > 0 {
                stream.write_all(format!("{count:x}\r\n").as_bytes())?;
                stream.write_all(&buffer[..count])?;
            }
            stream.write_all(end)
        };
        write().map_err(|_| Unsent::Connection)?;
        if count == 0 {
            return Ok(());
        }
    }
}
