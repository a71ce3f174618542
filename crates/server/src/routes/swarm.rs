//! What an engine that is in no swarm says of swarms, in Docker's words. It cannot be brought into one.

use hyper::StatusCode;

use crate::dispatch::{Answer, route_table};
use crate::errors::Refusal;
use crate::request::Request;

route_table! {
    ["answers as an engine outside a swarm"]
    GET "/swarm" => no_manager,
    POST "/swarm/init" => no_swarm: "refused: there are no swarms here",
    POST "/swarm/join" => no_swarm: "refused: there are no swarms here",
    POST "/swarm/leave" => not_part,
    POST "/swarm/update" => no_manager,
    GET "/swarm/unlockkey" => no_manager,
    POST "/swarm/unlock" => not_locked,
    GET "/nodes" => no_manager,
    GET "/nodes/{}" => no_manager,
    DELETE "/nodes/{}" => no_manager,
    POST "/nodes/{}/update" => no_manager,
    GET "/services" => no_manager,
    POST "/services/create" => no_manager,
    GET "/services/{}" => no_manager,
    DELETE "/services/{}" => no_manager,
    POST "/services/{}/update" => no_manager,
    GET "/services/{}/logs" => no_manager,
    GET "/tasks" => no_manager,
    GET "/tasks/{}" => no_manager,
    GET "/tasks/{}/logs" => no_manager,
    GET "/secrets" => no_manager,
    POST "/secrets/create" => no_manager,
    GET "/secrets/{}" => no_manager,
    DELETE "/secrets/{}" => no_manager,
    POST "/secrets/{}/update" => no_manager,
    GET "/configs" => no_manager,
    POST "/configs/create" => no_manager,
    GET "/configs/{}" => no_manager,
    DELETE "/configs/{}" => no_manager,
    POST "/configs/{}/update" => no_manager,
}

async fn no_manager(_request: Request) -> Answer {
    Err(Refusal::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again.",
    ))
}

async fn not_part(_request: Request) -> Answer {
    Err(Refusal::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "This node is not part of a swarm",
    ))
}

async fn not_locked(_request: Request) -> Answer {
    Err(Refusal::new(StatusCode::CONFLICT, "swarm is not locked"))
}

async fn no_swarm(_request: Request) -> Answer {
    Err(Refusal::unsupported(
        "orlop runs containers of one host: it forms no swarms",
    ))
}
