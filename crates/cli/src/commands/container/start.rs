//! `start`.

use clap::Args as ClapArgs;
use serde_json::Value;

use super::session::Session;
use crate::failure::{Failure, Outcome};
use crate::http::{Client, encode};
use crate::terminal;

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Attach STDOUT/STDERR and forward signals
    #[arg(short, long)]
    attach: bool,
    /// Override the key sequence for detaching a container
    #[arg(long, value_name = "string")]
    detach_keys: Option<String>,
    /// Attach container's STDIN
    #[arg(short, long)]
    interactive: bool,
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Args {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        if self.attach || self.interactive {
            return self.attached(client);
        }
        let mut failed = Vec::new();
        for name in &self.containers {
            match client.act(&format!("/containers/{}/start", encode(name))) {
                Ok(()) => println!("{name}"),
                Err(failure) => {
                    eprintln!("{failure}");
                    failed.push(name.as_str());
                }
            }
        }
        if failed.is_empty() {
            return Ok(0);
        }
        Err(Failure::new(format!(
            "failed to start containers: {}",
            failed.join(", ")
        )))
    }

    fn attached(&self, client: &Client) -> Outcome<i32> {
        let [name] = self.containers.as_slice() else {
            return Err(Failure::new(
                "you cannot start and attach multiple containers at once",
            ));
        };
        let container = client.get(&format!("/containers/{}/json", encode(name)))?;
        let id = container["Id"].as_str().unwrap_or(name);
        let flag = |key: &str| container["Config"][key] == Value::Bool(true);
        let session = Session {
            container: id,
            tty: flag("Tty"),
            stdin: self.interactive && flag("OpenStdin"),
            stdout: true,
            stderr: true,
            detach_keys: self.detach_keys.as_deref(),
            sig_proxy: !flag("Tty"),
        };
        terminal::check(session.tty, session.stdin)?;
        let condition = if container["HostConfig"]["AutoRemove"] == Value::Bool(true) {
            "removed"
        } else {
            "next-exit"
        };
        let opened = session.open(client, Some(condition))?;
        client.act(&format!("/containers/{}/start", encode(id)))?;
        Ok(session.finish(client, opened)?.unwrap_or(0))
    }
}
