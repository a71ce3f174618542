//! Go's quoted strings: reading `"a\n"`, `` `raw` `` and `'c'`, and writing what `%q` writes.
//!
//! Bytes that escapes like `\xff` put together to something that is not UTF-8 become U+FFFD.

/// The text of a quoted literal, quotes included in `literal`; `None` if it is not a valid one.
pub(super) fn unquote(literal: &str) -> Option<String> {
    let quote = literal.chars().next()?;
    let body = literal.get(1..literal.len().checked_sub(1)?)?;
    if quote == '`' {
        return Some(body.replace('\r', ""));
    }
    let mut bytes = Vec::with_capacity(body.len());
    let mut rest = body.chars();
    while let Some(c) = rest.next() {
        if c != '\\' {
            push(&mut bytes, c);
            continue;
        }
        match rest.next()? {
            'a' => bytes.push(0x07),
            'b' => bytes.push(0x08),
            'f' => bytes.push(0x0c),
            'n' => bytes.push(b'\n'),
            'r' => bytes.push(b'\r'),
            't' => bytes.push(b'\t'),
            'v' => bytes.push(0x0b),
            '\\' => bytes.push(b'\\'),
            c @ ('"' | '\'') if c == quote => push(&mut bytes, c),
            'x' => bytes.push(u8::try_from(digits(&mut rest, 2, 16, 0)?).ok()?),
            'u' => push(&mut bytes, char::from_u32(digits(&mut rest, 4, 16, 0)?)?),
            'U' => push(&mut bytes, char::from_u32(digits(&mut rest, 8, 16, 0)?)?),
            c @ '0'..='7' => {
                let first = c.to_digit(8)?;
                bytes.push(u8::try_from(digits(&mut rest, 2, 8, first)?).ok()?);
            }
            _ => return None,
        }
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn push(bytes: &mut Vec<u8>, c: char) {
    bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

fn digits(rest: &mut std::str::Chars<'_>, count: usize, radix: u32, first: u32) -> Option<u32> {
    let mut number = first;
    for _ in 0..count {
        number = number
            .checked_mul(radix)?
            .checked_add(rest.next()?.to_digit(radix)?)?;
    }
    Some(number)
}

/// `text` in double quotes, as `%q` prints it.
pub(super) fn quote(text: &str) -> String {
    quote_with(text, '"', false)
}

/// `text` in double quotes with escapes for all that is not ASCII, as `%+q` prints it.
pub(super) fn quote_ascii(text: &str) -> String {
    quote_with(text, '"', true)
}

/// `c` in single quotes, as `%q` prints a number.
pub(super) fn quote_char(c: char, ascii: bool) -> String {
    quote_with(c.encode_utf8(&mut [0; 4]), '\'', ascii)
}

fn quote_with(text: &str, quote: char, ascii: bool) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push(quote);
    for c in text.chars() {
        match c {
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x0b' => out.push_str("\\v"),
            '\\' => out.push_str("\\\\"),
            c if c == quote => out.extend(['\\', c]),
            c if printable(c) && (c.is_ascii() || !ascii) => out.push(c),
            c if u32::from(c) < 0x80 => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c if u32::from(c) < 0x1_0000 => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push_str(&format!("\\U{:08x}", u32::from(c))),
        }
    }
    out.push(quote);
    out
}

/// Whether Go prints `c` as it is; exact for all that occurs in names, labels and paths.
pub(super) fn printable(c: char) -> bool {
    c == ' '
        || !(c.is_control()
            || c.is_whitespace()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{feff}' | '\u{ad}'))
}
