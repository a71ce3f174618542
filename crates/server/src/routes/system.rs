//! The engine itself: ping, version, info, events, disk usage.

use std::sync::Arc;
use std::time::Duration;

use engine::events::Event;
use engine::system::Measured;
use hyper::Response;
use hyper::header::{self, HeaderValue};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::ok;
use super::streams::time;
use crate::bridge::Class;
use crate::convert;
use crate::dispatch::{Answer, route_table};
use crate::errors::Refusal;
use crate::event_filter;
use crate::filters;
use crate::request::Request;
use crate::stream::{Body, Piece, channel, json_line};

route_table! {
    GET "/_ping" => ping,
    HEAD "/_ping" => ping,
    GET "/version" => version,
    GET "/info" => info,
    GET "/events" => events,
    GET "/system/df" => usage,
    POST "/session" => no_session: "refused: BuildKit",
    POST "/grpc" => no_session: "refused: BuildKit",
}

async fn ping(request: Request) -> Answer {
    let head = request.inner.method() == hyper::Method::HEAD;
    let mut response = Response::new(if head {
        Body::empty()
    } else {
        Body::full("OK")
    });
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("no-cache, no-store, must-revalidate"),
    );
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    headers.insert("builder-version", HeaderValue::from_static("1"));
    headers.insert("swarm", HeaderValue::from_static("inactive"));
    Ok(response)
}

async fn version(request: Request) -> Answer {
    let info = request
        .bridge
        .call(Class::Quick, |engine| engine.info())
        .await?;
    let ours = env!("CARGO_PKG_VERSION");
    let (newest, oldest) = (
        api::version::NEWEST.to_string(),
        api::version::OLDEST.to_string(),
    );
    ok(&json!({
        "Platform": { "Name": "orlop" },
        "Components": [{
            "Name": "Engine",
            "Version": ours,
            "Details": {
                "ApiVersion": newest,
                "MinAPIVersion": oldest,
                "Arch": convert::architecture(&info.architecture),
                "Os": "linux",
                "KernelVersion": info.kernel,
                "Experimental": "false",
                "GitCommit": "",
                "GoVersion": "",
                "BuildTime": "",
            },
        }],
        "Version": ours,
        "ApiVersion": newest,
        "MinAPIVersion": oldest,
        "GitCommit": "",
        "GoVersion": "",
        "Os": "linux",
        "Arch": convert::architecture(&info.architecture),
        "KernelVersion": info.kernel,
        "BuildTime": "",
    }))
}

async fn info(request: Request) -> Answer {
    let plugins = request
        .bridge
        .call(Class::Foreign, |engine| {
            Ok::<_, Refusal>(engine.volumes.plugins().drivers())
        })
        .await?;
    let info = request
        .bridge
        .call(Class::Quick, move |engine| {
            let info = engine.info()?;
            Ok::<_, engine::containers::ContainerError>(convert::info(&info, engine, &plugins))
        })
        .await?;
    ok(&info)
}

async fn usage(request: Request) -> Answer {
    let types = request.all("type");
    if let Some(unknown) = types
        .iter()
        .find(|kind| !KINDS_OF_USAGE.contains(&kind.as_str()))
    {
        return Err(Refusal::invalid(format!("unknown object type: {unknown}")));
    }
    let asked = |kind: &str| types.is_empty() || types.iter().any(|known| known == kind);
    let [containers, images, volumes, build_cache] = KINDS_OF_USAGE.map(asked);
    let of = Measured {
        containers,
        images,
        volumes,
        build_cache,
    };
    let usage = request
        .bridge
        .call(Class::Long, move |engine| engine.disk_usage(of))
        .await?;
    // What was not asked for is null, not empty.
    let shown = |asked: bool, list: Vec<Value>| {
        if asked {
            Value::Array(list)
        } else {
            Value::Null
        }
    };
    let volume = |(volume, size, holders): &(engine::Volume, i64, usize)| {
        let mut shown = convert::volume::volume(volume);
        shown["UsageData"] = json!({ "RefCount": holders, "Size": size });
        shown
    };
    ok(&json!({
        "LayersSize": if images { usage.layers_size } else { 0 },
        "Images": shown(images, usage.images.iter().map(convert::image::summary).collect()),
        "Containers": shown(containers, usage.containers.iter().map(convert::container_summary::summary).collect()),
        "Volumes": shown(volumes, usage.volumes.iter().map(volume).collect()),
        "VolumeTrash": { "Count": usage.trash.0, "Size": usage.trash.1 },
        "BuildCache": shown(build_cache, usage.build_cache.iter().map(super::build::entry).collect()),
        "BuilderSize": usage.build_cache.iter().filter(|entry| !entry.shared).map(|entry| entry.size).sum::<u64>(),
    }))
}

/// Values of `type`, in the order of [`Measured`]'s fields.
const KINDS_OF_USAGE: [&str; 4] = ["container", "image", "volume", "build-cache"];

/// Events that may wait for a slow client before it is cut off; all that are kept come at once.
const EVENTS: usize = engine::events::KEPT + 1024;
/// A client that takes no event for so long is cut off.
const STALL: Duration = Duration::from_secs(60);

async fn events(request: Request) -> Answer {
    let filters = filters::parse(request.get("filters"))?;
    // Unlike for logs, zero is a moment like any other: everything that is kept.
    let moment = |key: &str| match request.get(key) {
        Some("0") => Ok(Some(Timestamp::UNIX_EPOCH)),
        text => time(key, text),
    };
    let (since, until) = (moment("since")?, moment("until")?);
    if let (Some(since), Some(until)) = (since, until)
        && until < since
    {
        let text = |key: &str| request.get(key).unwrap_or_default();
        return Err(Refusal::invalid(format!(
            "`since` time ({}) cannot be after `until` time ({})",
            text("since"),
            text("until")
        )));
    }
    let (sender, mut receiver) = mpsc::channel::<Arc<Event>>(EVENTS);
    request.bridge.engine().events.subscribe(
        since,
        Box::new(move |event| {
            if sender.is_closed() {
                return false;
            }
            !event_filter::passes(event, &filters) || sender.try_send(Arc::clone(event)).is_ok()
        }),
    );
    let (pieces, body) = channel();
    tokio::spawn(async move {
        let left = until
            .map(|until| until.duration_since(Timestamp::now()).unsigned_abs())
            .filter(|_| until > Some(Timestamp::now()));
        let deadline = async {
            match (until, left) {
                (None, _) => std::future::pending().await,
                (Some(_), Some(left)) => tokio::time::sleep(left).await,
                (Some(_), None) => {}
            }
        };
        tokio::pin!(deadline);
        loop {
            tokio::select! {
                biased;
                event = receiver.recv() => {
                    let Some(event) = event else { break };
                    if until.is_some_and(|until| event.time > until) {
                        break;
                    }
                    let line = json_line(&convert::event(&event));
                    tokio::select! {
                        sent = pieces.send(Piece::Data(line.into())) => if sent.is_err() {
                            return;
                        },
                        // What waits in its socket has to do: the rest was dropped when it fell behind.
                        () = tokio::time::sleep(STALL) => return,
                    }
                }
                () = &mut deadline => break,
                () = pieces.closed() => return,
            }
        }
        drop(pieces.send(Piece::End).await);
    });
    let mut response = Response::new(Body::pieces(body));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    Ok(response)
}

async fn no_session(_request: Request) -> Answer {
    Err(Refusal::unsupported(
        "BuildKit sessions are not supported; build with DOCKER_BUILDKIT=0",
    ))
}
