//! Logins where docker keeps them: `config.json` in `~/.docker` or `$DOCKER_CONFIG`, or what a credential helper keeps.
//!
//! Everything else in the file stays as it is. It is written beside itself and renamed, readable for its owner only.

use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde_json::{Map, Value, json};

use crate::failure::{Failure, Outcome};
use crate::parse::reference::HUB;

/// The user name by which helpers mark a token.
const TOKEN: &str = "<token>";

/// Who somebody is in a registry.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Login {
    pub(crate) server: String,
    pub(crate) username: String,
    pub(crate) password: String,
    pub(crate) identity_token: String,
}

impl Login {
    pub(crate) fn is_empty(&self) -> bool {
        self.username.is_empty() && self.identity_token.is_empty()
    }

    /// The body of `POST /auth`.
    pub(crate) fn json(&self) -> Value {
        let mut value = json!({
            "username": self.username,
            "password": self.password,
            "serveraddress": self.server,
        });
        if !self.identity_token.is_empty() {
            value["identitytoken"] = json!(self.identity_token);
        }
        value
    }

    /// The header `X-Registry-Auth`.
    pub(crate) fn header(&self) -> String {
        let value = if self.is_empty() {
            json!({})
        } else {
            self.json()
        };
        URL_SAFE.encode(value.to_string())
    }
}

/// The file, and the helpers that it names.
pub(crate) struct Logins {
    path: PathBuf,
    file: Map<String, Value>,
}

impl Logins {
    /// No file is an empty one.
    pub(crate) fn load() -> Outcome<Self> {
        Self::read(&directory())
    }

