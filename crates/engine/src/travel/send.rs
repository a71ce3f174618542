//! `send`: a volume goes, as a copy or for good.
//!
//! A copy:
//! 1. where a snapshot costs next to nothing, one is made on the rung of the ladder that was asked for, sent, and removed
//! 2. elsewhere the living volume is sent; then its writers are held as the rung says, what has changed is sent, and they go on
//!
//! A move:
//! 1. while containers run, the living volume is sent; the other side reads what it has got, and what has changed meanwhile is
//!    sent, so that little is left for 2
//! 2. its containers are stopped, and nobody may start them; what has changed is sent
//! 3. once the other side has compared, published and said so, the volume goes into the trash here
//!
//! Where both sides are btrfs, what a copy makes a snapshot for goes as a stream, and a move makes one whenever something is sent,
//! of which all but the first one go as what has changed ([`super::streams`]).
//!
//! When the other side has something else in the end, everything is compared once more, and that must agree.
//!
//! If a move fails after 2, what was stopped for it is started again; a crash leaves it stopped. A snapshot that a crash leaves
//! goes at the next start ([`super::still`]).

use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use transfer::{Digest, Ending, FORMAT, Message, Passed, RelPath, Sender, TransferError};
use volumes::driver::Sharing;
use volumes::snapshot::parse_reference;

use super::receive::STREAMS;
use super::still::Snapshotted;
use super::{TravelError, Wire, converse};
use crate::containers::ContainerError;
use crate::containers::hold::User;
use crate::engine::Engine;
use crate::progress::Silent;
use crate::snapshot::Around;

/// How long a write may take while containers are held.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

pub(super) const SENDING: &str = "Sending";
pub(super) const CATCHING_UP: &str = "Catching up";

/// How often containers that go on writing are run after.
const ROUNDS: usize = 3;
/// So little sent in a round is not worth another one.
const LITTLE: u64 = 64 << 20;

/// How a volume shall go.
#[derive(Debug, Clone, Default)]
pub struct SendRequest {
    /// A volume as it is now, or `VOLUME@SNAPSHOT`.
    pub volume: String,
    /// It is let go here when it is there.
    pub moving: bool,
    /// Containers that use it are stopped for a move.
    pub stop: bool,
    /// What a copy does with containers that write.
    pub around: Around,
}

pub(super) type ToWire<'l> = Sender<'l, UnixStream, UnixStream>;

impl Engine {
    /// What forbids it from the beginning.
    ///
    /// # Errors
    /// [`TravelError`].
    pub fn check_send(&self, request: &SendRequest) -> Result<(), TravelError> {
        let (volume, snapshot) = split(&request.volume)?;
        self.volumes.luggage(volume, snapshot)?;
        if !request.moving {
            if snapshot.is_none() {
                self.snapshots
                    .plan(std::slice::from_ref(&request.volume), &request.around)?;
            }
            return Ok(());
        }
        if snapshot.is_some() {
            return Err(TravelError::SnapshotMoves);
        }
        self.volumes.may_depart(volume)?;
        let running = self.running(volume)?;
        if !request.stop && !running.is_empty() {
            return Err(TravelError::Running {
                volume: volume.to_owned(),
                containers: running.into_iter().map(|user| user.name).collect(),
            });
        }
        Ok(())
    }

    /// Sends one volume on `stream`, on which everything is said, failures too.
    pub fn send_volume(&self, request: &SendRequest, stream: UnixStream) {
        converse(stream, "send", |wire| self.send(request, wire));
    }

    fn send(&self, request: &SendRequest, wire: &mut Wire) -> Result<(), TravelError> {
        let (volume, snapshot) = split(&request.volume)?;
        let mut luggage = self.volumes.luggage(volume, snapshot)?;
        luggage.moving = request.moving;
        let origin = luggage.origin.clone();
        let about = serde_json::to_string(&luggage).expect("maps have string keys");
        wire.send(&Message::Offer {
            format: FORMAT,
            about,
        })?;
        wire.flush()?;
        let Message::Accept { about } = wire.receive()? else {
            return Err(TransferError::Nonsense("something before the answer").into());
        };
        let answer: serde_json::Value =
            serde_json::from_str(&about).map_err(TravelError::Luggage)?;
        let mut sender = Sender::new(wire);
        if answer[STREAMS] == true {
            sender.allow_streams();
        }
        self.reading(volume, |root| Ok(sender.learn(root)?))?;
        if request.moving {
            return self.depart(volume, &origin, &mut sender);
        }
        let digest = match snapshot {
            Some(name) => self.send_snapshot(volume, name, &mut sender)?,
            None => self.copy(volume, &request.around, &mut sender)?,
        };
        self.tell_of("copy", volume, digest);
        Ok(())
    }

