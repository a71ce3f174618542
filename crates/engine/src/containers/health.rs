//! Health checks: what a configuration means, and what the shim's probes have found.
//!
//! The shim probes and judges (its rules are there); the engine remembers what it hears and tells of it. While a
//! container runs, its health is in memory, and in its row as of the last change of status: a probe writes nothing to
//! the disk. An engine that finds the container again asks the shim.

use std::sync::PoisonError;

use shim_protocol::spec::{HealthCheck, Process};
use shim_protocol::{HealthRecord, HealthStatus, ProbeRecord};
use store::ContainerRow;

use super::config::Healthcheck;
use super::create::to_json;
use super::exec::event_words;
use super::find::Columns as _;
use super::{Config, ContainerError, Containers};

const SECOND: u64 = 1_000_000_000;
const INTERVAL: u64 = 30 * SECOND;
const TIMEOUT: u64 = 30 * SECOND;
const START_INTERVAL: u64 = 5 * SECOND;
const RETRIES: u32 = 3;

/// The shortest duration that Docker takes: a millisecond.
const SHORTEST: i64 = 1_000_000;

/// Probes that are remembered, as in the shim.
const KEPT: usize = 5;

/// Docker's word for a status.
pub fn status_word(status: HealthStatus) -> &'static str {
    match status {
        HealthStatus::Starting => "starting",
        HealthStatus::Healthy => "healthy",
        HealthStatus::Unhealthy => "unhealthy",
    }
}

/// What a request leaves open comes from the image, field by field.
pub(super) fn inherit(check: &mut Healthcheck, image: &Healthcheck) {
    if check.test.is_empty() {
        check.test.clone_from(&image.test);
    }
    for (own, images) in [
        (&mut check.interval, image.interval),
        (&mut check.timeout, image.timeout),
        (&mut check.start_period, image.start_period),
        (&mut check.start_interval, image.start_interval),
        (&mut check.retries, image.retries),
    ] {
        if *own == 0 {
            *own = images;
        }
    }
}

/// Refuses what Docker refuses.
pub(super) fn validate(check: &Healthcheck) -> Result<(), ContainerError> {
    for (name, value) in [
        ("Interval", check.interval),
        ("Timeout", check.timeout),
        ("StartPeriod", check.start_period),
        ("StartInterval", check.start_interval),
    ] {
        if value != 0 && value < SHORTEST {
            return Err(ContainerError::Invalid(format!(
                "{name} in Healthcheck cannot be less than 1ms"
            )));
        }
    }
    if check.retries < 0 {
        return Err(ContainerError::Invalid(
            "Retries in Healthcheck cannot be negative".to_owned(),
        ));
    }
    Ok(())
}

/// The command of a check; `None` when there is none. An unknown kind checks nothing, as in Docker.
fn command(config: &Config) -> Option<Vec<String>> {
    let (kind, words) = config.healthcheck.as_ref()?.test.split_first()?;
    let shell = match kind.as_str() {
        "CMD" => Vec::new(),
        "CMD-SHELL" => config
            .shell
            .clone()
            .filter(|shell| !shell.is_empty())
            .unwrap_or_else(|| ["/bin/sh", "-c"].map(str::to_owned).to_vec()),
        _ => return None,
    };
    let words: Vec<String> = shell.into_iter().chain(words.iter().cloned()).collect();
    (!words.is_empty()).then_some(words)
}

/// What the shim of a container is to do; `process` is the container's own, without a terminal.
pub(super) fn plan(config: &Config, process: Process) -> Option<HealthCheck> {
    let args = command(config)?;
    let check = config.healthcheck.as_ref()?;
    let or = |value: i64, default: u64| match u64::try_from(value) {
        Ok(0) | Err(_) => default,
        Ok(value) => value,
    };
    Some(HealthCheck {
        process: Process {
            args,
            tty: false,
            console_size: None,
            ..process
        },
        interval: or(check.interval, INTERVAL),
        timeout: or(check.timeout, TIMEOUT),
        start_period: or(check.start_period, 0),
        start_interval: or(check.start_interval, START_INTERVAL),
        retries: u32::try_from(check.retries)
            .ok()
            .filter(|&retries| retries > 0)
            .unwrap_or(RETRIES),
    })
}

/// A result of the shim's, and what follows from it.
#[derive(Debug)]
pub(super) struct Probed {
    pub(super) exec: String,
    pub(super) code: Option<i32>,
    pub(super) status: HealthStatus,
    pub(super) failing_streak: u32,
    pub(super) probe: ProbeRecord,
}

impl Containers {
    /// The health of a container that has a check and was started.
    pub(crate) fn health(
        &self,
        row: &ContainerRow,
    ) -> Result<Option<HealthRecord>, ContainerError> {
        self.health_of(&row.id, row.health.as_deref())
    }

