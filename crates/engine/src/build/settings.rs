//! Instructions that change nothing but an image's configuration; also what `commit --change` and `import --change` take.

use std::collections::BTreeMap;

use dockerfile::{Command, Healthcheck, Kind};
use serde_json::json;

use super::BuildError;
use crate::containers::{self, Config};

const SHELL: [&str; 2] = ["/bin/sh", "-c"];

/// Replaces variables and takes quotes away.
pub(crate) trait Expand {
    fn word(&self, text: &str, config: &Config) -> Result<String, BuildError>;
    fn words(&self, text: &str, config: &Config) -> Result<Vec<String>, BuildError>;
}

/// Applies an instruction; what it did, for the image's history. `None`: it is none of this kind.
pub(crate) fn apply(
    config: &mut Config,
    kind: &Kind,
    expand: &dyn Expand,
) -> Result<Option<String>, BuildError> {
    Ok(Some(match kind {
        Kind::Cmd(command) => {
            config.cmd = line(command, config);
            format!("CMD {}", shown(config.cmd.as_ref()))
        }
        Kind::Entrypoint(command) => {
            config.entrypoint = line(command, config);
            format!("ENTRYPOINT {}", shown(config.entrypoint.as_ref()))
        }
        Kind::Env(pairs) => {
            let pairs = expanded(pairs, config, expand)?;
            for (name, value) in &pairs {
                let entry = format!("{name}={value}");
                let known = config
                    .env
                    .iter_mut()
                    .find(|known| known.split('=').next() == Some(name));
                match known {
                    Some(known) => *known = entry,
                    None => config.env.push(entry),
                }
            }
            format!("ENV {}", joined(&pairs))
        }
        Kind::Label(pairs) => {
            let pairs = expanded(pairs, config, expand)?;
            config.labels.extend(pairs.iter().cloned());
            format!("LABEL {}", joined(&pairs))
        }
        Kind::Expose(ports) => {
            let mut list = Vec::new();
            for port in ports {
                for word in expand.words(port, config)? {
                    list.extend(self::ports(&word)?);
                }
            }
            config
                .exposed_ports
                .get_or_insert_with(BTreeMap::new)
                .extend(list.iter().map(|port| (port.clone(), json!({}))));
            format!("EXPOSE {}", list.join(" "))
        }
        Kind::Volume(volumes) => {
            let mut list = Vec::new();
            for volume in volumes {
                let volume = expand.word(volume, config)?.trim().to_owned();
                if volume.is_empty() {
                    return Err(BuildError::Invalid(
                        "VOLUME specified can not be an empty string".to_owned(),
                    ));
                }
                list.push(volume);
            }
            config
                .volumes
                .get_or_insert_with(BTreeMap::new)
                .extend(list.iter().map(|volume| (volume.clone(), json!({}))));
            format!("VOLUME {}", shown(Some(&list)))
        }
        Kind::User(user) => {
            config.user = expand.word(user, config)?;
            if config.user.is_empty() {
                return Err(BuildError::Invalid(
                    "USER requires exactly one argument: what it names is empty".to_owned(),
                ));
            }
            format!("USER {}", config.user)
        }
        Kind::Workdir(path) => {
            let path = expand.word(path, config)?;
            if path.is_empty() {
                return Err(BuildError::Invalid(
                    "cannot normalize nothing: WORKDIR names no directory".to_owned(),
                ));
            }
            config.working_dir = absolute(&path, &config.working_dir);
            format!("WORKDIR {}", config.working_dir)
        }
        Kind::Stopsignal(signal) => {
            let signal = expand.word(signal, config)?;
            containers::kill::signal_number(&signal)
                .map_err(|error| BuildError::Invalid(error.to_string()))?;
            config.stop_signal = Some(signal.clone());
            format!("STOPSIGNAL {signal}")
        }
        Kind::Onbuild(trigger) => {
            let triggers = config.on_build.get_or_insert_with(Vec::new);
            triggers.push(trigger.text.clone());
            format!("ONBUILD {}", trigger.text)
        }
        Kind::Healthcheck(check) => {
            let (value, text) = healthcheck(check, config)?;
            config.healthcheck = Some(value);
            text
        }
        Kind::Shell(words) => {
            config.shell = Some(words.clone());
            format!("SHELL {}", shown(Some(words)))
        }
        Kind::Maintainer(name) => format!("MAINTAINER {name}"),
        Kind::Add(_) | Kind::Copy(_) | Kind::Arg(_) | Kind::Run(_) => return Ok(None),
    }))
}

