//! `volume trash`: what was removed and can still be had back.

use clap::{Args as ClapArgs, Subcommand};
use serde_json::{Map, Value, json};

use super::when;
use crate::commands::system::confirm;
use crate::failure::{Failure, Outcome};
use crate::grammar::Lazy;
use crate::http::{Body, Client, encode};
use crate::json::each;
use crate::parse::{duration, size};
use crate::render::list::{pretty, print_table};
use crate::render::units::human_size;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List what is in the trash
    #[command(visible_alias = "list")]
    Ls(Lazy<LsArgs>),
    /// Delete what is in the trash for good
    Empty(Lazy<EmptyArgs>),
    /// Say how long removed volumes are kept, and how much of them
    Set(Lazy<SetArgs>),
}

impl Command {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        match self {
            Self::Ls(args) => args.run(client),
            Self::Empty(args) => args.run(client),
            Self::Set(args) => args.run(client),
        }
    }
}

#[derive(Debug, ClapArgs)]
pub(crate) struct LsArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Only display ids
    #[arg(short, long)]
    quiet: bool,
}

impl LsArgs {
    fn run(&self, client: &Client) -> Outcome<i32> {
        let trash = client.get("/orlop/v1/trash")?;
        if self.json {
            println!("{}", pretty(&trash));
            return Ok(0);
        }
        let all = trash.as_array().map_or(&[][..], Vec::as_slice);
        let text = |one: &Value, key: &str| one[key].as_str().unwrap_or_default().to_owned();
        if self.quiet {
            all.iter().for_each(|one| println!("{}", text(one, "ID")));
            return Ok(0);
        }
        let lines = all.iter().map(|one| {
            vec![
                text(one, "ID").chars().take(12).collect(),
                text(one, "Name"),
                one["Size"].as_f64().map_or("-".to_owned(), human_size),
                text(one, "Reason"),
                when(&text(one, "TrashedAt")),
                when(&text(one, "ExpiresAt")),
            ]
        });
        print_table(
            &[
                ("ID", ""),
                ("VOLUME NAME", ""),
                ("SIZE", ""),
                ("BY", ""),
                ("REMOVED", ""),
                ("KEPT UNTIL", ""),
            ],
            lines,
        );
        Ok(0)
    }
}

#[derive(Debug, ClapArgs)]
pub(crate) struct EmptyArgs {
    /// Do not prompt for confirmation
    #[arg(short, long)]
    force: bool,
    /// Only these, by name or id
    #[arg(value_name = "VOLUME")]
    volumes: Vec<String>,
}

impl EmptyArgs {
    fn run(&self, client: &Client) -> Outcome<i32> {
        confirm(
            self.force,
            "WARNING! This will delete removed volumes for good.",
        )?;
        let paths = if self.volumes.is_empty() {
            vec!["/orlop/v1/trash".to_owned()]
        } else {
            let path = |name: &String| format!("/orlop/v1/trash/{}", encode(name));
            self.volumes.iter().map(path).collect()
        };
        let mut bytes = 0.0;
        for path in paths {
            let answer = client.delete(&path)?;
            for name in each(&answer["VolumesDeleted"]) {
                println!("{}", name.as_str().unwrap_or_default());
            }
            bytes += answer["SpaceReclaimed"].as_f64().unwrap_or(0.0);
        }
        println!("Total reclaimed space: {}", human_size(bytes));
        Ok(0)
    }
}

#[derive(Debug, ClapArgs)]
pub(crate) struct SetArgs {
    /// How long removed volumes are kept (24h, 30m)
    #[arg(long, value_name = "duration", conflicts_with = "off")]
    grace: Option<String>,
    /// How much is kept: a size (10g) or a part of the filesystem (10%)
    #[arg(long, value_name = "size")]
    max_size: Option<String>,
    /// Removals are final
    #[arg(long)]
    off: bool,
}

impl SetArgs {
    fn run(&self, client: &Client) -> Outcome<i32> {
        let mut policy = Map::new();
        if self.off {
            policy.insert("Grace".to_owned(), json!(0));
        }
        if let Some(grace) = &self.grace {
            let nanoseconds =
                duration::nanoseconds(grace).map_err(|why| Failure::flag("--grace", grace, why))?;
            if nanoseconds < 1_000_000_000 {
                return Err(Failure::flag(
                    "--grace",
                    grace,
                    "less than a second; --off makes removals final",
                ));
            }
            policy.insert("Grace".to_owned(), json!(nanoseconds / 1_000_000_000));
        }
        if let Some(limit) = &self.max_size {
            match limit.strip_suffix('%') {
                Some(percent) => {
                    let percent: u8 = percent
                        .parse()
                        .map_err(|why| Failure::flag("--max-size", limit, why))?;
                    policy.insert("MaxPercent".to_owned(), json!(percent));
                }
                None => {
                    let bytes = size::bytes(limit)
                        .map_err(|why| Failure::flag("--max-size", limit, why))?;
                    policy.insert("MaxBytes".to_owned(), json!(bytes));
                }
            }
        }
        let now = if policy.is_empty() {
            client.get("/orlop/v1/trash-policy")?
        } else {
            client
                .send(
                    "PUT",
                    "/orlop/v1/trash-policy",
                    Body::Json(&Value::Object(policy)),
                )?
                .json()?
        };
        println!("{}", described(&now));
        Ok(0)
    }
}

fn described(policy: &Value) -> String {
    let grace = policy["Grace"].as_u64().unwrap_or(0);
    if grace == 0 {
        return "The trash is off: removals are final.".to_owned();
    }
    let time = match grace {
        seconds if seconds.is_multiple_of(3600) => format!("{}h", seconds / 3600),
        seconds if seconds.is_multiple_of(60) => format!("{}m", seconds / 60),
        seconds => format!("{seconds}s"),
    };
    let limit = match (policy["MaxBytes"].as_f64(), policy["MaxPercent"].as_u64()) {
        (Some(bytes), _) => human_size(bytes),
        (None, Some(percent)) => format!("{percent}% of the filesystem"),
        (None, None) => "everything".to_owned(),
    };
    format!("Removed volumes are kept for {time}, up to {limit}.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_in_words() {
        for (policy, words) in [
            (json!({"Grace": 0}), "The trash is off: removals are final."),
            (
                json!({"Grace": 86400, "MaxPercent": 10}),
                "Removed volumes are kept for 24h, up to 10% of the filesystem.",
            ),
            (
                json!({"Grace": 90, "MaxBytes": 1000}),
                "Removed volumes are kept for 90s, up to 1kB.",
            ),
        ] {
            assert_eq!(described(&policy), words);
        }
    }
}
