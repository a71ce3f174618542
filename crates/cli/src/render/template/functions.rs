//! The functions a template can call: Go's built-in ones and those Docker adds.
//!
//! `and` and `or` are listed here for the parser, but evaluated in `eval`, since they stop at the first
//! argument that decides.

use super::printf;
use super::value::Value;
use std::borrow::Cow;
use std::cmp::Ordering;

/// What an argument must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Param {
    Any,
    Text,
    Int,
    Texts,
}

type Call = for<'a> fn(&[Value<'a>]) -> Result<Value<'a>, String>;

#[derive(Debug)]
pub(super) struct Function {
    pub(super) name: &'static str,
    pub(super) fixed: &'static [Param],
    /// For any number of further arguments.
    pub(super) rest: Option<Param>,
    pub(super) call: Call,
}

const fn function(
    name: &'static str,
    fixed: &'static [Param],
    rest: Option<Param>,
    call: Call,
) -> Function {
    Function {
        name,
        fixed,
        rest,
        call,
    }
}

use Param::{Any, Int, Text, Texts};

const FUNCTIONS: &[Function] = &[
    function("and", &[Any], Some(Any), last),
    function("or", &[Any], Some(Any), last),
    function("not", &[Any], None, |arguments| {
        Ok(Value::Bool(!arguments[0].is_true()))
    }),
    function("len", &[Any], None, len),
    function("index", &[Any], Some(Any), index),
    function("slice", &[Any], Some(Any), slice),
    function("print", &[], Some(Any), |arguments| {
        text(printf::sprint(arguments))
    }),
    function("printf", &[Text], Some(Any), |arguments| {
        text(printf::sprintf(as_text(&arguments[0]), &arguments[1..]))
    }),
    function("println", &[], Some(Any), |arguments| {
        text(printf::sprintln(arguments))
    }),
    function("html", &[], Some(Any), |arguments| {
        text(html(&written(arguments)))
    }),
    function("js", &[], Some(Any), |arguments| {
        text(js(&written(arguments)))
    }),
    function("urlquery", &[], Some(Any), |arguments| {
        text(urlquery(&written(arguments)))
    }),
    function("eq", &[Any], Some(Any), eq),
    function("ne", &[Any, Any], None, |arguments| {
        Ok(Value::Bool(!equal(&arguments[0], &arguments[1])?))
    }),
    function("lt", &[Any, Any], None, |arguments| {
        ordered(arguments, Ordering::is_lt)
    }),
    function("le", &[Any, Any], None, |arguments| {
        ordered(arguments, Ordering::is_le)
    }),
    function("gt", &[Any, Any], None, |arguments| {
        ordered(arguments, Ordering::is_gt)
    }),
    function("ge", &[Any, Any], None, |arguments| {
        ordered(arguments, Ordering::is_ge)
    }),
    function("json", &[Any], None, |arguments| text(json(&arguments[0]))),
    function("split", &[Text, Text], None, |arguments| {
        let (whole, separator) = (as_text(&arguments[0]), as_text(&arguments[1]));
        Ok(Value::Texts(if separator.is_empty() {
            whole.chars().map(String::from).collect()
        } else {
            whole.split(separator).map(str::to_owned).collect()
        }))
    }),
    function("join", &[Texts, Text], None, |arguments| {
        let parts: Vec<String> = arguments[0]
            .elements()
            .unwrap_or_default()
            .iter()
            .map(|part| as_text(part).to_owned())
            .collect();
        text(parts.join(as_text(&arguments[1])))
    }),
    function("title", &[Text], None, |arguments| {
        text(title(as_text(&arguments[0])))
    }),
    function("lower", &[Text], None, |arguments| {
        text(as_text(&arguments[0]).to_lowercase())
    }),
    function("upper", &[Text], None, |arguments| {
        text(as_text(&arguments[0]).to_uppercase())
    }),
    function("pad", &[Text, Int, Int], None, pad),
    function("truncate", &[Text, Int], None, truncate),
];

/// The function `name`.
pub(super) fn find(name: &str) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|function| function.name == name)
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "most functions of the table can fail"
)]
fn text<'a>(text: String) -> Result<Value<'a>, String> {
    Ok(Value::Text(Cow::Owned(text)))
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "most functions of the table can fail"
)]
fn last<'a>(arguments: &[Value<'a>]) -> Result<Value<'a>, String> {
    Ok(arguments.last().cloned().unwrap_or(Value::Missing))
}

/// The text of an argument that [`Param::Text`] let pass.
fn as_text<'v>(value: &'v Value<'_>) -> &'v str {
    match value {
        Value::Text(text) => text,
        _ => "",
    }
}

