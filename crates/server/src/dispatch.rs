//! From a request's path to its handler: the version prefix, the route tables, the headers of every answer.

use std::convert::Infallible;
use std::pin::Pin;

use api::version::{ApiVersion, NEWEST, OLDEST};
use hyper::body::Incoming;
use hyper::header::{HeaderName, HeaderValue};
use hyper::{Method, Response};

use crate::bridge::Bridge;
use crate::errors::Refusal;
use crate::request::{Request, decode};
use crate::routes;
use crate::stream::Body;
use crate::versions::Gates;

pub(crate) type Answer = Result<Response<Body>, Refusal>;
pub(crate) type Handler = fn(Request) -> Pin<Box<dyn Future<Output = Answer> + Send>>;

/// One entry of a route table. `{}` in a path is one segment, `{...}` one or more.
pub(crate) struct Route {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    pub(crate) handler: Handler,
    /// How far it is served, for `docs/docker-compat.md`.
    #[cfg_attr(not(test), expect(dead_code, reason = "the page is made by a test"))]
    pub(crate) state: &'static str,
}

/// What is said of the route itself, or of all of its table, or that there is nothing to say.
pub(crate) const fn state(own: &'static str, table: &'static str) -> &'static str {
    if !own.is_empty() {
        own
    } else if !table.is_empty() {
        table
    } else {
        "yes"
    }
}

/// `GET "/x/{}" => handler`, and `: "how far"` where it is not served wholly; `["how far"]` before all others.
macro_rules! route_table {
    (
        $([$table:literal])?
        $($method:ident $path:literal => $handler:path $(: $state:literal)?),* $(,)?
    ) => {
        const TABLE_STATE: &str = concat!($($table)?);
        pub(crate) const ROUTES: &[$crate::dispatch::Route] = &[$(
            $crate::dispatch::Route {
                method: hyper::Method::$method,
                path: $path,
                handler: |request| Box::pin($handler(request)),
                state: $crate::dispatch::state(concat!($($state)?), TABLE_STATE),
            }
        ),*];
    };
}
pub(crate) use route_table;

/// Never fails: what goes wrong is an answer.
pub(crate) async fn answer(
    bridge: Bridge,
    request: hyper::Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let head = request.method() == Method::HEAD;
    let mut response = route(bridge, request)
        .await
        .unwrap_or_else(Refusal::into_response);
    if head && response.status().is_client_error() {
        *response.body_mut() = Body::empty();
    }
    for (name, value) in [
        ("api-version", NEWEST.to_string()),
        ("docker-experimental", "false".to_owned()),
        ("ostype", "linux".to_owned()),
        (
            "server",
            format!("Orlop/{} (linux)", env!("CARGO_PKG_VERSION")),
        ),
    ] {
        let value = HeaderValue::from_str(&value).expect("plain text");
        response
            .headers_mut()
            .insert(HeaderName::from_static(name), value);
    }
    Ok(response)
}

async fn route(bridge: Bridge, request: hyper::Request<Incoming>) -> Answer {
    let path = request.uri().path().to_owned();
    let (version, path) = split_version(&path)?;
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let mut query = request
        .uri()
        .query()
        .unwrap_or_default()
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(key, true), decode(value, true))
        })
        .collect::<Vec<_>>();
    for route in routes::all() {
        if route.method != *request.method() {
            continue;
        }
        let Some(parameters) = matched(route.path, &segments) else {
            continue;
        };
        let gates = Gates::new(&route.method, route.path, version);
        gates.query(&mut query);
        let response = (route.handler)(Request {
            bridge,
            version,
            gates,
            parameters,
            query,
            inner: request,
        })
        .await?;
        return Ok(
            if gates.change_answers() && response.status().is_success() {
                response.map(|body| body.reshaped(|value| gates.answer(value)))
            } else {
                response
            },
        );
    }
    // Also for another method than the route has, as in Docker.
    Err(Refusal::not_found("page not found"))
}

/// `/v1.41/x` to its version and `/x`.
fn split_version(path: &str) -> Result<(ApiVersion, &str), Refusal> {
    let versioned = path.strip_prefix("/v").and_then(|rest| {
        let end = rest.find('/').unwrap_or(rest.len());
        rest[..end]
            .parse::<ApiVersion>()
            .ok()
            .map(|version| (version, &rest[end..]))
    });
    let Some((version, rest)) = versioned else {
        return Ok((NEWEST, path));
    };
    if version > NEWEST {
        return Err(Refusal::invalid(format!(
            "client version {version} is too new. Maximum supported API version is {NEWEST}"
        )));
    }
    if version < OLDEST {
        return Err(Refusal::invalid(format!(
            "client version {version} is too old. Minimum supported API version is {OLDEST}, please upgrade your client to a newer version"
        )));
    }
    Ok((version, rest))
}

/// Values of the placeholders when the path fits.
fn matched(pattern: &str, segments: &[&str]) -> Option<Vec<String>> {
    let parts: Vec<&str> = pattern.split('/').skip(1).collect();
    let mut parameters = Vec::new();
    let mut rest = segments;
    for (index, part) in parts.iter().enumerate() {
        let after = parts.len() - index - 1;
        match *part {
            "{...}" => {
                let taken = rest.len().checked_sub(after).filter(|&count| count > 0)?;
                parameters.push(decode(&rest[..taken].join("/"), false));
                rest = &rest[taken..];
            }
            "{}" => {
                let (first, others) = rest.split_first()?;
                if first.is_empty() {
                    return None;
                }
                parameters.push(decode(first, false));
                rest = others;
            }
            literal => {
                let (first, others) = rest.split_first()?;
                if *first != literal {
                    return None;
                }
                rest = others;
            }
        }
    }
    rest.is_empty().then_some(parameters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let fits = |pattern: &str, path: &str| {
            matched(pattern, &path.split('/').skip(1).collect::<Vec<_>>())
        };
        assert_eq!(
            fits("/containers/{}/json", "/containers/a/json"),
            Some(vec!["a".to_owned()])
        );
        assert_eq!(
            fits("/images/{...}/json", "/images/localhost:5000/a/b/json"),
            Some(vec!["localhost:5000/a/b".to_owned()])
        );
        assert_eq!(fits("/images/{...}/json", "/images/json"), None);
        assert_eq!(fits("/volumes/{}", "/volumes/"), None);
        assert_eq!(fits("/volumes", "/volumes"), Some(vec![]));
    }

    #[test]
    fn versions() {
        assert_eq!(split_version("/v1.41/info").expect("spoken").1, "/info");
        assert_eq!(split_version("/info").expect("newest").0, NEWEST);
        assert_eq!(split_version("/version").expect("no prefix").1, "/version");
        assert_eq!(
            split_version("/v1.99/info").expect_err("too new").message,
            "client version 1.99 is too new. Maximum supported API version is 1.50"
        );
        assert!(split_version("/v1.12/info").is_err());
    }
}
