//! Seeing, guarding and changing volumes: our own routes beside Docker's `/volumes`.

use std::collections::BTreeMap;

use engine::drill::Proof;
use engine::schedules::Schedule;
use engine::volume::users::last_use;
use engine::volume::{AuditRequest, Creator, Drift, LastUse, ReseedMode, Seed, VolumeUser, Weight};
use engine::{ChownRequest, FileEntry, TrashLimit, TrashPolicy, Trashed, Volume, VolumeBackupRow};
use hyper::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::containers::create_request;
use super::long::long_if_asked;
use super::volumes::found_here;
use super::{no_content, ok};
use crate::bridge::Class;
use crate::convert::volume as convert;
use crate::dispatch::{Answer, route_table};
use crate::errors::Refusal;
use crate::request::Request;

route_table! {
    ["our own: [volumes.md](volumes.md)"]
    GET "/orlop/v1/volumes" => overview,
    GET "/orlop/v1/volumes/{}" => detail,
    GET "/orlop/v1/volumes/{}/history" => history,
    POST "/orlop/v1/volumes/{}/protect" => protect,
    POST "/orlop/v1/volumes/{}/unprotect" => unprotect,
    POST "/orlop/v1/volumes/{}/rename" => rename,
    POST "/orlop/v1/volumes/{}/label" => label,
    POST "/orlop/v1/volumes/{}/chown" => chown,
    POST "/orlop/v1/volumes/{}/reseed" => reseed,
    GET "/orlop/v1/volumes/{}/files" => files,
    GET "/orlop/v1/trash" => trash,
    DELETE "/orlop/v1/trash" => empty,
    DELETE "/orlop/v1/trash/{}" => empty_one,
    POST "/orlop/v1/trash/{}/undelete" => undelete,
    GET "/orlop/v1/trash-policy" => policy,
    PUT "/orlop/v1/trash-policy" => set_policy,
    GET "/orlop/v1/audit" => audit,
    POST "/orlop/v1/audit/fix" => fix,
    POST "/orlop/v1/adopt/{}" => adopt,
    POST "/orlop/v1/explain" => explain,
}

/// A line of the list: Docker's fields and ours.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Line<'a> {
    #[serde(flatten)]
    volume: convert::Shown<'a>,
    anonymous: bool,
    users: usize,
    protected: bool,
    usage: Option<Usage<'a>>,
    last_used: Option<LastUse>,
    pool: &'a str,
    /// Bytes that it may hold.
    limit: Option<u64>,
    last_backup: Option<Value>,
    /// When a drill last proved that it can be restored, and how the last one ended.
    proof: Option<&'a Proof>,
    /// Backups that are made of it by themselves.
    backup_schedules: Vec<Value>,
}

/// A schedule, as far as one of its volumes is concerned.
fn scheduled(schedule: &Schedule, volume: &str) -> Value {
    let last = schedule.state.last.as_ref();
    let own = last.and_then(|last| last.volumes.iter().find(|one| one.volume == volume));
    json!({
        "Name": schedule.name,
        "Repository": schedule.plan.to,
        "NextRun": schedule.next.map(|time| time.to_string()),
        "Paused": schedule.state.paused,
        "RunningSince": schedule.state.running_since,
        "LastRun": last.map(|last| last.ended.as_str()),
        "LastSuccess": schedule.state.last_success,
        "Failing": last.is_some_and(|last| last.error.is_some()),
        "Error": last.and_then(|last| last.error.as_deref()),
        "Backup": own.map(|own| own.backup.as_str()),
        "Seconds": own.map(|own| own.seconds),
        "Bytes": own.map(|own| own.bytes),
        "StoredBytes": own.map(|own| own.stored_bytes),
    })
}

/// All of [`scheduled`] for one volume.
fn all_scheduled(schedules: &BTreeMap<String, Vec<Schedule>>, volume: &str) -> Vec<Value> {
    let own = schedules.get(volume).into_iter().flatten();
    own.map(|schedule| scheduled(schedule, volume)).collect()
}

/// The newest backup of a volume in a repository.
fn backup(backup: &VolumeBackupRow) -> Value {
    json!({
        "At": backup.at,
        "Repository": backup.repository_name,
        "Id": backup.backup,
        "Bytes": backup.bytes,
        "StoredBytes": backup.stored_bytes,
    })
}

/// What a volume took when it was measured.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Usage<'a> {
    bytes: u64,
    files: u64,
    at: &'a str,
}

