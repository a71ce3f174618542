//! Image references: `[domain/]path[:tag][@digest]`.

/// A parsed reference. `docker.io/library/` is implied as in Docker and not shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// As users see it: `busybox`, `localhost:5000/x`.
    pub repository: String,
    pub tag: Option<String>,
    pub digest: Option<String>,
}
