//! `/volumes`.

use std::collections::BTreeMap;

use engine::containers::list::Filters;
use engine::volume::LastUse;
use engine::{CreateVolume, Disposal, Engine, PruneRequest, Volume, VolumeError};
use hyper::StatusCode;
use regex::Regex;
use serde::Serialize;
use serde_json::{Value, json};

use super::{json as answer_json, no_content, ok};
use crate::bridge::Class;
use crate::convert::volume as convert;
use crate::dispatch::{Answer, route_table};
use crate::errors::Refusal;
use crate::filters;
use crate::request::Request;

/// The driver that waits for nobody.
const LOCAL: &str = "local";

route_table! {
    GET "/volumes" => list,
    POST "/volumes/create" => create,
    POST "/volumes/prune" => prune,
    GET "/orlop/v1/prune" => plan_prune: "our own: [volumes.md](volumes.md)",
    POST "/orlop/v1/prune" => prune: "our own: [volumes.md](volumes.md)",
    GET "/volumes/{}" => inspect,
    PUT "/volumes/{}" => update: "answers as an engine outside a swarm",
    DELETE "/volumes/{}" => remove,
}

fn known(filters: &Filters, keys: &[&str]) -> Result<(), Refusal> {
    match filters.0.keys().find(|key| !keys.contains(&key.as_str())) {
        Some(unknown) => Err(Refusal::invalid(format!("invalid filter '{unknown}'"))),
        None => Ok(()),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Listed<'a> {
    volumes: Vec<convert::Shown<'a>>,
    warnings: Option<Vec<String>>,
}

async fn list(request: Request) -> Answer {
    let filters = filters::parse(request.get("filters"))?;
    known(&filters, &["dangling", "driver", "label", "name"])?;
    let dangling = filters::flag(&filters, "dangling")?;
    let names = filters
        .0
        .get("name")
        .into_iter()
        .flatten()
        .map(|text| {
            Regex::new(text).map_err(|_| Refusal::invalid(format!("invalid filter 'name={text}'")))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let (survey, unused) = request
        .bridge
        .call(Class::Quick, move |engine| {
            let unused = if dangling.is_some() {
                engine.volumes.unused()?
            } else {
                Vec::new()
            };
            Ok::<_, VolumeError>((engine.volumes.survey()?, unused))
        })
        .await?;
    let none = BTreeMap::new();
    let is_unused =
        |volume: &Volume| volume.id.is_none() || unused.binary_search(&volume.name).is_ok();
    let shown: Vec<convert::Shown<'_>> = survey
        .volumes
        .iter()
        .filter(|volume| {
            let labels = volume.labels.as_ref().unwrap_or(&none);
            dangling.is_none_or(|dangling| is_unused(volume) == dangling)
                && filters
                    .0
                    .get("driver")
                    .is_none_or(|drivers| drivers.contains(&volume.driver))
                && (names.is_empty() || names.iter().any(|name| name.is_match(&volume.name)))
                && filters.labels_match(labels)
        })
        .map(convert::Shown::from)
        .collect();
    ok(&Listed {
        volumes: shown,
        warnings: (!survey.warnings.is_empty()).then_some(survey.warnings),
    })
}

async fn create(request: Request) -> Answer {
    let bridge = request.bridge.clone();
    let body = request.json().await?;
    if body.get("ClusterVolumeSpec").is_some() {
        return Err(Refusal::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "This node is not a swarm manager.",
        ));
    }
    if !(body.is_object() || body.is_null()) {
        return Err(Refusal::invalid(
            "invalid JSON: the options of a volume are an object",
        ));
    }
    let text = |key: &str| match &body[key] {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.clone()).filter(|text| !text.is_empty())),
        _ => Err(Refusal::invalid(format!(
            "invalid JSON: {key}: expected a string"
        ))),
    };
    let map = |key: &str| -> Result<_, Refusal> {
        match body.get(key) {
            None => Ok(BTreeMap::new()),
            Some(value) => serde_json::from_value(value.clone())
                .map_err(|error| Refusal::invalid(format!("invalid JSON: {key}: {error}"))),
        }
    };
    let create = CreateVolume {
        name: text("Name")?,
        driver: text("Driver")?,
        options: map("DriverOpts")?,
        labels: map("Labels")?,
        anonymous: false,
    };
    let class = match create.driver.as_deref() {
        None | Some(LOCAL) => Class::Disk,
        Some(_) => Class::Foreign,
    };
    let created = bridge
        .call(class, move |engine| engine.volumes.create(create))
        .await?;
    answer_json(StatusCode::CREATED, &convert::volume(&created.volume))
}

