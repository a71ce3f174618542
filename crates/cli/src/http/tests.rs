//! The client against an engine of a few lines.

use std::io::BufRead as _;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, JoinHandle};

use serde_json::json;

use super::*;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// Answers what it is told to, one list for each connection; gives back what it was asked.
struct Engine {
    socket: PathBuf,
    thread: Option<JoinHandle<Vec<String>>>,
}

impl Engine {
    /// `connections`: for each connection the answers to its requests.
    fn new(connections: Vec<Vec<&'static str>>) -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let socket =
            std::env::temp_dir().join(format!("orlop-cli-{}-{number}.sock", std::process::id()));
        let listener = UnixListener::bind(&socket).unwrap();
        let thread = thread::spawn(move || {
            let mut requests = Vec::new();
            for answers in connections {
                let (stream, _) = listener.accept().unwrap();
                let mut reader = BufReader::new(stream);
                for answer in answers {
                    requests.push(request(&mut reader));
                    reader.get_mut().write_all(answer.as_bytes()).unwrap();
                }
            }
            requests
        });
        Self {
            socket,
            thread: Some(thread),
        }
    }

    fn client(&self) -> Client {
        Client::new(Endpoint::at(&self.socket))
    }

    fn requests(mut self) -> Vec<String> {
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        std::fs::remove_file(&self.socket).unwrap();
    }
}

/// First line and body of a request.
fn request(reader: &mut BufReader<UnixStream>) -> String {
    let mut first = String::new();
    reader.read_line(&mut first).unwrap();
    let (mut length, mut chunked) = (0, false);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let line = line.trim().to_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.parse().unwrap();
        }
        chunked |= line == "transfer-encoding: chunked";
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    while chunked {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let size = usize::from_str_radix(line.trim(), 16).unwrap();
        let mut chunk = vec![0; size + 2];
        reader.read_exact(&mut chunk).unwrap();
        body.extend(&chunk[..size]);
        chunked = size > 0;
    }
    format!("{} {}", first.trim(), String::from_utf8(body).unwrap())
        .replace(" HTTP/1.1", "")
        .trim()
        .to_owned()
}

const EMPTY: &str = "HTTP/1.1 204 No Content\r\n\r\n";

#[test]
fn one_connection_serves_many_requests() {
    let engine = Engine::new(vec![vec![
        "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n{\"a\":1}",
        EMPTY,
        "HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{\"b\r\n4\r\n\":2}\r\n0\r\n\r\n",
        EMPTY,
    ]]);
    let client = engine.client();
    assert_eq!(client.get("/a").unwrap(), json!({"a": 1}));
    client.act("/b").unwrap();
    assert_eq!(
        client.post("/c", &json!({"x": 1})).unwrap(),
        json!({"b": 2})
    );
    client.delete("/orlop/v1/d").unwrap();
    assert_eq!(
        engine.requests(),
        [
            "GET /v1.50/a",
            "POST /v1.50/b",
            "POST /v1.50/c {\"x\":1}",
            "DELETE /orlop/v1/d"
        ]
    );
}

#[test]
fn a_closed_connection_is_replaced() {
    let engine = Engine::new(vec![vec![EMPTY], vec![EMPTY]]);
    let client = engine.client();
    client.act("/a").unwrap();
    // The engine hangs up at the end of its first list; that is seen before the next request.
    let closed = || {
        let idle = client.shared.idle.lock().unwrap();
        idle.as_ref().is_none_or(|one| !is_quiet(one.get_ref()))
    };
    while !closed() {
        thread::yield_now();
    }
    client.act("/b").unwrap();
    assert_eq!(engine.requests().len(), 2);
}

#[test]
fn errors_carry_the_engines_words() {
    let engine = Engine::new(vec![vec![
        "HTTP/1.1 404 Not Found\r\nContent-Length: 27\r\n\r\n{\"message\":\"no such thing\"}",
        "HTTP/1.1 500 Oops\r\nContent-Length: 5\r\n\r\nplain",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{,}",
    ]]);
    let client = engine.client();
    let failure = client.get("/a").unwrap_err();
    assert_eq!(failure.text, "Error response from daemon: no such thing");
    assert!(failure.is_not_found());
    let failure = client.get("/a").unwrap_err();
    assert_eq!(failure.text, "Error response from daemon: plain");
    assert!(client.get("/a").is_err());
    drop(engine.requests());
}

#[test]
fn an_older_engine_is_asked_again() {
    let engine = Engine::new(vec![vec![
        "HTTP/1.1 400 Bad Request\r\nContent-Length: 92\r\n\r\n{\"message\":\"client version 1.50 is too new. Maximum supported API version is 1.41: upgrade\"}",
        EMPTY,
        EMPTY,
    ]]);
    let client = engine.client();
    client.act("/a").unwrap();
    client.act("/b").unwrap();
    assert_eq!(client.shared.version().0, "1.41");
    assert_eq!(
        engine.requests(),
        ["POST /v1.50/a", "POST /v1.41/a", "POST /v1.41/b"]
    );
}

#[test]
fn streams_are_sent_in_chunks() {
    let engine = Engine::new(vec![vec![
        "HTTP/1.1 200 OK\r\nApi-Version: 1.44\r\nContent-Length: 2\r\n\r\nOK",
        EMPTY,
    ]]);
    let client = engine.client();
    let mut source: &[u8] = b"some bytes";
    client
        .send("PUT", "/x", Body::Stream("application/x-tar", &mut source))
        .unwrap();
    assert_eq!(engine.requests(), ["GET /_ping", "PUT /v1.44/x some bytes"]);
}

#[test]
fn an_upgraded_connection_goes_both_ways() {
    let engine = Engine::new(vec![vec![
        "HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nbehind the head",
    ]]);
    let mut upgraded = engine.client().upgrade("/attach", Body::Empty).unwrap();
    let mut text = String::new();
    upgraded.reader.read_to_string(&mut text).unwrap();
    assert_eq!(text, "behind the head");
    assert_eq!(engine.requests(), ["POST /v1.50/attach"]);
}

#[test]
fn nobody_there() {
    let failure = Client::new(Endpoint::at(Path::new("/nonexistent/sock")))
        .get("/x")
        .unwrap_err();
    assert_eq!(
        failure.text,
        "Cannot connect to the engine at unix:///nonexistent/sock. Is it running?"
    );
}
