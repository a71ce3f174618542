//! Where a volume goes: an engine, and the name that it shall have there.

use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

use crate::endpoint::Endpoint;
use crate::failure::{Failure, Outcome};
use crate::ssh::Ssh;

#[derive(Debug)]
pub(super) struct Destination {
    pub(super) endpoint: Endpoint,
    /// `None`: as it is called here.
    pub(super) name: Option<String>,
}

impl Destination {
    /// # Errors
    /// When it is neither of the two kinds.
    pub(super) fn parse(text: &str) -> Outcome<Self> {
        let named = |name: &str| (!name.is_empty()).then(|| name.to_owned());
        if let Some(rest) = text.strip_prefix("ssh://") {
            let (ssh, name) = Ssh::parse(rest)?;
            return Ok(Self {
                endpoint: Endpoint::over(ssh),
                name: named(&name),
            });
        }
        let Some(path) = text.strip_prefix("unix://") else {
            return Err(Failure::new(format!(
                "invalid destination \"{text}\": it is ssh://[user@]host[:port]/[NAME] or unix:///path/docker.sock/[NAME]"
            )));
        };
        let (socket, name) = if is_socket(Path::new(path)) {
            (path, "")
        } else {
            path.rsplit_once('/').unwrap_or((path, ""))
        };
        Ok(Self {
            endpoint: Endpoint::at(Path::new(socket)),
            name: named(name),
        })
    }
}

fn is_socket(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|metadata| metadata.file_type().is_socket())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds() {
        for (text, endpoint, name) in [
            ("ssh://me@host:22/data", "ssh://me@host:22", Some("data")),
            ("ssh://host", "ssh://host", None),
            ("ssh://host/", "ssh://host", None),
            (
                "unix:///a/docker.sock/x",
                "unix:///a/docker.sock",
                Some("x"),
            ),
            ("unix:///a/docker.sock/", "unix:///a/docker.sock", None),
        ] {
            let parsed = Destination::parse(text).expect(text);
            assert_eq!(
                (parsed.endpoint.to_string().as_str(), parsed.name.as_deref()),
                (endpoint, name),
                "{text}"
            );
        }
        for text in ["host", "tcp://host/x", "", "ssh://"] {
            Destination::parse(text).expect_err(text);
        }
    }
}
