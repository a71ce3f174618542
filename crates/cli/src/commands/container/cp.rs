//! `cp`: files into and out of a container, as tar streams.
//!
//! The archive is made and read by tar(1): ownership, links and attributes are its business, on both ends.

use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Args as ClapArgs;
use serde_json::Value;

use crate::failure::{Failure, Outcome, plain};
use crate::http::{Body, Client, Query, encode};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Archive mode (copy all uid/gid information)
    #[arg(short, long)]
    archive: bool,
    /// Always follow symbol link in SRC_PATH
    #[arg(short = 'L', long)]
    follow_link: bool,
    /// Suppress progress output during copy
    #[arg(short, long)]
    quiet: bool,
    /// CONTAINER:PATH, a local path, or - for a tar stream
    #[arg(value_name = "SRC_PATH")]
    source: String,
    /// CONTAINER:PATH, a local path, or - for a tar stream
    #[arg(value_name = "DEST_PATH")]
    destination: String,
}

/// `container:path`; a path that begins with a dot or slash is local.
fn split(text: &str) -> Option<(&str, &str)> {
    if text.starts_with(['/', '.']) {
        return None;
    }
    text.split_once(':')
        .filter(|(container, _)| !container.is_empty())
}

impl Args {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        match (split(&self.source), split(&self.destination)) {
            (Some((container, path)), None) => self.copy_out(client, container, path)?,
            (None, Some((container, path))) => self.copy_in(client, container, path)?,
            (Some(_), Some(_)) => {
                return Err(Failure::new("copying between containers is not supported"));
            }
            (None, None) => return Err(Failure::new("must specify at least one container source")),
        }
        Ok(0)
    }

    fn stat(client: &Client, container: &str, path: &str) -> Outcome<Option<Stat>> {
        let query = Query::new(format!("/containers/{}/archive", encode(container)))
            .set("path", path)
            .build();
        match client.send("HEAD", &query, Body::Empty) {
            Ok(answer) => Ok(answer
                .header("X-Docker-Container-Path-Stat")
                .and_then(Stat::decode)),
            Err(failure) if failure.is_not_found() => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    fn copy_out(&self, client: &Client, container: &str, path: &str) -> Outcome<()> {
        let mut path = path.to_owned();
        if self.follow_link
            && let Some(stat) = Self::stat(client, container, &path)?
            && !stat.link_target.is_empty()
        {
            path = stat.link_target;
        }
        let query = Query::new(format!("/containers/{}/archive", encode(container)))
            .set("path", &path)
            .build();
        let answer = client.send("GET", &query, Body::Empty)?;
        if self.destination == "-" {
            io::copy(&mut { answer.body }, &mut io::stdout().lock())?;
            return Ok(());
        }
        let stat = answer
            .header("X-Docker-Container-Path-Stat")
            .and_then(Stat::decode)
            .ok_or_else(|| Failure::new("the engine did not describe the source"))?;
        let destination = Path::new(&self.destination);
        let contents = path.ends_with("/.");
        let (directory, name) = if destination.is_dir() {
            (destination.to_owned(), None)
        } else {
            if stat.is_directory() && destination.exists() {
                return Err(Failure::new("cannot copy directory"));
            }
            if self.destination.ends_with('/') && !stat.is_directory() {
                return Err(Failure::new(format!(
                    "destination directory {} must exist",
                    self.destination
                )));
            }
            let parent = destination
                .parent()
                .filter(|parent| !parent.as_os_str().is_empty())
                .unwrap_or(Path::new("."));
            if !parent.is_dir() {
                return Err(Failure::new(format!(
                    "invalid output path: directory \"{}\" does not exist",
                    parent.display()
                )));
            }
            (
                parent.to_owned(),
                destination
                    .file_name()
                    .map(|name| name.to_string_lossy().into_owned()),
            )
        };
        let mut tar = tar();
        tar.arg("-x").arg("-C").arg(&directory).arg("-f").arg("-");
        tar.arg(if self.archive {
            "--same-owner"
        } else {
            "--no-same-owner"
        });
        if let Some(name) = &name {
            let base = if contents { "." } else { &stat.name };
            tar.arg(format!(
                "--transform=s,^{}\\(/\\|$\\),{}\\1,",
                pattern(base),
                replacement(name)
            ));
        }
        let mut child = tar
            .stdin(Stdio::piped())
            .spawn()
            .map_err(|error| no_tar(&error))?;
        let mut stdin = child.stdin.take().expect("piped");
        let copied = io::copy(&mut { answer.body }, &mut stdin);
        drop(stdin);
        let status = child.wait()?;
        copied?;
        if !status.success() {
            return Err(Failure::silent(1));
        }
        self.said(&format!("Successfully copied to {}", self.destination));
        Ok(())
    }

    fn copy_in(&self, client: &Client, container: &str, path: &str) -> Outcome<()> {
        let mut target = path.to_owned();
        let mut stat = Self::stat(client, container, &target)?;
        if let Some(link) = stat.as_ref().filter(|stat| !stat.link_target.is_empty()) {
            target.clone_from(&link.link_target);
            stat = Self::stat(client, container, &target)?;
        }
        let into_directory = stat.as_ref().is_some_and(Stat::is_directory);
        if self.source == "-" {
            if !into_directory {
                return Err(Failure::new(format!(
                    "destination \"{container}:{path}\" must be a directory"
                )));
            }
            return self.put(client, container, &target, &mut io::stdin().lock());
        }
        let source = PathBuf::from(&self.source);
        let metadata = if self.follow_link || self.source.ends_with('/') {
            std::fs::metadata(&source)
        } else {
            std::fs::symlink_metadata(&source)
        }
        .map_err(|error| Failure::new(format!("lstat {}: {}", self.source, plain(&error))))?;
        if metadata.is_dir() && stat.as_ref().is_some_and(|stat| !stat.is_directory()) {
            return Err(Failure::new(format!(
                "cannot overwrite non-directory \"{container}:{path}\" with directory"
            )));
        }
        if !metadata.is_dir() && path.ends_with('/') && stat.is_none() {
            return Err(Failure::new(format!(
                "destination directory \"{container}:{path}\" must exist"
            )));
        }
        let contents = self.source.ends_with("/.") || self.source == ".";
        let full = if contents || self.source.ends_with('/') || self.source == ".." {
            source.canonicalize()?
        } else {
            source
        };
        let base = full.file_name().map_or_else(
            || ".".to_owned(),
            |name| name.to_string_lossy().into_owned(),
        );
        let (directory, rename) = if into_directory {
            (target.clone(), None)
        } else {
            let (parent, name) = target
                .trim_end_matches('/')
                .rsplit_once('/')
                .unwrap_or(("", &target));
            (
                if parent.is_empty() {
                    "/".to_owned()
                } else {
                    parent.to_owned()
                },
                Some(name.to_owned()),
            )
        };
        let mut tar = tar();
        tar.arg("-c")
            .arg("--numeric-owner")
            .arg("--xattrs")
            .arg("-f")
            .arg("-");
        if self.follow_link {
            tar.arg("--dereference");
        }
        let member = if contents && metadata.is_dir() {
            tar.arg("-C").arg(&full);
            ".".to_owned()
        } else {
            let parent = full
                .parent()
                .filter(|parent| !parent.as_os_str().is_empty())
                .unwrap_or(Path::new("."));
            tar.arg("-C").arg(parent);
            base
        };
        if let Some(name) = &rename {
            tar.arg(format!(
                "--transform=flags=r;s,^{}\\(/\\|$\\),{}\\1,",
                pattern(&member),
                replacement(name)
            ));
        }
        let mut child = tar
            .arg("--")
            .arg(&member)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| no_tar(&error))?;
        let mut stream = child.stdout.take().expect("piped");
        let sent = self.put(client, container, &directory, &mut stream);
        drop(stream);
        let status = child.wait()?;
        sent?;
        if !status.success() {
            return Err(Failure::silent(1));
        }
        self.said(&format!("Successfully copied to {}", self.destination));
        Ok(())
    }

    fn put(
        &self,
        client: &Client,
        container: &str,
        directory: &str,
        tar: &mut dyn Read,
    ) -> Outcome<()> {
        let path = Query::new(format!("/containers/{}/archive", encode(container)))
            .set("path", directory)
            .set("noOverwriteDirNonDir", "true")
            .flag("copyUIDGID", self.archive)
            .build();
        client
            .send("PUT", &path, Body::Stream("application/x-tar", tar))
            .map(drop)
    }

    fn said(&self, text: &str) {
        if !self.quiet && crate::terminal::stdout_is_terminal() {
            drop(writeln!(io::stderr(), "{text}"));
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the user's own tar, on the user's own files"
)]
fn tar() -> Command {
    Command::new("tar")
}

fn no_tar(error: &io::Error) -> Failure {
    Failure::new(format!("cp needs tar(1): {error}"))
}

/// Literal text in a sed pattern with `,` as its mark.
fn pattern(text: &str) -> String {
    text.chars()
        .flat_map(|letter| {
            if ".*[]^$\\/,".contains(letter) {
                vec!['\\', letter]
            } else {
                vec![letter]
            }
        })
        .collect()
}

fn replacement(text: &str) -> String {
    text.chars()
        .flat_map(|letter| {
            if "&\\,".contains(letter) {
                vec!['\\', letter]
            } else {
                vec![letter]
            }
        })
        .collect()
}

/// What the engine says of a path.
struct Stat {
    name: String,
    mode: u64,
    link_target: String,
}

impl Stat {
    /// From the header: base64 of JSON.
    fn decode(header: &str) -> Option<Self> {
        let value: Value = serde_json::from_slice(&base64(header)?).ok()?;
        Some(Self {
            name: value["name"].as_str()?.to_owned(),
            mode: value["mode"].as_u64()?,
            link_target: value["linkTarget"].as_str().unwrap_or_default().to_owned(),
        })
    }

    /// Go's mode bit.
    fn is_directory(&self) -> bool {
        self.mode & (1 << 31) != 0
    }
}

fn base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let (mut bits, mut count) = (0_u32, 0);
    for letter in text.bytes().filter(|&letter| letter != b'=') {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from((bits >> count) & 0xff).ok()?);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_and_container_paths() {
        assert_eq!(split("web:/x"), Some(("web", "/x")));
        for local in ["./a:b", "/a:b", "plain", "-"] {
            assert_eq!(split(local), None, "{local}");
        }
    }

    #[test]
    fn base64_is_read() {
        assert_eq!(base64("eyJhIjoxfQ==").unwrap(), br#"{"a":1}"#);
        assert!(base64("*").is_none());
    }
}
