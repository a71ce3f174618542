//! `/containers`: files: archive, changes, export, and `/commit`.

use std::io::Write;
use std::sync::Mutex;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use engine::Engine;
use engine::containers::{ArchiveStat, CommitRequest, ContainerError, PutOptions};
use hyper::{Response, StatusCode, header};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::{json as answer_json, ok};
use crate::bridge::Class;
use crate::dispatch::{Answer, route_table};
use crate::errors::Refusal;
use crate::request::Request;
use crate::stream::{Body, respond};

route_table! {
    GET "/containers/{}/archive" => get,
    HEAD "/containers/{}/archive" => stat,
    PUT "/containers/{}/archive" => put,
    GET "/containers/{}/changes" => changes,
    GET "/containers/{}/export" => export,
    POST "/commit" => commit,
}

pub(super) fn path(request: &Request) -> Result<String, Refusal> {
    request
        .text("path")
        .ok_or_else(|| Refusal::invalid("bad parameter: path cannot be empty"))
}

pub(super) const STAT_HEADER: &str = "x-docker-container-path-stat";

pub(super) fn describe(stat: &ArchiveStat) -> header::HeaderValue {
    let text = json!({
        "name": stat.name,
        "size": stat.size,
        "mode": stat.mode,
        "mtime": stat.mtime,
        "linkTarget": stat.link_target,
    })
    .to_string();
    header::HeaderValue::from_str(&BASE64_STANDARD.encode(text)).expect("base64 is plain")
}

async fn stat(request: Request) -> Answer {
    let (name, path) = (request.name(), path(&request)?);
    let stat = request
        .bridge
        .call(Class::Disk, move |engine| {
            engine.containers.archive_stat(&name, &path)
        })
        .await?;
    let mut response = Response::new(Body::empty());
    response.headers_mut().insert(STAT_HEADER, describe(&stat));
    Ok(response)
}

async fn get(request: Request) -> Answer {
    let (name, path) = (request.name(), path(&request)?);
    streamed(request, move |engine, begin| {
        engine.containers.archive_get(&name, &path, begin)
    })
    .await
}

/// What a copy calls once, with what it is about to write.
pub(super) type Begin<'a> = &'a mut dyn FnMut(ArchiveStat) -> Box<dyn Write + Send>;

/// A tar stream whose head tells what it is a copy of.
pub(super) async fn streamed(
    request: Request,
    copy: impl FnOnce(&Engine, Begin<'_>) -> Result<(), ContainerError> + Send + 'static,
) -> Answer {
    let (sender, stat) = oneshot::channel();
    let pieces = request.bridge.stream(Class::Long, move |engine, writer| {
        let mut sender = Some(sender);
        let writer: Mutex<Option<Box<dyn Write + Send>>> = Mutex::new(Some(Box::new(writer)));
        copy(engine, &mut |stat| {
            if let Some(sender) = sender.take() {
                // The client may have gone.
                drop(sender.send(stat));
            }
            writer
                .lock()
                .expect("one thread")
                .take()
                .expect("called once")
        })?;
        Ok(())
    });
    let mut response = respond("application/x-tar", pieces).await?;
    if let Ok(stat) = stat.await {
        response.headers_mut().insert(STAT_HEADER, describe(&stat));
    }
    Ok(response)
}

async fn put(request: Request) -> Answer {
    let (name, path) = (request.name(), path(&request)?);
    let options = PutOptions {
        no_overwrite_dir_non_dir: request.flag("noOverwriteDirNonDir"),
    };
    let bridge = request.bridge.clone();
    let mut reader = request.reader();
    bridge
        .call(Class::Long, move |engine| {
            engine
                .containers
                .archive_put(&name, &path, &mut reader, options)
        })
        .await?;
    Ok(Response::new(Body::empty()))
}

async fn changes(request: Request) -> Answer {
    let name = request.name();
    let changes = request
        .bridge
        .call(Class::Long, move |engine| engine.containers.changes(&name))
        .await?;
    let list: Vec<Value> = changes
        .into_iter()
        .map(|(kind, path)| json!({ "Kind": kind, "Path": path }))
        .collect();
    ok(&(!list.is_empty()).then_some(list))
}

async fn export(request: Request) -> Answer {
    let name = request.name();
    let pieces = request
        .bridge
        .stream(Class::Long, move |engine, mut writer| {
            engine.containers.export(&name, &mut writer)?;
            Ok(())
        });
    respond("application/octet-stream", pieces).await
}

async fn commit(request: Request) -> Answer {
    let bridge = request.bridge.clone();
    let container = request
        .text("container")
        .ok_or_else(|| Refusal::invalid("container: parameter is missing"))?;
    let mut commit = CommitRequest {
        repository: request.text("repo"),
        tag: request.text("tag"),
        comment: request.text("comment").unwrap_or_default(),
        author: request.text("author").unwrap_or_default(),
        changes: request.all("changes"),
        pause: request.get("pause").is_none() || request.flag("pause"),
        config: None,
    };
    let body = request.json().await?;
    if body.as_object().is_some_and(|fields| !fields.is_empty()) {
        commit.config = Some(
            serde_json::from_value(body).map_err(|error| Refusal::invalid(error.to_string()))?,
        );
    }
    let id = bridge
        .call(Class::Long, move |engine| {
            engine.containers.commit(&container, commit)
        })
        .await?;
    answer_json(StatusCode::CREATED, &json!({ "Id": id }))
}
