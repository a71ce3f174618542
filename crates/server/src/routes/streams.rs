//! `/containers`: what flows: attach, logs, stats.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdStream;
use std::time::Duration;

use engine::containers::{AttachRequest, LogReader, LogRequest, Sample};
use hyper::{Response, header};
use jiff::Timestamp;

use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncWriteExt as _, Interest, copy_bidirectional};
use tokio::net::UnixStream;
use tokio::sync::mpsc;

use super::ok;
use crate::bridge::{Bridge, Class};
use crate::convert::container as convert;
use crate::dispatch::{Answer, route_table};
use crate::errors::Refusal;
use crate::hijack;
use crate::request::Request;
use crate::stream::{Body, Piece, channel, json_line};
use crate::versions::{MULTIPLEXED_TYPE, WEBSOCKET_STREAMS};
use crate::websocket;

route_table! {
    POST "/containers/{}/attach" => attach,
    GET "/containers/{}/attach/ws" => attach_websocket,
    GET "/containers/{}/logs" => logs,
    GET "/containers/{}/stats" => stats,
}

async fn attach(request: Request) -> Answer {
    let name = request.name();
    let attach = AttachRequest {
        stdin: request.flag("stdin"),
        stdout: request.flag("stdout"),
        stderr: request.flag("stderr"),
        detach_keys: request.text("detachKeys"),
    };
    let (live, past) = (request.flag("stream"), request.flag("logs"));
    let so_far = LogRequest {
        stdout: past && attach.stdout,
        stderr: past && attach.stderr,
        ..LogRequest::default()
    };
    let (log, streams, tty) = request
        .bridge
        .call(Class::Disk, move |engine| {
            if !past && !live {
                // Nothing is asked for, of a container that must be there.
                let tty = engine.containers.inspect(&name, false)?.config.tty;
                return Ok((None, None, tty));
            }
            let log = if past {
                Some(engine.containers.logs(&name, &so_far)?)
            } else {
                None
            };
            let streams = if live {
                Some(engine.containers.attach(&name, &attach)?)
            } else {
                None
            };
            Ok::<_, engine::containers::ContainerError>(match (log, streams) {
                (log, Some((streams, tty))) => (log, Some(streams), tty),
                (log, None) => {
                    let tty = log.as_ref().is_some_and(|log| log.tty);
                    (log, None, tty)
                }
            })
        })
        .await?;
    let streams = match (log, streams) {
        (None, Some(streams)) => streams,
        (log, streams) => replay(request.bridge.clone(), log, streams)
            .map_err(|error| Refusal::internal(format!("cannot attach: {error}")))?,
    };
    let named = request.version >= MULTIPLEXED_TYPE;
    hijack::join(request.inner, streams, tty, named)
}

/// One stream of what the log holds and then of `streams`, both ways; without them it ends after the log.
fn replay(
    bridge: Bridge,
    log: Option<LogReader>,
    streams: Option<OwnedFd>,
) -> std::io::Result<OwnedFd> {
    let ours_and_theirs = StdStream::pair()?;
    let tokio_stream = |stream: StdStream| {
        stream.set_nonblocking(true)?;
        UnixStream::from_std(stream)
    };
    let mut ours = tokio_stream(ours_and_theirs.0)?;
    let mut streams = streams.map(|fd| tokio_stream(fd.into())).transpose()?;
    tokio::spawn(async move {
        if let Some(log) = log {
            let (pieces, mut lines) = channel();
            let reading =
                tokio::spawn(async move { send_lines(&bridge, log, false, false, &pieces).await });
            while let Some(Piece::Data(bytes)) = lines.recv().await {
                if ours.write_all(&bytes).await.is_err() {
                    return;
                }
            }
            if let Ok(Err(refusal)) = reading.await {
                tracing::warn!(why = refusal.message, "a log was not sent to its end");
            }
        }
        if let Some(streams) = &mut streams
            && let Err(error) = copy_bidirectional(&mut ours, streams).await
        {
            tracing::debug!(%error, "a client left while it was attached");
        }
    });
    Ok(ours_and_theirs.1.into())
}

async fn attach_websocket(request: Request) -> Answer {
    websocket::check(&request.inner)?;
    let name = request.name();
    let all = request.version < WEBSOCKET_STREAMS;
    let wanted = |key: &str| all || request.flag(key);
    let attach = AttachRequest {
        stdin: wanted("stdin"),
        stdout: wanted("stdout"),
        stderr: wanted("stderr"),
        detach_keys: request.text("detachKeys"),
    };
    let (streams, tty) = request
        .bridge
        .call(Class::Disk, move |engine| {
            engine.containers.attach(&name, &attach)
        })
        .await?;
    websocket::join(request.inner, streams, tty)
}

/// Unix seconds with a fraction, or RFC 3339.
pub(crate) fn time(key: &str, text: Option<&str>) -> Result<Option<Timestamp>, Refusal> {
    let Some(text) = text.filter(|text| !text.is_empty() && *text != "0") else {
        return Ok(None);
    };
    let invalid = || Refusal::invalid(format!("invalid value for \"{key}\": {text}"));
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(Some(time));
    }
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let nanoseconds = format!("{fraction:0<9}");
    let seconds: i64 = seconds.parse().map_err(|_| invalid())?;
    let nanoseconds: i32 = nanoseconds
        .get(..9)
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(invalid)?;
    Timestamp::new(seconds, nanoseconds)
        .map(Some)
        .map_err(|_| invalid())
}

