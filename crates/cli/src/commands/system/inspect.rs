//! `inspect`: whatever has the name; containers first, then images, volumes, networks.

use clap::Args as ClapArgs;
use serde_json::Value;

use crate::failure::{Failure, Outcome, for_each};
use crate::http::{Client, Query, encode};
use crate::render::list::print_inspected;

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Format output using a custom template
    #[arg(short, long, value_name = "string")]
    format: Option<String>,
    /// Display total file sizes if the type is container
    #[arg(short, long)]
    size: bool,
    /// Only inspect objects of the given type
    #[arg(long, value_name = "string", value_parser = ["container", "image", "network", "volume"])]
    r#type: Option<String>,
    #[arg(required = true, value_name = "NAME|ID")]
    names: Vec<String>,
}

impl Args {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        let mut found: Vec<Value> = Vec::new();
        let code = for_each(&self.names, |name| {
            found.push(self.find(client, name)?);
            Ok(())
        })?;
        print_inspected(&found, self.format.as_deref())?;
        Ok(code)
    }

    fn find(&self, client: &Client, name: &str) -> Outcome<Value> {
        let encoded = encode(name.trim_start_matches('/'));
        let routes = [
            (
                "container",
                Query::new(format!("/containers/{encoded}/json"))
                    .flag("size", self.size)
                    .build(),
            ),
            ("image", format!("/images/{name}/json")),
            ("volume", format!("/volumes/{encoded}")),
            ("network", format!("/networks/{encoded}")),
        ];
        for (kind, path) in &routes {
            if self.r#type.as_deref().is_some_and(|wanted| wanted != *kind) {
                continue;
            }
            match client.get(path) {
                Ok(object) => return Ok(object),
                // A name that is no legal reference is no image either.
                Err(failure)
                    if failure.is_not_found()
                        || (*kind == "image" && failure.status == Some(400)) => {}
                Err(failure) => return Err(failure),
            }
        }
        Err(Failure::new(match self.r#type.as_deref() {
            Some(kind) => format!("Error: No such {kind}: {name}"),
            None => format!("Error: No such object: {name}"),
        }))
    }
}
