//! The shim's ends of one process's stdin, stdout and stderr: pipes, or a terminal.
//!
//! Input that the process does not take yet is kept up to a bound ([`Streams::is_thirsty`]); a process that closed its
//! stdin swallows input. Outputs are read one portion at a time, so that the caller can pause between portions.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::epoll::EventFlags;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use shim_protocol::stdio::Stream;
use sys::fd::{Epoll, Watched};

use crate::source::Source;

/// Input beyond this waits in the client's socket.
const INPUT_LIMIT: usize = 64 * 1024;

/// How long a terminal without any opener is left alone before it is tried again.
const TERMINAL_REST: Duration = Duration::from_millis(500);

/// What reading an output brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Portion {
    Bytes(usize),
    /// Nothing now.
    Empty,
    /// Nothing ever again.
    Closed,
}

/// Which streams a process gets; those that it does not get are /dev/null.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) tty: bool,
    pub(crate) stdin: bool,
    pub(crate) stdout: bool,
    pub(crate) stderr: bool,
}

/// The shim's ends before the process exists.
#[derive(Debug, Default)]
pub(crate) struct Ends {
    stdin: Option<OwnedFd>,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
}

/// Makes the pipes of a process: the shim's ends, and what the runtime gives to the process.
pub(crate) fn prepare(wanted: Wanted) -> io::Result<(Ends, runtime::Stdio)> {
    if wanted.tty {
        return Ok((Ends::default(), runtime::Stdio::Tty));
    }
    let (stdin, their_stdin) = if wanted.stdin {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
        (Some(writer), reader)
    } else {
        (None, null()?)
    };
    let output = |wanted: bool| -> io::Result<(Option<OwnedFd>, OwnedFd)> {
        if !wanted {
            return Ok((None, null()?));
        }
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
        Ok((Some(reader), writer))
    };
    let (stdout, their_stdout) = output(wanted.stdout)?;
    let (stderr, their_stderr) = output(wanted.stderr)?;
    let theirs = runtime::Stdio::Pipes {
        stdin: their_stdin,
        stdout: their_stdout,
        stderr: their_stderr,
    };
    Ok((
        Ends {
            stdin,
            stdout,
            stderr,
        },
        theirs,
    ))
}

/// /dev/null, open for both directions.
pub(crate) fn null() -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(
        "/dev/null",
        OFlags::RDWR | OFlags::CLOEXEC,
        Mode::empty(),
    )?)
}

#[derive(Debug)]
struct Output {
    stream: Stream,
    fd: Watched,
    rest_until: Option<Instant>,
}

/// The streams of a running process.
#[derive(Debug)]
pub(crate) struct Streams {
    pub(crate) tty: bool,
    stdin: Option<Watched>,
    input: VecDeque<u8>,
    close_when_written: bool,
    outputs: Vec<Output>,
    paused: bool,
}

impl Streams {
    /// Watches the streams of process `number`. `terminal` is the master of a terminal, with `ends` empty.
    pub(crate) fn new(
        epoll: &Epoll,
        number: u32,
        ends: Ends,
        terminal: Option<OwnedFd>,
    ) -> io::Result<Self> {
        let tty = terminal.is_some();
        let (stdin, stdout) = match terminal {
            // Two descriptors, so that each direction has its own place in epoll.
            Some(master) => (Some(master.try_clone()?), Some(master)),
            None => (ends.stdin, ends.stdout),
        };
        let stdin = match stdin {
            Some(fd) => Some(Watched::new(epoll, fd, Source::Input(number).token())?),
            None => None,
        };
        let mut outputs = Vec::new();
        for (stream, fd) in [(Stream::Stdout, stdout), (Stream::Stderr, ends.stderr)] {
            if let Some(fd) = fd {
                let mut fd = Watched::new(epoll, fd, Source::Output(number, stream).token())?;
                fd.watch(EventFlags::IN)?;
                outputs.push(Output {
                    stream,
                    fd,
                    rest_until: None,
                });
            }
        }
        Ok(Self {
            tty,
            stdin,
            input: VecDeque::new(),
            close_when_written: false,
            outputs,
            paused: false,
        })
    }

