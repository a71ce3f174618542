//! Query strings.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Percent-encodes everything that is not unreserved.
pub(crate) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            _ => write!(encoded, "%{byte:02X}").expect("writing to a string"),
        }
    }
    encoded
}

/// Builds `path?key=value&…`.
#[derive(Debug)]
pub(crate) struct Query {
    text: String,
    any: bool,
}

impl Query {
    pub(crate) fn new(path: impl Into<String>) -> Self {
        Self {
            text: path.into(),
            any: false,
        }
    }

    pub(crate) fn set(mut self, key: &str, value: impl AsRef<str>) -> Self {
        self.text.push(if self.any { '&' } else { '?' });
        self.any = true;
        self.text.push_str(key);
        self.text.push('=');
        self.text.push_str(&encode(value.as_ref()));
        self
    }

    pub(crate) fn flag(self, key: &str, on: bool) -> Self {
        if on { self.set(key, "1") } else { self }
    }

    pub(crate) fn option(self, key: &str, value: Option<impl ToString>) -> Self {
        match value {
            Some(value) => self.set(key, value.to_string()),
            None => self,
        }
    }

    /// `--filter key=value` as the API's JSON; nothing when there is none.
    pub(crate) fn filters(self, filters: &[String]) -> crate::failure::Outcome<Self> {
        if filters.is_empty() {
            return Ok(self);
        }
        let mut map: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for filter in filters {
            let (key, value) = filter.split_once('=').ok_or_else(|| {
                crate::failure::Failure::new(format!("invalid argument \"{filter}\" for \"-f, --filter\" flag: invalid filter '{filter}'"))
            })?;
            map.entry(key.trim()).or_default().push(value.trim());
        }
        let text = serde_json::to_string(&map).expect("strings serialise");
        Ok(self.set("filters", text))
    }

    pub(crate) fn build(self) -> String {
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries() {
        let path = Query::new("/x")
            .flag("a", true)
            .flag("b", false)
            .set("c", "d e/ü")
            .option("n", Some(5))
            .build();
        assert_eq!(path, "/x?a=1&c=d%20e%2F%C3%BC&n=5");
        let filtered = Query::new("/x")
            .filters(&["label=a=b".to_owned(), "label=c".to_owned()])
            .unwrap()
            .build();
        assert_eq!(
            filtered,
            format!("/x?filters={}", encode(r#"{"label":["a=b","c"]}"#))
        );
        assert!(Query::new("/x").filters(&["nothing".to_owned()]).is_err());
    }
}