    fn read(directory: &Path) -> Outcome<Self> {
        let path = directory.join("config.json");
        let file = match std::fs::read(&path) {
            Ok(bytes) if bytes.iter().all(u8::is_ascii_whitespace) => Map::new(),
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
                Failure::new(format!(
                    "error loading config file: {}: {error}",
                    path.display()
                ))
            })?,
            // A home that is not there, or that nobody may enter, holds no logins.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                Map::new()
            }
            Err(error) => {
                return Err(Failure::file(
                    "error loading config file: open",
                    &path,
                    &error,
                ));
            }
        };
        Ok(Self { path, file })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Servers that the file names.
    pub(crate) fn servers(&self) -> Vec<String> {
        let keys = |name: &str| {
            let entries = self.file.get(name).and_then(Value::as_object);
            entries.into_iter().flat_map(Map::keys).cloned()
        };
        let mut servers: Vec<String> = keys("auths").chain(keys("credHelpers")).collect();
        servers.sort();
        servers.dedup();
        servers
    }

    /// The helper that keeps the logins of a server.
    pub(crate) fn helper(&self, server: &str) -> Option<&str> {
        let named = |value: &'_ Value| value.as_str().is_some_and(|name| !name.is_empty());
        let of_server = self.file.get("credHelpers").and_then(|helpers| {
            let helpers = helpers.as_object()?;
            helpers
                .iter()
                .find(|(key, _)| host(key) == host(server))
                .map(|(_, name)| name)
        });
        of_server
            .or_else(|| self.file.get("credsStore"))
            .filter(|value| named(value))
            .and_then(Value::as_str)
    }

    /// What is known for a server; an empty login when nothing is.
    pub(crate) fn get(&self, server: &str) -> Outcome<Login> {
        let nobody = Login {
            server: server.to_owned(),
            ..Login::default()
        };
        if let Some(helper) = self.helper(server) {
            let Some(found) = ask(helper, "get", server.as_bytes())? else {
                return Ok(nobody);
            };
            let value: Value = serde_json::from_slice(&found).map_err(|error| {
                Failure::new(format!(
                    "error getting credentials - docker-credential-{helper}: {error}"
                ))
            })?;
            let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
            return Ok(if value["Username"] == TOKEN {
                Login {
                    identity_token: text("Secret"),
                    ..nobody
                }
            } else {
                Login {
                    username: text("Username"),
                    password: text("Secret"),
                    ..nobody
                }
            });
        }
        let Some(entry) = self.entry(server) else {
            return Ok(nobody);
        };
        let text = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
        let mut login = Login {
            username: text("username"),
            password: text("password"),
            identity_token: text("identitytoken"),
            ..nobody
        };
        if let Some(auth) = entry["auth"].as_str().filter(|auth| !auth.is_empty()) {
            let pair = STANDARD
                .decode(auth)
                .ok()
                .and_then(|bytes| String::from_utf8(bytes).ok());
            let Some((username, password)) = pair.as_deref().and_then(|pair| pair.split_once(':'))
            else {
                return Err(Failure::new(format!(
                    "error loading config file: {}: the login for {server} cannot be read",
                    self.path.display()
                )));
            };
            username.clone_into(&mut login.username);
            // Docker ends old ones with zeros.
            password.trim_matches('\0').clone_into(&mut login.password);
        }
        Ok(login)
    }

    fn entry(&self, server: &str) -> Option<&Value> {
        let entries = self.file.get("auths")?.as_object()?;
        entries.get(server).or_else(|| {
            entries
                .iter()
                .find(|(key, _)| host(key) == host(server))
                .map(|(_, entry)| entry)
        })
    }

    /// Keeps a login; whether that was in the file, for all who can read it.
    pub(crate) fn store(&mut self, login: &Login) -> Outcome<bool> {
        let (username, secret) = if login.identity_token.is_empty() {
            (login.username.as_str(), login.password.as_str())
        } else {
            (TOKEN, login.identity_token.as_str())
        };
        if let Some(helper) = self.helper(&login.server) {
            let value =
                json!({ "ServerURL": login.server, "Username": username, "Secret": secret });
            ask(helper, "store", value.to_string().as_bytes())?;
            // So does docker: the list of servers stays complete.
            self.set(&login.server, json!({}));
            self.write()?;
            return Ok(false);
        }
        let password = if login.identity_token.is_empty() {
            login.password.as_str()
        } else {
            ""
        };
        let mut entry =
            json!({ "auth": STANDARD.encode(format!("{}:{password}", login.username)) });
        if !login.identity_token.is_empty() {
            entry["identitytoken"] = json!(login.identity_token);
        }
        self.set(&login.server, entry);
        self.write()?;
        Ok(true)
    }

    fn set(&mut self, server: &str, entry: Value) {
        let entries = self
            .file
            .entry("auths")
            .or_insert_with(|| Value::Object(Map::new()));
        if let Some(entries) = entries.as_object_mut() {
            entries.insert(server.to_owned(), entry);
        }
    }

    /// Forgets a login; whether there was one.
    pub(crate) fn erase(&mut self, server: &str) -> Outcome<bool> {
        let known = self.entry(server).is_some();
        if let Some(helper) = self.helper(server) {
            ask(helper, "erase", server.as_bytes())?;
        }
        if known {
            if let Some(entries) = self.file.get_mut("auths").and_then(Value::as_object_mut) {
                entries.retain(|key, _| host(key) != host(server));
            }
            self.write()?;
        }
        Ok(known)
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a file of the user's, not of the engine's state"
    )]
    fn write(&self) -> Outcome<()> {
        let failed =
            |error: io::Error| Failure::file("error saving credentials: open", &self.path, &error);
        let directory = self.path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(directory).map_err(failed)?;
        let mut bytes = Vec::new();
        let formatter = serde_json::ser::PrettyFormatter::with_indent(b"\t");
        let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
        serde::Serialize::serialize(&self.file, &mut serializer)
            .expect("what was read can be written");
        // A link, such as to a dotfile collection, stays one.
        let target = std::fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        let part = target.with_extension(format!("json.{}", std::process::id()));
        let written = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&part)
            .and_then(|mut file| file.write_all(&bytes).and_then(|()| file.sync_all()))
            .and_then(|()| std::fs::rename(&part, &target));
        written.map_err(|error| {
            // It may never have been made.
            drop(std::fs::remove_file(&part));
            failed(error)
        })
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the client lives in its user's environment"
)]
fn directory() -> PathBuf {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    set("DOCKER_CONFIG").map_or_else(
        || PathBuf::from(set("HOME").unwrap_or_else(|| "/root".into())).join(".docker"),
        PathBuf::from,
    )
}

