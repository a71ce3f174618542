//! Work that may take long: it tells how far it is, and ends when its client leaves.

use std::sync::Arc;

use engine::{Cancel, Engine, Progress, Silent};
use hyper::StatusCode;
use serde_json::Value;

use super::json as answer_json;
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
        let done = work(engine, &lines, &cancel);
        lines.conclude(done);
    });
    respond("application/json", pieces).await
}

/// As [`long`] for a client that asks for `progress`; others get the result alone, with `status`. The work ends when they
/// leave, too.
pub(super) async fn long_if_asked(
    request: Request,
    status: StatusCode,
    work: impl FnOnce(&Engine, &dyn Progress, &Arc<Cancel>) -> Result<Value, Refusal> + Send + 'static,
) -> Answer {
    if request.flag("progress") {
        return long(request, move |engine, lines, cancel| {
            work(engine, lines, cancel)
        })
        .await;
    }
    let peer = request.inner.extensions().get::<Peer>().cloned();
    let done = request
        .bridge
        .call(Class::Long, move |engine| {
            let cancel = Arc::new(Cancel::default());
            let _watched = ended_with(peer, &cancel);
            work(engine, &Silent, &cancel)
        })
        .await?;
    answer_json(status, &done)
}

/// Cancels when the client leaves, for as long as what it returns lives.
pub(super) fn ended_with(peer: Option<Peer>, cancel: &Arc<Cancel>) -> Option<Watched> {
    let cancel = Arc::clone(cancel);
    Some(peer?.watch(move || cancel.cancel()))
}
