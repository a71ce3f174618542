//! `export`.

use std::path::PathBuf;

use clap::Args as ClapArgs;

use crate::commands::image::save::write_out;
use crate::failure::Outcome;
use crate::http::{Body, Client, encode};
use crate::render::progress::{Counted, bar};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Write to a file, instead of STDOUT
    #[arg(short, long, value_name = "string")]
    output: Option<PathBuf>,
    #[arg(value_name = "CONTAINER")]
    container: String,
}

impl Args {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        write_out(self.output.as_deref(), || {
            let path = format!("/containers/{}/export", encode(&self.container));
            Ok(Counted {
                reader: client.send("GET", &path, Body::Empty)?.body,
                bar: bar("Exporting", 0),
            })
        })?;
        Ok(0)
    }
}
