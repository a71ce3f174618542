//! `ps`: containers that pass a filter.

use std::collections::BTreeMap;

use jiff::Timestamp;
use regex::Regex;
use serde::Deserialize;
use serde::de::IgnoredAny;
use store::ContainerListing;

use super::find::{column, unreadable};
use super::health::status_word;
use super::status_text::status_text;
use super::{ContainerError, Containers, MountPoint, NetworkSettings, Status};

/// Filters as the API has them: key → accepted values.
#[derive(Debug, Clone, Default)]
pub struct Filters(pub BTreeMap<String, Vec<String>>);

#[derive(Debug, Clone, Default)]
pub struct ListRequest {
    pub all: bool,
    /// Only the newest n, running or not.
    pub limit: Option<usize>,
    pub size: bool,
    pub filters: Filters,
}

#[derive(Debug, Clone)]
pub struct ContainerSummary {
    pub id: String,
    pub name: String,
    pub image_ref: String,
    pub image_id: String,
    /// As `ps` shows it, unquoted and untruncated.
    pub command: String,
    /// Unix seconds.
    pub created: i64,
    pub status: Status,
    /// `Up 3 seconds`, `Exited (0) 2 minutes ago`.
    pub status_text: String,
    pub labels: BTreeMap<String, String>,
    pub mounts: Vec<MountPoint>,
    pub network: NetworkSettings,
    pub size_rw: Option<i64>,
    pub size_root_fs: Option<i64>,
}

/// What lists show of a configuration; the rest of it is skipped, not read.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ShownConfig {
    exposed_ports: Option<BTreeMap<String, IgnoredAny>>,
    cmd: Option<Vec<String>>,
    entrypoint: Option<Vec<String>>,
    labels: BTreeMap<String, String>,
}

/// What lists show of a stored mount.
#[derive(Debug, Deserialize)]
struct ShownMount {
    point: MountPoint,
}

impl Filters {
    fn values(&self, key: &str) -> &[String] {
        self.0.get(key).map_or(&[], Vec::as_slice)
    }

    /// No values, or one of them fits.
    fn any(&self, key: &str, fits: impl Fn(&str) -> bool) -> bool {
        let values = self.values(key);
        values.is_empty() || values.iter().any(|value| fits(value))
    }

    /// `label`: all of them (`key` or `key=value`); `label!`: not all of them.
    pub fn labels_match(&self, labels: &BTreeMap<String, String>) -> bool {
        let has = |wanted: &String| volumes::has_label(labels, wanted);
        let excluded = self.values("label!");
        self.values("label").iter().all(has) && (excluded.is_empty() || !excluded.iter().all(has))
    }

    /// `until`: an RFC 3339 time, Unix seconds, or a duration before now (`24h`).
    pub fn until(&self) -> Result<Option<Timestamp>, ContainerError> {
        let Some(text) = self.values("until").first() else {
            return Ok(None);
        };
        let invalid = || ContainerError::Invalid(format!("invalid filter 'until={text}'"));
        if let Ok(seconds) = text.parse::<f64>() {
            return jiff::SignedDuration::try_from_secs_f64(seconds)
                .ok()
                .and_then(|since_epoch| Timestamp::from_duration(since_epoch).ok())
                .map(Some)
                .ok_or_else(invalid);
        }
        if let Ok(time) = text.parse::<Timestamp>() {
            return Ok(Some(time));
        }
        text.parse::<jiff::SignedDuration>()
            .ok()
            .and_then(|age| Timestamp::now().checked_sub(age).ok())
            .map(Some)
            .ok_or_else(invalid)
    }
}

const FILTERS: [&str; 17] = [
    "ancestor",
    "before",
    "expose",
    "exited",
    "health",
    "id",
    "isolation",
    "is-task",
    "label",
    "name",
    "network",
    "publish",
    "since",
    "status",
    "volume",
    "label!",
    "until",
];
const HEALTH: [&str; 4] = ["starting", "healthy", "unhealthy", "none"];
/// [`Status::is_active`] in words.
const ACTIVE: [&str; 3] = ["running", "paused", "restarting"];
const STATES: [&str; 7] = [
    "created",
    "restarting",
    "running",
    "removing",
    "paused",
    "exited",
    "dead",
];

