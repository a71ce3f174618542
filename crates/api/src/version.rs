//! Versions of Docker's API: which are spoken here, and how a client's version is read.

use std::fmt;
use std::str::FromStr;

/// `1.50`; ordered as numbers, not as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApiVersion {
    pub major: u16,
    pub minor: u16,
}

/// The newest version that is spoken, and the one that requests without a version get.
pub const NEWEST: ApiVersion = ApiVersion::v1(50);

/// The oldest version that is spoken, advertised as `MinAPIVersion`.
pub const OLDEST: ApiVersion = ApiVersion::v1(24);

impl ApiVersion {
    /// `1.minor`.
    #[must_use]
    pub const fn v1(minor: u16) -> Self {
        Self { major: 1, minor }
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// The text is no `MAJOR.MINOR`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAVersion;

impl fmt::Display for NotAVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an API version")
    }
}

impl std::error::Error for NotAVersion {}

impl FromStr for ApiVersion {
    type Err = NotAVersion;

    fn from_str(text: &str) -> Result<Self, NotAVersion> {
        let (major, minor) = text.split_once('.').ok_or(NotAVersion)?;
        let number = |digits: &str| {
            if digits.bytes().all(|byte| byte.is_ascii_digit()) {
                digits.parse().map_err(|_| NotAVersion)
            } else {
                Err(NotAVersion)
            }
        };
        Ok(Self {
            major: number(major)?,
            minor: number(minor)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_as_numbers() {
        let version = |text: &str| text.parse::<ApiVersion>();
        assert!(version("1.9").expect("valid") < version("1.41").expect("valid"));
        assert_eq!(version("1.50"), Ok(NEWEST));
        assert_eq!(NEWEST.to_string(), "1.50");
        for text in ["", "1", "1.", ".1", "1.2.3", "v1.2", "+1.2", "1.99999999"] {
            assert_eq!(version(text), Err(NotAVersion), "{text}");
        }
    }
}
