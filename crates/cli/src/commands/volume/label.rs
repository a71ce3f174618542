//! `volume label`.

use std::collections::BTreeMap;

use clap::Args as ClapArgs;
use serde_json::json;

use crate::failure::{Failure, Outcome};
use crate::http::{Client, encode};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    #[arg(value_name = "VOLUME")]
    volume: String,
    /// KEY=VALUE sets a label, KEY- takes it away
    #[arg(required = true, value_name = "LABEL")]
    labels: Vec<String>,
}

impl Args {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        let (mut set, mut remove) = (BTreeMap::new(), Vec::new());
        for label in &self.labels {
            match (label.split_once('='), label.strip_suffix('-')) {
                (Some((key, value)), _) if !key.is_empty() => {
                    set.insert(key, value);
                }
                (None, Some(key)) if !key.is_empty() => remove.push(key),
                _ => {
                    return Err(Failure::new(format!(
                        "invalid label '{label}': KEY=VALUE sets one, KEY- takes it away"
                    )));
                }
            }
        }
        let path = format!("/orlop/v1/volumes/{}/label", encode(&self.volume));
        client.post(&path, &json!({ "Set": set, "Remove": remove }))?;
        println!("{}", self.volume);
        Ok(0)
    }
}
