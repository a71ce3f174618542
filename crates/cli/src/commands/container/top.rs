//! `top`.

use clap::Args as ClapArgs;
use serde_json::Value;

use crate::failure::Outcome;
use crate::http::{Client, Query, encode};
use crate::render::list::table;

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    #[arg(value_name = "CONTAINER")]
    container: String,
    /// Options of ps
    #[arg(
        value_name = "ps OPTIONS",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    options: Vec<String>,
}

impl Args {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        let options = (!self.options.is_empty()).then(|| self.options.join(" "));
        let path = Query::new(format!("/containers/{}/top", encode(&self.container)))
            .option("ps_args", options)
            .build();
        let answer = client.get(&path)?;
        let cells = |row: &Value| {
            row.as_array()
                .into_iter()
                .flatten()
                .map(|cell| cell.as_str().unwrap_or_default().to_owned())
                .collect()
        };
        let lines: Vec<Vec<String>> = std::iter::once(cells(&answer["Titles"]))
            .chain(
                answer["Processes"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .map(cells),
            )
            .collect();
        print!("{}", table(&lines));
        Ok(0)
    }
}
