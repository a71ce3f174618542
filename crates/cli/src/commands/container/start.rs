//! `start`.

use clap::Args as ClapArgs;
use serde_json::Value;

use super::signals;
use crate::detach::DetachKeys;
use crate::failure::{Failure, Outcome, for_each};
use crate::http::{Body, Client, Query, encode};
use crate::streams::{self, End, Input};
use crate::terminal;

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Attach STDOUT/STDERR and forward signals
    #[arg(short, long)]
    attach: bool,
    /// Attach container's STDIN
    #[arg(short, long)]
    interactive: bool,
    /// Override the key sequence for detaching a container
    #[arg(long, value_name = "string")]
    detach_keys: Option<String>,
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Args {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        if !self.attach && !self.interactive {
            return for_each(&self.containers, |name| {
                client.act(&format!("/containers/{}/start", encode(name)))?;
                println!("{name}");
                Ok(())
            });
        }
        let [name] = self.containers.as_slice() else {
            return Err(Failure::new(
                "you cannot start and attach multiple containers at once",
            ));
        };
        let container = client.get(&format!("/containers/{}/json", encode(name)))?;
        let id = container["Id"].as_str().unwrap_or_default();
        let flag = |key: &str| container["Config"][key] == Value::Bool(true);
        let (tty, stdin) = (flag("Tty"), self.interactive && flag("OpenStdin"));
        let attach = Query::new(format!("/containers/{id}/attach"))
            .set("stream", "1")
            .flag("stdin", stdin)
            .set("stdout", "1")
            .set("stderr", "1")
            .option("detachKeys", self.detach_keys.as_ref())
            .build();
        let upgraded = client.upgrade(&attach, Body::Empty)?;
        let wait = Query::new(format!("/containers/{id}/wait"))
            .set("condition", "next-exit")
            .build();
        let exit = client.send("POST", &wait, Body::Empty)?;
        client.act(&format!("/containers/{id}/start"))?;
        if tty {
            signals::follow_size(client, &format!("/containers/{id}/resize"))?;
        } else {
            signals::forward(client, id)?;
        }
        let raw = if tty && stdin {
            terminal::Raw::enter()
        } else {
            None
        };
        let end = streams::run(
            upgraded,
            tty,
            if stdin {
                Input::Forwarded(DetachKeys::new(self.detach_keys.as_deref()))
            } else {
                Input::Closed
            },
        )?;
        drop(raw);
        if end == End::Detached {
            return Ok(0);
        }
        let code = exit.json()?["StatusCode"].as_i64().unwrap_or(125);
        Ok(i32::try_from(code).unwrap_or(125))
    }
}
