//! HTTP as this crate needs it: one request, one answer, errors in the words people know.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use ureq::http::{HeaderMap, HeaderValue, Request, Uri};
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body, Proxy, SendBody};

use crate::cancel::Cancel;
use crate::challenge::{self, Challenge};
use crate::error::{RegistryError, Unanswered};

/// A peer that says nothing for so long is gone.
const SILENCE: Duration = Duration::from_secs(60);
const CONNECT: Duration = Duration::from_secs(20);
/// What is read of an error's explanation.
const ERROR_LIMIT: u64 = 64 << 10;
/// Where systems keep the authorities they trust.
const BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// What a request carries.
pub(crate) enum Payload {
    Nothing,
    Bytes(Vec<u8>),
    Stream {
        reader: Box<dyn Read + Send>,
        size: u64,
    },
}

/// Connections to one host, kept open between requests.
#[derive(Debug, Clone)]
pub(crate) struct Transport {
    agent: Agent,
}

/// How far a peer is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trust {
    /// Its certificate must be right.
    Verified,
    /// It may show any, or none.
    Anybody,
}

impl Transport {
    /// `authorities`: those of the system; those of `certificates/<registry>` are added.
    pub(crate) fn new(
        registry: &str,
        trust: Trust,
        certificates: &Path,
        authorities: &[Certificate<'static>],
    ) -> Self {
        let own = read_own(&certificates.join(registry));
        let mut roots = authorities.to_vec();
        roots.extend(own.authorities);
        let roots = if roots.is_empty() {
            RootCerts::WebPki
        } else {
            RootCerts::new_with_certs(&roots)
        };
        let tls = TlsConfig::builder()
            .root_certs(roots)
            .client_cert(own.identity)
            .disable_verification(trust == Trust::Anybody)
            .build();
        let (host, _) = crate::settings::split_port(registry);
        let is_local = host == "localhost"
            || host
                .parse::<std::net::IpAddr>()
                .is_ok_and(|address| address.is_loopback());
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .tls_config(tls)
            .proxy(if is_local {
                None
            } else {
                Proxy::try_from_env()
            })
            .user_agent(concat!("orlop/", env!("CARGO_PKG_VERSION")))
            // Credentials are for the registry, not for where it keeps its blobs.
            .redirect_auth_headers(ureq::config::RedirectAuthHeaders::SameHost)
            .timeout_connect(Some(CONNECT))
            .timeout_recv_response(Some(2 * SILENCE))
            .timeout_per_read(Some(SILENCE))
            .timeout_per_write(Some(SILENCE))
            .input_buffer_size(256 << 10)
            .output_buffer_size(256 << 10)
            .build();
        Self {
            agent: config.new_agent(),
        }
    }

    /// One request; it and the reading of its answer are left alone once `cancel` was given up.
    pub(crate) fn send(
        &self,
        cancel: &Arc<Cancel>,
        method: &'static str,
        url: &str,
        headers: &[(&str, &str)],
        payload: Payload,
    ) -> Result<Answer, RegistryError> {
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(()).map_err(|error| RegistryError::Answer {
            url: url.to_owned(),
            why: error.to_string(),
        })?;
        let agent = self.agent.clone();
        let result = cancel.unless_given_up(move || match payload {
            Payload::Nothing if matches!(method, "POST" | "PUT" | "PATCH") => {
                agent.run(request.map(|()| &b""[..]))
            }
            Payload::Nothing => agent.run(request),
            Payload::Bytes(bytes) => agent.run(request.map(|()| bytes)),
            Payload::Stream { reader, size } => {
                let mut request = request.map(|()| SendBody::from_owned_reader(reader));
                request
                    .headers_mut()
                    .insert("Content-Length", HeaderValue::from(size));
                agent.run(request)
            }
        })?;
        match result {
            Ok(response) => {
                let (head, body) = response.into_parts();
                Ok(Answer {
                    status: head.status.as_u16(),
                    headers: head.headers,
                    body,
                    url: url.to_owned(),
                    cancel: Arc::clone(cancel),
                })
            }
            Err(error) => Err(unanswered(method, url, &error)),
        }
    }
}

/// The head of an answer and its body still to read.
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: HeaderMap,
    body: Body,
    pub(crate) url: String,
    cancel: Arc<Cancel>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    pub(crate) fn challenges(&self) -> Vec<Challenge> {
        self.headers
            .get_all("WWW-Authenticate")
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(challenge::parse)
            .collect()
    }

