//! `stop`, `kill`, `restart`, `pause`, `unpause`: one request for each name.

use clap::Args;

use crate::failure::{Outcome, for_all};
use crate::http::{Client, Query, encode};

#[derive(Debug, Args)]
pub(crate) struct NameArgs {
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl NameArgs {
    pub(crate) fn run(&self, client: &Client, action: &str) -> Outcome<i32> {
        for_all(&self.containers, false, |name| {
            client.act(&format!("/containers/{}/{action}", encode(name)))
        })
    }
}

#[derive(Debug, Args)]
pub(crate) struct StopArgs {
    /// Signal to send to the container
    #[arg(short, long, value_name = "string")]
    signal: Option<String>,
    /// Seconds to wait before killing the container
    #[arg(
        short,
        long,
        visible_alias = "timeout",
        value_name = "int",
        allow_hyphen_values = true
    )]
    time: Option<i64>,
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl StopArgs {
    pub(crate) fn run(&self, client: &Client, action: &str) -> Outcome<i32> {
        for_all(&self.containers, false, |name| {
            let path = Query::new(format!("/containers/{}/{action}", encode(name)))
                .option("signal", self.signal.as_ref())
                .option("t", self.time)
                .build();
            client.act(&path)
        })
    }
}

#[derive(Debug, Args)]
pub(crate) struct KillArgs {
    /// Signal to send to the container
    #[arg(short, long, value_name = "string")]
    signal: Option<String>,
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl KillArgs {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        for_all(&self.containers, false, |name| {
            let path = Query::new(format!("/containers/{}/kill", encode(name)))
                .option("signal", self.signal.as_ref())
                .build();
            client.act(&path)
        })
    }
}