async fn prune(request: Request) -> Answer {
    let prune = prune_request(&request)?;
    if request.flag("dryRun") {
        return dry_run(request, prune).await;
    }
    let exactly = request.text("exactly");
    let pruned = request
        .bridge
        .call(Class::Long, move |engine| {
            engine.prune_volumes(&prune, exactly.as_deref())
        })
        .await?;
    let deleted = (!pruned.names.is_empty()).then_some(pruned.names);
    ok(&json!({
        "VolumesDeleted": deleted,
        "SpaceReclaimed": pruned.bytes,
        "SpaceInTrash": pruned.trashed,
    }))
}

async fn plan_prune(request: Request) -> Answer {
    let prune = prune_request(&request)?;
    dry_run(request, prune).await
}

fn prune_request(request: &Request) -> Result<PruneRequest, Refusal> {
    let filters = filters::parse(request.get("filters"))?;
    known(&filters, &["label", "label!", "all"])?;
    let all = filters::flag(&filters, "all")?.unwrap_or(false);
    let list = |key: &str| filters.0.get(key).cloned().unwrap_or_default();
    Ok(PruneRequest {
        // Before named volumes were spared.
        all: all || request.version < api::version::ApiVersion::v1(42),
        labels: list("label"),
        without_labels: list("label!"),
        now: request.flag("now"),
    })
}

/// What a prune would do, with what it would be based on. Not Docker's.
async fn dry_run(request: Request, prune: PruneRequest) -> Answer {
    let planned = request
        .bridge
        .call(Class::Quick, move |engine| engine.plan_volume_prune(&prune))
        .await?;
    let candidates = &planned.plan.candidates;
    let names: Vec<&str> = candidates.iter().map(|one| one.name.as_str()).collect();
    let known: u64 = candidates
        .iter()
        .filter_map(|one| Some(one.measured.as_ref()?.bytes))
        .sum();
    let last_uses = planned.last_uses();
    let volumes = candidates
        .iter()
        .zip(&last_uses)
        .map(|(one, last_used)| Candidate {
            name: &one.name,
            anonymous: one.anonymous,
            created_at: &one.created_at,
            last_used: last_used.as_ref(),
            size: one.measured.as_ref().map(|size| size.bytes),
            measured_at: one.measured.as_ref().map(|size| size.at.as_str()),
        })
        .collect();
    ok(&DryRun {
        volumes_deleted: (!names.is_empty()).then_some(names),
        space_reclaimed: known,
        dry_run: true,
        token: &planned.token,
        volumes,
    })
}

/// Written as it is, without a tree of values: there may be thousands.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DryRun<'a> {
    volumes_deleted: Option<Vec<&'a str>>,
    space_reclaimed: u64,
    dry_run: bool,
    token: &'a str,
    volumes: Vec<Candidate<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Candidate<'a> {
    name: &'a str,
    anonymous: bool,
    created_at: &'a str,
    last_used: Option<&'a LastUse>,
    size: Option<u64>,
    measured_at: Option<&'a str>,
}

async fn inspect(request: Request) -> Answer {
    let name = request.name();
    let (bridge, asked) = (request.bridge, name.clone());
    let kept_here = bridge
        .call(Class::Quick, move |engine| found_here(engine, &asked))
        .await?;
    if let Some(volume) = kept_here {
        return ok(&convert::volume(&volume));
    }
    let inspected = bridge
        .call(Class::Foreign, move |engine| engine.volumes.inspect(&name))
        .await?;
    ok(&convert::inspected(&inspected))
}

/// The volume, if no plugin needs to be asked for it.
pub(super) fn found_here(engine: &Engine, name: &str) -> Result<Option<Volume>, VolumeError> {
    match engine.volumes.get(name) {
        Ok(volume) => Ok((!engine.volumes.is_elsewhere(&volume.driver)).then_some(volume)),
        Err(VolumeError::NotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn update(_request: Request) -> Answer {
    Err(Refusal::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "This node is not a swarm manager. Only cluster volumes can be updated.",
    ))
}

async fn remove(request: Request) -> Answer {
    let (name, force) = (request.name(), request.flag("force"));
    let disposal = if request.flag("now") {
        Disposal::Now
    } else {
        Disposal::Trash("rm")
    };
    let (bridge, asked) = (request.bridge, name.clone());
    let kept_here = bridge
        .call(Class::Quick, move |engine| found_here(engine, &asked))
        .await?;
    let class = if kept_here.is_some() {
        Class::Disk
    } else {
        Class::Foreign
    };
    bridge
        .call(class, move |engine| {
            engine.volumes.dispose(&name, force, disposal)
        })
        .await?;
    no_content()
}
