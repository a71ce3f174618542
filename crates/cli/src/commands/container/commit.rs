//! `commit`.

use clap::Args as ClapArgs;
use serde_json::json;

use crate::failure::Outcome;
use crate::http::{Client, Query};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Author (e.g., "John Hannibal Smith <hannibal@a-team.com>")
    #[arg(short, long, value_name = "string")]
    author: Option<String>,
    /// Apply Dockerfile instruction to the created image
    #[arg(short, long, value_name = "list")]
    change: Vec<String>,
    /// Commit message
    #[arg(short, long, value_name = "string")]
    message: Option<String>,
    /// Pause container during commit
    #[arg(short, long, value_name = "bool", default_value = "true", action = clap::ArgAction::Set)]
    pause: bool,
    #[arg(value_name = "CONTAINER")]
    container: String,
    #[arg(value_name = "REPOSITORY[:TAG]")]
    reference: Option<String>,
}

impl Args {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        let mut path = Query::new("/commit").set("container", &self.container);
        if let Some(reference) = &self.reference {
            let (repository, tag) = split_tag(reference);
            path = path.set("repo", repository).option("tag", tag);
        }
        path = path
            .option("comment", self.message.as_ref())
            .option("author", self.author.as_ref())
            .set("pause", if self.pause { "1" } else { "0" });
        for change in &self.change {
            path = path.set("changes", change);
        }
        let answer = client.post(&path.build(), &json!({}))?;
        println!("{}", answer["Id"].as_str().unwrap_or_default());
        Ok(0)
    }
}

/// `name:tag`; a colon before a slash is a registry's port.
pub(crate) fn split_tag(reference: &str) -> (&str, Option<&str>) {
    let start = reference.rfind('/').map_or(0, |slash| slash + 1);
    match reference[start..].find(':') {
        Some(colon) => (
            &reference[..start + colon],
            Some(&reference[start + colon + 1..]),
        ),
        None => (reference, None),
    }
}
