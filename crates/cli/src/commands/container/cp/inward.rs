//! Into a container.

use std::io::{self, PipeWriter, Read};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::thread;

use archive::{PackError, PackOptions};
use rustix::fs::{Mode, OFlags};

use super::Copy;
use super::stat::Stat;
use crate::failure::{Failure, Outcome};
use crate::http::{Body, Client, Query, encode};

impl Copy<'_> {
    pub(crate) fn copy_in(&self, client: &Client, container: &str, path: &str) -> Outcome<()> {
        let mut target = path.to_owned();
        let mut there = Stat::of(client, self.base, container, &target)?;
        if let Some(link) = there.as_ref().filter(|stat| !stat.link_target.is_empty()) {
            target.clone_from(&link.link_target);
            there = Stat::of(client, self.base, container, &target)?;
        }
        let into_directory = there.as_ref().is_some_and(Stat::is_directory);
        if self.source == "-" {
            if !into_directory {
                return Err(Failure::new(format!(
                    "destination \"{container}:{path}\" must be a directory"
                )));
            }
            return self.put(client, container, &target, &mut io::stdin().lock());
        }
        let is_directory = self.source_is_directory()?;
        if is_directory && there.as_ref().is_some_and(|stat| !stat.is_directory()) {
            return Err(Failure::new(format!(
                "cannot overwrite non-directory \"{container}:{path}\" with directory"
            )));
        }
        // Where not even the root is, the engine says what is missing.
        let root = path.bytes().all(|byte| byte == b'/');
        if !is_directory && path.ends_with('/') && there.is_none() && !root {
            return Err(Failure::new(format!(
                "destination directory \"{container}:{path}\" must exist"
            )));
        }
        let (directory, name) = if into_directory {
            (&*target, None)
        } else {
            let (parent, name) = target
                .trim_end_matches('/')
                .rsplit_once('/')
                .unwrap_or(("", &target));
            (if parent.is_empty() { "/" } else { parent }, Some(name))
        };
        self.send(client, container, directory, self.options(name)?)?;
        self.said();
        Ok(())
    }

    fn source_is_directory(&self) -> Outcome<bool> {
        let metadata = if self.flags.follow_link || self.source.ends_with('/') {
            std::fs::metadata(self.source)
        } else {
            std::fs::symlink_metadata(self.source)
        };
        metadata
            .map(|metadata| metadata.is_dir())
            .map_err(|error| Failure::file("lstat", self.source, &error))
    }

    /// What to pack; `name` is the new name of the source where it gets one.
    fn options(&self, name: Option<&str>) -> Outcome<PackOptions<'static>> {
        let contents = self.source.ends_with("/.") || self.source == ".";
        let whole = contents || self.source.ends_with('/') || self.source.ends_with("..");
        let path = if whole {
            std::fs::canonicalize(self.source)
        } else {
            std::path::absolute(self.source)
        }
        .map_err(|error| Failure::file("lstat", self.source, &error))?;
        Ok(PackOptions {
            path,
            follow: self.flags.follow_link,
            name: match name {
                Some(name) => Some(PathBuf::from(name)),
                None if contents => Some(PathBuf::from(".")),
                None => None,
            },
            ..PackOptions::default()
        })
    }

    /// Packs on one thread what another sends.
    fn send(
        &self,
        client: &Client,
        container: &str,
        directory: &str,
        options: PackOptions<'static>,
    ) -> Outcome<()> {
        let (mut reader, writer) = io::pipe()?;
        let packing = thread::spawn(move || pack(writer, &options));
        let mut stream = Checked {
            inner: &mut reader,
            packing: Some(packing),
        };
        self.put(client, container, directory, &mut stream)
    }

    fn put(
        &self,
        client: &Client,
        container: &str,
        directory: &str,
        tar: &mut dyn Read,
    ) -> Outcome<()> {
        let path = Query::new(format!("{}/{}/archive", self.base, encode(container)))
            .set("path", directory)
            .set("noOverwriteDirNonDir", "true")
            .flag("copyUIDGID", self.flags.archive)
            .flag("safetySnapshot", self.safety_snapshot)
            .build();
        client
            .send("PUT", &path, Body::Stream("application/x-tar", tar))
            .map(drop)
    }
}

fn pack(writer: PipeWriter, options: &PackOptions<'_>) -> io::Result<()> {
    let root = rustix::fs::open(
        Path::new("/"),
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    archive::pack(root.as_fd(), writer, options)
        .map(drop)
        .map_err(|error| match &error {
            PackError::Read { source, .. } => {
                let why = crate::failure::plain(source);
                io::Error::other(format!("{error}: {why}"))
            }
            PackError::Write { .. } | PackError::Partial { .. } => io::Error::other(error),
        })
}

/// A stream whose end is good only when the packing was.
struct Checked<'a> {
    inner: &'a mut io::PipeReader,
    packing: Option<thread::JoinHandle<io::Result<()>>>,
}

impl Read for Checked<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        if count == 0
            && let Some(packing) = self.packing.take()
        {
            packing.join().expect("packing does not panic")?;
        }
        Ok(count)
    }
}
