//! Builds: `POST /build`, as docker's classic builder answers it, and what becomes of its cache.
//!
//! A client that goes away ends its build.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use engine::build::{BuildCacheEntry, BuildError, BuildOutput, BuildRequest, Cancel, PruneBuilds};
use engine::containers::HostConfig;
use engine::containers::config::UlimitRequest;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{ended_with, ok};
use crate::bridge::Class;
use crate::dispatch::{Answer, route_table};
use crate::errors::Refusal;
use crate::filters;
use crate::hangup::Peer;
use crate::request::Request;
use crate::stream::{Lines, respond};

route_table! {
    POST "/build" => build:
        "the classic builder ([build.md](build.md)); `version=2`, `squash` and `remote` are refused, `cachefrom` adds to what is remembered; own: `buildvolumes`, `X-Orlop-Build-Secrets`",
    POST "/build/prune" => prune: "`all`, `filters`, `keep-storage`, `reserved-space`",
}

/// Where `orlop` puts secrets: never in the context, so that they cannot end up in an image.
const SECRETS: &str = "X-Orlop-Build-Secrets";

async fn build(request: Request) -> Answer {
    let build = match refuse(&request).and_then(|()| parse(&request)) {
        Ok(build) => build,
        Err(refusal) => {
            request.read_out().await;
            return Err(refusal);
        }
    };
    let bridge = request.bridge.clone();
    let peer = request.inner.extensions().get::<Peer>().cloned();
    let mut reader = request.reader();
    let pieces = bridge.produce(Class::Long, move |engine, pieces| {
        let cancel = Arc::new(Cancel::default());
        let _watched = ended_with(peer, &cancel);
        let lines = Lines::new(pieces, true);
        let built = engine
            .builder
            .build(&build, &mut reader, &lines, &cancel)
            .map(drop);
        match built {
            Err(error) if error.code().is_some() => {
                told(&lines, &error);
                lines.finish(Ok(()));
            }
            built => lines.finish(built.map_err(Into::into)),
        }
    });
    respond("application/json", pieces).await
}

fn told(lines: &Lines, error: &BuildError) {
    let message = engine::chain(error);
    lines.send(&json!({
        "errorDetail": { "code": error.code(), "message": message },
        "error": message,
    }));
}

impl BuildOutput for Lines {
    fn text(&self, text: &str) {
        self.send(&json!({ "stream": text }));
    }

    fn image(&self, id: &str) {
        self.send(&json!({ "aux": { "ID": id } }));
    }
}

fn refuse(request: &Request) -> Result<(), Refusal> {
    if request.get("version") == Some("2") {
        return Err(Refusal::unsupported(
            "BuildKit is not supported; build with DOCKER_BUILDKIT=0, or with orlop build",
        ));
    }
    if request.flag("squash") {
        return Err(Refusal::unsupported(
            "squash is not supported: use a stage that copies what is wanted",
        ));
    }
    if let Some(remote) = request.text("remote") {
        return Err(Refusal::unsupported(format!(
            "building from {remote} is not supported: fetch it, and build from the directory"
        )));
    }
    Ok(())
}

fn parse(request: &Request) -> Result<BuildRequest, Refusal> {
    let text = |key: &str| request.text(key).unwrap_or_default();
    let mut build = BuildRequest {
        dockerfile: text("dockerfile"),
        tags: request
            .all("t")
            .into_iter()
            .filter(|tag| !tag.is_empty())
            .collect(),
        quiet: request.flag("q"),
        no_cache: request.flag("nocache"),
        pull: request.flag("pull"),
        cache_from: document(request, "cachefrom")?,
        arguments: document(request, "buildargs")?,
        labels: document(request, "labels")?,
        target: text("target"),
        platform: request.text("platform"),
        host: host(request)?,
        keep_volumes: match text("buildvolumes").as_str() {
            "" | "classic" => false,
            "keep" => true,
            other => {
                return Err(Refusal::invalid(format!(
                    "invalid value \"{other}\" for buildvolumes: must be classic or keep"
                )));
            }
        },
        credentials: header(request, "X-Registry-Config")?.unwrap_or_default(),
        ..BuildRequest::default()
    };
    let secrets: BTreeMap<String, String> = header(request, SECRETS)?.unwrap_or_default();
    for (id, secret) in secrets {
        let bytes = STANDARD
            .decode(secret)
            .map_err(|_| Refusal::invalid(format!("secret {id} cannot be read")))?;
        build.secrets.insert(id, bytes);
    }
    Ok(build)
}

