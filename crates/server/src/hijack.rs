//! Connections that become streams: `attach` and `exec start`.
//!
//! The client asks for an upgrade and gets `101`; older ones just expect the stream behind a `200`. From then on bytes are
//! copied between the client and the shim's socket, and each side's end is passed on to the other.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdStream;

use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncWriteExt as _, copy, split};
use tokio::net::UnixStream;

use crate::errors::Refusal;
use crate::stream::Body;

const RAW: &str = "application/vnd.docker.raw-stream";
const MULTIPLEXED: &str = "application/vnd.docker.multiplexed-stream";

/// Joins the request's connection with `streams`.
pub(crate) fn join(
    mut request: Request<Incoming>,
    streams: OwnedFd,
    tty: bool,
) -> Result<Response<Body>, Refusal> {
    let socket = StdStream::from(streams);
    let socket = socket
        .set_nonblocking(true)
        .and_then(|()| UnixStream::from_std(socket))
        .map_err(|error| Refusal::internal(format!("cannot attach: {error}")))?;
    let asked = request.headers().contains_key(header::UPGRADE);
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        match upgrade.await {
            Ok(upgraded) => pump(TokioIo::new(upgraded), socket).await,
            Err(error) => {
                tracing::debug!(%error, "a client left before its connection was upgraded");
            }
        }
    });
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(if tty { RAW } else { MULTIPLEXED }),
    );
    // Without these hyper does not hand the connection over; clients that did not ask see them and carry on.
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("tcp"));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    if !asked {
        tracing::debug!("a client that asked for no upgrade gets one");
    }
    Ok(response)
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