    pub(crate) fn length(&self) -> Option<u64> {
        self.header("Content-Length")?.parse().ok()
    }

    pub(crate) fn into_reader(self) -> impl Read + Send + use<> {
        self.body.into_reader()
    }

    /// The whole body; `what` is for the message when it is longer than `limit`.
    pub(crate) fn bytes(self, what: &str, limit: u64) -> Result<Vec<u8>, RegistryError> {
        let too_large = || RegistryError::TooLarge {
            what: what.to_owned(),
            limit,
        };
        if self.length().is_some_and(|length| length > limit) {
            return Err(too_large());
        }
        let body = self.body;
        let (read, bytes) = self
            .cancel
            .unless_given_up(move || read_at_most(body, limit + 1))?;
        read.map_err(|error| unanswered("GET", &self.url, &ureq::Error::from(error)))?;
        if bytes.len() as u64 > limit {
            return Err(too_large());
        }
        Ok(bytes)
    }

    pub(crate) fn json(self, what: &str, limit: u64) -> Result<Value, RegistryError> {
        let url = self.url.clone();
        serde_json::from_slice(&self.bytes(what, limit)?).map_err(|error| RegistryError::Answer {
            url,
            why: error.to_string(),
        })
    }

    /// What the registry says about why it refuses.
    pub(crate) fn into_error(self) -> RegistryError {
        let (status, url) = (self.status, self.url.clone());
        let refused = |code: &str, message: &str| RegistryError::Refused {
            status,
            code: code.to_ascii_lowercase().replace('_', " "),
            message: message.to_owned(),
        };
        if status == 401 {
            for challenge in self.challenges() {
                match challenge.get("error") {
                    Some("insufficient_scope") => {
                        return refused("denied", "requested access to the resource is denied");
                    }
                    Some("invalid_token") => {
                        return refused("unauthorized", "authentication required");
                    }
                    _ => {}
                }
            }
        }
        let body = self.body;
        // An explanation that cannot be read explains nothing.
        let bytes = match self
            .cancel
            .unless_given_up(move || read_at_most(body, ERROR_LIMIT))
        {
            Ok((_, bytes)) => bytes,
            Err(error) => return error,
        };
        let value: Value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        let first = &value["errors"][0];
        if let Some(code) = first["code"].as_str() {
            return refused(code, first["message"].as_str().unwrap_or_default());
        }
        let told = ["details", "message", "error"]
            .iter()
            .find_map(|key| value[*key].as_str());
        match (status, told) {
            (401, told) => refused("unauthorized", told.unwrap_or("authentication required")),
            (403, told) => refused(
                "denied",
                told.unwrap_or("requested access to the resource is denied"),
            ),
            (429, told) => refused("toomanyrequests", told.unwrap_or("too many requests")),
            _ => RegistryError::Status { status, url },
        }
    }
}

/// What came, also when it broke off.
fn read_at_most(body: Body, limit: u64) -> (std::io::Result<usize>, Vec<u8>) {
    let mut bytes = Vec::new();
    let read = body.into_reader().take(limit).read_to_end(&mut bytes);
    (read, bytes)
}

/// The authorities that this system trusts.
pub(crate) fn system_authorities() -> Vec<Certificate<'static>> {
    BUNDLES
        .iter()
        .find_map(|path| std::fs::read(path).ok())
        .map(|pem| certificates(&pem))
        .unwrap_or_default()
}

