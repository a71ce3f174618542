//! `run` and `create`.
//!
//! A foreground run attaches and registers to wait before it starts, so that not a byte and not the exit is missed.

use std::fs::OpenOptions;
use std::io::{IsTerminal as _, Write as _};

use clap::Args as ClapArgs;
use serde_json::Value;

use super::explain::explain;
use super::flags::Flags;
use super::session::Session;
use crate::commands::image_pull;
use crate::failure::{Failure, Outcome};
use crate::http::{Client, Query, encode};
use crate::json::each;
use crate::render::transfer::To;
use crate::terminal;

#[derive(Debug, ClapArgs)]
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    /// Run container in background and print container ID
    #[arg(short, long)]
    detach: bool,
    /// Proxy received signals to the process
    #[arg(long, value_name = "bool", default_value = "true", action = clap::ArgAction::Set)]
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
            .map_err(|failure| refused(failure, "create"))?;
        if self.flags.explain_mounts {
            return explain(client, &body);
        }
        let id = create(client, &self.flags, &body)?;
        println!("{id}");
        Ok(0)
    }
}

impl Args {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        let flags = &self.flags;
        let body = flags
            .body(self.detach)
            .map_err(|failure| refused(failure, "run"))?;
        if self.detach && !flags.attach.is_empty() {
            return Err(Failure::new(
                "conflicting options: cannot specify both --attach and --detach",
            ));
        }
        if flags.explain_mounts {
            return explain(client, &body).map_err(explained);
        }
        let (stdin, stdout, stderr) = flags.attached(self.detach);
        terminal::check(flags.tty, stdin)?;
        let id = create(client, flags, &body).map_err(explained)?;
        let start = format!("/containers/{}/start", encode(&id));
        if self.detach {
            client.act(&start).map_err(explained)?;
            println!("{id}");
            return Ok(0);
        }
        let session = Session {
            container: &id,
            tty: flags.tty,
            stdin,
            stdout,
            stderr,
            detach_keys: flags.detach_keys.as_deref(),
            sig_proxy: self.sig_proxy,
        };
        let condition = if flags.rm { "removed" } else { "next-exit" };
        let opened = session
            .open(client, Some(condition))
            .and_then(|opened| client.act(&start).map(|()| opened))
            .map_err(explained)?;
        let code = session.finish(client, opened).map_err(explained)?;
        Ok(code.unwrap_or(0))
    }
}

/// Steps: refuse an id file that exists, and make it; create; write the id. A create that fails takes its file along.
fn create(client: &Client, flags: &Flags, body: &Value) -> Outcome<String> {
    let mut file = flags.cidfile.as_deref().map(IdFile::new).transpose()?;
    let path = Query::new("/containers/create")
        .option("name", flags.name.as_ref().filter(|name| !name.is_empty()))
        .option("platform", flags.platform.as_ref())
        .build();
    let pull = || {
        let to = if flags.quiet { To::Nowhere } else { To::Stderr };
        image_pull(client, flags.image(), flags.platform.as_deref(), to)
    };
    let policy = flags.pull.as_deref().unwrap_or("missing");
    if policy == "always" {
        pull()?;
    }
    let created = match client.post(&path, body) {
        Err(failure)
            if policy == "missing"
                && failure.is_not_found()
                && failure.text.contains("No such image") =>
        {
            eprintln!("Unable to find image '{}' locally", tagged(flags.image()));
            pull()?;
            client.post(&path, body)?
        }
        result => result?,
    };
    for warning in each(&created["Warnings"]).filter_map(Value::as_str) {
        eprintln!("WARNING: {warning}");
    }
    if std::io::stderr().is_terminal() {
        show_image_volumes(&created["ImageVolumes"]);
    }
    let id = created["Id"].as_str().unwrap_or_default().to_owned();
    if let Some(file) = &mut file {
        file.write(&id)?;
    }
    Ok(id)
}

