//! Input that nobody needs to take: a clear refusal, or an end; and the engine goes on.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use serde_json::json;
use testkit::{Engine, until};

use super::Case;
use super::http::{connect, get, parse, raw, remove, request, run, send};

pub(super) const CASES: &[Case] = &[
    ("bodies_that_are_too_large", too_large),
    ("bodies_that_are_no_json", no_json),
    ("values_of_the_wrong_type", wrong_types),
    ("paths_that_lead_elsewhere", paths),
    ("heads_with_two_ends", smuggling),
    ("heads_that_are_too_large", large_heads),
    ("bytes_that_are_no_http", no_http),
    ("a_head_that_never_ends", slow_head),
    ("ten_thousand_idle_connections", idle),
    ("archives_that_leave", archives),
    ("logins_of_clients_that_leave", abandoned_logins),
];

#[track_caller]
fn lives(engine: &Engine) {
    assert_eq!(get(engine, "/_ping").expect(200).body, b"OK");
}

fn too_large(engine: &Engine) {
    let body = format!(
        r#"{{"Image":"busybox","Cmd":["{}"]}}"#,
        "x".repeat(11 << 20)
    );
    for path in [
        "/containers/create",
        "/volumes/create",
        "/exec/x/start",
        "/containers/x/update",
    ] {
        let answer = raw(engine, &request("POST", path, Some(body.as_bytes())));
        // Refused, or cut off while it was still sending.
        if !answer.is_empty() {
            assert_eq!(parse(&answer).status, 413, "{path}");
        }
    }
    // A length that is only claimed takes no memory.
    let claimed = format!(
        "POST /containers/create HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        u64::MAX / 2
    );
    let mut stream = connect(engine);
    stream.write_all(claimed.as_bytes()).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok();
    if !answer.is_empty() {
        let status = parse(&answer).status;
        assert!((400..500).contains(&status), "{status}");
    }
    lives(engine);
}

fn no_json(engine: &Engine) {
    for body in [
        "{", "nonsense", "[1,2", "\"x", "{\"a\":}", "\u{0}", "{}{}", "{} x", "nul",
    ] {
        for path in [
            "/containers/create",
            "/volumes/create",
            "/containers/x/exec",
        ] {
            let bytes = request("POST", path, Some(body.as_bytes()));
            let answer = parse(&raw(engine, &bytes));
            assert_eq!(answer.status, 400, "{path} {body:?}");
            let message = answer.message();
            assert!(
                message.starts_with("invalid JSON") || message == "unexpected content after JSON",
                "{message}"
            );
        }
    }
    // Deeper than any parser's stack.
    let deep = "[".repeat(200_000);
    let answer = parse(&raw(
        engine,
        &request("POST", "/containers/create", Some(deep.as_bytes())),
    ));
    assert_eq!(answer.status, 400);
    let wrong_kind = b"POST /containers/create HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}";
    let answer = parse(&raw(engine, wrong_kind));
    assert_eq!(
        answer.expect(400).message(),
        "unsupported Content-Type header (text/plain): must be 'application/json'"
    );
    lives(engine);
}

fn wrong_types(engine: &Engine) {
    for body in [
        json!([]),
        json!("x"),
        json!(5),
        json!({ "Image": 5 }),
        json!({ "Image": "busybox", "Cmd": { "a": 1 } }),
        json!({ "Image": "busybox", "Env": "A=1" }),
        json!({ "Image": "busybox", "Labels": [1] }),
        json!({ "Image": "busybox", "HostConfig": [] }),
        json!({ "Image": "busybox", "HostConfig": { "Memory": "much" } }),
        json!({ "Image": "busybox", "HostConfig": { "Mounts": ["x"] } }),
        json!({ "Image": "busybox", "HostConfig": { "Mounts": [{ "Type": "bind", "ReadOnly": true, "BindOptions": 3 }] } }),
        json!({ "Image": "busybox", "HostConfig": { "PortBindings": { "80/tcp": "80" } } }),
        json!({ "Image": "busybox", "HostConfig": { "NanoCpus": 1e300 } }),
        json!({ "Image": "busybox", "Healthcheck": { "Interval": "5s" } }),
        json!({ "Image": "busybox", "Healthcheck": 5 }),
    ] {
        for version in ["/v1.24", "/v1.41", ""] {
            let path = format!("{version}/containers/create");
            let answer = send(engine, "POST", &path, Some(&body));
            assert_eq!(answer.status, 400, "{version} {body}");
            assert!(!answer.message().is_empty());
        }
    }
    for path in [
        "/containers/json?filters=x",
        "/containers/json?filters=%5B%5D",
        "/containers/json?filters=%7B%22status%22:%5B%22odd%22%5D%7D",
        "/containers/json?filters=%7B%22odd%22:%5B%22x%22%5D%7D",
        "/containers/json?limit=many",
        "/events?since=soon",
        "/events?filters=%7B",
    ] {
        assert_eq!(get(engine, path).status, 400, "{path}");
    }
    lives(engine);
}

