//! `/orlop/v1/snapshots`: volumes as they were; and what is made of them.
//!
//! A snapshot is one segment of a path, `VOLUME@SNAPSHOT`, percent-encoded.

use std::collections::BTreeMap;
use std::time::Duration;

use engine::Fault as _;
use engine::snapshot::{Around, SnapshotRequest, TurnBackError};
use hyper::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use super::long::long_if_asked;
use super::{no_content, ok};
use crate::bridge::Class;
use crate::dispatch::{Answer, route_table};
use crate::errors::Refusal;
use crate::request::Request;

route_table! {
    ["our own: [snapshots.md](snapshots.md)"]
    GET "/orlop/v1/snapshots" => list,
    POST "/orlop/v1/snapshots" => create,
    POST "/orlop/v1/snapshots/plan" => plan,
    DELETE "/orlop/v1/snapshots/{}" => remove,
    GET "/orlop/v1/snapshots/{}/diff" => diff,
    POST "/orlop/v1/snapshots/{}/pin" => pin,
    GET "/orlop/v1/schedules" => schedules,
    POST "/orlop/v1/volumes/{}/restore" => restore,
    POST "/orlop/v1/volumes/{}/clone" => clone,
    PUT "/orlop/v1/volumes/{}/schedule" => set_schedule,
    DELETE "/orlop/v1/volumes/{}/schedule" => remove_schedule,
}

impl From<TurnBackError> for Refusal {
    fn from(error: TurnBackError) -> Self {
        Self::of(error.kind(), &error)
    }
}

/// What the engine's volumes refuse.
fn refused(error: engine::snapshot::SnapshotError) -> Refusal {
    TurnBackError::from(error).into()
}

fn read<T: for<'de> Deserialize<'de> + Default>(body: Value) -> Result<T, Refusal> {
    if body.is_null() {
        return Ok(T::default());
    }
    serde_json::from_value(body).map_err(|error| Refusal::invalid(format!("invalid JSON: {error}")))
}

fn shown(snapshot: &engine::snapshot::Snapshot) -> Value {
    json!({
        "Id": snapshot.id.as_str(),
        "Volume": snapshot.volume,
        "Name": snapshot.name,
        "CreatedAt": snapshot.created_at,
        "Labels": snapshot.labels,
        "Reason": snapshot.reason,
        "Consistency": snapshot.consistency,
        "Group": snapshot.group,
        "ExpiresAt": snapshot.expires_at,
        "Pinned": snapshot.pinned,
        "Size": snapshot.size,
        "Path": snapshot.path,
        "UsedBy": snapshot.holders,
    })
}

