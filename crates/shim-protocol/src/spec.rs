//! What one start of a container needs, fully resolved: no name is left to look up, no policy left to decide.
//!
//! The engine writes it, the shim keeps it for restarts, the runtime carries it out.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A whole container start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunSpec {
    /// Container id, 64 hex digits.
    pub id: String,
    /// Tag of the engine's root: names the cgroup parent `orlop-<tag>`.
    pub tag: String,
    /// Directory of the run files (`shim.sock`, `exit.json`).
    pub run_dir: PathBuf,
    pub root: RootFs,
    /// In mounting order; the runtime does not sort.
    pub mounts: Vec<Mount>,
    pub process: Process,
    pub namespaces: Namespaces,
    pub hostname: String,
    pub domainname: String,
    pub sysctls: Vec<(String, String)>,
    /// Adjustment of the kernel's OOM score; `None` leaves it alone.
    pub oom_score_adj: Option<i32>,
    pub resources: Resources,
    pub devices: Vec<Device>,
    /// Rules for the device cgroup after the defaults, in Docker's form (`c 1:3 rwm`).
    pub device_rules: Vec<String>,
    pub privileged: bool,
    pub masked_paths: Vec<String>,
    pub readonly_paths: Vec<String>,
    pub network: Network,
    pub log: LogConfig,
    pub restart: RestartPolicy,
    /// Signal that asks the container to stop, as a number.
    pub stop_signal: i32,
    /// Probes of the container's health, by the shim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Box<HealthCheck>>,
    /// Run a small init as pid 1 that reaps and forwards signals (`--init`).
    pub init: bool,
    /// Keep stdin open when no client is attached (`-i`).
    pub open_stdin: bool,
    /// Close stdin after the first attached client leaves.
    pub stdin_once: bool,
    /// Command line that starts an engine when this shim has news and none answers.
    pub wake: Vec<String>,
    /// Socket on which the engine listens for notices of shims it does not hold a connection to.
    pub engine_socket: PathBuf,
}

/// The overlay that becomes `/`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RootFs {
    /// Directory against which `lowers` are relative; keeps the mount options short.
    pub layers_dir: PathBuf,
    /// Topmost layer first, relative to `layers_dir`. Empty: the root is `upper` alone.
    pub lowers: Vec<PathBuf>,
    pub upper: PathBuf,
    pub work: PathBuf,
    pub readonly: bool,
    /// Propagation of the root mount: `rprivate` unless a mount needs sharing with the host.
    pub propagation: Propagation,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Propagation {
    Private,
    Rprivate,
    Shared,
    Rshared,
    Slave,
    Rslave,
}

/// One mount inside the container. `target` is absolute, resolved beneath the container's root (symlinks included).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Mount {
    pub target: String,
    pub readonly: bool,
    pub kind: MountKind,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum MountKind {
    /// A host directory or file (bind mounts, volumes, /etc/hosts and friends).
    Bind {
        source: PathBuf,
        /// Path below `source`, resolved inside it; symlinks must not leave it.
        subpath: Option<String>,
        recursive: bool,
        propagation: Propagation,
        /// With `readonly`: what happens to mounts below.
        readonly_recursion: ReadonlyRecursion,
        /// Make the source directory first when it is missing.
        create_source: bool,
        /// With `create_source`: what is made belongs to the owner of the directory it is made in, not to root.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        create_as_owner: bool,
        /// Owners of the source appear as others inside.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        idmap: Option<IdMap>,
        /// Directories below the source, each hidden by a memory filesystem that is empty.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        exclude: Vec<String>,
    },
    /// A fresh memory filesystem; `options` as for mount(8): `size=64m,mode=1777,noexec,…`.
    Tmpfs {
        options: Vec<String>,
    },
    /// An image's layers, read-only; `lowers` relative to `RootFs::layers_dir`, topmost first.
    Image {
        lowers: Vec<PathBuf>,
        subpath: Option<String>,
    },
    Proc,
    Sysfs,
    Cgroup,
    Mqueue,
    Devpts,
    /// The minimal /dev (tmpfs with the usual nodes and links).
    Dev,
}

/// How owners on the source's filesystem appear through one mount, and are written back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IdMap {
    /// The owner of the source and `user` (in the form of [`Process::user`]; `None`: the container's) change places; all
    /// others stay who they are.
    MatchUser(Option<String>),
    /// Only what is listed has an owner inside; all else belongs to nobody and cannot be written.
    Ranges {
        uids: Vec<IdRange>,
        gids: Vec<IdRange>,
    },
}

