//! Requests to a shim, its answers, and the notices it sends by itself.
//!
//! Start: the engine spawns `orlop shim` with a socketpair as fd 3 and sends [`Request::Start`] with sockets beside
//! it: first one for each published port, then one for each entry of `attach`. The shim listens on `shim.sock` in the
//! run directory, answers [`Response::Started`] or [`Response::StartFailed`], and from then on treats the start
//! connection as a `Watch` connection whose `State` was told by `Started`: an engine that keeps it misses no notice,
//! however short the container's life. Every later connection sends exactly one [`Request`]:
//!
//! | request | answer | then |
//! |---|---|---|
//! | `Watch` | `State` | the shim sends a [`Notice`] for each change until either side closes |
//! | `Attach` | `Ok` | the connection carries the container's streams ([`crate::stdio`]); with a terminal, raw bytes |
//! | `Exec` | `ExecStarted` or `StartFailed` | streams as for `Attach`; when `detach` the connection closes |
//! | `ExecWait` | `ExecExited` | closes |
//! | `Hold` | `Ok` | the container stands still until the client shuts its half of the connection, or is gone; `Thawed`, closes |
//! | all others | `Ok` or `Refused` | closes |

use serde::{Deserialize, Serialize};

use crate::spec::{Mount, Network, Process, Resources, RestartPolicy, RunSpec};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case")]
pub enum Request {
    /// Only on fd 3, first message. `attach` describes connections that receive the container's output from its first
    /// byte; their sockets follow those of the ports and carry streams at once, without any frame.
    Start {
        version: u32,
        spec: Box<RunSpec>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        attach: Vec<AttachSpec>,
    },
    Watch,
    /// `detach_keys` are searched in what the client sends to stdin; a match closes the connection and nothing else.
    /// The log is never replayed by the shim.
    Attach {
        stdin: bool,
        stdout: bool,
        stderr: bool,
        detach_keys: Option<Vec<u8>>,
    },
    /// Signal to pid 1. `stop` tells that a stop was asked for: no restart follows.
    Kill {
        signal: i32,
        stop: bool,
    },
    /// Signal to every process in the container's cgroup.
    KillAll {
        signal: i32,
    },
    /// `unwell`: its health check counts as failed until the next probe. A shim that is older than this freezes, too.
    Pause {
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        unwell: bool,
    },
    Unpause,
    /// Freeze for as long as this connection lasts. What others are told of the container stays as it is.
    Hold,
    Resize {
        rows: u16,
        columns: u16,
    },
    Exec {
        spec: Box<ExecSpec>,
    },
    ExecResize {
        exec: String,
        rows: u16,
        columns: u16,
    },
    ExecWait {
        exec: String,
    },
    /// New limits and policy for the running container; `resources` is complete and replaces the spec's.
    Update {
        resources: Box<Resources>,
        restart: Option<RestartPolicy>,
    },
    /// Close the current log file and open it again (after the engine truncated or moved it).
    ReopenLog,
    /// Mount into the running container; `keep` holds for restarts too. Where it has a mount already nothing happens.
    Mount {
        mount: Box<Mount>,
        keep: bool,
    },
    /// Take a mount out of the running container, for restarts too. Where it has none nothing happens.
    /// `lazy`: also one that is in use, or has others below; it goes when its last user does.
    Unmount {
        target: String,
        lazy: bool,
    },
    /// The complete network from now on: interfaces, routes, resolver and ports are changed to agree with it. Repeating
    /// it changes nothing. Ports that are new are bound by the shim. A refusal means that nothing has changed.
    Network {
        network: Box<Network>,
    },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "response", rename_all = "snake_case")]
pub enum Response {
    Started {
        state: StateRecord,
    },
    StartFailed {
        error: StartError,
    },
    State {
        state: StateRecord,
    },
    Ok,
    ExecStarted {
        pid: i32,
    },
    ExecExited {
        code: i32,
    },
    /// A hold is over. For how many microseconds the processes stood still.
    Thawed {
        microseconds: u64,
    },
    Refused {
        reason: String,
    },
}

/// What a shim says on a `Watch` connection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "notice", rename_all = "snake_case")]
pub enum Notice {
    /// pid 1 ended. `restarting` tells that the shim will start it again by itself.
    Exited {
        exit: ExitRecord,
        restarting: bool,
    },
    /// The shim started the container again by its restart policy.
    Restarted {
        state: StateRecord,
    },
    /// A restart failed; the shim ends unless `restarting`.
    RestartFailed {
        error: StartError,
        restarting: bool,
    },
    Oom,
    /// An exec process ended.
    ExecExited {
        exec: String,
        code: i32,
    },
    Paused,
    Unpaused,
    /// A client left the container's streams, or those of an exec, by its detach keys.
    Detached {
        exec: Option<String>,
    },
    /// The health check begins a probe: a process named like an exec.
    Probing {
        exec: String,
    },
    /// A probe is over. `code` is how its process ended; there was none when it could not be started.
    Probed {
        exec: String,
        code: Option<i32>,
        status: HealthStatus,
        failing_streak: u32,
        probe: ProbeRecord,
    },
    /// What only shims of later releases say.
    #[serde(other)]
    Later,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HealthStatus {
    Starting,
    Healthy,
    Unhealthy,
}

/// What a container's health check has found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthRecord {
    pub status: HealthStatus,
    /// Failures since the last success.
    pub failing_streak: u32,
    /// The last probes, oldest first.
    pub log: Vec<ProbeRecord>,
}

/// One run of a health check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeRecord {
    /// RFC 3339 with nanoseconds, UTC.
    pub start: String,
    pub end: String,
    /// -1 when it did not start or took too long.
    pub exit_code: i32,
    pub output: String,
}

/// How the container is: in the answers to `Start` and `Watch`, and in the notice of a restart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StateRecord {
    pub version: u32,
    /// pid 1 of the container, as the host sees it; 0 while waiting to restart.
    pub pid: i32,
    /// Start time of `pid` in clock ticks since boot (field 22 of /proc/pid/stat): guards against reuse.
    pub pid_start: u64,
    pub shim_pid: i32,
    /// RFC 3339 with nanoseconds, UTC.
    pub started_at: String,
    pub restart_count: u32,
    pub paused: bool,
    pub restarting: bool,
    /// The last exit, when there was one.
    pub last_exit: Option<ExitRecord>,
    /// With a health check only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthRecord>,
}

/// Contents of `exit.json`: written durably before any notice of the exit, and only when no restart follows (an exit
/// that is followed by a restart is kept in [`StateRecord::last_exit`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitRecord {
    /// Exit code, or 128 + signal.
    pub code: i32,
    pub oom_killed: bool,
    /// RFC 3339 with nanoseconds, UTC.
    pub finished_at: String,
    pub restart_count: u32,
    /// Text of a failed restart.
    pub error: String,
}

/// Why a process did not start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartError {
    /// Name of the step that failed (`mount`, `exec`, `user` …).
    pub step: String,
    /// One sentence as a person should read it, in Docker's words where Docker has them
    /// (`exec: "foo": executable file not found in $PATH`).
    pub message: String,
    /// Exit code that Docker records: 127 not found, 126 not executable, 128 otherwise.
    pub code: i32,
}

/// One connection to a container's streams.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AttachSpec {
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
    /// Bytes on stdin that close the connection; none when absent or empty.
    pub detach_keys: Option<Vec<u8>>,
}

/// A further process in a running container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExecSpec {
    /// Exec id, 64 hex digits.
    pub exec: String,
    pub process: Process,
    pub privileged: bool,
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
    pub detach: bool,
    pub detach_keys: Option<Vec<u8>>,
}
