//! What else registries are asked: whether credentials are right, what they have, what a reference leads to.

use std::sync::Arc;

use registry::{Access, Cancel, Credentials, Document, Found, Platform, Repository};

use super::config::ImageConfig;
use super::pull::{shown, translated, with_tag};
use super::{ImageError, Images, Reference};

/// Docker's number where a client names none.
const FOUND: usize = 25;
const MOST_FOUND: usize = 100;

/// Contents of `GET /distribution/…/json`.
#[derive(Debug, Clone)]
pub struct Distribution {
    pub media_type: String,
    pub digest: String,
    pub size: usize,
    /// Operating system, architecture, variant.
    pub platforms: Vec<(String, String, String)>,
}

impl Images {
    /// The token that the registry gives in exchange for a password, if it does.
    ///
    /// # Errors
    /// [`ImageError::Registry`]; one whose kind is `Denied` when the credentials are not right.
    pub fn login(
        &self,
        credentials: &Credentials,
        cancel: &Arc<Cancel>,
    ) -> Result<Option<String>, ImageError> {
        Ok(self.registries.login(credentials, cancel)?)
    }

    /// Repositories whose names or descriptions fit `term`.
    pub fn search(
        &self,
        term: &str,
        limit: Option<usize>,
        credentials: Option<&Credentials>,
        cancel: &Arc<Cancel>,
    ) -> Result<Vec<Found>, ImageError> {
        let limit = limit.filter(|limit| *limit > 0).unwrap_or(FOUND);
        if limit > MOST_FOUND {
            return Err(ImageError::Invalid(format!(
                "limit {limit} is outside the range of [1, {MOST_FOUND}]"
            )));
        }
        Ok(self.registries.search(term, limit, credentials, cancel)?)
    }

    /// What a reference leads to, without pulling it.
    pub fn distribution(
        &self,
        reference: &str,
        credentials: Option<&Credentials>,
        cancel: &Arc<Cancel>,
    ) -> Result<Distribution, ImageError> {
        let name = Reference::parse(reference)?;
        let name = match &name.digest {
            Some(_) => name,
            None => with_tag(name.clone(), Some(name.tag_or_latest()))?,
        };
        let repository = Repository::parse(&name.repository);
        let endpoint = self.registries.registry(&repository.host);
        let session =
            self.registries
                .open(&endpoint, &repository, credentials, &Access::Pull, cancel)?;
        let wanted = name
            .digest
            .as_deref()
            .unwrap_or_else(|| name.tag_or_latest());
        let shown = shown(&name);
        let fetched = session
            .manifest(wanted, &shown)
            .map_err(|error| translated(error, &name))?;
        let of = |platform: Platform| (platform.os, platform.architecture, platform.variant);
        let platforms = match fetched.document(&shown)? {
            Document::Index(index) => index
                .manifests
                .into_iter()
                .filter_map(|entry| entry.platform.map(of))
                .collect(),
            Document::Image(manifest) => {
                let bytes = session.document(&manifest.config)?;
                let config = ImageConfig::parse(&bytes)?;
                vec![(config.os, config.architecture, config.variant)]
            }
        };
        Ok(Distribution {
            media_type: fetched.media_type,
            digest: fetched.digest,
            size: fetched.bytes.len(),
            platforms,
        })
    }
}
