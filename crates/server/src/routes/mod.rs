//! The API's routes, by kind of object.

use crate::dispatch::Route;

pub(crate) mod build;
pub(crate) mod container_mounts;
pub(crate) mod containers;
pub(crate) mod exec;
pub(crate) mod extension;
pub(crate) mod files;
pub(crate) mod images;
pub(crate) mod networks;
pub(crate) mod registry;
pub(crate) mod snapshots;
pub(crate) mod streams;
pub(crate) mod system;
pub(crate) mod volume_care;
pub(crate) mod volume_files;
pub(crate) mod volumes;

/// Every route; literal paths stand before those with placeholders that would take them.
pub(crate) fn all() -> impl Iterator<Item = &'static Route> {
    [
        containers::ROUTES,
        streams::ROUTES,
        files::ROUTES,
        exec::ROUTES,
        volumes::ROUTES,
        // Before the images': `/images/search` is no image.
        registry::ROUTES,
        images::ROUTES,
        networks::ROUTES,
        system::ROUTES,
        build::ROUTES,
        extension::ROUTES,
        container_mounts::ROUTES,
        volume_care::ROUTES,
        volume_files::ROUTES,
        snapshots::ROUTES,
    ]
    .into_iter()
    .flatten()
}

use hyper::{Response, StatusCode, header};
use serde::Serialize;

use crate::dispatch::Answer;
use crate::stream::Body;

/// A JSON answer.
pub(crate) fn json<T: Serialize>(status: StatusCode, value: &T) -> Answer {
    let mut response = Response::new(Body::json(value));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("application/json"),
    );
    Ok(response)
}

pub(crate) fn ok<T: Serialize>(value: &T) -> Answer {
    json(StatusCode::OK, value)
}

pub(crate) fn no_content() -> Answer {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_route_is_documented() {
        let page = include_str!("../../../../docs/docker-compat.md");
        for route in super::all() {
            let line = format!("| {} | `{}` |", route.method, route.path);
            assert!(page.contains(&line), "docs/docker-compat.md lacks {line}");
        }
    }
}
