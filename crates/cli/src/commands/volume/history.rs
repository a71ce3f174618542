//! `volume history`.

use clap::Args as ClapArgs;
use serde_json::Value;

use super::when;
use crate::failure::Outcome;
use crate::http::{Client, encode};
use crate::json::each;
use crate::render::list::{pretty, print_table};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[arg(value_name = "VOLUME")]
    volume: String,
}

impl Args {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        let path = format!("/orlop/v1/volumes/{}/history", encode(&self.volume));
        let events = client.get(&path)?;
        if self.json {
            println!("{}", pretty(&events));
            return Ok(0);
        }
        let text = |event: &Value, key: &str| event[key].as_str().unwrap_or_default().to_owned();
        let lines = each(&events).map(|event| {
            vec![
                when(&text(event, "At")),
                text(event, "Action"),
                text(event, "Detail"),
            ]
        });
        print_table(
            &[("WHEN", "At"), ("WHAT", "Action"), ("DETAILS", "Detail")],
            lines,
        );
        Ok(0)
    }
}
