//! `search`.

use clap::Args as ClapArgs;
use serde_json::{Value, json};

use crate::failure::Outcome;
use crate::http::{Body, Client, Query};
use crate::json::each;
use crate::logins::Logins;
use crate::parse::reference::Name;
use crate::render::list::{self, Row};

/// Docker's width of a description.
const WIDTH: usize = 45;

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Filter output based on conditions provided
    #[arg(short, long, value_name = "filter")]
    filter: Vec<String>,
    /// Pretty-print search using a Go template
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Max number of search results
    #[arg(long, value_name = "int")]
    limit: Option<u32>,
    /// Don't truncate output
    #[arg(long)]
    no_trunc: bool,
    #[arg(value_name = "TERM")]
    term: String,
}

const COLUMNS: list::Columns<'_> = &[
    ("NAME", "Name"),
    ("DESCRIPTION", "Description"),
    ("STARS", "StarCount"),
    ("OFFICIAL", "IsOfficial"),
];

impl Args {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        let path = Query::new("/images/search")
            .set("term", &self.term)
            .option("limit", self.limit)
            .filters(&self.filter)?
            .build();
        let login = Logins::load()?.get(Name::parse(&self.term).server())?;
        let client = if login.is_empty() {
            client.clone()
        } else {
            client.with_header("X-Registry-Auth", &login.header())
        };
        let found = client.send("GET", &path, Body::Empty)?.json()?;
        let rows: Vec<Row> = each(&found)
            .filter_map(|one| self.row(one).as_object().cloned())
            .collect();
        list::print(&rows, COLUMNS, COLUMNS, self.format.as_deref())?;
        Ok(0)
    }

    fn row(&self, one: &Value) -> Value {
        let text = |key: &str| one[key].as_str().unwrap_or_default();
        let mark = |key: &str| if one[key] == true { "[OK]" } else { "" };
        let description = text("description").replace(['\n', '\r'], " ");
        let description = if self.no_trunc || description.chars().count() <= WIDTH {
            description
        } else {
            description.chars().take(WIDTH - 1).chain(['…']).collect()
        };
        json!({
            "Description": description,
            "IsAutomated": mark("is_automated"),
            "IsOfficial": mark("is_official"),
            "Name": text("name"),
            "StarCount": one["star_count"].as_u64().unwrap_or(0).to_string(),
        })
    }
}