/// All volumes, or with `backed-up` those of which there are backups, proofs or schedules: nothing where no repository is known.
async fn overview(request: Request) -> Answer {
    let only_backed_up = request.flag("backed-up");
    let (all, proofs, schedules) = request
        .bridge
        .call(Class::Quick, move |engine| {
            // Thousands of volumes are not read for nothing.
            if only_backed_up && !engine.backups.has_repositories()? {
                return Ok::<_, Refusal>(Default::default());
            }
            let proofs = engine.drills.proofs()?;
            let schedules = engine.schedules.by_volume()?;
            let mut all = engine.volumes.overview()?;
            if only_backed_up {
                all.retain(|one| {
                    let name = &one.volume.name;
                    one.backup.is_some()
                        || proofs.contains_key(name)
                        || schedules.contains_key(name)
                });
            }
            Ok((all, proofs, schedules))
        })
        .await?;
    let lines: Vec<Line<'_>> = all
        .iter()
        .map(|one| Line {
            volume: (&one.volume).into(),
            anonymous: one.volume.anonymous,
            users: one.users,
            protected: one.notes.protected,
            pool: one.pool.as_deref().unwrap_or("default"),
            limit: one.bytes,
            last_backup: one.backup.as_ref().map(backup),
            proof: proofs.get(&one.volume.name),
            backup_schedules: all_scheduled(&schedules, &one.volume.name),
            usage: one.notes.measured.as_ref().map(|measured| Usage {
                bytes: measured.bytes,
                files: measured.files,
                at: &measured.at,
            }),
            last_used: last_use(one.notes.used_by.as_deref(), one.notes.used_at.clone()),
        })
        .collect();
    ok(&lines)
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Detail<'a> {
    #[serde(flatten)]
    volume: convert::Shown<'a>,
    anonymous: bool,
    protected: bool,
    exclusive: bool,
    used_by: &'a [VolumeUser],
    created_by: Option<&'a Creator>,
    last_used: Option<&'a LastUse>,
    last_writer: Option<&'a LastUse>,
    usage: Option<Usage<'a>>,
    pool: &'a str,
    limits: Value,
    abilities: Value,
    history: Vec<Value>,
    /// In each repository, the newest of all first.
    backups: Vec<Value>,
    last_backup: Option<Value>,
    proof: Option<&'a Proof>,
    backup_schedules: Vec<Value>,
    seeded_by: Option<&'a Seed>,
    drift: &'a [Drift],
}

fn events(history: &[engine::VolumeEventRow]) -> Vec<Value> {
    history
        .iter()
        .map(|event| json!({ "At": event.at, "Action": event.action, "Detail": event.detail }))
        .collect()
}

async fn detail(request: Request) -> Answer {
    let name = request.name();
    let (bridge, asked) = (request.bridge, name.clone());
    let kept_here = bridge
        .call(Class::Quick, move |engine| found_here(engine, &asked))
        .await?;
    let class = if kept_here.is_some() {
        Class::Quick
    } else {
        Class::Foreign
    };
    let (detail, proofs, schedules) = bridge
        .call(class, move |engine| {
            Ok::<_, Refusal>((
                engine.volume_detail(&name)?,
                engine.drills.proofs()?,
                engine.schedules.by_volume()?,
            ))
        })
        .await?;
    let own = &detail.inspected.volume.name;
    let (limits, abilities) = super::pools::storage(&detail.storage);
    ok(&Detail {
        pool: &detail.storage.pool,
        limits,
        abilities,
        volume: (&detail.inspected).into(),
        anonymous: detail.inspected.volume.anonymous,
        protected: detail.protected,
        exclusive: detail.exclusive,
        used_by: &detail.used_by,
        created_by: detail.created_by.as_ref(),
        last_used: detail.last_used.as_ref(),
        last_writer: detail.last_writer.as_ref(),
        usage: detail.usage.as_ref().map(|measured| Usage {
            bytes: measured.bytes,
            files: measured.files,
            at: &measured.at,
        }),
        history: events(&detail.history),
        backups: detail.backups.iter().map(backup).collect(),
        last_backup: detail.backups.first().map(backup),
        proof: proofs.get(own),
        backup_schedules: all_scheduled(&schedules, own),
        seeded_by: detail.seeded_by.as_ref(),
        drift: &detail.drift,
    })
}

async fn history(request: Request) -> Answer {
    let name = request.name();
    let history = request
        .bridge
        .call(Class::Quick, move |engine| engine.volumes.history(&name))
        .await?;
    ok(&events(&history))
}

async fn protect(request: Request) -> Answer {
    set_protection(request, true).await
}

