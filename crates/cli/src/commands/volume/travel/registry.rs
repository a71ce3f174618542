//! `volume push` and `volume pull`: volumes in registries.

use clap::Args as ClapArgs;

use super::{ThereArgs, with_around};
use crate::commands::volume::snapshot::AroundArgs;
use crate::failure::Outcome;
use crate::http::{Body, Client, Query, encode};
use crate::logins::Logins;
use crate::parse::reference::Name;
use crate::render::course::CourseArgs;

#[derive(Debug, ClapArgs)]
pub(crate) struct PushArgs {
    #[command(flatten)]
    around: AroundArgs,
    #[command(flatten)]
    course: CourseArgs,
    /// A volume as it is now, or VOLUME@SNAPSHOT
    #[arg(value_name = "VOLUME")]
    volume: String,
    /// REGISTRY/NAME[:TAG]
    #[arg(value_name = "REFERENCE")]
    reference: String,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct PullArgs {
    #[command(flatten)]
    there: ThereArgs,
    #[command(flatten)]
    course: CourseArgs,
    /// REGISTRY/NAME[:TAG]
    #[arg(value_name = "REFERENCE")]
    reference: String,
    /// What it shall be called (default: as it was)
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

impl PushArgs {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        let course = self.course.course()?;
        let path = format!("/orlop/v1/volumes/{}/push", encode(&self.volume));
        let path = with_around(
            Query::new(path).set("reference", &self.reference),
            &self.around,
        )?
        .build();
        let client = logged_in(client, &self.reference)?;
        course.follow(client.send("POST", &path, Body::Empty)?.body, |result| {
            println!("{}", result["Digest"].as_str().unwrap_or_default());
            Ok(())
        })?;
        Ok(0)
    }
}

impl PullArgs {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        let course = self.course.course()?;
        let path = self
            .there
            .add_to(Query::new("/orlop/v1/pull-volume").set("reference", &self.reference))
            .option("name", self.name.as_ref())
            .build();
        let client = logged_in(client, &self.reference)?;
        course.follow(client.send("POST", &path, Body::Empty)?.body, |result| {
            println!("{}", result["Name"].as_str().unwrap_or_default());
            Ok(())
        })?;
        Ok(0)
    }
}

/// The client with the credentials for the registry of a reference.
fn logged_in(client: &Client, reference: &str) -> Outcome<Client> {
    let login = Logins::load()?.get(Name::parse(reference).server())?;
    Ok(client.with_header("X-Registry-Auth", &login.header()))
}
