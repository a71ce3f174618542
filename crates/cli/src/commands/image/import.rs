//! `import`.

use std::fs::File;
use std::io::{self, Read};

use clap::Args as ClapArgs;
use serde_json::Value;

use crate::commands::container_split_tag as split_tag;
use crate::failure::{Failure, Outcome, plain};
use crate::http::{Body, Client, Query};
use crate::render::progress::{Counted, bar};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Apply Dockerfile instruction to the created image
    #[arg(short, long, value_name = "list")]
    change: Vec<String>,
    /// Set commit message for imported image
    #[arg(short, long, value_name = "string")]
    message: Option<String>,
    /// Set platform if server is multi-platform capable
    #[arg(long, value_name = "string")]
    platform: Option<String>,
    /// A file, or - for standard input
    #[arg(value_name = "file|-")]
    file: String,
    #[arg(value_name = "REPOSITORY[:TAG]")]
    reference: Option<String>,
}

impl Args {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        if self.file.starts_with("http://") || self.file.starts_with("https://") {
            return Err(Failure::new(
                "importing from a URL is not supported: download it and import the file",
            ));
        }
        let mut path = Query::new("/images/create").set("fromSrc", "-");
        if let Some(reference) = &self.reference {
            let (repository, tag) = split_tag(reference);
            path = path.set("repo", repository).option("tag", tag);
        }
        path = path
            .option("message", self.message.as_ref())
            .option("platform", self.platform.as_ref());
        for change in &self.change {
            path = path.set("changes", change);
        }
        let mut input = open(&self.file, "Importing")?;
        let answer = client.send(
            "POST",
            &path.build(),
            Body::Stream("application/x-tar", &mut input),
        )?;
        let last = messages(answer.body, |_| {})?;
        println!("{}", last.unwrap_or_default());
        Ok(0)
    }
}

/// A file with a progress bar, or standard input.
pub(crate) fn open(file: &str, action: &str) -> Outcome<Box<dyn Read>> {
    if file == "-" {
        return Ok(Box::new(Counted {
            reader: io::stdin(),
            bar: bar(action, 0),
        }));
    }
    let reader = File::open(file)
        .map_err(|error| Failure::new(format!("open {file}: {}", plain(&error))))?;
    let total = reader.metadata()?.len();
    Ok(Box::new(Counted {
        reader,
        bar: bar(action, total),
    }))
}

/// Reads the engine's progress messages; the last status. An error among them is the end.
pub(crate) fn messages(body: impl Read, mut each: impl FnMut(&Value)) -> Outcome<Option<String>> {
    let mut last = None;
    for message in serde_json::Deserializer::from_reader(body).into_iter::<Value>() {
        let message = message.map_err(|error| {
            Failure::new(format!(
                "the engine's answer could not be understood: {error}"
            ))
        })?;
        if let Some(error) = message["error"].as_str() {
            return Err(Failure::from_engine(500, error));
        }
        each(&message);
        if message
            .get("progressDetail")
            .is_none_or(|detail| detail.as_object().is_none_or(serde_json::Map::is_empty))
            && let Some(text) = message["status"].as_str().or(message["stream"].as_str())
        {
            last = Some(text.trim_end().to_owned());
        }
    }
    Ok(last)
}