    fn copy(
        &self,
        volume: &str,
        around: &Around,
        sender: &mut ToWire<'_>,
    ) -> Result<Digest, TravelError> {
        let sharing = self.volumes.sharing(volume)?;
        if matches!(sharing, Some(Sharing::Instant | Sharing::Shared)) {
            return self.copy_of_snapshot(volume, around, sender);
        }
        self.live_pass(volume, SENDING, sender)?;
        // What changed meanwhile, so that writers are held for what has changed during this only.
        self.live_pass(volume, CATCHING_UP, sender)?;
        sys::fault::step("send:passed");
        self.last_pass(volume, around, sender)?;
        sys::fault::step("send:sent");
        self.conclude(volume, sender, |sender| {
            let differing = self.reading(volume, |root| Ok(sender.relearn(root)?))?;
            self.last_pass(volume, around, sender)?;
            Ok(differing)
        })
    }

    /// The pass of a copy for which writers are held.
    fn last_pass(
        &self,
        volume: &str,
        around: &Around,
        sender: &mut ToWire<'_>,
    ) -> Result<(), TravelError> {
        let names = [volume.to_owned()];
        // Of those who write now.
        let plan = self.snapshots.plan(&names, around)?;
        let mut passed = None;
        let done = self.snapshots.on_rung(&names, &plan, |quiet| {
            passed = Some(self.held_pass(volume, quiet, sender));
            Ok(())
        })?;
        passed.expect("the pass was called")?;
        done.paid?;
        self.say_frozen(volume, done.frozen, sender)
    }

