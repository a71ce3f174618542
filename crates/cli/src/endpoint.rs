//! Which engine a command talks to, and starting one when none is there.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, BufRead as _, BufReader};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use clap::Args;

use crate::failure::{Failure, Outcome};
use crate::ssh::Ssh;

const DEFAULT_ROOT: &str = "/var/lib/orlop";
const DEFAULT_SOCKET: &str = "/run/orlop/docker.sock";

/// How long an engine may take from "ready" to an accepted connection.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Args)]
pub(crate) struct EndpointArgs {
    /// The engine (unix://PATH, ssh://[user@]host[:port])
    #[arg(
        short = 'H',
        long = "host",
        env = "ORLOP_HOST",
        value_name = "ENDPOINT",
        hide_env = true
    )]
    host: Option<String>,
    /// State directory of the engine; one is started there if none answers
    #[arg(
        long,
        env = "ORLOP_ROOT",
        global = true,
        value_name = "DIR",
        hide_env = true
    )]
    root: Option<PathBuf>,
}

/// A resolved endpoint.
#[derive(Debug, Clone)]
pub(crate) enum Endpoint {
    Socket {
        socket: PathBuf,
        /// The root to start an engine for; `None`: the user named an endpoint, and nothing is started.
        root: Option<PathBuf>,
    },
    Ssh(Ssh),
}

impl EndpointArgs {
    pub(crate) fn resolve(&self) -> Outcome<Endpoint> {
        if let Some(host) = &self.host {
            return Endpoint::parse(host);
        }
        let root = self
            .root
            .clone()
            .unwrap_or_else(|| PathBuf::from(DEFAULT_ROOT));
        let socket = if root == Path::new(DEFAULT_ROOT) {
            PathBuf::from(DEFAULT_SOCKET)
        } else {
            root.join("docker.sock")
        };
        Ok(Endpoint::Socket {
            socket,
            root: Some(root),
        })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket { socket, .. } => write!(f, "unix://{}", socket.display()),
            Self::Ssh(ssh) => ssh.fmt(f),
        }
    }
}

impl Endpoint {
    /// What a user calls it.
    fn parse(host: &str) -> Outcome<Self> {
        if let Some(path) = host.strip_prefix("unix://") {
            return Ok(Self::at(Path::new(path)));
        }
        let Some(rest) = host.strip_prefix("ssh://") else {
            return Err(Failure::new(format!(
                "unable to parse host '{host}': this version speaks to unix:// and ssh:// endpoints only"
            )));
        };
        let (ssh, path) = Ssh::parse(rest)?;
        let socket = (!path.is_empty()).then(|| format!("/{path}"));
        Ok(Self::over(ssh.with_socket(socket)))
    }

    /// A socket by its path; nothing is started there.
    pub(crate) fn at(socket: &Path) -> Self {
        Self::Socket {
            socket: socket.to_owned(),
            root: None,
        }
    }

    /// An engine of another host.
    pub(crate) fn over(ssh: Ssh) -> Self {
        Self::Ssh(ssh)
    }

    /// Starts the engine in a way that gets over a damaged database, if it is ours to start and none answers. `directory` is its
    /// state directory, or nothing is done.
    pub(crate) fn start_for_rescue(&self, directory: Option<&Path>) -> Outcome<()> {
        let Self::Socket {
            socket,
            root: Some(root),
        } = self
        else {
            return Ok(());
        };
        let is_own = directory.is_none_or(|directory| {
            directory == root
                || matches!((directory.canonicalize(), root.canonicalize()), (Ok(one), Ok(other)) if one == other)
        });
        match connect(socket) {
            Err(error) if is_own && is_absent(&error) => start_engine(root, &["--rescue"]),
            _ => Ok(()),
        }
    }

    /// A connection; starts an engine first where that is ours to do.
    pub(crate) fn connect(&self) -> Outcome<UnixStream> {
        let (socket, root) = match self {
            Self::Socket { socket, root } => (socket, root),
            Self::Ssh(ssh) => return ssh.connect(),
        };
        let error = match connect(socket) {
            Ok(stream) => return Ok(stream),
            Err(error) => error,
        };
        match root {
            Some(root) if is_absent(&error) => {
                start_engine(root, &[])?;
                let start = Instant::now();
                loop {
                    match connect(socket) {
                        Ok(stream) => return Ok(stream),
                        Err(error) if start.elapsed() > PATIENCE => {
                            return Err(unreachable(socket, &error));
                        }
                        // An engine that was just leaving lets go of its socket, or another client's is coming up.
                        Err(_) => pause(),
                    }
                }
            }
            _ => Err(unreachable(socket, &error)),
        }
    }
}

/// Nobody listens.
fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
    )
}

fn unreachable(socket: &Path, error: &io::Error) -> Failure {
    let socket = socket.display();
    match error.kind() {
        io::ErrorKind::PermissionDenied => Failure::new(format!(
            "permission denied while trying to connect to the engine at unix://{socket}"
        )),
        _ => Failure::new(format!(
            "Cannot connect to the engine at unix://{socket}. Is it running?"
        )),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "another process's progress has nothing to wait on"
)]
fn pause() {
    std::thread::sleep(Duration::from_millis(10));
}

/// By way of the directory's descriptor: a socket's path may be longer than the kernel's 108 bytes.
fn connect(socket: &Path) -> io::Result<UnixStream> {
    use rustix::fs::{Mode, OFlags, open};
    if socket.as_os_str().len() < 100 {
        return UnixStream::connect(socket);
    }
    let parent = socket.parent().unwrap_or(Path::new("/"));
    let directory = open(
        parent,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let name = socket.file_name().unwrap_or_default();
    UnixStream::connect(Path::new(&format!("/proc/self/fd/{}", directory.as_raw_fd())).join(name))
}

/// Runs `serve` of this very program in the background and waits for its word.
#[expect(
    clippy::disallowed_methods,
    reason = "the engine inherits nothing but a pipe and its standard streams are null"
)]
fn start_engine(root: &Path, more: &[&str]) -> Outcome<()> {
    let (reader, writer) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::empty()).map_err(io::Error::from)?;
    rustix::io::fcntl_setfd(&reader, rustix::io::FdFlags::CLOEXEC).map_err(io::Error::from)?;
    let arguments: [OsString; 6] = [
        "serve".into(),
        "--root".into(),
        root.into(),
        "--embedded".into(),
        "--ready-fd".into(),
        writer.as_raw_fd().to_string().into(),
    ];
    let mut child = Command::new("/proc/self/exe")
        .args(arguments)
        .args(more)
        .env_remove("ORLOP_HOST")
        .process_group(0)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| Failure::new(format!("cannot start the engine: {error}")))?;
    drop(writer);
    let mut word = String::new();
    BufReader::new(std::fs::File::from(reader)).read_line(&mut word)?;
    match word.trim_end() {
        "ready" | "already running" => Ok(()),
        "" => {
            let status = child.wait()?;
            Err(Failure::new(format!(
                "the engine ended before it was ready ({status}); its log is {}",
                root.join("engine.log").display()
            )))
        }
        error => Err(Failure::new(format!("the engine could not start: {error}"))),
    }
}