/// `https://host:5000/v1/` and `host:5000` are the same server.
fn host(server: &str) -> &str {
    let bare = server
        .strip_prefix("https://")
        .or_else(|| server.strip_prefix("http://"))
        .unwrap_or(server);
    bare.split('/').next().unwrap_or_default()
}

/// What people write as the server of a login, as the file names it.
pub(crate) fn server_of(typed: Option<&str>) -> String {
    match typed.filter(|text| !text.is_empty()) {
        None => HUB.to_owned(),
        Some(text) if matches!(host(text), "docker.io" | "index.docker.io") => HUB.to_owned(),
        Some(text) => host(text).to_owned(),
    }
}

/// Runs `docker-credential-NAME`; nothing when it knows no such login.
#[expect(
    clippy::disallowed_methods,
    reason = "helpers live in their user's environment"
)]
fn ask(helper: &str, verb: &str, input: &[u8]) -> Outcome<Option<Vec<u8>>> {
    let program = format!("docker-credential-{helper}");
    let failed = |why: String| {
        let doing = match verb {
            "get" => "getting",
            "store" => "storing",
            _ => "erasing",
        };
        Failure::new(format!("error {doing} credentials - {program}: {why}"))
    };
    if helper.contains('/') {
        return Err(failed("a helper is named without a path".to_owned()));
    }
    let mut child = Command::new(&program)
        .arg(verb)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => failed("executable file not found in $PATH".to_owned()),
            _ => failed(crate::failure::plain(&error)),
        })?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that reads nothing says so by its exit code.
        stdin.write_all(input).unwrap_or_default();
    }
    let output = child
        .wait_with_output()
        .map_err(|error| failed(crate::failure::plain(&error)))?;
    if output.status.success() {
        return Ok(Some(output.stdout));
    }
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if said.contains("credentials not found") {
        return Ok(None);
    }
    Err(failed(format!("{}, out: `{said}`", output.status)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_keeps_everything_else() {
        let directory = std::env::temp_dir().join(format!("orlop-logins-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let path = directory.join("config.json");
        std::fs::write(
            &path,
            r#"{"psFormat":"x","auths":{"https://old.example/v1/":{"auth":"dTpw"}}}"#,
        )
        .unwrap();
        let mut logins = Logins::read(&directory).unwrap();
        let old = logins.get("old.example").unwrap();
        assert_eq!((old.username.as_str(), old.password.as_str()), ("u", "p"));
        let new = Login {
            server: "localhost:5000".to_owned(),
            username: "me".to_owned(),
            password: "a:b".to_owned(),
            identity_token: String::new(),
        };
        assert!(logins.store(&new).unwrap());
        let again = Logins::read(&directory).unwrap();
        assert!(again.get("localhost:5000").unwrap() == new);
        assert!(again.get("other").unwrap().is_empty());
        let mut again = again;
        assert!(again.erase("localhost:5000").unwrap());
        assert!(!again.erase("localhost:5000").unwrap());
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(
            text.contains("psFormat")
                && text.contains("old.example")
                && !text.contains("localhost")
        );
        let mode = std::os::unix::fs::PermissionsExt::mode(
            &std::fs::metadata(&path).unwrap().permissions(),
        );
        assert_eq!(mode & 0o777, 0o600);
        std::fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn servers() {
        assert_eq!(server_of(None), HUB);
        assert_eq!(server_of(Some("docker.io")), HUB);
        assert_eq!(
            server_of(Some("https://localhost:5000/v2/")),
            "localhost:5000"
        );
        assert_eq!(server_of(Some("quay.io")), "quay.io");
    }
}