/// So many ids in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdRange {
    /// The first one on the filesystem.
    pub source: u32,
    /// As which it appears inside.
    pub target: u32,
    pub count: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadonlyRecursion {
    /// Recursive when the kernel can (>= 5.12), else only the top mount.
    IfPossible,
    Forced,
    Never,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Process {
    pub args: Vec<String>,
    /// `KEY=value`, complete except HOME, which the runtime adds from the container's passwd when absent.
    pub env: Vec<String>,
    pub cwd: String,
    /// `name|uid[:group|gid]`, looked up in the container's own /etc/passwd and /etc/group; empty is root.
    pub user: String,
    pub additional_groups: Vec<String>,
    pub tty: bool,
    /// Rows and columns of the first terminal size.
    pub console_size: Option<(u16, u16)>,
    /// Names as in capabilities(7): `CAP_CHOWN`.
    pub capabilities: Vec<String>,
    pub no_new_privileges: bool,
    pub seccomp: Seccomp,
    pub rlimits: Vec<Rlimit>,
    pub apparmor_profile: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Seccomp {
    Default,
    Unconfined,
    /// A profile in Docker's JSON form.
    Profile(String),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimit {
    /// Docker's name: `nofile`, `nproc`, `core` …
    pub name: String,
    pub soft: u64,
    pub hard: u64,
    /// The user asked for it: failing to set it fails the start. Otherwise it is clamped to what can be had.
    pub required: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Namespaces {
    pub network: NetworkNs,
    pub pid: NsMode,
    pub ipc: NsMode,
    pub uts: NsMode,
    pub cgroup: NsMode,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NsMode {
    Private,
    Host,
    /// Join the namespace of this process's pid.
    Join(i32),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NetworkNs {
    /// A new namespace with loopback only (plus `network.interface`, when there is one).
    Private,
    Host,
    Join(i32),
}

/// What the runtime makes inside the new network namespace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
pub struct Network {
    pub interface: Option<Interface>,
    /// Further interfaces, of a container on several networks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub more: Vec<Interface>,
    /// What the shim answers on 127.0.0.11; `None` for a container that is on no network with names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolver: Option<Resolver>,
    /// Host ports this container publishes. The engine sends one listening socket for each TCP entry, and one bound
    /// socket for each UDP entry, in this order, beside the start request: the shim holds them as the reservation and
    /// serves what the firewall does not redirect (such as `[::1]`).
    pub ports: Vec<PublishedPort>,
}

impl Network {
    /// All interfaces, the first one first.
    pub fn interfaces(&self) -> impl Iterator<Item = &Interface> {
        self.interface.iter().chain(&self.more)
    }
}

/// How a container's shim answers questions for names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolver {
    /// Has a directory for each network, and in it a [`Member`] for each container, called by the container's id.
    pub names: PathBuf,
    /// In the order in which they are asked.
    pub networks: Vec<ResolverNetwork>,
    /// Who is asked for everything else, in order.
    pub upstream: Vec<Upstream>,
    /// False when no network leads out: nothing is passed on then.
    pub forward: bool,
    /// Names without a dot are passed on, too. False when the user set `ndots`: then the client tries them with its search
    /// domains.
    pub forward_single: bool,
}

/// A network of a container's, to be asked for names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResolverNetwork {
    pub id: String,
    /// `web.NAME` is `web` on this network.
    pub name: String,
    /// Private names for others on this network: alias, then the other's name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<(String, String)>,
}

/// A name server elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upstream {
    /// IPv4 or IPv6, without a port.
    pub address: String,
    /// It is the host's and asked from there; otherwise the container asks it.
    pub from_host: bool,
}

/// One container on one network, as its neighbours find it: the content of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The first one is what its address is called.
    pub names: Vec<String>,
    pub address: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address6: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Host bridge to which the host end is attached.
    pub bridge: String,
    /// Name of the host end; unique on the host.
    pub host_name: String,
    /// Name inside: `eth0`.
    pub name: String,
    /// `02:42:…`.
    pub mac: String,
    /// `172.17.0.2/16`.
    pub address: String,
    pub gateway: Option<String>,
    pub address6: Option<String>,
    pub gateway6: Option<String>,
    pub mtu: u32,
    /// Reaches the bridge but none of the bridge's other ports.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub isolated: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedPort {
    /// `tcp` or `udp`.
    pub protocol: String,
    pub host_ip: String,
    pub host_port: u16,
    pub container_ip: String,
    pub container_port: u16,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Default)]
pub struct Resources {
    /// Bytes.
    pub memory: Option<i64>,
    pub memory_reservation: Option<i64>,
    /// Memory plus swap, bytes; -1 is unlimited.
    pub memory_swap: Option<i64>,
    pub memory_swappiness: Option<i64>,
    pub oom_kill_disable: bool,
    /// Billionths of a CPU.
    pub nano_cpus: Option<i64>,
    pub cpu_shares: Option<i64>,
    pub cpu_period: Option<i64>,
    pub cpu_quota: Option<i64>,
    pub cpuset_cpus: Option<String>,
    pub cpuset_mems: Option<String>,
    pub pids_limit: Option<i64>,
    pub blkio_weight: Option<u16>,
    /// (`device path`, bytes or operations a second)
    pub blkio_read_bps: Vec<(String, u64)>,
    pub blkio_write_bps: Vec<(String, u64)>,
    pub blkio_read_iops: Vec<(String, u64)>,
    pub blkio_write_iops: Vec<(String, u64)>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Path on the host.
    pub source: PathBuf,
    /// Path in the container.
    pub target: String,
    /// Subset of `rwm`.
    pub access: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogConfig {
    /// `None`: the log driver is `none`.
    pub path: Option<PathBuf>,
    /// Bytes; `None` is unlimited.
    pub max_size: Option<u64>,
    /// Number of files including the current one; at least 1.
    pub max_file: u32,
    /// Rotated files are compressed with gzip.
    pub compress: bool,
    /// Extra attributes of every line (`attrs` of json-file), from `labels`, `env`, `tag` options.
    pub attrs: Vec<(String, String)>,
}

/// What is run in the container to see whether it is well, and when. Durations are nanoseconds; defaults are applied.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HealthCheck {
    pub process: Process,
    pub interval: u64,
    pub timeout: u64,
    pub start_period: u64,
    pub start_interval: u64,
    /// Failures in a row that make a container unhealthy.
    pub retries: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RestartPolicy {
    No,
    Always,
    UnlessStopped,
    /// 0 is without limit.
    OnFailure {
        max_retries: u32,
    },
}
