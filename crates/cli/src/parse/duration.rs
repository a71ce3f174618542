//! Go's durations: `1h30m`, `1.5s`, `-2m`.

/// Nanoseconds.
pub(crate) fn nanoseconds(text: &str) -> Result<i64, String> {
    parse(text).ok_or_else(|| format!("time: invalid duration \"{text}\""))
}

fn parse(text: &str) -> Option<i64> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut sum = 0.0;
    while !rest.is_empty() {
        let digits = rest.len()
            - rest
                .trim_start_matches(|c: char| c.is_ascii_digit() || c == '.')
                .len();
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.len()
            - rest
                .trim_start_matches(|c: char| !c.is_ascii_digit() && c != '.')
                .len();
        let unit = match &rest[..letters] {
            "ns" => 1.0,
            "us" | "µs" | "μs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return None,
        };
        rest = &rest[letters..];
        sum += number * unit;
    }
    let sum = sign * sum;
    if sum.abs() > 9.2e18 {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "its range was checked")]
    Some(sum.round() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, nanos) in [
            ("5s", 5_000_000_000),
            ("1m30s", 90_000_000_000),
            ("1.5h", 5_400_000_000_000),
            ("-2ms", -2_000_000),
            ("0", 0),
            ("3µs", 3_000),
        ] {
            assert_eq!(nanoseconds(text), Ok(nanos), "{text}");
        }
        for text in ["", "x", "5", "5x", "s", "1s5", "-", "999999999h"] {
            assert!(nanoseconds(text).is_err(), "{text}");
        }
    }
}
