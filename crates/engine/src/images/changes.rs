//! `--change` of import and commit: Dockerfile instructions that touch only the configuration.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::ImageError;
use crate::containers::Config;

/// Applies CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK NONE, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME and WORKDIR.
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
    let invalid = |why: &str| ImageError::Invalid(format!("invalid change \"{line}\": {why}"));
    let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let rest = rest.trim();
    let instruction = word.to_ascii_uppercase();
    if rest.is_empty() {
        return Err(invalid(&format!(
            "{instruction} requires at least one argument"
        )));
    }
    match instruction.as_str() {
        "CMD" => config.cmd = Some(command(rest)),
        "ENTRYPOINT" => config.entrypoint = Some(command(rest)),
        "ENV" => {
            for (key, value) in pairs(rest).map_err(invalid)? {
                config
                    .env
                    .retain(|entry| entry.split('=').next() != Some(&key));
                config.env.push(format!("{key}={value}"));
            }
        }
        "LABEL" => config.labels.extend(pairs(rest).map_err(invalid)?),
        "EXPOSE" => {
            let ports = config.exposed_ports.get_or_insert_with(BTreeMap::new);
            for port in words(rest).map_err(invalid)? {
                let (number, protocol) = port.split_once('/').unwrap_or((&port, "tcp"));
                let valid = number
                    .split('-')
                    .all(|number| number.parse::<u16>().is_ok_and(|port| port > 0));
                if !valid || !matches!(protocol, "tcp" | "udp" | "sctp") {
                    return Err(invalid(&format!("invalid containerPort: {port}")));
                }
                ports.insert(format!("{number}/{protocol}"), json!({}));
            }
        }
        "VOLUME" => {
            let volumes = config.volumes.get_or_insert_with(BTreeMap::new);
            let list = match exec_form(rest) {
                Some(list) => list,
                None => words(rest).map_err(invalid)?,
            };
            for volume in list.iter().map(|volume| volume.trim()) {
                if volume.is_empty() {
                    return Err(invalid("VOLUME specified can not be an empty string"));
                }
                volumes.insert(volume.to_owned(), json!({}));
            }
        }
        "USER" => rest.clone_into(&mut config.user),
        "WORKDIR" => {
            config.working_dir = if rest.starts_with('/') {
                rest.to_owned()
            } else {
                format!("{}/{rest}", config.working_dir.trim_end_matches('/'))
            };
        }
        "STOPSIGNAL" => config.stop_signal = Some(rest.to_owned()),
        "ONBUILD" => config
            .on_build
            .get_or_insert_with(Vec::new)
            .push(rest.to_owned()),
        "HEALTHCHECK" if rest.eq_ignore_ascii_case("none") => {
            config.healthcheck = Some(json!({ "Test": ["NONE"] }));
        }
        "HEALTHCHECK" => {
            let test = rest
                .strip_prefix("CMD")
                .ok_or_else(|| invalid("unknown HEALTHCHECK type"))?
                .trim();
            let test: Vec<String> = match exec_form(test) {
                Some(list) => std::iter::once("CMD".to_owned()).chain(list).collect(),
                None => vec!["CMD-SHELL".to_owned(), test.to_owned()],
            };
            config.healthcheck = Some(json!({ "Test": test }));
        }
        other => {
            return Err(ImageError::Invalid(format!(
                "{other} is not a valid change command"
            )));
        }
    }
    Ok(())
}

/// The JSON form, or a line for the shell.
fn command(text: &str) -> Vec<String> {
    exec_form(text).unwrap_or_else(|| vec!["/bin/sh".to_owned(), "-c".to_owned(), text.to_owned()])
}

fn exec_form(text: &str) -> Option<Vec<String>> {
    let Ok(Value::Array(list)) = serde_json::from_str(text) else {
        return None;
    };
    list.into_iter()
        .map(|word| word.as_str().map(str::to_owned))
        .collect()
}

/// `K=V K2="v 2"`, or the old form `K V`.
fn pairs(text: &str) -> Result<Vec<(String, String)>, &'static str> {
    let first = text.split_whitespace().next().unwrap_or_default();
    if !first.contains('=') {
        let (key, value) = text
            .split_once(char::is_whitespace)
            .ok_or("must have two arguments")?;
        return Ok(vec![(key.to_owned(), value.trim().to_owned())]);
    }
    words(text)?
        .into_iter()
        .map(|word| match word.split_once('=') {
            Some(("", _)) | None => Err("syntax error - can't find = in an argument"),
            Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
        })
        .collect()
}

/// Words separated by blanks; quotes and backslashes as in a Dockerfile.
fn words(text: &str) -> Result<Vec<String>, &'static str> {
    let mut list = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match (letter, quote) {
            ('\\', quote) if quote != Some('\'') => {
                word.get_or_insert_default().extend(letters.next());
            }
            (letter, Some(open)) if letter == open => quote = None,
            ('"' | '\'', None) => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (blank, None) if blank.is_whitespace() => list.extend(word.take()),
            (letter, _) => word.get_or_insert_default().push(letter),
        }
    }
    if quote.is_some() {
        return Err("unexpected end of statement while looking for matching quote");
    }
    list.extend(word);
    Ok(list)
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
            "ENV C see",
            "VOLUME /a /b",
            "VOLUME [\"/c\"]",
            "EXPOSE 80 53/udp",
            "WORKDIR /srv",
            "WORKDIR sub",
            "LABEL x='y z'",
        ]);
        assert_eq!(config.cmd, Some(vec!["/bin/true".to_owned()]));
        assert_eq!(config.env, ["A=1", "B=two words", "C=see"]);
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
            changed(&["CMD echo hi"]).cmd.expect("set"),
            ["/bin/sh", "-c", "echo hi"]
        );
    }

    #[test]
    fn refusals() {
        for (line, text) in [
            ("RUN x", "RUN is not a valid change command"),
            (
                "CMD",
                "invalid change \"CMD\": CMD requires at least one argument",
            ),
            (
                "VOLUME [\"\"]",
                "invalid change \"VOLUME [\"\"]\": VOLUME specified can not be an empty string",
            ),
            (
                "ENV A=\"x",
                "invalid change \"ENV A=\"x\": unexpected end of statement while looking for matching quote",
            ),
        ] {
            let error = apply_changes(&mut Config::default(), &[line.to_owned()]).expect_err(line);
            assert_eq!(error.to_string(), text);
        }
    }
}
