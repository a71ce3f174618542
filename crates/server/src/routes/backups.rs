//! `/orlop/v1/backups`: volumes into repositories and back.
//!
//! A backup is named in queries and bodies as people write it, `REPOSITORY:VOLUME@…`. What takes long answers with progress
//! as JSON lines, the last of which has the result in `aux`; a client that goes away ends it.

use std::ops::ControlFlow;

use engine::Fault as _;
use engine::backups::{
    BackupEntry, BackupEntryKind, BackupError, BackupInfo, BackupRequest, ForgetRequest, How, Keep,
    RestoreRequest, RestoredVolume, SavedVolume, StackRequest, VerifyRequest,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::repositories::read;
use super::snapshots::{AroundBody, milliseconds};
use super::{long, ok};
use crate::bridge::Class;
use crate::dispatch::{Answer, route_table};
use crate::errors::Refusal;
use crate::request::Request;
use crate::stream::respond;

route_table! {
    ["our own: [backups.md](backups.md)"]
    GET "/orlop/v1/backups" => list,
    POST "/orlop/v1/backups" => create,
    GET "/orlop/v1/backups/detail" => detail,
    GET "/orlop/v1/backups/files" => files,
    GET "/orlop/v1/backups/file" => file,
    POST "/orlop/v1/backups/restore" => restore,
    POST "/orlop/v1/backups/stack" => stack,
    POST "/orlop/v1/backups/forget" => forget,
    POST "/orlop/v1/backups/prune" => prune,
    POST "/orlop/v1/backups/verify" => verify,
}

impl From<BackupError> for Refusal {
    fn from(error: BackupError) -> Self {
        Self::of(error.kind(), &error)
    }
}

fn shown(backup: &BackupInfo) -> Value {
    json!({
        "Id": backup.id,
        "Repository": backup.repository,
        "Time": backup.time,
        "Volume": backup.volume,
        "Paths": backup.paths,
        "Host": backup.host,
        "Tags": backup.tags,
        "Group": backup.group,
        "Files": backup.files,
        "Bytes": backup.bytes,
        "StoredBytes": backup.stored_bytes,
        "Program": backup.program,
    })
}

fn all(backups: &[BackupInfo]) -> Vec<Value> {
    backups.iter().map(shown).collect()
}

fn saved(backup: &SavedVolume) -> Value {
    json!({
        "Volume": backup.volume,
        "Id": backup.id,
        "Time": backup.time,
        "Files": backup.files,
        "Bytes": backup.bytes,
        "NewBytes": backup.new_bytes,
        "StoredBytes": backup.stored_bytes,
        "Milliseconds": milliseconds(backup.took),
    })
}

fn restored(volume: &RestoredVolume) -> Value {
    json!({
        "Volume": volume.volume,
        "Repository": volume.repository,
        "Backup": volume.backup,
        "Time": volume.time,
        "Files": volume.files,
        "Bytes": volume.bytes,
        "Kept": volume.kept,
        "Warnings": volume.warnings,
    })
}

/// `REPOSITORY:VOLUME@…` of a query.
fn backup(request: &Request) -> String {
    request.text("backup").unwrap_or_default()
}

async fn list(request: Request) -> Answer {
    let text = backup(&request);
    let (backups, warnings) = request
        .bridge
        .call(Class::Foreign, move |engine| engine.backups.list(&text))
        .await?;
    ok(&json!({ "Backups": all(&backups), "Warnings": warnings }))
}

async fn detail(request: Request) -> Answer {
    let text = backup(&request);
    let detail = request
        .bridge
        .call(Class::Foreign, move |engine| engine.backups.show(&text))
        .await?;
    let mut answer = shown(&detail.info);
    answer["VolumeManifest"] = json!(detail.volume);
    answer["ContainersManifest"] = json!(detail.containers);
    ok(&answer)
}

/// The words in which files of volumes are listed.
fn kind(kind: BackupEntryKind) -> &'static str {
    match kind {
        BackupEntryKind::File => "file",
        BackupEntryKind::Directory => "directory",
        BackupEntryKind::Symlink => "link",
        BackupEntryKind::BlockDevice => "block device",
        BackupEntryKind::CharacterDevice => "character device",
        BackupEntryKind::Fifo => "fifo",
        BackupEntryKind::Socket => "socket",
        BackupEntryKind::Unknown => "unknown",
    }
}

fn entry(entry: &BackupEntry) -> Value {
    json!({
        "Name": entry.path.to_string_lossy(),
        "Type": kind(entry.kind),
        "Mode": entry.mode,
        "UID": entry.uid,
        "GID": entry.gid,
        "Size": entry.size,
        "Modified": entry.mtime.as_second(),
        "Target": entry.target.as_ref().map(|target| target.to_string_lossy()),
    })
}

async fn files(request: Request) -> Answer {
    let text = backup(&request);
    let path = request.text("path").unwrap_or_default();
    let recursive = request.flag("recursive");
    let pieces = request
        .bridge
        .stream(Class::Foreign, move |engine, mut writer| {
            let mut written = Ok(());
            engine
                .backups
                .files(&text, &path, recursive, &mut |found| {
                    written = std::io::Write::write_all(
                        &mut writer,
                        &crate::stream::json_line(&entry(&found)),
                    );
                    // Nobody reads any more.
                    if written.is_err() {
                        return ControlFlow::Break(());
                    }
                    ControlFlow::Continue(())
                })?;
            Ok(())
        });
    respond("application/x-ndjson", pieces).await
}

