//! `load`.

use clap::Args as ClapArgs;

use super::import::{messages, open};
use crate::failure::{Failure, Outcome};
use crate::http::{Body, Client, Query};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Read from tar archive file, instead of STDIN
    #[arg(short, long, value_name = "string")]
    input: Option<String>,
    /// Suppress the load output
    #[arg(short, long)]
    quiet: bool,
}

impl Args {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        if self.input.is_none() && crate::terminal::stdin_is_terminal() {
            return Err(Failure::new(
                "requested load from stdin, but stdin is empty",
            ));
        }
        let mut input = open(self.input.as_deref().unwrap_or("-"), "Loading")?;
        let path = Query::new("/images/load").set("quiet", "1").build();
        let answer = client.send("POST", &path, Body::Stream("application/x-tar", &mut input))?;
        messages(answer.body, |message| {
            if let Some(text) = message["stream"].as_str() {
                print!("{text}");
            }
        })?;
        Ok(0)
    }
}
