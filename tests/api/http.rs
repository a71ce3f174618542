//! One request on one connection, byte for byte.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::Value;
use testkit::Engine;

/// Longer than anything that a test waits for.
const BOUND: Duration = Duration::from_secs(90);

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    #[track_caller]
    pub(crate) fn message(&self) -> String {
        self.json()["message"].as_str().unwrap().to_owned()
    }

    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(
            self.status,
            status,
            "{}",
            String::from_utf8_lossy(&self.body)
        );
        self
    }
}

pub(crate) fn connect(engine: &Engine) -> UnixStream {
    let stream = UnixStream::connect(engine.socket()).unwrap();
    stream.set_read_timeout(Some(BOUND)).unwrap();
    stream.set_write_timeout(Some(BOUND)).unwrap();
    stream
}

/// Sends `bytes` and reads until the engine closes. An engine that has seen enough may close while it is still sent to.
pub(crate) fn raw(engine: &Engine, bytes: &[u8]) -> Vec<u8> {
    let mut stream = connect(engine);
    stream.write_all(bytes).ok();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok();
    answer
}

pub(crate) fn request(method: &str, path: &str, body: Option<&[u8]>) -> Vec<u8> {
    let mut bytes =
        format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n").into_bytes();
    if let Some(body) = body {
        bytes.extend_from_slice(
            format!(
                "Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                body.len()
            )
            .as_bytes(),
        );
        bytes.extend_from_slice(body);
    } else {
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// The first answer in `bytes`; its body is all that follows, without the marks of its chunks.
#[track_caller]
pub(crate) fn parse(bytes: &[u8]) -> Answer {
    let end = bytes
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .unwrap_or_else(|| panic!("no answer: {:?}", String::from_utf8_lossy(bytes)));
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let mut rest = &bytes[end + 4..];
    let mut body = Vec::new();
    if head.to_lowercase().contains("transfer-encoding: chunked") {
        while let Some(line) = rest.windows(2).position(|window| window == b"\r\n") {
            let length = std::str::from_utf8(&rest[..line]).unwrap();
            let length = usize::from_str_radix(length, 16).unwrap();
            if length == 0 {
                break;
            }
            body.extend_from_slice(&rest[line + 2..line + 2 + length]);
            rest = &rest[line + 2 + length + 2..];
        }
    } else {
        body.extend_from_slice(rest);
    }
    Answer { status, head, body }
}

pub(crate) fn send(engine: &Engine, method: &str, path: &str, body: Option<&Value>) -> Answer {
    let body = body.map(Value::to_string);
    parse(&raw(
        engine,
        &request(method, path, body.as_deref().map(str::as_bytes)),
    ))
}

pub(crate) fn get(engine: &Engine, path: &str) -> Answer {
    send(engine, "GET", path, None)
}

/// Creates a container of busybox, and starts it.
pub(crate) fn run(engine: &Engine, name: &str, config: &Value) {
    send(
        engine,
        "POST",
        &format!("/containers/create?name={name}"),
        Some(config),
    )
    .expect(201);
    send(engine, "POST", &format!("/containers/{name}/start"), None).expect(204);
}

pub(crate) fn remove(engine: &Engine, name: &str) {
    send(
        engine,
        "DELETE",
        &format!("/containers/{name}?force=1"),
        None,
    )
    .expect(204);
}
