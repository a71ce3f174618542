//! Sizes and durations in the words that docker uses.

use std::cmp::Ordering;

use jiff::Timestamp;

/// `1.23MB`: powers of 1000, three digits.
pub(crate) fn human_size(bytes: f64) -> String {
    scaled(bytes, 1000.0, &["B", "kB", "MB", "GB", "TB", "PB"], 3)
}

/// `12.5MiB`: powers of 1024, four digits.
pub(crate) fn binary_size(bytes: f64) -> String {
    scaled(bytes, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB", "PiB"], 4)
}

fn scaled(bytes: f64, base: f64, units: &[&str], digits: usize) -> String {
    let mut size = bytes;
    let mut unit = 0;
    while size >= base && unit + 1 < units.len() {
        size /= base;
        unit += 1;
    }
    // Go's %.3g and %.4g.
    let whole = [10.0, 100.0, 1000.0]
        .iter()
        .filter(|&&limit| size >= limit)
        .count()
        + 1;
    let text = format!("{:.*}", digits.saturating_sub(whole), size);
    let text = if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.')
    } else {
        &text
    };
    format!("{text}{}", units[unit])
}

/// `About a minute`, `3 hours`.
pub(crate) fn human_duration(seconds: i64) -> String {
    let (minutes, hours) = (seconds / 60, (seconds + 1800) / 3600);
    match () {
        () if seconds < 1 => "Less than a second".to_owned(),
        () if seconds == 1 => "1 second".to_owned(),
        () if seconds < 60 => format!("{seconds} seconds"),
        () if minutes == 1 => "About a minute".to_owned(),
        () if minutes < 60 => format!("{minutes} minutes"),
        () if hours == 1 => "About an hour".to_owned(),
        () if hours < 48 => format!("{hours} hours"),
        () if hours < 24 * 14 => format!("{} days", hours / 24),
        () if hours < 24 * 60 => format!("{} weeks", hours / 24 / 7),
        () if hours < 24 * 730 => format!("{} months", hours / 24 / 30),
        () => format!("{} years", hours / 24 / 365),
    }
}

/// `3 hours ago` of Unix seconds.
pub(crate) fn ago(unix: i64) -> String {
    format!(
        "{} ago",
        human_duration(Timestamp::now().as_second() - unix)
    )
}

/// As Go prints a time with its zone.
pub(crate) fn local_time(unix: i64) -> String {
    let zone = jiff::tz::TimeZone::system();
    Timestamp::from_second(unix).map_or_else(
        |_| String::new(),
        |time| {
            time.to_zoned(zone)
                .strftime("%Y-%m-%d %H:%M:%S %z %Z")
                .to_string()
        },
    )
}

/// The first twelve digits of an id.
pub(crate) fn short_id(id: &str) -> &str {
    let hex = id.strip_prefix("sha256:").unwrap_or(id);
    hex.get(..12).unwrap_or(hex)
}

/// At most `width` letters, the last one an ellipsis.
pub(crate) fn ellipsis(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars()
        .take(width.saturating_sub(1))
        .chain(['…'])
        .collect()
}

/// Compares as people count: `v2` before `v10`.
pub(crate) fn natural(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    loop {
        // What is equal need not be counted, but a number counts from its first digit.
        let equal = a.iter().zip(b).take_while(|(x, y)| x == y).count();
        let text = a[..equal]
            .iter()
            .rposition(|byte| !byte.is_ascii_digit())
            .map_or(0, |last| last + 1);
        (a, b) = (&a[text..], &b[text..]);
        let (in_a, in_b) = (digits(a), digits(b));
        if in_a == 0 || in_b == 0 {
            // UTF-8 sorts by bytes as its characters do.
            return a.cmp(b);
        }
        let (value_a, value_b) = (value(&a[..in_a]), value(&b[..in_b]));
        let order = (value_a.len().cmp(&value_b.len())).then_with(|| value_a.cmp(value_b));
        if order.is_ne() {
            return order;
        }
        (a, b) = (&a[in_a..], &b[in_b..]);
    }
}

fn digits(text: &[u8]) -> usize {
    text.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

/// Digits without leading zeros: of two values the longer is the greater.
fn value(digits: &[u8]) -> &[u8] {
    let zeros = digits.iter().take_while(|&&digit| digit == b'0').count();
    &digits[zeros..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_go_units() {
        for (bytes, text) in [
            (0.0, "0B"),
            (999.0, "999B"),
            (1000.0, "1kB"),
            (1_230_000.0, "1.23MB"),
            (4_860_000.0, "4.86MB"),
            (123_456_789.0, "123MB"),
            (1e9, "1GB"),
        ] {
            assert_eq!(human_size(bytes), text);
        }
        for (bytes, text) in [
            (1024.0, "1KiB"),
            (13_107_200.0, "12.5MiB"),
            (536_870_912.0, "512MiB"),
            (1_000.0, "1000B"),
        ] {
            assert_eq!(binary_size(bytes), text);
        }
    }

    #[test]
    fn natural_order() {
        let mut names = vec!["v10", "v2", "a", "v1", "v01b"];
        names.sort_by(|a, b| natural(a, b));
        assert_eq!(names, ["a", "v1", "v01b", "v2", "v10"]);
        assert_eq!(natural("x12", "x12"), Ordering::Equal);
        assert_eq!(natural("1.2.10", "1.2.9"), Ordering::Greater);
        assert_eq!(natural("7", "07a"), Ordering::Less);
    }

    #[test]
    fn short_texts() {
        assert_eq!(short_id("sha256:0123456789abcdef"), "0123456789ab");
        assert_eq!(ellipsis("\"a long command line\"", 10), "\"a long c…");
    }
}
