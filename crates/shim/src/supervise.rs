//! The shim's event loop: one thread that waits for the container, its streams and its clients at once.
//!
//! Nothing in it waits for a single peer. Every event ends in [`Supervisor::refresh`], which says anew what to wait for,
//! and in [`Supervisor::settle`] for processes that have ended: their last output is given out before their end is.

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustix::event::epoll::EventFlags;
use rustix::net::{SocketFlags, accept_with};
use rustix::process::{WaitOptions, WaitStatus};
use shim_protocol::spec::NsMode;
use shim_protocol::{ExitRecord, Notice, RunSpec, StartError, StateRecord, VERSION};
use sys::fd::{Epoll, Ready, Watched};
use sys::lock::FileLock;

use crate::connection::{Connection, Role};
use crate::dns::Dns;
use crate::health::{Capture, Monitor};
use crate::hold::Held;
use crate::log::Log;
use crate::ports::Ports;
use crate::restart::Restarts;
use crate::source::Source;
use crate::streams::{self, Ends, Streams, Wanted};

/// A client that holds the container's output up and takes nothing for so long is dropped.
pub(crate) const STALL: Duration = Duration::from_secs(30);

/// A client whose process has ended is sent the rest of the output for so long without progress.
const LINGER: Duration = Duration::from_secs(600);

/// A process's end is told at the latest when no client has taken any of its last output for so long.
pub(crate) const EXIT_PATIENCE: Duration = Duration::from_secs(2);

/// A connection that does not ask for anything in this time is closed.
const ASKING: Duration = Duration::from_secs(30);

/// Bytes that are read from a stream at a time.
pub(crate) const PORTION: usize = 32 * 1024;

/// Output that is still taken from a process that has ended, in case somebody goes on writing: the largest pipe.
const LAST_OUTPUT: usize = 1024 * 1024;

/// A process that the shim started: pid 1 of the container, or an exec.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    pub(crate) pidfd: Watched,
    pub(crate) streams: Streams,
    /// Id of the exec; `None` for pid 1.
    pub(crate) exec: Option<String>,
    /// What a probe of the health check has written.
    pub(crate) capture: Option<Capture>,
    /// The end of a client's input ends the process's.
    pub(crate) stdin_once: bool,
    /// Input of clients is wanted.
    pub(crate) takes_stdin: bool,
    /// Connections that carry its streams.
    pub(crate) clients: Vec<u32>,
    pub(crate) started: Instant,
    pub(crate) end: Option<End>,
    /// Output that is still taken once it has ended.
    pub(crate) last_output: usize,
}

/// How a process ended.
#[derive(Debug, Clone)]
pub(crate) struct End {
    pub(crate) code: i32,
    pub(crate) at: Timestamp,
    pub(crate) ran: Duration,
    pub(crate) oom_killed: bool,
}

