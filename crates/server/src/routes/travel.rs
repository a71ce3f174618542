//! Volumes between engines: connections that become the two ends of a transfer, and what has come only in part.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use engine::Engine;
use engine::snapshot::Around;
use engine::travel::{PullVolume, PushVolume, ReceiveRequest, SendRequest, TravelError};
use engine::{Fault as _, Progress as _};
use hyper::header;
use serde_json::{Value, json};

use super::registry::{credentials, watch};
use super::{no_content, ok};
use crate::bridge::Class;
use crate::dispatch::{Answer, route_table};
use crate::errors::Refusal;
use crate::hangup::Peer;
use crate::hijack;
use crate::request::Request;
use crate::stream::{Lines, respond};

route_table! {
    ["our own: [moving.md](moving.md)"]
    POST "/orlop/v1/volumes/{}/send" => send,
    POST "/orlop/v1/receive" => receive,
    POST "/orlop/v1/volumes/{}/push" => push,
    POST "/orlop/v1/pull-volume" => pull,
    GET "/orlop/v1/receiving" => receiving,
    DELETE "/orlop/v1/receiving/{}" => give_up,
}

impl From<TravelError> for Refusal {
    fn from(error: TravelError) -> Self {
        Self::of(error.kind(), &error)
    }
}

async fn send(request: Request) -> Answer {
    let wanted = SendRequest {
        volume: request.name(),
        moving: request.flag("move"),
        stop: request.flag("stop"),
        around: around(&request)?,
    };
    let asked = wanted.clone();
    request
        .bridge
        .call(Class::Disk, move |engine| engine.check_send(&asked))
        .await?;
    converse(request, move |engine, stream| {
        engine.send_volume(&wanted, stream);
    })
}

/// What is done to containers that write, as the query says it.
fn around(request: &Request) -> Result<Around, Refusal> {
    Ok(Around {
        consistency: request.text("consistency").unwrap_or_default(),
        hook: request.text("hook").unwrap_or_default(),
        before: request.text("pre").unwrap_or_default(),
        after: request.text("post").unwrap_or_default(),
        patience: request.number("hookTimeout")?.map(Duration::from_secs),
    })
}

fn reference(request: &Request) -> Result<String, Refusal> {
    request
        .text("reference")
        .ok_or_else(|| Refusal::invalid("missing parameter: reference"))
}

async fn push(request: Request) -> Answer {
    let push = PushVolume {
        volume: request.name(),
        reference: reference(&request)?,
        around: around(&request)?,
        credentials: credentials(&request),
        cancel: Arc::default(),
    };
    let peer = request.inner.extensions().get::<Peer>().cloned();
    let pieces = request.bridge.produce(Class::Long, move |engine, pieces| {
        let _watched = watch(peer, &push.cancel);
        let lines = Lines::new(pieces, true);
        let result = engine.push_volume(&push, &lines).map_err(Into::into);
        lines.finish(result);
    });
    respond("application/json", pieces).await
}

async fn pull(request: Request) -> Answer {
    let pull = PullVolume {
        reference: reference(&request)?,
        name: request.text("name"),
        pool: request.text("pool"),
        without_limits: request.flag("withoutLimits"),
        credentials: credentials(&request),
        cancel: Arc::default(),
    };
    let peer = request.inner.extensions().get::<Peer>().cloned();
    let pieces = request.bridge.produce(Class::Long, move |engine, pieces| {
        let _watched = watch(peer, &pull.cancel);
        let lines = Lines::new(pieces, true);
        let result = engine.pull_volume(&pull, &lines).map(|name| {
            lines.result(&json!({ "Name": name }));
        });
        lines.finish(result.map_err(Into::into));
    });
    respond("application/json", pieces).await
}

async fn receive(request: Request) -> Answer {
    let wanted = ReceiveRequest {
        name: request.text("name"),
        pool: request.text("pool"),
        without_limits: request.flag("withoutLimits"),
        streams: request.flag("streams"),
    };
    converse(request, move |engine, stream| {
        engine.receive_volume(wanted, stream);
    })
}

/// Upgrades the connection, of which `work` has the other end.
fn converse(request: Request, work: impl FnOnce(&Engine, UnixStream) + Send + 'static) -> Answer {
    if !request.inner.headers().contains_key(header::UPGRADE) {
        return Err(Refusal::invalid(
            "this route needs a connection that can be upgraded: Connection: Upgrade, Upgrade: tcp",
        ));
    }
    let (ours, theirs) = UnixStream::pair()
        .map_err(|error| Refusal::internal(format!("cannot make a connection: {error}")))?;
    let bridge = request.bridge.clone();
    let answer = hijack::join(request.inner, OwnedFd::from(theirs), true, false)?;
    tokio::spawn(async move {
        let done = bridge
            .call(Class::Long, move |engine| {
                work(engine, ours);
                Ok::<(), Refusal>(())
            })
            .await;
        if let Err(refusal) = done {
            tracing::warn!(why = refusal.message, "a transfer ended unexpectedly");
        }
    });
    Ok(answer)
}

async fn receiving(request: Request) -> Answer {
    let open = request
        .bridge
        .call(Class::Disk, |engine| engine.volumes.arrivals())
        .await?;
    let shown: Vec<Value> = open
        .iter()
        .map(|one| {
            json!({
                "Name": one.name,
                "Origin": one.origin,
                "BeganAt": one.began_at,
                "Bytes": one.bytes,
                "Active": one.active,
            })
        })
        .collect();
    ok(&shown)
}

async fn give_up(request: Request) -> Answer {
    let name = request.name();
    request
        .bridge
        .call(Class::Long, move |engine| {
            engine.volumes.give_up_arrival(&name)
        })
        .await?;
    no_content()
}