/// Docker makes these in silence, and they stay when their container goes. For people only: scripts know docker's output.
fn show_image_volumes(made: &Value) {
    for volume in each(made) {
        let text = |key: &str| volume[key].as_str().unwrap_or_default();
        let name: String = text("Name").chars().take(12).collect();
        eprintln!(
            "Volume {name} made for {}, which the image declares",
            text("Destination")
        );
    }
}

/// A reference with the tag that is meant when there is none.
fn tagged(image: &str) -> String {
    let name = image.rsplit('/').next().unwrap_or_default();
    if name.contains([':', '@']) {
        image.to_owned()
    } else {
        format!("{image}:latest")
    }
}

/// `--cidfile`: made before the container, removed again if there will be none.
struct IdFile<'a> {
    path: &'a str,
    file: std::fs::File,
    written: bool,
}

impl<'a> IdFile<'a> {
    fn new(path: &'a str) -> Outcome<Self> {
        if std::fs::exists(path)? {
            return Err(Failure::new(format!(
                "container ID file found, make sure the other container isn't running or delete {path}"
            )));
        }
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(path)
            .map_err(|error| {
                let why = Failure::file("open", path, &error);
                Failure::new(format!("failed to create the container ID file: {why}"))
            })?;
        Ok(Self {
            path,
            file,
            written: false,
        })
    }

    fn write(&mut self, id: &str) -> Outcome<()> {
        self.file.write_all(id.as_bytes()).map_err(|error| {
            Failure::new(format!(
                "failed to write the container ID ({id}) to file: {}",
                crate::failure::plain(&error)
            ))
        })?;
        self.written = true;
        Ok(())
    }
}

impl Drop for IdFile<'_> {
    #[expect(
        clippy::disallowed_methods,
        reason = "a file of the user's, not of the engine's state"
    )]
    fn drop(&mut self) {
        if !self.written {
            // It was empty; one that stays is refused the next time with its name.
            drop(std::fs::remove_file(self.path));
        }
    }
}

/// Flags that cannot be: 125, whatever the words.
fn refused(mut failure: Failure, command: &str) -> Failure {
    failure.code = 125;
    if !failure.usage {
        failure.text = format!(
            "orlop: {}\n\nRun 'orlop {command} --help' for more information",
            failure.text
        );
    }
    failure
}

/// A run that failed is 125, 126 or 127, by what the engine says, as docker decides it.
fn explained(failure: Failure) -> Failure {
    let has = |words: &[&str]| words.iter().any(|word| failure.text.contains(word));
    let code = if has(&[
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
    let said = failure.status.is_some();
    let mut failure = refused(failure, "run");
    if said {
        failure.code = code;
    }
    failure
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_of_refusals() {
        for (text, code) in [
            ("exec: \"x\": executable file not found in $PATH", 127),
            ("exec: \"/x\": stat /x: no such file or directory", 127),
            ("exec: \"/etc/passwd\": permission denied", 126),
            ("exec: \"/etc\": is a directory", 126),
            ("Conflict. The container name is in use", 125),
            // A mount's error is nobody's program.
            ("mount x: not a directory: did you mean a file?", 125),
            ("No such file or directory", 125),
        ] {
            let failure = explained(Failure::from_engine(400, text));
            assert_eq!(failure.code, code, "{text}");
            assert_eq!(
                failure.text,
                format!(
                    "orlop: Error response from daemon: {text}\n\nRun 'orlop run --help' for more information"
                )
            );
        }
        assert_eq!(
            explained(Failure::new("no such file or directory")).code,
            125
        );
    }

    #[test]
    fn tags() {
        for (image, whole) in [
            ("x", "x:latest"),
            ("x:1", "x:1"),
            ("host:5000/x", "host:5000/x:latest"),
            ("x@sha256:0", "x@sha256:0"),
        ] {
            assert_eq!(tagged(image), whole);
        }
    }
}
