//! `ps`: containers that pass a filter.

use std::collections::BTreeMap;

use jiff::Timestamp;
use regex::Regex;
use store::ContainerRow;

use super::find::Columns as _;
use super::health::status_word;
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
        let has = |wanted: &String| match wanted.split_once('=') {
            Some((key, value)) => labels.get(key).is_some_and(|known| known == value),
            None => labels.contains_key(wanted),
        };
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
        let rows = self
            .store
            .read(|tx| Ok::<_, ContainerError>(tx.containers()?))?;
        Ok(rows
            .iter()
            .any(|row| Status::parse(&row.status).is_some_and(Status::is_active)))
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
        let mut rows = self
            .store
            .read(|tx| Ok::<_, ContainerError>(tx.containers()?))?;
        rows.retain(|row| row.status != Status::Creating.as_str());
        rows.sort_by(|a, b| b.created_at.cmp(&a.created_at));
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
        let mut found = Vec::new();
        for row in rows {
            if request.limit.is_some_and(|limit| found.len() >= limit) {
                break;
            }
            let status = row.status()?;
            let health = self
                .health(&row)?
                .map_or("none", |health| status_word(health.status));
            let passes = (all || status.is_active())
                && before
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
        row: ContainerRow,
        status: Status,
        health: &str,
        request: &ListRequest,
    ) -> Result<Option<ContainerSummary>, ContainerError> {
        let filters = &request.filters;
        let config = row.config()?;
        let mounts = self.mount_points(&row)?;
        let network = self.network_settings(&row)?;
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
            self.sizes(&row)?
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

fn status_text(row: &ContainerRow, status: Status, health: &str) -> String {
    let ago = |time: &str| {
        let then = time.parse().unwrap_or(Timestamp::UNIX_EPOCH);
        human_duration(Timestamp::now().duration_since(then).as_secs())
    };
    match status {
        Status::Running => {
            let health = match health {
                "none" => String::new(),
                "starting" => " (health: starting)".to_owned(),
                other => format!(" ({other})"),
            };
            format!("Up {}{health}", ago(&row.started_at))
        }
        Status::Paused => format!("Up {} (Paused)", ago(&row.started_at)),
        Status::Restarting => format!(
            "Restarting ({}) {} ago",
            row.exit_code,
            ago(&row.finished_at)
        ),
        Status::Exited => format!("Exited ({}) {} ago", row.exit_code, ago(&row.finished_at)),
        Status::Created | Status::Creating => "Created".to_owned(),
        Status::Removing => "Removal In Progress".to_owned(),
        Status::Dead => "Dead".to_owned(),
    }
}

/// A duration in Docker's rounded words.
fn human_duration(seconds: i64) -> String {
    let (minutes, hours) = (seconds / 60, (seconds + 1800) / 3600);
    match () {
        () if seconds < 1 => "Less than a second".to_owned(),
        () if seconds == 1 => "1 second".to_owned(),
        () if seconds < 60 => format!("{seconds} seconds"),
        () if minutes == 1 => "About a minute".to_owned(),
        () if minutes < 60 => format!("{minutes} minutes"),
        () if hours == 1 => "About an hour".to_owned(),
        () if hours < 48 => format!("{hours} hours"),
        () if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        () if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        () if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        () => format!("{} years", hours / 24 / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_dockers_words() {
        for (seconds, words) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (150, "2 minutes"),
            (3600, "About an hour"),
            (7200, "2 hours"),
            (3 * 86400, "3 days"),
            (21 * 86400, "3 weeks"),
            (90 * 86400, "3 months"),
            (800 * 86400, "2 years"),
        ] {
            assert_eq!(human_duration(seconds), words);
        }
    }

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
