//! `stats`.

use std::io::Write as _;

use clap::Args as ClapArgs;
use serde_json::{Value, json};

use crate::failure::Outcome;
use crate::http::{Client, encode};
use crate::json::each;
use crate::render::list::{self, Row};
use crate::render::units::{binary_size, human_size, short_id};
use crate::terminal;

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Show all containers (default shows just running)
    #[arg(short, long)]
    all: bool,
    /// Format output using a custom template
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Disable streaming stats and only pull the first result
    #[arg(long)]
    no_stream: bool,
    /// Do not truncate output
    #[arg(long)]
    no_trunc: bool,
    #[arg(value_name = "CONTAINER")]
    containers: Vec<String>,
}

const COLUMNS: list::Columns<'_> = &[
    ("CONTAINER ID", "ID"),
    ("NAME", "Name"),
    ("CPU %", "CPUPerc"),
    ("MEM USAGE / LIMIT", "MemUsage"),
    ("MEM %", "MemPerc"),
    ("NET I/O", "NetIO"),
    ("BLOCK I/O", "BlockIO"),
    ("PIDS", "PIDs"),
];

impl Args {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        loop {
            let names = if self.containers.is_empty() {
                let path = if self.all {
                    "/containers/json?all=1"
                } else {
                    "/containers/json"
                };
                let list = client.get(path)?;
                each(&list)
                    .filter_map(|one| one["Id"].as_str())
                    .map(str::to_owned)
                    .collect()
            } else {
                self.containers.clone()
            };
            let mut rows: Vec<Row> = Vec::new();
            for name in &names {
                // Answered after two readings, a second apart: that paces the loop, too.
                match client.get(&format!("/containers/{}/stats?stream=0", encode(name))) {
                    Ok(stats) => rows.push(self.row(&stats)),
                    Err(failure) if failure.is_not_found() && self.containers.is_empty() => {}
                    Err(failure) => return Err(failure),
                }
            }
            if !self.no_stream && terminal::stdout_is_terminal() {
                print!("\x1b[2J\x1b[H");
            }
            list::print(&rows, COLUMNS, COLUMNS, self.format.as_deref())?;
            std::io::stdout().flush()?;
            if self.no_stream || names.is_empty() {
                return Ok(0);
            }
        }
    }

    fn row(&self, stats: &Value) -> Row {
        let number = |path: &str| stats.pointer(path).and_then(Value::as_f64).unwrap_or(0.0);
        let cpu_delta = number("/cpu_stats/cpu_usage/total_usage")
            - number("/precpu_stats/cpu_usage/total_usage");
        let system_delta =
            number("/cpu_stats/system_cpu_usage") - number("/precpu_stats/system_cpu_usage");
        let cpu = if system_delta > 0.0 {
            cpu_delta / system_delta * number("/cpu_stats/online_cpus") * 100.0
        } else {
            0.0
        };
        // Page cache that can be dropped at any time is not use.
        let inactive = number("/memory_stats/stats/total_inactive_file")
            .max(number("/memory_stats/stats/inactive_file"));
        let memory = (number("/memory_stats/usage") - inactive).max(0.0);
        let limit = number("/memory_stats/limit");
        let percent = if limit > 0.0 {
            memory / limit * 100.0
        } else {
            0.0
        };
        let sum = |key: &str| -> f64 {
            stats["networks"]
                .as_object()
                .into_iter()
                .flatten()
                .filter_map(|(_, one)| one[key].as_f64())
                .sum()
        };
        let block = |operation: &str| -> f64 {
            each(&stats["blkio_stats"]["io_service_bytes_recursive"])
                .filter(|entry| {
                    entry["op"]
                        .as_str()
                        .is_some_and(|op| op.eq_ignore_ascii_case(operation))
                })
                .filter_map(|entry| entry["value"].as_f64())
                .sum()
        };
        let id = stats["id"].as_str().unwrap_or_default();
        let name = stats["name"]
            .as_str()
            .unwrap_or_default()
            .trim_start_matches('/');
        let values = json!({
            "BlockIO": format!("{} / {}", human_size(block("read")), human_size(block("write"))),
            "CPUPerc": format!("{cpu:.2}%"),
            "Container": name,
            "ID": if self.no_trunc { id } else { short_id(id) },
            "MemPerc": format!("{percent:.2}%"),
            "MemUsage": format!("{} / {}", binary_size(memory), binary_size(limit)),
            "Name": name,
            "NetIO": format!("{} / {}", human_size(sum("rx_bytes")), human_size(sum("tx_bytes"))),
            "PIDs": stats.pointer("/pids_stats/current").map_or_else(|| "0".to_owned(), ToString::to_string),
        });
        values.as_object().cloned().unwrap_or_default()
    }
}
