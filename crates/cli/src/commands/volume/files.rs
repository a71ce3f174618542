//! `volume ls-files` and `volume cat`: looking into a volume without a container.

use std::io;

use clap::Args as ClapArgs;
use serde_json::Value;

use crate::failure::{Failure, Outcome};
use crate::http::{Body, Client, Query, encode};
use crate::json::each;
use crate::render::list::{pretty, wide_table};
use crate::render::units::local_time;

#[derive(Debug, ClapArgs)]
pub(crate) struct ListArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// A place in a volume, or in a snapshot (VOLUME@SNAPSHOT:PATH)
    #[arg(value_name = "VOLUME[:PATH]")]
    place: String,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct CatArgs {
    /// Files of a volume, or of a snapshot (VOLUME@SNAPSHOT:PATH)
    #[arg(required = true, value_name = "VOLUME:PATH")]
    places: Vec<String>,
}

impl ListArgs {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        let (volume, path) = self.place.split_once(':').unwrap_or((&self.place, "/"));
        let route = Query::new(format!("/orlop/v1/volumes/{}/files", encode(volume)))
            .set("path", path)
            .build();
        let entries = client.get(&route)?;
        if self.json {
            println!("{}", pretty(&entries));
            return Ok(0);
        }
        let lines: Vec<Vec<String>> = each(&entries).map(line).collect();
        print!("{}", wide_table(&lines, 0));
        Ok(0)
    }
}

/// As `ls -ln` shows it.
pub(crate) fn line(entry: &Value) -> Vec<String> {
    let number = |key: &str| entry[key].as_u64().unwrap_or_default();
    let name = entry["Name"].as_str().unwrap_or_default();
    let shown = match entry["Target"].as_str() {
        Some(target) => format!("{name} -> {target}"),
        None => name.to_owned(),
    };
    vec![
        mode(entry["Type"].as_str().unwrap_or_default(), number("Mode")),
        format!("{}:{}", number("UID"), number("GID")),
        number("Size").to_string(),
        local_time(entry["Modified"].as_i64().unwrap_or_default())
            .chars()
            .take("2026-01-31 12:00".len())
            .collect(),
        shown,
    ]
}

fn mode(kind: &str, bits: u64) -> String {
    let mut text = String::from(match kind {
        "directory" => "d",
        "link" => "l",
        "fifo" => "p",
        "socket" => "s",
        "character device" => "c",
        "block device" => "b",
        _ => "-",
    });
    for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let three = bits >> shift;
        text.push(if three & 4 == 0 { '-' } else { 'r' });
        text.push(if three & 2 == 0 { '-' } else { 'w' });
        text.push(match (three & 1 != 0, bits & special != 0) {
            (true, true) => letter,
            (false, true) => letter.to_ascii_uppercase(),
            (true, false) => 'x',
            (false, false) => '-',
        });
    }
    text
}

impl CatArgs {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        for place in &self.places {
            let (volume, path) = place
                .split_once(':')
                .filter(|(volume, path)| !volume.is_empty() && !path.is_empty())
                .ok_or_else(|| Failure::new(format!("invalid place '{place}': VOLUME:PATH")))?;
            let route = Query::new(format!("/orlop/v1/volumes/{}/file", encode(volume)))
                .set("path", path)
                .build();
            let mut body = client.send("GET", &route, Body::Empty)?.body;
            io::copy(&mut body, &mut io::stdout().lock())?;
        }
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use super::mode;

    #[test]
    fn modes_are_those_of_ls() {
        for (kind, bits, text) in [
            ("file", 0o644, "-rw-r--r--"),
            ("directory", 0o1777, "drwxrwxrwt"),
            ("file", 0o4711, "-rws--x--x"),
            ("link", 0o777, "lrwxrwxrwx"),
            ("file", 0o2640, "-rw-r-S---"),
        ] {
            assert_eq!(mode(kind, bits), text);
        }
    }
}
