//! Where passwords and keys come from: a file, a command, the environment, a credential of systemd's, or a person.
//!
//! They are read here and sent to the engine in the body of a request; they are in no argument, which others could see.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use clap::Args as ClapArgs;
use serde_json::{Value, json};

use crate::commands::registry_hidden as hidden;
use crate::commands::volume::snapshot::seconds;
use crate::failure::{Failure, Outcome};
use crate::terminal;

/// Asked when nothing else is said.
const PASSWORD: &str = "ORLOP_BACKUP_PASSWORD";

#[derive(Debug, Clone, Default, ClapArgs)]
pub(crate) struct PasswordArgs {
    /// Take the password from a credential that systemd gave to this process
    #[arg(long, value_name = "name", group = "password")]
    credential: Option<String>,
    /// Take the password from what a command prints
    #[arg(long, value_name = "command", group = "password")]
    password_command: Option<String>,
    /// Take the password from a variable of the environment (default ORLOP_BACKUP_PASSWORD)
    #[arg(long, value_name = "name", group = "password")]
    password_env: Option<String>,
    /// Take the password from the first line of a file
    #[arg(long, value_name = "file", group = "password")]
    password_file: Option<String>,
}

impl PasswordArgs {
    /// The password; asked for on a terminal if nothing says where it is, `twice` to be sure of a new one.
    pub(crate) fn read(&self, twice: bool) -> Outcome<String> {
        let source = Source {
            file: self.password_file.as_deref(),
            command: self.password_command.as_deref(),
            variable: self.password_env.as_deref(),
            credential: self.credential.as_deref(),
        };
        let password = match source.read()? {
            Some(text) => text.lines().next().unwrap_or_default().to_owned(),
            None => match variable(PASSWORD) {
                Some(password) => password,
                None => asked(twice)?,
            },
        };
        if password.is_empty() {
            return Err(Failure::new(
                "the password of a repository must not be empty",
            ));
        }
        Ok(password)
    }
}

#[derive(Debug, Clone, Default, ClapArgs)]
pub(crate) struct PlaceArgs {
    /// Certificates in PEM that vouch for an https server, in place of those that the engine's host trusts
    #[arg(long, value_name = "file")]
    ca_cert: Option<String>,
    /// Read from the repository at most so many bytes a second
    #[arg(long, value_name = "bytes")]
    limit_download: Option<String>,
    /// Write to the repository at most so many bytes a second
    #[arg(long, value_name = "bytes")]
    limit_upload: Option<String>,
    /// Make a request that failed so often again, ever later (default 5)
    #[arg(long, value_name = "number")]
    retries: Option<u32>,
    /// Take the keys of an object store from what a command prints (lines as in --s3-keys-file)
    #[arg(long, value_name = "command", group = "s3keys")]
    s3_keys_command: Option<String>,
    /// Take the keys of an object store from a credential that systemd gave to this process
    #[arg(long, value_name = "name", group = "s3keys")]
    s3_keys_credential: Option<String>,
    /// Take the keys of an object store from a file of lines like AWS_ACCESS_KEY_ID=… (default: the environment)
    #[arg(long, value_name = "file", group = "s3keys")]
    s3_keys_file: Option<String>,
    /// Region of an object store
    #[arg(long, value_name = "string")]
    s3_region: Option<String>,
    /// The bucket is a part of the host's name
    #[arg(long)]
    s3_virtual_host: bool,
    /// An argument for ssh, before the host
    #[arg(long, value_name = "string", allow_hyphen_values = true)]
    ssh_arg: Vec<String>,
    /// Give a server up that says nothing for so long (default 30s)
    #[arg(long, value_name = "duration")]
    timeout: Option<String>,
}

