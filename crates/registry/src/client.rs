//! From settings to sessions: which hosts are asked for a repository, and how.

use std::sync::{Arc, OnceLock};

use ureq::tls::Certificate;

use crate::cancel::Cancel;
use crate::credentials::Credentials;
use crate::error::RegistryError;
use crate::name::{Repository, server};
use crate::session::Session;
use crate::settings::Settings;
use crate::transport::{Transport, Trust, system_authorities};

/// What an engine knows of registries. Cheap to use from many threads.
#[derive(Debug)]
pub struct Client {
    pub(crate) settings: Settings,
    /// Read at the first use: most commands need none.
    authorities: OnceLock<Vec<Certificate<'static>>>,
}

/// One host that may have a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// `localhost:5000`, or a mirror.
    pub registry: String,
    /// With scheme; tried in order.
    pub(crate) urls: Vec<String>,
    /// Stands in for another registry, and is not shown its credentials.
    pub is_mirror: bool,
}

/// What a session is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    Pull,
    /// Blobs may be taken over from the named repositories (paths) of the same registry.
    Push {
        from: Vec<String>,
    },
    Catalogue,
    /// Only whether the credentials are right.
    Login,
}

impl Client {
    /// # Errors
    /// [`RegistryError::Setting`].
    pub fn new(settings: Settings) -> Result<Self, RegistryError> {
        settings.check()?;
        Ok(Self {
            settings,
            authorities: OnceLock::new(),
        })
    }

    /// Where a repository can be pulled from: mirrors first.
    #[must_use]
    pub fn sources(&self, repository: &Repository) -> Vec<Endpoint> {
        let mut endpoints = Vec::new();
        if repository.is_hub() {
            endpoints.extend(self.settings.mirrors.iter().map(|mirror| {
                let url = mirror.trim_end_matches('/').to_owned();
                Endpoint {
                    registry: url.split("://").nth(1).unwrap_or_default().to_owned(),
                    urls: vec![url],
                    is_mirror: true,
                }
            }));
        }
        endpoints.push(self.registry(&repository.host));
        endpoints
    }

    /// The registry itself.
    #[must_use]
    pub fn registry(&self, host: &str) -> Endpoint {
        let registry = server(host);
        let mut urls = vec![format!("https://{registry}")];
        if self.settings.is_insecure(registry) {
            urls.push(format!("http://{registry}"));
        }
        Endpoint {
            registry: registry.to_owned(),
            urls,
            is_mirror: false,
        }
    }

    /// Greets a registry and learns how it wants to be asked. `cancel` ends everything that the session does.
    ///
    /// # Errors
    /// When nobody answers, or what answers is no registry.
    pub fn open(
        &self,
        endpoint: &Endpoint,
        repository: &Repository,
        credentials: Option<&Credentials>,
        access: &Access,
        cancel: &Arc<Cancel>,
    ) -> Result<Session<'_>, RegistryError> {
        let transport = self.transport(&endpoint.registry);
        let credentials = credentials
            .filter(|credentials| !endpoint.is_mirror && !credentials.is_empty())
            .cloned();
        let mut failed = None;
        for url in &endpoint.urls {
            match Session::greet(
                self,
                transport.clone(),
                url,
                repository,
                credentials.clone(),
                access,
                cancel,
            ) {
                Ok(session) => return Ok(session),
                // TLS was refused; where that is allowed, plain HTTP comes next.
                Err(error @ RegistryError::Request { .. }) => failed = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(failed.expect("an endpoint has at least one URL"))
    }

    pub(crate) fn transport(&self, registry: &str) -> Transport {
        let trust = if self.settings.is_insecure(registry) {
            Trust::Anybody
        } else {
            Trust::Verified
        };
        Transport::new(
            registry,
            trust,
            &self.settings.certificates,
            self.authorities.get_or_init(system_authorities),
        )
    }
}
