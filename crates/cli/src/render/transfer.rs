//! A pull or push as it goes: one line for each layer on a terminal, moved to and rewritten; elsewhere what docker prints
//! there, which leaves out what changes all the time.

use std::io::{self, IsTerminal as _, Read, Write};

use serde_json::Value;

use crate::failure::{Failure, Outcome};
use crate::render::units::human_size;

/// Where it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum To {
    Stdout,
    Stderr,
    Nowhere,
}

/// Reads the engine's messages to their end and shows them. An error among them is the end.
pub(crate) fn follow(body: impl Read, to: To) -> Outcome<()> {
    let mut out: Box<dyn Write> = match to {
        To::Stdout => Box::new(io::stdout().lock()),
        To::Stderr => Box::new(io::stderr().lock()),
        To::Nowhere => Box::new(io::sink()),
    };
    let terminal = match to {
        To::Stdout => io::stdout().is_terminal(),
        To::Stderr => io::stderr().is_terminal(),
        To::Nowhere => false,
    };
    let mut lines = Lines {
        terminal,
        wide: crate::terminal::size().is_none_or(|(_, columns)| columns > 110),
        ids: Vec::new(),
    };
    for message in serde_json::Deserializer::from_reader(body).into_iter::<Value>() {
        let message = message.map_err(|error| {
            Failure::new(format!(
                "the engine's answer could not be understood: {error}"
            ))
        })?;
        if let Some(error) = message["error"].as_str() {
            return Err(Failure::new(error));
        }
        lines.show(&message, &mut out)?;
        out.flush()?;
    }
    Ok(())
}

struct Lines {
    terminal: bool,
    wide: bool,
    /// Of the lines above, from the top.
    ids: Vec<String>,
}

impl Lines {
    fn show(&mut self, message: &Value, out: &mut dyn Write) -> io::Result<()> {
        let Some(status) = message["status"].as_str() else {
            // Results are for programs.
            return Ok(());
        };
        let id = message["id"].as_str().unwrap_or_default();
        let detail = &message["progressDetail"];
        let current = detail["current"].as_u64();
        if !self.terminal {
            if current.is_some() {
                return Ok(());
            }
            return if id.is_empty() {
                writeln!(out, "{status}")
            } else {
                writeln!(out, "{id}: {status}")
            };
        }
        // Without this field a message is of the whole, and what is above it stays.
        if id.is_empty() || detail.is_null() {
            self.ids.clear();
            return if id.is_empty() {
                writeln!(out, "{status}")
            } else {
                writeln!(out, "{id}: {status}")
            };
        }
        let up = match self.ids.iter().position(|known| known == id) {
            Some(position) => self.ids.len() - position,
            None => {
                self.ids.push(id.to_owned());
                writeln!(out)?;
                1
            }
        };
        let bar = current.map_or_else(String::new, |current| {
            self.bar(current, detail["total"].as_u64().unwrap_or(0))
        });
        write!(out, "\x1b[{up}A\x1b[2K\r{id}: {status} {bar}\r\x1b[{up}B")
    }

    fn bar(&self, current: u64, total: u64) -> String {
        #[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
        let size = |bytes: u64| human_size(bytes as f64);
        if total == 0 {
            return size(current);
        }
        let mut text = String::new();
        if self.wide {
            let width =
                usize::try_from(current.min(total).saturating_mul(50) / total).unwrap_or(50);
            let arrow = if width < 50 { ">" } else { "" };
            let blank = " ".repeat(50 - width - arrow.len());
            text = format!("[{}{arrow}{blank}] ", "=".repeat(width));
        }
        text + &format!("{}/{}", size(current), size(total))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(terminal: bool) -> String {
        let mut lines = Lines {
            terminal,
            wide: false,
            ids: Vec::new(),
        };
        let mut out = Vec::new();
        for message in [
            json!({ "status": "Pulling from x", "id": "latest" }),
            json!({ "status": "Pulling fs layer", "progressDetail": {}, "id": "a" }),
            json!({ "status": "Pulling fs layer", "progressDetail": {}, "id": "b" }),
            json!({ "status": "Downloading", "progressDetail": { "current": 1, "total": 2 }, "id": "a" }),
            json!({ "progressDetail": {}, "aux": { "Tag": "x" } }),
            json!({ "status": "Digest: d" }),
        ] {
            lines.show(&message, &mut out).unwrap();
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn plain_and_moving() {
        assert_eq!(
            shown(false),
            "latest: Pulling from x\na: Pulling fs layer\nb: Pulling fs layer\nDigest: d\n"
        );
        let moving = shown(true);
        assert!(
            moving.contains("\x1b[2A\x1b[2K\ra: Downloading 1B/2B\r\x1b[2B"),
            "{moving:?}"
        );
        assert!(moving.ends_with("Digest: d\n"));
    }
}
