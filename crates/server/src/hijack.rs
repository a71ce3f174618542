//! Connections that become streams: `attach` and `exec start`.
//!
//! The client asks for an upgrade and gets `101`. From then on bytes are copied between the client and the shim's socket,
//! and each side's end is passed on to the other. A client that asks for no upgrade gets the output as the body of an
//! answer.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdStream;

use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy, split};
use tokio::net::UnixStream;

use crate::errors::Refusal;
use crate::hangup::Peer;
use crate::stream::{Body, Piece, channel};

/// Bytes that are read at a time for a client without an upgrade.
const PORTION: usize = 32 << 10;

const RAW: &str = "application/vnd.docker.raw-stream";
const MULTIPLEXED: &str = "application/vnd.docker.multiplexed-stream";

/// Joins the request's connection with `streams`. `frames_named`: the client knows the type of multiplexed streams.
pub(crate) fn join(
    mut request: Request<Incoming>,
    streams: OwnedFd,
    tty: bool,
    frames_named: bool,
) -> Result<Response<Body>, Refusal> {
    let socket = StdStream::from(streams);
    let socket = socket
        .set_nonblocking(true)
        .and_then(|()| UnixStream::from_std(socket))
        .map_err(|error| Refusal::internal(format!("cannot attach: {error}")))?;
    let kind = HeaderValue::from_static(media_type(tty, frames_named));
    if !request.headers().contains_key(header::UPGRADE) {
        let mut response = Response::new(plain(request, socket));
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        return Ok(response);
    }
    let peer = request.extensions().get::<Peer>().cloned();
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        match upgrade.await {
            Ok(upgraded) => {
                if let Some(peer) = peer {
                    // Clients read the head through a buffer and then go on with the bare socket: what comes along with the
                    // head is lost to them.
                    peer.has_read().await;
                }
                pump(TokioIo::new(upgraded), socket).await;
            }
            Err(error) => {
                tracing::debug!(%error, "a client left before its connection was upgraded");
            }
        }
    });
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, kind);
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("tcp"));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    Ok(response)
}

/// What the streams of a container are called.
pub(crate) fn media_type(tty: bool, frames_named: bool) -> &'static str {
    if tty || !frames_named {
        RAW
    } else {
        MULTIPLEXED
    }
}

/// For a client that asked for no upgrade: the streams are the body of a usual answer, and a body of the request, where
/// there is one, is the input.
fn plain(request: Request<Incoming>, container: UnixStream) -> Body {
    let (mut from_container, mut to_container) = container.into_split();
    let mut input = request.into_body();
    let (pieces, body) = channel();
    tokio::spawn(async move {
        let given = !input.is_end_stream();
        let writer = async {
            while let Some(Ok(frame)) = input.frame().await {
                if let Ok(bytes) = frame.into_data()
                    && to_container.write_all(&bytes).await.is_err()
                {
                    break;
                }
            }
            if given {
                // The container's side may have ended first.
                drop(to_container.shutdown().await);
            }
            std::future::pending::<()>().await;
        };
        let reader = async {
            let last = loop {
                let mut buffer = Vec::with_capacity(PORTION);
                match from_container.read_buf(&mut buffer).await {
                    Ok(0) => break Piece::End,
                    Ok(_) => {}
                    Err(error) => break Piece::Failed(Refusal::internal(error.to_string())),
                }
                if pieces.send(Piece::Data(buffer.into())).await.is_err() {
                    return;
                }
            };
            // The client may have gone.
            drop(pieces.send(last).await);
        };
        tokio::select! {
            () = writer => {}
            () = reader => {}
            () = pieces.closed() => {}
        }
    });
    Body::pieces(body)
}

/// A stream that holds `text` as standard output, and ends.
pub(crate) fn said(text: &str, tty: bool) -> std::io::Result<OwnedFd> {
    use std::io::Write as _;
    let (mut ours, theirs) = StdStream::pair()?;
    if !tty {
        ours.write_all(&[1, 0, 0, 0])?;
        ours.write_all(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes())?;
    }
    ours.write_all(text.as_bytes())?;
    Ok(theirs.into())
}

async fn pump(client: TokioIo<hyper::upgrade::Upgraded>, container: UnixStream) {
    let (mut from_client, mut to_client) = split(client);
    let (mut from_container, mut to_container) = container.into_split();
    let input = tokio::spawn(async move {
        let copied = copy(&mut from_client, &mut to_container).await;
        // The container's side may have ended first.
        drop(to_container.shutdown().await);
        copied
    });
    if let Err(error) = copy(&mut from_container, &mut to_client).await {
        tracing::debug!(%error, "a client left while it was attached");
    }
    drop(to_client.shutdown().await);
    input.abort();
}