impl PlaceArgs {
    /// Adds what was said to a request for a repository at `location`.
    pub(crate) fn add_to(&self, body: &mut Value, location: &str) -> Outcome<()> {
        body["SshArguments"] = json!(self.ssh_arg);
        if let Some(number) = self.retries {
            body["Retries"] = json!(number);
        }
        if let Some(text) = &self.timeout {
            body["PatienceSeconds"] = json!(seconds("--timeout", text)?);
        }
        if let Some(path) = &self.ca_cert {
            body["Authority"] = json!(file(Path::new(path))?);
        }
        for (key, flag, value) in [
            ("UploadLimit", "--limit-upload", &self.limit_upload),
            ("DownloadLimit", "--limit-download", &self.limit_download),
        ] {
            if let Some(text) = value {
                let bytes = crate::parse::size::bytes(text)
                    .map_err(|why| Failure::flag(flag, text, why))?;
                body[key] = json!(bytes);
            }
        }
        if location.starts_with("s3:") {
            body["S3"] = self.s3_keys()?;
        }
        Ok(())
    }

    fn s3_keys(&self) -> Outcome<Value> {
        let source = Source {
            file: self.s3_keys_file.as_deref(),
            command: self.s3_keys_command.as_deref(),
            variable: None,
            credential: self.s3_keys_credential.as_deref(),
        };
        let said = source.read()?;
        let find = |key: &str| match &said {
            Some(text) => text
                .lines()
                .filter_map(|line| line.trim().split_once('='))
                .find(|(name, _)| name.trim().trim_start_matches("export ") == key)
                .map(|(_, value)| value.trim().trim_matches('"').to_owned()),
            None => variable(key),
        };
        let (Some(access), Some(secret)) =
            (find("AWS_ACCESS_KEY_ID"), find("AWS_SECRET_ACCESS_KEY"))
        else {
            return Err(Failure::new(
                "the keys of the object store are not known: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or use \
                 --s3-keys-file",
            ));
        };
        Ok(json!({
            "AccessKey": access,
            "SecretKey": secret,
            "SessionToken": find("AWS_SESSION_TOKEN"),
            "Region": self.s3_region.clone().or_else(|| find("AWS_REGION")).or_else(|| find("AWS_DEFAULT_REGION")),
            "VirtualHost": self.s3_virtual_host,
        }))
    }
}

/// One of several places for a secret.
struct Source<'a> {
    file: Option<&'a str>,
    command: Option<&'a str>,
    variable: Option<&'a str>,
    credential: Option<&'a str>,
}

impl Source<'_> {
    /// What is there; `None` when nothing is said.
    fn read(&self) -> Outcome<Option<String>> {
        if let Some(path) = self.file {
            return file(Path::new(path)).map(Some);
        }
        if let Some(name) = self.credential {
            let directory = variable("CREDENTIALS_DIRECTORY").ok_or_else(|| {
                Failure::new(format!(
                    "there is no credential {name}: systemd gave none to this process ($CREDENTIALS_DIRECTORY)"
                ))
            })?;
            if name.contains('/') || name.starts_with('.') {
                return Err(Failure::flag(
                    "--credential",
                    name,
                    "it is a name, not a path",
                ));
            }
            return file(&Path::new(&directory).join(name)).map(Some);
        }
        if let Some(name) = self.variable {
            return variable(name)
                .map(Some)
                .ok_or_else(|| Failure::new(format!("the environment has no {name}")));
        }
        self.command.map(run).transpose()
    }
}

fn file(path: &Path) -> Outcome<String> {
    fs::read_to_string(path).map_err(|error| Failure::file("open", path, &error))
}

/// A shell runs it, as restic's does not: what people write is a line.
#[expect(
    clippy::disallowed_methods,
    reason = "the command lives in its user's environment"
)]
fn run(line: &str) -> Outcome<String> {
    let output = Command::new("sh")
        .args(["-c", line])
        .stdin(Stdio::inherit())
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(Failure::new(format!(
            "the command {line:?} did not give a secret: {}",
            output.status
        )));
    }
    String::from_utf8(output.stdout)
        .map_err(|_| Failure::new(format!("what the command {line:?} printed is no text")))
}

#[expect(
    clippy::disallowed_methods,
    reason = "the environment is the user's way to hand a secret to the client"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn asked(twice: bool) -> Outcome<String> {
    if !terminal::stdin_is_terminal() {
        return Err(Failure::new(format!(
            "no password: use --password-file, --password-command, --password-env or --credential, or set {PASSWORD}"
        )));
    }
    let password = hidden("Password of the repository: ")?;
    if twice && hidden("Once more: ")? != password {
        return Err(Failure::new("the two passwords are not the same"));
    }
    Ok(password)
}
