//! The only place where blocking work is handed to threads.
//!
//! Work has a class, and each class a number of places, so that many slow requests cannot keep quick ones waiting. A
//! request that is given up does not stop work that has begun: it runs to its end, or to the moment at which it notices
//! that nobody reads what it writes. A panic becomes an answer with an id that the log explains; the engine lives on.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use engine::Engine;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinError;

use crate::errors::Refusal;
use crate::stream::{self, Piece, PieceWriter, Pieces};

/// How long a piece of work may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// A look at the database or a message to a shim.
    Quick,
    /// Makes or removes things on the disk, or starts a process.
    Disk,
    /// Waits for processes or copies much data.
    Long,
    /// Waits for a program of somebody else's, which may never answer.
    Foreign,
}

const QUICK: usize = 32;
const DISK: usize = 32;
const LONG: usize = 192;
const FOREIGN: usize = 64;

/// Threads that all classes together may occupy.
pub(crate) const THREADS: usize = QUICK + DISK + LONG + FOREIGN;

#[derive(Debug)]
struct Places {
    quick: Arc<Semaphore>,
    disk: Arc<Semaphore>,
    long: Arc<Semaphore>,
    foreign: Arc<Semaphore>,
}

/// Calls the engine. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Bridge {
    engine: Arc<Engine>,
    places: Arc<Places>,
}

impl Bridge {
    pub(crate) fn new(engine: Arc<Engine>) -> Self {
        let places = |count| Arc::new(Semaphore::new(count));
        let places = Arc::new(Places {
            quick: places(QUICK),
            disk: places(DISK),
            long: places(LONG),
            foreign: places(FOREIGN),
        });
        Self { engine, places }
    }

    /// The engine, for what never blocks: its configuration and its events.
    pub(crate) fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// Runs `work` on a thread where it may block.
    pub(crate) async fn call<T, E>(
        &self,
        class: Class,
        work: impl FnOnce(&Engine) -> Result<T, E> + Send + 'static,
    ) -> Result<T, Refusal>
    where
        T: Send + 'static,
        E: Into<Refusal> + Send + 'static,
    {
        self.run(class, move |engine| work(engine).map_err(Into::into))
            .await?
    }

    /// Runs `work`, whose output is a body. Not begun when nobody wants the body any more.
    pub(crate) fn stream(
        &self,
        class: Class,
        work: impl FnOnce(&Engine, PieceWriter) -> Result<(), Refusal> + Send + 'static,
    ) -> Pieces {
        self.produce(class, move |engine, pieces| {
            let last = match work(engine, PieceWriter::new(pieces.clone())) {
                Ok(()) => Piece::End,
                Err(refusal) => Piece::Failed(refusal),
            };
            // The client may have gone.
            drop(pieces.blocking_send(last));
        })
    }

    /// Runs `work`, which sends pieces itself and ends them.
    pub(crate) fn produce(
        &self,
        class: Class,
        work: impl FnOnce(&Engine, mpsc::Sender<Piece>) + Send + 'static,
    ) -> Pieces {
        let (sender, pieces) = stream::channel();
        let bridge = self.clone();
        tokio::spawn(async move {
            let failed = sender.clone();
            let done = bridge.run(class, move |engine| {
                if !sender.is_closed() {
                    work(engine, sender);
                }
            });
            if let Err(refusal) = done.await {
                // The client may have gone.
                drop(failed.send(Piece::Failed(refusal)).await);
            }
        });
        pieces
    }

    async fn run<T: Send + 'static>(
        &self,
        class: Class,
        work: impl FnOnce(&Engine) -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let places = match class {
            Class::Quick => &self.places.quick,
            Class::Disk => &self.places.disk,
            Class::Long => &self.places.long,
            Class::Foreign => &self.places.foreign,
        };
        let place = Arc::clone(places)
            .acquire_owned()
            .await
            .expect("the semaphores are never closed");
        let engine = Arc::clone(&self.engine);
        #[expect(
            clippy::disallowed_methods,
            reason = "this is the one bridge between async and blocking code"
        )]
        let joined = tokio::task::spawn_blocking(move || {
            // Held by the work, not by who waits for it.
            let _place = place;
            work(&engine)
        });
        joined.await.map_err(panicked)
    }
}

/// An answer that names the line in the log.
fn panicked(error: JoinError) -> Refusal {
    static COUNT: AtomicU64 = AtomicU64::new(1);
    let id = format!(
        "{}-{}",
        std::process::id(),
        COUNT.fetch_add(1, Ordering::Relaxed)
    );
    let why = match error.try_into_panic() {
        Ok(payload) => text(payload.as_ref()).to_owned(),
        // Only at the very end, when the runtime goes.
        Err(error) => error.to_string(),
    };
    tracing::error!(id, why, "a request failed unexpectedly");
    Refusal::internal(format!("internal error {id}: the engine's log says more"))
}

fn text(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
