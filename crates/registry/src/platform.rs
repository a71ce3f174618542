//! What an image runs on: `linux/arm64/v8`.

use std::fmt;

use serde::Deserialize;

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Platform {
    pub os: String,
    pub architecture: String,
    pub variant: String,
}

impl Platform {
    /// Reads `os[/architecture[/variant]]`, or an architecture alone; what is missing is taken from `host`.
    #[must_use]
    pub fn parse(text: &str, host: &Self) -> Option<Self> {
        let good = |part: &str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
        };
        let parts: Vec<&str> = text.split('/').collect();
        if parts.is_empty() || parts.len() > 3 || !parts.iter().all(|part| good(part)) {
            return None;
        }
        let lower: Vec<String> = parts.iter().map(|part| part.to_ascii_lowercase()).collect();
        let mut found = if lower.len() == 1 && !is_os(&lower[0]) {
            Self {
                os: host.os.clone(),
                architecture: lower[0].clone(),
                variant: String::new(),
            }
        } else {
            Self {
                os: lower[0].clone(),
                architecture: lower
                    .get(1)
                    .cloned()
                    .unwrap_or_else(|| host.architecture.clone()),
                variant: lower.get(2).cloned().unwrap_or_default(),
            }
        };
        found.normalise();
        Some(found)
    }

    /// Other names of the same architecture become the usual one.
    fn normalise(&mut self) {
        let (architecture, variant) = match (self.architecture.as_str(), self.variant.as_str()) {
            ("x86_64" | "x86-64" | "amd64", "v1") => ("amd64", ""),
            ("x86_64" | "x86-64", variant) => ("amd64", variant),
            ("i386" | "i686", _) => ("386", ""),
            ("aarch64" | "arm64", "8" | "v8") => ("arm64", ""),
            ("aarch64", variant) => ("arm64", variant),
            ("armhf", _) => ("arm", "v7"),
            ("armel", _) => ("arm", "v6"),
            ("arm", "7") => ("arm", "v7"),
            ("arm", "6") => ("arm", "v6"),
            _ => return,
        };
        (self.architecture, self.variant) = (architecture.to_owned(), variant.to_owned());
    }

    /// How well an image for `self` serves who wants `wanted`: smaller is better, `None` not at all.
    #[must_use]
    pub fn distance(&self, wanted: &Self) -> Option<u32> {
        let mut ours = self.clone();
        ours.normalise();
        if ours.os != wanted.os || ours.architecture != wanted.architecture {
            return None;
        }
        let number = |variant: &str| variant.strip_prefix('v').and_then(|text| text.parse().ok());
        match (ours.variant.as_str(), wanted.variant.as_str()) {
            (a, b) if a == b => Some(0),
            // No variant of 32-bit ARM is version 7.
            ("v7", "") | ("", "v7") if ours.architecture == "arm" => Some(0),
            (_, "") => Some(100),
            ("", _) => Some(50),
            (a, b) => {
                let (a, b): (u32, u32) = (number(a)?, number(b)?);
                // Newer processors run what was made for older ones.
                b.checked_sub(a)
            }
        }
    }
}

fn is_os(text: &str) -> bool {
    matches!(
        text,
        "linux"
            | "windows"
            | "darwin"
            | "freebsd"
            | "netbsd"
            | "openbsd"
            | "solaris"
            | "aix"
            | "illumos"
    )
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if !self.variant.is_empty() {
            write!(f, "/{}", self.variant)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_people_write() {
        let host = Platform {
            os: "linux".to_owned(),
            architecture: "amd64".to_owned(),
            variant: String::new(),
        };
        for (text, shown) in [
            ("linux/arm64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/x86_64", "linux/amd64"),
            ("arm64", "linux/arm64"),
            ("linux", "linux/amd64"),
            ("linux/arm/v6", "linux/arm/v6"),
            ("Linux/AARCH64", "linux/arm64"),
        ] {
            assert_eq!(Platform::parse(text, &host).expect(text).to_string(), shown);
        }
        for text in ["", "/", "linux/", "a/b/c/d", "linux/am d"] {
            assert_eq!(Platform::parse(text, &host), None, "{text}");
        }
    }

    #[test]
    fn which_serves() {
        let of = |text: &str| Platform::parse(text, &Platform::default()).expect("valid");
        let distance = |ours: &str, wanted: &str| of(ours).distance(&of(wanted));
        assert_eq!(distance("linux/amd64", "linux/amd64"), Some(0));
        assert_eq!(distance("linux/arm64/v8", "linux/arm64"), Some(0));
        assert_eq!(distance("linux/arm64", "linux/amd64"), None);
        assert_eq!(distance("windows/amd64", "linux/amd64"), None);
        assert_eq!(distance("linux/arm/v6", "linux/arm/v7"), Some(1));
        assert_eq!(distance("linux/arm/v7", "linux/arm/v6"), None);
        assert_eq!(distance("linux/arm/v7", "linux/arm"), Some(0));
    }
}