async fn logs(request: Request) -> Answer {
    let name = request.name();
    let wanted = LogRequest {
        stdout: request.flag("stdout"),
        stderr: request.flag("stderr"),
        follow: request.flag("follow"),
        since: time("since", request.get("since"))?,
        until: time("until", request.get("until"))?,
        tail: match request.get("tail") {
            None | Some("" | "all") => None,
            Some(text) => text.parse().ok(),
        },
    };
    let (timestamps, details) = (request.flag("timestamps"), request.flag("details"));
    let bridge = request.bridge.clone();
    let reader = bridge
        .call(Class::Quick, move |engine| {
            engine.containers.logs(&name, &wanted)
        })
        .await?;
    let kind = hijack::media_type(reader.tty, request.version >= MULTIPLEXED_TYPE);
    let (pieces, body) = channel();
    tokio::spawn(async move {
        let last = match send_lines(&bridge, reader, timestamps, details, &pieces).await {
            Ok(()) => Piece::End,
            Err(refusal) => Piece::Failed(refusal),
        };
        drop(pieces.send(last).await);
    });
    let mut response = Response::new(Body::pieces(body));
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    Ok(response)
}

/// Reads on threads of the bridge, waits without one.
async fn send_lines(
    bridge: &Bridge,
    mut reader: LogReader,
    timestamps: bool,
    details: bool,
    pieces: &mpsc::Sender<Piece>,
) -> Result<(), Refusal> {
    loop {
        let (back, lines) = bridge
            .call(Class::Quick, move |_| {
                let lines = reader.next_lines()?;
                Ok::<_, engine::containers::ContainerError>((reader, lines))
            })
            .await?;
        reader = back;
        if lines.is_empty() {
            if !reader.may_grow() {
                return Ok(());
            }
            let Some(fd) = reader.fd() else {
                return Ok(());
            };
            #[expect(
                deprecated,
                reason = "the reader, and with it the descriptor, outlives the registration"
            )]
            let watched = AsyncFd::with_interest(fd, Interest::READABLE)
                .map_err(|error| Refusal::internal(format!("cannot follow the log: {error}")))?;
            tokio::select! {
                ready = watched.readable() => drop(ready),
                () = pieces.closed() => return Ok(()),
            }
            continue;
        }
        let mut bytes = Vec::new();
        for line in lines {
            let mut text = Vec::with_capacity(line.line.len() + 40);
            if timestamps {
                text.extend_from_slice(padded(&line.time).as_bytes());
                text.push(b' ');
            }
            if details {
                let shown: Vec<String> = line
                    .attrs
                    .iter()
                    .map(|(key, value)| format!("{key}={value}"))
                    .collect();
                text.extend_from_slice(shown.join(",").as_bytes());
                text.push(b' ');
            }
            text.extend_from_slice(&line.line);
            if !reader.tty {
                bytes.extend_from_slice(&[line.stream, 0, 0, 0]);
                bytes.extend_from_slice(
                    &u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes(),
                );
            }
            bytes.extend_from_slice(&text);
        }
        if pieces.send(Piece::Data(bytes.into())).await.is_err() {
            return Ok(());
        }
    }
}

/// Nine digits of fraction, so that columns line up: `…T09:24:35.1Z` is written without its zeroes.
fn padded(time: &str) -> String {
    match time
        .strip_suffix('Z')
        .map(|time| time.split_once('.').unwrap_or((time, "")))
    {
        Some((seconds, fraction)) => format!("{seconds}.{fraction:0<9}Z"),
        None => time.to_owned(),
    }
}

async fn sample(bridge: &Bridge, name: &str) -> Result<Sample, Refusal> {
    let name = name.to_owned();
    bridge
        .call(Class::Quick, move |engine| engine.containers.stats(&name))
        .await
}

async fn stats(request: Request) -> Answer {
    let (bridge, name) = (request.bridge.clone(), request.name());
    let streaming = request.get("stream").is_none() || request.flag("stream");
    if streaming && request.flag("one-shot") {
        return Err(Refusal::invalid(
            "cannot have stream=true and one-shot=true",
        ));
    }
    let unified = bridge
        .engine()
        .info()
        .is_ok_and(|info| info.cgroup_version == "2");
    let first = sample(&bridge, &name).await?;
    if !streaming {
        if request.flag("one-shot") || !first.running {
            return ok(&convert::stats(&first, None, unified));
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        let second = sample(&bridge, &name).await?;
        return ok(&convert::stats(&second, Some(&first), unified));
    }
    let (pieces, body) = channel();
    tokio::spawn(async move {
        let mut before: Option<Sample> = None;
        let mut latest = first;
        loop {
            let line = json_line(&convert::stats(&latest, before.as_ref(), unified));
            if pieces.send(Piece::Data(line.into())).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
            match sample(&bridge, &name).await {
                Ok(next) => before = Some(std::mem::replace(&mut latest, next)),
                Err(_) => break,
            }
        }
        drop(pieces.send(Piece::End).await);
    });
    let mut response = Response::new(Body::pieces(body));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("application/json"),
    );
    Ok(response)
}
