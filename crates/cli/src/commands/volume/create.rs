//! `volume create`.

use std::collections::BTreeMap;

use clap::Args as ClapArgs;
use serde_json::json;

use crate::failure::{Failure, Outcome};
use crate::http::Client;

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Specify volume driver name
    #[arg(short, long, value_name = "string", default_value = "local")]
    driver: String,
    /// One writer at a time: label "orlop.exclusive"
    #[arg(long)]
    exclusive: bool,
    /// Set metadata for a volume
    #[arg(long, value_name = "list")]
    label: Vec<String>,
    /// Specify volume name
    #[arg(long, value_name = "string", hide = true)]
    name: Option<String>,
    /// Set driver specific options
    #[arg(short, long, value_name = "map")]
    opt: Vec<String>,
    /// Pool in which the volume lies
    #[arg(long, value_name = "string")]
    pool: Option<String>,
    /// How much it may hold
    #[arg(long, value_name = "bytes")]
    size: Option<String>,
    /// Tell of it (event "soft_limit") once it holds more
    #[arg(long, value_name = "bytes")]
    soft_limit: Option<String>,
    #[arg(value_name = "VOLUME")]
    volume: Option<String>,
}

impl Args {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        if self.name.is_some() && self.volume.is_some() {
            return Err(Failure::new(
                "conflicting options: cannot specify a volume-name through both --name and as a positional arg",
            ));
        }
        let pairs = |list: &[String]| -> BTreeMap<String, String> {
            list.iter()
                .map(|entry| {
                    let (key, value) = entry.split_once('=').unwrap_or((entry, ""));
                    (key.to_owned(), value.to_owned())
                })
                .collect()
        };
        let mut options = pairs(&self.opt);
        for (key, value) in [
            ("pool", &self.pool),
            ("size", &self.size),
            ("soft-size", &self.soft_limit),
        ] {
            if let Some(value) = value {
                options.insert(key.to_owned(), value.clone());
            }
        }
        let mut labels = pairs(&self.label);
        if self.exclusive {
            labels.insert("orlop.exclusive".to_owned(), "true".to_owned());
        }
        let body = json!({
            "Name": self.volume.as_ref().or(self.name.as_ref()),
            "Driver": self.driver,
            "DriverOpts": options,
            "Labels": labels,
        });
        let volume = client.post("/volumes/create", &body)?;
        println!("{}", volume["Name"].as_str().unwrap_or_default());
        Ok(0)
    }
}