async fn unprotect(request: Request) -> Answer {
    set_protection(request, false).await
}

async fn set_protection(request: Request, protected: bool) -> Answer {
    let name = request.name();
    request
        .bridge
        .call(Class::Disk, move |engine| {
            engine.volumes.protect(&name, protected)
        })
        .await?;
    no_content()
}

fn wanted(request: &Request, key: &str) -> Result<String, Refusal> {
    request
        .text(key)
        .ok_or_else(|| Refusal::invalid(format!("missing parameter: {key}")))
}

async fn rename(request: Request) -> Answer {
    let (from, to) = (request.name(), wanted(&request, "name")?);
    let volume = request
        .bridge
        .call(Class::Disk, move |engine| engine.rename_volume(&from, &to))
        .await?;
    ok(&convert::volume(&volume))
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Labels {
    set: BTreeMap<String, String>,
    remove: Vec<String>,
}

async fn label(request: Request) -> Answer {
    let (name, bridge) = (request.name(), request.bridge.clone());
    let labels: Labels = serde_json::from_value(request.json().await?)
        .map_err(|error| Refusal::invalid(format!("invalid JSON: {error}")))?;
    let volume = bridge
        .call(Class::Disk, move |engine| {
            engine.volumes.label(&name, &labels.set, &labels.remove)
        })
        .await?;
    ok(&convert::volume(&volume))
}

async fn chown(request: Request) -> Answer {
    let name = request.name();
    // The last number is nobody's: to the kernel it means that the owner stays.
    let id = |key| match request.number(key)? {
        Some(u32::MAX) => Err(Refusal::invalid(format!(
            "invalid value \"{}\" for {key}",
            u32::MAX
        ))),
        id => Ok(id),
    };
    let chown = ChownRequest {
        uid: id("uid")?.ok_or_else(|| Refusal::invalid("missing parameter: uid"))?,
        gid: id("gid")?,
        from: id("from")?,
    };
    long_if_asked(request, StatusCode::OK, move |engine, progress, cancel| {
        let changed = engine.chown_volume(&name, chown, progress, cancel)?;
        Ok(json!({ "Changed": changed }))
    })
    .await
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Reseed {
    from: Option<String>,
    /// `diff`, `merge`, `replace`.
    mode: String,
    no_snapshot: bool,
}

async fn reseed(mut request: Request) -> Answer {
    let name = request.name();
    let wanted: Reseed = serde_json::from_value(request.take_json().await?)
        .map_err(|error| Refusal::invalid(format!("invalid JSON: {error}")))?;
    let mode = match wanted.mode.as_str() {
        "diff" => ReseedMode::Diff,
        "merge" => ReseedMode::Merge,
        "replace" => ReseedMode::Replace,
        other => {
            return Err(Refusal::invalid(format!(
                "invalid mode \"{other}\": it is diff, merge or replace"
            )));
        }
    };
    long_if_asked(request, StatusCode::OK, move |engine, progress, cancel| {
        let done = engine.reseed_volume(
            &name,
            wanted.from.as_deref(),
            mode,
            !wanted.no_snapshot,
            progress,
            cancel,
        )?;
        let changes: Vec<Value> = done
            .changes
            .iter()
            .map(|one| json!({ "Kind": one.change.as_str(), "Path": one.path.to_string_lossy() }))
            .collect();
        Ok(json!({
            "From": done.from,
            "BaseKnown": done.base_known,
            "Changes": changes,
            "Kept": done.kept,
        }))
    })
    .await
}

fn entry(entry: &FileEntry) -> Value {
    json!({
        "Name": entry.name,
        "Type": entry.kind_name(),
        "Mode": entry.mode,
        "UID": entry.uid,
        "GID": entry.gid,
        "Size": entry.size,
        "Modified": entry.modified,
        "Target": entry.target,
    })
}

async fn files(request: Request) -> Answer {
    let (name, path) = (request.name(), request.text("path").unwrap_or_default());
    let entries = request
        .bridge
        .call(Class::Disk, move |engine| {
            engine.volumes.list_files(&name, &path)
        })
        .await?;
    ok(&entries.iter().map(entry).collect::<Vec<_>>())
}

fn trashed(trashed: &Trashed) -> Value {
    json!({
        "ID": trashed.id.as_str(),
        "Name": trashed.name,
        "Driver": trashed.driver,
        "Labels": trashed.labels,
        "Anonymous": trashed.anonymous,
        "TrashedAt": trashed.trashed_at,
        "ExpiresAt": trashed.expires_at,
        "Reason": trashed.reason,
        "Size": trashed.bytes,
    })
}

async fn trash(request: Request) -> Answer {
    let all = request
        .bridge
        .call(Class::Quick, |engine| engine.volumes.trash())
        .await?;
    ok(&all.iter().map(trashed).collect::<Vec<_>>())
}

async fn empty(request: Request) -> Answer {
    emptied(request, None).await
}

async fn empty_one(request: Request) -> Answer {
    let name = request.name();
    emptied(request, Some(name)).await
}

async fn emptied(request: Request, only: Option<String>) -> Answer {
    let emptied = request
        .bridge
        .call(Class::Long, move |engine| {
            engine.volumes.empty_trash(only.as_deref())
        })
        .await?;
    ok(&json!({ "VolumesDeleted": emptied.names, "SpaceReclaimed": emptied.bytes }))
}

async fn undelete(request: Request) -> Answer {
    let (name, to) = (request.name(), request.text("name"));
    let volume: Volume = request
        .bridge
        .call(Class::Disk, move |engine| {
            engine.volumes.undelete(&name, to.as_deref())
        })
        .await?;
    ok(&convert::volume(&volume))
}

/// Either of the sizes, or neither for what was set before.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Policy {
    /// Seconds; 0: removals are final.
    grace: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_percent: Option<u8>,
}

impl From<TrashPolicy> for Policy {
    fn from(policy: TrashPolicy) -> Self {
        let (max_bytes, max_percent) = match policy.limit {
            TrashLimit::Bytes(bytes) => (Some(bytes), None),
            TrashLimit::Percent(percent) => (None, Some(percent)),
        };
        Self {
            grace: Some(policy.grace),
            max_bytes,
            max_percent,
        }
    }
}

async fn policy(request: Request) -> Answer {
    let policy = request
        .bridge
        .call(Class::Quick, |engine| engine.volumes.trash_policy())
        .await?;
    ok(&Policy::from(policy))
}

async fn set_policy(request: Request) -> Answer {
    let bridge = request.bridge.clone();
    let wanted: Policy = serde_json::from_value(request.json().await?)
        .map_err(|error| Refusal::invalid(format!("invalid JSON: {error}")))?;
    if wanted.max_percent.is_some_and(|percent| percent > 100) {
        return Err(Refusal::invalid("MaxPercent must not be above 100"));
    }
    let policy = bridge
        .call(Class::Disk, move |engine| {
            let mut policy = engine.volumes.trash_policy()?;
            policy.grace = wanted.grace.unwrap_or(policy.grace);
            match (wanted.max_bytes, wanted.max_percent) {
                (Some(bytes), _) => policy.limit = TrashLimit::Bytes(bytes),
                (None, Some(percent)) => policy.limit = TrashLimit::Percent(percent),
                (None, None) => {}
            }
            engine.volumes.set_trash_policy(policy)?;
            Ok::<_, engine::VolumeError>(policy)
        })
        .await?;
    ok(&Policy::from(policy))
}

fn audit_request(request: &Request) -> Result<AuditRequest, Refusal> {
    let level = request.text("level");
    Ok(AuditRequest {
        fast: request.flag("fast"),
        level: level
            .as_deref()
            .map_or(Ok(Weight::Low), Weight::parse)
            .map_err(Refusal::invalid)?,
    })
}

async fn audit(request: Request) -> Answer {
    let wanted = audit_request(&request)?;
    let audit = request
        .bridge
        .call(Class::Long, move |engine| engine.audit_volumes(wanted))
        .await?;
    ok(&audit)
}

async fn fix(request: Request) -> Answer {
    let wanted = audit_request(&request)?;
    let fixed = request
        .bridge
        .call(Class::Long, move |engine| engine.audit_fix(wanted))
        .await?;
    ok(&json!({ "Fixed": fixed }))
}

async fn adopt(request: Request) -> Answer {
    let (directory, name) = (request.name(), request.text("name"));
    long_if_asked(request, StatusCode::OK, move |engine, progress, cancel| {
        let adopted = engine.adopt_volume(&directory, name.as_deref(), progress, cancel)?;
        let mut answer = json!(convert::volume(&adopted.volume));
        answer["Warnings"] = json!(adopted.warnings);
        Ok(answer)
    })
    .await
}

async fn explain(request: Request) -> Answer {
    let (bridge, create) = create_request(request).await?;
    let explanation = bridge
        .call(Class::Disk, move |engine| engine.containers.explain(create))
        .await?;
    ok(&explanation)
}
