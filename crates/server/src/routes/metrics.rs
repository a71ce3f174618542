//! `GET /metrics`: for Prometheus.

use hyper::{Response, header};

use crate::bridge::{Bridge, Class};
use crate::dispatch::{Answer, route_table};
use crate::errors::Refusal;
use crate::request::Request;
use crate::stream::Body;

route_table! {
    ["our own: [metrics.md](metrics.md)"]
    GET "/metrics" => metrics,
}

async fn metrics(request: Request) -> Answer {
    page(&request.bridge).await
}

/// The page, whoever asks for it.
pub(crate) async fn page(bridge: &Bridge) -> Answer {
    let page = bridge
        .call(Class::Disk, |engine| {
            engine.metrics().map_err(|error| {
                use engine::Fault as _;
                Refusal::of(error.kind(), &error)
            })
        })
        .await?;
    let mut response = Response::new(Body::full(page));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static(engine::metrics::CONTENT_TYPE),
    );
    Ok(response)
}
