//! `/containers`: life cycle and looking.

use std::collections::BTreeMap;

use engine::containers::networking::EndpointRequest;
use engine::containers::{
    Config, CreateRequest, HostConfig, ListRequest, RemoveRequest, UpdateRequest, WaitCondition,
};
use hyper::{Response, StatusCode, header};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::{json as answer_json, no_content, nothing, ok};
use crate::bridge::{Bridge, Class};
use crate::convert::container as convert;
use crate::convert::container_summary::Shown;
use crate::dispatch::{Answer, route_table};
use crate::errors::Refusal;
use crate::filters;
use crate::request::Request;
use crate::stream::{Body, Piece, channel, json_line};

route_table! {
    GET "/containers/json" => list,
    POST "/containers/create" => create,
    POST "/containers/prune" => prune,
    GET "/containers/{}/json" => inspect,
    GET "/containers/{}/top" => top,
    POST "/containers/{}/start" => start,
    POST "/containers/{}/stop" => stop,
    POST "/containers/{}/restart" => restart,
    POST "/containers/{}/kill" => kill,
    POST "/containers/{}/pause" => pause,
    POST "/containers/{}/unpause" => unpause,
    POST "/containers/{}/rename" => rename,
    POST "/containers/{}/update" => update,
    POST "/containers/{}/wait" => wait,
    POST "/containers/{}/resize" => resize,
    DELETE "/containers/{}" => remove,
}

async fn list(request: Request) -> Answer {
    let list = ListRequest {
        all: request.flag("all"),
        limit: request
            .number::<i64>("limit")?
            .and_then(|limit| usize::try_from(limit).ok())
            .filter(|&limit| limit > 0),
        size: request.flag("size"),
        filters: filters::parse(request.get("filters"))?,
    };
    let containers = request
        .bridge
        .call(Class::Quick, move |engine| engine.containers.list(&list))
        .await?;
    ok(&containers.iter().map(Shown::from).collect::<Vec<_>>())
}

async fn create(request: Request) -> Answer {
    let (bridge, create) = create_request(request).await?;
    let created = bridge
        .call(Class::Disk, move |engine| engine.create_container(create))
        .await?;
    let mut answer = json!({ "Id": created.id, "Warnings": created.warnings });
    if !created.image_volumes.is_empty() {
        // Not Docker's: what it makes in silence.
        answer["ImageVolumes"] = created
            .image_volumes
            .iter()
            .map(|(name, destination)| json!({ "Name": name, "Destination": destination }))
            .collect();
    }
    answer_json(StatusCode::CREATED, &answer)
}

/// What a client wants a container to be.
pub(super) async fn create_request(request: Request) -> Result<(Bridge, CreateRequest), Refusal> {
    let bridge = request.bridge.clone();
    let (name, platform) = (request.text("name"), request.text("platform"));
    let body = request.json().await?;
    let Value::Object(mut fields) = body else {
        return Err(Refusal::invalid(
            "config cannot be empty in order to create a container",
        ));
    };
    let host = fields.remove("HostConfig").unwrap_or_else(|| json!({}));
    let networking = fields.remove("NetworkingConfig");
    let invalid = |error: serde_json::Error| Refusal::invalid(format!("invalid JSON: {error}"));
    let config: Config = serde_json::from_value(Value::Object(fields)).map_err(invalid)?;
    let host_config: HostConfig = serde_json::from_value(host).map_err(invalid)?;
    let networks = endpoints(networking)?;
    let create = CreateRequest {
        name,
        config,
        host_config,
        networks,
        platform,
    };
    Ok((bridge, create))
}

/// `NetworkingConfig.EndpointsConfig`.
fn endpoints(networking: Option<Value>) -> Result<BTreeMap<String, EndpointRequest>, Refusal> {
    let wanted = networking.and_then(|mut one| one.get_mut("EndpointsConfig").map(Value::take));
    let wanted = match wanted {
        None | Some(Value::Null) => return Ok(BTreeMap::new()),
        Some(Value::Object(wanted)) => wanted,
        Some(_) => return Err(Refusal::invalid("invalid JSON: EndpointsConfig")),
    };
    wanted
        .into_iter()
        .map(|(name, value)| {
            let request = match value {
                Value::Null => EndpointRequest::default(),
                value => serde_json::from_value(super::networks::without_nulls(value))
                    .map_err(|error| Refusal::invalid(format!("invalid JSON: {error}")))?,
            };
            Ok((name, request))
        })
        .collect()
}

async fn prune(request: Request) -> Answer {
    let filters = filters::parse(request.get("filters"))?;
    let report = request
        .bridge
        .call(Class::Long, move |engine| engine.containers.prune(&filters))
        .await?;
    let deleted = (!report.deleted.is_empty()).then_some(report.deleted);
    ok(&json!({ "ContainersDeleted": deleted, "SpaceReclaimed": report.reclaimed }))
}

