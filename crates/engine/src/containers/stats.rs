//! `stats`: one reading of a container's cgroup and interface counters.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::cgroup::Group;
use super::find::Columns as _;
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

/// The kernel's USER_HZ, fixed by its ABI.
const NANOSECONDS_PER_TICK: u64 = 10_000_000;

impl Containers {
    pub fn stats(&self, reference: &str) -> Result<Sample, ContainerError> {
        let row = self.find(reference)?;
        let running = row.status()?.is_active();
        let mut sample = Sample {
            id: row.id.clone(),
            name: row.name.clone(),
            read: Timestamp::now(),
            running,
            cpu_total: 0,
            cpu_user: 0,
            cpu_kernel: 0,
            system_cpu: system_cpu(),
            online_cpus: std::thread::available_parallelism()
                .map_or(1, |cpus| u32::try_from(cpus.get()).unwrap_or(u32::MAX)),
            memory_usage: 0,
            memory_limit: 0,
            memory_max_usage: 0,
            memory_stats: BTreeMap::new(),
            pids: 0,
            pids_limit: 0,
            block_io: Vec::new(),
            networks: BTreeMap::new(),
        };
        if !running {
            return Ok(sample);
        }
        let group = Group::of(self.paths.tag(), &row.id).map_err(|source| ContainerError::Io {
            action: "cannot find the control groups".to_owned(),
            source,
        })?;
        let counters = Counters(group);
        if counters.0.is_unified() {
            counters.read_unified(&mut sample);
        } else {
            counters.read_v1(&mut sample);
        }
        let total = total_memory();
        if sample.memory_limit == 0 || sample.memory_limit > total {
            sample.memory_limit = total;
        }
        if row.host_config()?.network_mode != "host" {
            sample.networks = interfaces(row.pid);
        }
        Ok(sample)
    }
}

/// A container's cgroup. A file that a kernel does not have reads as zero: statistics are never a reason to fail.
struct Counters(Group);

impl Counters {
    fn text(&self, controller: &str, file: &str) -> String {
        let directory = self.0.path(controller).unwrap_or_default();
        std::fs::read_to_string(directory.join(file)).unwrap_or_default()
    }

    fn number(&self, controller: &str, file: &str) -> u64 {
        // "max" is no number: no limit.
        self.text(controller, file).trim().parse().unwrap_or(0)
    }

    fn table(&self, controller: &str, file: &str) -> BTreeMap<String, u64> {
        self.text(controller, file)
            .lines()
            .filter_map(|line| {
                let (key, value) = line.split_once(' ')?;
                Some((key.to_owned(), value.trim().parse().ok()?))
            })
            .collect()
    }

    fn read_v1(&self, sample: &mut Sample) {
        sample.cpu_total = self.number("cpuacct", "cpuacct.usage");
        let ticks = self.table("cpuacct", "cpuacct.stat");
        let nanoseconds = |key: &str| {
            ticks
                .get(key)
                .copied()
                .unwrap_or(0)
                .saturating_mul(NANOSECONDS_PER_TICK)
        };
        sample.cpu_user = nanoseconds("user");
        sample.cpu_kernel = nanoseconds("system");
        sample.memory_usage = self.number("memory", "memory.usage_in_bytes");
        sample.memory_max_usage = self.number("memory", "memory.max_usage_in_bytes");
        sample.memory_limit = self.number("memory", "memory.limit_in_bytes");
        sample.memory_stats = self.table("memory", "memory.stat");
        sample.pids = self.number("pids", "pids.current");
        sample.pids_limit = self.number("pids", "pids.max");
        for line in self
            .text("blkio", "blkio.throttle.io_service_bytes")
            .lines()
        {
            let fields: Vec<&str> = line.split_whitespace().collect();
            if let [device, operation @ ("Read" | "Write"), bytes] = fields.as_slice()
                && let Some((major, minor)) = device.split_once(':')
                && let (Ok(major), Ok(minor), Ok(bytes)) =
                    (major.parse(), minor.parse(), bytes.parse())
            {
                sample
                    .block_io
                    .push((major, minor, operation.to_ascii_lowercase(), bytes));
            }
        }
    }

    fn read_unified(&self, sample: &mut Sample) {
        let cpu = self.table("", "cpu.stat");
        let nanoseconds = |key: &str| cpu.get(key).copied().unwrap_or(0).saturating_mul(1000);
        sample.cpu_total = nanoseconds("usage_usec");
        sample.cpu_user = nanoseconds("user_usec");
        sample.cpu_kernel = nanoseconds("system_usec");
        sample.memory_usage = self.number("", "memory.current");
        sample.memory_max_usage = self.number("", "memory.peak");
        sample.memory_limit = self.number("", "memory.max");
        sample.memory_stats = self.table("", "memory.stat");
        sample.pids = self.number("", "pids.current");
        sample.pids_limit = self.number("", "pids.max");
        for line in self.text("", "io.stat").lines() {
            let mut fields = line.split_whitespace();
            let Some((major, minor)) = fields.next().and_then(|device| device.split_once(':'))
            else {
                continue;
            };
            let (Ok(major), Ok(minor)) = (major.parse(), minor.parse()) else {
                continue;
            };
            for (key, bytes) in fields.filter_map(|field| field.split_once('=')) {
                let operation = match key {
                    "rbytes" => "read",
                    "wbytes" => "write",
                    _ => continue,
                };
                if let Ok(bytes) = bytes.parse() {
                    sample
                        .block_io
                        .push((major, minor, operation.to_owned(), bytes));
                }
            }
        }
    }
}

/// Sum of the first line of /proc/stat.
fn system_cpu() -> u64 {
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let ticks: u64 = stat
        .lines()
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .skip(1)
        .take(8)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    ticks.saturating_mul(NANOSECONDS_PER_TICK)
}

pub(crate) fn total_memory() -> u64 {
    let info = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    info.lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.trim().strip_suffix("kB"))
        .and_then(|kilobytes| kilobytes.trim().parse::<u64>().ok())
        .map_or(0, |kilobytes| kilobytes * 1024)
}

/// Counters as the container's own namespace shows them; loopback left out.
fn interfaces(pid: i32) -> BTreeMap<String, [u64; 8]> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/net/dev")).unwrap_or_default();
    text.lines()
        .skip(2)
        .filter_map(|line| {
            let (name, rest) = line.split_once(':')?;
            let fields: Vec<u64> = rest
                .split_whitespace()
                .filter_map(|field| field.parse().ok())
                .collect();
            let name = name.trim();
            if name == "lo" || fields.len() < 12 {
                return None;
            }
            let counters = [
                fields[0], fields[1], fields[2], fields[3], fields[8], fields[9], fields[10],
                fields[11],
            ];
            Some((name.to_owned(), counters))
        })
        .collect()
}