/// The words of a command: those of the shell form begin with the shell. Nothing for an empty array.
pub(super) fn line(command: &Command, config: &Config) -> Option<Vec<String>> {
    match command {
        Command::Exec(words) => (!words.is_empty()).then(|| words.clone()),
        Command::Shell(text) => {
            let mut words = shell(config);
            words.push(text.clone());
            Some(words)
        }
    }
}

pub(super) fn shell(config: &Config) -> Vec<String> {
    config
        .shell
        .clone()
        .filter(|words| !words.is_empty())
        .unwrap_or_else(|| SHELL.map(str::to_owned).to_vec())
}

/// A path of a `WORKDIR`, clean, on top of the one before.
pub(super) fn absolute(path: &str, before: &str) -> String {
    let whole = if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("/{before}/{path}")
    };
    containers::mounts::clean(&whole)
}

fn expanded(
    pairs: &[(String, String)],
    config: &Config,
    expand: &dyn Expand,
) -> Result<Vec<(String, String)>, BuildError> {
    // All see the environment before the instruction.
    pairs
        .iter()
        .map(|(name, value)| {
            let name = expand.word(name, config)?;
            if name.is_empty() {
                return Err(BuildError::Invalid("ENV names can not be blank".to_owned()));
            }
            Ok((name, expand.word(value, config)?))
        })
        .collect()
}

fn joined(pairs: &[(String, String)]) -> String {
    let list: Vec<String> = pairs
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    list.join(" ")
}

/// As Docker's history shows arrays.
fn shown(words: Option<&Vec<String>>) -> String {
    serde_json::to_string(words.map_or(&[][..], Vec::as_slice)).expect("strings serialise")
}

/// `80`, `80/udp`, `8000-8002/tcp`.
fn ports(text: &str) -> Result<Vec<String>, BuildError> {
    let invalid = || BuildError::Invalid(format!("invalid containerPort: {text}"));
    let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(BuildError::Invalid(format!("invalid proto: {protocol}")));
    }
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let first: u16 = first.parse().map_err(|_| invalid())?;
    let last: u16 = last.parse().map_err(|_| invalid())?;
    if first == 0 || last < first {
        return Err(invalid());
    }
    Ok((first..=last)
        .map(|port| format!("{port}/{protocol}"))
        .collect())
}

fn healthcheck(
    check: &Healthcheck,
    config: &Config,
) -> Result<(containers::Healthcheck, String), BuildError> {
    let Healthcheck::Check {
        command,
        interval,
        timeout,
        start_period,
        start_interval,
        retries,
    } = check
    else {
        let none = containers::Healthcheck {
            test: vec!["NONE".to_owned()],
            ..Default::default()
        };
        return Ok((none, "HEALTHCHECK NONE".to_owned()));
    };
    let test: Vec<String> = match command {
        Command::Exec(words) => std::iter::once("CMD".to_owned())
            .chain(words.iter().cloned())
            .collect(),
        // The shell is not recorded with the test: one that is not the usual one must be part of it.
        Command::Shell(text) if config.shell.is_none() => {
            vec!["CMD-SHELL".to_owned(), text.clone()]
        }
        Command::Shell(text) => std::iter::once("CMD".to_owned())
            .chain(shell(config))
            .chain([text.clone()])
            .collect(),
    };
    let mut value = containers::Healthcheck {
        test,
        ..Default::default()
    };
    let mut text = "HEALTHCHECK".to_owned();
    for (field, flag, given) in [
        (&mut value.interval, "interval", interval),
        (&mut value.timeout, "timeout", timeout),
        (&mut value.start_period, "start-period", start_period),
        (&mut value.start_interval, "start-interval", start_interval),
    ] {
        if let Some(given) = given {
            let duration = dockerfile::duration::parse(given)
                .map_err(|error| BuildError::Invalid(error.to_string()))?;
            *field = i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
            text.push_str(&format!(" --{flag}={given}"));
        }
    }
    if let Some(retries) = retries {
        value.retries = i64::from(*retries);
        text.push_str(&format!(" --retries={retries}"));
    }
    text.push_str(&format!(" {}", shown(Some(&value.test))));
    Ok((value, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_specifications() {
        assert_eq!(ports("80").unwrap(), ["80/tcp"]);
        assert_eq!(ports("53-54/UDP").unwrap(), ["53/udp", "54/udp"]);
        for wrong in ["", "0", "70000", "2-1", "80/http", "a"] {
            assert!(ports(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn working_directories() {
        for (path, before, wanted) in [
            ("/a/../b", "/x", "/b"),
            ("c", "", "/c"),
            ("c/", "/a", "/a/c"),
            ("..", "/a/b", "/a"),
        ] {
            assert_eq!(absolute(path, before), wanted);
        }
    }
}
