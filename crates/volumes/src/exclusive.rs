//! One writer at a time, for volumes that say so.
//!
//! A volume is exclusive by its label, or by the wish of a mount. Who runs is the caller's knowledge; this closes the gap
//! between asking and running, in which two starts could both see nobody, and a snapshot sees nobody to be held.

use std::collections::HashMap;
use std::sync::PoisonError;
use std::time::Duration;

use crate::{VolumeError, Volumes, held};

/// Label of volumes that have one writer at a time.
pub const EXCLUSIVE_LABEL: &str = "orlop.exclusive";

/// One volume that a holder is about to write to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    pub volume: String,
    /// This mount wants to be the only writer.
    pub exclusive: bool,
}

/// Who is about to write to which volume, and whether it has mounted that.
pub(crate) type Claims = HashMap<String, Vec<(Claim, bool)>>;

impl Volumes {
    /// Claims `claims` for `holder` until [`Volumes::unclaim`], unless one of the volumes must not have two writers and has
    /// one: of those who claim, or among those that `writers` tells (holder, and whether its mount is exclusive).
    ///
    /// # Errors
    /// [`VolumeError::Exclusive`] naming the other holder; what `writers` returns.
    pub fn claim<E: From<VolumeError>>(
        &self,
        holder: &str,
        claims: &[Claim],
        writers: impl Fn(&str) -> Result<Vec<(String, bool)>, E>,
    ) -> Result<(), E> {
        let mut all = held(&self.claims);
        for claim in claims {
            let row = self.row(&claim.volume)?;
            let always = claim.exclusive
                || row.labels.as_ref().is_some_and(|labels| {
                    labels
                        .get(EXCLUSIVE_LABEL)
                        .is_some_and(|value| value != "false")
                });
            let starting = all.iter().flat_map(|(other, claims)| {
                claims
                    .iter()
                    .map(|(other_claim, _)| other_claim)
                    .filter(|other_claim| other_claim.volume == claim.volume)
                    .map(|other_claim| (other.clone(), other_claim.exclusive))
            });
            let conflict = starting
                .chain(writers(&claim.volume)?)
                .find(|(other, exclusive)| other != holder && (always || *exclusive));
            if let Some((other, _)) = conflict {
                return Err(VolumeError::Exclusive {
                    name: claim.volume.clone(),
                    holder: other,
                }
                .into());
            }
        }
        let claims = claims.iter().map(|claim| (claim.clone(), false));
        all.insert(holder.to_owned(), claims.collect());
        Ok(())
    }

    /// The holder runs, and `writers` tells so from now on, or it does not run at all.
    pub fn unclaim(&self, holder: &str) {
        held(&self.claims).remove(holder);
        self.unclaimed.notify_all();
    }

    /// The holder has the volume mounted. The caller holds the name's lock.
    pub(crate) fn note_mounted(&self, name: &str, holder: &str) {
        for (claim, mounted) in held(&self.claims).get_mut(holder).into_iter().flatten() {
            *mounted |= claim.volume == name;
        }
    }

    /// Waits until nobody who has mounted these volumes is still about to write to them; whether that came in time. Who has not
    /// mounted them all comes later: the caller may hold the locks of their names.
    pub fn wait_for_starts(&self, volumes: &[String], limit: Duration) -> bool {
        let begins = |claims: &Vec<(Claim, bool)>| {
            let mut ours = claims
                .iter()
                .filter(|(claim, _)| volumes.contains(&claim.volume))
                .peekable();
            ours.peek().is_some() && ours.all(|(_, mounted)| *mounted)
        };
        let (_claims, waited) = self
            .unclaimed
            .wait_timeout_while(held(&self.claims), limit, |all| all.values().any(begins))
            .unwrap_or_else(PoisonError::into_inner);
        !waited.timed_out()
    }
}
