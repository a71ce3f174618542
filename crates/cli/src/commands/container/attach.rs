//! `attach`.

use clap::Args as ClapArgs;
use serde_json::Value;

use super::signals;
use crate::detach::DetachKeys;
use crate::failure::{Failure, Outcome};
use crate::http::{Body, Client, Query, encode};
use crate::streams::{self, End, Input};
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
    #[arg(long, value_name = "bool", default_value = "true", action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    sig_proxy: bool,
    #[arg(value_name = "CONTAINER")]
    container: String,
}

impl Args {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        let container = client.get(&format!("/containers/{}/json", encode(&self.container)))?;
        let state = &container["State"];
        if state["Running"] != Value::Bool(true) {
            return Err(Failure::new(
                "cannot attach to a stopped container, start it first",
            ));
        }
        if state["Paused"] == Value::Bool(true) {
            return Err(Failure::new(
                "cannot attach to a paused container, unpause it first",
            ));
        }
        let id = container["Id"].as_str().unwrap_or_default();
        let flag = |key: &str| container["Config"][key] == Value::Bool(true);
        let (tty, stdin) = (flag("Tty"), !self.no_stdin && flag("OpenStdin"));
        if tty && stdin && !terminal::stdin_is_terminal() {
            return Err(Failure::new("the input device is not a TTY"));
        }
        let wait = client.send("POST", &format!("/containers/{id}/wait"), Body::Empty)?;
        let attach = Query::new(format!("/containers/{id}/attach"))
            .set("stream", "1")
            .flag("stdin", stdin)
            .set("stdout", "1")
            .set("stderr", "1")
            .option("detachKeys", self.detach_keys.as_ref())
            .build();
        let upgraded = client.upgrade(&attach, Body::Empty)?;
        if tty {
            signals::follow_size(client, &format!("/containers/{id}/resize"))?;
        } else if self.sig_proxy {
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
            return Err(Failure::new("read escape sequence"));
        }
        let code = wait.json()?["StatusCode"].as_i64().unwrap_or(0);
        Ok(i32::try_from(code).unwrap_or(125))
    }
}
