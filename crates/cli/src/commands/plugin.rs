//! Managed plugins: asked of the engine as docker asks. An engine without any lists none, and says so of each by name.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::failure::{Outcome, for_each};
use crate::grammar::Lazy;
use crate::http::{Client, Query, encode};
use crate::json::each;
use crate::render::list::{self, Row};
use crate::render::units::short_id;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List plugins
    #[command(visible_alias = "list")]
    Ls(Lazy<LsArgs>),
    /// Display detailed information on one or more plugins
    Inspect(Lazy<InspectArgs>),
    /// Install a plugin
    Install(Lazy<InstallArgs>),
    /// Enable a plugin
    Enable(Lazy<NameArgs>),
    /// Disable a plugin
    Disable(Lazy<NameArgs>),
    /// Change settings for a plugin
    Set(Lazy<SetArgs>),
    /// Push a plugin to a registry
    Push(Lazy<NameArgs>),
    /// Remove one or more plugins
    #[command(visible_alias = "remove")]
    Rm(Lazy<RmArgs>),
}

impl Command {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        match self {
            Self::Ls(args) => args.run(client),
            Self::Inspect(args) => args.run(client),
            Self::Install(args) => args.run(client),
            Self::Enable(args) => args.post(client, "enable"),
            Self::Disable(args) => args.post(client, "disable"),
            Self::Set(args) => args.run(client),
            Self::Push(args) => args.post(client, "push"),
            Self::Rm(args) => args.run(client),
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct LsArgs {
    /// Provide filter values (e.g. "enabled=true")
    #[arg(short, long, value_name = "filter")]
    filter: Vec<String>,
    /// Format output using a custom template
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Do not truncate the output
    #[arg(long)]
    no_trunc: bool,
    /// Only display plugin IDs
    #[arg(short, long)]
    quiet: bool,
}

const COLUMNS: list::Columns<'_> = &[
    ("ID", "ID"),
    ("NAME", "Name"),
    ("DESCRIPTION", "Description"),
    ("ENABLED", "Enabled"),
];

impl LsArgs {
    fn run(&self, client: &Client) -> Outcome<i32> {
        let plugins = client.get(&Query::new("/plugins").filters(&self.filter)?.build())?;
        let rows: Vec<Row> = each(&plugins)
            .map(|plugin| {
                let id = plugin["Id"].as_str().unwrap_or_default();
                let values = json!({
                    "Description": plugin["Config"]["Description"],
                    "Enabled": plugin["Enabled"].to_string(),
                    "ID": if self.no_trunc { id } else { short_id(id) },
                    "Name": plugin["Name"],
                    "PluginReference": plugin["PluginReference"],
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
    #[arg(required = true, value_name = "PLUGIN")]
    plugins: Vec<String>,
}

impl InspectArgs {
    fn run(&self, client: &Client) -> Outcome<i32> {
        let mut found: Vec<Value> = Vec::new();
        let code = for_each(&self.plugins, |name| {
            found.push(client.get(&format!("/plugins/{}/json", encode(name)))?);
            Ok(())
        })?;
        list::print_inspected(&found, self.format.as_deref())?;
        Ok(code)
    }
}

#[derive(Debug, Args)]
pub(crate) struct InstallArgs {
    #[arg(value_name = "PLUGIN")]
    plugin: String,
    /// Settings
    #[arg(value_name = "KEY=VALUE")]
    settings: Vec<String>,
}

impl InstallArgs {
    fn run(&self, client: &Client) -> Outcome<i32> {
        let remote = encode(&self.plugin);
        let privileges = client.get(&format!("/plugins/privileges?remote={remote}"))?;
        client.post(&format!("/plugins/pull?remote={remote}"), &privileges)?;
        let name = encode(&self.plugin);
        if !self.settings.is_empty() {
            client.post(&format!("/plugins/{name}/set"), &json!(self.settings))?;
        }
        client.post(&format!("/plugins/{name}/enable?timeout=0"), &Value::Null)?;
        println!("{}", self.plugin);
        Ok(0)
    }
}

#[derive(Debug, Args)]
pub(crate) struct NameArgs {
    #[arg(value_name = "PLUGIN")]
    plugin: String,
}

impl NameArgs {
    fn post(&self, client: &Client, verb: &str) -> Outcome<i32> {
        client.post(
            &format!("/plugins/{}/{verb}", encode(&self.plugin)),
            &Value::Null,
        )?;
        println!("{}", self.plugin);
        Ok(0)
    }
}

#[derive(Debug, Args)]
pub(crate) struct SetArgs {
    #[arg(value_name = "PLUGIN")]
    plugin: String,
    #[arg(required = true, value_name = "KEY=VALUE")]
    settings: Vec<String>,
}

impl SetArgs {
    fn run(&self, client: &Client) -> Outcome<i32> {
        client.post(
            &format!("/plugins/{}/set", encode(&self.plugin)),
            &json!(self.settings),
        )?;
        Ok(0)
    }
}

#[derive(Debug, Args)]
pub(crate) struct RmArgs {
    /// Force the removal of an active plugin
    #[arg(short, long)]
    force: bool,
    #[arg(required = true, value_name = "PLUGIN")]
    plugins: Vec<String>,
}

impl RmArgs {
    fn run(&self, client: &Client) -> Outcome<i32> {
        for_each(&self.plugins, |name| {
            let force = if self.force { "?force=1" } else { "" };
            client.delete(&format!("/plugins/{}{force}", encode(name)))?;
            println!("{name}");
            Ok(())
        })
    }
}
