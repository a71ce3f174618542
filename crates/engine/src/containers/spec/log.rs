//! Options of the json-file log driver.

use shim_protocol::spec::LogConfig;
use store::ContainerRow;

use crate::containers::{Config, ContainerError, HostConfig};
use crate::truth::truth;

/// `row` is `None` when the options are only checked.
pub(in crate::containers) fn log_config(
    host: &HostConfig,
    row: Option<&ContainerRow>,
    config: &Config,
) -> Result<LogConfig, ContainerError> {
    let invalid = |text: String| ContainerError::Invalid(text);
    let mut log = LogConfig {
        path: row
            .map(|row| row.log_path.clone())
            .filter(|path| !path.is_empty())
            .map(Into::into),
        max_size: None,
        max_file: 1,
        compress: false,
        attrs: Vec::new(),
    };
    match host.log_config.kind.as_str() {
        "json-file" => {}
        "none" => {
            log.path = None;
            return Ok(log);
        }
        other => {
            return Err(invalid(format!(
                "logger: no log driver named '{other}' is registered"
            )));
        }
    }
    for (key, value) in &host.log_config.config {
        match key.as_str() {
            "max-size" => {
                log.max_size = match size(value) {
                    Some(bytes) if bytes > 0 => Some(bytes),
                    _ if value == "-1" => None,
                    _ => return Err(invalid(format!("invalid size: '{value}'"))),
                };
            }
            "max-file" => {
                log.max_file = value
                    .parse()
                    .ok()
                    .filter(|&count| count >= 1)
                    .ok_or_else(|| invalid("max-file cannot be less than 1".to_owned()))?;
            }
            "compress" => {
                log.compress = truth(value)
                    .ok_or_else(|| invalid(format!("invalid value for compress: {value}")))?;
            }
            "labels" => log.attrs.extend(value.split(',').filter_map(|name| {
                config
                    .labels
                    .get(name)
                    .map(|value| (name.to_owned(), value.clone()))
            })),
            "env" => log.attrs.extend(value.split(',').filter_map(|name| {
                config.env.iter().find_map(|entry| {
                    let (key, value) = entry.split_once('=')?;
                    (key == name).then(|| (name.to_owned(), value.to_owned()))
                })
            })),
            "tag" => {
                if let Some(row) = row {
                    let tag = value
                        .replace("{{.ID}}", &row.id[..12])
                        .replace("{{.FullID}}", &row.id)
                        .replace("{{.Name}}", &row.name)
                        .replace("{{.ImageName}}", &row.image_ref);
                    log.attrs.push(("tag".to_owned(), tag));
                }
            }
            "labels-regex" | "env-regex" | "mode" | "max-buffer-size" => {}
            other => {
                return Err(invalid(format!(
                    "unknown log opt '{other}' for json-file log driver"
                )));
            }
        }
    }
    // A container that was made already is not kept from starting for it.
    if row.is_none() && log.compress && (log.max_file < 2 || log.max_size.is_none()) {
        return Err(invalid(
            "compress cannot be true when max-file is less than 2 or max-size is not set"
                .to_owned(),
        ));
    }
    Ok(log)
}

/// `10m`, `1g`, `512`: bytes in powers of 1024.
pub(in crate::containers) fn size(text: &str) -> Option<u64> {
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let factor: u64 = match lower[digits.len()..]
        .trim_end_matches('b')
        .trim_end_matches('i')
    {
        "" => 1,
        "k" => 1 << 10,
        "m" => 1 << 20,
        "g" => 1 << 30,
        "t" => 1 << 40,
        _ => return None,
    };
    digits.trim().parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("10m", Some(10 << 20)),
            ("1GiB", Some(1 << 30)),
            ("5", Some(5)),
            ("1kb", Some(1024)),
            ("x", None),
            ("1q", None),
        ] {
            assert_eq!(size(text), bytes, "{text}");
        }
    }
}
