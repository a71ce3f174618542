//! `serve --metrics`: the page of metrics on a TCP address, for Prometheus, which reads from nothing else.
//!
//! Guarantees: whoever can connect there reads the metrics and can do nothing else. Any other path or method is refused here, and
//! the tables of routes are not looked at. At most [`MOST`] clients are served at once, and none of them for longer than
//! [`PATIENCE`]: one that is slow or silent keeps the others waiting, never the engine.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{ALLOW, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use crate::bridge::Bridge;
use crate::errors::Refusal;
use crate::routes::metrics;
use crate::stream::Body;

/// Readers at once.
const MOST: usize = 16;
const PATIENCE: Duration = Duration::from_secs(60);
const HEAD_PATIENCE: Duration = Duration::from_secs(10);
const PATH: &str = "/metrics";

/// Listens there; clients are answered once [`serve`] runs.
///
/// # Errors
/// A sentence with the address.
pub(crate) fn listen(address: SocketAddr) -> io::Result<StdListener> {
    StdListener::bind(address).map_err(|error| {
        let text = format!("cannot listen on {address} for metrics: {error}");
        io::Error::new(error.kind(), text)
    })
}

/// Serves for as long as it is polled.
pub(crate) async fn serve(listener: TcpListener, bridge: Bridge) {
    let places = Arc::new(Semaphore::new(MOST));
    loop {
        let place = Arc::clone(&places).acquire_owned().await;
        let place = place.expect("nobody closes the semaphore");
        match listener.accept().await {
            Ok((stream, _)) => {
                let bridge = bridge.clone();
                tokio::spawn(async move {
                    if timeout(PATIENCE, talk(stream, bridge)).await.is_err() {
                        tracing::debug!("a reader of the metrics was too slow");
                    }
                    drop(place);
                });
            }
            // Out of descriptors: those who are connected will go.
            Err(error) => {
                tracing::warn!(%error, "a reader of the metrics could not be accepted");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// One request: a connection that stayed would take a place that another reader waits for.
async fn talk(stream: TcpStream, bridge: Bridge) {
    let service = service_fn(|request: Request<Incoming>| {
        let bridge = bridge.clone();
        async move {
            let answer = answer(&bridge, request.method(), request.uri().path()).await;
            Ok::<_, Infallible>(answer)
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a reader of the metrics left early");
    }
}

async fn answer(bridge: &Bridge, method: &Method, path: &str) -> Response<Body> {
    if path != PATH {
        return Refusal::not_found(format!("there is nothing here but {PATH}")).into_response();
    }
    if !matches!(*method, Method::GET | Method::HEAD) {
        let mut refused = Refusal::invalid(format!("{PATH} can only be read")).into_response();
        *refused.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        let allowed = HeaderValue::from_static("GET, HEAD");
        refused.headers_mut().insert(ALLOW, allowed);
        return refused;
    }
    let page = metrics::page(bridge).await;
    page.unwrap_or_else(Refusal::into_response)
}
