//! `history`.

use clap::Args as ClapArgs;
use serde_json::json;

use crate::failure::Outcome;
use crate::http::Client;
use crate::json::each;
use crate::render::list::{self, Row};
use crate::render::units::{ago, ellipsis, human_size, local_time, short_id};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Format output using a custom template
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Print sizes and dates in human readable format
    #[arg(short = 'H', long, value_name = "bool", default_value = "true", action = clap::ArgAction::Set)]
    human: bool,
    /// Don't truncate output
    #[arg(long)]
    no_trunc: bool,
    /// Only show image IDs
    #[arg(short, long)]
    quiet: bool,
    #[arg(value_name = "IMAGE")]
    image: String,
}

const COLUMNS: list::Columns<'_> = &[
    ("IMAGE", "ID"),
    ("CREATED", "CreatedSince"),
    ("CREATED BY", "CreatedBy"),
    ("SIZE", "Size"),
    ("COMMENT", "Comment"),
];

impl Args {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        let history = client.get(&format!("/images/{}/history", self.image))?;
        let mut rows: Vec<Row> = Vec::new();
        for entry in each(&history) {
            let text = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
            let (id, created) = (text("Id"), entry["Created"].as_i64().unwrap_or(0));
            let by = text("CreatedBy").replace('\t', " ");
            let values = json!({
                "Comment": text("Comment"),
                "CreatedAt": local_time(created),
                "CreatedBy": if self.no_trunc { by } else { ellipsis(&by, 45) },
                "CreatedSince": if self.human { ago(created) } else { local_time(created) },
                "ID": if self.no_trunc { id.as_str() } else { short_id(&id) },
                "Size": if self.human { human_size(entry["Size"].as_f64().unwrap_or(0.0)) } else { entry["Size"].to_string() },
            });
            rows.push(values.as_object().cloned().unwrap_or_default());
        }
        if self.quiet {
            rows.iter()
                .for_each(|row| println!("{}", row["ID"].as_str().unwrap_or_default()));
            return Ok(0);
        }
        list::print(&rows, COLUMNS, COLUMNS, self.format.as_deref())?;
        Ok(0)
    }
}
