//! Where a repository is, as restic writes it: `/dir`, `local:/dir`, `s3:http://host/bucket/prefix`, `s3:host/bucket`,
//! `sftp:user@host:/dir`, `sftp://user@host:port//dir`, `rest:http://user:password@host/path/`.
//!
//! Source of the grammar: restic's manual, "Preparing a new repository".

use std::fmt;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// A place that was named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    Directory(PathBuf),
    ObjectStore(ObjectStore),
    Sftp(SshLocation),
    /// The address of a REST server, with a slash at its end, without user and password.
    Rest {
        url: String,
        user: Option<String>,
        password: Option<String>,
    },
}

/// A bucket of a server that speaks S3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectStore {
    /// Scheme, host and port.
    pub endpoint: String,
    pub bucket: String,
    /// Without slashes at its ends; may be empty.
    pub prefix: String,
}

/// A directory of a host that OpenSSH's client reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshLocation {
    pub user: Option<String>,
    pub host: String,
    pub port: Option<u16>,
    /// Relative to the home directory unless it begins with a slash.
    pub path: String,
}

/// What is wrong with a text that should name a repository. It never repeats a password.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum LocationError {
    #[error("no repository was named")]
    Empty,
    #[error("the repository's directory must be an absolute path: {0}")]
    Relative(String),
    #[error("unknown kind of repository {0}: there are local, s3, sftp and rest")]
    Kind(String),
    #[error("a repository in S3 is written s3:http[s]://HOST[:PORT]/BUCKET[/PREFIX]")]
    ObjectStore,
    #[error("a repository over SFTP is written sftp:[USER@]HOST:DIRECTORY")]
    Sftp,
    #[error(
        "a repository on a REST server is written rest:http[s]://[USER:PASSWORD@]HOST[:PORT]/[PATH]"
    )]
    Rest,
}

impl Location {
    /// Reads what a person wrote.
    ///
    /// # Errors
    /// [`LocationError`], one sentence.
    pub fn parse(text: &str) -> Result<Self, LocationError> {
        if text.is_empty() {
            return Err(LocationError::Empty);
        }
        if text.starts_with('/') {
            return Ok(directory(text));
        }
        let Some((kind, rest)) = text.split_once(':') else {
            return Err(LocationError::Relative(text.to_owned()));
        };
        match kind {
            "local" if rest.starts_with('/') => Ok(directory(rest)),
            "local" => Err(LocationError::Relative(rest.to_owned())),
            "s3" => object_store(rest).ok_or(LocationError::ObjectStore),
            "sftp" => ssh(rest).ok_or(LocationError::Sftp),
            "rest" => rest_server(rest).ok_or(LocationError::Rest),
            _ if kind.contains('/') || kind.starts_with('.') => {
                Err(LocationError::Relative(text.to_owned()))
            }
            _ => Err(LocationError::Kind(kind.to_owned())),
        }
    }
}

/// One directory, however many slashes it is written with.
fn directory(text: &str) -> Location {
    Location::Directory(Path::new(text).components().collect())
}

fn object_store(text: &str) -> Option<Location> {
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme @ ("http" | "https"), rest)) => (scheme, rest),
        Some(_) => return None,
        None => ("https", text),
    };
    let (host, path) = rest.split_once('/')?;
    let (bucket, prefix) = path.split_once('/').unwrap_or((path, ""));
    if host.is_empty() || bucket.is_empty() || host.contains('@') {
        return None;
    }
    Some(Location::ObjectStore(ObjectStore {
        endpoint: format!("{scheme}://{host}"),
        bucket: bucket.to_owned(),
        prefix: prefix.trim_matches('/').to_owned(),
    }))
}

