//! Attached connections: with an upgrade, without one, by websocket.

use std::io::{Read as _, Write as _};

use serde_json::json;
use testkit::Engine;

use super::Case;
use super::http::{connect, get, raw, remove, run, send};

pub(super) const CASES: &[Case] = &[
    ("attach_without_an_upgrade", without_upgrade),
    ("exec_without_an_upgrade", exec_without_upgrade),
    ("attach_by_websocket", websocket),
    ("no_handshake_is_no_websocket", no_handshake),
];

const ECHO: &str =
    "echo ready; while read line; do echo got $line; [ $line = end ] && exit 0; done";

fn without_upgrade(engine: &Engine) {
    let body = json!({ "Image": "busybox", "Cmd": ["sh", "-c", "echo out; echo err >&2"] });
    send(engine, "POST", "/containers/create?name=plain", Some(&body)).expect(201);
    let attached = std::thread::scope(|scope| {
        let attached = scope.spawn(|| {
            send(
                engine,
                "POST",
                "/containers/plain/attach?stream=1&stdout=1&stderr=1",
                None,
            )
        });
        testkit::until("it is attached", || {
            let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
            let told = get(
                engine,
                &format!(
                    "/events?since=0&until={}&filters=%7B%22container%22:%5B%22plain%22%5D,%22event%22:%5B%22attach%22%5D%7D",
                    now + 1
                ),
            );
            (!told.body.is_empty()).then_some(())
        });
        send(engine, "POST", "/containers/plain/start", None).expect(204);
        attached.join().unwrap()
    });
    assert_eq!(attached.status, 200, "{}", attached.head);
    assert!(
        attached
            .head
            .contains("application/vnd.docker.multiplexed-stream")
    );
    let text = String::from_utf8_lossy(&attached.body);
    assert!(text.contains("out\n") && text.contains("err\n"), "{text:?}");
    remove(engine, "plain");
}

fn exec_without_upgrade(engine: &Engine) {
    run(
        engine,
        "plain-exec",
        &json!({ "Image": "busybox", "Cmd": ["sleep", "1000"] }),
    );
    let exec = send(
        engine,
        "POST",
        "/containers/plain-exec/exec",
        Some(&json!({ "Cmd": ["echo", "hello"], "AttachStdout": true })),
    )
    .expect(201)
    .json()["Id"]
        .as_str()
        .unwrap()
        .to_owned();
    let answer = send(
        engine,
        "POST",
        &format!("/exec/{exec}/start"),
        Some(&json!({ "Detach": false })),
    )
    .expect(200);
    assert_eq!(answer.body, b"\x01\0\0\0\0\0\0\x06hello\n");
    let inspected = get(engine, &format!("/exec/{exec}/json"))
        .expect(200)
        .json();
    assert_eq!(
        (&inspected["ExitCode"], &inspected["Running"]),
        (&json!(0), &json!(false))
    );
    get(engine, "/exec/nothing/json").expect(404);
    // It runs only once.
    send(
        engine,
        "POST",
        &format!("/exec/{exec}/start"),
        Some(&json!({})),
    )
    .expect(409);
    remove(engine, "plain-exec");
}

/// A message of a client: text, masked with zeroes.
fn masked(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).unwrap();
    assert!(length < 126);
    let mut frame = vec![0x81, 0x80 | length, 0, 0, 0, 0];
    frame.extend_from_slice(text.as_bytes());
    frame
}

fn websocket(engine: &Engine) {
    run(
        engine,
        "socket",
        &json!({ "Image": "busybox", "Cmd": ["sh", "-c", ECHO], "OpenStdin": true }),
    );
    let mut stream = connect(engine);
    stream
        .write_all(
            b"GET /v1.42/containers/socket/attach/ws?stream=1&stdin=1&stdout=1 HTTP/1.1\r\nHost: x\r\n\
              Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
              Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        )
        .unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    // The answer to this very key, as RFC 6455 has it.
    assert!(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
    stream.write_all(&masked("one\n")).unwrap();
    stream.write_all(&masked("end\n")).unwrap();
    let mut text = String::new();
    let closed = loop {
        let mut frame = [0; 2];
        stream.read_exact(&mut frame).unwrap();
        let mut payload = vec![0; usize::from(frame[1])];
        assert!(frame[1] < 126, "short, and not masked");
        stream.read_exact(&mut payload).unwrap();
        match frame[0] {
            0x82 => text.push_str(&String::from_utf8(payload).unwrap()),
            other => break other,
        }
    };
    assert_eq!(closed, 0x88, "the container's end closes the connection");
    // Nothing but what the container wrote; what it wrote before may be missing.
    assert!(text.ends_with("got one\ngot end\n"), "{text:?}");
    remove(engine, "socket");
}

fn no_handshake(engine: &Engine) {
    run(
        engine,
        "unsocket",
        &json!({ "Image": "busybox", "Cmd": ["sleep", "1000"] }),
    );
    for head in [
        "",
        "Connection: Upgrade\r\nUpgrade: tcp\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 8\r\nSec-WebSocket-Key: x\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
    ] {
        let request = format!(
            "GET /containers/unsocket/attach/ws HTTP/1.1\r\nHost: x\r\n{head}Content-Length: 0\r\n\r\n"
        );
        let mut stream = connect(engine);
        stream.write_all(request.as_bytes()).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok();
        assert!(answer.starts_with(b"HTTP/1.1 400 "), "{head}");
    }
    drop(raw(engine, b""));
    remove(engine, "unsocket");
}
