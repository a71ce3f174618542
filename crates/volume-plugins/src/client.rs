//! One request to one plugin, and its answer within its deadline.

use std::io;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use ureq::http::{Request, header};
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{
    ConnectionDetails, Connector, RustlsConnector, TcpConnector, Transport,
};
use ureq::{Agent, Error};

use crate::PluginError;
use crate::address::{Address, Tls};
use crate::unix::{Nowhere, UnixConnector};

/// The version of the protocol, as media type.
const VERSION: &str = "application/vnd.docker.plugins.v1.2+json";
/// What is read of an answer: the description of one volume, or of many.
const LARGEST: u64 = 16 << 20;
/// What is shown of an answer that only says why not.
const LONGEST_ERROR: usize = 4096;

/// Speaks to one address.
#[derive(Debug)]
pub(crate) struct Client {
    agent: Agent,
    address: Address,
}

/// Why the client cannot be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error("could not read {path}: {}", sys::error_words(source))]
    Read {
        path: String,
        #[source]
        source: io::Error,
    },
    #[error("{0} holds no certificate or key")]
    Empty(String),
}

impl Client {
    pub(crate) fn new(address: Address) -> Result<Self, TlsError> {
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .max_redirects(0)
            // A connection that was kept could end under the next call, which must not be repeated.
            .max_idle_connections(0)
            .user_agent(concat!("orlop/", env!("CARGO_PKG_VERSION")));
        if let Address::Web { tls, .. } = &address {
            config = config.tls_config(tls_config(tls)?);
        }
        let config = config.build();
        let agent = match &address {
            Address::Unix(path) => {
                Agent::with_parts(config, Dial(UnixConnector(path.clone())), Nowhere)
            }
            Address::Web { .. } => {
                let connector = Dial(().chain(TcpConnector::default()));
                Agent::with_parts(
                    config,
                    connector.chain(RustlsConnector::default()),
                    DefaultResolver::default(),
                )
            }
        };
        Ok(Self { agent, address })
    }

    /// Posts `body` and reads the answer, both within `deadline`.
    pub(crate) fn post(
        &self,
        plugin: &str,
        method: &'static str,
        body: &[u8],
        deadline: Duration,
    ) -> Result<Vec<u8>, PluginError> {
        let url = self.address.url(method);
        let nonsense = |why: String| PluginError::Nonsense {
            plugin: plugin.to_owned(),
            method,
            why,
        };
        let failed = |error: Error| match error {
            Error::Other(error) if error.is::<NotInTime>() => PluginError::Silent {
                url: url.clone(),
                why: format!("dial {}: i/o timeout", self.address.shown()),
            },
            Error::Other(error) if error.is::<NotConnected>() => PluginError::Unreachable {
                url: url.clone(),
                why: format!("dial {}: {error}", self.address.shown()),
            },
            Error::HostNotFound => PluginError::Unreachable {
                url: url.clone(),
                why: format!("dial {}: no such host", self.address.shown()),
            },
            Error::Timeout(_) => PluginError::Silent {
                url: url.clone(),
                why: "context deadline exceeded".to_owned(),
            },
            Error::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                PluginError::Unanswered {
                    url: url.clone(),
                    why: "EOF".to_owned(),
                }
            }
            Error::Io(error) => PluginError::Unanswered {
                url: url.clone(),
                why: sys::error_words(&error),
            },
            Error::BodyExceedsLimit(limit) => nonsense(format!("it is larger than {limit} bytes")),
            other => nonsense(other.to_string()),
        };
        let request = Request::post(&url)
            .header(header::ACCEPT, VERSION)
            .body(body)
            .map_err(|error| nonsense(error.to_string()))?;
        let request = self
            .agent
            .configure_request(request)
            .timeout_global(Some(deadline))
            .build();
        let mut response = self.agent.run(request).map_err(failed)?;
        let status = response.status();
        let bytes = response
            .body_mut()
            .with_config()
            .limit(LARGEST)
            .read_to_vec()
            .map_err(failed)?;
        if status.as_u16() == 200 {
            return Ok(bytes);
        }
        Err(PluginError::Failed {
            method,
            message: explanation(&bytes).unwrap_or_else(|| status.to_string()),
        })
    }
}

/// What a body says that is no answer: its `Err`, or its text.
fn explanation(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Explained {
        err: String,
    }
    let text = match serde_json::from_slice::<Explained>(body) {
        Ok(explained) if !explained.err.is_empty() => explained.err,
        _ => String::from_utf8_lossy(body).trim().to_owned(),
    };
    let text = shortened(&text);
    (!text.is_empty()).then_some(text)
}

/// An error as far as people read it.
pub(crate) fn shortened(text: &str) -> String {
    let mut end = text.len().min(LONGEST_ERROR);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

fn tls_config(tls: &Tls) -> Result<TlsConfig, TlsError> {
    let mut roots = Vec::new();
    if !tls.ca_file.is_empty() {
        for item in pem(&tls.ca_file)? {
            if let PemItem::Certificate(certificate) = item {
                roots.push(certificate);
            }
        }
    }
    let roots = if roots.is_empty() {
        RootCerts::WebPki
    } else {
        RootCerts::new_with_certs(&roots)
    };
    let identity = if tls.cert_file.is_empty() || tls.key_file.is_empty() {
        None
    } else {
        Some(identity(&tls.cert_file, &tls.key_file)?)
    };
    Ok(TlsConfig::builder()
        .root_certs(roots)
        .client_cert(identity)
        .disable_verification(tls.insecure_skip_verify)
        .build())
}

fn identity(certificates: &str, key: &str) -> Result<ClientCert, TlsError> {
    let chain: Vec<Certificate<'static>> = pem(certificates)?
        .into_iter()
        .filter_map(|item| match item {
            PemItem::Certificate(certificate) => Some(certificate),
            _ => None,
        })
        .collect();
    let key: PrivateKey<'static> = pem(key)?
        .into_iter()
        .find_map(|item| match item {
            PemItem::PrivateKey(key) => Some(key),
            _ => None,
        })
        .ok_or_else(|| TlsError::Empty(key.to_owned()))?;
    Ok(ClientCert::new_with_certs(&chain, key))
}

fn pem(path: &str) -> Result<Vec<PemItem<'static>>, TlsError> {
    let bytes = std::fs::read(Path::new(path)).map_err(|source| TlsError::Read {
        path: path.to_owned(),
        source,
    })?;
    let items: Vec<PemItem<'static>> = parse_pem(&bytes).filter_map(Result::ok).collect();
    if items.is_empty() {
        return Err(TlsError::Empty(path.to_owned()));
    }
    Ok(items)
}

/// Marks what fails before anything is sent.
#[derive(Debug)]
struct Dial<C>(C);

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct NotConnected(String);

/// Nobody took the connection.
#[derive(Debug, thiserror::Error)]
#[error("i/o timeout")]
struct NotInTime;

impl<In: Transport, C: Connector<In>> Connector<In> for Dial<C> {
    type Out = C::Out;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, Error> {
        self.0.connect(details, chained).map_err(|error| {
            let words = match error {
                Error::Io(error) => format!("connect: {}", sys::error_words(&error)),
                Error::Timeout(_) => return Error::Other(Box::new(NotInTime)),
                other => other.to_string(),
            };
            Error::Other(Box::new(NotConnected(words)))
        })
    }
}
