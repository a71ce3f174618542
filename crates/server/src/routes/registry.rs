//! What goes to registries: pull, push, logins, search.
//!
//! A client that goes away ends what it asked for.

use std::sync::Arc;

use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use engine::images::{Cancel, ImageError, PullRequest, PushRequest};
use engine::{Credentials, ErrorKind, Fault as _};
use hyper::StatusCode;
use serde_json::{Value, json};

use super::ok;
use crate::bridge::Class;
use crate::dispatch::{Answer, route_table};
use crate::errors::Refusal;
use crate::filters;
use crate::hangup::{Peer, Watched};
use crate::request::Request;
use crate::stream::{Lines, respond};

route_table! {
    POST "/auth" => login,
    GET "/images/search" => search,
    POST "/images/{...}/push" => push,
    GET "/distribution/{...}/json" => distribution,
}

/// `POST /images/create?fromImage=…`
pub(super) async fn pull(request: Request, image: String) -> Answer {
    let pull = PullRequest {
        reference: image,
        tag: request.text("tag"),
        platform: request.text("platform"),
        credentials: credentials(&request),
        cancel: Arc::default(),
    };
    let peer = peer(&request);
    let pieces = request.bridge.produce(Class::Long, move |engine, pieces| {
        let _watched = watch(peer, &pull.cancel);
        let lines = Lines::new(pieces, true);
        let result = engine.images.pull(&pull, &lines).map_err(Into::into);
        lines.finish(result);
    });
    respond("application/json", pieces).await
}

async fn push(request: Request) -> Answer {
    let push = PushRequest {
        reference: request.name(),
        tag: request.text("tag"),
        credentials: credentials(&request),
        cancel: Arc::default(),
    };
    let peer = peer(&request);
    let pieces = request.bridge.produce(Class::Long, move |engine, pieces| {
        let _watched = watch(peer, &push.cancel);
        let lines = Lines::new(pieces, true);
        let result = engine.images.push(&push, &lines).map_err(Into::into);
        lines.finish(result);
    });
    respond("application/json", pieces).await
}

fn peer(request: &Request) -> Option<Peer> {
    request.inner.extensions().get::<Peer>().cloned()
}

/// Gives up what was asked for when whoever asked goes away, for as long as what it returns lives.
pub(super) fn watch(peer: Option<Peer>, cancel: &Arc<Cancel>) -> Option<Watched> {
    let cancel = Arc::clone(cancel);
    Some(peer?.watch(move || cancel.give_up()))
}

async fn login(request: Request) -> Answer {
    let (bridge, peer) = (request.bridge.clone(), peer(&request));
    let body = request.json().await?;
    let credentials: Credentials = serde_json::from_value(body)
        .map_err(|error| Refusal::invalid(format!("invalid credentials: {error}")))?;
    let token = bridge
        .call(Class::Long, move |engine| {
            let cancel = Arc::default();
            let _watched = watch(peer, &cancel);
            let token = engine.images.login(&credentials, &cancel);
            token.map_err(Unauthorized)
        })
        .await?;
    ok(&json!({ "Status": "Login Succeeded", "IdentityToken": token.unwrap_or_default() }))
}

/// What is 403 elsewhere is 401 at a login.
struct Unauthorized(ImageError);

impl From<Unauthorized> for Refusal {
    fn from(Unauthorized(error): Unauthorized) -> Self {
        let denied = error.kind() == ErrorKind::Denied;
        let refusal = Self::from(error);
        if denied {
            Self::new(StatusCode::UNAUTHORIZED, refusal.message)
        } else {
            refusal
        }
    }
}

