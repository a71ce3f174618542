//! Storage pools: other places for volumes.

use clap::{Args as ClapArgs, Subcommand};
use serde_json::{Value, json};

use crate::failure::{Outcome, for_each};
use crate::grammar::Lazy;
use crate::http::{Client, Query, encode};
use crate::json::{each, text};
use crate::parse::environment::labels;
use crate::render::list::{self, Row, print_inspected};
use crate::render::units::human_size;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create a pool
    Create(Lazy<CreateArgs>),
    /// Let new volumes go to a pool, or show where they go
    Default(Lazy<DefaultArgs>),
    /// Display detailed information on one or more pools
    Inspect(Lazy<InspectArgs>),
    /// List pools
    #[command(visible_alias = "list")]
    Ls(Lazy<LsArgs>),
    /// Rename a pool, in use or not
    Rename(Lazy<RenameArgs>),
    /// Change the size of a pool on a file of the engine's own or on a device, while it is in use
    Resize(Lazy<ResizeArgs>),
    /// Remove one or more pools in which there is nothing
    #[command(visible_alias = "remove")]
    Rm(Lazy<RmArgs>),
}

impl Command {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        match self {
            Self::Create(args) => args.run(client),
            Self::Default(args) => args.run(client),
            Self::Inspect(args) => args.run(client),
            Self::Ls(args) => args.run(client),
            Self::Rename(args) => args.run(client),
            Self::Resize(args) => args.run(client),
            Self::Rm(args) => args.run(client),
        }
    }
}

#[derive(Debug, ClapArgs)]
pub(crate) struct CreateArgs {
    /// Let new volumes go there from now on
    #[arg(long)]
    default: bool,
    /// Format the device even if it holds something, which is lost then
    #[arg(long, requires = "format")]
    force: bool,
    /// Make a filesystem on the device
    #[arg(long)]
    format: bool,
    /// What it is on: "dir" (a directory on what is there) or "btrfs" (a directory on one, a device, or a file made for it)
    #[arg(short, long, value_name = "kind", default_value = "dir")]
    kind: String,
    /// Set metadata for a pool
    #[arg(long, value_name = "list")]
    label: Vec<String>,
    /// Size of the file that is made when there is no source
    #[arg(long, value_name = "bytes")]
    size: Option<String>,
    /// Directory, or for a btrfs a block device
    #[arg(short, long, value_name = "path")]
    source: Option<String>,
    #[arg(value_name = "POOL")]
    name: String,
}

impl CreateArgs {
    fn run(&self, client: &Client) -> Outcome<i32> {
        let body = json!({
            "Name": self.name,
            "Kind": self.kind,
            "Source": self.source,
            "Size": self.size,
            "Format": self.format,
            "Force": self.force,
            "Default": self.default,
            "Labels": labels(&[], &self.label)?,
        });
        let pool = client.post("/orlop/v1/pools", &body)?;
        println!("{}", text(&pool["Name"]));
        Ok(0)
    }
}

#[derive(Debug, ClapArgs)]
pub(crate) struct DefaultArgs {
    #[arg(value_name = "POOL")]
    name: Option<String>,
}

impl DefaultArgs {
    fn run(&self, client: &Client) -> Outcome<i32> {
        if let Some(name) = &self.name {
            client.act(&format!("/orlop/v1/pools/{}/default", encode(name)))?;
            println!("{name}");
            return Ok(0);
        }
        let answer = client.get("/orlop/v1/pools")?;
        for pool in each(&answer["Pools"]) {
            if pool["Default"] == true {
                println!("{}", text(&pool["Name"]));
            }
        }
        Ok(0)
    }
}

#[derive(Debug, ClapArgs)]
pub(crate) struct InspectArgs {
    /// Format output using a custom template
    #[arg(short, long, value_name = "string")]
    format: Option<String>,
    #[arg(required = true, value_name = "POOL")]
    pools: Vec<String>,
}

impl InspectArgs {
    fn run(&self, client: &Client) -> Outcome<i32> {
        let mut found = Vec::new();
        let code = for_each(&self.pools, |name| {
            found.push(client.get(&format!("/orlop/v1/pools/{}", encode(name)))?);
            Ok(())
        })?;
        print_inspected(&found, self.format.as_deref())?;
        Ok(code)
    }
}

#[derive(Debug, ClapArgs)]
pub(crate) struct RenameArgs {
    #[arg(value_name = "POOL")]
    name: String,
    #[arg(value_name = "NEW")]
    to: String,
}

impl RenameArgs {
    fn run(&self, client: &Client) -> Outcome<i32> {
        let path = format!("/orlop/v1/pools/{}/rename", encode(&self.name));
        client.act(&Query::new(path).set("name", &self.to).build())?;
        println!("{}", self.to);
        Ok(0)
    }
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ResizeArgs {
    /// Pool to resize
    #[arg(value_name = "POOL")]
    name: String,
    /// Bytes that it shall have (1g), or "max" for all of its device
    #[arg(value_name = "SIZE")]
    size: String,
}

impl ResizeArgs {
    fn run(&self, client: &Client) -> Outcome<i32> {
        let path = format!("/orlop/v1/pools/{}/resize", encode(&self.name));
        client.act(&Query::new(path).set("size", &self.size).build())?;
        println!("{}", self.name);
        Ok(0)
    }
}

#[derive(Debug, ClapArgs)]
pub(crate) struct RmArgs {
    #[arg(required = true, value_name = "POOL")]
    pools: Vec<String>,
}

impl RmArgs {
    fn run(&self, client: &Client) -> Outcome<i32> {
        for_each(&self.pools, |name| {
            client.delete(&format!("/orlop/v1/pools/{}", encode(name)))?;
            println!("{name}");
            Ok(())
        })
    }
}

#[derive(Debug, ClapArgs)]
pub(crate) struct LsArgs {
    /// Format output using a custom template
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Only display pool names
    #[arg(short, long)]
    quiet: bool,
}

const COLUMNS: list::Columns<'_> = &[
    ("NAME", "Name"),
    ("KIND", "Kind"),
    ("STATE", "State"),
    ("SIZE", "Size"),
    ("FREE", "Free"),
    ("VOLUMES", "Volumes"),
    ("SOURCE", "Source"),
];

impl LsArgs {
    fn run(&self, client: &Client) -> Outcome<i32> {
        let answer = client.get("/orlop/v1/pools")?;
        let pools = answer["Pools"].as_array().cloned().unwrap_or_default();
        if self.quiet {
            for pool in &pools {
                println!("{}", text(&pool["Name"]));
            }
            return Ok(0);
        }
        let rows: Vec<Row> = pools.iter().map(row).collect();
        list::print(&rows, COLUMNS, COLUMNS, self.format.as_deref())?;
        Ok(0)
    }
}

fn row(pool: &Value) -> Row {
    let bytes = |value: &Value| value.as_f64().map_or("N/A".to_owned(), human_size);
    let name = text(&pool["Name"]);
    let source = match text(&pool["Source"]) {
        "" => "(own file)",
        source => source,
    };
    let values = json!({
        "Name": if pool["Default"] == true { format!("{name} *") } else { name.to_owned() },
        "Kind": pool["Kind"],
        "State": pool["State"],
        "Size": bytes(&pool["Size"]),
        "Free": bytes(&pool["Free"]),
        "Volumes": pool["Volumes"].as_array().map_or(0, Vec::len),
        "Source": source,
        "Labels": pool["Labels"],
    });
    values.as_object().cloned().unwrap_or_default()
}