async fn file(request: Request) -> Answer {
    let text = backup(&request);
    let path = request.text("path").unwrap_or_default();
    let pieces = request
        .bridge
        .stream(Class::Foreign, move |engine, mut writer| {
            engine.backups.cat(&text, &path, &mut writer)?;
            Ok(())
        });
    respond("application/octet-stream", pieces).await
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct CreateBody {
    volumes: Vec<String>,
    all: bool,
    labels: Vec<String>,
    to: Option<String>,
    tags: Vec<String>,
    host: Option<String>,
    #[serde(flatten)]
    around: AroundBody,
}

async fn create(mut request: Request) -> Answer {
    let body: CreateBody = read(request.take_json().await?)?;
    let wanted = BackupRequest {
        volumes: body.volumes,
        all: body.all,
        labels: body.labels,
        to: body.to,
        around: body.around.into(),
        tags: body.tags,
        host: body.host.filter(|host| !host.is_empty()),
        ..BackupRequest::default()
    };
    long(request, move |engine, lines, cancel| {
        let done = engine.backups.backup(&wanted, lines, cancel)?;
        Ok(json!({
            "Repository": done.repository,
            "Group": done.group,
            "Backups": done.backups.iter().map(saved).collect::<Vec<_>>(),
            "Failed": done.failed.iter().map(|one| json!({
                "Volume": one.volume,
                "Error": one.error,
            })).collect::<Vec<_>>(),
            "FrozenMilliseconds": milliseconds(done.frozen),
            "Warnings": done.warnings,
        }))
    })
    .await
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct RestoreBody {
    backup: String,
    name: Option<String>,
    path: Option<String>,
    force: bool,
}

async fn restore(mut request: Request) -> Answer {
    let body: RestoreBody = read(request.take_json().await?)?;
    let wanted = RestoreRequest {
        from: body.backup,
        name: body.name.filter(|name| !name.is_empty()),
        path: body.path.filter(|path| !path.is_empty()),
        force: body.force,
        ..RestoreRequest::default()
    };
    long(request, move |engine, lines, cancel| {
        Ok(restored(&engine.backups.restore(&wanted, lines, cancel)?))
    })
    .await
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct StackBody {
    backup: String,
    start: bool,
}

async fn stack(mut request: Request) -> Answer {
    let body: StackBody = read(request.take_json().await?)?;
    let wanted = StackRequest {
        from: body.backup,
        start: body.start,
    };
    long(request, move |engine, lines, cancel| {
        let done = engine.backups.restore_stack(&wanted, lines, cancel)?;
        Ok(json!({
            "Volumes": done.volumes.iter().map(restored).collect::<Vec<_>>(),
            "Networks": done.networks,
            "Containers": done.containers,
            "Started": done.started,
            "Warnings": done.warnings,
        }))
    })
    .await
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ForgetBody {
    backup: String,
    keep: Keep,
    host: Option<String>,
    tag: Option<String>,
    dry_run: bool,
    prune: bool,
}

async fn forget(mut request: Request) -> Answer {
    let body: ForgetBody = read(request.take_json().await?)?;
    let wanted = ForgetRequest {
        from: body.backup,
        keep: body.keep,
        host: body.host.filter(|host| !host.is_empty()),
        tag: body.tag.filter(|tag| !tag.is_empty()),
        dry_run: body.dry_run,
        prune: body.prune,
    };
    long(request, move |engine, lines, cancel| {
        let done = engine.backups.forget(&wanted, lines, cancel)?;
        Ok(json!({
            "Forgotten": all(&done.forgotten),
            "Kept": all(&done.kept),
            "FreedBytes": done.freed,
        }))
    })
    .await
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct PruneBody {
    repository: Option<String>,
}

async fn prune(mut request: Request) -> Answer {
    let body: PruneBody = read(request.take_json().await?)?;
    long(request, move |engine, lines, cancel| {
        let freed = engine
            .backups
            .prune(body.repository.as_deref(), lines, cancel)?;
        Ok(json!({ "FreedBytes": freed }))
    })
    .await
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct VerifyBody {
    backup: String,
    read_data: bool,
    sample_percent: Option<f64>,
}

async fn verify(mut request: Request) -> Answer {
    let body: VerifyBody = read(request.take_json().await?)?;
    let how = match (body.read_data, body.sample_percent) {
        (true, _) => How::Everything,
        (false, Some(percent)) => How::Sample(percent),
        (false, None) => How::Structure,
    };
    let wanted = VerifyRequest {
        from: body.backup,
        how,
    };
    long(request, move |engine, lines, cancel| {
        let done = engine.backups.verify(&wanted, lines, cancel)?;
        let problems: Vec<Value> = done
            .problems
            .iter()
            .map(|problem| json!({ "Problem": problem.what, "Backups": problem.hurts }))
            .collect();
        Ok(json!({
            "Repository": done.repository,
            "Backup": done.backup,
            "Problems": problems,
        }))
    })
    .await
}
