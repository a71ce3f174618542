//! HTTP as the places on servers need it: one request with its body in memory, one answer read whole.

use std::io::Read as _;
use std::time::Duration;

use bytes::Bytes;
use ureq::Agent;
use ureq::Proxy;
use ureq::http::{HeaderMap, Request};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

use super::Place;
use crate::place::{Name, PlaceError};

const CONNECT: Duration = Duration::from_secs(20);
/// No file of a repository is longer than what is allowed here, nor a list of them.
const LONGEST: u64 = 1 << 30;
/// What is shown of an error's explanation, in characters.
pub(crate) const EXPLANATION: usize = 200;
/// Where systems keep the authorities they trust.
const BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Connections to one server.
pub(super) struct Server {
    agent: Agent,
    /// As it may be shown.
    place: String,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Server({})", self.place)
    }
}

pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Server {
    /// For what is at `url`, with everything else that is known of the place.
    pub(super) fn new(url: &str, known: &Place) -> Result<Self, PlaceError> {
        let place = known.location.to_string();
        let silence = known.patience;
        let wrong = |what: &'static str| PlaceError::Setting {
            place: place.clone(),
            what,
        };
        let roots = match &known.authority {
            Some(text) => match certificates(text.as_bytes()) {
                Some(authorities) => RootCerts::new_with_certs(&authorities),
                None => return Err(wrong("what shall be its authority has no certificates")),
            },
            None => authorities().map_or(RootCerts::WebPki, |authorities| {
                RootCerts::new_with_certs(&authorities)
            }),
        };
        let proxy = known.proxies.for_url(url).map(Proxy::new).transpose();
        let proxy = proxy.map_err(|_| wrong("the address of the proxy is not understood"))?;
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            .proxy(proxy)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("orlop/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(CONNECT.min(silence)))
            .timeout_recv_response(Some(2 * silence))
            .timeout_per_read(Some(silence))
            .timeout_per_write(Some(silence))
            .input_buffer_size(256 << 10)
            .output_buffer_size(256 << 10)
            .build()
            .new_agent();
        Ok(Self { agent, place })
    }

    pub(super) fn place(&self) -> String {
        self.place.clone()
    }

    /// One request; whatever status the server answers is an answer.
    pub(super) fn send(
        &self,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> Result<Answer, PlaceError> {
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(()).map_err(|error| PlaceError::Nonsense {
            place: self.place(),
            file: "the address".to_owned(),
            detail: error.to_string(),
        })?;
        let unreachable = |error: ureq::Error| PlaceError::Unreachable {
            place: self.place(),
            source: error.into_io(),
        };
        let response = match body {
            Some(body) => self.agent.run(request.map(|()| body)),
            None => self.agent.run(request),
        }
        .map_err(unreachable)?;
        let (head, body) = response.into_parts();
        let mut bytes = Vec::new();
        body.into_reader()
            .take(LONGEST)
            .read_to_end(&mut bytes)
            .map_err(|source| PlaceError::Unreachable {
                place: self.place(),
                source,
            })?;
        Ok(Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            body: bytes.into(),
        })
    }

    /// What a status that is no success means for `file`.
    pub(super) fn refusal(&self, answer: &Answer, file: &str) -> PlaceError {
        let detail = explanation(&answer.body);
        let (place, file) = (self.place(), file.to_owned());
        match answer.status {
            404 => PlaceError::Missing { place, file },
            401 | 403 => PlaceError::Refused {
                place,
                answer: format!("{} {detail}", answer.status).trim_end().to_owned(),
            },
            status => PlaceError::Answer {
                place,
                file,
                status,
                detail,
            },
        }
    }

    /// The answer, if it is a success.
    pub(super) fn expect(&self, answer: Answer, file: &str) -> Result<Answer, PlaceError> {
        if (200..300).contains(&answer.status) {
            Ok(answer)
        } else {
            Err(self.refusal(&answer, file))
        }
    }

    /// Exactly what was asked for of a file, whether the server sent the part or the whole.
    pub(super) fn part(
        &self,
        answer: &Answer,
        name: Name,
        offset: u64,
        length: u64,
    ) -> Result<Bytes, PlaceError> {
        let got = answer.body.len() as u64;
        let start = if answer.status == 206 { 0 } else { offset };
        let range = usize::try_from(start)
            .ok()
            .zip(usize::try_from(length).ok())
            .and_then(|(start, length)| Some(start..start.checked_add(length)?));
        match range {
            Some(range) if range.end <= answer.body.len() => Ok(answer.body.slice(range)),
            _ => Err(PlaceError::Short {
                place: self.place(),
                file: name.to_string(),
                got: got.saturating_sub(start),
                wanted: length,
            }),
        }
    }
}

/// For `length` bytes from `offset`.
pub(super) fn range(offset: u64, length: u64) -> String {
    let last = offset.saturating_add(length).saturating_sub(1);
    format!("bytes={offset}-{last}")
}

/// The server's words, in one short line.
pub(crate) fn explanation(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    // XML of object stores says it in one element.
    let text = text
        .split_once("<Message>")
        .and_then(|(_, rest)| rest.split_once("</Message>"))
        .map_or(&*text, |(message, _)| message);
    let line: String = text
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .chars()
        .filter(|character| !character.is_control())
        .take(EXPLANATION)
        .collect();
    line
}

/// Those that the system trusts; `None` where it has none.
fn authorities() -> Option<Vec<Certificate<'static>>> {
    BUNDLES
        .iter()
        .filter_map(|bundle| std::fs::read(bundle).ok())
        .find_map(|text| certificates(&text))
}

/// The certificates in a file; `None` when there is not one.
fn certificates(pem: &[u8]) -> Option<Vec<Certificate<'static>>> {
    let found: Vec<_> = parse_pem(pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    (!found.is_empty()).then_some(found)
}
