//! Mounts of containers that exist: our own routes.

use engine::containers::config::MountRequest;
use engine::containers::mounts::attach::MountForm;
use hyper::StatusCode;
use serde::Deserialize;
use serde_json::json;

use super::{json as answer_json, ok};
use crate::bridge::Class;
use crate::dispatch::{Answer, route_table};
use crate::errors::Refusal;
use crate::request::Request;

route_table! {
    ["our own: [volumes.md](volumes.md)"]
    GET "/orlop/v1/containers/{}/mounts" => list,
    POST "/orlop/v1/containers/{}/mounts" => attach,
    DELETE "/orlop/v1/containers/{}/mounts" => detach,
}

async fn list(request: Request) -> Answer {
    let name = request.name();
    let mounts = request
        .bridge
        .call(Class::Quick, move |engine| engine.containers.mounts(&name))
        .await?;
    ok(&mounts)
}

/// Either form, as in `HostConfig.Mounts` or in `HostConfig.Binds`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Wanted {
    mount: Option<Box<MountRequest>>,
    bind: Option<String>,
    temporary: bool,
}

async fn attach(request: Request) -> Answer {
    let (name, bridge) = (request.name(), request.bridge.clone());
    let wanted: Wanted = serde_json::from_value(request.json().await?)
        .map_err(|error| Refusal::invalid(format!("invalid JSON: {error}")))?;
    let form = match (wanted.mount, wanted.bind) {
        (Some(mount), None) => MountForm::Long(mount),
        (None, Some(bind)) => MountForm::Short(bind),
        _ => return Err(Refusal::invalid("either Mount or Bind must be given")),
    };
    let (mount, warnings) = bridge
        .call(Class::Disk, move |engine| {
            engine
                .containers
                .attach_mount(&name, form, wanted.temporary)
        })
        .await?;
    answer_json(
        StatusCode::CREATED,
        &json!({ "Mount": mount, "Warnings": warnings }),
    )
}

async fn detach(request: Request) -> Answer {
    let (name, lazy) = (request.name(), request.flag("lazy"));
    let target = request
        .text("target")
        .ok_or_else(|| Refusal::invalid("missing parameter: target"))?;
    let mount = request
        .bridge
        .call(Class::Disk, move |engine| {
            engine.containers.detach_mount(&name, &target, lazy)
        })
        .await?;
    ok(&mount)
}
