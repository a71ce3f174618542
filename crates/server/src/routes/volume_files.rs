//! Copies into and out of volumes, in the form in which containers' files are copied.

use hyper::Response;

use super::files::{STAT_HEADER, describe, path, streamed};
use super::no_content;
use crate::bridge::Class;
use crate::dispatch::{Answer, route_table};
use crate::request::Request;
use crate::stream::{Body, respond};

route_table! {
    ["our own: [volumes.md](volumes.md)"]
    HEAD "/orlop/v1/volumes/{}/archive" => stat,
    GET "/orlop/v1/volumes/{}/archive" => get,
    PUT "/orlop/v1/volumes/{}/archive" => put,
    GET "/orlop/v1/volumes/{}/file" => file,
}

async fn stat(request: Request) -> Answer {
    let (name, path) = (request.name(), path(&request)?);
    let stat = request
        .bridge
        .call(Class::Disk, move |engine| engine.volume_stat(&name, &path))
        .await?;
    let mut response = Response::new(Body::empty());
    response.headers_mut().insert(STAT_HEADER, describe(&stat));
    Ok(response)
}

async fn get(request: Request) -> Answer {
    let (name, path) = (request.name(), path(&request)?);
    streamed(request, move |engine, begin| {
        engine.volume_get(&name, &path, begin)
    })
    .await
}

async fn put(request: Request) -> Answer {
    let (name, path) = (request.name(), path(&request)?);
    let bridge = request.bridge.clone();
    let asked = request
        .get("safetySnapshot")
        .map(|_| request.flag("safetySnapshot"));
    let mut reader = request.reader();
    bridge
        .call(Class::Long, move |engine| {
            engine.volume_put(&name, &path, asked, &mut reader)
        })
        .await?;
    no_content()
}

/// The bytes of one file.
async fn file(request: Request) -> Answer {
    let (name, path) = (request.name(), path(&request)?);
    let pieces = request
        .bridge
        .stream(Class::Long, move |engine, mut writer| {
            engine.volumes.with_file(&name, &path, |mut file| {
                std::io::copy(&mut file, &mut writer)
            })?;
            Ok(())
        });
    respond("application/octet-stream", pieces).await
}
