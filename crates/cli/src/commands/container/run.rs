//! `run` and `create`.
//!
//! A foreground run attaches and registers to wait before it starts, so that not a byte and not the exit is missed.

use std::thread;

use clap::Args as ClapArgs;
use serde_json::Value;

use super::flags::Flags;
use super::signals;
use crate::detach::DetachKeys;
use crate::failure::{Failure, Outcome};
use crate::http::{Body, Client, Query};
use crate::streams::{self, End, Input};
use crate::terminal;

#[derive(Debug, ClapArgs)]
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    /// Run container in background and print container ID
    #[arg(short, long)]
    detach: bool,
    /// Proxy received signals to the process
    #[arg(long, value_name = "bool", default_value = "true", action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    sig_proxy: bool,
    #[command(flatten)]
    flags: Flags,
}

#[derive(Debug, ClapArgs)]
#[command(disable_help_flag = true)]
pub(crate) struct CreateArgs {
    #[command(flatten)]
    flags: Flags,
}

impl CreateArgs {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        let body = self
            .flags
            .body(false)
            .map_err(|failure| explain(failure, "create"))?;
        let id = create(client, &self.flags, &body)?;
        println!("{id}");
        Ok(0)
    }
}

fn create(client: &Client, flags: &Flags, body: &Value) -> Outcome<String> {
    if let Some(file) = &flags.cidfile
        && std::fs::exists(file)?
    {
        return Err(Failure::new(format!(
            "container ID file found, make sure the other container isn't running or delete {file}"
        )));
    }
    let path = Query::new("/containers/create")
        .option("name", flags.name.as_ref())
        .option("platform", flags.platform.as_ref())
        .build();
    let created = client.post(&path, body).inspect_err(|failure| {
        if failure.is_not_found() && failure.text.contains("No such image") {
            let tagged = if flags
                .image
                .rsplit('/')
                .next()
                .is_some_and(|name| name.contains([':', '@']))
            {
                ""
            } else {
                ":latest"
            };
            eprintln!("Unable to find image '{}{tagged}' locally", flags.image);
        }
    })?;
    for warning in created["Warnings"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
    {
        eprintln!("WARNING: {warning}");
    }
    let id = created["Id"].as_str().unwrap_or_default().to_owned();
    if let Some(file) = &flags.cidfile {
        write_id(file, &id)?;
    }
    Ok(id)
}

#[expect(
    clippy::disallowed_methods,
    reason = "a file of the user's, not of the engine's state"
)]
fn write_id(file: &str, id: &str) -> Outcome<()> {
    std::fs::write(file, id).map_err(|error| {
        Failure::new(format!(
            "failed to write the container ID to the file: {error}"
        ))
    })
}

/// An engine's refusal of a run is 125, 126 or 127, by what it says, as docker decides it.
fn explain(mut failure: Failure, command: &str) -> Failure {
    let text = failure.text.clone();
    let said = failure.status.is_some();
    let has = |words: &[&str]| said && words.iter().any(|word| text.contains(word));
    failure.code = if has(&[
        "executable file not found",
        "no such file or directory",
        "system cannot find the file specified",
    ]) {
        127
    } else if has(&["permission denied", "is a directory"]) {
        126
    } else {
        125
    };
    failure.text = format!(
        "orlop: {}\n\nRun 'orlop {command} --help' for more information",
        failure.text
    );
    failure
}

impl Args {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        let flags = &self.flags;
        if flags.tty && flags.interactive && !self.detach && !terminal::stdin_is_terminal() {
            return Err(Failure::new("the input device is not a TTY"));
        }
        self.run_explained(client).map_err(|failure| {
            if failure.text.is_empty() {
                failure
            } else {
                explain(failure, "run")
            }
        })
    }

    fn run_explained(&self, client: &Client) -> Outcome<i32> {
        let flags = &self.flags;
        let body = flags.body(self.detach)?;
        let id = create(client, flags, &body)?;
        let start = format!("/containers/{id}/start");
        if self.detach {
            client.act(&start)?;
            println!("{id}");
            return Ok(0);
        }
        let (stdin, stdout, stderr) = flags.attached(false);
        let attach = Query::new(format!("/containers/{id}/attach"))
            .set("stream", "1")
            .flag("stdin", stdin)
            .flag("stdout", stdout)
            .flag("stderr", stderr)
            .option("detachKeys", flags.detach_keys.as_ref())
            .build();
        let upgraded = client.upgrade(&attach, Body::Empty)?;
        let condition = if flags.rm { "removed" } else { "next-exit" };
        let wait = Query::new(format!("/containers/{id}/wait"))
            .set("condition", condition)
            .build();
        // The head comes at once, the body with the end.
        let exit = client.send("POST", &wait, Body::Empty)?;
        client.act(&start)?;
        if flags.tty {
            signals::follow_size(client, &format!("/containers/{id}/resize"))?;
        } else if self.sig_proxy {
            signals::forward(client, &id)?;
        }
        let raw = if flags.tty && stdin {
            terminal::Raw::enter()
        } else {
            None
        };
        let (tty, input) = (
            flags.tty,
            if stdin {
                Input::Forwarded(DetachKeys::new(flags.detach_keys.as_deref()))
            } else {
                Input::Closed
            },
        );
        let copying = thread::spawn(move || streams::run(upgraded, tty, input));
        let copied = copying.join().expect("copying does not panic");
        drop(raw);
        if copied? == End::Detached {
            return Ok(0);
        }
        let exit = exit.json()?;
        if let Some(message) = exit["Error"]["Message"]
            .as_str()
            .filter(|message| !message.is_empty())
        {
            return Err(Failure::from_engine(500, message));
        }
        Ok(exit["StatusCode"]
            .as_i64()
            .and_then(|code| i32::try_from(code).ok())
            .unwrap_or(125))
    }
}
