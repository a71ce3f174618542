//! `volume chown`.

use clap::Args as ClapArgs;

use serde_json::Value;

use crate::commands::backup::long;
use crate::failure::{Failure, Outcome};
use crate::http::{Client, Query, encode};
use crate::render::course::CourseArgs;

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Only files that belong to this user id
    #[arg(long, value_name = "UID")]
    from: Option<u32>,
    #[command(flatten)]
    course: CourseArgs,
    #[arg(value_name = "VOLUME")]
    volume: String,
    /// Numbers, as the files' owner is stored
    #[arg(value_name = "UID[:GID]")]
    owner: String,
}

impl Args {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        let (uid, gid) = parse(&self.owner).ok_or_else(|| {
            Failure::new(format!(
                "invalid owner '{}': UID or UID:GID, as numbers (names differ from image to image)",
                self.owner
            ))
        })?;
        let path = Query::new(format!("/orlop/v1/volumes/{}/chown", encode(&self.volume)))
            .set("uid", uid.to_string())
            .option("gid", gid)
            .option("from", self.from)
            .set("progress", "1")
            .build();
        let answer = long(client, &self.course.course()?, &path, &Value::Null)?;
        println!("{} changed", answer["Changed"].as_u64().unwrap_or_default());
        Ok(0)
    }
}

fn parse(text: &str) -> Option<(u32, Option<u32>)> {
    match text.split_once(':') {
        None => Some((text.parse().ok()?, None)),
        Some((uid, gid)) => Some((uid.parse().ok()?, Some(gid.parse().ok()?))),
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn owners() {
        assert_eq!(parse("5"), Some((5, None)));
        assert_eq!(parse("5:6"), Some((5, Some(6))));
        for wrong in ["", "x", "5:", ":5", "-1"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
