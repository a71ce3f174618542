//! A request as handlers see it: path parameters, query, version, body.

use std::time::Duration;

use api::version::ApiVersion;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::{StatusCode, header};
use serde_json::Value;
use tokio::time::timeout;

use crate::bridge::Bridge;
use crate::errors::Refusal;
use crate::stream::{BodyReader, read_out};
use crate::versions::Gates;

/// Larger JSON bodies are refused.
const MAX_JSON: usize = 10 << 20;

/// A JSON body that is not complete within this time is given up.
const BODY_PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Request {
    pub(crate) bridge: Bridge,
    pub(crate) version: ApiVersion,
    /// What the client's version does not know.
    pub(crate) gates: Gates,
    /// Values of the placeholders in the route's path, decoded.
    pub(crate) parameters: Vec<String>,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) inner: hyper::Request<Incoming>,
}

impl Request {
    /// The first placeholder.
    pub(crate) fn name(&self) -> String {
        self.parameters.first().cloned().unwrap_or_default()
    }

    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|(known, _)| known == key)
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn all(&self, key: &str) -> Vec<String> {
        self.query
            .iter()
            .filter(|(known, _)| known == key)
            .map(|(_, value)| value.clone())
            .collect()
    }

    /// Docker's reading of booleans in queries: anything but these is true.
    pub(crate) fn flag(&self, key: &str) -> bool {
        self.get(key).is_some_and(|value| {
            !matches!(
                value.trim().to_ascii_lowercase().as_str(),
                "" | "0" | "no" | "false" | "none"
            )
        })
    }

    pub(crate) fn text(&self, key: &str) -> Option<String> {
        self.get(key)
            .filter(|value| !value.is_empty())
            .map(str::to_owned)
    }

    pub(crate) fn number<T: std::str::FromStr>(&self, key: &str) -> Result<Option<T>, Refusal> {
        self.get(key)
            .filter(|value| !value.is_empty())
            .map(|value| {
                value
                    .parse()
                    .map_err(|_| Refusal::invalid(format!("invalid value \"{value}\" for {key}")))
            })
            .transpose()
    }

    /// The JSON body with nulls removed; an empty body is null.
    pub(crate) async fn json(mut self) -> Result<Value, Refusal> {
        self.take_json().await
    }

    /// As [`Request::json`], for who still needs the connection.
    pub(crate) async fn take_json(&mut self) -> Result<Value, Refusal> {
        let content_type = self.inner.headers().get(header::CONTENT_TYPE).cloned();
        let collected = Limited::new(self.inner.body_mut(), MAX_JSON).collect();
        let body = timeout(BODY_PATIENCE, collected)
            .await
            .map_err(|_| {
                Refusal::new(StatusCode::REQUEST_TIMEOUT, "the body did not come in time")
            })?
            .map_err(|error| {
                if error.is::<LengthLimitError>() {
                    Refusal::new(
                        StatusCode::PAYLOAD_TOO_LARGE,
                        format!("the body is larger than {MAX_JSON} bytes"),
                    )
                } else {
                    Refusal::invalid(format!("the body cannot be read: {error}"))
                }
            })?
            .to_bytes();
        if body.is_empty() {
            return Ok(Value::Null);
        }
        if let Some(kind) = content_type {
            let text = kind.to_str().unwrap_or_default();
            let plain = text.split(';').next().unwrap_or_default().trim();
            if !plain.eq_ignore_ascii_case("application/json") {
                return Err(Refusal::invalid(format!(
                    "unsupported Content-Type header ({text}): must be 'application/json'"
                )));
            }
        }
        let mut values = serde_json::Deserializer::from_slice(&body).into_iter::<Value>();
        let value = match values.next() {
            Some(Ok(value)) => value,
            Some(Err(error)) => return Err(Refusal::invalid(format!("invalid JSON: {error}"))),
            None => Value::Null,
        };
        if values.next().is_some() {
            return Err(Refusal::invalid("unexpected content after JSON"));
        }
        let mut value = without_nulls(value);
        self.gates.request(&mut value)?;
        Ok(value)
    }

    /// As [`read_out`], of the whole body.
    pub(crate) async fn read_out(self) {
        read_out(self.inner.into_body()).await;
    }

    pub(crate) fn reader(self) -> BodyReader {
        BodyReader::new(self.inner.into_body())
    }
}

/// Go's clients send null for what they leave open.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(
            map.into_iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(key, value)| (key, without_nulls(value)))
                .collect(),
        ),
        Value::Array(list) => Value::Array(list.into_iter().map(without_nulls).collect()),
        other => other,
    }
}

/// Undoes percent-encoding; `plus`: a plus is a blank, as in queries.
pub(crate) fn decode(text: &str, plus: bool) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while index < bytes.len() {
        let hex = |at: usize| {
            bytes
                .get(at)
                .and_then(|&digit| char::from(digit).to_digit(16))
        };
        match (bytes[index], hex(index + 1), hex(index + 2)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
                index += 3;
                continue;
            }
            (b'+', _, _) if plus => decoded.push(b' '),
            (byte, _, _) => decoded.push(byte),
        }
        index += 1;
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decoding() {
        assert_eq!(decode("a%2Fb+c%", true), "a/b c%");
        assert_eq!(decode("a+b", false), "a+b");
    }
}
