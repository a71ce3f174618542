//! One line of Docker's `json-file` log: `{"log":"…","stream":"stdout","time":"…"}`.
//!
//! The text is escaped as Docker's daemon escapes it, byte for byte: `<`, `>` and `&` as `\u003c` and the like, U+2028
//! and U+2029 too, control characters as `\u00XX` except `\n` and `\r`, and each byte that is not UTF-8 as `\ufffd`.

use std::io::Write as _;

use jiff::Timestamp;

/// Appends one log entry and a newline. `attrs` is a JSON object, or empty.
pub(crate) fn append(out: &mut Vec<u8>, text: &[u8], stream: &str, attrs: &[u8], time: Timestamp) {
    out.extend_from_slice(b"{");
    if !text.is_empty() {
        out.extend_from_slice(b"\"log\":");
        append_string(out, text);
        out.push(b',');
    }
    out.extend_from_slice(b"\"stream\":\"");
    out.extend_from_slice(stream.as_bytes());
    out.extend_from_slice(b"\",");
    if !attrs.is_empty() {
        out.extend_from_slice(b"\"attrs\":");
        out.extend_from_slice(attrs);
        out.push(b',');
    }
    writeln!(out, "\"time\":\"{time}\"}}").expect("writing to memory does not fail");
}

/// The `attrs` object, keys in order as Go prints maps; empty when there are none.
pub(crate) fn attributes(pairs: &[(String, String)]) -> Vec<u8> {
    let mut pairs: Vec<_> = pairs.iter().collect();
    pairs.sort();
    let mut out = Vec::new();
    for (key, value) in pairs {
        out.push(if out.is_empty() { b'{' } else { b',' });
        append_string(&mut out, key.as_bytes());
        out.push(b':');
        append_string(&mut out, value.as_bytes());
    }
    if !out.is_empty() {
        out.push(b'}');
    }
    out
}

fn append_string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    for chunk in bytes.utf8_chunks() {
        append_valid(out, chunk.valid());
        for _ in chunk.invalid() {
            out.extend_from_slice(br"\ufffd");
        }
    }
    out.push(b'"');
}

fn append_valid(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    let mut plain = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        let width = match byte {
            b'"' | b'\\' | b'<' | b'>' | b'&' | 0..0x20 => 1,
            // The first byte of U+2028 and U+2029.
            0xe2 if matches!(bytes.get(at + 1..at + 3), Some([0x80, 0xa8 | 0xa9])) => 3,
            _ => continue,
        };
        out.extend_from_slice(&bytes[plain..at]);
        plain = at + width;
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(br"\n"),
            b'\r' => out.extend_from_slice(br"\r"),
            0xe2 => {
                out.extend_from_slice(if bytes[at + 2] == 0xa8 {
                    br"\u2028"
                } else {
                    br"\u2029"
                });
            }
            _ => {
                const DIGITS: &[u8; 16] = b"0123456789abcdef";
                out.extend_from_slice(br"\u00");
                out.push(DIGITS[usize::from(byte >> 4)]);
                out.push(DIGITS[usize::from(byte & 15)]);
            }
        }
    }
    out.extend_from_slice(&bytes[plain..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_as_docker_does() {
        let cases: [(&[u8], &str); 14] = [
            (b"plain", "plain"),
            (b"say \"hi\"", r#"say \"hi\""#),
            (br"back\slash", r"back\\slash"),
            (b"line\r\n", r"line\r\n"),
            (b"a\tb", r"a\u0009b"),
            (
                b"\x00\x08\x0c\x1b[0m\x1f",
                r"\u0000\u0008\u000c\u001b[0m\u001f",
            ),
            (b"<a href='x'>&amp;", r"\u003ca href='x'\u003e\u0026amp;"),
            (b"\x7f", "\x7f"),
            ("naïve ☃ 𝄞".as_bytes(), "naïve ☃ 𝄞"),
            (
                "\u{2028}|\u{2029}|\u{2027}".as_bytes(),
                "\\u2028|\\u2029|\u{2027}",
            ),
            (b"\xff", r"\ufffd"),
            (b"a\xe2\x82b", r"a\ufffd\ufffdb"),
            (b"\xed\xa0\x80", r"\ufffd\ufffd\ufffd"),
            (b"cut \xf0\x9f\x98", r"cut \ufffd\ufffd\ufffd"),
        ];
        for (input, expected) in cases {
            let mut out = Vec::new();
            append_string(&mut out, input);
            assert_eq!(
                String::from_utf8(out).unwrap(),
                format!("\"{expected}\""),
                "{input:?}"
            );
        }
    }

    #[test]
    fn a_whole_entry() {
        let time: Timestamp = "2024-03-01T12:00:00.120000000Z".parse().unwrap();
        let mut out = Vec::new();
        append(&mut out, b"hello\n", "stdout", b"", time);
        append(&mut out, b"x", "stderr", &attributes(&[]), time);
        let pairs = [("b".into(), "<2>".into()), ("a".into(), "1".into())];
        append(&mut out, b"x", "stderr", &attributes(&pairs), time);
        let expected = concat!(
            "{\"log\":\"hello\\n\",\"stream\":\"stdout\",\"time\":\"2024-03-01T12:00:00.12Z\"}\n",
            "{\"log\":\"x\",\"stream\":\"stderr\",\"time\":\"2024-03-01T12:00:00.12Z\"}\n",
            "{\"log\":\"x\",\"stream\":\"stderr\",\"attrs\":{\"a\":\"1\",\"b\":\"\\u003c2\\u003e\"},",
            "\"time\":\"2024-03-01T12:00:00.12Z\"}\n",
        );
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
