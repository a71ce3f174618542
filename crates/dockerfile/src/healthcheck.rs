//! `HEALTHCHECK`: none, or a command and when to run it.

use std::time::Duration;

use crate::command;
use crate::duration;
use crate::flags::{Flags, Known, Takes};
use crate::mistake::Mistake;
use crate::{Command, Healthcheck};

pub(crate) const FLAGS: Known = &[
    ("interval", Takes::Value),
    ("timeout", Takes::Value),
    ("start-period", Takes::Value),
    ("start-interval", Takes::Value),
    ("retries", Takes::Value),
];

/// Docker's shortest time, zero aside, which is the default.
const SHORTEST: Duration = Duration::from_millis(1);

/// The second value says that the command looks like an array and is none.
pub(crate) fn read(flags: &Flags, arguments: &str) -> Result<(Healthcheck, bool), Mistake> {
    let (kind, rest) = match arguments.split_once(char::is_whitespace) {
        Some((kind, rest)) => (kind, rest.trim()),
        None => (arguments, ""),
    };
    let (command, doubtful) = match kind.to_ascii_uppercase().as_str() {
        "" => {
            return Err(Mistake::new("HEALTHCHECK requires at least one argument"));
        }
        "NONE" if rest.is_empty() => return Ok((Healthcheck::None, false)),
        "NONE" => return Err(Mistake::new("HEALTHCHECK NONE takes no arguments")),
        "CMD" => command::read(rest)?,
        kind => {
            return Err(Mistake::new(format!(
                "unknown type {kind:?} in HEALTHCHECK (try CMD)"
            )));
        }
    };
    if command == Command::Exec(Vec::new()) {
        return Err(Mistake::new("missing command after HEALTHCHECK CMD"));
    }
    let check = Healthcheck::Check {
        command,
        interval: time(flags, "interval")?,
        timeout: time(flags, "timeout")?,
        start_period: time(flags, "start-period")?,
        start_interval: time(flags, "start-interval")?,
        retries: retries(flags)?,
    };
    Ok((check, doubtful))
}

fn time(flags: &Flags, name: &str) -> Result<Option<String>, Mistake> {
    let Some(text) = flags.filled(name) else {
        return Ok(None);
    };
    let too_short = match duration::parse(&text) {
        Ok(duration) => !duration.is_zero() && duration < SHORTEST,
        Err(duration::DurationError::Negative(_)) => true,
        Err(error) => return Err(Mistake::new(error.to_string())),
    };
    if too_short {
        return Err(Mistake::new(format!(
            "interval {name:?} cannot be less than 1ms"
        )));
    }
    Ok(Some(text))
}

fn retries(flags: &Flags) -> Result<Option<u32>, Mistake> {
    let Some(text) = flags.filled("retries") else {
        return Ok(None);
    };
    match text.parse::<i32>() {
        Ok(number) => match u32::try_from(number) {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(Mistake::new(format!(
                "--retries cannot be negative ({number})"
            ))),
        },
        Err(_) => Err(Mistake::new(format!(
            "strconv.ParseInt: parsing {text:?}: invalid syntax"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(flags: &[&str], arguments: &str) -> Result<(Healthcheck, bool), String> {
        let words: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let flags = Flags::check(&words, FLAGS).expect("known flags");
        read(&flags, arguments).map_err(|mistake| mistake.text)
    }

    #[test]
    fn checks() {
        assert_eq!(check(&[], "none"), Ok((Healthcheck::None, false)));
        let all = [
            "--interval=5m",
            "--timeout=3s",
            "--start-period=0s",
            "--start-interval=1ms",
            "--retries=3",
        ];
        let wanted = Healthcheck::Check {
            command: Command::Exec(vec!["a".to_owned(), "b".to_owned()]),
            interval: Some("5m".to_owned()),
            timeout: Some("3s".to_owned()),
            start_period: Some("0s".to_owned()),
            start_interval: Some("1ms".to_owned()),
            retries: Some(3),
        };
        assert_eq!(check(&all, "CMD [\"a\", \"b\"]"), Ok((wanted, false)));
        let wanted = Healthcheck::Check {
            command: Command::Shell("curl -f x || exit 1".to_owned()),
            interval: None,
            timeout: None,
            start_period: None,
            start_interval: None,
            retries: None,
        };
        assert_eq!(
            check(&["--interval="], "cmd  curl -f x || exit 1"),
            Ok((wanted, false))
        );
    }

    #[test]
    fn refuses() {
        for (flags, arguments, wanted) in [
            ("", "", "HEALTHCHECK requires at least one argument"),
            ("", "NONE x", "HEALTHCHECK NONE takes no arguments"),
            ("", "CMD", "missing command after HEALTHCHECK CMD"),
            ("", "CMD []", "missing command after HEALTHCHECK CMD"),
            (
                "",
                "curl x",
                "unknown type \"CURL\" in HEALTHCHECK (try CMD)",
            ),
            (
                "--interval=5",
                "CMD x",
                "time: missing unit in duration \"5\"",
            ),
            (
                "--timeout=1us",
                "CMD x",
                "interval \"timeout\" cannot be less than 1ms",
            ),
            (
                "--timeout=-1s",
                "CMD x",
                "interval \"timeout\" cannot be less than 1ms",
            ),
            ("--retries=-1", "CMD x", "--retries cannot be negative (-1)"),
            (
                "--retries=x",
                "CMD x",
                "strconv.ParseInt: parsing \"x\": invalid syntax",
            ),
        ] {
            let flags: Vec<&str> = flags.split_whitespace().collect();
            assert_eq!(check(&flags, arguments), Err(wanted.to_owned()));
        }
    }
}
