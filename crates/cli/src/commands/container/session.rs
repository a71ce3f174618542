//! A foreground session with a container's first process: attach, wait, and its exit code.

use serde_json::Value;

use super::signals;
use crate::failure::{Failure, Outcome};
use crate::http::{Answer, Body, Client, Query, encode};
use crate::parse::keys;
use crate::streams::{self, Attached, Ended};

/// What to attach to whom.
#[derive(Debug)]
pub(super) struct Session<'a> {
    pub(super) container: &'a str,
    pub(super) tty: bool,
    pub(super) stdin: bool,
    pub(super) stdout: bool,
    pub(super) stderr: bool,
    pub(super) detach_keys: Option<&'a str>,
    pub(super) sig_proxy: bool,
}

/// The streams are connected, and the exit is waited for.
pub(super) struct Opened {
    upgraded: crate::http::Upgraded,
    exit: Answer,
    detach: Vec<u8>,
}

impl Session<'_> {
    /// Steps: forward signals; register for the exit; attach. What happens from here on is not missed.
    pub(super) fn open(&self, client: &Client, condition: Option<&str>) -> Outcome<Opened> {
        let detach = keys::parse(self.detach_keys).map_err(Failure::new)?;
        if self.sig_proxy {
            signals::forward(client, self.container)?;
        } else if self.tty {
            signals::restore_terminal()?;
        }
        let name = encode(self.container);
        let wait = Query::new(format!("/containers/{name}/wait"))
            .option("condition", condition)
            .build();
        // The head comes at once, the body with the end.
        let exit = client.send("POST", &wait, Body::Empty)?;
        let attach = Query::new(format!("/containers/{name}/attach"))
            .set("stream", "1")
            .flag("stdin", self.stdin)
            .flag("stdout", self.stdout)
            .flag("stderr", self.stderr)
            .option("detachKeys", self.detach_keys)
            .build();
        let upgraded = client.upgrade(&attach, Body::Empty)?;
        Ok(Opened {
            upgraded,
            exit,
            detach,
        })
    }

    /// Copies the streams until they end; `None` when the user detached, else the exit code.
    pub(super) fn finish(&self, client: &Client, opened: Opened) -> Outcome<Option<i32>> {
        if self.tty {
            signals::follow_size(
                client,
                &format!("/containers/{}/resize", encode(self.container)),
            )?;
        }
        let attached = Attached {
            tty: self.tty,
            stdin: self.stdin,
            detach: opened.detach,
        };
        if streams::run(opened.upgraded, attached)? == Ended::Detached {
            return Ok(None);
        }
        let exit = opened.exit.json()?;
        if let Some(message) = exit["Error"]["Message"]
            .as_str()
            .filter(|message| !message.is_empty())
        {
            return Err(Failure::from_engine(500, message));
        }
        Ok(Some(code(&exit["StatusCode"])))
    }
}

/// An exit code as this process can return it.
pub(super) fn code(value: &Value) -> i32 {
    value
        .as_i64()
        .and_then(|code| i32::try_from(code).ok())
        .unwrap_or(125)
}
