//! The API's routes, by kind of object.

use crate::dispatch::Route;

pub(crate) mod backups;
pub(crate) mod build;
pub(crate) mod container_mounts;
pub(crate) mod containers;
pub(crate) mod drills;
pub(crate) mod exec;
pub(crate) mod extension;
pub(crate) mod files;
pub(crate) mod images;
mod long;
pub(crate) mod metrics;
pub(crate) mod networks;
pub(crate) mod plugins;
pub(crate) mod pools;
pub(crate) mod registry;
pub(crate) mod repositories;
pub(crate) mod schedules;
pub(crate) mod snapshots;
pub(crate) mod streams;
pub(crate) mod swarm;
pub(crate) mod system;
pub(crate) mod travel;
mod usage;
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
        swarm::ROUTES,
        build::ROUTES,
        extension::ROUTES,
        container_mounts::ROUTES,
        plugins::ROUTES,
        usage::ROUTES,
        volume_care::ROUTES,
        volume_files::ROUTES,
        snapshots::ROUTES,
        pools::ROUTES,
        repositories::ROUTES,
        backups::ROUTES,
        schedules::ROUTES,
        drills::ROUTES,
        metrics::ROUTES,
        travel::ROUTES,
    ]
    .into_iter()
    .flatten()
}

use hyper::{Response, StatusCode, header};
use serde::Serialize;

use crate::dispatch::Answer;
use crate::stream::Body;
use long::{ended_with, long};

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
    nothing(StatusCode::NO_CONTENT)
}

/// A status without a body.
pub(crate) fn nothing(status: StatusCode) -> Answer {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    Ok(response)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    /// Sets the text between two marks of the page.
    fn set(page: &mut String, mark: &str, text: &str) {
        let (begin, end) = (
            format!("<!-- {mark}: begin -->\n"),
            format!("<!-- {mark}: end -->"),
        );
        let from = page.find(&begin).expect("the mark is there") + begin.len();
        let to = page.find(&end).expect("the mark is there");
        page.replace_range(from..to, &format!("\n{text}\n"));
    }

    /// The page is made from the tables of the code: `ORLOP_BLESS=1 cargo test -p server the_page` writes it.
    #[test]
    fn the_page_is_what_the_code_says() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/docker-compat.md");
        let page = std::fs::read_to_string(&path).expect("the page is there");
        let mut routes: Vec<_> = super::all().collect();
        // Stable: methods of one path stay in the order of the table.
        routes.sort_by_key(|route| (route.path.starts_with("/orlop/"), route.path));
        let mut table = "| method | path | state |\n|---|---|---|\n".to_owned();
        for route in routes {
            table.push_str(&format!(
                "| {} | `{}` | {} |\n",
                route.method, route.path, route.state
            ));
        }
        let mut made = page.clone();
        set(&mut made, "routes", &table);
        set(&mut made, "versions", &crate::versions::page());
        if std::env::var_os("ORLOP_BLESS").is_some() {
            std::fs::write(&path, &made).expect("the page can be written");
        } else {
            assert!(
                made == page,
                "docs/docker-compat.md is not what the code says: run ORLOP_BLESS=1 cargo test -p server the_page"
            );
        }
    }
}
