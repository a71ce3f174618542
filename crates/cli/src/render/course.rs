//! How far a long command has come: one way to show it for all of them.
//!
//! * On a terminal a bar for each item with its rate and the time that is left, on standard error.
//! * With `--progress json` one JSON object a line on standard error: `{"action","id","current","total","rate","left"}`,
//!   bytes, bytes a second and seconds (`total` and `left` only while they are known), at most ten a second for each
//!   item and always the last one; `{"action","id"}` for what has no measure, `{"message"}` for plain sentences, `{"warning"}` for what must be known before.
//! * With `--progress plain` a line for each thing that begins or is done; nothing that moves.
//! * Nothing with `--quiet` or `--progress none`, or when standard error is no terminal and nobody asked.
//!
//! A command flattens [`CourseArgs`] into its flags and asks it for the [`Course`]. What the engine tells in an answer
//! ([`Course::follow`]) and what the client counts itself ([`Course::item`]) look the same. From then on ^C ends the command
//! cleanly ([`crate::interrupt`]).

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _, Read, Write as _};
use std::time::{Duration, Instant};

use clap::Args as ClapArgs;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use crate::failure::{Failure, Outcome};
use crate::interrupt;

// Flags of every long command. No doc comment: it would be the help of the command that has these flags.
#[derive(Debug, Clone, Default, ClapArgs)]
pub(crate) struct CourseArgs {
    /// How to show progress ("auto", "bar", "plain", "json", "none")
    #[arg(long, value_name = "string", default_value = "auto")]
    progress: String,
    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    Bars,
    Plain,
    Json,
    Nothing,
}

/// Between two lines of one item.
const PAUSE: Duration = Duration::from_millis(100);

impl CourseArgs {
    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Begins to show; ^C ends the command cleanly from now on.
    pub(crate) fn course(&self) -> Outcome<Course> {
        let manner = match self.progress.as_str() {
            _ if self.quiet => Manner::Nothing,
            "auto" if io::stderr().is_terminal() => Manner::Bars,
            "auto" | "none" => Manner::Nothing,
            "bar" => Manner::Bars,
            "plain" => Manner::Plain,
            "json" => Manner::Json,
            other => {
                return Err(Failure::flag(
                    "--progress",
                    other,
                    "it is auto, bar, plain, json or none",
                ));
            }
        };
        interrupt::ends_cleanly()?;
        Ok(Course {
            manner,
            quiet: self.quiet,
            bars: MultiProgress::new(),
        })
    }
}

/// Shows one command's progress.
#[derive(Debug, Clone)]
pub(crate) struct Course {
    manner: Manner,
    /// Nothing is said but results and errors.
    quiet: bool,
    bars: MultiProgress,
}

impl Course {
    /// Whether anybody looks: what is only known with some effort need not be found out otherwise.
    pub(crate) fn is_shown(&self) -> bool {
        self.manner != Manner::Nothing
    }

    /// Begins to count `id` (a volume, a file), doing `action` ("Exporting"), of `total` bytes (0: unknown).
    pub(crate) fn item(&self, action: &str, id: &str, total: u64) -> Item {
        let shown = match self.manner {
            Manner::Nothing => Shown::Nothing,
            Manner::Bars => Shown::Bar(self.bars.add(bar(action, id, total))),
            Manner::Plain => {
                eprintln!("{action} {id}");
                Shown::Nothing
            }
            Manner::Json => Shown::Lines(Pace::new(action, id)),
        };
        Item {
            shown,
            done: 0,
            total,
        }
    }

    /// One sentence above the bars.
    pub(crate) fn say(&self, text: &str) {
        match self.manner {
            Manner::Nothing => {}
            // A terminal that is gone needs no sentence.
            Manner::Bars => drop(self.bars.println(text)),
            Manner::Plain => eprintln!("{text}"),
            Manner::Json => line(&json!({ "message": text })),
        }
    }

