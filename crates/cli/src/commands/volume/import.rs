//! `volume import`.

use clap::Args as ClapArgs;

use crate::commands::image::open_input;
use crate::failure::{Failure, Outcome};
use crate::http::{Body, Client, encode};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Keep what the volume holds as a snapshot first
    #[arg(long)]
    safety_snapshot: bool,
    #[arg(value_name = "VOLUME")]
    volume: String,
    /// A tar archive (plain, gzip, bzip2, xz or zstd), or - for standard input
    #[arg(value_name = "SOURCE", default_value = "-")]
    source: String,
}

impl Args {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        if self.source == "-" && crate::terminal::stdin_is_terminal() {
            return Err(Failure::new(
                "requested import from stdin, but stdin is empty",
            ));
        }
        let mut input = open_input(&self.source, "Importing")?;
        let mut path = format!("/orlop/v1/volumes/{}/import", encode(&self.volume));
        if self.safety_snapshot {
            path.push_str("?safetySnapshot=1");
        }
        client.send("POST", &path, Body::Stream("application/x-tar", &mut input))?;
        Ok(0)
    }
}
