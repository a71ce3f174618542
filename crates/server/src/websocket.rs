//! `attach` by websocket: the container's output as binary messages, messages of the client as its input.
//!
//! Output carries no header that names the stream: a websocket shows what a terminal would. Either side's end closes the
//! connection. A client that does not read holds its own half up, as on any other attached connection.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdStream;

use engine::containers::Demultiplexer;
use futures_util::{SinkExt as _, StreamExt as _};
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::errors::Refusal;
use crate::stream::Body;

/// Larger messages of a client end the connection.
const MAX_MESSAGE: usize = 1 << 20;

/// The answer to a client's handshake, or why it is none.
fn accepted(request: &Request<Incoming>) -> Result<HeaderValue, Refusal> {
    let is = |name: header::HeaderName, wanted: &str| {
        request
            .headers()
            .get_all(name)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|word| word.trim().eq_ignore_ascii_case(wanted))
    };
    if !is(header::UPGRADE, "websocket") || !is(header::CONNECTION, "upgrade") {
        return Err(Refusal::invalid("not websocket protocol"));
    }
    if !is(header::SEC_WEBSOCKET_VERSION, "13") {
        return Err(Refusal::invalid("missing or bad WebSocket Version"));
    }
    let key = request
        .headers()
        .get(header::SEC_WEBSOCKET_KEY)
        .ok_or_else(|| Refusal::invalid("challenge/response mismatch: no Sec-WebSocket-Key"))?;
    let answer = derive_accept_key(key.as_bytes());
    Ok(HeaderValue::from_str(&answer).expect("base64 is plain text"))
}

/// Refuses what is no handshake before anything is attached.
pub(crate) fn check(request: &Request<Incoming>) -> Result<(), Refusal> {
    accepted(request).map(drop)
}

/// Joins the request's connection with `streams`, which carry headers unless there is a terminal.
pub(crate) fn join(
    mut request: Request<Incoming>,
    streams: OwnedFd,
    tty: bool,
) -> Result<Response<Body>, Refusal> {
    let accept = accepted(&request)?;
    let socket = StdStream::from(streams);
    let socket = socket
        .set_nonblocking(true)
        .and_then(|()| UnixStream::from_std(socket))
        .map_err(|error| Refusal::internal(format!("cannot attach: {error}")))?;
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let upgraded = match upgrade.await {
            Ok(upgraded) => TokioIo::new(upgraded),
            Err(error) => {
                tracing::debug!(%error, "a client left before its connection was upgraded");
                return;
            }
        };
        let config = WebSocketConfig::default()
            .max_message_size(Some(MAX_MESSAGE))
            .max_frame_size(Some(MAX_MESSAGE));
        let client = WebSocketStream::from_raw_socket(upgraded, Role::Server, Some(config)).await;
        if let Err(error) = pump(client, socket, tty).await {
            tracing::debug!(%error, "a client left while it was attached");
        }
    });
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    Ok(response)
}

async fn pump(
    client: WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>,
    container: UnixStream,
    tty: bool,
) -> Result<(), Error> {
    let (mut to_client, mut from_client) = client.split();
    let (mut from_container, mut to_container) = container.into_split();
    let input = tokio::spawn(async move {
        while let Some(Ok(message)) = from_client.next().await {
            let bytes = match message {
                Message::Binary(bytes) => bytes,
                Message::Text(text) => text.into(),
                Message::Close(_) => break,
                // The library answers pings.
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => continue,
            };
            if to_container.write_all(&bytes).await.is_err() {
                break;
            }
        }
        // The container's side may have ended first.
        drop(to_container.shutdown().await);
    });
    let mut frames = Demultiplexer::default();
    let mut buffer = vec![0; 32 << 10];
    loop {
        let count = from_container.read(&mut buffer).await?;
        if count == 0 {
            break;
        }
        let mut bytes = Vec::with_capacity(count);
        if tty {
            bytes.extend_from_slice(&buffer[..count]);
        } else {
            frames
                .feed(&buffer[..count], |_, piece| bytes.extend_from_slice(piece))
                .map_err(|error| Error::Io(std::io::Error::other(error)))?;
        }
        if !bytes.is_empty() {
            to_client.send(Message::Binary(bytes.into())).await?;
        }
    }
    input.abort();
    to_client.close().await
}
