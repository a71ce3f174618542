//! `volume receiving`: volumes of which only a part has arrived.

use clap::{Args as ClapArgs, Subcommand};
use serde_json::Value;

use crate::commands::volume::when;
use crate::failure::{Outcome, for_each};
use crate::grammar::Lazy;
use crate::http::{Client, encode};
use crate::render::list::{pretty, print_table};
use crate::render::units::human_size;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List volumes of which only a part has arrived
    #[command(visible_alias = "list")]
    Ls(Lazy<LsArgs>),
    /// Delete what has arrived of one or more volumes
    #[command(visible_alias = "remove")]
    Rm(Lazy<RmArgs>),
}

impl Command {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        match self {
            Self::Ls(args) => args.run(client),
            Self::Rm(args) => args.run(client),
        }
    }
}

#[derive(Debug, ClapArgs)]
pub(crate) struct LsArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Only display names
    #[arg(short, long)]
    quiet: bool,
}

impl LsArgs {
    fn run(&self, client: &Client) -> Outcome<i32> {
        let all = client.get("/orlop/v1/receiving")?;
        if self.json {
            println!("{}", pretty(&all));
            return Ok(0);
        }
        let all = all.as_array().map_or(&[][..], Vec::as_slice);
        let text = |one: &Value, key: &str| one[key].as_str().unwrap_or_default().to_owned();
        if self.quiet {
            all.iter().for_each(|one| println!("{}", text(one, "Name")));
            return Ok(0);
        }
        let lines = all.iter().map(|one| {
            let state = if one["Active"].as_bool() == Some(true) {
                "arriving"
            } else {
                "interrupted"
            };
            vec![
                text(one, "Name"),
                one["Bytes"].as_f64().map_or("-".to_owned(), human_size),
                state.to_owned(),
                when(&text(one, "BeganAt")),
            ]
        });
        print_table(
            &[
                ("VOLUME NAME", ""),
                ("SIZE", ""),
                ("STATE", ""),
                ("BEGAN", ""),
            ],
            lines,
        );
        Ok(0)
    }
}

#[derive(Debug, ClapArgs)]
pub(crate) struct RmArgs {
    #[arg(value_name = "VOLUME", required = true)]
    volumes: Vec<String>,
}

impl RmArgs {
    fn run(&self, client: &Client) -> Outcome<i32> {
        for_each(&self.volumes, |name| {
            client.delete(&format!("/orlop/v1/receiving/{}", encode(name)))?;
            println!("{name}");
            Ok(())
        })
    }
}