async fn search(request: Request) -> Answer {
    let term = request
        .text("term")
        .ok_or_else(|| Refusal::invalid("no search term was given"))?;
    let limit = request.number("limit")?;
    let filters = filters::parse(request.get("filters"))?;
    if let Some(unknown) = filters
        .0
        .keys()
        .find(|key| !matches!(key.as_str(), "stars" | "is-official" | "is-automated"))
    {
        return Err(Refusal::invalid(format!("invalid filter '{unknown}'")));
    }
    let first = |key: &str| filters.0.get(key).and_then(|values| values.first());
    let stars: u64 = match first("stars") {
        Some(text) => text
            .parse()
            .map_err(|_| Refusal::invalid(format!("invalid filter 'stars={text}'")))?,
        None => 0,
    };
    let wanted = |key: &str| match first(key).map(String::as_str) {
        None => Ok(None),
        Some("1" | "true") => Ok(Some(true)),
        Some("0" | "false") => Ok(Some(false)),
        Some(other) => Err(Refusal::invalid(format!("invalid filter '{key}={other}'"))),
    };
    let (official, automated) = (wanted("is-official")?, wanted("is-automated")?);
    let (credentials, peer) = (credentials(&request), peer(&request));
    let found = request
        .bridge
        .call(Class::Long, move |engine| {
            let cancel = Arc::default();
            let _watched = watch(peer, &cancel);
            let images = &engine.images;
            images.search(&term, limit, credentials.as_ref(), &cancel)
        })
        .await?;
    let list: Vec<Value> = found
        .into_iter()
        .filter(|one| {
            one.stars >= stars
                && official.is_none_or(|wanted| one.official == wanted)
                && automated.is_none_or(|wanted| one.automated == wanted)
        })
        .map(|one| {
            json!({
                "star_count": one.stars,
                "is_official": one.official,
                "name": one.name,
                "is_automated": one.automated,
                "description": one.description,
            })
        })
        .collect();
    ok(&list)
}

async fn distribution(request: Request) -> Answer {
    let (name, peer) = (request.name(), peer(&request));
    let credentials = credentials(&request);
    let found = request
        .bridge
        .call(Class::Long, move |engine| {
            let cancel = Arc::default();
            let _watched = watch(peer, &cancel);
            let images = &engine.images;
            images.distribution(&name, credentials.as_ref(), &cancel)
        })
        .await?;
    let platforms: Vec<Value> = found
        .platforms
        .into_iter()
        .map(|(os, architecture, variant)| {
            let mut platform = json!({ "architecture": architecture, "os": os });
            if !variant.is_empty() {
                platform["variant"] = json!(variant);
            }
            platform
        })
        .collect();
    ok(&json!({
        "Descriptor": {
            "mediaType": found.media_type,
            "digest": found.digest,
            "size": found.size,
        },
        "Platforms": platforms,
    }))
}

/// The header `X-Registry-Auth`. One that says nothing that can be understood is none, as with Docker.
pub(super) fn credentials(request: &Request) -> Option<Credentials> {
    let header = request.inner.headers().get("X-Registry-Auth")?;
    decode(header.as_bytes())
}

fn decode(header: &[u8]) -> Option<Credentials> {
    let config =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let bytes = [&URL_SAFE, &STANDARD]
        .iter()
        .find_map(|alphabet| GeneralPurpose::new(alphabet, config).decode(header).ok())?;
    serde_json::from_slice::<Credentials>(&bytes)
        .ok()
        .filter(|credentials| !credentials.is_empty())
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};

    use super::*;

    #[test]
    fn credentials_in_a_header() {
        let text =
            r#"{"username":"ü?>","password":"p","serveraddress":"localhost:5000","auth":""}"#;
        for header in [
            URL_SAFE.encode(text),
            URL_SAFE_NO_PAD.encode(text),
            STANDARD.encode(text),
        ] {
            let found = decode(header.as_bytes()).expect("understood");
            assert_eq!(
                (found.username.as_str(), found.password.as_str()),
                ("ü?>", "p")
            );
        }
        for nothing in ["", "!", &URL_SAFE.encode("{}"), &URL_SAFE.encode("null")] {
            assert_eq!(decode(nothing.as_bytes()), None);
        }
    }
}
