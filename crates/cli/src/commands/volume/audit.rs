//! `volume audit`: exit code 0 when there is nothing to say, 1 when there is, 2 when the look failed.

use clap::Args as ClapArgs;
use serde_json::Value;

use crate::failure::{Failure, Outcome};
use crate::http::{Body, Client, Query};
use crate::json::each;
use crate::render::list::pretty;

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Leave out what has to ask the disk for each volume and container, and named volumes that nobody uses
    #[arg(long)]
    fast: bool,
    /// Repair what can be repaired without losing anything, then look again
    #[arg(long)]
    fix: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Lightest weight that is told and counts for the exit code
    #[arg(
        long,
        value_name = "string",
        default_value = "low",
        value_parser = ["high", "medium", "low"]
    )]
    level: String,
}

impl Args {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        // 1 says that there are findings.
        self.look(client)
            .map_err(|failure| Failure { code: 2, ..failure })
    }

    fn look(&self, client: &Client) -> Outcome<i32> {
        let path = |path: &str| {
            Query::new(path)
                .flag("fast", self.fast)
                .option("level", Some(&self.level))
                .build()
        };
        let mut fixed = Value::Array(Vec::new());
        if self.fix {
            fixed = client
                .send("POST", &path("/orlop/v1/audit/fix"), Body::Empty)?
                .json()?["Fixed"]
                .take();
        }
        let mut audit = client.get(&path("/orlop/v1/audit"))?;
        let count = audit["Findings"].as_array().map_or(0, Vec::len);
        if self.json {
            if self.fix {
                audit["Fixed"] = fixed;
            }
            println!("{}", pretty(&audit));
        } else {
            for one in each(&fixed) {
                println!("repaired: {} ({})", text(one, "Subject"), text(one, "Kind"));
            }
            if count > 0 {
                println!("{:<7} {:<17} WHAT", "WEIGHT", "FINDING");
            }
            for one in each(&audit["Findings"]) {
                println!(
                    "{:<7} {:<17} {}: {}",
                    text(one, "Weight"),
                    text(one, "Kind"),
                    text(one, "Subject"),
                    text(one, "Detail"),
                );
                println!("{:25} → {}", "", text(one, "Advice"));
            }
            println!(
                "{} volumes, {count} findings",
                audit["Volumes"].as_u64().unwrap_or(0)
            );
        }
        Ok(i32::from(count > 0))
    }
}

fn text<'a>(one: &'a Value, key: &str) -> &'a str {
    one[key].as_str().unwrap_or_default()
}