    /// What people must know before it goes on, whether progress is shown or not.
    fn warn(&self, text: &str) {
        match self.manner {
            _ if self.quiet => {}
            Manner::Json => line(&json!({ "warning": text })),
            // As for a sentence.
            Manner::Bars if !self.bars.is_hidden() => {
                drop(self.bars.println(format!("WARNING: {text}")));
            }
            Manner::Bars | Manner::Plain | Manner::Nothing => eprintln!("WARNING: {text}"),
        }
    }

    /// Reads the engine's messages to their end and shows them; `result` gets each result (`aux`), or the answer of an engine
    /// that knows nothing of progress. An error among them is the end.
    pub(crate) fn follow(
        &self,
        body: impl Read,
        mut result: impl FnMut(&Value) -> Outcome<()>,
    ) -> Outcome<()> {
        let mut items: BTreeMap<String, (String, Item)> = BTreeMap::new();
        for message in serde_json::Deserializer::from_reader(body).into_iter::<Value>() {
            let message = message.map_err(|error| {
                Failure::new(format!(
                    "the engine's answer could not be understood: {error}"
                ))
            })?;
            if let Some(error) = message["error"].as_str() {
                return Err(Failure::from_engine(500, error));
            }
            if !message["aux"].is_null() {
                result(&message["aux"])?;
                continue;
            }
            if let Some(text) = message["warning"].as_str() {
                self.warn(text);
                continue;
            }
            if let Some(text) = message["stream"].as_str() {
                self.say(text.trim_end());
                continue;
            }
            let Some(status) = message["status"].as_str() else {
                result(&message)?;
                continue;
            };
            let id = message["id"].as_str().unwrap_or_default();
            let detail = &message["progressDetail"];
            let Some(current) = detail["current"].as_u64() else {
                items.remove(id);
                self.stage(status, id);
                continue;
            };
            let total = detail["total"].as_u64().unwrap_or(0);
            let known = items.get(id).is_some_and(|(action, _)| action == status);
            if !known {
                // What it did before is over.
                items.remove(id);
                items.insert(
                    id.to_owned(),
                    (status.to_owned(), self.item(status, id, total)),
                );
            }
            if let Some((_, item)) = items.get_mut(id) {
                item.set(current, total);
            }
        }
        Ok(())
    }

    /// Something without a measure.
    fn stage(&self, action: &str, id: &str) {
        match self.manner {
            Manner::Json => line(&json!({ "action": action, "id": id })),
            _ if id.is_empty() => self.say(action),
            _ => self.say(&format!("{id}: {action}")),
        }
    }
}

/// One thing that is counted; over when it is dropped.
#[derive(Debug)]
pub(crate) struct Item {
    shown: Shown,
    done: u64,
    total: u64,
}

#[derive(Debug)]
enum Shown {
    Nothing,
    Bar(ProgressBar),
    Lines(Pace),
}

impl Item {
    pub(crate) fn advance(&mut self, bytes: u64) {
        self.set(self.done + bytes, self.total);
    }

    /// So much of so much.
    pub(crate) fn set(&mut self, done: u64, total: u64) {
        (self.done, self.total) = (done, total);
        match &mut self.shown {
            Shown::Nothing => {}
            Shown::Bar(bar) => {
                if total > 0 && bar.length() != Some(total) {
                    bar.set_style(style(total));
                    bar.set_length(total);
                }
                bar.set_position(done);
            }
            Shown::Lines(pace) => pace.tell(done, total, false),
        }
    }

    /// A reader whose bytes are counted.
    pub(crate) fn reading<R: Read>(self, reader: R) -> Reading<R> {
        Reading { reader, item: self }
    }
}

impl Drop for Item {
    fn drop(&mut self) {
        match &mut self.shown {
            Shown::Nothing => {}
            Shown::Bar(bar) => bar.abandon(),
            Shown::Lines(pace) => pace.tell(self.done, self.total, true),
        }
    }
}

