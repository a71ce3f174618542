//! What the engine says of a path in a container.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use crate::failure::Outcome;
use crate::http::{Answer, Body, Client, Query, encode};

pub(super) struct Stat {
    pub(super) name: String,
    pub(super) link_target: String,
    mode: u64,
}

impl Stat {
    /// `None` when there is nothing at `path`.
    pub(super) fn of(
        client: &Client,
        base: &str,
        container: &str,
        path: &str,
    ) -> Outcome<Option<Self>> {
        match client.send("HEAD", &route(base, container, path), Body::Empty) {
            Ok(answer) => Ok(Self::in_answer(&answer)),
            Err(failure) if failure.is_not_found() => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// From the header of an answer: base64 of JSON.
    pub(super) fn in_answer(answer: &Answer) -> Option<Self> {
        Self::decode(answer.header("X-Docker-Container-Path-Stat")?)
    }

    fn decode(header: &str) -> Option<Self> {
        let value: Value = serde_json::from_slice(&BASE64_STANDARD.decode(header).ok()?).ok()?;
        Some(Self {
            name: value["name"].as_str()?.to_owned(),
            mode: value["mode"].as_u64()?,
            link_target: value["linkTarget"].as_str().unwrap_or_default().to_owned(),
        })
    }

    pub(super) fn is_directory(&self) -> bool {
        /// Go's mode bit.
        const DIRECTORY: u64 = 1 << 31;
        self.mode & DIRECTORY != 0
    }
}

/// The archive of `path`.
pub(super) fn route(base: &str, container: &str, path: &str) -> String {
    Query::new(format!("{base}/{}/archive", encode(container)))
        .set("path", path)
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers() {
        // {"name":"d","mode":2147484141}
        let stat = Stat::decode("eyJuYW1lIjoiZCIsIm1vZGUiOjIxNDc0ODQxNDF9").unwrap();
        assert!(stat.is_directory() && stat.name == "d" && stat.link_target.is_empty());
        for broken in ["*", "", "e30="] {
            assert!(Stat::decode(broken).is_none(), "{broken}");
        }
    }
}
