//! `system rescue`: a database made anew from what lies beside the data.

use std::path::Path;

use clap::Args as ClapArgs;

use crate::failure::Outcome;
use crate::http::{Client, Query};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// State directory, on the engine's host; the engine's own if none is given
    #[arg(value_name = "ROOT")]
    directory: Option<String>,
}

impl Args {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        client.start_for_rescue(self.directory.as_deref().map(Path::new))?;
        let query = Query::new("/orlop/v1/rescue").option("root", self.directory.as_ref());
        let answer = client.post(&query.build(), &serde_json::Value::Null)?;
        let done = answer["Done"].as_array().cloned().unwrap_or_default();
        if done.is_empty() {
            println!("nothing is missing");
        }
        for sentence in &done {
            println!("{}", sentence.as_str().unwrap_or_default());
        }
        Ok(0)
    }
}
