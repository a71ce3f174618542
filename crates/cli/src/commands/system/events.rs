//! `events`.

use clap::Args as ClapArgs;
use jiff::Timestamp;
use serde_json::Value;

use crate::commands::container_time as time;
use crate::failure::{Failure, Outcome};
use crate::http::{Body, Client, Query};
use crate::render::list;

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Filter output based on conditions provided
    #[arg(short, long, value_name = "filter")]
    filter: Vec<String>,
    /// Format output using a custom template
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Show all events created since timestamp
    #[arg(long, value_name = "string")]
    since: Option<String>,
    /// Stream events until this timestamp
    #[arg(long, value_name = "string")]
    until: Option<String>,
}

impl Args {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        let since = self
            .since
            .as_deref()
            .map(|text| time("since", text))
            .transpose()?;
        let until = self
            .until
            .as_deref()
            .map(|text| time("until", text))
            .transpose()?;
        let path = Query::new("/events")
            .option("since", since)
            .option("until", until)
            .filters(&self.filter)?
            .build();
        let template = match self.format.as_deref() {
            None | Some("json") => None,
            Some(source) => Some(list::parse(source)?),
        };
        let answer = client.send("GET", &path, Body::Empty)?;
        for event in serde_json::Deserializer::from_reader(answer.body).into_iter::<Value>() {
            let event = event.map_err(|error| {
                Failure::new(format!(
                    "the engine's answer could not be understood: {error}"
                ))
            })?;
            match (&template, &self.format) {
                (Some(template), _) => println!("{}", list::apply(template, &event)?),
                (None, Some(_)) => println!("{event}"),
                (None, None) => println!("{}", line(&event)),
            }
        }
        Ok(0)
    }
}

/// `2026-11-21T08:00:00.000000000Z container start 0123… (image=busybox, name=x)`.
fn line(event: &Value) -> String {
    let nanoseconds = event["timeNano"].as_i64().unwrap_or(0);
    let time = Timestamp::from_nanosecond(i128::from(nanoseconds)).unwrap_or(Timestamp::UNIX_EPOCH);
    let attributes: Vec<String> = event["Actor"]["Attributes"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut line = format!(
        "{} {} {} {}",
        time.strftime("%Y-%m-%dT%H:%M:%S.%9fZ"),
        text(&event["Type"]),
        text(&event["Action"]),
        text(&event["Actor"]["ID"])
    );
    if !attributes.is_empty() {
        line.push_str(&format!(" ({})", attributes.join(", ")));
    }
    line
}
