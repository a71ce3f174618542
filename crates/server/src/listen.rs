//! The socket: made when nobody else serves, given up when there is nothing left to do.

use std::io::{self, Read as _, Write as _};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener as StdListener;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use engine::Engine;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::fs::Mode;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep_until};

use crate::bridge::{Bridge, Class};
use crate::connections::Connections;
use crate::dispatch;
use crate::errors::Refusal;
use crate::hangup::Peer;
use crate::scrape;

/// A client that does not finish its request's head within this time is cut off.
const HEAD_PATIENCE: Duration = Duration::from_secs(30);
/// How often an embedded engine looks whether it is still needed.
const IDLE_CHECK: Duration = Duration::from_secs(1);

/// Where clients come in.
#[derive(Debug)]
pub(crate) struct Door<'a> {
    pub(crate) socket: &'a Path,
    /// Somebody else's socket, which listens already.
    pub(crate) given: Option<OwnedFd>,
    /// Where only the metrics are served.
    pub(crate) scraped: Option<TcpListener>,
}

impl Door<'_> {
    /// A socket of our own is for root only, 0660, from its first moment.
    fn open(self) -> io::Result<UnixListener> {
        let listener = match self.given {
            Some(given) => StdListener::from(given),
            None => listen(self.socket)?,
        };
        listener.set_nonblocking(true)?;
        UnixListener::from_std(listener)
    }
}

fn listen(socket: &Path) -> io::Result<StdListener> {
    const MODE: u32 = 0o660;
    if let Some(parent) = socket.parent() {
        std::fs::DirBuilder::new().recursive(true).create(parent)?;
    }
    // Whoever made it for this state directory is gone: the instance lock is ours. One of another directory may live.
    if is_answered(socket) {
        return Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            format!("another engine answers at {}", socket.display()),
        ));
    }
    sys_unlink(socket);
    let listener = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    // The name gets the descriptor's mode, less the umask.
    rustix::fs::fchmod(&listener, Mode::from_raw_mode(MODE))?;
    rustix::net::bind(&listener, &SocketAddrUnix::new(socket)?)?;
    std::fs::set_permissions(socket, std::fs::Permissions::from_mode(MODE))?;
    rustix::net::listen(&listener, 1024)?;
    Ok(StdListener::from(listener))
}

/// Whether an engine answers there. A connection alone says little: what a killed engine was about to start holds its listening
/// socket for a moment.
fn is_answered(socket: &Path) -> bool {
    const PATIENCE: Duration = Duration::from_secs(1);
    let Ok(mut stream) = std::os::unix::net::UnixStream::connect(socket) else {
        return false;
    };
    let mut first = [0];
    stream
        .set_read_timeout(Some(PATIENCE))
        .and_then(|()| {
            stream.write_all(b"GET /_ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        })
        .and_then(|()| stream.read_exact(&mut first))
        .is_ok()
}

/// Serves until SIGTERM or SIGINT, or until idle for `idle`. Containers live on.
pub(crate) async fn run(
    engine: Arc<Engine>,
    mut door: Door<'_>,
    idle: Option<Duration>,
    ready: impl FnOnce(),
) -> io::Result<()> {
    let own = door.given.is_none().then_some(door.socket);
    let scraped = door.scraped.take().map(scraped).transpose()?;
    let listener = door.open()?;
    ready();
    let bridge = Bridge::new(engine);
    // It ends with the runtime: who reads metrics keeps no engine.
    if let Some(listener) = scraped {
        tokio::spawn(scrape::serve(listener, bridge.clone()));
    }
    let connections = Connections::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let mut last_use = Instant::now();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                last_use = Instant::now();
                match accepted {
                    Ok((stream, _)) => serve(stream, bridge.clone(), &connections),
                    // Out of descriptors: those who are connected will go.
                    Err(error) => {
                        tracing::warn!(%error, "a connection could not be accepted");
                        sleep_until(Instant::now() + Duration::from_millis(100)).await;
                    }
                }
            }
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            // What others take for a wish to read the configuration again must not end an engine.
            _ = hang_up.recv() => tracing::info!("SIGHUP: the configuration is read again at the next start"),
            () = sleep_until(Instant::now() + IDLE_CHECK), if idle.is_some() => {
                let busy = connections.count() > 0 || any_active(&bridge).await;
                if busy {
                    last_use = Instant::now();
                } else if idle.is_some_and(|idle| last_use.elapsed() >= idle) {
                    break;
                }
            }
        }
    }
    leave(own, &listener, &bridge, &connections).await;
    Ok(())
}

fn scraped(listener: TcpListener) -> io::Result<tokio::net::TcpListener> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    tracing::info!("metrics are at http://{}/metrics", listener.local_addr()?);
    Ok(listener)
}

/// Takes the socket's name away first, then serves who came before that.
async fn leave(
    socket: Option<&Path>,
    listener: &UnixListener,
    bridge: &Bridge,
    connections: &Connections,
) {
    if let Some(socket) = socket {
        // Nobody else can have made another one: the instance lock is ours.
        sys_unlink(socket);
    }
    while let Some(Ok((stream, _))) = now(listener.accept()).await {
        serve(stream, bridge.clone(), connections);
    }
    let patience = Instant::now() + Duration::from_secs(5);
    while connections.count() > 0 && Instant::now() < patience {
        sleep_until(Instant::now() + Duration::from_millis(20)).await;
    }
    let done = bridge
        .call(Class::Long, |engine| {
            if engine.containers.any_active()? {
                return Ok(());
            }
            engine
                .network
                .shutdown()
                .map_err(engine::containers::ContainerError::Network)
        })
        .await;
    if let Err(refusal) = done {
        tracing::warn!(why = refusal.message, "the network was not taken down");
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a socket holds no data, and the next start replaces it anyway"
)]
fn sys_unlink(socket: &Path) {
    if let Err(error) = std::fs::remove_file(socket) {
        tracing::debug!(%error, "socket was gone already");
    }
}

/// The future's value if it has one right now.
async fn now<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    std::future::poll_fn(|context| {
        std::task::Poll::Ready(match future.as_mut().poll(context) {
            std::task::Poll::Ready(value) => Some(value),
            std::task::Poll::Pending => None,
        })
    })
    .await
}

async fn any_active(bridge: &Bridge) -> bool {
    // When in doubt, stay.
    bridge
        .call(Class::Quick, |engine| {
            Ok::<_, Refusal>(
                engine.containers.any_active()? || !engine.schedules.list()?.is_empty(),
            )
        })
        .await
        .unwrap_or(true)
}

fn serve(stream: UnixStream, bridge: Bridge, connections: &Connections) {
    let Some(place) = connections.enter() else {
        tracing::warn!("a connection was refused: too many are busy");
        return;
    };
    let number = place.number();
    let task = tokio::spawn(async move {
        let peer = Peer::of(&stream).ok();
        let service = service_fn(|mut request| {
            if let Some(peer) = &peer {
                request.extensions_mut().insert(peer.clone());
            }
            let busy = place.busy();
            let answer = dispatch::answer(bridge.clone(), request);
            async move {
                // An answer that is still being sent counts as long as it is.
                answer
                    .await
                    .map(|response| response.map(|body| body.holding(busy)))
            }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_PATIENCE)
            .half_close(true)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection ended early");
        }
    });
    connections.served_by(number, task.abort_handle());
}
