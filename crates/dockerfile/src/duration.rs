//! Durations as Go writes them: `1h30m`, `1.5s`, `100ms`.

use std::time::Duration;

/// Not a duration; the sentence is Go's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    #[error("time: invalid duration {0:?}")]
    Invalid(String),
    #[error("time: missing unit in duration {0:?}")]
    MissingUnit(String),
    #[error("time: unknown unit {unit:?} in duration {text:?}")]
    UnknownUnit { unit: String, text: String },
    /// Time does not run backwards; Go accepts these, no instruction does.
    #[error("duration {0:?} is negative")]
    Negative(String),
}

/// Reads a duration. `0` needs no unit; nothing shorter than a nanosecond is kept.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    let invalid = || DurationError::Invalid(text.to_owned());
    let mut rest = text.strip_prefix(['+', '-']).unwrap_or(text);
    let mut total: u128 = 0;
    if rest != "0" {
        if rest.is_empty() {
            return Err(invalid());
        }
        while !rest.is_empty() {
            let (nanoseconds, after) = part(rest, text)?;
            total = total.checked_add(nanoseconds).ok_or_else(invalid)?;
            rest = after;
        }
    }
    // Go's durations are signed 64-bit numbers.
    let nanoseconds = i64::try_from(total).map_err(|_| invalid())?;
    if text.starts_with('-') && nanoseconds > 0 {
        return Err(DurationError::Negative(text.to_owned()));
    }
    Ok(Duration::from_nanos(nanoseconds.unsigned_abs()))
}

fn part<'a>(rest: &'a str, text: &str) -> Result<(u128, &'a str), DurationError> {
    let invalid = || DurationError::Invalid(text.to_owned());
    let end = |text: &str, in_number: bool| {
        text.find(|c: char| (c.is_ascii_digit() || c == '.') != in_number)
            .unwrap_or(text.len())
    };
    let (number, rest) = rest.split_at(end(rest, true));
    let (unit, rest) = rest.split_at(end(rest, false));
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return Err(invalid());
    }
    let nanoseconds: u128 = match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        "" => return Err(DurationError::MissingUnit(text.to_owned())),
        _ => {
            return Err(DurationError::UnknownUnit {
                unit: unit.to_owned(),
                text: text.to_owned(),
            });
        }
    };
    let digits = |digits: &str| match digits {
        "" => Ok(0),
        _ => digits.parse::<u64>().map(u128::from).map_err(|_| invalid()),
    };
    let mut total = digits(whole)? * nanoseconds;
    let fraction = &fraction[..fraction.len().min(18)];
    let scale = u32::try_from(fraction.len()).map_or(1, |length| 10_u128.pow(length));
    total += digits(fraction)? * nanoseconds / scale;
    Ok((total, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads() {
        for (text, milliseconds) in [
            ("0", 0),
            ("0s", 0),
            ("-0", 0),
            ("30s", 30_000),
            ("+1m30s", 90_000),
            ("1h", 3_600_000),
            ("1.5s", 1_500),
            (".5s", 500),
            ("1.s", 1_000),
            ("100ms", 100),
            ("5000µs", 5),
        ] {
            assert_eq!(
                parse(text),
                Ok(Duration::from_millis(milliseconds)),
                "{text}"
            );
        }
        for (text, wanted) in [
            ("", "time: invalid duration \"\""),
            ("s", "time: invalid duration \"s\""),
            ("1.2.3s", "time: invalid duration \"1.2.3s\""),
            ("99999999999h", "time: invalid duration \"99999999999h\""),
            (
                "99999999999999999999h",
                "time: invalid duration \"99999999999999999999h\"",
            ),
            ("5", "time: missing unit in duration \"5\""),
            ("5x", "time: unknown unit \"x\" in duration \"5x\""),
            ("-5s", "duration \"-5s\" is negative"),
        ] {
            assert_eq!(parse(text).expect_err(text).to_string(), wanted);
        }
    }
}