pub(super) fn milliseconds(time: Duration) -> f64 {
    // Microseconds are enough.
    (time.as_secs_f64() * 1e6).round() / 1e3
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct CreateBody {
    volumes: Vec<String>,
    name: Option<String>,
    labels: BTreeMap<String, String>,
    expire_seconds: Option<i64>,
    pinned: bool,
    #[serde(flatten)]
    around: AroundBody,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct AroundBody {
    consistency: String,
    hook: String,
    pre: String,
    post: String,
    hook_timeout_seconds: Option<u64>,
}

impl From<AroundBody> for Around {
    fn from(body: AroundBody) -> Self {
        Self {
            consistency: body.consistency,
            hook: body.hook,
            before: body.pre,
            after: body.post,
            patience: body.hook_timeout_seconds.map(Duration::from_secs),
        }
    }
}

async fn list(request: Request) -> Answer {
    let volume = request.text("volume");
    let snapshots = request
        .bridge
        .call(Class::Quick, move |engine| {
            engine.volumes.snapshots(volume.as_deref()).map_err(refused)
        })
        .await?;
    let shown: Vec<Value> = snapshots.iter().map(shown).collect();
    ok(&json!({ "Snapshots": shown }))
}

async fn create(mut request: Request) -> Answer {
    let body: CreateBody = read(request.take_json().await?)?;
    let expires_at = body
        .expire_seconds
        .map(|seconds| {
            Timestamp::now()
                .checked_add(SignedDuration::from_secs(seconds))
                .map_err(|_| Refusal::invalid("invalid ExpireSeconds: too far away"))
        })
        .transpose()?;
    let wanted = SnapshotRequest {
        volumes: body.volumes,
        name: body.name.filter(|name| !name.is_empty()),
        labels: body.labels,
        reason: "manual".to_owned(),
        expires_at,
        pinned: body.pinned,
        around: body.around.into(),
        ..SnapshotRequest::default()
    };
    long_if_asked(
        request,
        StatusCode::CREATED,
        move |engine, progress, cancel| {
            let stopped = || cancel.is_cancelled();
            let made = engine.snapshots.create(wanted, progress, &stopped)?;
            Ok(json!({
                "Snapshots": made.snapshots.iter().map(shown).collect::<Vec<_>>(),
                "FrozenMilliseconds": milliseconds(made.frozen),
                "Warnings": made.warnings,
                "Failed": made.failed,
            }))
        },
    )
    .await
}

async fn plan(request: Request) -> Answer {
    let bridge = request.bridge.clone();
    let body: CreateBody = read(request.json().await?)?;
    let around = body.around.into();
    let warnings = bridge
        .call(Class::Long, move |engine| {
            engine.snapshots.foresee(&body.volumes, &around)
        })
        .await?;
    ok(&json!({ "Warnings": warnings }))
}

/// Volume and snapshot that the path names.
fn reference(request: &Request) -> Result<(String, String), Refusal> {
    let text = request.name();
    let (volume, name) = engine::snapshot::parse_reference(&text).map_err(refused)?;
    Ok((volume.to_owned(), name.to_owned()))
}

async fn remove(request: Request) -> Answer {
    let (volume, name) = reference(&request)?;
    request
        .bridge
        .call(Class::Long, move |engine| {
            engine
                .volumes
                .remove_snapshot(&volume, &name)
                .map_err(refused)
        })
        .await?;
    no_content()
}

async fn diff(request: Request) -> Answer {
    let (volume, name) = reference(&request)?;
    let to = request.text("to");
    let changes = request
        .bridge
        .call(Class::Long, move |engine| {
            engine
                .volumes
                .diff_snapshots(&volume, &name, to.as_deref())
                .map_err(refused)
        })
        .await?;
    let shown: Vec<Value> = changes
        .iter()
        .map(
            |change| json!({ "Kind": change.kind.as_str(), "Path": change.path.to_string_lossy() }),
        )
        .collect();
    ok(&json!({ "Changes": shown }))
}

async fn pin(request: Request) -> Answer {
    let (volume, name) = reference(&request)?;
    let pinned = request.get("on").is_none() || request.flag("on");
    request
        .bridge
        .call(Class::Disk, move |engine| {
            engine
                .volumes
                .pin_snapshot(&volume, &name, pinned)
                .map_err(refused)
        })
        .await?;
    no_content()
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct RestoreBody {
    snapshot: String,
    undo: bool,
    force: bool,
}

async fn restore(mut request: Request) -> Answer {
    use engine::snapshot::RestoreFrom;
    let volume = request.name();
    let body: RestoreBody = read(request.take_json().await?)?;
    let from = match (body.snapshot.is_empty(), body.undo) {
        (false, false) => RestoreFrom::Snapshot(body.snapshot),
        (true, true) => RestoreFrom::LastKept,
        _ => return Err(Refusal::invalid("either Snapshot or Undo must be given")),
    };
    long_if_asked(request, StatusCode::OK, move |engine, progress, cancel| {
        let stopped = || cancel.is_cancelled();
        let restored = engine
            .snapshots
            .restore(&volume, &from, body.force, progress, &stopped)?;
        Ok(json!({
            "Restored": restored.from,
            "Kept": restored.kept,
            "Warnings": restored.warnings,
        }))
    })
    .await
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct CloneBody {
    name: String,
    snapshot: Option<String>,
    labels: BTreeMap<String, String>,
    pool: Option<String>,
    #[serde(flatten)]
    around: AroundBody,
}

async fn clone(mut request: Request) -> Answer {
    let source = request.name();
    let body: CloneBody = read(request.take_json().await?)?;
    let wanted = engine::snapshot::CloneVolume {
        source,
        snapshot: body.snapshot.filter(|name| !name.is_empty()),
        name: body.name,
        labels: body.labels,
        pool: body.pool.filter(|name| !name.is_empty()),
        creator: None,
    };
    let around = body.around.into();
    long_if_asked(
        request,
        StatusCode::CREATED,
        move |engine, progress, cancel| {
            let stopped = || cancel.is_cancelled();
            let cloned = engine
                .snapshots
                .clone_volume(&wanted, &around, progress, &stopped)?;
            Ok(json!({
                "Name": cloned.volume.name,
                "Mountpoint": cloned.volume.mountpoint,
                "FrozenMilliseconds": milliseconds(cloned.frozen),
                "Warnings": cloned.warnings,
                "Failed": cloned.failed,
            }))
        },
    )
    .await
}

async fn schedules(request: Request) -> Answer {
    let schedules = request
        .bridge
        .call(Class::Quick, |engine| {
            engine.snapshots.schedules().map_err(refused)
        })
        .await?;
    let shown: Vec<Value> = schedules
        .iter()
        .map(|schedule| {
            json!({
                "Volume": schedule.kept.volume,
                "Policy": schedule.kept.policy,
                "LastRun": schedule.kept.last_run,
                "NextRun": schedule.next.to_string(),
                "LastFailure": schedule.kept.failure,
            })
        })
        .collect();
    ok(&json!({ "Schedules": shown }))
}

async fn set_schedule(request: Request) -> Answer {
    let (bridge, volume) = (request.bridge.clone(), request.name());
    let policy = read(request.json().await?)?;
    bridge
        .call(Class::Disk, move |engine| {
            engine.snapshots.set_schedule(&volume, &policy)
        })
        .await?;
    no_content()
}

async fn remove_schedule(request: Request) -> Answer {
    let volume = request.name();
    request
        .bridge
        .call(Class::Disk, move |engine| {
            engine.volumes.remove_schedule(&volume).map_err(refused)
        })
        .await?;
    no_content()
}