fn certificates(pem: &[u8]) -> Vec<Certificate<'static>> {
    parse_pem(pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect()
}

#[derive(Default)]
struct Own {
    authorities: Vec<Certificate<'static>>,
    identity: Option<ClientCert>,
}

/// Docker's rule: `*.crt` are authorities, `NAME.cert` with `NAME.key` is what the registry is shown.
fn read_own(directory: &Path) -> Own {
    let mut own = Own::default();
    let Ok(entries) = std::fs::read_dir(directory) else {
        return own;
    };
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        let Ok(pem) = std::fs::read(&path) else {
            tracing::warn!(path = %path.display(), "a certificate cannot be read");
            continue;
        };
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("crt") => own.authorities.extend(certificates(&pem)),
            Some("cert") => {
                let key = std::fs::read(path.with_extension("key"))
                    .ok()
                    .and_then(|pem| PrivateKey::from_pem(&pem).ok());
                match key {
                    Some(key) => {
                        own.identity = Some(ClientCert::new_with_certs(&certificates(&pem), key));
                    }
                    None => {
                        tracing::warn!(path = %path.display(), "a certificate has no usable key");
                    }
                }
            }
            _ => {}
        }
    }
    own
}

/// Go's names of methods in errors.
pub(crate) fn shown(method: &'static str) -> &'static str {
    match method {
        "GET" => "Get",
        "HEAD" => "Head",
        "POST" => "Post",
        "PUT" => "Put",
        "PATCH" => "Patch",
        "DELETE" => "Delete",
        other => other,
    }
}

pub(crate) fn unanswered(method: &'static str, url: &str, error: &ureq::Error) -> RegistryError {
    RegistryError::Request {
        method: shown(method),
        url: url.to_owned(),
        source: Unanswered(explain(url, error)),
    }
}

fn explain(url: &str, error: &ureq::Error) -> String {
    let uri: Option<Uri> = url.parse().ok();
    let host = uri.as_ref().and_then(Uri::host).unwrap_or(url).to_owned();
    let port = uri.as_ref().and_then(|uri| {
        uri.port_u16().or_else(|| {
            Some(if uri.scheme_str()? == "https" {
                443
            } else {
                80
            })
        })
    });
    let place = port.map_or_else(|| host.clone(), |port| format!("{host}:{port}"));
    let text = error.to_string();
    let has = |words: &str| text.contains(words);
    match error {
        ureq::Error::HostNotFound => format!("dial tcp: lookup {host}: no such host"),
        ureq::Error::Timeout(_) => format!("{place} gave no answer in time"),
        _ if has("failed to lookup address") => {
            format!("dial tcp: lookup {host}: no such host")
        }
        _ if has("UnknownIssuer") || has("CaUsedAsEndEntity") => {
            "tls: failed to verify certificate: x509: certificate signed by unknown authority"
                .to_owned()
        }
        _ if has("NotValidForName") => {
            format!("tls: failed to verify certificate: x509: certificate is not valid for {host}")
        }
        _ if has("Expired") || has("NotValidYet") => {
            "tls: failed to verify certificate: x509: certificate has expired or is not yet valid"
                .to_owned()
        }
        _ if has("corrupt message") => "http: server gave HTTP response to HTTPS client".to_owned(),
        ureq::Error::Io(error) => match error.kind() {
            std::io::ErrorKind::ConnectionRefused => {
                format!("dial tcp {place}: connect: connection refused")
            }
            std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::ConnectionReset => {
                "EOF".to_owned()
            }
            std::io::ErrorKind::HostUnreachable => {
                format!("dial tcp {place}: connect: no route to host")
            }
            std::io::ErrorKind::NetworkUnreachable => {
                format!("dial tcp {place}: connect: network is unreachable")
            }
            _ => error.to_string(),
        },
        _ => text,
    }
}
