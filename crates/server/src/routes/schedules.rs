//! `/orlop/v1/backup-schedules`: backups that are made by themselves.

use engine::Fault as _;
use engine::schedules::{Outcome, Plan, Schedule, ScheduleError};
use serde_json::{Value, json};

use super::repositories::read;
use super::{long, no_content, ok};
use crate::bridge::Class;
use crate::dispatch::{Answer, route_table};
use crate::errors::Refusal;
use crate::request::Request;

route_table! {
    ["our own: [schedules.md](schedules.md)"]
    GET "/orlop/v1/backup-schedules" => list,
    GET "/orlop/v1/backup-schedules/{}" => get,
    PUT "/orlop/v1/backup-schedules/{}" => set,
    DELETE "/orlop/v1/backup-schedules/{}" => remove,
    POST "/orlop/v1/backup-schedules/{}/pause" => pause,
    POST "/orlop/v1/backup-schedules/{}/run" => run,
}

impl From<ScheduleError> for Refusal {
    fn from(error: ScheduleError) -> Self {
        Self::of(error.kind(), &error)
    }
}

/// A schedule as clients see it.
pub(super) fn shown(schedule: &Schedule) -> Value {
    json!({
        "Name": schedule.name,
        "Plan": schedule.plan,
        "State": schedule.state,
        "NextRun": schedule.next.map(|time| time.to_string()),
        "LastSeconds": schedule.state.last.as_ref().and_then(Outcome::duration),
    })
}

async fn list(request: Request) -> Answer {
    let schedules = request
        .bridge
        .call(Class::Quick, |engine| engine.schedules.list())
        .await?;
    let shown: Vec<Value> = schedules.iter().map(shown).collect();
    ok(&json!({ "Schedules": shown }))
}

async fn get(request: Request) -> Answer {
    let name = request.name();
    let schedule = request
        .bridge
        .call(Class::Quick, move |engine| engine.schedules.get(&name))
        .await?;
    ok(&shown(&schedule))
}

async fn set(request: Request) -> Answer {
    let (bridge, name) = (request.bridge.clone(), request.name());
    let plan: Plan = read(request.json().await?)?;
    let schedule = bridge
        .call(Class::Disk, move |engine| engine.schedules.set(&name, plan))
        .await?;
    ok(&shown(&schedule))
}

async fn remove(request: Request) -> Answer {
    let name = request.name();
    request
        .bridge
        .call(Class::Disk, move |engine| engine.schedules.remove(&name))
        .await?;
    no_content()
}

async fn pause(request: Request) -> Answer {
    let name = request.name();
    let paused = request.get("on").is_none() || request.flag("on");
    request
        .bridge
        .call(Class::Disk, move |engine| {
            engine.schedules.pause(&name, paused)
        })
        .await?;
    no_content()
}

/// Runs a schedule now; a client that goes away ends the run.
async fn run(request: Request) -> Answer {
    let name = request.name();
    long(request, move |engine, lines, cancel| {
        let outcome = engine.schedules.run(&name, lines, cancel)?;
        Ok(json!(outcome))
    })
    .await
}