fn ssh(text: &str) -> Option<Location> {
    let (host, port, path) = match text.strip_prefix("//") {
        // The first slash ends the host: an absolute path has a second one.
        Some(url) => {
            let (host, path) = url.split_once('/')?;
            match host.rsplit_once(':') {
                Some((host, port)) => (host, Some(port.parse().ok()?), path),
                None => (host, None, path),
            }
        }
        None => {
            let (host, path) = text.split_once(':')?;
            (host, None, path)
        }
    };
    let (user, host) = match host.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, host),
    };
    // What begins with a dash would be an option of ssh's.
    let usable = |word: &str| !word.is_empty() && !word.starts_with('-');
    if !usable(host) || path.is_empty() || user.is_some_and(|user| !usable(user)) {
        return None;
    }
    Some(Location::Sftp(SshLocation {
        user: user.map(str::to_owned),
        host: host.to_owned(),
        port,
        path: path.to_owned(),
    }))
}

fn rest_server(text: &str) -> Option<Location> {
    let (scheme, rest) = text.split_once("://")?;
    if !matches!(scheme, "http" | "https") {
        return None;
    }
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (login, host) = match authority.rsplit_once('@') {
        Some((login, host)) => (Some(login), host),
        None => (None, authority),
    };
    if host.is_empty() {
        return None;
    }
    let (user, password) = match login.map(|login| login.split_once(':').unwrap_or((login, ""))) {
        Some((user, password)) => (Some(user.to_owned()), Some(password.to_owned())),
        None => (None, None),
    };
    let path = path.trim_end_matches('/');
    let slash = if path.is_empty() { "" } else { "/" };
    Some(Location::Rest {
        url: format!("{scheme}://{host}/{path}{slash}"),
        user,
        password,
    })
}

/// As it may be shown: without a password.
impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path) => write!(f, "{}", path.display()),
            Self::ObjectStore(store) => {
                write!(f, "s3:{}/{}", store.endpoint, store.bucket)?;
                if store.prefix.is_empty() {
                    Ok(())
                } else {
                    write!(f, "/{}", store.prefix)
                }
            }
            Self::Sftp(ssh) => {
                f.write_str("sftp:")?;
                if ssh.port.is_some() {
                    f.write_str("//")?;
                }
                if let Some(user) = &ssh.user {
                    write!(f, "{user}@")?;
                }
                match ssh.port {
                    Some(port) => write!(f, "{}:{port}/{}", ssh.host, ssh.path),
                    None => write!(f, "{}:{}", ssh.host, ssh.path),
                }
            }
            Self::Rest { url, user, .. } => match (user, url.split_once("://")) {
                (Some(user), Some((scheme, rest))) => write!(f, "rest:{scheme}://{user}@{rest}"),
                _ => write!(f, "rest:{url}"),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_restic_writes_is_read() {
        for (text, shown) in [
            ("/srv/backups", "/srv/backups"),
            ("local:/srv/backups", "/srv/backups"),
            ("/srv//backups/", "/srv/backups"),
            (
                "s3:http://127.0.0.1:9000/bucket/a/b/",
                "s3:http://127.0.0.1:9000/bucket/a/b",
            ),
            (
                "s3:s3.example.org/bucket",
                "s3:https://s3.example.org/bucket",
            ),
            ("sftp:host:/srv", "sftp:host:/srv"),
            ("sftp:me@host:dir", "sftp:me@host:dir"),
            ("sftp://me@host:2222//srv", "sftp://me@host:2222//srv"),
            ("rest:http://host:8000", "rest:http://host:8000/"),
            (
                "rest:https://me:secret@host/a/b",
                "rest:https://me@host/a/b/",
            ),
        ] {
            let location = Location::parse(text).unwrap();
            assert_eq!(location.to_string(), shown, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for text in [
            "",
            "dir",
            "./a:b",
            "gs:bucket",
            "local:dir",
            "s3:http://host",
            "s3:ftp://host/b",
            "s3:key@host/b",
            "sftp:host",
            "sftp:-oProxyCommand=x:/srv",
            "sftp:-l@host:/srv",
            "sftp://host:port/x",
            "rest:host",
            "rest:http://",
        ] {
            let error = Location::parse(text).unwrap_err().to_string();
            assert!(
                !error.is_empty() && !error.contains('\n'),
                "{text}: {error}"
            );
        }
    }
}
