//! `logs`: what the container wrote, from its json-file log and the rotated files before it.

use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use serde::Deserialize;
use store::ContainerRow;
use sys::watch::FileWatch;

use super::find::Columns as _;
use super::{ContainerError, Containers};

mod lines;
mod tail;

use lines::{Lines, identity};
use tail::open_if_there;

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

/// One line of the file, in Docker's json-file format.
#[derive(Deserialize)]
struct Record {
    log: String,
    stream: String,
    time: String,
    #[serde(default)]
    attrs: std::collections::BTreeMap<String, String>,
}

/// Lines handed out by one [`LogReader::next_lines`].
const BATCH: usize = 256;

/// Reads a log; never blocks for new lines.
#[derive(Debug)]
pub struct LogReader {
    /// Whether the container has a terminal: its log is sent raw.
    pub tty: bool,
    containers: Arc<Containers>,
    id: String,
    path: PathBuf,
    request: LogRequest,
    /// Files still to read, the next one last.
    ahead: Vec<Lines>,
    current: Option<Lines>,
    /// What `tail` found, in reverse.
    pending: Vec<LogLine>,
    watch: Option<FileWatch>,
    finished: bool,
}

impl LogReader {
    /// The next lines that exist now, at most some hundred; empty: nothing more at present.
    pub fn next_lines(&mut self) -> Result<Vec<LogLine>, ContainerError> {
        let mut found = Vec::new();
        while found.len() < BATCH
            && let Some(line) = self.pending.pop()
        {
            found.push(line);
        }
        if !found.is_empty() || self.finished {
            return Ok(found);
        }
        if let Some(watch) = &self.watch {
            watch.drain().map_err(|source| self.failed(source))?;
        }
        // Asked before the reading: what was written before the end is then surely read.
        let alive = self.request.follow
            && self
                .containers
                .find(&self.id)
                .is_ok_and(|row| row.status().is_ok_and(super::Status::is_active));
        loop {
            match self.next_record().map_err(|source| self.failed(source))? {
                Some(record) => {
                    let after = self
                        .request
                        .until
                        .is_some_and(|until| time_of(&record) > until);
                    if after {
                        self.finished = true;
                        return Ok(found);
                    }
                    if self.wants(&record) {
                        found.push(line_of(record));
                        if found.len() == BATCH {
                            return Ok(found);
                        }
                    }
                }
                None if found.is_empty() => {
                    self.finished = !alive;
                    return Ok(found);
                }
                None => return Ok(found),
            }
        }
    }

    /// After an empty `next_lines`: whether more may come (following and the container lives).
    pub fn may_grow(&self) -> bool {
        self.request.follow && !self.finished
    }

    /// Readable when there may be more (the log grew, was rotated, or the container ended); only when following.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        use std::os::fd::AsFd as _;
        self.watch.as_ref().map(|watch| watch.as_fd())
    }

    fn failed(&self, source: io::Error) -> ContainerError {
        ContainerError::Io {
            action: format!("cannot read the log of container {}", self.id),
            source,
        }
    }

    fn next_record(&mut self) -> io::Result<Option<Record>> {
        loop {
            if let Some(lines) = &mut self.current {
                let line = match lines.next_line()? {
                    None if !self.ahead.is_empty() => None,
                    None if !lines.was_rotated(&self.path)? => return Ok(None),
                    // It was written to until it was moved.
                    None => lines.next_line()?,
                    some => some,
                };
                if let Some(line) = line {
                    match serde_json::from_slice(&line) {
                        Ok(record) => return Ok(Some(record)),
                        // A line torn by a crash says nothing; those after it do.
                        Err(error) => {
                            tracing::debug!(container = self.id, %error, "unreadable log line");
                            continue;
                        }
                    }
                }
            }
            self.current = match self.ahead.pop() {
                Some(next) => Some(next),
                None => match open_if_there(&self.path)? {
                    Some(file) => Some(Lines::new(file)),
                    // Not written yet.
                    None => return Ok(None),
                },
            };
        }
    }

    fn wants(&self, record: &Record) -> bool {
        let stream = if record.stream == "stderr" {
            self.request.stderr
        } else {
            self.request.stdout
        };
        stream
            && self
                .request
                .since
                .is_none_or(|since| time_of(record) >= since)
    }
}

