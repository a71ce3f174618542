//! `--change` of import and commit: Dockerfile instructions that touch only the configuration.

use dockerfile::{Kind, expand, parse_instruction};

use super::ImageError;
use crate::build::BuildError;
use crate::build::settings::{self, Expand};
use crate::containers::Config;

const ESCAPE: char = '\\';

/// Applies CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME and WORKDIR.
pub fn apply_changes(config: &mut Config, changes: &[String]) -> Result<(), ImageError> {
    for change in changes {
        for line in change
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
        {
            apply(config, line)?;
        }
    }
    Ok(())
}

fn apply(config: &mut Config, line: &str) -> Result<(), ImageError> {
    let invalid = |why: String| ImageError::Invalid(format!("invalid change \"{line}\": {why}"));
    let word = line.split_whitespace().next().unwrap_or(line);
    let unsuited = || {
        let word = word.to_ascii_uppercase();
        ImageError::Invalid(format!("{word} is not a valid change command"))
    };
    let instruction = parse_instruction(line, ESCAPE).map_err(|error| {
        if error.text.starts_with("unknown instruction") {
            unsuited()
        } else {
            invalid(error.text.clone())
        }
    })?;
    if matches!(
        instruction.kind,
        Kind::Add(_)
            | Kind::Copy(_)
            | Kind::Arg(_)
            | Kind::Run(_)
            | Kind::Shell(_)
            | Kind::Maintainer(_)
    ) {
        return Err(unsuited());
    }
    settings::apply(config, &instruction.kind, &Environment)
        .map(drop)
        .map_err(|error| invalid(error.to_string()))
}

/// Variables are those of the configuration itself.
struct Environment;

impl Environment {
    fn get(config: &Config, name: &str) -> Option<String> {
        config.env.iter().find_map(|entry| {
            let (key, value) = entry.split_once('=')?;
            (key == name).then(|| value.to_owned())
        })
    }

    fn failed(error: &expand::ExpandError) -> BuildError {
        BuildError::Invalid(error.reason.to_string())
    }
}

impl Expand for Environment {
    fn word(&self, text: &str, config: &Config) -> Result<String, BuildError> {
        expand::word(text, ESCAPE, &|name| Self::get(config, name))
            .map_err(|error| Self::failed(&error))
    }

    fn words(&self, text: &str, config: &Config) -> Result<Vec<String>, BuildError> {
        expand::words(text, ESCAPE, &|name| Self::get(config, name))
            .map_err(|error| Self::failed(&error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(lines: &[&str]) -> Config {
        let mut config = Config::default();
        let lines: Vec<String> = lines.iter().map(|&line| line.to_owned()).collect();
        apply_changes(&mut config, &lines).expect("valid changes");
        config
    }

    #[test]
    fn instructions() {
        let config = changed(&[
            "CMD [\"/bin/true\"]",
            "env A=1 B=\"two words\"",
            "ENV C see$A",
            "VOLUME /a /b",
            "VOLUME [\"/c\"]",
            "EXPOSE 80 53/udp",
            "WORKDIR /srv",
            "WORKDIR sub",
            "LABEL x='y z'",
            "HEALTHCHECK --interval=2s CMD true",
            "ONBUILD RUN x",
        ]);
        assert_eq!(config.cmd, Some(vec!["/bin/true".to_owned()]));
        assert_eq!(config.env, ["A=1", "B=two words", "C=see1"]);
        assert_eq!(
            config.volumes.expect("set").into_keys().collect::<Vec<_>>(),
            ["/a", "/b", "/c"]
        );
        assert_eq!(
            config
                .exposed_ports
                .expect("set")
                .into_keys()
                .collect::<Vec<_>>(),
            ["53/udp", "80/tcp"]
        );
        assert_eq!(config.working_dir, "/srv/sub");
        assert_eq!(config.labels["x"], "y z");
        assert_eq!(
            config.healthcheck.expect("set"),
            crate::containers::Healthcheck {
                test: vec!["CMD-SHELL".to_owned(), "true".to_owned()],
                interval: 2_000_000_000,
                ..Default::default()
            }
        );
        assert_eq!(config.on_build.expect("set"), ["RUN x"]);
        assert_eq!(
            changed(&["CMD echo hi"]).cmd.expect("set"),
            ["/bin/sh", "-c", "echo hi"]
        );
    }

    #[test]
    fn refusals() {
        for (line, text) in [
            ("RUN x", "RUN is not a valid change command"),
            ("shell [\"x\"]", "SHELL is not a valid change command"),
            (
                "USER",
                "invalid change \"USER\": USER requires exactly one argument",
            ),
            (
                "VOLUME [\"\"]",
                "invalid change \"VOLUME [\"\"]\": VOLUME specified can not be an empty string",
            ),
            (
                "EXPOSE x",
                "invalid change \"EXPOSE x\": invalid containerPort: x",
            ),
            ("CMMD x", "CMMD is not a valid change command"),
        ] {
            let error = apply_changes(&mut Config::default(), &[line.to_owned()]).expect_err(line);
            assert_eq!(error.to_string(), text);
        }
    }
}
