//! Work that may take long: it tells how far it is, and ends when its client leaves.

use std::sync::Arc;

use engine::{Cancel, Engine, Progress as _};
use serde_json::Value;

use crate::bridge::Class;
use crate::dispatch::Answer;
use crate::errors::Refusal;
use crate::hangup::{Peer, Watched};
use crate::request::Request;
use crate::stream::{Lines, respond};

/// Runs what may take long, says how far it is, and ends it when its client leaves; its result comes last.
pub(super) async fn long(
    request: Request,
    work: impl FnOnce(&Engine, &Lines, &Arc<Cancel>) -> Result<Value, Refusal> + Send + 'static,
) -> Answer {
    let peer = request.inner.extensions().get::<Peer>().cloned();
    let pieces = request.bridge.produce(Class::Long, move |engine, pieces| {
        let cancel = Arc::new(Cancel::default());
        let _watched = ended_with(peer, &cancel);
        let lines = Lines::new(pieces, true);
        let done = work(engine, &lines, &cancel).map(|result| lines.result(&result));
        lines.finish(done);
    });
    respond("application/json", pieces).await
}

/// Cancels when the client leaves, for as long as what it returns lives.
pub(super) fn ended_with(peer: Option<Peer>, cancel: &Arc<Cancel>) -> Option<Watched> {
    let cancel = Arc::clone(cancel);
    peer?
        .watch(move || cancel.cancel())
        .inspect_err(
            |error| tracing::warn!(%error, "what was asked for goes on if its client leaves"),
        )
        .ok()
}
