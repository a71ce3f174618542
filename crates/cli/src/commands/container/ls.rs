//! `ps`, and `container inspect`.

use clap::Args as ClapArgs;
use serde_json::{Value, json};

use crate::failure::Outcome;
use crate::http::{Client, Query, encode};
use crate::json::each;
use crate::render::list::{self, Row};
use crate::render::units::{ago, ellipsis, human_size, local_time, short_id};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Show all containers (default shows just running)
    #[arg(short, long)]
    all: bool,
    /// Filter output based on conditions provided
    #[arg(short, long, value_name = "filter")]
    filter: Vec<String>,
    /// Format output using a custom template
    #[arg(long, value_name = "string")]
    format: Option<String>,
    /// Show n last created containers (includes all states)
    #[arg(short = 'n', long, value_name = "int", allow_hyphen_values = true)]
    last: Option<i64>,
    /// Show the latest created container (includes all states)
    #[arg(short, long)]
    latest: bool,
    /// Don't truncate output
    #[arg(long)]
    no_trunc: bool,
    /// Only display container IDs
    #[arg(short, long)]
    quiet: bool,
    /// Display total file sizes
    #[arg(short, long)]
    size: bool,
}

const HEADERS: list::Columns<'_> = &[
    ("CONTAINER ID", "ID"),
    ("IMAGE", "Image"),
    ("COMMAND", "Command"),
    ("CREATED", "RunningFor"),
    ("CREATED AT", "CreatedAt"),
    ("STATUS", "Status"),
    ("STATE", "State"),
    ("PORTS", "Ports"),
    ("NAMES", "Names"),
    ("SIZE", "Size"),
    ("LABELS", "Labels"),
    ("MOUNTS", "Mounts"),
    ("NETWORKS", "Networks"),
    ("LOCAL VOLUMES", "LocalVolumes"),
];

impl Args {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        let limit = if self.latest {
            Some(1)
        } else {
            self.last.filter(|&count| count > 0)
        };
        let needs_size = self.size
            || self
                .format
                .as_ref()
                .is_some_and(|format| format.contains(".Size"));
        let path = Query::new("/containers/json")
            .flag("all", self.all)
            .flag("size", needs_size)
            .option("limit", limit)
            .filters(&self.filter)?
            .build();
        let containers = client.get(&path)?;
        let containers = containers.as_array().cloned().unwrap_or_default();
        if self.quiet && self.format.is_none() {
            for container in &containers {
                let id = container["Id"].as_str().unwrap_or_default();
                println!("{}", if self.no_trunc { id } else { short_id(id) });
            }
            return Ok(0);
        }
        let rows: Vec<Row> = containers
            .iter()
            .map(|container| self.row(container))
            .collect();
        let mut columns = vec![
            ("CONTAINER ID", "ID"),
            ("IMAGE", "Image"),
            ("COMMAND", "Command"),
            ("CREATED", "RunningFor"),
            ("STATUS", "Status"),
            ("PORTS", "Ports"),
            ("NAMES", "Names"),
        ];
        if self.size {
            columns.push(("SIZE", "Size"));
        }
        list::print(&rows, &columns, HEADERS, self.format.as_deref())?;
        Ok(0)
    }

    fn row(&self, container: &Value) -> Row {
        let text = |key: &str| container[key].as_str().unwrap_or_default().to_owned();
        let strings = |value: &Value| -> Vec<String> {
            each(value)
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect()
        };
        let created = container["Created"].as_i64().unwrap_or(0);
        let names: Vec<String> = strings(&container["Names"])
            .iter()
            .map(|name| name.trim_start_matches('/').to_owned())
            .collect();
        let command = format!("\"{}\"", text("Command"));
        let mounts: Vec<String> = each(&container["Mounts"])
            .map(|mount| {
                let name = mount["Name"]
                    .as_str()
                    .filter(|name| !name.is_empty())
                    .or(mount["Source"].as_str())
                    .unwrap_or_default();
                if self.no_trunc {
                    name.to_owned()
                } else {
                    ellipsis(name, 15)
                }
            })
            .collect();
        let local = each(&container["Mounts"])
            .filter(|mount| mount["Driver"] == "local")
            .count();
        let labels: Vec<String> = container["Labels"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
            .collect();
        let networks: Vec<&str> = container["NetworkSettings"]["Networks"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, _)| name.as_str())
            .collect();
        let size = |key: &str| human_size(container[key].as_f64().unwrap_or(0.0));
        let id = text("Id");
        let shown_size = match container["SizeRootFs"].as_f64() {
            Some(total) if total > 0.0 => {
                format!("{} (virtual {})", size("SizeRw"), size("SizeRootFs"))
            }
            _ => size("SizeRw"),
        };
        let values = json!({
            "Command": if self.no_trunc { command } else { ellipsis(&command, 20) },
            "CreatedAt": local_time(created),
            "ID": if self.no_trunc { id.as_str() } else { short_id(&id) },
            "Image": if text("Image").is_empty() { "<no image>".to_owned() } else { text("Image") },
            "Labels": labels.join(","),
            "LocalVolumes": local.to_string(),
            "Mounts": mounts.join(","),
            "Names": names.join(","),
            "Networks": networks.join(","),
            "Ports": ports(&container["Ports"]),
            "RunningFor": ago(created),
            "Size": shown_size,
            "State": text("State"),
            "Status": text("Status"),
        });
        values.as_object().cloned().unwrap_or_default()
    }
}

/// `0.0.0.0:8080->80/tcp, 90/tcp`.
pub(crate) fn ports(list: &Value) -> String {
    let mut shown: Vec<String> = each(list)
        .map(|port| {
            let inner = format!(
                "{}/{}",
                port["PrivatePort"],
                port["Type"].as_str().unwrap_or("tcp")
            );
            match (port["IP"].as_str(), port["PublicPort"].as_u64()) {
                (Some(ip), Some(public)) if ip.contains(':') => format!("[{ip}]:{public}->{inner}"),
                (Some(ip), Some(public)) => format!("{ip}:{public}->{inner}"),
                _ => inner,
            }
        })
        .collect();
    shown.sort();
    shown.dedup();
    shown.join(", ")
}

#[derive(Debug, ClapArgs)]
pub(crate) struct InspectArgs {
    /// Format output using a custom template
    #[arg(short, long, value_name = "string")]
    format: Option<String>,
    /// Display total file sizes
    #[arg(short, long)]
    size: bool,
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl InspectArgs {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        let mut found = Vec::new();
        let code = crate::failure::for_each(&self.containers, |name| {
            let path = Query::new(format!("/containers/{}/json", encode(name)))
                .flag("size", self.size)
                .build();
            found.push(client.get(&path)?);
            Ok(())
        })?;
        list::print_inspected(&found, self.format.as_deref())?;
        Ok(code)
    }
}
