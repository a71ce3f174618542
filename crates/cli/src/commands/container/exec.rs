//! `exec`.

use clap::Args as ClapArgs;
use serde_json::{Value, json};

use super::signals;
use crate::detach::DetachKeys;
use crate::failure::{Failure, Outcome};
use crate::http::{Body, Client, encode};
use crate::parse::environment;
use crate::streams::{self, Input};
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
    #[arg(value_name = "CONTAINER")]
    container: String,
    #[arg(
        value_name = "COMMAND",
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    command: Vec<String>,
}

impl Args {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        self.run_inner(client).map_err(|mut failure| {
            let text = failure.text.to_lowercase();
            if text.contains("executable file not found")
                || text.contains("no such file or directory")
            {
                failure.code = 127;
            } else if text.contains("permission denied") || text.contains("is a directory") {
                failure.code = 126;
            }
            failure
        })
    }

    fn run_inner(&self, client: &Client) -> Outcome<i32> {
        if self.tty && self.interactive && !self.detach && !terminal::stdin_is_terminal() {
            return Err(Failure::new("the input device is not a TTY"));
        }
        let console = terminal::size()
            .filter(|_| self.tty)
            .map(|(rows, columns)| [rows, columns]);
        let request = json!({
            "User": self.user.clone().unwrap_or_default(),
            "Privileged": self.privileged,
            "Tty": self.tty,
            "ConsoleSize": console,
            "AttachStdin": self.interactive && !self.detach,
            "AttachStdout": !self.detach,
            "AttachStderr": !self.detach,
            "DetachKeys": self.detach_keys.clone().unwrap_or_default(),
            "Env": environment::environment(&self.env_file, &self.env)?,
            "WorkingDir": self.workdir.clone().unwrap_or_default(),
            "Cmd": self.command,
        });
        let created = client.post(
            &format!("/containers/{}/exec", encode(&self.container)),
            &request,
        )?;
        let id = created["Id"].as_str().unwrap_or_default();
        let start = json!({ "Detach": self.detach, "Tty": self.tty, "ConsoleSize": console });
        let path = format!("/exec/{id}/start");
        if self.detach {
            client.post(&path, &start)?;
            return Ok(0);
        }
        let upgraded = client.upgrade(&path, Body::Json(&start))?;
        if self.tty {
            signals::follow_size(client, &format!("/exec/{id}/resize"))?;
        }
        let raw = if self.tty && self.interactive {
            terminal::Raw::enter()
        } else {
            None
        };
        streams::run(
            upgraded,
            self.tty,
            if self.interactive {
                Input::Forwarded(DetachKeys::new(self.detach_keys.as_deref()))
            } else {
                Input::Closed
            },
        )?;
        drop(raw);
        let ended: Value = client.get(&format!("/exec/{id}/json"))?;
        let code = ended["ExitCode"].as_i64().unwrap_or(0);
        Ok(i32::try_from(code).unwrap_or(1))
    }
}
