//! Volumes between engines: this one's end of a connection on which the other engine's end is a client away.
//!
//! [`transfer`] makes the trees equal, [`volumes`] keeps the place for what comes and lets go what went; here is what needs
//! containers, and the order of things:
//!
//! * [`send`] - offers a volume, sends it once or twice, the last time while it holds still, and lets it go if it moves;
//! * [`streams`] - does so by streams of btrfs where both sides can;
//! * [`still`] - snapshots that are read once, and what a crash left of them;
//! * [`receive`] - makes a place, fills it, compares, publishes;
//! * [`artifact`] - by way of a registry instead of a connection.
//!
//! Errors of a transfer that has begun are said on its connection, which the client reads along.

use std::os::unix::net::UnixStream;

use transfer::Link;

mod artifact;
mod error;
mod receive;
mod send;
pub(crate) mod still;
mod streams;

pub use artifact::{PullVolume, PushVolume};
pub use error::TravelError;
pub use receive::ReceiveRequest;
pub use send::SendRequest;

type Wire = Link<UnixStream, UnixStream>;

fn wire(stream: UnixStream) -> std::io::Result<Wire> {
    Ok(Link::new(stream.try_clone()?, stream))
}

/// Runs one side of a transfer; what ends it early is said to the other side.
fn converse(
    stream: UnixStream,
    what: &str,
    run: impl FnOnce(&mut Wire) -> Result<(), TravelError>,
) {
    let mut wire = match wire(stream) {
        Ok(wire) => wire,
        Err(error) => {
            tracing::warn!(what, %error, "a transfer could not begin");
            return;
        }
    };
    if let Err(error) = run(&mut wire) {
        // Silence for longer than a failed write lets it be would keep the other side waiting.
        drop(wire.writer().set_write_timeout(Some(send::PATIENCE)));
        if !error.is_told() {
            wire.fail(&sentence(&error));
        }
        tracing::info!(
            what,
            error = &error as &dyn std::error::Error,
            "a transfer ended early"
        );
    }
}

/// An error and what caused it, each said once.
fn sentence(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
