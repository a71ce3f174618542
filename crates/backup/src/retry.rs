//! Requests that fail in a way that may pass are made again, a bounded number of times and ever later; and no more bytes a
//! second are moved than allowed.
//!
//! A refusal, a missing file or a full disk is final at once.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustic_core::Id;

use crate::place::{Kind, Name, PlaceError, Storage};
use crate::places::Place;

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub(crate) struct Retrying {
    inner: Box<dyn Storage>,
    retries: u32,
    upload: Option<Budget>,
    download: Option<Budget>,
}

impl Retrying {
    pub(crate) fn new(inner: Box<dyn Storage>, place: &Place) -> Self {
        Self {
            inner,
            retries: place.retries,
            upload: place.upload_limit.map(Budget::new),
            download: place.download_limit.map(Budget::new),
        }
    }

    fn again<T>(
        &self,
        mut request: impl FnMut() -> Result<T, PlaceError>,
    ) -> Result<T, PlaceError> {
        let mut pause = FIRST_PAUSE;
        let mut left = self.retries;
        loop {
            match request() {
                Err(error) if error.passes() && left > 0 => {
                    left -= 1;
                    tracing::debug!(%error, left, "request failed, trying again");
                    wait(pause);
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                other => return other,
            }
        }
    }

    fn came(&self, bytes: Bytes) -> Bytes {
        if let Some(budget) = &self.download {
            budget.spend(bytes.len() as u64);
        }
        bytes
    }
}

impl Storage for Retrying {
    fn shown(&self) -> String {
        self.inner.shown()
    }

    fn prepare(&self) -> Result<(), PlaceError> {
        self.again(|| self.inner.prepare())
    }

    fn list(&self, kind: Kind) -> Result<Vec<(Id, u64)>, PlaceError> {
        self.again(|| self.inner.list(kind))
    }

    fn read(&self, name: Name) -> Result<Bytes, PlaceError> {
        self.again(|| self.inner.read(name))
            .map(|bytes| self.came(bytes))
    }

    fn read_part(&self, name: Name, offset: u64, length: u64) -> Result<Bytes, PlaceError> {
        self.again(|| self.inner.read_part(name, offset, length))
            .map(|bytes| self.came(bytes))
    }

    fn write(&self, name: Name, bytes: &[u8]) -> Result<(), PlaceError> {
        if let Some(budget) = &self.upload {
            budget.spend(bytes.len() as u64);
        }
        self.again(|| self.inner.write(name, bytes))
    }

    fn remove(&self, name: Name) -> Result<(), PlaceError> {
        self.again(|| self.inner.remove(name))
    }

    fn sweep(&self) -> Result<(), PlaceError> {
        self.again(|| self.inner.sweep())
    }
}

/// Nothing can end the pause early; it is bounded instead.
fn wait(pause: Duration) {
    let end = Instant::now() + pause;
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        std::thread::park_timeout(left);
        if left.is_zero() {
            break;
        }
    }
}

/// So many bytes a second, shared by all threads: whoever spends waits until what was spent before is paid.
#[derive(Debug)]
struct Budget {
    rate: u64,
    paid: Mutex<Instant>,
    turn: Condvar,
}

impl Budget {
    fn new(rate: u64) -> Self {
        Self {
            rate: rate.max(1),
            paid: Mutex::new(Instant::now()),
            turn: Condvar::new(),
        }
    }

    fn spend(&self, bytes: u64) {
        let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
        let start = (*paid).max(Instant::now());
        let nanoseconds = u128::from(bytes) * 1_000_000_000 / u128::from(self.rate);
        let end = start + Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX));
        *paid = end;
        while let Some(left) = start.checked_duration_since(Instant::now()) {
            if left.is_zero() {
                break;
            }
            paid = self
                .turn
                .wait_timeout(paid, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}
