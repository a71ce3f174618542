//! Out of a container. The stream is the container's word and may be hostile: it is contained in the target directory.

use std::io;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use archive::{Owner, Rename, UnpackOptions};
use rustix::fs::{Mode, OFlags};

use super::Copy;
use super::stat::{Stat, route};
use crate::failure::{Failure, Outcome};
use crate::http::{Body, Client};

impl Copy<'_> {
    pub(crate) fn copy_out(&self, client: &Client, container: &str, path: &str) -> Outcome<()> {
        let mut path = path.to_owned();
        if self.flags.follow_link
            && let Some(stat) = Stat::of(client, self.base, container, &path)?
            && !stat.link_target.is_empty()
        {
            path = stat.link_target;
        }
        let answer = client.send("GET", &route(self.base, container, &path), Body::Empty)?;
        if self.destination == "-" {
            io::copy(&mut { answer.body }, &mut io::stdout().lock())?;
            return Ok(());
        }
        let stat = Stat::in_answer(&answer)
            .ok_or_else(|| Failure::new("the engine did not describe the source"))?;
        let (directory, name) = self.target(&stat)?;
        let rename = name.map(|to| Rename {
            // The names of contents begin with nothing that could be replaced.
            from: if path.ends_with("/.") {
                PathBuf::new()
            } else {
                PathBuf::from(&stat.name)
            },
            to: PathBuf::from(to),
        });
        let owner = if self.flags.archive {
            Owner::Keep
        } else {
            Owner::Fixed(
                rustix::process::geteuid().as_raw(),
                rustix::process::getegid().as_raw(),
            )
        };
        let opened = rustix::fs::open(
            &directory,
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map_err(|error| Failure::file("open", &directory, &error.into()))?;
        let options = UnpackOptions {
            owner,
            rename,
            no_overwrite_dir_non_dir: true,
            ..UnpackOptions::default()
        };
        let mut stream = answer.body;
        archive::unpack(&mut stream, opened.as_fd(), &options).map_err(|error| {
            let cause = error.cause().map(|cause| format!(": {cause}"));
            Failure::new(format!("{error}{}", cause.unwrap_or_default()))
        })?;
        // An engine that fails half way breaks the stream off behind the last whole entry.
        io::copy(&mut stream, &mut io::sink())?;
        self.said();
        Ok(())
    }

    /// The directory that receives the stream, and the new name of what comes where it gets one.
    fn target(&self, source: &Stat) -> Outcome<(PathBuf, Option<String>)> {
        let destination = Path::new(self.destination);
        if destination.is_dir() {
            return Ok((destination.to_owned(), None));
        }
        if source.is_directory() && destination.exists() {
            return Err(Failure::new("cannot copy directory"));
        }
        if self.destination.ends_with('/') && !source.is_directory() {
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
        let name = destination
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        Ok((parent.to_owned(), name))
    }
}
