//! `volume copy` and `volume move`: a volume to another engine, which this client joins with the one it speaks to; and what
//! else volumes travel by.

use clap::Args as ClapArgs;
use serde_json::{Value, json};

use self::destination::Destination;
use self::join::{Joined, join};
use super::snapshot::AroundArgs;
use crate::failure::{Failure, Outcome};
use crate::http::{Body, Client, Query, encode};
use crate::interrupt;
use crate::render::course::CourseArgs;
use crate::render::units::human_size;

mod destination;
mod join;
pub(super) mod receiving;
pub(super) mod registry;

#[derive(Debug, ClapArgs)]
pub(crate) struct CopyArgs {
    #[command(flatten)]
    there: ThereArgs,
    #[command(flatten)]
    around: AroundArgs,
    #[command(flatten)]
    course: CourseArgs,
    /// A volume as it is now, or VOLUME@SNAPSHOT
    #[arg(value_name = "VOLUME")]
    volume: String,
    /// ssh://[user@]host[:port]/[NAME] or unix:///path/docker.sock/[NAME]
    #[arg(value_name = "DESTINATION")]
    destination: String,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct MoveArgs {
    #[command(flatten)]
    there: ThereArgs,
    #[command(flatten)]
    course: CourseArgs,
    /// Stop the containers that use it, when nearly everything is there
    #[arg(long)]
    stop: bool,
    #[arg(value_name = "VOLUME")]
    volume: String,
    /// ssh://[user@]host[:port]/[NAME] or unix:///path/docker.sock/[NAME]
    #[arg(value_name = "DESTINATION")]
    destination: String,
}

// No doc comment: clap would take it for what the command is about. How the volume shall be at its destination.
#[derive(Debug, ClapArgs)]
struct ThereArgs {
    /// Put it into this pool there (default: the default pool)
    #[arg(long, value_name = "string")]
    pool: Option<String>,
    /// Leave its limits behind
    #[arg(long)]
    without_limits: bool,
}

impl CopyArgs {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        let path = with_around(Query::new(send_path(&self.volume)), &self.around)?.build();
        let trip = Trip {
            volume: &self.volume,
            destination: &self.destination,
            there: &self.there,
            course: &self.course,
        };
        trip.make(client, &path).map(|_| 0)
    }
}

impl MoveArgs {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        let path = Query::new(send_path(&self.volume))
            .set("move", "1")
            .flag("stop", self.stop)
            .build();
        let trip = Trip {
            volume: &self.volume,
            destination: &self.destination,
            there: &self.there,
            course: &self.course,
        };
        if trip.make(client, &path)?.released {
            return Ok(0);
        }
        Err(Failure::new(format!(
            "{} has arrived, but was not let go here: the same command does that",
            self.volume
        )))
    }
}

/// A query that says what is done to containers that write.
fn with_around(query: Query, args: &AroundArgs) -> Outcome<Query> {
    let mut around = json!({});
    args.add_to(&mut around)?;
    let text = |key: &str| match &around[key] {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    };
    Ok(query
        .option("consistency", text("Consistency"))
        .option("hook", text("Hook"))
        .option("pre", text("Pre"))
        .option("post", text("Post"))
        .option("hookTimeout", text("HookTimeoutSeconds")))
}

impl ThereArgs {
    fn add_to(&self, query: Query) -> Query {
        query
            .option("pool", self.pool.as_ref())
            .flag("withoutLimits", self.without_limits)
    }
}

fn send_path(volume: &str) -> String {
    format!("/orlop/v1/volumes/{}/send", encode(volume))
}

/// What both have in common.
struct Trip<'a> {
    volume: &'a str,
    destination: &'a str,
    there: &'a ThereArgs,
    course: &'a CourseArgs,
}

impl Trip<'_> {
    fn make(&self, client: &Client, path: &str) -> Outcome<Joined> {
        let destination = Destination::parse(self.destination)?;
        let course = self.course.course()?;
        let source = client.upgrade(path, Body::Empty)?;
        let receive = self
            .there
            .add_to(Query::new("/orlop/v1/receive"))
            .option("name", destination.name.as_ref())
            // This client hands them on; an earlier one would take them for nonsense.
            .flag("streams", true)
            .build();
        let target = Client::new(destination.endpoint.clone())
            .upgrade(&receive, Body::Empty)
            .map_err(|failure| match failure.status {
                Some(404) => Failure::new(format!(
                    "the engine at {} cannot receive volumes",
                    destination.endpoint
                )),
                _ => Failure::new(format!("{}: {}", destination.endpoint, failure.text)),
            })?;
        let kept = format!(
            "what has arrived is kept at {}, and the same command goes on with it (orlop volume receiving there shows it, and \
             gives it up)",
            destination.endpoint
        );
        interrupt::leaves(kept.clone());
        let joined = join(source, target, &course, self.volume);
        if let Some(why) = &joined.failed {
            return Err(Failure::new(why.clone()));
        }
        let Some(digest) = &joined.done else {
            return Err(Failure::new(format!(
                "the connection between the engines broke; {kept}"
            )));
        };
        if !self.course.is_quiet() {
            #[expect(clippy::cast_precision_loss, reason = "it is shown with three digits")]
            let sent = human_size(joined.sent as f64);
            let how = if joined.streamed {
                " as streams of btrfs"
            } else {
                ""
            };
            eprintln!(
                "{sent} of contents sent{how}, {} entries agree, {digest}",
                joined.entries
            );
        }
        println!("{}", joined.name.as_deref().unwrap_or(self.volume));
        Ok(joined)
    }
}
