//! `pull`, which `run` and `create` do as well.

use clap::Args as ClapArgs;

use crate::failure::{Failure, Outcome};
use crate::http::{Body, Client, Query};
use crate::logins::Logins;
use crate::parse::reference::Name;
use crate::render::transfer::{To, follow};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Download all tagged images in the repository
    #[arg(short, long)]
    all_tags: bool,
    /// Skip image verification
    #[arg(long, value_name = "bool", default_value = "true", default_missing_value = "true", num_args = 0..=1, require_equals = true, action = clap::ArgAction::Set)]
    disable_content_trust: bool,
    /// Set platform if server is multi-platform capable
    #[arg(long, value_name = "string")]
    platform: Option<String>,
    /// Suppress verbose output
    #[arg(short, long)]
    quiet: bool,
    #[arg(value_name = "NAME[:TAG|@DIGEST]")]
    name: String,
}

impl Args {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        trusted(self.disable_content_trust)?;
        let name = Name::parse(&self.name);
        if self.all_tags && (name.tag.is_some() || name.digest.is_some()) {
            return Err(Failure::new("tag can't be used with --all-tags/-a"));
        }
        if !self.all_tags && name.tag.is_none() && name.digest.is_none() && !self.quiet {
            println!("Using default tag: latest");
        }
        let to = if self.quiet { To::Nowhere } else { To::Stdout };
        let tag = (!self.all_tags).then(|| name.tag_or_latest());
        fetch(client, &name, tag, self.platform.as_deref(), to)?;
        if self.all_tags {
            println!("{}", name.whole().trim_end_matches(":latest"));
        } else {
            println!("{}", name.whole());
        }
        Ok(0)
    }
}

/// `--disable-content-trust=false` asks for what no engine does any more.
pub(super) fn trusted(disabled: bool) -> Outcome<()> {
    if disabled {
        Ok(())
    } else {
        Err(Failure::new("content trust is not supported"))
    }
}

/// Pulls one image by its name, for `run` and `create`.
pub(crate) fn pull(client: &Client, name: &str, platform: Option<&str>, to: To) -> Outcome<()> {
    let name = Name::parse(name);
    fetch(client, &name, Some(name.tag_or_latest()), platform, to)
}

/// `tag`: all when there is none.
fn fetch(
    client: &Client,
    name: &Name<'_>,
    tag: Option<&str>,
    platform: Option<&str>,
    to: To,
) -> Outcome<()> {
    let path = Query::new("/images/create")
        .set("fromImage", name.repository)
        .option("tag", tag)
        .option("platform", platform)
        .build();
    let login = Logins::load()?.get(name.server())?;
    let client = if login.is_empty() {
        client.clone()
    } else {
        client.with_header("X-Registry-Auth", &login.header())
    };
    follow(client.send("POST", &path, Body::Empty)?.body, to)
}
