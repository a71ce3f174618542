//! `cp`: files into and out of a container, as tar streams.

mod inward;
mod outward;
mod stat;

use std::io::{self, Write as _};

use clap::Args as ClapArgs;

use crate::failure::{Failure, Outcome};
use crate::http::Client;

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    #[command(flatten)]
    flags: Flags,
    /// CONTAINER:PATH, a local path, or - for a tar stream
    #[arg(value_name = "SRC_PATH")]
    source: String,
    /// CONTAINER:PATH, a local path, or - for a tar stream
    #[arg(value_name = "DEST_PATH")]
    destination: String,
}

// How to copy, of containers and of volumes. No doc comment: it would be the help of the command that has these flags.
#[derive(Debug, ClapArgs)]
pub(crate) struct Flags {
    /// Archive mode (copy all uid/gid information)
    #[arg(short, long)]
    archive: bool,
    /// Always follow symbol link in SRC_PATH
    #[arg(short = 'L', long)]
    follow_link: bool,
    /// Suppress progress output during copy
    #[arg(short, long)]
    quiet: bool,
}

/// One copy, below `/containers` or wherever else answers as that does.
pub(crate) struct Copy<'a> {
    pub(crate) base: &'static str,
    pub(crate) flags: &'a Flags,
    /// Ask for a snapshot before anything is copied in.
    pub(crate) safety_snapshot: bool,
    pub(crate) source: &'a str,
    pub(crate) destination: &'a str,
}

/// `container:path`; a path that begins with a dot or slash is local.
pub(crate) fn split(text: &str) -> Option<(&str, &str)> {
    if text.starts_with(['/', '.']) {
        return None;
    }
    text.split_once(':')
        .filter(|(container, _)| !container.is_empty())
}

impl Args {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        let copy = Copy {
            base: "/containers",
            flags: &self.flags,
            safety_snapshot: false,
            source: &self.source,
            destination: &self.destination,
        };
        match (split(&self.source), split(&self.destination)) {
            (Some((container, path)), None) => copy.copy_out(client, container, path)?,
            (None, Some((container, path))) => copy.copy_in(client, container, path)?,
            (Some(_), Some(_)) => {
                return Err(Failure::new("copying between containers is not supported"));
            }
            (None, None) => return Err(Failure::new("must specify at least one container source")),
        }
        Ok(0)
    }
}

impl Copy<'_> {
    fn said(&self) {
        if !self.flags.quiet && crate::terminal::stdout_is_terminal() {
            // A terminal that is gone reads nothing.
            drop(writeln!(
                io::stderr(),
                "Successfully copied to {}",
                self.destination
            ));
        }
    }
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
}
