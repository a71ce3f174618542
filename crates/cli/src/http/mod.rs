//! A small blocking HTTP/1.1 client for unix sockets: one connection a request, bodies streamed both ways, upgrades.

use std::io::{self, BufRead as _, BufReader, Read, Write as _};
use std::os::unix::net::UnixStream;

use serde_json::Value;

use crate::endpoint::Endpoint;
use crate::failure::{Failure, Outcome};

mod body;
mod query;

pub(crate) use body::BodyReader;
pub(crate) use query::{Query, encode};

/// The newest API that this client was written for; engines that are older are asked in their own version.
const API_VERSION: &str = "1.50";

/// Heads longer than this are not of an engine.
const MAX_HEAD: usize = 64 << 10;

/// Talks to one engine.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    endpoint: Endpoint,
    version: String,
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
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
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

    pub(crate) fn json(mut self) -> Outcome<Value> {
        let mut bytes = Vec::new();
        self.body.read_to_end(&mut bytes)?;
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&bytes).map_err(|error| {
            Failure::new(format!(
                "the engine's answer could not be understood: {error}"
            ))
        })
    }
}

impl Client {
    pub(crate) fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            version: API_VERSION.to_owned(),
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
    pub(crate) fn send(&self, method: &str, path: &str, body: Body<'_>) -> Outcome<Answer> {
        let answer = self.exchange(method, path, body, false)?.0;
        if answer.status >= 400 {
            return Err(answer.into_failure());
        }
        Ok(answer)
    }

    /// Turns the connection into a stream of bytes in both directions.
    pub(crate) fn upgrade(&self, path: &str, body: Body<'_>) -> Outcome<Upgraded> {
        let (answer, stream) = self.exchange("POST", path, body, true)?;
        if answer.status >= 400 {
            return Err(answer.into_failure());
        }
        Ok(Upgraded {
            reader: answer.body.into_raw(),
            writer: stream,
        })
    }

    fn exchange(
        &self,
        method: &str,
        path: &str,
        body: Body<'_>,
        upgrade: bool,
    ) -> Outcome<(Answer, UnixStream)> {
        let mut stream = self.endpoint.connect()?;
        let prefix = if path.starts_with("/orlop/") {
            String::new()
        } else {
            format!("/v{}", self.version)
        };
        let mut head = format!(
            "{method} {prefix}{path} HTTP/1.1\r\nHost: orlop\r\nUser-Agent: orlop/{}\r\n",
            env!("CARGO_PKG_VERSION")
        );
        head.push_str(if upgrade {
            "Connection: Upgrade\r\nUpgrade: tcp\r\n"
        } else {
            "Connection: close\r\n"
        });
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
            Body::Stream(kind, reader) => {
                let head =
                    format!("{head}Content-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n");
                stream
                    .write_all(head.as_bytes())
                    .and_then(|()| send_chunks(&mut stream, reader))
            }
        };
        let mut reader = BufReader::with_capacity(32 << 10, stream.try_clone()?);
        let answer = match read_head(&mut reader, method) {
            Ok((status, headers, length)) => Answer {
                status,
                headers,
                body: BodyReader::new(reader, length),
            },
            Err(error) => {
                sent?;
                return Err(Failure::new(format!("the engine gave no answer: {error}")));
            }
        };
        Ok((answer, stream))
    }
}

/// Both directions of an upgraded connection.
pub(crate) struct Upgraded {
    /// May hold bytes that came right behind the head.
    pub(crate) reader: BufReader<UnixStream>,
    pub(crate) writer: UnixStream,
}

fn send_chunks(stream: &mut UnixStream, reader: &mut dyn Read) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = reader.read(&mut buffer)?;
        if count == 0 {
            return stream.write_all(b"0\r\n\r\n");
        }
        stream.write_all(format!("{count:x}\r\n").as_bytes())?;
        stream.write_all(&buffer[..count])?;
        stream.write_all(b"\r\n")?;
    }
}

type Head = (u16, Vec<(String, String)>, body::Length);

fn read_head(reader: &mut BufReader<UnixStream>, method: &str) -> io::Result<Head> {
    let invalid = |text: String| io::Error::new(io::ErrorKind::InvalidData, text);
    let mut head = Vec::new();
    loop {
        let before = head.len();
        if reader.read_until(b'\n', &mut head)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if matches!(&head[before..], b"\r\n" | b"\n") {
            break;
        }
        if head.len() > MAX_HEAD {
            return Err(invalid("the answer's head is too long".to_owned()));
        }
    }
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut parsed = httparse::Response::new(&mut headers);
    parsed
        .parse(&head)
        .map_err(|error| invalid(error.to_string()))?;
    let status = parsed
        .code
        .ok_or_else(|| invalid("the answer has no status".to_owned()))?;
    let headers: Vec<(String, String)> = parsed
        .headers
        .iter()
        .map(|header| {
            (
                header.name.to_owned(),
                String::from_utf8_lossy(header.value).into_owned(),
            )
        })
        .collect();
    let header = |name: &str| {
        headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    };
    let length = if method == "HEAD" || status == 204 || status == 304 {
        body::Length::Known(0)
    } else if header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked"))
    {
        body::Length::Chunked
    } else if let Some(length) = header("content-length").filter(|_| status != 101) {
        body::Length::Known(
            length
                .parse()
                .map_err(|_| invalid("bad content length".to_owned()))?,
        )
    } else {
        body::Length::UntilClose
    };
    Ok((status, headers, length))
}
