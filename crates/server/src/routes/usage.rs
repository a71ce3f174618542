//! `/orlop/v1/usage`: volumes are measured, and each result is said as it is there.
//!
//! Measuring takes as long as a volume has files. It ends when its time is over or its client leaves, in the middle of a
//! volume as well; what was measured by then is kept.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::{Cancel, Engine};
use serde_json::{Value, json};

use super::long::ended_with;
use crate::bridge::Class;
use crate::dispatch::{Answer, route_table};
use crate::errors::Refusal;
use crate::hangup::Peer;
use crate::request::Request;
use crate::stream::respond;

route_table! {
    ["our own: [volumes.md](volumes.md)"]
    GET "/orlop/v1/usage" => usage,
}

/// Between two lines that say how far a volume is.
const PAUSE: Duration = Duration::from_millis(200);

/// What shall be measured.
struct Wanted {
    /// None: all volumes.
    names: Vec<String>,
    /// Only those of which no size is known.
    unmeasured: bool,
    /// Says how many entries of a volume were counted so far.
    counts: bool,
    until: Option<Instant>,
}

async fn usage(request: Request) -> Answer {
    let within: Option<u64> = request.number("within")?;
    let wanted = Wanted {
        names: request.all("name"),
        unmeasured: request.flag("unmeasured"),
        counts: request.flag("counts"),
        until: within.and_then(|time| Instant::now().checked_add(Duration::from_millis(time))),
    };
    let peer = request.inner.extensions().get::<Peer>().cloned();
    let pieces = request
        .bridge
        .stream(Class::Long, move |engine, mut writer| {
            let cancel = Arc::new(Cancel::default());
            let _watched = ended_with(peer, &cancel);
            wanted.measure(engine, &mut writer, &cancel)
        });
    respond("application/x-ndjson", pieces).await
}

impl Wanted {
    fn measure(
        &self,
        engine: &Engine,
        writer: &mut dyn Write,
        cancel: &Cancel,
    ) -> Result<(), Refusal> {
        let names = self.names(engine)?;
        let goes_on =
            || !cancel.is_cancelled() && self.until.is_none_or(|until| Instant::now() < until);
        let mut left = names.len();
        for (index, name) in names.iter().enumerate() {
            let mut line = json!({ "Name": name, "Number": index + 1, "Of": names.len() });
            let mut said = Instant::now();
            let mut go_on = |counted: u64| {
                if self.counts && said.elapsed() >= PAUSE {
                    said = Instant::now();
                    let mut line = line.clone();
                    line["Counted"] = json!(counted);
                    return say(writer, &line).is_ok() && goes_on();
                }
                goes_on()
            };
            if !go_on(0) {
                break;
            }
            match engine.volumes.measure(name, &mut go_on) {
                Ok(None) => break,
                Ok(Some(measured)) => {
                    line["Bytes"] = json!(measured.bytes);
                    line["Files"] = json!(measured.files);
                    line["At"] = json!(measured.at);
                }
                Err(error) => line["Error"] = json!(Refusal::from(error).message),
            }
            left -= 1;
            if say(writer, &line).is_err() {
                break;
            }
        }
        if self.until.is_some() {
            // Who has gone does not want to know.
            drop(say(writer, &json!({ "Left": left })));
        }
        Ok(())
    }

    fn names(&self, engine: &Engine) -> Result<Vec<String>, Refusal> {
        if !self.unmeasured && !self.names.is_empty() {
            return Ok(self.names.clone());
        }
        let all = engine.volumes.overview()?.into_iter();
        Ok(all
            .filter(|one| !engine.volumes.is_elsewhere(&one.volume.driver))
            .filter(|one| !self.unmeasured || one.notes.measured.is_none())
            .map(|one| one.volume.name)
            .filter(|name| self.names.is_empty() || self.names.contains(name))
            .collect())
    }
}

/// One line, now.
fn say(writer: &mut dyn Write, line: &Value) -> io::Result<()> {
    writeln!(writer, "{line}")?;
    writer.flush()
}
