//! `receive`: a volume comes.
//!
//! 1. the offer is heard, a place is made or found; a new one that lies on btrfs may be filled by streams
//! 2. the place is filled ([`transfer::Receiver`]); what breaks off leaves it for the next attempt
//! 3. all of it is compared with what the sender says; if it is not that, once, everything is compared byte by byte and made so
//! 4. it is published as a volume; then the sender is told
//!
//! Between 3 and 4 a crash leaves a place to which the next attempt adds nothing, after 4 a volume of which the sender may not
//! have heard: one that moves is then compared once more, and never changed.

use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;

use transfer::{Ended, FORMAT, Message, Receiver, TransferError};
use volumes::{ArriveVolume, Luggage};

use super::{TravelError, Wire, converse};
use crate::engine::Engine;

/// In the answer to an offer: whether the volume may come as streams of btrfs.
pub(super) const STREAMS: &str = "Streams";

fn opening(source: std::io::Error) -> TravelError {
    TravelError::Io {
        action: "open the place for the volume",
        source,
    }
}

fn filled(ran: Result<Ended, TransferError>, volume: &str) -> Result<Ended, TravelError> {
    ran.map_err(|error| match error {
        TransferError::Unchanging => TravelError::ChangedSince(volume.to_owned()),
        error => error.into(),
    })
}

/// How a volume shall come.
#[derive(Debug, Clone, Default)]
pub struct ReceiveRequest {
    /// `None`: as it was called.
    pub name: Option<String>,
    /// `None`: the default pool.
    pub pool: Option<String>,
    /// Limits stay behind.
    pub without_limits: bool,
    /// The client between the engines lets streams of btrfs through.
    pub streams: bool,
}

impl Engine {
    /// Receives one volume on `stream`, on which everything is said, failures too.
    pub fn receive_volume(&self, request: ReceiveRequest, stream: UnixStream) {
        converse(stream, "receive", |wire| self.receive(request, wire));
    }

    fn receive(&self, request: ReceiveRequest, wire: &mut Wire) -> Result<(), TravelError> {
        let Message::Offer { format, about } = wire.receive()? else {
            return Err(TransferError::Nonsense("something before the offer").into());
        };
        if format != FORMAT {
            return Err(TransferError::Format(format).into());
        }
        let luggage: Luggage = serde_json::from_str(&about).map_err(TravelError::Luggage)?;
        let arrival = self.volumes.begin_arrival(&ArriveVolume {
            luggage,
            name: request.name,
            pool: request.pool,
            without_limits: request.without_limits,
        })?;
        let content = sys::dir::open(arrival.content()).map_err(opening)?;
        // What an earlier attempt has left is made whole by what differs.
        let streams = request.streams
            && !arrival.is_resumed()
            && sys::btrfs::is_btrfs(content.as_fd()).map_err(opening)?;
        let about = serde_json::json!({
            "Name": arrival.name(),
            "Resumed": arrival.is_resumed(),
            STREAMS: streams,
        });
        wire.send(&Message::Accept {
            about: about.to_string(),
        })?;
        for note in arrival.notes() {
            wire.send(&Message::Note(format!("{}: {note}", arrival.name())))?;
        }
        wire.flush()?;
        let mut receiver = Receiver::new(wire, content.as_fd());
        if arrival.is_settled() {
            receiver = receiver.unchanging();
        }
        if streams {
            receiver = receiver.streams();
        }
        receiver.tell()?;
        sys::fault::step("receive:told");
        let mut ended = filled(receiver.run(), arrival.name())?;
        sys::fault::step("receive:filled");
        match receiver.verify(&ended) {
            Err(error @ TransferError::Disagree { .. }) if !arrival.is_settled() => {
                tracing::warn!(volume = arrival.name(), %error, "all of it is compared again");
                receiver.doubt()?;
                ended = filled(receiver.run(), arrival.name())?;
                receiver.verify(&ended)?;
            }
            other => other?,
        }
        sys::fault::step("receive:verified");
        self.volumes.publish_arrival(&arrival)?;
        sys::fault::step("receive:published");
        wire.send(&Message::Done {
            digest: ended.digest,
        })?;
        Ok(wire.flush()?)
    }
}
