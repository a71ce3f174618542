//! `system df`.

use clap::Args as ClapArgs;
use serde_json::{Value, json};

use crate::failure::Outcome;
use crate::http::Client;
use crate::render::list::{self, Row, table};
use crate::render::units::{ago, human_size, short_id};

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
        let list = |key: &str| usage[key].as_array().cloned().unwrap_or_default();
        let (images, containers, volumes) = (list("Images"), list("Containers"), list("Volumes"));
        if self.verbose {
            print_details(&images, &containers, &volumes);
            return Ok(0);
        }
        let number = |value: &Value| value.as_f64().unwrap_or(0.0).max(0.0);
        let links = |volume: &Value| volume.pointer("/UsageData/RefCount").map_or(0.0, number);
        let size = |volume: &Value| volume.pointer("/UsageData/Size").map_or(0.0, number);
        let row = |kind: &str, all: usize, active: usize, total: f64, free: f64| -> Row {
            let percent = if total > 0.0 {
                free / total * 100.0
            } else {
                0.0
            };
            let shown = if total > 0.0 {
                format!("{} ({percent:.0}%)", human_size(free))
            } else {
                human_size(free)
            };
            let values = json!({ "Active": active.to_string(), "Reclaimable": shown, "Size": human_size(total), "TotalCount": all.to_string(), "Type": kind });
            values.as_object().cloned().unwrap_or_default()
        };
        let used_images = images
            .iter()
            .filter(|image| number(&image["Containers"]) > 0.0)
            .count();
        let unused_size: f64 = images
            .iter()
            .filter(|image| number(&image["Containers"]) == 0.0)
            .map(|image| number(&image["Size"]) - number(&image["SharedSize"]))
            .sum();
        let running = containers
            .iter()
            .filter(|one| one["State"] == "running")
            .count();
        let stopped_size: f64 = containers
            .iter()
            .filter(|one| one["State"] != "running")
            .map(|one| number(&one["SizeRw"]))
            .sum();
        let rows = [
            row(
                "Images",
                images.len(),
                used_images,
                number(&usage["LayersSize"]),
                unused_size,
            ),
            row(
                "Containers",
                containers.len(),
                running,
                containers.iter().map(|one| number(&one["SizeRw"])).sum(),
                stopped_size,
            ),
            row(
                "Local Volumes",
                volumes.len(),
                volumes.iter().filter(|volume| links(volume) > 0.0).count(),
                volumes.iter().map(size).sum(),
                volumes
                    .iter()
                    .filter(|volume| links(volume) == 0.0)
                    .map(size)
                    .sum(),
            ),
            row("Build Cache", 0, 0, 0.0, 0.0),
        ];
        list::print(&rows, COLUMNS, COLUMNS, self.format.as_deref())?;
        Ok(0)
    }
}

fn print_details(images: &[Value], containers: &[Value], volumes: &[Value]) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let size = |value: &Value| human_size(value.as_f64().unwrap_or(0.0));
    let head = |words: &[&str]| {
        words
            .iter()
            .map(|&word| word.to_owned())
            .collect::<Vec<_>>()
    };
    let mut lines = vec![head(&[
        "REPOSITORY:TAG",
        "IMAGE ID",
        "CREATED",
        "SIZE",
        "SHARED SIZE",
        "CONTAINERS",
    ])];
    for image in images {
        lines.push(vec![
            image["RepoTags"][0].as_str().unwrap_or("<none>").to_owned(),
            short_id(&text(&image["Id"])).to_owned(),
            ago(image["Created"].as_i64().unwrap_or(0)),
            size(&image["Size"]),
            size(&image["SharedSize"]),
            image["Containers"].to_string(),
        ]);
    }
    println!("Images space usage:\n\n{}", table(&lines));
    let mut lines = vec![head(&[
        "CONTAINER ID",
        "IMAGE",
        "COMMAND",
        "SIZE",
        "STATUS",
        "NAMES",
    ])];
    for container in containers {
        lines.push(vec![
            short_id(&text(&container["Id"])).to_owned(),
            text(&container["Image"]),
            text(&container["Command"]),
            size(&container["SizeRw"]),
            text(&container["Status"]),
            text(&container["Names"][0])
                .trim_start_matches('/')
                .to_owned(),
        ]);
    }
    println!("Containers space usage:\n\n{}", table(&lines));
    let mut lines = vec![head(&["VOLUME NAME", "LINKS", "SIZE"])];
    for volume in volumes {
        let usage = &volume["UsageData"];
        lines.push(vec![
            text(&volume["Name"]),
            usage["RefCount"].to_string(),
            size(&usage["Size"]),
        ]);
    }
    println!("Local Volumes space usage:\n\n{}", table(&lines));
}
