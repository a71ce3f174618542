//! `logs`: what the container wrote, from its json-file log and the rotated files before it.

use std::os::fd::BorrowedFd;

use jiff::Timestamp;

use super::{ContainerError, Containers};

#[derive(Debug, Clone, Default)]
pub struct LogRequest {
    pub stdout: bool,
    pub stderr: bool,
    pub follow: bool,
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    /// Number of lines at the end; `None` is all.
    pub tail: Option<usize>,
}

#[derive(Debug, Clone)]
pub struct LogLine {
    /// 1 stdout, 2 stderr.
    pub stream: u8,
    /// RFC 3339 with nanoseconds, as written.
    pub time: String,
    pub line: Vec<u8>,
    pub attrs: Vec<(String, String)>,
}

/// Reads a log; never blocks for new lines.
#[derive(Debug)]
pub struct LogReader {
    /// Whether the container has a terminal: its log is sent raw.
    pub tty: bool,
}

impl LogReader {
    /// The next lines that exist now, at most some hundred; empty: nothing more at present.
    pub fn next_lines(&mut self) -> Result<Vec<LogLine>, ContainerError> {
        todo!()
    }

    /// After an empty `next_lines`: whether more may come (following and the container lives).
    pub fn may_grow(&self) -> bool {
        todo!()
    }

    /// Readable when there may be more (the log grew, was rotated, or the container ended); only when following.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        todo!()
    }
}

impl Containers {
    pub fn logs(&self, reference: &str, request: &LogRequest) -> Result<LogReader, ContainerError> {
        todo!()
    }
}
