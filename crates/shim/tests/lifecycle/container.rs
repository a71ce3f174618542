//! One container of a test: its directories, its start request, and the engine's side of its shim.

use std::error::Error;
use std::io::Read;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use shim_protocol::spec::{
    LogConfig, Mount, MountKind, Namespaces, Network, NetworkNs, NsMode, Process, Propagation,
    Resources, RestartPolicy, RootFs, Seccomp,
};
use shim_protocol::stdio::{Demultiplexer, Stream};
use shim_protocol::{
    AttachSpec, ExecSpec, ExitRecord, Notice, Request, Response, RunSpec, StateRecord, VERSION,
    call, client, receive, send,
};
use sys::socket::FdWriter;

pub(crate) const BUSYBOX: &str = "/bin/busybox";

/// Nothing in these tests takes longer unless it hangs.
const PATIENCE: Duration = Duration::from_secs(20);

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// What all streams of a client are.
pub(crate) const OUTPUT: AttachSpec = AttachSpec {
    stdin: false,
    stdout: true,
    stderr: true,
    detach_keys: None,
};

/// The same with stdin.
pub(crate) fn with_stdin() -> AttachSpec {
    AttachSpec {
        stdin: true,
        ..OUTPUT
    }
}

/// A container that a test may still change before it starts.
pub(crate) struct Container {
    pub(crate) directory: PathBuf,
    pub(crate) spec: RunSpec,
    /// The start connection.
    pub(crate) control: Option<UnixStream>,
    shim: Option<i32>,
}

impl Container {
    /// A container that will run `script` with a shell.
    pub(crate) fn new(script: &str) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("orlop-shim-{}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        let rootfs = directory.join("layers/1");
        for path in ["bin", "proc", "dev", "sys", "tmp", "etc"] {
            std::fs::create_dir_all(rootfs.join(path))?;
        }
        for path in ["upper", "work", "run"] {
            std::fs::create_dir_all(directory.join(path))?;
        }
        std::fs::copy(BUSYBOX, rootfs.join("bin/busybox"))?;
        for applet in ["sh", "cat", "sleep", "seq", "stty", "kill", "head", "test"] {
            symlink("busybox", rootfs.join("bin").join(applet))?;
        }
        let spec = spec(&directory, number, script);
        Ok(Self {
            directory,
            spec,
            control: None,
            shim: None,
        })
    }

    /// Starts it without clients.
    pub(crate) fn start(&mut self) -> Result<StateRecord> {
        self.start_attached(Vec::new(), &[])
    }