    /// The pass while nobody writes; whoever is slow to read it keeps nobody frozen for long.
    fn held_pass(
        &self,
        volume: &str,
        quiet: &dyn volumes::Quiet,
        sender: &mut ToWire<'_>,
    ) -> Result<Passed, TravelError> {
        let limit = |sender: &mut ToWire<'_>, time| {
            sender
                .link()
                .writer()
                .set_write_timeout(time)
                .map_err(|source| TravelError::Io {
                    action: "limit the time of a write",
                    source,
                })
        };
        limit(sender, Some(PATIENCE))?;
        let passed = match quiet.hold() {
            Ok(()) => self.reading(volume, |root| Ok(sender.pass(root, CATCHING_UP)?)),
            Err(error) => Err(volumes::SnapshotError::Quiet(error).into()),
        };
        quiet.release();
        limit(sender, None)?;
        passed
    }

    /// Says that this is all. When the other side has something else, `again` hears what, and makes it right.
    fn conclude<'l>(
        &self,
        volume: &str,
        sender: &mut ToWire<'l>,
        again: impl FnOnce(&mut ToWire<'l>) -> Result<Vec<RelPath>, TravelError>,
    ) -> Result<Digest, TravelError> {
        if let Ending::Agreed(digest) = sender.end()? {
            return Ok(digest);
        }
        let differing = again(sender)?;
        tracing::warn!(
            volume,
            entries = differing.len(),
            paths = ?differing.iter().take(10).collect::<Vec<_>>(),
            "the other engine had not what it should have: all of it was compared again"
        );
        sender.say(&Message::Note(format!(
            "{volume}: {} entries had not arrived as they are: everything was compared again",
            differing.len()
        )))?;
        match sender.end()? {
            Ending::Agreed(digest) => Ok(digest),
            Ending::Doubted => Err(TransferError::Nonsense("a second doubt").into()),
        }
    }

    fn copy_of_snapshot(
        &self,
        volume: &str,
        around: &Around,
        sender: &mut ToWire<'_>,
    ) -> Result<Digest, TravelError> {
        let (made, frozen) =
            self.snapshotted(volume, "copy", around.clone(), &Silent, &|| false)?;
        self.say_frozen(volume, frozen, sender)?;
        self.send_still(volume, &made, sender)
    }

    fn send_snapshot(
        &self,
        volume: &str,
        snapshot: &str,
        sender: &mut ToWire<'_>,
    ) -> Result<Digest, TravelError> {
        let kept = Snapshotted::kept(&self.volumes, volume, snapshot)?;
        self.send_still(volume, &kept, sender)
    }

    fn send_still(
        &self,
        volume: &str,
        made: &Snapshotted<'_>,
        sender: &mut ToWire<'_>,
    ) -> Result<Digest, TravelError> {
        let still = made.still();
        let streamed = self.stream_of(volume, &still, None, SENDING, sender)?;
        if streamed.is_none() {
            sender.pass(made.root(), SENDING)?;
        }
        sys::fault::step("send:sent");
        self.conclude(volume, sender, |sender| {
            let differing = sender.relearn(made.root())?;
            sender.pass(made.root(), CATCHING_UP)?;
            Ok(differing)
        })
    }

    fn depart(
        &self,
        volume: &str,
        origin: &str,
        sender: &mut ToWire<'_>,
    ) -> Result<(), TravelError> {
        let mut first = None;
        if !self.running(volume)?.is_empty() {
            let streamed = self.stream_ahead(volume, None, SENDING, sender)?;
            first = streamed.map(|(made, _)| made);
            if first.is_none() {
                self.live_pass(volume, SENDING, sender)?;
            }
            sys::fault::step("send:passed");
            first = self.run_after(volume, first, sender)?;
            sys::fault::step("send:settled");
        }
        let holders = self.volumes.holders(volume)?;
        let lives = self.containers.lives(holders.iter().map(String::as_str));
        // Until the volume is gone nobody starts them.
        let verbs = lives.hold();
        let mut stopped = Vec::new();
        let gone = self
            .stop_users(volume, &mut stopped)
            .and_then(|()| self.finish(volume, origin, &holders, first, sender));
        drop(verbs);
        if gone.is_err() {
            for user in &stopped {
                match self.containers.start(&user.id) {
                    Ok(()) | Err(ContainerError::NotModified) => {}
                    Err(error) => {
                        tracing::error!(container = user.name, %error, "a container that was stopped for a move stays stopped");
                    }
                }
            }
        }
        gone
    }

    /// Has the other side read what it has got, and sends what has changed meanwhile, until that is little. `first` is what was
    /// streamed before; what is streamed last is returned.
    fn run_after<'v>(
        &'v self,
        volume: &str,
        mut first: Option<Snapshotted<'v>>,
        sender: &mut ToWire<'_>,
    ) -> Result<Option<Snapshotted<'v>>, TravelError> {
        for _ in 0..ROUNDS {
            sender.settle()?;
            let streamed = match &first {
                Some(before) => self.stream_ahead(volume, Some(before), CATCHING_UP, sender)?,
                None => None,
            };
            let passed = match streamed {
                Some((made, passed)) => {
                    first = Some(made);
                    passed
                }
                None => {
                    first = None;
                    self.live_pass(volume, CATCHING_UP, sender)?
                }
            };
            if passed.sent <= LITTLE {
                break;
            }
        }
        Ok(first)
    }

    fn stop_users(&self, volume: &str, stopped: &mut Vec<User>) -> Result<(), TravelError> {
        for user in self.running(volume)? {
            let row = self.containers.find(&user.id)?;
            match self.containers.stop_locked(&row, None, None) {
                Ok(()) => stopped.push(user),
                // It has ended by itself meanwhile.
                Err(ContainerError::NotModified) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn finish(
        &self,
        volume: &str,
        origin: &str,
        holders: &[String],
        first: Option<Snapshotted<'_>>,
        sender: &mut ToWire<'_>,
    ) -> Result<(), TravelError> {
        let rest = self.stream_rest(volume, first.as_ref(), sender)?;
        if rest.is_none() {
            self.reading(volume, |root| Ok(sender.pass(root, CATCHING_UP)?))?;
        }
        sys::fault::step("send:sent");
        let digest = thread::scope(|scope| {
            // Snapshots go while the other side compares.
            scope.spawn(move || drop((first, rest)));
            self.conclude(volume, sender, |sender| {
                self.reading(volume, |root| {
                    let differing = sender.relearn(root)?;
                    sender.pass(root, CATCHING_UP)?;
                    Ok(differing)
                })
            })
        })?;
        sys::fault::step("send:done");
        self.volumes.let_go(volume, origin, holders)?;
        self.tell_of("move", volume, digest);
        let about = serde_json::json!({ "Volume": volume }).to_string();
        // The volume is gone, whether or not somebody hears of it.
        if let Err(error) = sender.say(&Message::Released { about }) {
            tracing::debug!(volume, %error, "a client left before it heard that a volume had moved");
        }
        Ok(())
    }

    /// A pass over a volume that others may write to. Pages that were written through maps are cleaned first: the next write
    /// to one of them is then seen in the file's times.
    fn live_pass(
        &self,
        volume: &str,
        action: &str,
        sender: &mut ToWire<'_>,
    ) -> Result<Passed, TravelError> {
        self.reading(volume, |root| {
            rustix::fs::syncfs(root).map_err(|error| TravelError::Io {
                action: "sync the volume's filesystem",
                source: error.into(),
            })?;
            Ok(sender.pass(root, action)?)
        })
    }

    pub(super) fn reading<T>(
        &self,
        volume: &str,
        read: impl FnOnce(BorrowedFd<'_>) -> Result<T, TravelError>,
    ) -> Result<T, TravelError> {
        self.volumes.while_readable(volume, read)?
    }

    fn running(&self, volume: &str) -> Result<Vec<User>, TravelError> {
        let users = self.containers.users_of(volume)?;
        Ok(users
            .into_iter()
            .filter(|user| user.status.is_active())
            .collect())
    }

    fn say_frozen(
        &self,
        volume: &str,
        frozen: Duration,
        sender: &mut ToWire<'_>,
    ) -> Result<(), TravelError> {
        if frozen.is_zero() {
            return Ok(());
        }
        let milliseconds = frozen.as_secs_f64() * 1e3;
        Ok(sender.say(&Message::Note(format!(
            "{volume}: containers were frozen for {milliseconds:.1} ms"
        )))?)
    }

    fn tell_of(&self, action: &str, volume: &str, digest: Digest) {
        let attributes = [("digest".to_owned(), digest.to_string())].into();
        self.events
            .publish("volume", action, volume.to_owned(), attributes);
    }
}

pub(super) fn split(reference: &str) -> Result<(&str, Option<&str>), TravelError> {
    if !reference.contains('@') {
        return Ok((reference, None));
    }
    let (volume, snapshot) = parse_reference(reference)?;
    Ok((volume, Some(snapshot)))
}
