//! `/orlop/v1/repositories`: where backups go, by name.
//!
//! Passwords and keys come in bodies, never in addresses, and are in no answer.

use std::time::Duration;

use engine::backups::{AddRepository, Key, RepositoryInfo, S3Keys};
use hyper::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{json as answer_json, no_content, ok};
use crate::bridge::Class;
use crate::dispatch::{Answer, route_table};
use crate::errors::Refusal;
use crate::request::Request;

route_table! {
    ["our own: [backups.md](backups.md)"]
    GET "/orlop/v1/repositories" => list,
    POST "/orlop/v1/repositories" => add,
    DELETE "/orlop/v1/repositories/{}" => forget,
    POST "/orlop/v1/repositories/{}/default" => set_default,
    POST "/orlop/v1/repositories/{}/lock" => lock,
    POST "/orlop/v1/repositories/{}/unlock" => unlock,
    GET "/orlop/v1/repositories/{}/keys" => keys,
    POST "/orlop/v1/repositories/{}/keys" => add_key,
    DELETE "/orlop/v1/repositories/{}/keys/{}" => remove_key,
}

/// What is read from a body; the message of a failure repeats nothing of it.
pub(super) fn read<T: for<'de> Deserialize<'de> + Default>(body: Value) -> Result<T, Refusal> {
    if body.is_null() {
        return Ok(T::default());
    }
    serde_json::from_value(body).map_err(|error| Refusal::invalid(format!("invalid JSON: {error}")))
}

fn shown(repository: &RepositoryInfo) -> Value {
    json!({
        "Name": repository.name,
        "Location": repository.location,
        "Id": repository.id,
        "CreatedAt": repository.created_at,
        "Default": repository.default,
        "Locked": repository.locked,
    })
}

fn shown_key(key: &Key) -> Value {
    json!({
        "Id": key.id,
        "User": key.user,
        "Host": key.host,
        "CreatedAt": key.created_at,
    })
}

async fn list(request: Request) -> Answer {
    let repositories = request
        .bridge
        .call(Class::Quick, |engine| engine.backups.repositories())
        .await?;
    let shown: Vec<Value> = repositories.iter().map(shown).collect();
    ok(&json!({ "Repositories": shown }))
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct AddBody {
    name: String,
    location: String,
    password: String,
    create: bool,
    default: bool,
    s3: Option<S3Body>,
    authority: Option<String>,
    ssh_arguments: Vec<String>,
    upload_limit: Option<u64>,
    download_limit: Option<u64>,
    retries: Option<u32>,
    patience_seconds: Option<u64>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct S3Body {
    access_key: String,
    secret_key: String,
    session_token: Option<String>,
    region: Option<String>,
    virtual_host: bool,
}

async fn add(request: Request) -> Answer {
    let bridge = request.bridge.clone();
    let body: AddBody = read(request.json().await?)?;
    let add = AddRepository {
        name: body.name,
        location: body.location,
        password: body.password,
        create: body.create,
        default: body.default,
        s3: body.s3.map(|s3| S3Keys {
            access_key: s3.access_key,
            secret_key: s3.secret_key,
            session_token: s3.session_token,
            region: s3.region,
            path_style: !s3.virtual_host,
        }),
        authority: body.authority,
        ssh_arguments: body.ssh_arguments,
        upload_limit: body.upload_limit,
        download_limit: body.download_limit,
        retries: body.retries,
        patience: body.patience_seconds.map(Duration::from_secs),
    };
    let added = bridge
        .call(Class::Foreign, move |engine| {
            engine.backups.add_repository(&add)
        })
        .await?;
    answer_json(StatusCode::CREATED, &shown(&added))
}

async fn forget(request: Request) -> Answer {
    let name = request.name();
    request
        .bridge
        .call(Class::Foreign, move |engine| {
            engine.backups.forget_repository(&name)
        })
        .await?;
    no_content()
}

async fn set_default(request: Request) -> Answer {
    let name = request.name();
    request
        .bridge
        .call(Class::Disk, move |engine| {
            engine.backups.set_default_repository(&name)
        })
        .await?;
    no_content()
}

async fn lock(request: Request) -> Answer {
    let name = request.name();
    request
        .bridge
        .call(Class::Disk, move |engine| {
            engine.backups.lock_repository(&name)
        })
        .await?;
    no_content()
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct PasswordBody {
    password: String,
}

async fn unlock(request: Request) -> Answer {
    let (bridge, name) = (request.bridge.clone(), request.name());
    let body: PasswordBody = read(request.json().await?)?;
    bridge
        .call(Class::Foreign, move |engine| {
            engine.backups.unlock_repository(&name, &body.password)
        })
        .await?;
    no_content()
}

async fn keys(request: Request) -> Answer {
    let name = request.name();
    let keys = request
        .bridge
        .call(Class::Foreign, move |engine| engine.backups.keys(&name))
        .await?;
    let shown: Vec<Value> = keys.iter().map(shown_key).collect();
    ok(&json!({ "Keys": shown }))
}

async fn add_key(request: Request) -> Answer {
    let (bridge, name) = (request.bridge.clone(), request.name());
    let body: PasswordBody = read(request.json().await?)?;
    if body.password.is_empty() {
        return Err(Refusal::invalid("a password must not be empty"));
    }
    let id = bridge
        .call(Class::Foreign, move |engine| {
            engine.backups.add_key(&name, &body.password)
        })
        .await?;
    answer_json(StatusCode::CREATED, &json!({ "Id": id }))
}

async fn remove_key(request: Request) -> Answer {
    let name = request.name();
    let id = request.parameters.get(1).cloned().unwrap_or_default();
    request
        .bridge
        .call(Class::Foreign, move |engine| {
            engine.backups.remove_key(&name, &id)
        })
        .await?;
    no_content()
}
