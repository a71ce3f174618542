//! `system df`.

use clap::Args as ClapArgs;
use serde_json::{Value, json};

use crate::failure::Outcome;
use crate::http::Client;
use crate::json::text;
use crate::render::list::{self, Row, table};
use crate::render::units::{ago, ellipsis, human_size, short_id};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Format output using a custom template
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Show detailed information on space usage
    #[arg(short, long)]
    verbose: bool,
}

const COLUMNS: list::Columns<'_> = &[
    ("TYPE", "Type"),
    ("TOTAL", "TotalCount"),
    ("ACTIVE", "Active"),
    ("SIZE", "Size"),
    ("RECLAIMABLE", "Reclaimable"),
];

impl Args {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        let usage = client.get("/system/df")?;
        let lists = Lists {
            images: list(&usage, "Images"),
            containers: list(&usage, "Containers"),
            volumes: list(&usage, "Volumes"),
            cache: list(&usage, "BuildCache"),
        };
        if self.verbose {
            print!("{}", details(&lists));
            return Ok(0);
        }
        let trash = number(&usage["VolumeTrash"]["Size"]);
        let rows = lists.summary(number(&usage["LayersSize"]), trash);
        list::print(&rows, COLUMNS, COLUMNS, self.format.as_deref())?;
        Ok(0)
    }
}

struct Lists<'a> {
    images: &'a [Value],
    containers: &'a [Value],
    volumes: &'a [Value],
    cache: &'a [Value],
}

fn list<'a>(usage: &'a Value, key: &str) -> &'a [Value] {
    usage[key].as_array().map_or(&[], Vec::as_slice)
}

/// Unknown sizes, which are negative, count as nothing.
fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(0.0).max(0.0)
}

fn sum<'a>(list: impl IntoIterator<Item = &'a Value>, size: impl Fn(&Value) -> f64) -> f64 {
    // Not `sum`, which makes a negative zero of an empty list.
    list.into_iter().map(size).fold(0.0, |all, one| all + one)
}

/// What images that are used need at least: what each has alone, or all of the largest one, whose layers others have, too.
fn needed<'a>(used: impl Iterator<Item = &'a Value> + Clone) -> f64 {
    let own = |image: &Value| number(&image["Size"]) - number(&image["SharedSize"]);
    let largest = used.clone().map(|image| number(&image["Size"]));
    largest.fold(sum(used, own), f64::max)
}

impl Lists<'_> {
    /// What is in the trash takes room, and can be had back.
    fn summary(&self, layers: f64, trash: f64) -> [Row; 4] {
        let is_used = |image: &&Value| number(&image["Containers"]) > 0.0;
        let is_running = |one: &&Value| one["State"] == "running";
        let is_held = |volume: &&Value| number(&volume["UsageData"]["RefCount"]) > 0.0;
        let is_busy = |record: &&Value| record["InUse"] == true;
        let of_container = |one: &Value| number(&one["SizeRw"]);
        let of_volume = |volume: &Value| number(&volume["UsageData"]["Size"]);
        // What an image has as well is counted there.
        let of_record = |record: &Value| {
            if record["Shared"] == true {
                0.0
            } else {
                number(&record["Size"])
            }
        };
        let (images, containers) = (self.images.iter(), self.containers.iter());
        let (volumes, cache) = (self.volumes.iter(), self.cache.iter());
        [
            row(
                "Images",
                (images.len(), images.clone().filter(is_used).count()),
                layers,
                (layers - needed(images.filter(is_used))).max(0.0),
            ),
            row(
                "Containers",
                (
                    containers.len(),
                    containers.clone().filter(is_running).count(),
                ),
                sum(containers.clone(), of_container),
                sum(containers.filter(|one| !is_running(one)), of_container),
            ),
            row(
                "Local Volumes",
                (volumes.len(), volumes.clone().filter(is_held).count()),
                sum(volumes.clone(), of_volume) + trash,
                sum(volumes.filter(|volume| !is_held(volume)), of_volume) + trash,
            ),
            row(
                "Build Cache",
                (cache.len(), cache.clone().filter(is_busy).count()),
                sum(cache.clone(), of_record),
                sum(cache.filter(|record| !is_busy(record)), of_record),
            ),
        ]
    }
}

fn row(kind: &str, (all, active): (usize, usize), total: f64, free: f64) -> Row {
    let reclaimable = if total > 0.0 {
        format!("{} ({:.0}%)", human_size(free), free / total * 100.0)
    } else {
        human_size(free)
    };
    let values = json!({
        "Active": active.to_string(),
        "Reclaimable": reclaimable,
        "Size": human_size(total),
        "TotalCount": all.to_string(),
        "Type": kind,
    });
    values.as_object().cloned().unwrap_or_default()
}

