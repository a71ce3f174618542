//! From the name of a repository as users see it to a registry and a path there.

/// Where Docker Hub's images are.
const HUB: &str = "docker.io";
const HUB_REGISTRY: &str = "registry-1.docker.io";

/// A repository of a registry.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Repository {
    /// `docker.io`, `localhost:5000`.
    pub host: String,
    /// `library/busybox`, `team/x`.
    pub path: String,
}

impl Repository {
    /// Reads a name that has no tag and no digest: `busybox`, `localhost:5000/team/x`.
    #[must_use]
    pub fn parse(name: &str) -> Self {
        match name.split_once('/') {
            Some((host, path)) if is_host(host) => Self::of(host, path),
            _ => Self::of(HUB, name),
        }
    }

    fn of(host: &str, path: &str) -> Self {
        let hub = matches!(host, "docker.io" | "index.docker.io" | HUB_REGISTRY);
        let path = if hub && !path.contains('/') {
            format!("library/{path}")
        } else {
            path.to_owned()
        };
        Self {
            host: if hub { HUB } else { host }.to_owned(),
            path,
        }
    }

    pub(crate) fn is_hub(&self) -> bool {
        self.host == HUB
    }

    /// The name with which people log in there.
    #[must_use]
    pub fn login_name(&self) -> &str {
        if self.is_hub() {
            "https://index.docker.io/v1/"
        } else {
            &self.host
        }
    }
}

/// The name of the host that answers for a registry.
pub(crate) fn server(host: &str) -> &str {
    if host == HUB { HUB_REGISTRY } else { host }
}

/// Docker's rule for the first part of a name.
pub(crate) fn is_host(text: &str) -> bool {
    text.contains(['.', ':']) || text == "localhost"
}

/// `https://host:5000/v1/` and `host:5000` are the same registry.
pub(crate) fn host_of_address(address: &str) -> &str {
    let bare = address
        .strip_prefix("https://")
        .or_else(|| address.strip_prefix("http://"))
        .unwrap_or(address);
    let host = bare.split('/').next().unwrap_or_default();
    match host {
        "" | "index.docker.io" | HUB_REGISTRY => HUB,
        host => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (name, host, path) in [
            ("busybox", "docker.io", "library/busybox"),
            ("team/app", "docker.io", "team/app"),
            ("docker.io/x", "docker.io", "library/x"),
            ("localhost/x", "localhost", "x"),
            ("localhost:5000/a/b", "localhost:5000", "a/b"),
            ("quay.io/a", "quay.io", "a"),
        ] {
            let repository = Repository::parse(name);
            assert_eq!(
                (repository.host.as_str(), repository.path.as_str()),
                (host, path)
            );
        }
        for (address, host) in [
            ("", "docker.io"),
            ("https://index.docker.io/v1/", "docker.io"),
            ("https://localhost:5000/v2/", "localhost:5000"),
            ("quay.io", "quay.io"),
        ] {
            assert_eq!(host_of_address(address), host);
        }
    }
}