impl Containers {
    /// Whether any container runs, is paused, or waits to restart.
    pub fn any_active(&self) -> Result<bool, ContainerError> {
        Ok(self.statuses()?.into_iter().any(Status::is_active))
    }

    /// Of every container that a list shows.
    pub(crate) fn statuses(&self) -> Result<Vec<Status>, ContainerError> {
        let words = self
            .store
            .read(|tx| Ok::<_, ContainerError>(tx.container_statuses()?))?;
        let statuses = words.iter().filter_map(|word| Status::parse(word));
        Ok(statuses
            .filter(|&status| status != Status::Creating)
            .collect())
    }

    /// Newest first.
    pub fn list(&self, request: &ListRequest) -> Result<Vec<ContainerSummary>, ContainerError> {
        let filters = &request.filters;
        let invalid = |text: String| Err(ContainerError::Invalid(text));
        if let Some(key) = filters
            .0
            .keys()
            .find(|key| !FILTERS.contains(&key.as_str()))
        {
            return invalid(format!("invalid filter '{key}'"));
        }
        if let Some(state) = filters
            .values("status")
            .iter()
            .find(|state| !STATES.contains(&state.as_str()))
        {
            return invalid(format!("invalid filter 'status={state}'"));
        }
        if let Some(code) = filters
            .values("exited")
            .iter()
            .find(|code| code.parse::<i32>().is_err())
        {
            return invalid(format!("invalid filter 'exited={code}'"));
        }
        if let Some(health) = filters
            .values("health")
            .iter()
            .find(|health| !HEALTH.contains(&health.as_str()))
        {
            return invalid(format!("Unrecognised filter value for health: {health}"));
        }
        let created_of = |key: &str| -> Result<Option<String>, ContainerError> {
            filters
                .values(key)
                .first()
                .map(|name| Ok(self.find(name)?.created_at))
                .transpose()
        };
        let (before, since) = (created_of("before")?, created_of("since")?);
        let all = request.all
            || request.limit.is_some()
            || !filters.values("status").is_empty()
            || !filters.values("exited").is_empty()
            || before.is_some()
            || since.is_some();
        let names = filters
            .values("name")
            .iter()
            .map(|text| {
                Regex::new(text)
                    .map_err(|_| ContainerError::Invalid(format!("invalid filter 'name={text}'")))
            })
            .collect::<Result<Vec<_>, _>>()?;
        let ancestors = self.ancestors(filters.values("ancestor"))?;
        let wanted = if all { &[][..] } else { &ACTIVE };
        let mut rows = self
            .store
            .read(|tx| Ok::<_, ContainerError>(tx.container_listings(wanted)?))?;
        rows.retain(|row| row.status != Status::Creating.as_str());
        rows.sort_unstable_by(|a, b| (&b.created_at, &a.id).cmp(&(&a.created_at, &b.id)));
        let mut found = Vec::new();
        for row in rows {
            if request.limit.is_some_and(|limit| found.len() >= limit) {
                break;
            }
            let status = Status::parse(&row.status).ok_or_else(|| unreadable(&row.id, "status"))?;
            let health = self
                .health_of(&row.id, row.health.as_deref())?
                .map_or("none", |health| status_word(health.status));
            let passes = before
                .as_ref()
                .is_none_or(|before| row.created_at < *before)
                && since.as_ref().is_none_or(|since| row.created_at > *since)
                && filters.any("id", |id| row.id.starts_with(id))
                && (names.is_empty()
                    || names.iter().any(|name| {
                        name.is_match(&row.name) || name.is_match(&format!("/{}", row.name))
                    }))
                && filters.any("status", |state| state == status.as_str())
                && filters.any("exited", |code| {
                    status == Status::Exited && code.parse() == Ok(row.exit_code)
                })
                && (filters.values("ancestor").is_empty() || ancestors.contains(&row.image_id))
                && filters.any("health", |wanted| wanted == health)
                && filters.any("is-task", |value| matches!(value, "false" | "0"));
            if passes && let Some(summary) = self.summary(row, status, health, request)? {
                found.push(summary);
            }
        }
        Ok(found)
    }

