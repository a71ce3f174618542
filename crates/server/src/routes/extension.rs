//! Our own routes, under a prefix that no Docker client uses.

use hyper::Response;

use super::no_content;
use crate::bridge::Class;
use crate::dispatch::{Answer, route_table};
use crate::request::Request;
use crate::stream::respond;

route_table! {
    ["our own: [volumes.md](volumes.md)"]
    GET "/orlop/v1/volumes/{}/export" => export,
    POST "/orlop/v1/volumes/{}/import" => import,
}

async fn export(request: Request) -> Answer {
    let name = request.name();
    let pieces = request
        .bridge
        .stream(Class::Long, move |engine, mut writer| {
            engine.volumes.export(&name, &mut writer)?;
            Ok(())
        });
    let response: Response<_> = respond("application/x-tar", pieces).await?;
    Ok(response)
}

async fn import(request: Request) -> Answer {
    let name = request.name();
    let bridge = request.bridge.clone();
    let asked = request
        .get("safetySnapshot")
        .map(|_| request.flag("safetySnapshot"));
    let mut reader = request.reader();
    bridge
        .call(Class::Long, move |engine| {
            engine.import_volume(&name, asked, &mut reader)
        })
        .await?;
    no_content()
}
