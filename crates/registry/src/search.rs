//! `search`: Docker Hub's old search, or the catalogue of a registry that has none.

use std::sync::Arc;

use serde_json::Value;

use crate::cancel::Cancel;
use crate::client::{Access, Client};
use crate::credentials::Credentials;
use crate::error::RegistryError;
use crate::name::{Repository, is_host};
use crate::session::{Session, form};
use crate::transport::{Answer, Payload};

const LIMIT: u64 = 8 << 20;
const MOST: usize = 100_000;

/// A repository that fits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    pub name: String,
    pub description: String,
    pub stars: u64,
    pub official: bool,
    pub automated: bool,
}

impl Client {
    /// Repositories whose names or descriptions fit `term`, which may begin with a registry (`localhost:5000/x`).
    ///
    /// # Errors
    /// [`RegistryError::Unsupported`] where the registry can neither search nor list.
    pub fn search(
        &self,
        term: &str,
        limit: usize,
        credentials: Option<&Credentials>,
        cancel: &Arc<Cancel>,
    ) -> Result<Vec<Found>, RegistryError> {
        let (host, word) = match term.split_once('/') {
            Some((host, word)) if is_host(host) => (host, word),
            _ => ("index.docker.io", term),
        };
        let count = limit.to_string();
        let query = form(&[("q", word), ("n", &count)]);
        if host == "index.docker.io" {
            let url = format!("https://{host}/v1/search?{query}");
            let answer = self
                .transport(host)
                .send(cancel, "GET", &url, &[], Payload::Nothing)?;
            return read(answer, "");
        }
        let endpoint = self.registry(host);
        let repository = Repository {
            host: host.to_owned(),
            path: String::new(),
        };
        let session = self.open(
            &endpoint,
            &repository,
            credentials,
            &Access::Catalogue,
            cancel,
        )?;
        let url = format!("{}/v1/search?{query}", session.base());
        let answer = session.send("GET", &url, &[], Payload::Nothing)?;
        if answer.status != 404 {
            return read(answer, host);
        }
        catalogue(&session, host, word, limit)
    }
}

/// Names that contain the word.
fn catalogue(
    session: &Session<'_>,
    host: &str,
    word: &str,
    limit: usize,
) -> Result<Vec<Found>, RegistryError> {
    let url = format!("{}/v2/_catalog?n=1000", session.base());
    let names = session
        .pages(&url, "repositories", MOST)
        .map_err(|error| match error {
            error if error.is_not_found() => RegistryError::Unsupported(format!(
                "{host} cannot be searched: it has neither a search nor a catalogue"
            )),
            error => error,
        })?;
    Ok(names
        .into_iter()
        .filter(|name| name.contains(word))
        .take(limit)
        .map(|name| Found {
            name: format!("{host}/{name}"),
            ..Found::default()
        })
        .collect())
}

fn read(answer: Answer, host: &str) -> Result<Vec<Found>, RegistryError> {
    if !answer.is_success() {
        return Err(answer.into_error());
    }
    let value = answer.json("what the search found", LIMIT)?;
    let found = value["results"].as_array().into_iter().flatten();
    Ok(found
        .map(|one| {
            let text = |key: &str| one[key].as_str().unwrap_or_default().to_owned();
            let name = text("name");
            Found {
                name: if host.is_empty() || name.starts_with(host) {
                    name
                } else {
                    format!("{host}/{name}")
                },
                description: text("description"),
                stars: one["star_count"].as_u64().unwrap_or(0),
                official: one["is_official"].as_bool().unwrap_or(false),
                automated: one.get("is_automated").and_then(Value::as_bool) == Some(true),
            }
        })
        .collect())
}