/// See [`Item::reading`].
#[derive(Debug)]
pub(crate) struct Reading<R> {
    reader: R,
    item: Item,
}

impl<R: Read> Read for Reading<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.item.advance(count as u64);
        Ok(count)
    }
}

fn bar(action: &str, id: &str, total: u64) -> ProgressBar {
    let bar = if total > 0 {
        ProgressBar::new(total)
    } else {
        ProgressBar::new_spinner()
    };
    bar.with_style(style(total))
        .with_message(format!("{action} {id}").trim_end().to_owned())
}

fn style(total: u64) -> ProgressStyle {
    let template = if total > 0 {
        "{msg} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} {eta}"
    } else {
        "{msg} {spinner} {bytes} {bytes_per_sec}"
    };
    ProgressStyle::with_template(template)
        .expect("the templates are literals")
        .progress_chars("=> ")
}

/// Lines of one item, not too many of them.
#[derive(Debug)]
struct Pace {
    action: String,
    id: String,
    begun: Instant,
    told: Option<(Instant, u64)>,
}

impl Pace {
    fn new(action: &str, id: &str) -> Self {
        Self {
            action: action.to_owned(),
            id: id.to_owned(),
            begun: Instant::now(),
            told: None,
        }
    }

    fn tell(&mut self, done: u64, total: u64, last: bool) {
        let wanted = match self.told {
            None => true,
            Some((_, told)) if last => told != done,
            Some((at, _)) => at.elapsed() >= PAUSE,
        };
        if wanted {
            self.told = Some((Instant::now(), done));
            line(&self.shown(done, total, self.begun.elapsed()));
        }
    }

    fn shown(&self, done: u64, total: u64, elapsed: Duration) -> Value {
        let milliseconds = elapsed.as_millis().max(1);
        let rate = u64::try_from(u128::from(done) * 1000 / milliseconds).unwrap_or(u64::MAX);
        let mut shown =
            json!({ "action": self.action, "id": self.id, "current": done, "rate": rate });
        if total > 0 {
            shown["total"] = json!(total);
            if let Some(left) = total.saturating_sub(done).checked_div(rate) {
                shown["left"] = json!(left);
            }
        }
        shown
    }
}

fn line(value: &Value) {
    // Nobody may be reading any more.
    drop(writeln!(io::stderr().lock(), "{value}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_rate_and_time_left() {
        let pace = Pace::new("Exporting", "data");
        for (done, total, expected) in [
            (
                500,
                1000,
                r#"{"action":"Exporting","id":"data","current":500,"rate":250,"total":1000,"left":2}"#,
            ),
            (
                500,
                0,
                r#"{"action":"Exporting","id":"data","current":500,"rate":250}"#,
            ),
            (
                0,
                1000,
                r#"{"action":"Exporting","id":"data","current":0,"rate":0,"total":1000}"#,
            ),
        ] {
            let shown = pace.shown(done, total, Duration::from_secs(2));
            assert_eq!(shown.to_string(), expected);
        }
    }

    #[test]
    fn errors_end_and_results_are_handed_out() {
        let course = Course {
            manner: Manner::Nothing,
            quiet: false,
            bars: MultiProgress::new(),
        };
        let body = br#"{"status":"Reading","progressDetail":{"current":1,"total":2},"id":"v"}
{"progressDetail":{},"aux":{"Id":"x"}}
{"error":"no space","errorDetail":{"message":"no space"}}
"#;
        let mut results = Vec::new();
        let failure = course
            .follow(&body[..], |result| {
                results.push(result["Id"].clone());
                Ok(())
            })
            .expect_err("the last line is an error");
        assert_eq!(failure.text, "Error response from daemon: no space");
        assert_eq!(results, ["x"]);
    }

    #[test]
    fn unknown_manners_are_refused() {
        let args = CourseArgs {
            progress: "colourful".to_owned(),
            quiet: false,
        };
        let failure = args.course().expect_err("no such manner");
        assert!(failure.text.contains("colourful"), "{failure}");
    }
}