    /// Ids of the images that the `ancestor` filter names; unknown names match nothing.
    fn ancestors(&self, names: &[String]) -> Result<Vec<String>, ContainerError> {
        let mut ids = Vec::new();
        for name in names {
            match self.images.for_run(name) {
                Ok(image) => ids.push(image.id),
                Err(crate::images::ImageError::NoSuch(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(ids)
    }

    /// `None` when a filter on labels, mounts or ports rejects it.
    fn summary(
        &self,
        row: ContainerListing,
        status: Status,
        health: &str,
        request: &ListRequest,
    ) -> Result<Option<ContainerSummary>, ContainerError> {
        let filters = &request.filters;
        let config: ShownConfig = column(&row.id, "configuration", &row.config)?;
        let mounts: Vec<ShownMount> = column(&row.id, "mounts", &row.mounts)?;
        let mounts = self.located(&row.id, mounts.into_iter().map(|one| one.point).collect())?;
        let network = match &row.network {
            Some(text) => column::<NetworkSettings>(&row.id, "network", text)?.shown(status),
            None => NetworkSettings::default(),
        };
        let exposed = |wanted: &str| {
            let wanted = if wanted.contains('/') {
                wanted.to_owned()
            } else {
                format!("{wanted}/tcp")
            };
            config
                .exposed_ports
                .iter()
                .flatten()
                .any(|(port, _)| *port == wanted)
                || network.ports.contains_key(&wanted)
        };
        let published = |wanted: &str| {
            let wanted = if wanted.contains('/') {
                wanted.to_owned()
            } else {
                format!("{wanted}/tcp")
            };
            network.ports.get(&wanted).is_some_and(Option::is_some)
        };
        let fits = filters.labels_match(&config.labels)
            && filters.any("volume", |volume| {
                mounts.iter().any(|mount| {
                    mount.name == volume || mount.source == volume || mount.destination == volume
                })
            })
            && filters.any("network", |name| {
                network
                    .endpoints
                    .iter()
                    .any(|endpoint| endpoint.name == name || endpoint.network.starts_with(name))
            })
            && filters.any("expose", exposed)
            && filters.any("publish", published);
        if !fits {
            return Ok(None);
        }
        let (size_rw, size_root_fs) = if request.size {
            self.sizes(&row.id, &row.image_id)?
        } else {
            (None, None)
        };
        let command = config
            .entrypoint
            .iter()
            .chain(&config.cmd)
            .flatten()
            .enumerate()
            .map(|(at, word)| {
                // As Docker shows it: for the eye, not for a shell.
                if at > 0 && word.contains(' ') {
                    format!("'{word}'")
                } else {
                    word.clone()
                }
            })
            .collect::<Vec<_>>()
            .join(" ");
        let created = row
            .created_at
            .parse::<Timestamp>()
            .map_or(0, Timestamp::as_second);
        Ok(Some(ContainerSummary {
            status_text: status_text(&row, status, health),
            id: row.id,
            name: row.name,
            image_ref: row.image_ref,
            image_id: row.image_id,
            command,
            created,
            status,
            labels: config.labels,
            mounts,
            network,
            size_rw,
            size_root_fs,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_filters() {
        let labels = BTreeMap::from([
            ("a".to_owned(), "1".to_owned()),
            ("b".to_owned(), String::new()),
        ]);
        let with = |key: &str, values: &[&str]| {
            Filters(BTreeMap::from([(
                key.to_owned(),
                values.iter().map(|&value| value.to_owned()).collect(),
            )]))
        };
        assert!(with("label", &["a", "b="]).labels_match(&labels));
        assert!(!with("label", &["a=2"]).labels_match(&labels));
        assert!(!with("label!", &["a=1"]).labels_match(&labels));
        assert!(with("label!", &["a", "c"]).labels_match(&labels));
    }
}
