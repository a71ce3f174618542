//! `backup key`: the passwords that open a repository.

use clap::{Args as ClapArgs, Subcommand};
use serde_json::{Value, json};

use super::secret::PasswordArgs;
use super::short;
use crate::failure::{Outcome, for_each};
use crate::grammar::Lazy;
use crate::http::{Client, encode};
use crate::json::text;
use crate::render::list::{self, Row};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Let a repository be opened with another password as well
    Add(Lazy<AddArgs>),
    /// List the keys of a repository
    #[command(visible_alias = "list")]
    Ls(Lazy<LsArgs>),
    /// Remove keys: their passwords open the repository no longer
    #[command(visible_alias = "remove")]
    Rm(Lazy<RmArgs>),
}

impl Command {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        match self {
            Self::Add(args) => args.run(client),
            Self::Ls(args) => args.run(client),
            Self::Rm(args) => args.run(client),
        }
    }
}

fn path(repository: &str) -> String {
    format!("/orlop/v1/repositories/{}/keys", encode(repository))
}

#[derive(Debug, ClapArgs)]
pub(crate) struct AddArgs {
    #[command(flatten)]
    password: PasswordArgs,
    #[arg(value_name = "REPOSITORY")]
    repository: String,
}

impl AddArgs {
    fn run(&self, client: &Client) -> Outcome<i32> {
        let body = json!({ "Password": self.password.read(true)? });
        let added = client.post(&path(&self.repository), &body)?;
        println!("{}", text(&added["Id"]));
        Ok(0)
    }
}

#[derive(Debug, ClapArgs)]
pub(crate) struct LsArgs {
    /// Format output using a custom template
    #[arg(long, value_name = "string")]
    format: Option<String>,
    #[arg(value_name = "REPOSITORY")]
    repository: String,
}

const COLUMNS: list::Columns<'_> = &[
    ("ID", "ShortId"),
    ("USER", "User"),
    ("HOST", "Host"),
    ("CREATED AT", "CreatedAt"),
];

impl LsArgs {
    fn run(&self, client: &Client) -> Outcome<i32> {
        let answer = client.get(&path(&self.repository))?;
        let keys = answer["Keys"].as_array().cloned().unwrap_or_default();
        let rows: Vec<Row> = keys.iter().map(row).collect();
        list::print(&rows, COLUMNS, COLUMNS, self.format.as_deref())?;
        Ok(0)
    }
}

fn row(key: &Value) -> Row {
    let mut row = key.as_object().cloned().unwrap_or_default();
    row.insert("ShortId".to_owned(), json!(short(&key["Id"])));
    row
}

#[derive(Debug, ClapArgs)]
pub(crate) struct RmArgs {
    #[arg(value_name = "REPOSITORY")]
    repository: String,
    #[arg(required = true, value_name = "KEY")]
    keys: Vec<String>,
}

impl RmArgs {
    fn run(&self, client: &Client) -> Outcome<i32> {
        for_each(&self.keys, |id| {
            client.delete(&format!("{}/{}", path(&self.repository), encode(id)))?;
            println!("{id}");
            Ok(())
        })
    }
}