    /// Starts it with clients and port sockets.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "our duplicates of the sockets must close"
    )]
    pub(crate) fn start_attached(
        &mut self,
        clients: Vec<(AttachSpec, OwnedFd)>,
        ports: &[BorrowedFd<'_>],
    ) -> Result<StateRecord> {
        let (mut ours, theirs) = sys::socket::pair()?;
        let program = std::env::current_exe()?;
        self.shim = Some(sys::command::spawn_with_control(
            &program,
            &["shim"],
            theirs.as_fd(),
        )?);
        drop(theirs);
        let mut fds = ports.to_vec();
        fds.extend(clients.iter().map(|(_, socket)| socket.as_fd()));
        let request = Request::Start {
            version: VERSION,
            spec: Box::new(self.spec.clone()),
            attach: clients.iter().map(|(spec, _)| spec.clone()).collect(),
        };
        send(&mut FdWriter::new(&ours, &fds), &request)?;
        ours.set_read_timeout(Some(PATIENCE))?;
        let Response::Started { state } = client::answer(&mut ours)? else {
            return Err("not the answer to a start".into());
        };
        self.control = Some(ours);
        Ok(state)
    }

    /// The next notice on the start connection.
    pub(crate) fn notice(&mut self) -> Result<Notice> {
        let control = self
            .control
            .as_mut()
            .ok_or("the start connection is closed")?;
        Ok(receive(control)?)
    }

    /// Waits for the end for good, over other notices.
    pub(crate) fn end(&mut self) -> Result<ExitRecord> {
        loop {
            if let Notice::Exited {
                exit,
                restarting: false,
            } = self.notice()?
            {
                return Ok(exit);
            }
        }
    }

    /// A new connection to the shim.
    pub(crate) fn connect(&self) -> Result<UnixStream> {
        let stream = sys::socket::connect(&self.spec.run_dir.join("shim.sock"))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(stream)
    }

    /// One request on a connection of its own.
    pub(crate) fn ask(&self, request: &Request) -> Result<Response> {
        Ok(call(&mut self.connect()?, request)?)
    }

    pub(crate) fn attach(&self, streams: AttachSpec) -> Result<UnixStream> {
        let mut stream = self.connect()?;
        let AttachSpec {
            stdin,
            stdout,
            stderr,
            detach_keys,
        } = streams;
        call(
            &mut stream,
            &Request::Attach {
                stdin,
                stdout,
                stderr,
                detach_keys,
            },
        )?;
        Ok(stream)
    }

    /// An exec of `script` and its streams.
    pub(crate) fn exec(&self, id: &str, script: &str, tty: bool) -> Result<UnixStream> {
        let mut stream = self.connect()?;
        let mut process = self.spec.process.clone();
        process.args = vec!["/bin/sh".into(), "-c".into(), script.into()];
        process.tty = tty;
        let spec = ExecSpec {
            exec: id.into(),
            process,
            privileged: false,
            stdin: true,
            stdout: true,
            stderr: true,
            detach: false,
            detach_keys: None,
        };
        call(
            &mut stream,
            &Request::Exec {
                spec: Box::new(spec),
            },
        )?;
        Ok(stream)
    }

    pub(crate) fn exec_code(&self, id: &str) -> Result<i32> {
        match self.ask(&Request::ExecWait { exec: id.into() })? {
            Response::ExecExited { code } => Ok(code),
            other => Err(format!("unexpected {other:?}").into()),
        }
    }

    pub(crate) fn state(&self) -> Result<StateRecord> {
        match self.ask(&Request::Watch)? {
            Response::State { state } => Ok(state),
            other => Err(format!("unexpected {other:?}").into()),
        }
    }

    /// The texts in the log, each with its stream.
    pub(crate) fn log(&self) -> Result<Vec<(String, String)>> {
        let text = std::fs::read(self.directory.join("log"))?;
        text.split_inclusive(|&byte| byte == b'\n')
            // The last may be on its way.
            .filter(|line| line.ends_with(b"\n"))
            .map(|line| {
                let entry: serde_json::Value = serde_json::from_slice(line)?;
                let field = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
                Ok((field("stream"), field("log")))
            })
            .collect()
    }

    /// Waits until the shim has cleaned up and given up its lock.
    pub(crate) fn gone(&mut self) -> Result<()> {
        let lock = self.spec.run_dir.join("shim.lock");
        until("the lock is free", || Ok(!sys::lock::is_locked(&lock)?))?;
        assert!(
            !self.spec.run_dir.join("shim.sock").exists(),
            "the socket is left behind"
        );
        self.reap()
    }

    /// Has a helper process clean up after a killed shim.
    pub(crate) fn sweep(&self) -> Result<()> {
        let (mut ours, theirs) = sys::socket::pair()?;
        let program = std::env::current_exe()?;
        let pid = sys::command::spawn_with_control(&program, &["shim-clean"], theirs.as_fd())?;
        drop(theirs);
        send(&mut ours, &self.spec)?;
        let answer = client::answer(&mut ours);
        sys::process::wait(pid)?;
        answer?;
        Ok(())
    }

    pub(crate) fn has_cgroups(&self) -> bool {
        cgroup_parents()
            .iter()
            .any(|parent| parent.join(&self.spec.id).exists())
    }

    /// Whether the processes stand still, by what the kernel says of version 1 or 2 of the cgroups.
    pub(crate) fn is_frozen(&self) -> bool {
        let says = |group: &Path, file: &str, text: &str| {
            std::fs::read_to_string(group.join(file)).is_ok_and(|said| said.contains(text))
        };
        cgroup_parents()
            .iter()
            .map(|parent| parent.join(&self.spec.id))
            .any(|group| {
                says(&group, "freezer.state", "FROZEN") || says(&group, "cgroup.events", "frozen 1")
            })
    }

    /// Waits for the end of the shim process.
    pub(crate) fn reap(&mut self) -> Result<()> {
        if let Some(pid) = self.shim.take() {
            sys::process::wait(pid)?;
        }
        Ok(())
    }

    pub(crate) fn shim_pid(&self) -> i32 {
        self.shim.unwrap_or_default()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        self.control = None;
        if let Some(pid) = self.shim.take() {
            // After a failure: whatever still answers is told to stop, then the shim ends by itself.
            let stop = Request::Kill {
                signal: 9,
                stop: true,
            };
            if self.ask(&stop).is_err() {
                sys::process::kill(pid, 9).unwrap_or_default();
            }
            sys::process::wait(pid).map(drop).unwrap_or_default();
        }
        std::fs::remove_dir_all(&self.directory).unwrap_or_default();
    }
}