fn paths(engine: &Engine) {
    for name in [
        "..%2f..%2f..%2fetc%2fpasswd",
        "%00",
        "%ff%fe",
        "....//",
        "a%2f..%2fb",
        "%2e%2e",
        "-rf",
        "%0d%0aX-Evil:%201",
        "'%20OR%201=1%20--",
    ] {
        for path in ["containers", "images", "volumes", "networks"] {
            let rest = if path == "volumes" || path == "networks" {
                ""
            } else {
                "/json"
            };
            let answer = get(engine, &format!("/{path}/{name}{rest}"));
            assert!(
                (400..500).contains(&answer.status),
                "{path} {name}: {}",
                answer.status
            );
            assert!(!answer.head.contains("X-Evil"));
        }
    }
    run(
        engine,
        "pathy",
        &json!({ "Image": "busybox", "Cmd": ["sleep", "1000"] }),
    );
    // Beneath the container's own root, however often it goes up.
    let host = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
    let answer = get(
        engine,
        "/containers/pathy/archive?path=../../../../../../../../etc/hostname",
    )
    .expect(200);
    let text = String::from_utf8_lossy(&answer.body);
    assert!(
        host.trim().is_empty() || !text.contains(host.trim()),
        "the host's own file"
    );
    get(
        engine,
        "/containers/pathy/archive?path=/proc/1/root/../../../nothing",
    )
    .expect(404);
    get(engine, "/containers/pathy/archive").expect(400);
    remove(engine, "pathy");
    lives(engine);
}

/// A tar of one entry.
fn tar(name: &str, kind: u8, link: &str, contents: &[u8]) -> Vec<u8> {
    let mut head = vec![0_u8; 512];
    head[..name.len()].copy_from_slice(name.as_bytes());
    head[100..108].copy_from_slice(b"0000644\0");
    head[108..116].copy_from_slice(b"0000000\0");
    head[116..124].copy_from_slice(b"0000000\0");
    head[124..136].copy_from_slice(format!("{:011o}\0", contents.len()).as_bytes());
    head[136..148].copy_from_slice(b"00000000000\0");
    head[156] = kind;
    head[157..157 + link.len()].copy_from_slice(link.as_bytes());
    head[257..265].copy_from_slice(b"ustar\x0000");
    head[148..156].fill(b' ');
    let sum: u32 = head.iter().map(|&byte| u32::from(byte)).sum();
    head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    head.extend_from_slice(contents);
    head.resize(head.len().next_multiple_of(512), 0);
    head
}

fn archives(engine: &Engine) {
    run(
        engine,
        "packed",
        &json!({ "Image": "busybox", "Cmd": ["sleep", "1000"] }),
    );
    let outside = std::path::Path::new("/tmp/orlop-escaped");
    std::fs::remove_file(outside).ok();
    let end = vec![0; 1024];
    let escape = "../../../../../../../../../tmp/orlop-escaped";
    for archive in [
        [tar(escape, b'0', "", b"out"), end.clone()].concat(),
        [tar("/tmp/orlop-escaped", b'0', "", b"out"), end.clone()].concat(),
        [
            tar("way", b'2', "/../../../../../../tmp", b""),
            tar("way/orlop-escaped", b'0', "", b"out"),
            end.clone(),
        ]
        .concat(),
        [tar("hard", b'1', escape, b""), end.clone()].concat(),
        tar("short", b'0', "", b"cut off")[..515].to_vec(),
        b"no tar at all".to_vec(),
    ] {
        let mut bytes = format!(
            "PUT /containers/packed/archive?path=/root HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/x-tar\r\nContent-Length: {}\r\n\r\n",
            archive.len()
        )
        .into_bytes();
        bytes.extend_from_slice(&archive);
        let answer = parse(&raw(engine, &bytes));
        assert!(answer.status < 600);
        assert!(!outside.exists(), "an archive left the container");
    }
    remove(engine, "packed");
    lives(engine);
}

