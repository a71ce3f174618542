//! Where a plugin listens.

use std::path::PathBuf;

use serde::Deserialize;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    Unix(PathBuf),
    /// `http://host:port` or `https://host:port`.
    Web {
        base: String,
        tls: Tls,
    },
}

/// How a plugin and the engine know each other; as in Docker without an authority nobody is verified.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Tls {
    pub(crate) insecure_skip_verify: bool,
    #[serde(rename = "CAFile")]
    pub(crate) ca_file: String,
    pub(crate) cert_file: String,
    pub(crate) key_file: String,
}

/// Why a text is no address.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AddressError {
    #[error("Unknown protocol")]
    NoScheme,
    #[error("protocol not available: {0}")]
    Scheme(String),
    #[error("{0:?} names no host or socket")]
    Empty(String),
}

impl Address {
    pub(crate) fn parse(text: &str, tls: Tls) -> Result<Self, AddressError> {
        let text = text.trim();
        let (scheme, rest) = text.split_once("://").ok_or(AddressError::NoScheme)?;
        let empty = || AddressError::Empty(text.to_owned());
        match scheme {
            "unix" if rest.starts_with('/') && !rest.contains('\0') => Ok(Self::Unix(rest.into())),
            "unix" => Err(empty()),
            "tcp" | "http" | "https" => {
                let host = rest.split('/').next().unwrap_or_default();
                let is_host = !host.is_empty()
                    && host
                        .chars()
                        .all(|letter| letter.is_ascii_alphanumeric() || ".-_:[]%".contains(letter));
                if !is_host {
                    return Err(empty());
                }
                let scheme = if scheme == "https" { "https" } else { "http" };
                Ok(Self::Web {
                    base: format!("{scheme}://{host}"),
                    tls,
                })
            }
            other => Err(AddressError::Scheme(other.to_owned())),
        }
    }

    /// What requests are sent to. As in Docker a socket has a name that no resolver knows.
    pub(crate) fn url(&self, method: &str) -> String {
        match self {
            Self::Unix(_) => format!("http://plugin.moby.localhost/{method}"),
            Self::Web { base, .. } => format!("{base}/{method}"),
        }
    }

    /// As in the errors of Go's dialler.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Unix(path) => format!("unix {}", path.display()),
            Self::Web { base, .. } => {
                let host = base.split("://").nth(1).unwrap_or(base);
                format!("tcp {host}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (text, url) in [
            ("unix:///run/x.sock\n", "http://plugin.moby.localhost/M"),
            ("tcp://localhost:8080", "http://localhost:8080/M"),
            ("http://h:1/path", "http://h:1/M"),
            (" https://[::1]:1 ", "https://[::1]:1/M"),
        ] {
            let address = Address::parse(text, Tls::default()).expect(text);
            assert_eq!(address.url("M"), url);
        }
        for (text, error) in [
            ("", "Unknown protocol"),
            ("/run/x.sock", "Unknown protocol"),
            ("ftp://x", "protocol not available: ftp"),
            ("unix://", "\"unix://\" names no host or socket"),
            ("unix://x.sock", "\"unix://x.sock\" names no host or socket"),
            ("tcp://", "\"tcp://\" names no host or socket"),
            (
                "http://a b\r\nX: y",
                "\"http://a b\\r\\nX: y\" names no host or socket",
            ),
        ] {
            let refused = Address::parse(text, Tls::default()).expect_err(text);
            assert_eq!(refused.to_string(), error);
        }
    }
}
