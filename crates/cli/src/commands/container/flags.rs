//! The flags that `run` and `create` share.

use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// Add a custom host-to-IP mapping (host:ip)
    #[arg(long, value_name = "list")]
    pub(super) add_host: Vec<String>,
    /// Add an annotation to the container (passed through to the OCI runtime)
    #[arg(long, value_name = "map")]
    pub(super) annotation: Vec<String>,
    /// Attach to STDIN, STDOUT or STDERR
    #[arg(short, long, value_name = "list")]
    pub(super) attach: Vec<String>,
    /// What becomes of bind sources that do not exist ("create", "error", "create-as-owner")
    #[arg(long, value_name = "string")]
    pub(super) bind_missing: Option<String>,
    /// Block IO (relative weight), between 10 and 1000, or 0 to disable
    #[arg(long, value_name = "uint16")]
    pub(super) blkio_weight: Option<u16>,
    /// Block IO weight (relative device weight)
    #[arg(long, value_name = "list")]
    pub(super) blkio_weight_device: Vec<String>,
    /// Add Linux capabilities
    #[arg(long, value_name = "list")]
    pub(super) cap_add: Vec<String>,
    /// Drop Linux capabilities
    #[arg(long, value_name = "list")]
    pub(super) cap_drop: Vec<String>,
    /// Optional parent cgroup for the container
    #[arg(long, value_name = "string")]
    pub(super) cgroup_parent: Option<String>,
    /// Cgroup namespace to use (host|private)
    #[arg(long, value_name = "string")]
    pub(super) cgroupns: Option<String>,
    /// Write the container ID to the file
    #[arg(long, value_name = "string")]
    pub(super) cidfile: Option<String>,
    /// CPU count (Windows only)
    #[arg(long, value_name = "int", hide = true)]
    pub(super) cpu_count: Option<i64>,
    /// CPU percent (Windows only)
    #[arg(long, value_name = "int", hide = true)]
    pub(super) cpu_percent: Option<i64>,
    /// Limit CPU CFS (Completely Fair Scheduler) period
    #[arg(long, value_name = "int")]
    pub(super) cpu_period: Option<i64>,
    /// Limit CPU CFS (Completely Fair Scheduler) quota
    #[arg(long, value_name = "int")]
    pub(super) cpu_quota: Option<i64>,
    /// Limit CPU real-time period in microseconds
    #[arg(long, value_name = "int")]
    pub(super) cpu_rt_period: Option<i64>,
    /// Limit CPU real-time runtime in microseconds
    #[arg(long, value_name = "int")]
    pub(super) cpu_rt_runtime: Option<i64>,
    /// CPU shares (relative weight)
    #[arg(short, long, value_name = "int")]
    pub(super) cpu_shares: Option<i64>,
    /// Number of CPUs
    #[arg(long, value_name = "decimal")]
    pub(super) cpus: Option<String>,
    /// CPUs in which to allow execution (0-3, 0,1)
    #[arg(long, value_name = "string")]
    pub(super) cpuset_cpus: Option<String>,
    /// MEMs in which to allow execution (0-3, 0,1)
    #[arg(long, value_name = "string")]
    pub(super) cpuset_mems: Option<String>,
    /// Override the key sequence for detaching a container
    #[arg(long, value_name = "string")]
    pub(super) detach_keys: Option<String>,
    /// Add a host device to the container
    #[arg(long, value_name = "list")]
    pub(super) device: Vec<String>,
    /// Add a rule to the cgroup allowed devices list
    #[arg(long, value_name = "list")]
    pub(super) device_cgroup_rule: Vec<String>,
    /// Limit read rate (bytes per second) from a device
    #[arg(long, value_name = "list")]
    pub(super) device_read_bps: Vec<String>,
    /// Limit read rate (IO per second) from a device
    #[arg(long, value_name = "list")]
    pub(super) device_read_iops: Vec<String>,
    /// Limit write rate (bytes per second) to a device
    #[arg(long, value_name = "list")]
    pub(super) device_write_bps: Vec<String>,
    /// Limit write rate (IO per second) to a device
    #[arg(long, value_name = "list")]
    pub(super) device_write_iops: Vec<String>,
    /// Skip image verification
    #[arg(long, value_name = "bool", default_value = "true", hide = true)]
    pub(super) disable_content_trust: bool,
    /// Set custom DNS servers
    #[arg(long, value_name = "list")]
    pub(super) dns: Vec<String>,
    /// Set DNS options
    #[arg(long, alias = "dns-opt", value_name = "list")]
    pub(super) dns_option: Vec<String>,
    /// Set custom DNS search domains
    #[arg(long, value_name = "list")]
    pub(super) dns_search: Vec<String>,
    /// Container NIS domain name
    #[arg(long, value_name = "string")]
    pub(super) domainname: Option<String>,
    /// Overwrite the default ENTRYPOINT of the image
    #[arg(long, value_name = "string")]
    pub(super) entrypoint: Option<String>,
    /// Set environment variables
    #[arg(short, long, value_name = "list")]
    pub(super) env: Vec<String>,
    /// Read in a file of environment variables
    #[arg(long, value_name = "list")]
    pub(super) env_file: Vec<String>,
    /// Refuse to run beside another writer of its volumes, and other writers while it runs
    #[arg(long)]
    pub(super) exclusive: bool,
    /// Expose a port or a range of ports
    #[arg(long, value_name = "list")]
    pub(super) expose: Vec<String>,
    /// GPU devices to add to the container ('all' to pass all GPUs); refused
    #[arg(long, value_name = "gpu-request")]
    pub(super) gpus: Option<String>,
    /// Add additional groups to join
    #[arg(long, value_name = "list")]
    pub(super) group_add: Vec<String>,
    /// Command to run to check health
    #[arg(long, value_name = "string")]
    pub(super) health_cmd: Option<String>,
    /// Time between running the check (ms|s|m|h)
    #[arg(long, value_name = "duration")]
    pub(super) health_interval: Option<String>,
    /// Consecutive failures needed to report unhealthy
    #[arg(long, value_name = "int")]
    pub(super) health_retries: Option<i64>,
    /// Time between running the check during the start period (ms|s|m|h)
    #[arg(long, value_name = "duration")]
    pub(super) health_start_interval: Option<String>,
    /// Start period for the container to initialize before starting health-retries countdown (ms|s|m|h)
    #[arg(long, value_name = "duration")]
    pub(super) health_start_period: Option<String>,
    /// Maximum time to allow one check to run (ms|s|m|h)
    #[arg(long, value_name = "duration")]
    pub(super) health_timeout: Option<String>,
    /// Container host name
    #[arg(short = 'h', long, value_name = "string")]
    pub(super) hostname: Option<String>,
    /// What becomes of volumes that the image declares ("anonymous", "tmpfs", "ignore")
    #[arg(long, value_name = "string")]
    pub(super) image_volumes: Option<String>,
    /// Run an init inside the container that forwards signals and reaps processes
    #[arg(long)]
    pub(super) init: bool,
    /// Keep STDIN open even if not attached
    #[arg(short, long)]
    pub(super) interactive: bool,
    /// Maximum IO bandwidth limit for the system drive (Windows only)
    #[arg(long, value_name = "bytes", hide = true)]
    pub(super) io_maxbandwidth: Option<String>,
    /// Maximum IOps limit for the system drive (Windows only)
    #[arg(long, value_name = "uint", hide = true)]
    pub(super) io_maxiops: Option<u64>,
    /// IPv4 address (e.g., 172.30.100.104)
    #[arg(long, value_name = "string")]
    pub(super) ip: Option<String>,
    /// IPv6 address (e.g., 2001:db8::33)
    #[arg(long, value_name = "string")]
    pub(super) ip6: Option<String>,
    /// IPC mode to use
    #[arg(long, value_name = "string")]
    pub(super) ipc: Option<String>,
    /// Container isolation technology
    #[arg(long, value_name = "string")]
    pub(super) isolation: Option<String>,
    /// Kernel memory limit
    #[arg(long, value_name = "bytes", hide = true)]
    pub(super) kernel_memory: Option<String>,
    /// Set meta data on a container
    #[arg(short, long, value_name = "list")]
    pub(super) label: Vec<String>,
    /// Read in a line delimited file of labels
    #[arg(long, value_name = "list")]
    pub(super) label_file: Vec<String>,
    /// Add link to another container
    #[arg(long, value_name = "list")]
    pub(super) link: Vec<String>,
    /// Container IPv4/IPv6 link-local addresses
    #[arg(long, value_name = "list")]
    pub(super) link_local_ip: Vec<String>,
    /// Logging driver for the container
    #[arg(long, value_name = "string")]
    pub(super) log_driver: Option<String>,
    /// Log driver options
    #[arg(long, value_name = "list")]
    pub(super) log_opt: Vec<String>,
    /// Container MAC address (e.g., 92:d0:c6:0a:29:33)
    #[arg(long, value_name = "string")]
    pub(super) mac_address: Option<String>,
    /// Memory limit
    #[arg(short, long, value_name = "bytes")]
    pub(super) memory: Option<String>,
    /// Memory soft limit
    #[arg(long, value_name = "bytes")]
    pub(super) memory_reservation: Option<String>,
    /// Swap limit equal to memory plus swap: '-1' to enable unlimited swap
    #[arg(long, value_name = "bytes")]
    pub(super) memory_swap: Option<String>,
    /// Tune container memory swappiness (0 to 100)
    #[arg(long, value_name = "int")]
    pub(super) memory_swappiness: Option<i64>,
    /// Attach a filesystem mount to the container
    #[arg(long, value_name = "mount")]
    pub(super) mount: Vec<String>,
    /// Assign a name to the container
    #[arg(long, value_name = "string")]
    pub(super) name: Option<String>,
    /// Connect a container to a network
    #[arg(long, alias = "net", value_name = "network")]
    pub(super) network: Vec<String>,
    /// Add network-scoped alias for the container
    #[arg(long, value_name = "list")]
    pub(super) network_alias: Vec<String>,
    /// Disable any container-specified HEALTHCHECK
    #[arg(long)]
    pub(super) no_healthcheck: bool,
    /// Disable OOM Killer
    #[arg(long)]
    pub(super) oom_kill_disable: bool,
    /// Tune host's OOM preferences (-1000 to 1000)
    #[arg(long, value_name = "int")]
    pub(super) oom_score_adj: Option<i64>,
    /// PID namespace to use
    #[arg(long, value_name = "string")]
    pub(super) pid: Option<String>,
    /// Tune container pids limit (set -1 for unlimited)
    #[arg(long, value_name = "int")]
    pub(super) pids_limit: Option<i64>,
    /// Set platform if server is multi-platform capable
    #[arg(long, value_name = "string")]
    pub(super) platform: Option<String>,
    /// Give extended privileges to this container
    #[arg(long)]
    pub(super) privileged: bool,
    /// Publish a container's port(s) to the host
    #[arg(short, long, value_name = "list")]
    pub(super) publish: Vec<String>,
    /// Publish all exposed ports to random ports
    #[arg(short = 'P', long)]
    pub(super) publish_all: bool,
    /// Show what would be mounted, and make nothing
    #[arg(long)]
    pub(super) explain_mounts: bool,
    /// Pull image before running ("always", "missing", "never")
    #[arg(long, value_name = "string")]
    pub(super) pull: Option<String>,
    /// Suppress the pull output
    #[arg(short, long)]
    pub(super) quiet: bool,
    /// Mount the container's root filesystem as read only
    #[arg(long)]
    pub(super) read_only: bool,
    /// Restart policy to apply when a container exits
    #[arg(long, value_name = "string", default_value = "no")]
    pub(super) restart: String,
    /// Automatically remove the container and its associated anonymous volumes when it exits
    #[arg(long)]
    pub(super) rm: bool,
    /// Runtime to use for this container
    #[arg(long, value_name = "string")]
    pub(super) runtime: Option<String>,
    /// Keep a snapshot of each volume that another image used last ("on", "off")
    #[arg(long, value_name = "on|off", num_args = 0..=1, require_equals = true, default_missing_value = "on")]
    pub(super) safety_snapshot: Option<String>,
    /// Security Options
    #[arg(long, value_name = "list")]
    pub(super) security_opt: Vec<String>,
    /// Size of /dev/shm
    #[arg(long, value_name = "bytes")]
    pub(super) shm_size: Option<String>,
    /// Signal to stop the container
    #[arg(long, value_name = "string")]
    pub(super) stop_signal: Option<String>,
    /// Timeout (in seconds) to stop a container
    #[arg(long, value_name = "int")]
    pub(super) stop_timeout: Option<i64>,
    /// Storage driver options for the container
    #[arg(long, value_name = "list")]
    pub(super) storage_opt: Vec<String>,
    /// Sysctl options
    #[arg(long, value_name = "map")]
    pub(super) sysctl: Vec<String>,
    /// Mount a tmpfs directory
    #[arg(long, value_name = "list")]
    pub(super) tmpfs: Vec<String>,
    /// Allocate a pseudo-TTY
    #[arg(short, long)]
    pub(super) tty: bool,
    /// Ulimit options
    #[arg(long, value_name = "ulimit")]
    pub(super) ulimit: Vec<String>,
    /// Bind mount Docker API socket and required auth
    #[arg(long, hide = true)]
    pub(super) use_api_socket: bool,
    /// Username or UID (format: <name|uid>[:<group|gid>])
    #[arg(short, long, value_name = "string")]
    pub(super) user: Option<String>,
    /// User namespace to use
    #[arg(long, value_name = "string")]
    pub(super) userns: Option<String>,
    /// UTS namespace to use
    #[arg(long, value_name = "string")]
    pub(super) uts: Option<String>,
    /// Bind mount a volume
    #[arg(short, long, value_name = "list")]
    pub(super) volume: Vec<String>,
    /// Optional volume driver for the container
    #[arg(long, value_name = "string")]
    pub(super) volume_driver: Option<String>,
    /// Mount volumes from the specified container(s)
    #[arg(long, value_name = "list")]
    pub(super) volumes_from: Vec<String>,
    /// Working directory inside the container
    #[arg(short, long, value_name = "string")]
    pub(super) workdir: Option<String>,
    /// Print help
    #[arg(long, action = clap::ArgAction::HelpLong)]
    help: Option<bool>,

    /// Image, command and arguments: what follows the image is the container's
    #[arg(value_name = "IMAGE [COMMAND] [ARG...]", required = true, trailing_var_arg = true, num_args = 1..)]
    words: Vec<String>,
}

impl Flags {
    pub(super) fn image(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    pub(super) fn command(&self) -> &[String] {
        self.words.get(1..).unwrap_or_default()
    }
}
