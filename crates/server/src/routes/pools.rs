//! `/orlop/v1/pools`: places for volumes; what a volume may hold; and a lost database.

use std::collections::BTreeMap;
use std::path::PathBuf;

use engine::volume::RescueError;
use engine::{
    Abilities, CreatePool, Fault as _, Pool, PoolError, ResizeVolume, VolumeStorage, parse_size,
};
use hyper::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::long::long_if_asked;
use super::{json as answer_json, no_content, ok};
use crate::bridge::Class;
use crate::dispatch::{Answer, route_table};
use crate::errors::Refusal;
use crate::request::Request;

route_table! {
    ["our own: [pools.md](pools.md)"]
    GET "/orlop/v1/pools" => list,
    POST "/orlop/v1/pools" => create,
    GET "/orlop/v1/pools/{}" => inspect,
    DELETE "/orlop/v1/pools/{}" => remove,
    POST "/orlop/v1/pools/{}/resize" => resize,
    POST "/orlop/v1/pools/{}/default" => set_default,
    POST "/orlop/v1/pools/{}/rename" => rename,
    POST "/orlop/v1/volumes/{}/resize" => resize_volume,
    POST "/orlop/v1/rescue" => rescue,
}

impl From<PoolError> for Refusal {
    fn from(error: PoolError) -> Self {
        Self::of(error.kind(), &error)
    }
}

impl From<RescueError> for Refusal {
    fn from(error: RescueError) -> Self {
        Self::of(error.kind(), &error)
    }
}

fn abilities(abilities: Option<&Abilities>) -> Value {
    let Some(abilities) = abilities else {
        return Value::Null;
    };
    json!({
        "Snapshot": abilities.sharing.as_str(),
        "Limit": abilities.bound.map(|bound| bound.as_str()),
        "InodeLimit": abilities.inodes,
        "LiveGrow": abilities.live_grow,
        "LiveShrink": abilities.live_shrink,
    })
}

/// The part of a volume's inspection that says where it lies and what it may hold.
pub(super) fn storage(storage: &VolumeStorage) -> (Value, Value) {
    let held = storage.held.as_ref();
    let limits = json!({
        "Size": storage.limits.bytes,
        "Inodes": storage.limits.inodes,
        "SoftSize": storage.soft_bytes,
        "SoftCrossed": storage.soft_crossed,
        "Used": held.map(|held| held.bytes),
        "InodesUsed": held.and_then(|held| held.inodes),
    });
    (limits, abilities(storage.abilities.as_ref()))
}

fn shown(pool: &Pool) -> Value {
    json!({
        "Id": pool.id.as_ref().map(AsRef::as_ref),
        "Name": pool.name,
        "Kind": pool.kind,
        "Source": pool.source,
        "Path": pool.path,
        "UUID": pool.uuid,
        "Labels": pool.labels,
        "CreatedAt": pool.created_at,
        "Default": pool.is_default,
        "State": if pool.down.is_some() { "unavailable" } else { "ready" },
        "Reason": pool.down,
        "Size": pool.room.map(|room| room.size),
        "Free": pool.room.map(|room| room.free),
        "Abilities": abilities(pool.abilities.as_ref()),
        "Volumes": pool.volumes,
    })
}

async fn list(request: Request) -> Answer {
    let pools = request
        .bridge
        .call(Class::Quick, |engine| engine.volumes.pools())
        .await?;
    let pools: Vec<Value> = pools.iter().map(shown).collect();
    ok(&json!({ "Pools": pools }))
}

async fn inspect(request: Request) -> Answer {
    let name = request.name();
    let pool = request
        .bridge
        .call(Class::Quick, move |engine| engine.volumes.pool(&name))
        .await?;
    ok(&shown(&pool))
}

/// A number of bytes, or a text with a unit.
fn size(value: &Value) -> Result<Option<u64>, Refusal> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => size_of(text).map(Some),
        other => size_of(&other.to_string()).map(Some),
    }
}

fn size_of(text: &str) -> Result<u64, Refusal> {
    parse_size(text).ok_or_else(|| Refusal::invalid(format!("invalid size: '{text}'")))
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Body {
    name: String,
    kind: String,
    source: Option<PathBuf>,
    size: Value,
    format: bool,
    force: bool,
    default: bool,
    labels: BTreeMap<String, String>,
}

async fn create(request: Request) -> Answer {
    let bridge = request.bridge.clone();
    let body: Body = serde_json::from_value(request.json().await?)
        .map_err(|error| Refusal::invalid(format!("invalid JSON: {error}")))?;
    let create = CreatePool {
        size: size(&body.size)?,
        name: body.name,
        kind: body.kind,
        source: body.source,
        format: body.format,
        force: body.force,
        labels: body.labels,
    };
    let pool = bridge
        .call(Class::Disk, move |engine| {
            let pool = engine.volumes.create_pool(create)?;
            if !body.default {
                return Ok(pool);
            }
            engine.volumes.set_default_pool(&pool.name)?;
            engine.volumes.pool(&pool.name)
        })
        .await?;
    answer_json(StatusCode::CREATED, &shown(&pool))
}

async fn remove(request: Request) -> Answer {
    let name = request.name();
    request
        .bridge
        .call(Class::Disk, move |engine| engine.volumes.remove_pool(&name))
        .await?;
    no_content()
}

async fn set_default(request: Request) -> Answer {
    let name = request.name();
    request
        .bridge
        .call(Class::Disk, move |engine| {
            engine.volumes.set_default_pool(&name)
        })
        .await?;
    no_content()
}

async fn rename(request: Request) -> Answer {
    let name = request.name();
    let to = request
        .text("name")
        .ok_or_else(|| Refusal::invalid("missing parameter: name"))?
        .to_owned();
    let pool = request
        .bridge
        .call(Class::Disk, move |engine| {
            engine.volumes.rename_pool(&name, &to)
        })
        .await?;
    ok(&shown(&pool))
}

/// All of the device that a pool is on.
const MAX: &str = "max";

/// The size that a request asks for.
fn asked(request: &Request, key: &str) -> Result<Option<u64>, Refusal> {
    request.text(key).map(|text| size_of(&text)).transpose()
}

async fn resize(request: Request) -> Answer {
    let name = request.name();
    let size = request
        .text("size")
        .ok_or_else(|| Refusal::invalid("missing parameter: size"))?;
    let bytes = match &*size {
        MAX => None,
        size => Some(size_of(size)?),
    };
    let pool = request
        .bridge
        .call(Class::Long, move |engine| {
            engine.volumes.resize_pool(&name, bytes)
        })
        .await?;
    ok(&shown(&pool))
}

async fn resize_volume(request: Request) -> Answer {
    let name = request.name();
    let change = ResizeVolume {
        bytes: asked(&request, "size")?,
        inodes: request.number("inodes")?,
        soft_bytes: asked(&request, "softSize")?,
        ..ResizeVolume::default()
    };
    if change == ResizeVolume::default() {
        return Err(Refusal::invalid("missing parameter: size"));
    }
    long_if_asked(request, StatusCode::OK, move |engine, progress, cancel| {
        let changed = engine.resize_volume(&name, change, progress, cancel)?;
        let (limits, abilities) = storage(&changed);
        Ok(json!({ "Pool": changed.pool, "Limits": limits, "Abilities": abilities }))
    })
    .await
}

async fn rescue(request: Request) -> Answer {
    let root = request.text("root").map(PathBuf::from);
    let done = request
        .bridge
        .call(Class::Long, move |engine| engine.rescue(root.as_deref()))
        .await?;
    ok(&json!({ "Done": done }))
}
