//! Image references: `[domain/]path[:tag][@digest]`.

use std::borrow::Cow;

use super::ImageError;

/// A parsed reference in the form that users see: `docker.io/library/` is implied and not shown, and `docker.io/` not either
/// unless what follows would be taken for another registry then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// `busybox`, `localhost:5000/team/x`.
    pub repository: String,
    pub tag: Option<String>,
    /// `sha256:…`.
    pub digest: Option<String>,
}

impl Reference {
    /// Reads a reference by Docker's grammar.
    pub fn parse(text: &str) -> Result<Self, ImageError> {
        let invalid = || ImageError::Invalid(format!("invalid reference format: \"{text}\""));
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) if is_digest(digest) => (rest, Some(digest.to_owned())),
            Some(_) => return Err(invalid()),
            None => (text, None),
        };
        // A colon after the last slash begins the tag; one before it a registry's port.
        let name_start = rest.rfind('/').map_or(0, |slash| slash + 1);
        let (repository, tag) = match rest[name_start..].find(':') {
            Some(colon) => {
                let (repository, tag) = rest.split_at(name_start + colon);
                (repository, Some(tag[1..].to_owned()))
            }
            None => (rest, None),
        };
        if tag.as_deref().is_some_and(|tag| !is_tag(tag)) {
            return Err(invalid());
        }
        let repository = familiar(repository);
        if repository.chars().any(|letter| letter.is_ascii_uppercase())
            && is_path(&repository.to_ascii_lowercase())
        {
            // As Docker says it: with what it implies.
            let implied = if repository.contains('/') {
                ""
            } else {
                "library/"
            };
            return Err(ImageError::Invalid(format!(
                "invalid reference format: repository name ({implied}{repository}) must be lowercase"
            )));
        }
        if !is_repository(&repository) {
            return Err(invalid());
        }
        Ok(Self {
            repository: repository.into_owned(),
            tag,
            digest,
        })
    }

    /// The tag, `latest` when none is given.
    pub fn tag_or_latest(&self) -> &str {
        self.tag.as_deref().unwrap_or("latest")
    }
}

/// Strips what Docker implies. Docker itself strips it from `docker.io/a.b/x`, too: it shows two repositories alike that it
/// tells apart; names are the keys of our records.
fn familiar(repository: &str) -> Cow<'_, str> {
    let hub = ["docker.io/", "index.docker.io/"]
        .iter()
        .find_map(|prefix| repository.strip_prefix(prefix));
    let path = hub.unwrap_or(repository);
    match path.strip_prefix("library/") {
        Some(name) if !name.contains('/') => name.into(),
        _ if hub.is_some() && domain_of(path).is_some() => format!("docker.io/{path}").into(),
        _ => path.into(),
    }
}

/// What Docker's rule takes for a registry, and the rest.
fn domain_of(text: &str) -> Option<(&str, &str)> {
    text.split_once('/')
        .filter(|(domain, _)| domain.contains(['.', ':']) || *domain == "localhost")
}

fn is_repository(text: &str) -> bool {
    if text.is_empty() || text.len() > 255 {
        return false;
    }
    match domain_of(text) {
        Some((domain, path)) => is_domain(domain) && is_path(path),
        None => is_path(text),
    }
}

fn is_domain(text: &str) -> bool {
    let (host, port) = text.split_once(':').unwrap_or((text, "0"));
    !host.is_empty()
        && host.split('.').all(|label| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        })
        && !port.is_empty()
        && port.bytes().all(|byte| byte.is_ascii_digit())
}

/// Components of lower-case letters and digits, separated inside by `.`, `_`, `__` or dashes.
fn is_path(text: &str) -> bool {
    text.split('/').all(|component| {
        let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let bytes = component.as_bytes();
        let framed = matches!((bytes.first(), bytes.last()), (Some(&a), Some(&b)) if alphanumeric(a) && alphanumeric(b));
        framed
            && component
                .split(|letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit())
                .all(|gap| matches!(gap, "" | "." | "_" | "__") || gap.bytes().all(|byte| byte == b'-'))
    })
}

fn is_tag(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (1..=128).contains(&text.len())
        && text.bytes().next().is_some_and(word)
        && text
            .bytes()
            .all(|byte| word(byte) || matches!(byte, b'.' | b'-'))
}

pub(super) fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|hex| {
        hex.len() == 64
            && hex
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_people_write() {
        for (text, repository, tag) in [
            ("busybox", "busybox", None),
            ("busybox:1.35", "busybox", Some("1.35")),
            ("docker.io/library/busybox:x", "busybox", Some("x")),
            ("docker.io/team/app", "team/app", None),
            ("localhost:5000/a/b:t_1", "localhost:5000/a/b", Some("t_1")),
            ("localhost/a", "localhost/a", None),
            ("docker.io/a.b/x", "docker.io/a.b/x", None),
            ("index.docker.io/localhost/x", "docker.io/localhost/x", None),
            ("docker.io/docker.io/x", "docker.io/docker.io/x", None),
            ("a.b/x", "a.b/x", None),
            ("docker.io/library/a.b", "a.b", None),
            ("library/a/b", "library/a/b", None),
            ("my__img--x.y", "my__img--x.y", None),
        ] {
            let reference = Reference::parse(text).expect(text);
            assert_eq!(
                (reference.repository.as_str(), reference.tag.as_deref()),
                (repository, tag),
                "{text}"
            );
        }
        let digest = format!("sha256:{}", "a".repeat(64));
        assert_eq!(
            Reference::parse(&format!("x@{digest}"))
                .expect("digest")
                .digest,
            Some(digest)
        );
    }

    #[test]
    fn what_is_no_reference() {
        for text in [
            "",
            ":x",
            "a:",
            "a b",
            "-a",
            "a..b",
            "a@sha256:zz",
            "a/:x",
            "a//b",
            "x:-a",
            "../x",
            "a:b:c",
        ] {
            assert!(Reference::parse(text).is_err(), "{text}");
        }
        assert_eq!(
            Reference::parse("Busybox")
                .expect_err("upper case")
                .to_string(),
            "invalid reference format: repository name (library/Busybox) must be lowercase"
        );
    }
}
