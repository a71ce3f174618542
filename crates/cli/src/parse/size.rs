//! Sizes: `10m`, `1.5g`, `512`, in powers of 1024.

/// Bytes.
pub(crate) fn bytes(text: &str) -> Result<i64, String> {
    let invalid = || format!("invalid size: '{text}'");
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower
        .trim_end_matches(|letter: char| letter.is_ascii_alphabetic())
        .trim_end();
    let unit = lower[digits.len()..]
        .trim()
        .trim_end_matches('b')
        .trim_end_matches('i');
    let factor: f64 = match unit {
        "" => 1.0,
        "k" => 1024.0,
        "m" => 1024.0 * 1024.0,
        "g" => 1024.0 * 1024.0 * 1024.0,
        "t" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        "p" => 1024.0 * 1024.0 * 1024.0 * 1024.0 * 1024.0,
        _ => return Err(invalid()),
    };
    let number: f64 = digits.parse().map_err(|_| invalid())?;
    if number < 0.0 || !number.is_finite() {
        return Err(invalid());
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "saturates, and fractions of a byte do not exist"
    )]
    Ok((number * factor) as i64)
}

/// `--cpus 1.5` in billionths.
pub(crate) fn nano_cpus(text: &str) -> Result<i64, String> {
    let invalid = || format!("failed to parse {text} as a rational number");
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let are_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && part.is_empty()) || !are_digits(whole) || !are_digits(part) {
        return Err(invalid());
    }
    let part = part.trim_end_matches('0');
    if part.len() > 9 {
        return Err("value is too precise".to_owned());
    }
    let number = |text: &str| {
        if text.is_empty() {
            Ok(0)
        } else {
            text.parse::<i64>()
        }
    };
    let whole = number(whole).map_err(|_| invalid())?;
    let part = number(&format!("{part:0<9}")).map_err(|_| invalid())?;
    whole
        .checked_mul(1_000_000_000)
        .and_then(|whole| whole.checked_add(part))
        .map(|sum| sign * sum)
        .ok_or_else(invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, size) in [
            ("10m", 10 << 20),
            ("1.5g", 3 << 29),
            ("512", 512),
            ("64MiB", 64 << 20),
            ("2kb", 2048),
        ] {
            assert_eq!(bytes(text), Ok(size), "{text}");
        }
        for text in ["", "x", "1x", "-5", "-1"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn processors() {
        for (text, nanos) in [
            ("0.5", 500_000_000),
            (".5", 500_000_000),
            ("1.50", 1_500_000_000),
            ("2", 2_000_000_000),
            ("-1", -1_000_000_000),
        ] {
            assert_eq!(nano_cpus(text), Ok(nanos), "{text}");
        }
        for text in ["", "x", ".", "1.0000000001", "99999999999999999999"] {
            assert!(nano_cpus(text).is_err(), "{text}");
        }
    }
}
