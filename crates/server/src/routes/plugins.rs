//! `/plugins`: the managed plugins of Docker's registry, of which this engine has none. Volume plugins that run beside it
//! are found by their sockets, and not listed here, as in Docker.

use hyper::StatusCode;
use serde_json::json;

use super::ok;
use crate::dispatch::{Answer, route_table};
use crate::errors::Refusal;
use crate::filters;
use crate::request::Request;

route_table! {
    GET "/plugins" => list: "an empty list: there are no managed plugins ([plugins.md](plugins.md))",
    GET "/plugins/privileges" => unsupported: "refused: no managed plugins",
    POST "/plugins/pull" => unsupported: "refused: no managed plugins",
    POST "/plugins/create" => unsupported: "refused: no managed plugins",
    GET "/plugins/{...}/json" => missing: "404: no managed plugins",
    POST "/plugins/{...}/enable" => missing: "404: no managed plugins",
    POST "/plugins/{...}/disable" => missing: "404: no managed plugins",
    POST "/plugins/{...}/set" => missing: "404: no managed plugins",
    POST "/plugins/{...}/push" => missing: "404: no managed plugins",
    POST "/plugins/{...}/upgrade" => missing: "404: no managed plugins",
    DELETE "/plugins/{...}" => missing: "404: no managed plugins",
}

async fn list(request: Request) -> Answer {
    let filters = filters::parse(request.get("filters"))?;
    match filters
        .0
        .keys()
        .find(|key| !["enabled", "capability"].contains(&key.as_str()))
    {
        Some(unknown) => Err(Refusal::invalid(format!("invalid filter '{unknown}'"))),
        None => ok(&json!([])),
    }
}

async fn missing(request: Request) -> Answer {
    let name = request.name().to_owned();
    request.read_out().await;
    Err(Refusal::not_found(format!("plugin \"{name}\" not found")))
}

async fn unsupported(request: Request) -> Answer {
    request.read_out().await;
    Err(Refusal::new(
        StatusCode::NOT_IMPLEMENTED,
        "managed plugins are not supported: run the plugin beside the engine, where its socket is found in \
         /run/docker/plugins",
    ))
}