async fn inspect(request: Request) -> Answer {
    let (name, size) = (request.name(), request.flag("size"));
    let (detail, root) = request
        .bridge
        .call(Class::Quick, move |engine| {
            engine
                .containers
                .inspect(&name, size)
                .map(|detail| (detail, engine.paths.clone()))
        })
        .await?;
    ok(&convert::detail(&detail, &root))
}

async fn top(request: Request) -> Answer {
    let (name, arguments) = (request.name(), request.text("ps_args"));
    let processes = request
        .bridge
        .call(Class::Disk, move |engine| {
            engine.containers.top(&name, arguments.as_deref())
        })
        .await?;
    ok(&json!({ "Titles": processes.titles, "Processes": processes.rows }))
}

async fn start(request: Request) -> Answer {
    let name = request.name();
    request
        .bridge
        .call(Class::Disk, move |engine| engine.containers.start(&name))
        .await?;
    no_content()
}

async fn stop(request: Request) -> Answer {
    let (name, timeout, signal) = (request.name(), request.number("t")?, request.text("signal"));
    request
        .bridge
        .call(Class::Long, move |engine| {
            engine.containers.stop(&name, timeout, signal.as_deref())
        })
        .await?;
    no_content()
}

async fn restart(request: Request) -> Answer {
    let (name, timeout, signal) = (request.name(), request.number("t")?, request.text("signal"));
    request
        .bridge
        .call(Class::Long, move |engine| {
            engine.containers.restart(&name, timeout, signal.as_deref())
        })
        .await?;
    no_content()
}

async fn kill(request: Request) -> Answer {
    let (name, signal) = (request.name(), request.text("signal"));
    let killed = name.clone();
    request
        .bridge
        .call(Class::Disk, move |engine| {
            engine.containers.kill(&killed, signal.as_deref())
        })
        .await
        .map_err(|refusal| Refusal {
            message: format!("cannot kill container: {name}: {}", refusal.message),
            ..refusal
        })?;
    no_content()
}

async fn pause(request: Request) -> Answer {
    let name = request.name();
    request
        .bridge
        .call(Class::Disk, move |engine| engine.containers.pause(&name))
        .await?;
    no_content()
}

async fn unpause(request: Request) -> Answer {
    let name = request.name();
    request
        .bridge
        .call(Class::Disk, move |engine| engine.containers.unpause(&name))
        .await?;
    no_content()
}

async fn rename(request: Request) -> Answer {
    let (name, to) = (request.name(), request.text("name").unwrap_or_default());
    request
        .bridge
        .call(Class::Quick, move |engine| {
            engine.containers.rename(&name, &to)
        })
        .await?;
    no_content()
}

async fn update(request: Request) -> Answer {
    let (bridge, name) = (request.bridge.clone(), request.name());
    let Value::Object(fields) = request.json().await? else {
        return Err(Refusal::invalid("an update needs fields"));
    };
    let warnings = bridge
        .call(Class::Disk, move |engine| {
            engine.containers.update(&name, UpdateRequest(fields))
        })
        .await?;
    ok(&json!({ "Warnings": warnings }))
}

/// The head is sent at once: clients start the container only when they have it.
async fn wait(request: Request) -> Answer {
    let condition = match request.get("condition") {
        None | Some("" | "not-running") => WaitCondition::NotRunning,
        Some("next-exit") => WaitCondition::NextExit,
        Some("removed") => WaitCondition::Removed,
        Some(other) => return Err(Refusal::invalid(format!("invalid condition: \"{other}\""))),
    };
    let name = request.name();
    let (sender, outcome) = oneshot::channel();
    request
        .bridge
        .call(Class::Quick, move |engine| {
            engine.containers.wait(
                &name,
                condition,
                Box::new(move |outcome| {
                    // The client may have gone.
                    drop(sender.send(outcome));
                }),
            )
        })
        .await?;
    let (pieces, body) = channel();
    tokio::spawn(async move {
        if let Ok(outcome) = outcome.await {
            let mut answer = json!({ "StatusCode": outcome.code });
            if let Some(error) = outcome.error {
                answer["Error"] = json!({ "Message": error });
            }
            drop(pieces.send(Piece::Data(json_line(&answer).into())).await);
            drop(pieces.send(Piece::End).await);
        }
    });
    let mut response = Response::new(Body::pieces(body));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("application/json"),
    );
    Ok(response)
}

async fn resize(request: Request) -> Answer {
    let (rows, columns) = convert::size(&request)?;
    let name = request.name();
    request
        .bridge
        .call(Class::Quick, move |engine| {
            engine.containers.resize(&name, rows, columns)
        })
        .await?;
    nothing(StatusCode::OK)
}

async fn remove(request: Request) -> Answer {
    let name = request.name();
    let remove = RemoveRequest {
        force: request.flag("force"),
        volumes: request.flag("v"),
        link: request.flag("link"),
    };
    request
        .bridge
        .call(Class::Long, move |engine| {
            engine.containers.remove(&name, remove)
        })
        .await?;
    no_content()
}
