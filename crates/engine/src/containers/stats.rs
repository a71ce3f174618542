//! `stats`: one reading of a container's cgroup and interface counters.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{ContainerError, Containers};

#[derive(Debug, Clone)]
pub struct Sample {
    pub id: String,
    pub name: String,
    pub read: Timestamp,
    /// The container runs; all counters are 0 otherwise.
    pub running: bool,
    /// Nanoseconds.
    pub cpu_total: u64,
    pub cpu_user: u64,
    pub cpu_kernel: u64,
    /// Nanoseconds of all CPUs of the host.
    pub system_cpu: u64,
    pub online_cpus: u32,
    /// Bytes.
    pub memory_usage: u64,
    pub memory_limit: u64,
    pub memory_max_usage: u64,
    /// memory.stat.
    pub memory_stats: BTreeMap<String, u64>,
    pub pids: u64,
    pub pids_limit: u64,
    /// (major, minor, `read`|`write`, bytes)
    pub block_io: Vec<(u64, u64, String, u64)>,
    /// Interface → (rx bytes, rx packets, rx errors, rx dropped, tx bytes, tx packets, tx errors, tx dropped)
    pub networks: BTreeMap<String, [u64; 8]>,
}

impl Containers {
    pub fn stats(&self, reference: &str) -> Result<Sample, ContainerError> {
        todo!()
    }
}
