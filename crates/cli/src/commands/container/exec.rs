//! `exec`.

use clap::Args as ClapArgs;
use serde_json::json;

use super::session::code;
use super::signals;
use crate::failure::{Failure, Outcome};
use crate::http::{Body, Client, encode};
use crate::parse::{environment, keys};
use crate::streams::{self, Attached, Ended};
use crate::terminal;

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Detached mode: run command in the background
    #[arg(short, long)]
    detach: bool,
    /// Override the key sequence for detaching a container
    #[arg(long, value_name = "string")]
    detach_keys: Option<String>,
    /// Set environment variables
    #[arg(short, long, value_name = "list")]
    env: Vec<String>,
    /// Read in a file of environment variables
    #[arg(long, value_name = "list")]
    env_file: Vec<String>,
    /// Keep STDIN open even if not attached
    #[arg(short, long)]
    interactive: bool,
    /// Give extended privileges to the command
    #[arg(long)]
    privileged: bool,
    /// Allocate a pseudo-TTY
    #[arg(short, long)]
    tty: bool,
    /// Username or UID (format: "<name|uid>[:<group|gid>]")
    #[arg(short, long, value_name = "string")]
    user: Option<String>,
    /// Working directory inside the container
    #[arg(short, long, value_name = "string")]
    workdir: Option<String>,
    #[arg(value_name = "CONTAINER COMMAND [ARG...]", required = true, trailing_var_arg = true, num_args = 2..)]
    words: Vec<String>,
}

impl Args {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        let keys = keys::parse(self.detach_keys.as_deref()).map_err(Failure::new)?;
        let stdin = self.interactive && !self.detach;
        terminal::check(self.tty, stdin)?;
        let console = terminal::size()
            .filter(|_| self.tty)
            .map(|(rows, columns)| [rows, columns]);
        let (container, command) = self.words.split_first().expect("two words at least");
        let mut request = json!({
            "User": self.user.clone().unwrap_or_default(),
            "Privileged": self.privileged,
            "Tty": self.tty,
            "AttachStdin": stdin,
            "AttachStdout": !self.detach,
            "AttachStderr": !self.detach,
            "DetachKeys": self.detach_keys.clone().unwrap_or_default(),
            "Env": environment::environment(&self.env_file, &self.env)?,
            "WorkingDir": self.workdir.clone().unwrap_or_default(),
            "Cmd": command,
        });
        let mut start = json!({ "Detach": self.detach, "Tty": self.tty });
        if let Some(console) = console {
            request["ConsoleSize"] = json!(console);
            start["ConsoleSize"] = json!(console);
        }
        let created = client.post(&format!("/containers/{}/exec", encode(container)), &request)?;
        let id = created["Id"].as_str().unwrap_or_default();
        let path = format!("/exec/{id}/start");
        if self.detach {
            client.post(&path, &start)?;
            return Ok(0);
        }
        let upgraded = client.upgrade(&path, Body::Json(&start))?;
        if self.tty {
            signals::restore_terminal()?;
            signals::follow_size(client, &format!("/exec/{id}/resize"))?;
        }
        let attached = Attached {
            tty: self.tty,
            stdin,
            detach: keys,
        };
        if streams::run(upgraded, attached)? == Ended::Detached {
            return Err(Failure::new("read escape sequence"));
        }
        let ended = client.get(&format!("/exec/{id}/json"))?;
        Ok(code(&ended["ExitCode"]))
    }
}