impl End {
    /// The end of a process about which only `code` is known.
    pub(crate) fn unknown(code: i32) -> Self {
        Self {
            code,
            at: Timestamp::now(),
            ran: Duration::ZERO,
            oom_killed: false,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Supervisor {
    pub(crate) spec: RunSpec,
    pub(crate) state: StateRecord,
    pub(crate) log: Log,
    pub(crate) ports: Ports,
    /// Targets of mounts that the next start of the container does not make again.
    pub(crate) passing_mounts: Vec<String>,
    /// Answers questions for names, of a container on a network that has some.
    pub(crate) dns: Option<Dns>,
    /// The last number that an earlier resolver gave.
    pub(crate) dns_number: u32,
    pub(crate) epoll: Epoll,
    pub(crate) listener: Option<Watched>,
    pub(crate) lock: Option<FileLock>,
    pub(crate) connections: BTreeMap<u32, Connection>,
    pub(crate) processes: BTreeMap<u32, Process>,
    /// The process that is pid 1, while it runs or its end is not told.
    pub(crate) main: Option<u32>,
    /// Exit codes of execs that have ended, oldest first.
    pub(crate) ended_execs: VecDeque<(String, i32)>,
    pub(crate) restarts: Restarts,
    pub(crate) restart_at: Option<Instant>,
    pub(crate) health: Option<Monitor>,
    pub(crate) stop_requested: bool,
    /// Frozen for as long as a connection lasts.
    pub(crate) held: Option<Held>,
    /// OOM kills of this run that have been told.
    pub(crate) oom_kills: u64,
    /// The container has ended for good.
    pub(crate) over: Option<ExitRecord>,
    /// Somebody knows of the end.
    pub(crate) told: bool,
    pub(crate) buffer: Vec<u8>,
    last_number: u32,
}

impl Supervisor {
    pub(crate) fn new(
        spec: RunSpec,
        epoll: Epoll,
        listener: OwnedFd,
        lock: FileLock,
        log: Log,
        ports: Ports,
    ) -> std::io::Result<Self> {
        let mut listener = Watched::new(&epoll, listener, Source::Listener.token())?;
        listener.watch(EventFlags::IN)?;
        let shim_pid = rustix::process::getpid().as_raw_nonzero().get();
        let state = StateRecord {
            version: VERSION,
            pid: 0,
            pid_start: 0,
            shim_pid,
            started_at: String::new(),
            restart_count: 0,
            paused: false,
            restarting: false,
            last_exit: None,
            health: None,
        };
        let health = spec.health.clone().map(|check| Monitor::new(*check));
        Ok(Self {
            spec,
            state,
            log,
            ports,
            passing_mounts: Vec::new(),
            dns: None,
            dns_number: 0,
            epoll,
            listener: Some(listener),
            lock: Some(lock),
            connections: BTreeMap::new(),
            processes: BTreeMap::new(),
            main: None,
            ended_execs: VecDeque::new(),
            restarts: Restarts::default(),
            restart_at: None,
            health,
            stop_requested: false,
            held: None,
            oom_kills: 0,
            over: None,
            told: false,
            buffer: vec![0; shim_protocol::stdio::HEADER + PORTION],
            last_number: 0,
        })
    }

    /// Starts the container's pid 1 and records it. On failure nothing of it runs.
    pub(crate) fn launch(&mut self) -> Result<(), StartError> {
        let process = &self.spec.process;
        let wanted = Wanted {
            tty: process.tty,
            stdin: self.spec.open_stdin,
            stdout: true,
            stderr: true,
        };
        let (ends, theirs) = streams::prepare(wanted).map_err(|e| broken("stdio", &e))?;
        self.passing_mounts.clear();
        let mut running = runtime::start(&self.spec, theirs)?;
        let (pid, pid_start) = (running.pid, running.pid_start);
        let resolver = running.resolver.take();
        let number = match self.adopt(running, ends, None) {
            Ok(number) => number,
            Err(error) => {
                // The cgroup is removed with what is left in it; the process is reaped by the loop.
                runtime::kill_all(&self.spec, 9).unwrap_or_default();
                return Err(broken("stdio", &error));
            }
        };
        let process = self.processes.get_mut(&number).expect("just added");
        process.stdin_once = self.spec.stdin_once;
        process.takes_stdin = self.spec.open_stdin;
        let pid_now = process.pid;
        if let Some(sockets) = resolver {
            let network = self.spec.network.clone();
            if let Err(error) = self.open_dns(sockets, &network, pid) {
                runtime::kill_all(&self.spec, 9).unwrap_or_default();
                return Err(error);
            }
        }
        self.main = Some(number);
        self.oom_kills = 0;
        self.state.pid = pid_now;
        self.state.pid_start = pid_start;
        self.state.started_at = Timestamp::now().to_string();
        self.state.restart_count = self.restarts.count();
        self.state.paused = false;
        self.held = None;
        self.state.restarting = false;
        if let Some(health) = &mut self.health {
            health.begin(Instant::now());
            self.state.health = Some(health.record());
        }
        Ok(())
    }

    /// Takes a process that the runtime has started into the loop.
    pub(crate) fn adopt(
        &mut self,
        running: runtime::Running,
        ends: Ends,
        exec: Option<String>,
    ) -> std::io::Result<u32> {
        let number = self.number();
        let mut pidfd = Watched::new(&self.epoll, running.pidfd, Source::Exit(number).token())?;
        pidfd.watch(EventFlags::IN)?;
        let streams = Streams::new(&self.epoll, number, ends, running.pty)?;
        let process = Process {
            pid: running.pid,
            pidfd,
            streams,
            exec,
            capture: None,
            stdin_once: true,
            takes_stdin: true,
            clients: Vec::new(),
            started: Instant::now(),
            end: None,
            last_output: LAST_OUTPUT,
        };
        self.processes.insert(number, process);
        Ok(number)
    }

    /// A number that was never given before.
    pub(crate) fn number(&mut self) -> u32 {
        self.last_number += 1;
        self.last_number
    }

    /// Takes a socket into the loop. A socket that cannot be watched is closed.
    pub(crate) fn connect(&mut self, socket: OwnedFd, role: Role) -> Option<u32> {
        let number = self.number();
        let connection = Connection::new(&self.epoll, socket, number, role).ok()?;
        self.connections.insert(number, connection);
        Some(number)
    }

    /// Runs until the container has ended for good and its end is recorded and told.
    pub(crate) fn run(&mut self) {
        while self.over.is_none() {
            self.turn(None);
        }
    }

    /// Waits for events, at most until `limit`, and handles them.
    pub(crate) fn turn(&mut self, limit: Option<Instant>) {
        let deadline = [self.deadline(), limit].into_iter().flatten().min();
        let timeout = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        let mut ready: Vec<Ready> = Vec::new();
        if self.epoll.wait(&mut ready, timeout).is_err() {
            // Only memory can be short here: what is ready will be reported by the next turn.
            return;
        }
        let mut reap = ready.is_empty();
        for Ready { token, flags } in ready {
            match Source::from_token(token) {
                Some(Source::Listener) => self.accept(),
                Some(Source::Connection(number)) => self.on_connection(number, flags),
                Some(Source::Exit(_)) => reap = true,
                Some(Source::Input(number)) => self.on_input(number),
                Some(Source::Output(number, stream)) => self.on_output(number, stream),
                Some(Source::Questions) => self.with_dns(Dns::on_questions),
                Some(Source::Callers) => self.with_dns(Dns::on_callers),
                Some(Source::Caller(number)) => self.with_dns(|dns| dns.on_caller(number, flags)),
                Some(Source::Upstream(number)) => {
                    self.with_dns(|dns| dns.on_upstream(number, flags));
                }
                Some(Source::Port(number)) => {
                    self.ports.ready(number);
                    reap = true;
                }
                None => {}
            }
        }
        if reap {
            self.reap();
        }
        self.tick(Instant::now());
    }

    fn accept(&mut self) {
        let Some(listener) = &self.listener else {
            return;
        };
        // Others that wait are reported again.
        if let Ok(socket) = accept_with(listener.as_fd(), SocketFlags::CLOEXEC) {
            self.connect(socket, Role::Asking);
        }
    }

    fn with_dns(&mut self, act: impl FnOnce(&mut Dns)) {
        if let Some(dns) = &mut self.dns {
            act(dns);
        }
    }

    fn on_input(&mut self, number: u32) {
        if let Some(process) = self.processes.get_mut(&number) {
            process.streams.flush_input();
            self.refresh(number);
        }
    }

    /// Collects every child that has ended.
    fn reap(&mut self) {
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            let pid = pid.as_raw_nonzero().get();
            let found = self
                .processes
                .iter()
                .find(|(_, p)| p.pid == pid && p.end.is_none());
            match found.map(|(number, _)| *number) {
                Some(number) => self.ended(number, status),
                None => self.ports.reaped(pid),
            }
        }
        let ended: Vec<u32> = self
            .processes
            .iter()
            .filter(|(_, p)| p.end.is_some())
            .map(|(n, _)| *n)
            .collect();
        for number in ended {
            self.settle(number);
        }
    }

    fn ended(&mut self, number: u32, status: WaitStatus) {
        let kills = runtime::oom_kills(&self.spec);
        if kills > self.oom_kills {
            self.oom_kills = kills;
            self.announce(&Notice::Oom);
        }
        let Some(process) = self.processes.get_mut(&number) else {
            return;
        };
        process.end = Some(End {
            code: sys::process::exit_code(status),
            at: Timestamp::now(),
            ran: process.started.elapsed(),
            oom_killed: kills > 0,
        });
        // A dead process's pidfd is ready for ever.
        process.pidfd.watch(EventFlags::empty()).unwrap_or_default();
        if process.exec.is_none() && self.spec.namespaces.pid != NsMode::Private {
            // Without a namespace of its own nothing else ends what pid 1 left behind.
            runtime::kill_all(&self.spec, 9).unwrap_or_default();
        }
    }

    /// The next moment at which something is due without any event.
    fn deadline(&self) -> Option<Instant> {
        let connections = self.connections.values().filter_map(Self::due);
        let processes = self.processes.values().flat_map(|process| {
            let rest = process.streams.wakes_at();
            let last = process
                .end
                .as_ref()
                .and_then(|_| self.patience_ends(process));
            [rest, last].into_iter().flatten()
        });
        let health = self.health.as_ref().and_then(Monitor::due);
        let dns = self.dns.as_ref().and_then(Dns::deadline);
        connections
            .chain(processes)
            .chain(self.restart_at)
            .chain(health)
            .chain(dns)
            .min()
    }

    /// When a connection is given up.
    fn due(connection: &Connection) -> Option<Instant> {
        let outbound = &connection.outbound;
        match connection.role {
            Role::Asking => Some(connection.since + ASKING),
            Role::Attached { .. } if outbound.is_full() => Some(outbound.stalled_at(STALL)),
            Role::Leaving => Some(outbound.stalled_at(LINGER)),
            _ => None,
        }
    }

    /// When the end of `process` is told even though clients have not taken all of its output; `None` when they have.
    pub(crate) fn patience_ends(&self, process: &Process) -> Option<Instant> {
        process
            .clients
            .iter()
            .filter_map(|number| self.connections.get(number))
            .filter(|connection| !connection.outbound.is_empty())
            .map(|connection| connection.outbound.stalled_at(EXIT_PATIENCE))
            .max()
    }

    /// Does what time alone brings about.
    fn tick(&mut self, now: Instant) {
        let late: Vec<u32> = self
            .connections
            .iter()
            .filter(|(_, connection)| Self::due(connection).is_some_and(|at| at <= now))
            .map(|(number, _)| *number)
            .collect();
        for number in late {
            self.lose(number);
        }
        let numbers: Vec<u32> = self.processes.keys().copied().collect();
        for number in numbers {
            let Some(process) = self.processes.get_mut(&number) else {
                continue;
            };
            if process.streams.wakes_at().is_some_and(|at| at <= now) {
                process.streams.wake(now);
            }
            if process.end.is_some() {
                self.settle(number);
            }
        }
        if let Some(dns) = &mut self.dns {
            dns.tick(now);
        }
        if self.restart_at.is_some_and(|at| at <= now) {
            self.restart_at = None;
            self.restart();
        }
        self.check_health(now);
    }

    /// Tells everybody who watches.
    pub(crate) fn announce(&mut self, notice: &Notice) {
        let watching: Vec<u32> = self
            .connections
            .iter()
            .filter(|(_, connection)| matches!(connection.role, Role::Watching))
            .map(|(number, _)| *number)
            .collect();
        for number in watching {
            let Some(connection) = self.connections.get_mut(&number) else {
                continue;
            };
            if connection.tell(notice).is_err() || connection.outbound.is_full() {
                self.lose(number);
            } else {
                self.refresh_connection(number);
            }
        }
    }
}

/// A start that failed inside the shim.
pub(crate) fn broken(step: &str, error: &dyn std::error::Error) -> StartError {
    StartError {
        step: step.into(),
        message: format!("{step}: {error}"),
        code: 128,
    }
}