fn time_of(record: &Record) -> Timestamp {
    record.time.parse().unwrap_or(Timestamp::UNIX_EPOCH)
}

fn line_of(record: Record) -> LogLine {
    LogLine {
        stream: if record.stream == "stderr" { 2 } else { 1 },
        time: record.time,
        line: record.log.into_bytes(),
        attrs: record.attrs.into_iter().collect(),
    }
}

impl Containers {
    pub fn logs(
        self: &Arc<Self>,
        reference: &str,
        request: &LogRequest,
    ) -> Result<LogReader, ContainerError> {
        if !(request.stdout || request.stderr) {
            return Err(ContainerError::Invalid(
                "Bad parameters: you must choose at least one stream".to_owned(),
            ));
        }
        let row = self.find(reference)?;
        if row.log_path.is_empty() {
            return Err(ContainerError::Unsupported(
                "configured logging driver does not support reading".to_owned(),
            ));
        }
        let path = PathBuf::from(&row.log_path);
        let unreadable = |source| ContainerError::Io {
            action: format!("cannot read the log of container {}", row.id),
            source,
        };
        // The directory is watched, not the file: rotation replaces the file.
        let watch = if request.follow {
            Some(FileWatch::new(&self.paths.container(&row.id)).map_err(unreadable)?)
        } else {
            None
        };
        let mut reader = LogReader {
            tty: row.config()?.tty,
            containers: Arc::clone(self),
            id: row.id.clone(),
            ahead: files(&path).map_err(unreadable)?,
            path,
            request: request.clone(),
            current: None,
            pending: Vec::new(),
            watch,
            finished: false,
        };
        if let Some(count) = request.tail {
            reader.skip_to_tail(count).map_err(unreadable)?;
        }
        Ok(reader)
    }

    /// Followers look again: the container has ended.
    pub(super) fn nudge_followers(&self, row: &ContainerRow) {
        if row.log_path.is_empty() {
            return;
        }
        use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, utimensat};
        let now = Timestamps {
            last_access: Timespec {
                tv_sec: 0,
                tv_nsec: UTIME_OMIT,
            },
            last_modification: Timespec {
                tv_sec: 0,
                tv_nsec: UTIME_NOW,
            },
        };
        if let Err(error) = utimensat(CWD, row.log_path.as_str(), &now, AtFlags::empty()) {
            tracing::debug!(container = row.id, %error, "no log to nudge");
        }
    }
}

/// All files of the log that are there, the newest first: popping gives the oldest. They are opened at once: later they have other
/// names, or are gone.
fn files(log: &Path) -> io::Result<Vec<Lines>> {
    const TRIES: u32 = 10;
    let mut files = Vec::new();
    for _ in 0..TRIES {
        let newest = identity(log)?;
        files.clear();
        files.extend(open_if_there(log)?.map(Lines::new));
        for number in 1.. {
            match rotated(log, number)? {
                Some(lines) => files.push(lines),
                None => break,
            }
        }
        if identity(log)? == newest {
            break;
        }
    }
    Ok(files)
}

/// `LOG.n`, or `LOG.n.gz` once that is complete.
fn rotated(log: &Path, number: u32) -> io::Result<Option<Lines>> {
    let named = |ending: &str| {
        let mut name = log.as_os_str().to_owned();
        name.push(format!(".{number}{ending}"));
        PathBuf::from(name)
    };
    if let Some(plain) = open_if_there(&named(""))? {
        return Ok(Some(Lines::new(plain)));
    }
    open_if_there(&named(".gz"))?.map(Lines::packed).transpose()
}
