//! `attach`.

use clap::Args as ClapArgs;
use serde_json::Value;

use super::session::Session;
use crate::failure::{Failure, Outcome};
use crate::http::{Client, encode};
use crate::terminal;

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Override the key sequence for detaching a container
    #[arg(long, value_name = "string")]
    detach_keys: Option<String>,
    /// Do not attach STDIN
    #[arg(long)]
    no_stdin: bool,
    /// Proxy all received signals to the process
    #[arg(long, value_name = "bool", default_value = "true", action = clap::ArgAction::Set)]
    sig_proxy: bool,
    #[arg(value_name = "CONTAINER")]
    container: String,
}

impl Args {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        let container = client.get(&format!("/containers/{}/json", encode(&self.container)))?;
        let state = |key: &str| container["State"][key] == Value::Bool(true);
        if !state("Running") {
            return Err(Failure::new(
                "cannot attach to a stopped container, start it first",
            ));
        }
        if state("Paused") {
            return Err(Failure::new(
                "cannot attach to a paused container, unpause it first",
            ));
        }
        if state("Restarting") {
            return Err(Failure::new(
                "cannot attach to a restarting container, wait until it is running",
            ));
        }
        let flag = |key: &str| container["Config"][key] == Value::Bool(true);
        let session = Session {
            container: container["Id"].as_str().unwrap_or(&self.container),
            tty: flag("Tty"),
            stdin: !self.no_stdin && flag("OpenStdin"),
            stdout: true,
            stderr: true,
            detach_keys: self.detach_keys.as_deref(),
            sig_proxy: self.sig_proxy && !flag("Tty"),
        };
        terminal::check(session.tty, session.stdin)?;
        let opened = session.open(client, None)?;
        session
            .finish(client, opened)?
            .ok_or_else(|| Failure::new("read escape sequence"))
    }
}
