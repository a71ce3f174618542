//! `push`.

use clap::Args as ClapArgs;

use super::pull::trusted;
use crate::failure::{Failure, Outcome};
use crate::http::{Body, Client, Query};
use crate::logins::Logins;
use crate::parse::reference::Name;
use crate::render::transfer::{To, follow};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Push all tags of an image to the repository
    #[arg(short, long)]
    all_tags: bool,
    /// Skip image signing
    #[arg(long, value_name = "bool", default_value = "true", default_missing_value = "true", num_args = 0..=1, require_equals = true, action = clap::ArgAction::Set)]
    disable_content_trust: bool,
    /// Suppress verbose output
    #[arg(short, long)]
    quiet: bool,
    #[arg(value_name = "NAME[:TAG]")]
    name: String,
}

impl Args {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        trusted(self.disable_content_trust)?;
        let name = Name::parse(&self.name);
        if self.all_tags && name.tag.is_some() {
            return Err(Failure::new("tag can't be used with --all-tags/-a"));
        }
        if name.digest.is_some() {
            return Err(Failure::new("cannot push a digest reference"));
        }
        if !self.all_tags && name.tag.is_none() && !self.quiet {
            println!("Using default tag: latest");
        }
        let path = Query::new(format!("/images/{}/push", name.repository))
            .option("tag", (!self.all_tags).then(|| name.tag_or_latest()))
            .build();
        let login = Logins::load()?.get(name.server())?;
        let client = client.with_header("X-Registry-Auth", &login.header());
        let to = if self.quiet { To::Nowhere } else { To::Stdout };
        follow(client.send("POST", &path, Body::Empty)?.body, to)?;
        if self.quiet {
            println!("{}", name.whole());
        }
        Ok(0)
    }
}