/// Everything there is, as docker prints it.
fn details(lists: &Lists<'_>) -> String {
    let mut images = vec![cells(&[
        "REPOSITORY",
        "TAG",
        "IMAGE ID",
        "CREATED",
        "SIZE",
        "SHARED SIZE",
        "UNIQUE SIZE",
        "CONTAINERS",
    ])];
    for image in lists.images {
        let unique = number(&image["Size"]) - number(&image["SharedSize"]);
        let tags = image["RepoTags"].as_array().map_or(&[][..], Vec::as_slice);
        let shown = |name: &str| {
            let (repository, tag) = name.rsplit_once(':').unwrap_or((name, "<none>"));
            vec![
                repository.to_owned(),
                tag.to_owned(),
                short_id(text(&image["Id"])).to_owned(),
                ago(image["Created"].as_i64().unwrap_or(0)),
                size(&image["Size"]),
                size(&image["SharedSize"]),
                human_size(unique),
                image["Containers"].to_string(),
            ]
        };
        if tags.is_empty() {
            images.push(shown("<none>"));
        }
        images.extend(tags.iter().map(|tag| shown(text(tag))));
    }
    let mut containers = vec![cells(&[
        "CONTAINER ID",
        "IMAGE",
        "COMMAND",
        "LOCAL VOLUMES",
        "SIZE",
        "CREATED",
        "STATUS",
        "NAMES",
    ])];
    for one in lists.containers {
        let is_volume = |mount: &&Value| mount["Type"] == "volume";
        containers.push(vec![
            short_id(text(&one["Id"])).to_owned(),
            text(&one["Image"]).to_owned(),
            format!("\"{}\"", ellipsis(text(&one["Command"]), 18)),
            list(one, "Mounts")
                .iter()
                .filter(is_volume)
                .count()
                .to_string(),
            size(&one["SizeRw"]),
            ago(one["Created"].as_i64().unwrap_or(0)),
            text(&one["Status"]).to_owned(),
            text(&one["Names"][0]).trim_start_matches('/').to_owned(),
        ]);
    }
    let mut volumes = vec![cells(&["VOLUME NAME", "LINKS", "SIZE"])];
    for volume in lists.volumes {
        volumes.push(vec![
            text(&volume["Name"]).to_owned(),
            volume["UsageData"]["RefCount"].to_string(),
            size(&volume["UsageData"]["Size"]),
        ]);
    }
    let mut cache = vec![cells(&[
        "CACHE ID",
        "CACHE TYPE",
        "SIZE",
        "CREATED",
        "LAST USED",
        "USAGE",
        "SHARED",
    ])];
    for record in lists.cache {
        cache.push(vec![
            text(&record["ID"]).chars().take(12).collect(),
            text(&record["Type"]).to_owned(),
            size(&record["Size"]),
            moment(&record["CreatedAt"]),
            moment(&record["LastUsedAt"]),
            record["UsageCount"].to_string(),
            record["Shared"].to_string(),
        ]);
    }
    format!(
        "Images space usage:\n\n{}\nContainers space usage:\n\n{}\nLocal Volumes space usage:\n\n{}\n\
         Build cache usage: {}\n\n{}",
        table(&images),
        table(&containers),
        table(&volumes),
        human_size(sum(lists.cache, |record| number(&record["Size"]))),
        table(&cache),
    )
}

fn cells(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

fn size(value: &Value) -> String {
    match value.as_f64() {
        Some(bytes) if bytes >= 0.0 => human_size(bytes),
        None => human_size(0.0),
        Some(_) => "N/A".to_owned(),
    }
}

/// How long ago an RFC 3339 time is; nothing for one that never was.
fn moment(value: &Value) -> String {
    text(value)
        .parse::<jiff::Timestamp>()
        .map_or_else(|_| String::new(), |time| ago(time.as_second()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_zero() {
        let none = Lists {
            images: &[],
            containers: &[],
            volumes: &[],
            cache: &[],
        };
        for row in none.summary(0.0, 0.0) {
            assert_eq!(row["Size"], "0B");
            assert_eq!(row["Reclaimable"], "0B");
        }
        assert!(details(&none).contains("Build cache usage: 0B\n"));
    }

    #[test]
    fn what_is_unused_can_be_freed() {
        let volumes = [
            json!({ "Name": "a", "UsageData": { "RefCount": 0, "Size": 3000 } }),
            json!({ "Name": "b", "UsageData": { "RefCount": 2, "Size": 1000 } }),
            json!({ "Name": "elsewhere", "UsageData": { "RefCount": 0, "Size": -1 } }),
        ];
        let lists = Lists {
            images: &[],
            containers: &[],
            volumes: &volumes,
            cache: &[],
        };
        let row = &lists.summary(0.0, 0.0)[2];
        assert_eq!(row["TotalCount"], "3");
        assert_eq!(row["Active"], "1");
        assert_eq!(row["Size"], "4kB");
        assert_eq!(row["Reclaimable"], "3kB (75%)");
        assert!(details(&lists).contains("elsewhere     0         N/A\n"));
    }
}
