//! `top`.

use clap::Args as ClapArgs;
use serde_json::Value;

use crate::failure::Outcome;
use crate::http::{Client, Query, encode};
use crate::json::each;
use crate::render::list::wide_table;

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    #[arg(value_name = "CONTAINER [ps OPTIONS]", required = true, trailing_var_arg = true, num_args = 1..)]
    words: Vec<String>,
}

impl Args {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        let options = (self.words.len() > 1).then(|| self.words[1..].join(" "));
        let path = Query::new(format!("/containers/{}/top", encode(&self.words[0])))
            .option("ps_args", options)
            .build();
        let answer = client.get(&path)?;
        let cells = |row: &Value| {
            each(row)
                .map(|cell| cell.as_str().unwrap_or_default().to_owned())
                .collect()
        };
        let lines: Vec<Vec<String>> = std::iter::once(cells(&answer["Titles"]))
            .chain(each(&answer["Processes"]).map(cells))
            .collect();
        print!("{}", wide_table(&lines, 20));
        Ok(0)
    }
}
