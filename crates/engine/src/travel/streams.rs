//! Volumes that go as streams of btrfs, where both sides can: from one snapshot, or from two of which the second one is sent as
//! what has changed since the first.
//!
//! A stream is never all there is to it: whatever cannot go as one is compared, and both trees are in the end.

use std::os::fd::BorrowedFd;

use transfer::{Message, Passed, Still, Streamed};
use volumes::driver::Sharing;

use super::TravelError;
use super::send::{CATCHING_UP, ToWire};
use super::still::Snapshotted;
use crate::engine::Engine;
use crate::progress::Silent;
use crate::snapshot::Around;

impl Engine {
    /// Sends `still` as a stream; `None` when a pass must do it, or what is left of it.
    pub(super) fn stream_of(
        &self,
        volume: &str,
        still: &Still<'_>,
        before: Option<BorrowedFd<'_>>,
        action: &str,
        sender: &mut ToWire<'_>,
    ) -> Result<Option<Passed>, TravelError> {
        match sender.stream(still, before, action)? {
            Streamed::Whole(passed) => Ok(Some(passed)),
            Streamed::Unfit => Ok(None),
            Streamed::Broken(why) => {
                tracing::warn!(volume, %why, "a stream of btrfs was broken off");
                sender.say(&Message::Note(format!(
                    "{volume}: the filesystem's stream broke off ({why}): what is missing is compared"
                )))?;
                Ok(None)
            }
        }
    }

    /// Sends the volume as it is now, or what it has beyond `before`, while containers go on; `None` when that must be done by a
    /// pass.
    pub(super) fn stream_ahead(
        &self,
        volume: &str,
        before: Option<&Snapshotted<'_>>,
        action: &str,
        sender: &mut ToWire<'_>,
    ) -> Result<Option<(Snapshotted<'_>, Passed)>, TravelError> {
        let Some(made) = self.for_stream(volume, sender)? else {
            return Ok(None);
        };
        let before = before.map(Snapshotted::root);
        let sent = self.stream_of(volume, &made.still(), before, action, sender)?;
        sys::fault::step("stream:ahead");
        Ok(sent.map(|passed| (made, passed)))
    }

    /// Sends what the volume, which nobody changes any more, has beyond `first`; all of it when there is none. What is read for
    /// the digest is the volume itself: it is let go by that. `None` when a pass must do it.
    pub(super) fn stream_rest(
        &self,
        volume: &str,
        first: Option<&Snapshotted<'_>>,
        sender: &mut ToWire<'_>,
    ) -> Result<Option<Snapshotted<'_>>, TravelError> {
        let Some(made) = self.for_stream(volume, sender)? else {
            return Ok(None);
        };
        let before = first.map(Snapshotted::root);
        let sent = self.reading(volume, |root| {
            let still = Still {
                read: root,
                ..made.still()
            };
            self.stream_of(volume, &still, before, CATCHING_UP, sender)
        })?;
        sys::fault::step("stream:rest");
        Ok(sent.map(|_| made))
    }

    /// A snapshot, if the next thing to be sent may be a stream of one.
    fn for_stream(
        &self,
        volume: &str,
        sender: &ToWire<'_>,
    ) -> Result<Option<Snapshotted<'_>>, TravelError> {
        if !sender.may_stream() || self.volumes.sharing(volume)? != Some(Sharing::Instant) {
            return Ok(None);
        }
        let is_subvolume = self.reading(volume, |root| {
            sys::btrfs::is_subvolume(root).map_err(|source| TravelError::Io {
                action: "look at the volume",
                source,
            })
        })?;
        if !is_subvolume {
            return Ok(None);
        }
        // A snapshot is of one instant in any case; for how long that takes nobody need be held.
        let nobody = Around {
            consistency: "none".to_owned(),
            ..Around::default()
        };
        let (made, _) = self.snapshotted(volume, "move", nobody, &Silent, &|| false)?;
        Ok(Some(made))
    }
}
