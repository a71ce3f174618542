//! Which engine a command talks to, and starting one when none is there.

use std::ffi::OsString;
use std::io::{self, BufRead as _, BufReader};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use clap::Args;

use crate::failure::{Failure, Outcome};

const DEFAULT_ROOT: &str = "/var/lib/orlop";
const DEFAULT_SOCKET: &str = "/run/orlop/docker.sock";

/// How long an engine may take from "ready" to an accepted connection.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Args)]
pub(crate) struct EndpointArgs {
    /// Socket of the engine (unix://PATH)
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
pub(crate) struct Endpoint {
    socket: PathBuf,
    /// The root to start an engine for; `None`: the user named an endpoint, and nothing is started.
    root: Option<PathBuf>,
}

impl EndpointArgs {
    pub(crate) fn resolve(&self) -> Outcome<Endpoint> {
        if let Some(host) = &self.host {
            let Some(path) = host.strip_prefix("unix://") else {
                return Err(Failure::new(format!(
                    "unable to parse host '{host}': this version speaks to unix:// endpoints only"
                )));
            };
            return Ok(Endpoint {
                socket: PathBuf::from(path),
                root: None,
            });
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
        Ok(Endpoint {
            socket,
            root: Some(root),
        })
    }
}

impl Endpoint {
    /// A socket by its path; nothing is started there.
    #[cfg(test)]
    pub(crate) fn at(socket: &Path) -> Self {
        Self {
            socket: socket.to_owned(),
            root: None,
        }
    }

    /// A connection; starts an engine first where that is ours to do.
    pub(crate) fn connect(&self) -> Outcome<UnixStream> {
        let error = match connect(&self.socket) {
            Ok(stream) => return Ok(stream),
            Err(error) => error,
        };
        let absent = matches!(
            error.kind(),
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
        );
        match &self.root {
            Some(root) if absent => {
                start_engine(root)?;
                let start = Instant::now();
                loop {
                    match connect(&self.socket) {
                        Ok(stream) => return Ok(stream),
                        Err(error) if start.elapsed() > PATIENCE => {
                            return Err(self.unreachable(&error));
                        }
                        // An engine that was just leaving lets go of its socket, or another client's is coming up.
                        Err(_) => pause(),
                    }
                }
            }
            _ => Err(self.unreachable(&error)),
        }
    }

    fn unreachable(&self, error: &io::Error) -> Failure {
        let socket = self.socket.display();
        match error.kind() {
            io::ErrorKind::PermissionDenied => Failure::new(format!(
                "permission denied while trying to connect to the engine at unix://{socket}"
            )),
            _ => Failure::new(format!(
                "Cannot connect to the engine at unix://{socket}. Is it running?"
            )),
        }
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
fn start_engine(root: &Path) -> Outcome<()> {
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
