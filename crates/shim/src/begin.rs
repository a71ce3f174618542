//! `orlop shim`: from the engine's spawn to the running container.
//!
//! Steps: 1. leave the engine's session, directory, descriptors and signals; 2. read the start request from descriptor
//! 3; 3. take the lock of the run directory and remove what an earlier shim left there; 4. open log, socket and ports;
//! 5. start the container; 6. answer `Started`. A failure of any step is answered with
//! `StartFailed`, and nothing is left but the lock file.

use std::fs::DirBuilder;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use shim_protocol::{AttachSpec, Request, Response, RunSpec, StartError, VERSION, receive, send};
use sys::fd::Epoll;
use sys::lock::FileLock;
use sys::socket::FdReader;

use crate::connection::Role;
use crate::log::Log;
use crate::ports::Ports;
use crate::records;
use crate::streams;
use crate::supervise::{Supervisor, broken};

/// Runs the shim to its end; the result is the exit code.
pub(crate) fn run() -> i32 {
    let Ok(control) = sys::fd::inherited(3) else {
        return 1;
    };
    let control = UnixStream::from(control);
    // It was started by the number of a descriptor, which says nothing in a list of processes.
    rustix::thread::set_name(c"orlop").unwrap_or_default();
    if let Err(error) = enter() {
        // An engine that is gone needs no answer; so it is below.
        let error = broken("shim", &error);
        send(&mut &control, &Response::StartFailed { error }).unwrap_or_default();
        return 1;
    }
    let started = take_request(&control).and_then(|(spec, attach, fds)| {
        report_panics(spec.run_dir.clone());
        prepare(spec, attach, fds)
    });
    match started {
        Ok((supervisor, clients)) => supervise(supervisor, clients, control),
        Err(error) => {
            send(&mut &control, &Response::StartFailed { error }).unwrap_or_default();
            1
        }
    }
}

/// Leaves everything that ties the process to the engine.
#[expect(
    clippy::disallowed_methods,
    reason = "the shim keeps no directory of its caller busy"
)]
fn enter() -> std::io::Result<()> {
    sys::process::close_from(4)?;
    // Fails only for a process that leads a group already, and then it is apart enough.
    rustix::process::setsid().map(drop).unwrap_or_default();
    std::env::set_current_dir("/")?;
    let null = streams::null()?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    sys::fork::outlive_signals()?;
    // Orphans of the container come to the shim; the argument only says on or off.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    Ok(())
}

type Start = (RunSpec, Vec<AttachSpec>, Vec<OwnedFd>);

fn take_request(control: &UnixStream) -> Result<Start, StartError> {
    let mut reader = FdReader::new(control);
    let request: Request = receive(&mut reader).map_err(|error| broken("start request", &error))?;
    let fds = reader.into_fds();
    let refused = |message: String| StartError {
        step: "shim".into(),
        message,
        code: 128,
    };
    let Request::Start {
        version,
        spec,
        attach,
    } = request
    else {
        return Err(refused("the first request must be start".into()));
    };
    if version > VERSION {
        return Err(refused(format!(
            "shim speaks version {VERSION}, not {version}"
        )));
    }
    let expected = spec.network.ports.len() + attach.len();
    if fds.len() != expected {
        return Err(refused(format!(
            "start came with {} sockets, not {expected}",
            fds.len()
        )));
    }
    Ok((*spec, attach, fds))
}

type Prepared = (Supervisor, Vec<(AttachSpec, OwnedFd)>);

/// Steps 3 and 4.
fn prepare(
    spec: RunSpec,
    attach: Vec<AttachSpec>,
    fds: Vec<OwnedFd>,
) -> Result<Prepared, StartError> {
    let run_dir = spec.run_dir.clone();
    let failed = |error: std::io::Error| broken("run directory", &error);
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&run_dir)
        .map_err(failed)?;
    // Waits while the shim of an earlier run still cleans up.
    let lock = FileLock::exclusive(run_dir.join(records::LOCK)).map_err(failed)?;
    records::remove(&run_dir, records::EXIT).map_err(failed)?;
    let log = Log::open(&spec.log)
        .map_err(|error| broken("failed to initialize logging driver", &error))?;
    let epoll = Epoll::new().map_err(failed)?;
    let mut fds = fds.into_iter();
    let ports = Ports::new(&epoll, &spec.network.ports, fds.by_ref())
        .map_err(|error| broken("published ports", &error))?;
    let listener = sys::socket::listen(&run_dir.join(records::SOCKET)).map_err(failed)?;
    let supervisor =
        Supervisor::new(spec, epoll, listener.into(), lock, log, ports).map_err(failed)?;
    Ok((supervisor, attach.into_iter().zip(fds).collect()))
}

/// Steps 5 and 6, and the container's life.
fn supervise(
    mut supervisor: Supervisor,
    clients: Vec<(AttachSpec, OwnedFd)>,
    control: UnixStream,
) -> i32 {
    let Some(engine) = supervisor.connect(control.into(), Role::Asking) else {
        return 1;
    };
    let launched = supervisor.launch();
    if launched.is_ok() {
        for (streams, socket) in clients {
            let main = supervisor.main;
            // A client whose socket cannot be watched is not served; the engine sees it closed.
            if let (Some(main), Some(number)) = (main, supervisor.connect(socket, Role::Leaving)) {
                supervisor.attach(number, main, streams);
            }
        }
    }
    if !supervisor.tell_start(engine, launched) {
        supervisor.abandon();
        return 1;
    }
    supervisor.run();
    supervisor.wind_down();
    0
}

/// Leaves the words of a panic where a person can find them: the shim has no other place to say anything.
fn report_panics(run_dir: PathBuf) {
    std::panic::set_hook(Box::new(move |panic| {
        let file = std::fs::File::options()
            .append(true)
            .create(true)
            .open(run_dir.join("panic"));
        if let Ok(mut file) = file {
            // Nobody is left to hear of a failure to report a failure.
            writeln!(file, "{panic}").unwrap_or_default();
        }
    }));
}