    /// Whether more input is welcome.
    pub(crate) fn is_thirsty(&self) -> bool {
        self.input.len() < INPUT_LIMIT
    }

    /// Gives bytes to the process's stdin.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        if self.stdin.is_some() && !self.close_when_written {
            self.input.extend(bytes);
            self.flush_input();
        }
    }

    /// Closes the process's stdin once everything given is written.
    pub(crate) fn end_input(&mut self) {
        self.close_when_written = true;
        self.flush_input();
    }

    /// Writes what waits as far as the process takes it.
    pub(crate) fn flush_input(&mut self) {
        let Some(stdin) = &mut self.stdin else { return };
        let mut open = true;
        while open && !self.input.is_empty() {
            match rustix::io::write(&*stdin, self.input.as_slices().0) {
                Ok(count) => drop(self.input.drain(..count)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                // The process closed its stdin, or its terminal is gone.
                Err(_) => open = false,
            }
        }
        if self.input.is_empty() {
            self.input = VecDeque::new();
            open &= !self.close_when_written;
        }
        let interest = if self.input.is_empty() {
            EventFlags::empty()
        } else {
            EventFlags::OUT
        };
        if !open || stdin.watch(interest).is_err() {
            self.stdin = None;
            self.input = VecDeque::new();
        }
    }

    /// Reads one portion of `stream` into `buffer`. `ended` tells that the process is dead: then nothing more is
    /// expected of an output that is empty, even if somebody else holds it open.
    pub(crate) fn read(&mut self, stream: Stream, buffer: &mut [u8], ended: bool) -> Portion {
        let Some(at) = self
            .outputs
            .iter()
            .position(|output| output.stream == stream)
        else {
            return Portion::Closed;
        };
        let portion = loop {
            match rustix::io::read(&self.outputs[at].fd, &mut *buffer) {
                Ok(0) => break Portion::Closed,
                Ok(count) => break Portion::Bytes(count),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) if ended => break Portion::Closed,
                Err(Errno::AGAIN) => break Portion::Empty,
                // A terminal that nobody holds open at the moment; its process may open it again.
                Err(Errno::IO) if self.tty && !ended => {
                    self.outputs[at].rest_until = Some(Instant::now() + TERMINAL_REST);
                    self.apply();
                    return Portion::Empty;
                }
                Err(_) => break Portion::Closed,
            }
        };
        if portion == Portion::Closed {
            self.outputs.remove(at);
        }
        portion
    }

    /// Stops or resumes reporting outputs.
    pub(crate) fn pause(&mut self, paused: bool) {
        self.paused = paused;
        self.apply();
    }

    /// When a resting terminal wants to be tried again.
    pub(crate) fn wakes_at(&self) -> Option<Instant> {
        self.outputs
            .iter()
            .filter_map(|output| output.rest_until)
            .min()
    }

    /// Ends the rest of a terminal whose time has come.
    pub(crate) fn wake(&mut self, now: Instant) {
        for output in &mut self.outputs {
            output.rest_until = output.rest_until.filter(|until| *until > now);
        }
        self.apply();
    }

    /// The outputs that are still open.
    pub(crate) fn open_outputs(&self) -> Vec<Stream> {
        self.outputs.iter().map(|output| output.stream).collect()
    }

    /// Gives up all outputs, whoever holds their other ends.
    pub(crate) fn close_outputs(&mut self) {
        self.outputs.clear();
    }

    /// Sets the size of the terminal; nothing without one.
    pub(crate) fn resize(&self, rows: u16, columns: u16) -> io::Result<()> {
        let Some(master) = self.outputs.first().filter(|_| self.tty) else {
            return Ok(());
        };
        sys::pty::resize(&master.fd, rows, columns)
    }

    fn apply(&mut self) {
        for output in &mut self.outputs {
            let quiet = self.paused || output.rest_until.is_some();
            let interest = if quiet {
                EventFlags::empty()
            } else {
                EventFlags::IN
            };
            // Only memory can fail here, and then the next change tries again.
            output.fd.watch(interest).unwrap_or_default();
        }
    }
}
