//! The `filters` parameter: `{"label":["a","b"]}`, or `{"label":{"a":true}}` as older clients write it.

use std::collections::BTreeMap;

use engine::containers::list::Filters;
use serde_json::Value;

use crate::errors::Refusal;

/// Reads the parameter; missing or empty is no filter.
pub(crate) fn parse(text: Option<&str>) -> Result<Filters, Refusal> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Ok(Filters::default());
    };
    let invalid = || Refusal::invalid(format!("invalid filter '{text}'"));
    let Ok(Value::Object(keys)) = serde_json::from_str(text) else {
        return Err(invalid());
    };
    let mut filters = BTreeMap::new();
    for (key, values) in keys {
        let values = match values {
            Value::Array(list) => list
                .into_iter()
                .map(|value| match value {
                    Value::String(value) => Ok(value),
                    _ => Err(invalid()),
                })
                .collect::<Result<Vec<_>, _>>()?,
            Value::Object(set) => set
                .into_iter()
                .map(|(value, wanted)| match wanted {
                    Value::Bool(wanted) => Ok(wanted.then_some(value)),
                    _ => Err(invalid()),
                })
                .filter_map(Result::transpose)
                .collect::<Result<Vec<_>, _>>()?,
            _ => return Err(invalid()),
        };
        filters.insert(key, values);
    }
    Ok(Filters(filters))
}

/// The one boolean value of `key`.
pub(crate) fn flag(filters: &Filters, key: &str) -> Result<Option<bool>, Refusal> {
    let Some(values) = filters.0.get(key) else {
        return Ok(None);
    };
    match values.as_slice() {
        [value] => match value.as_str() {
            "1" | "true" | "t" | "T" | "True" | "TRUE" => Ok(Some(true)),
            "0" | "false" | "f" | "F" | "False" | "FALSE" => Ok(Some(false)),
            _ => Err(Refusal::invalid(format!(
                "invalid filter '{key}=[{value}]'"
            ))),
        },
        [] => Ok(None),
        _ => Err(Refusal::invalid(format!(
            "invalid filter '{key}': only one value is allowed"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, Vec<String>)> {
        parse(Some(text)).expect(text).0.into_iter().collect()
    }

    #[test]
    fn both_forms() {
        let expected = vec![("label".to_owned(), vec!["a=1".to_owned(), "b".to_owned()])];
        assert_eq!(pairs(r#"{"label":["a=1","b"]}"#), expected);
        assert_eq!(
            pairs(r#"{"label":{"a=1":true,"b":true,"c":false}}"#),
            expected
        );
        assert!(parse(None).expect("none").0.is_empty());
        assert!(parse(Some("")).expect("empty").0.is_empty());
    }

    #[test]
    fn what_is_no_filter() {
        for text in [
            "x",
            "[]",
            r#"{"a":1}"#,
            r#"{"a":[1]}"#,
            r#"{"a":{"b":1}}"#,
            "null",
        ] {
            let refusal = parse(Some(text)).expect_err(text);
            assert_eq!(
                (refusal.status.as_u16(), refusal.message),
                (400, format!("invalid filter '{text}'"))
            );
        }
    }

    #[test]
    fn flags() {
        let of = |text: &str| flag(&parse(Some(text)).expect(text), "all");
        assert_eq!(of(r#"{"all":["1"]}"#), Ok(Some(true)));
        assert_eq!(of(r#"{"all":{"false":true}}"#), Ok(Some(false)));
        assert_eq!(of("{}"), Ok(None));
        assert!(of(r#"{"all":["maybe"]}"#).is_err());
        assert!(of(r#"{"all":["1","0"]}"#).is_err());
    }
}
