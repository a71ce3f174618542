//! Our own routes, under a prefix that no Docker client uses.

use engine::Compressed;
use hyper::{Response, StatusCode};
use serde_json::json;

use super::{json, no_content};
use crate::bridge::Class;
use crate::dispatch::{Answer, route_table};
use crate::errors::Refusal;
use crate::request::Request;
use crate::stream::respond;

route_table! {
    ["our own: [volumes.md](volumes.md)"]
    GET "/orlop/v1/volumes/{}/export" => export,
    POST "/orlop/v1/volumes/{}/import" => import,
}

async fn export(request: Request) -> Answer {
    let name = request.name();
    let wanted = request
        .text("compress")
        .unwrap_or_else(|| "none".to_owned());
    let compressed = Compressed::parse(&wanted).ok_or_else(|| {
        Refusal::invalid(format!(
            "invalid compression \"{wanted}\": it is {}",
            Compressed::NAMES
        ))
    })?;
    let content_type = match compressed {
        Compressed::Not => "application/x-tar",
        Compressed::Gzip => "application/gzip",
        Compressed::Xz => "application/x-xz",
        Compressed::Zstd => "application/zstd",
    };
    let pieces = request
        .bridge
        .stream(Class::Long, move |engine, mut writer| {
            engine.volumes.export(&name, compressed, &mut writer)?;
            Ok(())
        });
    let response: Response<_> = respond(content_type, pieces).await?;
    Ok(response)
}

async fn import(request: Request) -> Answer {
    let name = request.name();
    let bridge = request.bridge.clone();
    let asked = request
        .get("safetySnapshot")
        .map(|_| request.flag("safetySnapshot"));
    let mut reader = request.reader();
    let imported = bridge
        .call(Class::Long, move |engine| {
            engine.import_volume(&name, asked, &mut reader)
        })
        .await?;
    if !imported.created {
        return no_content();
    }
    json(
        StatusCode::CREATED,
        &json!({ "Created": true, "Warnings": imported.warnings }),
    )
}
