//! Networks: the three that every engine has.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::failure::{Outcome, for_each};
use crate::grammar::Lazy;
use crate::http::{Client, Query, encode};
use crate::render::list::{self, Row};
use crate::render::units::short_id;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List networks
    #[command(visible_alias = "list")]
    Ls(Lazy<LsArgs>),
    /// Display detailed information on one or more networks
    Inspect(Lazy<InspectArgs>),
}

impl Command {
    pub(crate) fn run(self, client: &Client) -> Outcome<i32> {
        match self {
            Self::Ls(args) => args.run(client),
            Self::Inspect(args) => args.run(client),
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct LsArgs {
    /// Provide filter values (e.g. "driver=bridge")
    #[arg(short, long, value_name = "filter")]
    filter: Vec<String>,
    /// Format output using a custom template
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Do not truncate the output
    #[arg(long)]
    no_trunc: bool,
    /// Only display network IDs
    #[arg(short, long)]
    quiet: bool,
}

const COLUMNS: list::Columns<'_> = &[
    ("NETWORK ID", "ID"),
    ("NAME", "Name"),
    ("DRIVER", "Driver"),
    ("SCOPE", "Scope"),
];

impl LsArgs {
    fn run(&self, client: &Client) -> Outcome<i32> {
        let networks = client.get(&Query::new("/networks").filters(&self.filter)?.build())?;
        let rows: Vec<Row> = networks
            .as_array()
            .into_iter()
            .flatten()
            .map(|network| {
                let id = network["Id"].as_str().unwrap_or_default();
                let values = json!({
                    "CreatedAt": network["Created"],
                    "Driver": network["Driver"],
                    "ID": if self.no_trunc { id } else { short_id(id) },
                    "IPv6": network["EnableIPv6"].to_string(),
                    "Internal": network["Internal"].to_string(),
                    "Labels": "",
                    "Name": network["Name"],
                    "Scope": network["Scope"],
                });
                values.as_object().cloned().unwrap_or_default()
            })
            .collect();
        if self.quiet && self.format.is_none() {
            rows.iter()
                .for_each(|row| println!("{}", row["ID"].as_str().unwrap_or_default()));
            return Ok(0);
        }
        list::print(&rows, COLUMNS, COLUMNS, self.format.as_deref())?;
        Ok(0)
    }
}

#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// Format output using a custom template
    #[arg(short, long, value_name = "string")]
    format: Option<String>,
    #[arg(required = true, value_name = "NETWORK")]
    networks: Vec<String>,
}

impl InspectArgs {
    fn run(&self, client: &Client) -> Outcome<i32> {
        let mut found: Vec<Value> = Vec::new();
        let code = for_each(&self.networks, |name| {
            found.push(client.get(&format!("/networks/{}", encode(name)))?);
            Ok(())
        })?;
        list::print_inspected(&found, self.format.as_deref())?;
        Ok(code)
    }
}