fn smuggling(engine: &Engine) {
    let follow = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n";
    for head in [
        "Content-Length: 0\r\nContent-Length: 5\r\n",
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
        "Transfer-Encoding: identity, chunked, identity\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 5, 6\r\n",
        "Content-Length : 5\r\n",
    ] {
        let bytes =
            format!("POST /volumes/create HTTP/1.1\r\nHost: x\r\n{head}\r\n0\r\n\r\n{follow}");
        let answer = raw(engine, bytes.as_bytes());
        if answer.is_empty() {
            continue;
        }
        let answer = String::from_utf8_lossy(&answer);
        assert_eq!(
            answer.matches("HTTP/1.1 ").count(),
            1,
            "{head:?}: what followed was taken for a request: {answer}"
        );
        // A length beside chunks is ignored, as RFC 9112 allows, and the connection ends.
        let chunked = head.contains("chunked\r\n");
        assert!(
            answer.starts_with("HTTP/1.1 400 ") || chunked && answer.contains("connection: close"),
            "{head:?}: {answer}"
        );
    }
    lives(engine);
}

fn large_heads(engine: &Engine) {
    let long = "x".repeat(1 << 20);
    let many: String = (0..10_000)
        .map(|number| format!("X-{number}: y\r\n"))
        .collect();
    for bytes in [
        format!("GET /{long} HTTP/1.1\r\nHost: x\r\n\r\n"),
        format!("GET /_ping HTTP/1.1\r\nHost: x\r\nX: {long}\r\n\r\n"),
        format!("GET /_ping HTTP/1.1\r\nHost: x\r\n{many}\r\n"),
    ] {
        let answer = raw(engine, bytes.as_bytes());
        if !answer.is_empty() {
            let status = parse(&answer).status;
            assert!((400..500).contains(&status), "{status}");
        }
    }
    lives(engine);
}

fn no_http(engine: &Engine) {
    let noise: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    for bytes in [
        noise.as_slice(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\r\n\r\n\r\n\r\n",
        b"GET  HTTP/1.1\r\n\r\n",
    ] {
        let mut stream = connect(engine);
        stream.write_all(bytes).ok();
        stream.shutdown(std::net::Shutdown::Write).ok();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok();
        if !answer.is_empty() {
            let status = parse(&answer).status;
            assert!((400..600).contains(&status), "{status}");
        }
    }
    lives(engine);
}

fn slow_head(engine: &Engine) {
    let mut stream = connect(engine);
    stream
        .write_all(b"GET /_ping HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        .unwrap();
    until("a head that never ends is cut off", || {
        // It never stops coming, and never is complete.
        (stream.write_all(b"y").is_err() || has_ended(&stream)).then_some(())
    });
    lives(engine);
}

/// Whether the engine has closed the connection.
fn has_ended(stream: &UnixStream) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let mut fds = [PollFd::new(stream, PollFlags::RDHUP)];
    poll(&mut fds, Some(&now)).unwrap();
    fds[0]
        .revents()
        .intersects(PollFlags::RDHUP | PollFlags::HUP)
}

fn idle(engine: &Engine) {
    let mut held = Vec::new();
    for number in 0..10_000 {
        match UnixStream::connect(engine.socket()) {
            Ok(stream) => held.push(stream),
            Err(error) => {
                eprintln!("only {number} connections fit into this process: {error}");
                break;
            }
        }
    }
    // Somebody who has something to ask gets in, among them all.
    lives(engine);
    let cut_off = held.iter().filter(|stream| has_ended(stream)).count();
    assert!(
        held.len() < 10_000 || cut_off >= 5_000,
        "only {cut_off} of {} were cut off",
        held.len()
    );
    drop(held);
    lives(engine);
}

/// More requests than there are places for such work, to a registry that never says a word; their clients go.
fn abandoned_logins(engine: &Engine) {
    const PLACES: usize = 192;
    const MORE_THAN_PLACES: usize = 250;
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let body = json!({ "username": "u", "password": "p", "serveraddress": address.to_string() });
    let search = format!("/images/search?term={address}/x");
    let distribution = format!("/distribution/{address}/x/json");
    let body = body.to_string();
    let asking: Vec<UnixStream> = (0..MORE_THAN_PLACES)
        .map(|number| {
            let bytes = match number % 3 {
                0 => request("POST", "/auth", Some(body.as_bytes())),
                1 => request("GET", &search, None),
                _ => request("GET", &distribution, None),
            };
            let mut stream = connect(engine);
            stream.write_all(&bytes).unwrap();
            stream
        })
        .collect();
    // Every place for such work is taken by one that waits for the registry.
    silent.set_nonblocking(true).unwrap();
    let mut reached = Vec::new();
    until("the registry is asked from every place", || {
        while let Ok((stream, _)) = silent.accept() {
            reached.push(stream);
        }
        (reached.len() >= PLACES).then_some(())
    });
    drop(asking);
    // Work of the same class finds a place long before the registry is given up.
    get(engine, "/system/df").expect(200);
    drop(reached);
    lives(engine);
}
