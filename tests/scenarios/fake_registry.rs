//! A registry that misbehaves as it is told: one connection for each request, everything in memory.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

/// A request's head.
pub(super) struct Asked {
    pub(super) path: String,
    headers: HashMap<String, String>,
    /// How often this path was asked for before.
    pub(super) before: usize,
}

impl Asked {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// An answer, true or false.
#[derive(Default)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Vec<u8>,
    /// The connection breaks after so many bytes of the body.
    pub(super) cut: Option<usize>,
    /// It does not break then: nothing more comes until the other side leaves.
    pub(super) hold: bool,
}

impl Reply {
    pub(super) fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            body: body.into(),
            ..Self::default()
        }
    }

    /// What is asked for of `all`, which may be the end of it only.
    pub(super) fn part(asked: &Asked, all: &[u8]) -> Self {
        let from = asked
            .header("range")
            .strip_prefix("bytes=")
            .and_then(|range| range.strip_suffix('-')?.parse::<usize>().ok());
        match from {
            None => Self::new(200, all),
            Some(from) if from < all.len() => Self::new(206, &all[from..]).with(
                "Content-Range",
                format!("bytes {from}-{}/{}", all.len() - 1, all.len()),
            ),
            Some(_) => Self::new(416, ""),
        }
    }

    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// Listens until the test program ends.
pub(super) struct Fake {
    pub(super) address: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Fake {
    pub(super) fn start(answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let answer = Arc::new(answer);
        let seen = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answer, seen) = (Arc::clone(&answer), Arc::clone(&seen));
                // A client that goes away in the middle is what some tests are about.
                std::thread::spawn(move || serve(stream, &*answer, &seen).unwrap_or_default());
            }
        });
        Self { address, asked }
    }

    /// Requests so far, as `path range`.
    pub(super) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn serve(
    mut stream: TcpStream,
    answer: &dyn Fn(&Asked) -> Reply,
    seen: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    if !first.starts_with(['G', 'H', 'P']) {
        // TLS is answered as plain servers do.
        return stream.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\n");
    }
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers
        .get("content-length")
        .and_then(|length| length.parse().ok())
        .unwrap_or(0);
    reader.take(length).read_to_end(&mut Vec::new())?;
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let before = {
        let mut seen = seen.lock().unwrap();
        let before = seen
            .iter()
            .filter(|line| line.split(' ').next() == Some(&path))
            .count();
        let range = headers.get("range").cloned().unwrap_or_default();
        seen.push(format!("{path} {range}"));
        before
    };
    let reply = answer(&Asked {
        path,
        headers,
        before,
    });
    let mut head = format!(
        "HTTP/1.1 {} X\r\nContent-Length: {}\r\nConnection: close\r\n",
        reply.status,
        reply.body.len()
    );
    for (name, value) in &reply.headers {
        head += &format!("{name}: {value}\r\n");
    }
    stream.write_all(format!("{head}\r\n").as_bytes())?;
    stream.write_all(&reply.body[..reply.cut.unwrap_or(reply.body.len())])?;
    if reply.hold {
        stream.read_to_end(&mut Vec::new())?;
    }
    Ok(())
}

/// An image of one layer.
#[derive(Clone)]
pub(super) struct Image {
    pub(super) layer: Vec<u8>,
    pub(super) config: Vec<u8>,
    pub(super) manifest: Value,
}

impl Image {
    /// `tar` is the plain stream, `layer` what a registry keeps of it.
    pub(super) fn new(tar: &[u8], layer: &[u8], media_type: &str) -> Self {
        let config = json!({
            "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
            "os": "linux",
            "config": { "Cmd": ["sh"] },
            "rootfs": { "type": "layers", "diff_ids": [digest(tar)] },
        })
        .to_string()
        .into_bytes();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": digest(&config),
                "size": config.len(),
            },
            "layers": [{ "mediaType": media_type, "digest": digest(layer), "size": layer.len() }],
        });
        Self {
            layer: layer.to_owned(),
            config,
            manifest,
        }
    }

    /// What an honest registry answers; `None` for what it does not know.
    pub(super) fn answer(&self, asked: &Asked) -> Reply {
        let path = asked.path.as_str();
        if path.ends_with(&digest(&self.config)) {
            Reply::new(200, self.config.clone())
        } else if path.contains("/blobs/") {
            Reply::new(200, self.layer.clone())
        } else if path.contains("/manifests/") {
            Reply::new(200, self.manifest.to_string())
                .with("Content-Type", "application/vnd.oci.image.manifest.v1+json")
        } else {
            Reply::new(404, "")
        }
    }
}

pub(super) fn digest(bytes: &[u8]) -> String {
    let output = pipe("sha256sum", &[], bytes);
    format!("sha256:{}", &String::from_utf8(output).unwrap()[..64])
}

/// A program's output for an input.
pub(super) fn pipe(program: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}");
    output.stdout
}
