//! Go's `fmt`: how values print, and the verbs of `printf`.
//!
//! Mistakes in a format are shown in the output as Go shows them (`%!d(string=x)`, `%!s(MISSING)`,
//! `%!(EXTRA int=1)`); nothing here fails. Not there: `%p`, hexadecimal floats, and verbs for complex numbers.

use super::quote::{printable, quote, quote_ascii, quote_char};
use super::value::Value;
use std::fmt::Write as _;

/// Go refuses greater widths and precisions.
const MAX_WIDTH: usize = 1_000_000;
/// No float has more digits behind its point; all that follow are zeros. Rust's formatter panics beyond 65,535.
const EXACT: usize = 1_100;

/// Flags, width and precision of one verb.
#[derive(Debug, Clone, Default)]
struct Spec {
    verb: char,
    plus: bool,
    minus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

/// `value` as `{{value}}` prints it.
pub(super) fn display(value: &Value<'_>) -> String {
    match value {
        Value::Missing => "<no value>".to_owned(),
        Value::Text(text) => text.to_string(),
        value => sprint(std::slice::from_ref(value)),
    }
}

/// Go's `fmt.Sprint`: a space between two operands if neither is a string.
pub(super) fn sprint(values: &[Value<'_>]) -> String {
    let mut out = String::new();
    let mut after_text = true;
    for value in values {
        let text = matches!(value, Value::Text(_));
        if !text && !after_text {
            out.push(' ');
        }
        after_text = text;
        write_value(
            &mut out,
            &Spec {
                verb: 'v',
                ..Spec::default()
            },
            value,
        );
    }
    out
}

/// Go's `fmt.Sprintln`.
pub(super) fn sprintln(values: &[Value<'_>]) -> String {
    let mut out = String::new();
    for (at, value) in values.iter().enumerate() {
        if at > 0 {
            out.push(' ');
        }
        write_value(
            &mut out,
            &Spec {
                verb: 'v',
                ..Spec::default()
            },
            value,
        );
    }
    out.push('\n');
    out
}

/// Go's `fmt.Sprintf`.
pub(super) fn sprintf(format: &str, values: &[Value<'_>]) -> String {
    let mut printer = Printer {
        format,
        at: 0,
        values,
        next: 0,
        reordered: false,
        bad_index: false,
    };
    let mut out = String::new();
    while let Some(length) = printer.rest().find('%') {
        out.push_str(&printer.rest()[..length]);
        printer.at += length + 1;
        printer.verb(&mut out);
    }
    out.push_str(printer.rest());
    if !printer.reordered && printer.next < values.len() {
        out.push_str("%!(EXTRA ");
        for (at, value) in values[printer.next..].iter().enumerate() {
            if at > 0 {
                out.push_str(", ");
            }
            write_typed(&mut out, value);
        }
        out.push(')');
    }
    out
}

struct Printer<'f, 'v> {
    format: &'f str,
    at: usize,
    values: &'v [Value<'v>],
    next: usize,
    /// An explicit `[n]` was seen anywhere.
    reordered: bool,
    /// The `[n]` of this verb is none.
    bad_index: bool,
}

impl<'f, 'v> Printer<'f, 'v> {
    fn rest(&self) -> &'f str {
        &self.format[self.at..]
    }

    fn eat(&mut self, c: char) -> bool {
        let found = self.rest().starts_with(c);
        self.at += if found { c.len_utf8() } else { 0 };
        found
    }

    fn digits(&mut self) -> Option<usize> {
        let length = self.rest().bytes().take_while(u8::is_ascii_digit).count();
        let digits = &self.rest()[..length];
        self.at += length;
        digits.parse().ok()
    }

    /// `[3]`: the next verb or `*` takes the third value.
    fn index(&mut self) {
        if !self.rest().starts_with('[') {
            return;
        }
        self.reordered = true;
        let Some(length) = self.rest().find(']') else {
            self.bad_index = true;
            self.at += 1;
            return;
        };
        match self.rest()[1..length].parse::<usize>() {
            Ok(index) if index >= 1 && index <= self.values.len() => self.next = index - 1,
            _ => self.bad_index = true,
        }
        self.at += length + 1;
    }

    fn star(&mut self) -> Option<i128> {
        let value = self.values.get(self.next);
        self.next += usize::from(value.is_some());
        match value {
            Some(Value::Int(value)) if value.unsigned_abs() <= MAX_WIDTH as u128 => Some(*value),
            _ => None,
        }
    }

    fn verb(&mut self, out: &mut String) {
        let mut spec = Spec::default();
        self.bad_index = false;
        loop {
            match self.rest().chars().next() {
                Some('+') => spec.plus = true,
                Some('-') => spec.minus = true,
                Some('#') => spec.sharp = true,
                Some(' ') => spec.space = true,
                Some('0') => spec.zero = true,
                _ => break,
            }
            self.at += 1;
        }
        self.index();
        if self.eat('*') {
            match self.star() {
                Some(width) => {
                    spec.minus |= width < 0;
                    spec.width = usize::try_from(width.unsigned_abs()).ok();
                }
                None => out.push_str("%!(BADWIDTH)"),
            }
        } else {
            let before = self.at;
            spec.width = self.digits();
            if self.at > before && spec.width.is_none_or(|width| width > MAX_WIDTH) {
                out.push_str("%!(BADWIDTH)");
                spec.width = None;
            }
        }
        if self.eat('.') {
            self.index();
            if self.eat('*') {
                spec.precision = self
                    .star()
                    .and_then(|precision| usize::try_from(precision).ok());
                if spec.precision.is_none() {
                    out.push_str("%!(BADPREC)");
                }
            } else {
                let before = self.at;
                spec.precision = self.digits().filter(|precision| *precision <= MAX_WIDTH);
                if self.at == before {
                    spec.precision = Some(0);
                } else if spec.precision.is_none() {
                    out.push_str("%!(BADPREC)");
                }
            }
        }
        self.index();
        let Some(verb) = self.rest().chars().next() else {
            out.push_str("%!(NOVERB)");
            return;
        };
        self.at += verb.len_utf8();
        spec.verb = verb;
        spec.zero &= !spec.minus;
        if verb == '%' {
            out.push('%');
        } else if self.bad_index {
            out.extend(['%', '!', verb]);
            out.push_str("(BADINDEX)");
        } else if let Some(value) = self.values.get(self.next) {
            self.next += 1;
            write_value(out, &spec, value);
        } else {
            out.extend(['%', '!', verb]);
            out.push_str("(MISSING)");
        }
    }
}

fn write_value(out: &mut String, spec: &Spec, value: &Value<'_>) {
    if spec.verb == 'T' {
        return pad(out, spec, value.type_name());
    }
    let go_syntax = spec.sharp && spec.verb == 'v';
    match value {
        Value::Missing | Value::Nil if go_syntax => pad(out, spec, "interface {}(nil)"),
        Value::Missing | Value::Nil if spec.verb == 'v' => pad(out, spec, "<nil>"),
        Value::Missing | Value::Nil => {
            out.extend(['%', '!', spec.verb]);
            out.push_str("(<nil>)");
        }
        Value::Bool(value) => match spec.verb {
            't' | 'v' => pad(out, spec, if *value { "true" } else { "false" }),
            _ => bad_verb(out, spec, &Value::Bool(*value)),
        },
        Value::Int(number) => write_int(out, spec, *number, value),
        Value::Float(number) => write_float(out, spec, *number, value),
        Value::Text(text) => write_text(out, spec, text, value),
        Value::NilList | Value::List(_) | Value::Texts(_) => {
            if go_syntax {
                out.push_str(value.type_name());
            }
            out.push(if go_syntax { '{' } else { '[' });
            for (at, element) in value.elements().unwrap_or_default().iter().enumerate() {
                if at > 0 {
                    out.push_str(if go_syntax { ", " } else { " " });
                }
                write_inner(out, spec, element);
            }
            out.push(if go_syntax { '}' } else { ']' });
        }
        Value::NilMap | Value::Map(_) => {
            out.push_str(if go_syntax { value.type_name() } else { "map" });
            out.push(if go_syntax { '{' } else { '[' });
            let entries = value.entries().unwrap_or_default();
            // Nothing but empty objects: Go's way to write a set (`ExposedPorts`, `Volumes`).
            let is_set = entries
                .iter()
                .all(|(_, element)| matches!(element, Value::Map(map) if map.is_empty()));
            for (at, (key, element)) in entries.iter().enumerate() {
                if at > 0 {
                    out.push_str(if go_syntax { ", " } else { " " });
                }
                write_value(out, spec, &Value::Text((*key).into()));
                out.push(':');
                if is_set {
                    out.push_str("{}");
                } else {
                    write_inner(out, spec, element);
                }
            }
            out.push(if go_syntax { '}' } else { ']' });
        }
    }
}

/// An element of a list or map: a nil there prints the same under each verb.
fn write_inner(out: &mut String, spec: &Spec, value: &Value<'_>) {
    match value {
        Value::Missing | Value::Nil if !(spec.sharp && spec.verb == 'v') => out.push_str("<nil>"),
        value => write_value(out, spec, value),
    }
}

fn write_typed(out: &mut String, value: &Value<'_>) {
    if matches!(value, Value::Missing | Value::Nil) {
        out.push_str("<nil>");
    } else {
        out.push_str(value.type_name());
        out.push('=');
        write_value(
            out,
            &Spec {
                verb: 'v',
                ..Spec::default()
            },
            value,
        );
    }
}

fn bad_verb(out: &mut String, spec: &Spec, value: &Value<'_>) {
    out.extend(['%', '!', spec.verb, '(']);
    write_typed(out, value);
    out.push(')');
}

fn pad(out: &mut String, spec: &Spec, text: &str) {
    let missing = spec.width.unwrap_or(0).saturating_sub(text.chars().count());
    if spec.minus {
        out.push_str(text);
        out.extend(std::iter::repeat_n(' ', missing));
    } else {
        out.extend(std::iter::repeat_n(
            if spec.zero { '0' } else { ' ' },
            missing,
        ));
        out.push_str(text);
    }
}

/// Pads a number: zeros go between its sign and its digits.
fn pad_number(out: &mut String, spec: &Spec, negative: bool, digits: &str) {
    let sign = match (negative, spec.plus, spec.space) {
        (true, ..) => "-",
        (false, true, _) => "+",
        (false, false, true) => " ",
        (false, false, false) => "",
    };
    if spec.zero {
        out.push_str(sign);
        let width = spec.width.map(|width| width.saturating_sub(sign.len()));
        pad(
            out,
            &Spec {
                width,
                ..spec.clone()
            },
            digits,
        );
    } else {
        pad(out, spec, &format!("{sign}{digits}"));
    }
}

fn write_int(out: &mut String, spec: &Spec, number: i128, value: &Value<'_>) {
    let size = number.unsigned_abs();
    let scalar = || {
        u32::try_from(number)
            .ok()
            .and_then(char::from_u32)
            .unwrap_or(char::REPLACEMENT_CHARACTER)
    };
    let (mut digits, prefix) = match spec.verb {
        'd' | 'v' => (size.to_string(), ""),
        'b' => (format!("{size:b}"), "0b"),
        'o' => (format!("{size:o}"), "0"),
        'O' => (format!("0o{size:o}"), ""),
        'x' => (format!("{size:x}"), "0x"),
        'X' => (format!("{size:X}"), "0X"),
        'c' => return pad(out, spec, scalar().encode_utf8(&mut [0; 4])),
        'q' => return pad(out, spec, &quote_char(scalar(), spec.plus)),
        'U' => {
            let mut text = format!("U+{size:04X}");
            if spec.sharp && printable(scalar()) {
                write!(text, " '{}'", scalar()).expect("a String takes every write");
            }
            return pad(out, spec, &text);
        }
        _ => return bad_verb(out, spec, value),
    };
    let mut spec = spec.clone();
    if let Some(precision) = spec.precision {
        spec.zero = false;
        if precision == 0 && size == 0 {
            digits.clear();
        }
        digits.insert_str(0, &"0".repeat(precision.saturating_sub(digits.len())));
    }
    if spec.sharp && spec.verb != 'v' {
        digits.insert_str(0, prefix);
    }
    pad_number(out, &spec, number < 0, &digits);
}

fn write_float(out: &mut String, spec: &Spec, number: f64, value: &Value<'_>) {
    let verb = if spec.verb == 'v' { 'g' } else { spec.verb };
    let size = number.abs();
    let digits = match verb {
        'f' | 'F' => fixed(size, spec.precision.unwrap_or(6)),
        'e' | 'E' => exponent(&scientific(size, spec.precision.unwrap_or(6))),
        'g' | 'G' => general(size, spec.precision),
        _ => return bad_verb(out, spec, value),
    };
    let digits = if matches!(verb, 'E' | 'G') {
        digits.to_uppercase()
    } else {
        digits
    };
    pad_number(out, spec, number.is_sign_negative(), &digits);
}

fn fixed(size: f64, precision: usize) -> String {
    let mut text = format!("{size:.*}", precision.min(EXACT));
    if size.is_finite() {
        text.push_str(&"0".repeat(precision.saturating_sub(EXACT)));
    }
    text
}

fn scientific(size: f64, precision: usize) -> String {
    let text = format!("{size:.*e}", precision.min(EXACT));
    match text.split_once('e') {
        Some((mantissa, power)) => {
            let zeros = "0".repeat(precision.saturating_sub(EXACT));
            format!("{mantissa}{zeros}e{power}")
        }
        None => text,
    }
}

/// Go writes at least two digits of exponent, and its sign: `1.5e+02`.
fn exponent(text: &str) -> String {
    let (mantissa, power) = text.split_once('e').unwrap_or((text, "0"));
    let (sign, power) = power
        .strip_prefix('-')
        .map_or(('+', power), |power| ('-', power));
    format!("{mantissa}e{sign}{power:0>2}")
}

/// `%g`: the shortest digits that mean this number, or `precision` of them.
fn general(size: f64, precision: Option<usize>) -> String {
    let scientific = match precision {
        None => format!("{size:e}"),
        Some(precision) => format!("{size:.*e}", (precision.max(1) - 1).min(EXACT)),
    };
    let (mantissa, power) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let power: i64 = power.parse().unwrap_or(0);
    let digits: String = mantissa.chars().filter(|c| *c != '.').collect();
    let digits = digits.trim_end_matches('0');
    let count = i64::try_from(digits.len()).unwrap_or(i64::MAX);
    let limit = match precision.map(|precision| i64::try_from(precision.max(1)).unwrap_or(i64::MAX))
    {
        None => 6,
        Some(limit) if limit > count && count > power => count,
        Some(limit) => limit,
    };
    if power < -4 || power >= limit {
        let mantissa = match digits.split_at_checked(1) {
            Some((first, "")) => first.to_owned(),
            Some((first, more)) => format!("{first}.{more}"),
            None => "0".to_owned(),
        };
        return exponent(&format!("{mantissa}e{power}"));
    }
    let decimals = usize::try_from((count - power - 1).max(0)).unwrap_or(0);
    if precision.is_none() {
        format!("{size}")
    } else {
        format!("{size:.decimals$}")
    }
}

fn write_text(out: &mut String, spec: &Spec, text: &str, value: &Value<'_>) {
    let cut = match spec.precision {
        Some(precision) => text
            .char_indices()
            .nth(precision)
            .map_or(text, |(at, _)| &text[..at]),
        None => text,
    };
    match spec.verb {
        'v' if spec.sharp => pad(out, spec, &quote(text)),
        'v' | 's' => pad(out, spec, cut),
        'q' if spec.sharp && !cut.contains(|c: char| c == '`' || (c.is_control() && c != '\t')) => {
            pad(out, spec, &format!("`{cut}`"));
        }
        'q' if spec.plus => pad(out, spec, &quote_ascii(cut)),
        'q' => pad(out, spec, &quote(cut)),
        'x' | 'X' => {
            let bytes = &text.as_bytes()[..spec.precision.unwrap_or(text.len()).min(text.len())];
            let mut digits = String::with_capacity(bytes.len() * 2);
            for (at, byte) in bytes.iter().enumerate() {
                if at > 0 && spec.space {
                    digits.push(' ');
                }
                if spec.sharp && (at == 0 || spec.space) {
                    digits.extend(['0', spec.verb]);
                }
                let pair = if spec.verb == 'x' {
                    format!("{byte:02x}")
                } else {
                    format!("{byte:02X}")
                };
                digits.push_str(&pair);
            }
            pad(out, spec, &digits);
        }
        _ => bad_verb(out, spec, value),
    }
}