/// Waits until `condition` holds.
pub(crate) fn until(what: &str, mut condition: impl FnMut() -> Result<bool>) -> Result<()> {
    let limit = Instant::now() + PATIENCE;
    while !condition()? {
        if Instant::now() > limit {
            return Err(format!("in vain waited until {what}").into());
        }
        std::thread::yield_now();
    }
    Ok(())
}

/// Reads a stream with headers to its end: stdout and stderr.
pub(crate) fn read_output(mut stream: impl Read) -> Result<(Vec<u8>, Vec<u8>)> {
    let (mut splitter, mut out, mut err) = (Demultiplexer::default(), Vec::new(), Vec::new());
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            assert!(splitter.at_boundary(), "the stream ends within a piece");
            return Ok((out, err));
        }
        splitter.feed(&buffer[..count], |stream, bytes| match stream {
            Stream::Stderr => err.extend_from_slice(bytes),
            _ => out.extend_from_slice(bytes),
        })?;
    }
}

/// Both ends of a client that is attached at the start.
pub(crate) fn client_pair() -> Result<(UnixStream, OwnedFd)> {
    let (ours, theirs) = sys::socket::pair()?;
    ours.set_read_timeout(Some(PATIENCE))?;
    Ok((ours, theirs.into()))
}

/// Names the cgroups of this run.
fn tag() -> String {
    format!("{:012x}", std::process::id())
}

/// Removes the parents of the containers' cgroups, which an engine would keep.
pub(crate) fn remove_cgroups() {
    for directory in cgroup_parents() {
        // Most do not exist; one that is not empty belongs to a container that a failed case left.
        std::fs::remove_dir(directory).unwrap_or_default();
    }
}

/// Where the cgroups of this run may be: in each controller's hierarchy, or in the only one.
fn cgroup_parents() -> Vec<PathBuf> {
    let name = format!("orlop-{}", tag());
    let top = Path::new("/sys/fs/cgroup");
    let controllers = std::fs::read_dir(top).into_iter().flatten().flatten();
    controllers
        .map(|entry| entry.path())
        .chain([top.to_owned()])
        .map(|directory| directory.join(&name))
        .collect()
}

fn spec(directory: &Path, number: u32, script: &str) -> RunSpec {
    let mount = |target: &str, kind| Mount {
        target: target.into(),
        readonly: false,
        kind,
    };
    RunSpec {
        id: format!("{:032x}{number:032x}", std::process::id()),
        tag: tag(),
        run_dir: directory.join("run"),
        root: RootFs {
            layers_dir: directory.join("layers"),
            lowers: vec!["1".into()],
            upper: directory.join("upper"),
            work: directory.join("work"),
            readonly: false,
            propagation: Propagation::Rprivate,
        },
        mounts: vec![
            mount("/proc", MountKind::Proc),
            mount("/dev", MountKind::Dev),
            mount("/dev/pts", MountKind::Devpts),
        ],
        process: Process {
            args: vec!["/bin/sh".into(), "-c".into(), script.into()],
            env: vec!["PATH=/bin".into()],
            cwd: "/".into(),
            user: String::new(),
            additional_groups: Vec::new(),
            tty: false,
            console_size: None,
            capabilities: vec!["CAP_KILL".into()],
            no_new_privileges: false,
            seccomp: Seccomp::Default,
            rlimits: Vec::new(),
            apparmor_profile: None,
        },
        namespaces: Namespaces {
            network: NetworkNs::Private,
            pid: NsMode::Private,
            ipc: NsMode::Private,
            uts: NsMode::Private,
            cgroup: NsMode::Private,
        },
        hostname: "test".into(),
        domainname: String::new(),
        sysctls: Vec::new(),
        oom_score_adj: None,
        resources: Resources::default(),
        devices: Vec::new(),
        device_rules: Vec::new(),
        privileged: false,
        masked_paths: Vec::new(),
        readonly_paths: Vec::new(),
        network: Network::default(),
        log: LogConfig {
            path: Some(directory.join("log")),
            max_size: None,
            max_file: 1,
            compress: false,
            attrs: Vec::new(),
        },
        restart: RestartPolicy::No,
        health: None,
        stop_signal: 15,
        init: false,
        open_stdin: false,
        stdin_once: false,
        wake: Vec::new(),
        engine_socket: PathBuf::new(),
    }
}
