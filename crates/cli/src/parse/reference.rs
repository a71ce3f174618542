//! Names of images as a client needs them: which registry, which tag; whether a name is good is for the engine to say.

/// Docker Hub by the name under which people log in.
pub(crate) const HUB: &str = "https://index.docker.io/v1/";

/// A name in its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name<'a> {
    /// Without tag and digest.
    pub(crate) repository: &'a str,
    pub(crate) tag: Option<&'a str>,
    pub(crate) digest: Option<&'a str>,
}

impl<'a> Name<'a> {
    pub(crate) fn parse(text: &'a str) -> Self {
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (text, None),
        };
        let name_start = rest.rfind('/').map_or(0, |slash| slash + 1);
        let (repository, tag) = match rest[name_start..].find(':') {
            Some(colon) => {
                let (repository, tag) = rest.split_at(name_start + colon);
                (repository, Some(&tag[1..]))
            }
            None => (rest, None),
        };
        Self {
            repository,
            tag,
            digest,
        }
    }

    /// What goes into the API's `tag`: tag or digest, `latest` where there is neither.
    pub(crate) fn tag_or_latest(&self) -> &'a str {
        self.digest.or(self.tag).unwrap_or("latest")
    }

    /// The registry, as logins name it.
    pub(crate) fn server(&self) -> &'a str {
        match self.repository.split_once('/') {
            Some((host, _))
                if is_host(host) && !matches!(host, "docker.io" | "index.docker.io") =>
            {
                host
            }
            _ => HUB,
        }
    }

    /// With everything that Docker implies, as it tells at the end of a pull.
    pub(crate) fn whole(&self) -> String {
        let hub = self.server() == HUB;
        let mut text = if hub {
            let path = self
                .repository
                .strip_prefix("docker.io/")
                .or_else(|| self.repository.strip_prefix("index.docker.io/"))
                .unwrap_or(self.repository);
            if path.contains('/') {
                format!("docker.io/{path}")
            } else {
                format!("docker.io/library/{path}")
            }
        } else {
            self.repository.to_owned()
        };
        match (self.tag, self.digest) {
            (_, Some(digest)) => text.extend(["@", digest]),
            (tag, None) => text.extend([":", tag.unwrap_or("latest")]),
        }
        text
    }
}

/// Docker's rule for the first part of a name.
fn is_host(text: &str) -> bool {
    text.contains(['.', ':']) || text == "localhost"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (text, server, whole) in [
            ("x", HUB, "docker.io/library/x:latest"),
            ("x:1", HUB, "docker.io/library/x:1"),
            ("docker.io/a/x", HUB, "docker.io/a/x:latest"),
            (
                "localhost:5000/x",
                "localhost:5000",
                "localhost:5000/x:latest",
            ),
            ("quay.io/a/x:2", "quay.io", "quay.io/a/x:2"),
            ("a/x@sha256:0", HUB, "docker.io/a/x@sha256:0"),
        ] {
            let name = Name::parse(text);
            assert_eq!((name.server(), name.whole().as_str()), (server, whole));
        }
        assert_eq!(Name::parse("h:5/x").tag_or_latest(), "latest");
        assert_eq!(Name::parse("h:5/x@sha256:0").tag_or_latest(), "sha256:0");
    }
}
