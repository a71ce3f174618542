//! Sizes: `10m`, `1.5g`, `512`, in powers of 1024.

/// Bytes.
pub(crate) fn bytes(text: &str) -> Result<i64, String> {
    let invalid = || format!("invalid size: '{text}'");
    if text == "-1" {
        return Ok(-1);
    }
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
    let number: f64 = text
        .parse()
        .map_err(|_| format!("failed to parse {text} as a rational number"))?;
    #[expect(clippy::cast_possible_truncation, reason = "saturates")]
    Ok((number * 1e9).round() as i64)
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
            ("-1", -1),
        ] {
            assert_eq!(bytes(text), Ok(size), "{text}");
        }
        for text in ["", "x", "1x", "-5"] {
            assert!(bytes(text).is_err(), "{text}");
        }
        assert_eq!(nano_cpus("0.5"), Ok(500_000_000));
    }
}