fn written(arguments: &[Value<'_>]) -> String {
    match arguments {
        [single] => printf::display(single),
        several => printf::sprint(several),
    }
}

fn len<'a>(arguments: &[Value<'a>]) -> Result<Value<'a>, String> {
    let length = match &arguments[0] {
        Value::Missing => {
            return Err("reflect: call of reflect.Value.Type on zero Value".to_owned());
        }
        Value::Nil => return Err("len of nil pointer".to_owned()),
        Value::NilList | Value::NilMap => 0,
        Value::Text(text) => text.len(),
        Value::List(list) => list.len(),
        Value::Texts(list) => list.len(),
        Value::Map(map) => map.len(),
        other => return Err(format!("len of type {}", other.type_name())),
    };
    Ok(Value::Int(
        i128::try_from(length).expect("a length fits in 127 bits"),
    ))
}

/// An index that is at most `limit`.
fn position(index: &Value<'_>, limit: usize) -> Result<usize, String> {
    match index {
        Value::Int(number) => match usize::try_from(*number) {
            Ok(position) if position <= limit => Ok(position),
            _ => Err(format!("index out of range: {number}")),
        },
        Value::Missing | Value::Nil => Err("cannot index slice/array with nil".to_owned()),
        other => Err(format!(
            "cannot index slice/array with type {}",
            other.type_name()
        )),
    }
}

fn index<'a>(arguments: &[Value<'a>]) -> Result<Value<'a>, String> {
    let mut item = arguments[0].clone();
    if matches!(item, Value::Missing | Value::Nil) {
        return Err("index of untyped nil".to_owned());
    }
    for key in &arguments[1..] {
        let length = match &item {
            Value::Text(text) => text.len(),
            Value::List(list) => list.len(),
            Value::Texts(list) => list.len(),
            _ => 0,
        };
        // An index equal to the length is out of range here, though not for `slice`.
        let element = |key| match position(key, length)? {
            position if position == length => Err(format!("index out of range: {position}")),
            position => Ok(position),
        };
        item = match &item {
            Value::Missing | Value::Nil => return Err("index of nil pointer".to_owned()),
            Value::NilList => {
                return Err(element(key).map_or_else(|error| error, |at| at.to_string()));
            }
            Value::Text(text) => Value::Int(text.as_bytes()[element(key)?].into()),
            Value::List(list) => Value::element(&list[element(key)?]),
            Value::Texts(list) => Value::Text(Cow::Owned(list[element(key)?].clone())),
            Value::NilMap => Value::Text(Cow::Borrowed("")),
            Value::Map(map) => match key {
                Value::Text(key) => map
                    .get(&**key)
                    .map_or_else(|| Value::zero_of(map), |json| Value::field(key, json)),
                Value::Missing | Value::Nil => {
                    return Err("value is nil; should be of type string".to_owned());
                }
                other => {
                    return Err(format!(
                        "value has type {}; should be string",
                        other.type_name()
                    ));
                }
            },
            other => return Err(format!("can't index item of type {}", other.type_name())),
        };
    }
    // A nil that a map or list holds has no type, and Go prints it as no value.
    Ok(if matches!(item, Value::Nil) {
        Value::Missing
    } else {
        item
    })
}

fn slice<'a>(arguments: &[Value<'a>]) -> Result<Value<'a>, String> {
    let (item, indexes) = (&arguments[0], &arguments[1..]);
    let length = match item {
        Value::Missing | Value::Nil => return Err("slice of untyped nil".to_owned()),
        _ if indexes.len() > 3 => return Err(format!("too many slice indexes: {}", indexes.len())),
        Value::Text(_) if indexes.len() == 3 => {
            return Err("cannot 3-index slice a string".to_owned());
        }
        Value::Text(text) => text.len(),
        Value::NilList => 0,
        Value::List(list) => list.len(),
        Value::Texts(list) => list.len(),
        other => return Err(format!("can't slice item of type {}", other.type_name())),
    };
    let mut bounds = [0, length, length];
    for (bound, index) in bounds.iter_mut().zip(indexes) {
        *bound = position(index, length)?;
    }
    let [from, to, capacity] = bounds;
    if from > to {
        return Err(format!("invalid slice index: {from} > {to}"));
    }
    if to > capacity {
        return Err(format!("invalid slice index: {to} > {capacity}"));
    }
    Ok(match item {
        Value::Text(text) => Value::Text(Cow::Owned(
            String::from_utf8_lossy(&text.as_bytes()[from..to]).into_owned(),
        )),
        Value::List(list) => Value::List(&list[from..to]),
        Value::Texts(list) => Value::Texts(list[from..to].to_vec()),
        _ => Value::NilList,
    })
}

