//! `update`.

use clap::Args as ClapArgs;
use serde_json::{Map, Value, json};

use crate::failure::{Failure, Outcome, for_each};
use crate::http::{Client, encode};
use crate::json::each;
use crate::parse::{devices, size};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Block IO (relative weight), between 10 and 1000, or 0 to disable
    #[arg(long, value_name = "uint16")]
    blkio_weight: Option<u16>,
    /// Limit CPU CFS period
    #[arg(long, value_name = "int")]
    cpu_period: Option<i64>,
    /// Limit CPU CFS quota
    #[arg(long, value_name = "int", allow_hyphen_values = true)]
    cpu_quota: Option<i64>,
    /// CPU shares (relative weight)
    #[arg(short, long, value_name = "int")]
    cpu_shares: Option<i64>,
    /// Number of CPUs
    #[arg(long, value_name = "decimal")]
    cpus: Option<String>,
    /// CPUs in which to allow execution (0-3, 0,1)
    #[arg(long, value_name = "string")]
    cpuset_cpus: Option<String>,
    /// MEMs in which to allow execution (0-3, 0,1)
    #[arg(long, value_name = "string")]
    cpuset_mems: Option<String>,
    /// Memory limit
    #[arg(short, long, value_name = "bytes")]
    memory: Option<String>,
    /// Memory soft limit
    #[arg(long, value_name = "bytes")]
    memory_reservation: Option<String>,
    /// Swap limit equal to memory plus swap: -1 to enable unlimited swap
    #[arg(long, value_name = "bytes", allow_hyphen_values = true)]
    memory_swap: Option<String>,
    /// Tune container pids limit (set -1 for unlimited)
    #[arg(long, value_name = "int", allow_hyphen_values = true)]
    pids_limit: Option<i64>,
    /// Restart policy to apply when a container exits
    #[arg(long, value_name = "string")]
    restart: Option<String>,
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Args {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        let mut body = Map::new();
        let mut set = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                body.insert(key.to_owned(), value);
            }
        };
        let bytes = |text: &Option<String>| -> Outcome<Option<Value>> {
            text.as_ref()
                .map(|text| {
                    size::bytes(text)
                        .map(|size| json!(size))
                        .map_err(Failure::new)
                })
                .transpose()
        };
        set("BlkioWeight", self.blkio_weight.map(|value| json!(value)));
        set("CpuPeriod", self.cpu_period.map(|value| json!(value)));
        set("CpuQuota", self.cpu_quota.map(|value| json!(value)));
        set("CpuShares", self.cpu_shares.map(|value| json!(value)));
        let cpus = self
            .cpus
            .as_ref()
            .map(|text| size::nano_cpus(text).map_err(Failure::new))
            .transpose()?;
        set("NanoCpus", cpus.map(|value| json!(value)));
        set(
            "CpusetCpus",
            self.cpuset_cpus.as_ref().map(|value| json!(value)),
        );
        set(
            "CpusetMems",
            self.cpuset_mems.as_ref().map(|value| json!(value)),
        );
        set("Memory", bytes(&self.memory)?);
        set("MemoryReservation", bytes(&self.memory_reservation)?);
        let swap = match self.memory_swap.as_deref() {
            Some("-1") => Some(json!(-1)),
            _ => bytes(&self.memory_swap)?,
        };
        set("MemorySwap", swap);
        set("PidsLimit", self.pids_limit.map(|value| json!(value)));
        let restart = self
            .restart
            .as_ref()
            .map(|text| devices::restart(text).map_err(Failure::new))
            .transpose()?;
        set("RestartPolicy", restart);
        if body.is_empty() {
            return Err(Failure::new(
                "you must provide one or more flags when using this command",
            ));
        }
        let body = Value::Object(body);
        for_each(&self.containers, |name| {
            let answer = client.post(&format!("/containers/{}/update", encode(name)), &body)?;
            for warning in each(&answer["Warnings"]).filter_map(Value::as_str) {
                eprintln!("WARNING: {warning}");
            }
            println!("{name}");
            Ok(())
        })
    }
}