fn host(request: &Request) -> Result<HostConfig, Refusal> {
    let network = request.text("networkmode").unwrap_or_default();
    let ulimits: Vec<UlimitRequest> = document(request, "ulimits")?;
    let hosts: Vec<String> = request
        .all("extrahosts")
        .into_iter()
        .flat_map(|one| match serde_json::from_str::<Vec<String>>(&one) {
            Ok(list) => list,
            Err(_) => one.split(',').map(str::to_owned).collect(),
        })
        .filter(|host| !host.is_empty())
        .collect();
    Ok(HostConfig {
        network_mode: network,
        shm_size: request.number("shmsize")?.unwrap_or(0),
        memory: request.number("memory")?.unwrap_or(0),
        memory_swap: request.number("memswap")?.unwrap_or(0),
        cpu_shares: request.number("cpushares")?.unwrap_or(0),
        cpu_period: request.number("cpuperiod")?.unwrap_or(0),
        cpu_quota: request.number("cpuquota")?.unwrap_or(0),
        cpuset_cpus: request.text("cpusetcpus").unwrap_or_default(),
        cpuset_mems: request.text("cpusetmems").unwrap_or_default(),
        extra_hosts: (!hosts.is_empty()).then_some(hosts),
        ulimits: (!ulimits.is_empty()).then_some(ulimits),
        ..HostConfig::default()
    })
}

/// A parameter that holds JSON.
fn document<T: DeserializeOwned + Default>(request: &Request, key: &str) -> Result<T, Refusal> {
    match request.text(key).filter(|text| text != "null") {
        Some(text) => serde_json::from_str(&text)
            .map_err(|error| Refusal::invalid(format!("invalid value for {key}: {error}"))),
        None => Ok(T::default()),
    }
}

/// A header that holds JSON in base64. Its value is in no message: it may be secret.
fn header<T: DeserializeOwned>(request: &Request, name: &str) -> Result<Option<T>, Refusal> {
    let Some(value) = request.inner.headers().get(name) else {
        return Ok(None);
    };
    let bytes = URL_SAFE
        .decode(value)
        .or_else(|_| STANDARD.decode(value))
        .map_err(|_| Refusal::invalid(format!("the header {name} cannot be read")))?;
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|_| Refusal::invalid(format!("the header {name} cannot be read")))
}

/// One entry as `system df` shows it.
pub(super) fn entry(entry: &BuildCacheEntry) -> Value {
    json!({
        "ID": entry.id,
        "Type": entry.kind,
        "Description": entry.description,
        "InUse": entry.in_use,
        "Shared": entry.shared,
        "Size": entry.size,
        "CreatedAt": entry.created_at,
        "LastUsedAt": entry.used_at,
        "UsageCount": entry.uses,
    })
}

async fn prune(request: Request) -> Answer {
    let keep = match request.number("keep-storage")? {
        Some(keep) => Some(keep),
        None => request.number("reserved-space")?,
    };
    let prune = PruneBuilds {
        all: request.flag("all"),
        filters: filters::parse(request.get("filters"))?,
        keep: keep.unwrap_or(0),
    };
    let pruned = request
        .bridge
        .call(Class::Long, move |engine| engine.builder.prune(&prune))
        .await?;
    ok(&json!({
        "CachesDeleted": pruned.ids,
        "SpaceReclaimed": pruned.reclaimed,
    }))
}