fn eq<'a>(arguments: &[Value<'a>]) -> Result<Value<'a>, String> {
    if arguments.len() < 2 {
        return Err("missing argument for comparison".to_owned());
    }
    for other in &arguments[1..] {
        if equal(&arguments[0], other)? {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}

fn equal(left: &Value<'_>, right: &Value<'_>) -> Result<bool, String> {
    let nil = |value: &Value<'_>| {
        matches!(
            value,
            Value::Missing | Value::Nil | Value::NilList | Value::NilMap
        )
    };
    match (left, right) {
        (Value::Bool(left), Value::Bool(right)) => Ok(left == right),
        (Value::Int(left), Value::Int(right)) => Ok(left == right),
        (Value::Float(left), Value::Float(right)) => Ok(left.total_cmp(right).is_eq()),
        (Value::Text(left), Value::Text(right)) => Ok(left == right),
        (left, right) if nil(left) || nil(right) => Ok(nil(left) && nil(right)),
        (Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_), _)
        | (_, Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_)) => {
            Err("incompatible types for comparison".to_owned())
        }
        (left, _) => Err(format!(
            "non-comparable type {}: {}",
            printf::display(left),
            left.type_name()
        )),
    }
}

fn ordered<'a>(arguments: &[Value<'a>], holds: fn(Ordering) -> bool) -> Result<Value<'a>, String> {
    let order = match (&arguments[0], &arguments[1]) {
        (Value::Int(left), Value::Int(right)) => left.cmp(right),
        (Value::Float(left), Value::Float(right)) => left.total_cmp(right),
        (Value::Text(left), Value::Text(right)) => left.cmp(right),
        (
            Value::Int(_) | Value::Float(_) | Value::Text(_),
            Value::Int(_) | Value::Float(_) | Value::Text(_),
        ) => {
            return Err("incompatible types for comparison".to_owned());
        }
        _ => return Err("invalid type for comparison".to_owned()),
    };
    Ok(Value::Bool(holds(order)))
}

/// Compact JSON without HTML escapes, keys in their own order.
fn json(value: &Value<'_>) -> String {
    let text = match value {
        Value::Missing | Value::Nil | Value::NilList | Value::NilMap => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Text(text) => serde_json::Value::from(&**text).to_string(),
        Value::Texts(list) => serde_json::Value::from(list.clone()).to_string(),
        Value::List(list) => {
            let elements: Vec<String> = list.iter().map(ToString::to_string).collect();
            format!("[{}]", elements.join(","))
        }
        Value::Map(map) => {
            let entries: Vec<String> = map
                .iter()
                .map(|(key, value)| format!("{}:{value}", serde_json::Value::from(&**key)))
                .collect();
            format!("{{{}}}", entries.join(","))
        }
    };
    // Go escapes these two always, because JavaScript ends lines at them.
    text.replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}

/// Go's `strings.Title`: each first letter of a word in upper case, the others as they are.
fn title(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut inside = false;
    for c in text.chars() {
        if inside {
            out.push(c);
        } else {
            out.extend(c.to_uppercase());
        }
        inside = if c.is_ascii() {
            c.is_ascii_alphanumeric() || c == '_'
        } else {
            !c.is_whitespace()
        };
    }
    out
}

/// Docker's `pad`: blanks before and after, none around the empty string.
fn pad<'a>(arguments: &[Value<'a>]) -> Result<Value<'a>, String> {
    let whole = as_text(&arguments[0]);
    if whole.is_empty() {
        return text(String::new());
    }
    let blanks = |value: &Value<'_>| match value {
        Value::Int(count @ 0..=1_000_000) => {
            Ok(" ".repeat(usize::try_from(*count).expect("in the range")))
        }
        Value::Int(count) if *count < 0 => Err("strings: negative Repeat count".to_owned()),
        _ => Err("strings: Repeat output length overflow".to_owned()),
    };
    text(format!(
        "{}{whole}{}",
        blanks(&arguments[1])?,
        blanks(&arguments[2])?
    ))
}

/// Docker's `truncate`: at most that many bytes, but no half character.
fn truncate<'a>(arguments: &[Value<'a>]) -> Result<Value<'a>, String> {
    let whole = as_text(&arguments[0]);
    match arguments[1] {
        Value::Int(length) if length < 0 => Err(format!(
            "runtime error: slice bounds out of range [:{length}]"
        )),
        Value::Int(length) => {
            let mut end = usize::try_from(length)
                .unwrap_or(usize::MAX)
                .min(whole.len());
            while !whole.is_char_boundary(end) {
                end -= 1;
            }
            text(whole[..end].to_owned())
        }
        _ => text(whole.to_owned()),
    }
}

fn html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\0' => out.push('\u{fffd}'),
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            c => out.push(c),
        }
    }
    out
}

fn js(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\'' => out.push_str("\\'"),
            '"' => out.push_str("\\\""),
            '<' | '>' | '&' | '=' | '\0'..='\x1f' => {
                out.push_str(&format!("\\u{:04X}", u32::from(c)));
            }
            c if c.is_ascii() || super::quote::printable(c) => out.push(c),
            c => out.push_str(&format!("\\u{:04X}", u32::from(c))),
        }
    }
    out
}

fn urlquery(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(byte));
            }
            b' ' => out.push('+'),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}
