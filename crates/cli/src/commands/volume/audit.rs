//! `volume audit`: exit code 0 when there is nothing to say, 1 when there is.

use clap::Args as ClapArgs;
use serde_json::Value;

use crate::failure::Outcome;
use crate::http::{Body, Client, Query};
use crate::json::each;
use crate::render::list::pretty;

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Leave out what has to ask the disk for each container
    #[arg(long)]
    fast: bool,
    /// Repair what can be repaired without losing anything, then look again
    #[arg(long)]
    fix: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        let mut fixed = Value::Array(Vec::new());
        if self.fix {
            fixed = client
                .send("POST", "/orlop/v1/audit/fix", Body::Empty)?
                .json()?["Fixed"]
                .take();
        }
        let path = Query::new("/orlop/v1/audit")
            .flag("fast", self.fast)
            .build();
        let mut audit = client.get(&path)?;
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
