//! `volume cp`: files into, out of and between volumes, without a container.

use clap::Args as ClapArgs;

use crate::commands::container::cp::{Copy, Flags, split};
use crate::failure::{Failure, Outcome};
use crate::http::{Body, Client, Query, encode};

/// Where volumes answer as containers do below `/containers`.
const BASE: &str = "/orlop/v1/volumes";

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    #[command(flatten)]
    flags: Flags,
    /// Keep what the volume holds as a snapshot before anything is copied into it
    #[arg(long)]
    safety_snapshot: bool,
    /// VOLUME:PATH, VOLUME@SNAPSHOT:PATH, a local path, or - for a tar stream
    #[arg(value_name = "SRC_PATH")]
    source: String,
    /// VOLUME:PATH, a local path, or - for a tar stream
    #[arg(value_name = "DEST_PATH")]
    destination: String,
}

impl Args {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        let copy = Copy {
            base: BASE,
            flags: &self.flags,
            safety_snapshot: self.safety_snapshot,
            source: &self.source,
            destination: &self.destination,
        };
        match (split(&self.source), split(&self.destination)) {
            (Some((volume, path)), None) => copy.copy_out(client, volume, path)?,
            (None, Some((volume, path))) => copy.copy_in(client, volume, path)?,
            (Some(from), Some(to)) => across(client, from, to, self.safety_snapshot)?,
            (None, None) => {
                return Err(Failure::new(
                    "neither side names a volume: VOLUME:PATH names a place in one",
                ));
            }
        }
        Ok(0)
    }
}

/// From one volume into a directory of another; what a volume's path names keeps its name.
fn across(
    client: &Client,
    from: (&str, &str),
    to: (&str, &str),
    safety_snapshot: bool,
) -> Outcome<()> {
    let route = |(volume, path): (&str, &str)| {
        Query::new(format!("{BASE}/{}/archive", encode(volume)))
            .set("path", if path.is_empty() { "/" } else { path })
    };
    let mut body = client.send("GET", &route(from).build(), Body::Empty)?.body;
    client
        .send(
            "PUT",
            &route(to).flag("safetySnapshot", safety_snapshot).build(),
            Body::Stream("application/x-tar", &mut body),
        )
        .map(drop)
}