    /// `stored`: what the container's row says of it.
    pub(super) fn health_of(
        &self,
        id: &str,
        stored: Option<&str>,
    ) -> Result<Option<HealthRecord>, ContainerError> {
        // The start of a container that has a check wrote something here.
        let Some(text) = stored else {
            return Ok(None);
        };
        let known = self
            .live(id)
            .health
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if known.is_some() {
            return Ok(known);
        }
        serde_json::from_str(text)
            .map(Some)
            .map_err(|error| ContainerError::Io {
                action: format!("stored health of container {id} cannot be read"),
                source: error.into(),
            })
    }

    /// What the shim says of a container that has just started, or was found running; the form in which it is stored.
    pub(super) fn adopt_health(&self, id: &str, health: Option<&HealthRecord>) -> Option<String> {
        let live = self.live(id);
        *live.health.lock().unwrap_or_else(PoisonError::into_inner) = health.cloned();
        health.map(to_json)
    }

    /// A container that has ended, or is frozen, is not well; the form in which that is stored.
    pub(super) fn end_health(&self, row: &ContainerRow) -> Option<String> {
        let mut health = self.health(row).ok().flatten()?;
        health.status = HealthStatus::Unhealthy;
        self.adopt_health(&row.id, Some(&health))
    }

    /// A probe begins.
    pub(super) fn probing(&self, id: &str, exec: &str) -> Result<(), ContainerError> {
        let row = self.find(id)?;
        if let Some(words) = command(&row.config()?) {
            let words = event_words(&words);
            for action in ["exec_create", "exec_start"] {
                self.publish(&row, &format!("{action}: {words}"), &[("execID", exec)]);
            }
        }
        Ok(())
    }

    /// A probe is over.
    pub(super) fn probed(&self, id: &str, probed: Probed) -> Result<(), ContainerError> {
        let Probed {
            exec,
            code,
            status,
            failing_streak,
            probe,
        } = probed;
        let row = self.find(id)?;
        if let Some(code) = code {
            let attributes = [("execID", exec.as_str()), ("exitCode", &code.to_string())];
            self.publish(&row, "exec_die", &attributes);
        }
        let before = self.health(&row)?;
        let mut log = before
            .as_ref()
            .map(|health| health.log.clone())
            .unwrap_or_default();
        if log.len() >= KEPT {
            log.drain(..=log.len() - KEPT);
        }
        log.push(probe);
        let health = HealthRecord {
            status,
            failing_streak,
            log,
        };
        let stored = self.adopt_health(id, Some(&health));
        if before.is_some_and(|before| before.status == status) {
            return Ok(());
        }
        let row = self.change_state(id, |row| row.health = stored)?;
        self.publish(
            &row,
            &format!("health_status: {}", status_word(status)),
            &[],
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(list: &[&str]) -> Vec<String> {
        list.iter().map(|&word| word.to_owned()).collect()
    }

    #[test]
    fn commands() {
        let config = |test: &[&str], shell: Option<Vec<String>>| Config {
            healthcheck: Some(Healthcheck {
                test: words(test),
                ..Healthcheck::default()
            }),
            shell,
            ..Config::default()
        };
        let bash = Some(words(&["/bin/bash", "-ec"]));
        for (test, shell, wanted) in [
            (&["CMD", "a", "b"][..], None, Some(words(&["a", "b"]))),
            (
                &["CMD-SHELL", "a b"],
                None,
                Some(words(&["/bin/sh", "-c", "a b"])),
            ),
            (
                &["CMD-SHELL", "a"],
                bash,
                Some(words(&["/bin/bash", "-ec", "a"])),
            ),
            (&["NONE"], None, None),
            (&["CMD"], None, None),
            (&["ELSE", "x"], None, None),
            (&[], None, None),
        ] {
            assert_eq!(command(&config(test, shell)), wanted, "{test:?}");
        }
        assert_eq!(command(&Config::default()), None);
    }

    #[test]
    fn the_image_fills_what_is_open() {
        let image = Healthcheck {
            test: words(&["CMD", "x"]),
            interval: 5,
            timeout: 6,
            start_period: 7,
            start_interval: 8,
            retries: 9,
        };
        let mut check = Healthcheck {
            interval: 1,
            ..Healthcheck::default()
        };
        inherit(&mut check, &image);
        assert_eq!(
            check,
            Healthcheck {
                interval: 1,
                ..image.clone()
            }
        );
        let mut none = Healthcheck {
            test: words(&["NONE"]),
            ..Healthcheck::default()
        };
        inherit(&mut none, &image);
        assert_eq!(none.test, ["NONE"]);
    }

    #[test]
    fn refusals() {
        let refused = |check: Healthcheck| validate(&check).expect_err("refused").to_string();
        let short = Healthcheck {
            interval: 999_999,
            ..Healthcheck::default()
        };
        assert_eq!(
            refused(short),
            "Interval in Healthcheck cannot be less than 1ms"
        );
        let negative = Healthcheck {
            retries: -1,
            ..Healthcheck::default()
        };
        assert_eq!(
            refused(negative),
            "Retries in Healthcheck cannot be negative"
        );
        validate(&Healthcheck::default()).expect("zero is the default");
    }
}
