//! `logs`.

use clap::Args as ClapArgs;
use jiff::Timestamp;
use serde_json::Value;

use crate::failure::{Failure, Outcome};
use crate::http::{Body, Client, Query, encode};
use crate::streams;

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Show extra details provided to logs
    #[arg(long)]
    details: bool,
    /// Follow log output
    #[arg(short, long)]
    follow: bool,
    /// Show logs since timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)
    #[arg(long, value_name = "string")]
    since: Option<String>,
    /// Number of lines to show from the end of the logs
    #[arg(short = 'n', long, value_name = "string", default_value = "all")]
    tail: String,
    /// Show timestamps
    #[arg(short, long)]
    timestamps: bool,
    /// Show logs before a timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)
    #[arg(long, value_name = "string")]
    until: Option<String>,
    #[arg(value_name = "CONTAINER")]
    container: String,
}

/// Unix seconds with a fraction, as the API takes times.
pub(crate) fn time(flag: &str, text: &str) -> Outcome<String> {
    if text.parse::<f64>().is_ok() {
        return Ok(text.to_owned());
    }
    let duration = text
        .parse::<jiff::SignedDuration>()
        .ok()
        .and_then(|age| Timestamp::now().checked_sub(age).ok());
    let local = || {
        let civil: jiff::civil::DateTime = text.parse().ok()?;
        Some(
            civil
                .to_zoned(jiff::tz::TimeZone::system())
                .ok()?
                .timestamp(),
        )
    };
    let time = duration
        .or_else(|| text.parse().ok())
        .or_else(local)
        .ok_or_else(|| Failure::new(format!("invalid value for \"{flag}\": failed to parse value as time or duration: \"{text}\"")))?;
    Ok(format!(
        "{}.{:09}",
        time.as_second(),
        time.subsec_nanosecond()
    ))
}

impl Args {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        let container = client.get(&format!("/containers/{}/json", encode(&self.container)))?;
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
        let path = Query::new(format!("/containers/{}/logs", encode(&self.container)))
            .set("stdout", "1")
            .set("stderr", "1")
            .flag("follow", self.follow)
            .flag("timestamps", self.timestamps)
            .flag("details", self.details)
            .option("since", since)
            .option("until", until)
            .set("tail", &self.tail)
            .build();
        let answer = client.send("GET", &path, Body::Empty)?;
        streams::copy_out(answer.body, container["Config"]["Tty"] == Value::Bool(true))?;
        Ok(0)
    }
}
