//! PAX extended header records: `length key=value\n`.

use sys::dir::Time;

/// Splits records; `None` when they are malformed.
pub(crate) fn parse(mut records: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    let mut pairs = Vec::new();
    // Some writers fill up with zeros.
    while !records.iter().all(|byte| *byte == 0) {
        let blank = records.iter().take(20).position(|byte| *byte == b' ')?;
        let length: usize = decimal(&records[..blank])?.try_into().ok()?;
        let record = records.get(blank + 1..length)?;
        records = &records[length..];
        let record = record.strip_suffix(b"\n")?;
        let equals = record.iter().position(|byte| *byte == b'=')?;
        pairs.push((&record[..equals], &record[equals + 1..]));
    }
    Some(pairs)
}

/// Appends one record.
pub(crate) fn append(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    // The length counts its own digits.
    let mut length = rest + rest.to_string().len();
    if length.to_string().len() > rest.to_string().len() {
        length = rest + length.to_string().len();
    }
    records.extend_from_slice(length.to_string().as_bytes());
    records.push(b' ');
    records.extend_from_slice(key);
    records.push(b'=');
    records.extend_from_slice(value);
    records.push(b'\n');
}

/// Decimal digits only.
pub(crate) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Seconds with or without a fraction; digits beyond nanoseconds are cut.
pub(crate) fn time(text: &[u8]) -> Option<Time> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let dot = text.iter().position(|byte| *byte == b'.');
    let (whole, fraction) = match dot {
        Some(dot) => (&text[..dot], &text[dot + 1..]),
        None => (text, &b""[..]),
    };
    let seconds = i64::try_from(decimal(whole)?).ok()?;
    let mut nanoseconds = 0;
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    for position in 0..9 {
        let digit = fraction.get(position).map_or(0, |byte| byte - b'0');
        nanoseconds = nanoseconds * 10 + u32::from(digit);
    }
    Some(match (negative, nanoseconds) {
        (false, _) => Time {
            seconds,
            nanoseconds,
        },
        (true, 0) => Time {
            seconds: -seconds,
            nanoseconds: 0,
        },
        (true, _) => Time {
            seconds: -seconds - 1,
            nanoseconds: 1_000_000_000 - nanoseconds,
        },
    })
}

/// The shortest text that [`time`] reads back.
pub(crate) fn time_text(time: Time) -> String {
    let (sign, seconds, nanoseconds) = match time {
        Time {
            seconds,
            nanoseconds: 0,
        } => (
            if seconds < 0 { "-" } else { "" },
            seconds.unsigned_abs(),
            0,
        ),
        Time {
            seconds,
            nanoseconds,
        } if seconds < 0 => ("-", seconds.unsigned_abs() - 1, 1_000_000_000 - nanoseconds),
        Time {
            seconds,
            nanoseconds,
        } => ("", seconds.unsigned_abs(), nanoseconds),
    };
    let text = format!("{sign}{seconds}.{nanoseconds:09}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back() {
        for size in (0..300).chain(980..1010).chain(9980..10_010) {
            let mut records = Vec::new();
            let value = vec![b'v'; size];
            append(&mut records, b"key", &value);
            append(&mut records, b"path", b"a=b\nc");
            let expected = vec![(&b"key"[..], &value[..]), (b"path", b"a=b\nc")];
            assert_eq!(parse(&records).unwrap(), expected, "{size}");
        }
        for wrong in [
            &b"5 a=b"[..],
            b"99 a=b\n",
            b"x a=b\n",
            b"6 ab\n\n",
            b"0 a=b\n",
            b"-1 a=b\n",
            b"2 a=b\n",
        ] {
            assert_eq!(parse(wrong), None, "{}", wrong.escape_ascii());
        }
        assert_eq!(parse(b"6 a=b\n\0\0"), Some(vec![(&b"a"[..], &b"b"[..])]));
    }

    #[test]
    fn times_come_back() {
        for (text, seconds, nanoseconds) in [
            ("0", 0, 0),
            ("1.5", 1, 500_000_000),
            ("-1", -1, 0),
            ("-1.25", -2, 750_000_000),
            ("-0.000000001", -1, 999_999_999),
            ("1700000000.123456789", 1_700_000_000, 123_456_789),
            ("10", 10, 0),
        ] {
            let expected = Time {
                seconds,
                nanoseconds,
            };
            assert_eq!(time(text.as_bytes()), Some(expected), "{text}");
            assert_eq!(time_text(expected), text);
        }
        assert_eq!(
            time(b"1.1234567899"),
            Some(Time {
                seconds: 1,
                nanoseconds: 123_456_789
            })
        );
        for wrong in ["", "-", "x", "1.x", ".5", "99999999999999999999"] {
            assert_eq!(time(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
