//! `/orlop/v1/drills`: restores that prove backups.

use engine::Fault as _;
use engine::drill::{DrillError, DrillRequest, Drilled, Exercise};
use serde::Deserialize;
use serde_json::{Value, json};

use super::repositories::read;
use super::{long, ok};
use crate::bridge::Class;
use crate::dispatch::{Answer, route_table};
use crate::errors::Refusal;
use crate::request::Request;

route_table! {
    ["our own: [drills.md](drills.md)"]
    GET "/orlop/v1/drills" => list,
    POST "/orlop/v1/drills" => drill,
}

impl From<DrillError> for Refusal {
    fn from(error: DrillError) -> Self {
        Self::of(error.kind(), &error)
    }
}

async fn list(request: Request) -> Answer {
    let drills = request
        .bridge
        .call(Class::Quick, |engine| engine.drills.list())
        .await?;
    let shown: Vec<Value> = drills
        .iter()
        .map(|row| {
            json!({
                "Id": row.id.as_str(),
                "Volume": row.volume,
                "Repository": row.repository,
                "Backup": row.backup,
                "BackupTime": row.backup_at,
                "At": row.at,
                "Milliseconds": row.took_milliseconds,
                "Files": row.files,
                "Bytes": row.bytes,
                "Command": row.command,
                "Proven": row.failure.is_empty(),
                "Failure": row.failure,
            })
        })
        .collect();
    ok(&json!({ "Drills": shown }))
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Body {
    backup: String,
    #[serde(flatten)]
    exercise: Exercise,
}

fn shown(drilled: &Drilled) -> Value {
    json!({
        "Id": drilled.id,
        "Volume": drilled.volume,
        "Repository": drilled.repository,
        "Backup": drilled.backup,
        "BackupTime": drilled.backup_time,
        "At": drilled.at,
        "Milliseconds": u64::try_from(drilled.took.as_millis()).unwrap_or(u64::MAX),
        "Files": drilled.files,
        "Bytes": drilled.bytes,
        "Command": drilled.command,
        "Output": drilled.said,
        "Proven": true,
    })
}

async fn drill(mut request: Request) -> Answer {
    let body: Body = read(request.take_json().await?)?;
    let wanted = DrillRequest {
        from: body.backup,
        exercise: body.exercise,
    };
    long(request, move |engine, lines, cancel| {
        let drilled = engine.drills.drill(&wanted, lines, cancel)?;
        Ok(shown(&drilled))
    })
    .await
}
