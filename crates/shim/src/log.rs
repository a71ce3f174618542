//! The container's log: Docker's `json-file`, with rotation by size.
//!
//! Logging never stops a container: an entry that cannot be written is dropped, and a torn one is cut off again.
//! Rotation moves `log` to `log.1`, `log.1` to `log.2` and so on, up to `max_file` files in all ([`crate::rotation`]).

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use shim_protocol::spec::LogConfig;
use shim_protocol::stdio::Stream;

use crate::json_line;
use crate::lines::LineSplitter;
use crate::rotation::Rotation;

/// Entries are collected up to this size before they are written.
const BATCH: usize = 32 * 1024;

/// The open log of one container. With the log driver `none` it swallows everything.
#[derive(Debug)]
pub(crate) struct Log {
    out: LineSplitter,
    err: LineSplitter,
    sink: Option<Sink>,
}

impl Log {
    /// Opens or makes the log file; new entries are appended.
    pub(crate) fn open(config: &LogConfig) -> io::Result<Self> {
        let sink = match &config.path {
            Some(path) => Some(Sink::open(path, config)?),
            None => None,
        };
        Ok(Self {
            out: LineSplitter::default(),
            err: LineSplitter::default(),
            sink,
        })
    }

    /// Logs a portion of output; complete lines are in the file when this returns.
    pub(crate) fn write(&mut self, stream: Stream, bytes: &[u8]) {
        let Some(sink) = &mut self.sink else { return };
        let splitter = if stream == Stream::Stderr {
            &mut self.err
        } else {
            &mut self.out
        };
        splitter.feed(bytes, Timestamp::now, |piece, time| {
            sink.add(piece, stream, time);
        });
        sink.flush();
    }

    /// The streams have ended: logs what has no newline yet.
    pub(crate) fn finish(&mut self) {
        let Some(sink) = &mut self.sink else { return };
        self.out.finish(Timestamp::now, |piece, time| {
            sink.add(piece, Stream::Stdout, time);
        });
        self.err.finish(Timestamp::now, |piece, time| {
            sink.add(piece, Stream::Stderr, time);
        });
        sink.flush();
    }

    /// Closes the file and opens it again by its path.
    pub(crate) fn reopen(&mut self) -> io::Result<()> {
        let Some(sink) = &mut self.sink else {
            return Ok(());
        };
        (sink.file, sink.size) = open_append(&sink.path)?;
        Ok(())
    }
}

/// The file behind a log.
#[derive(Debug)]
struct Sink {
    path: PathBuf,
    max_size: Option<u64>,
    rotation: Rotation,
    attrs: Vec<u8>,
    file: File,
    size: u64,
    batch: Vec<u8>,
}

impl Sink {
    fn open(path: &Path, config: &LogConfig) -> io::Result<Self> {
        let (file, size) = open_append(path)?;
        Ok(Self {
            path: path.to_owned(),
            max_size: config.max_size,
            rotation: Rotation::new(path, config),
            attrs: json_line::attributes(&config.attrs),
            file,
            size,
            batch: Vec::new(),
        })
    }

    fn add(&mut self, piece: &[u8], stream: Stream, time: Timestamp) {
        let pending = u64::try_from(self.batch.len()).unwrap_or(u64::MAX);
        if self
            .max_size
            .is_some_and(|limit| self.size.saturating_add(pending) >= limit)
            && !self.rotation.is_busy()
        {
            self.flush();
            // A failure leaves the old file in use: it grows beyond its limit, but no entry is lost.
            self.rotate().unwrap_or_default();
        } else if self.batch.len() >= BATCH {
            self.flush();
        }
        json_line::append(&mut self.batch, piece, stream.name(), &self.attrs, time);
    }

    fn flush(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        match self.file.write_all(&self.batch) {
            Ok(()) => self.size += u64::try_from(self.batch.len()).unwrap_or(0),
            // The disk may be full: cutting a torn entry off keeps the file readable. Nobody can be told.
            Err(_) => self.file.set_len(self.size).unwrap_or_default(),
        }
        self.batch.clear();
        self.batch.shrink_to(BATCH);
    }

    fn rotate(&mut self) -> io::Result<()> {
        if self.rotation.keeps_any() {
            self.rotation.shift()?;
            (self.file, self.size) = open_append(&self.path)?;
            self.rotation.compress();
        } else {
            self.file.set_len(0)?;
            self.size = 0;
        }
        Ok(())
    }
}

fn open_append(path: &Path) -> io::Result<(File, u64)> {
    let file = File::options()
        .append(true)
        .create(true)
        .mode(0o640)
        .open(path)?;
    let size = file.metadata()?.len();
    Ok((file, size))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("orlop-log-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    fn config(path: PathBuf, max_size: Option<u64>, max_file: u32) -> LogConfig {
        LogConfig {
            path: Some(path),
            max_size,
            max_file,
            compress: false,
            attrs: Vec::new(),
        }
    }

    fn texts(path: &Path) -> Vec<String> {
        let entries = std::fs::read_to_string(path).unwrap();
        entries
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
            .map(|entry| entry["log"].as_str().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn streams_do_not_mix_in_a_line_and_ends_are_kept() {
        let directory = scratch("streams");
        let path = directory.join("log");
        let mut log = Log::open(&config(path.clone(), None, 1)).unwrap();
        log.write(Stream::Stdout, b"out ");
        log.write(Stream::Stderr, b"err\n");
        log.write(Stream::Stdout, b"put\ntail");
        log.finish();
        drop(log);
        let mut again = Log::open(&config(path.clone(), None, 1)).unwrap();
        again.write(Stream::Stdout, b"appended\n");
        assert_eq!(texts(&path), ["err\n", "out put\n", "tail", "appended\n"]);
        std::fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn rotation_keeps_the_number_of_files() {
        let directory = scratch("rotation");
        let path = directory.join("log");
        let mut log = Log::open(&config(path.clone(), Some(150), 3)).unwrap();
        for number in 0..12 {
            log.write(Stream::Stdout, format!("line {number}\n").as_bytes());
        }
        let mut names: Vec<_> = std::fs::read_dir(&directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["log", "log.1", "log.2"]);
        assert_eq!(texts(&path), ["line 10\n", "line 11\n"]);
        assert_eq!(texts(&directory.join("log.1")), ["line 8\n", "line 9\n"]);
        std::fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_single_file_begins_again() {
        let directory = scratch("single");
        let path = directory.join("log");
        let mut log = Log::open(&config(path.clone(), Some(150), 1)).unwrap();
        for number in 0..5 {
            log.write(Stream::Stdout, format!("line {number}\n").as_bytes());
        }
        assert_eq!(texts(&path), ["line 4\n"]);
        std::fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn reopening_follows_a_moved_file() {
        let directory = scratch("reopen");
        let path = directory.join("log");
        let mut log = Log::open(&config(path.clone(), None, 1)).unwrap();
        log.write(Stream::Stdout, b"old\n");
        std::fs::rename(&path, directory.join("moved")).unwrap();
        log.write(Stream::Stdout, b"still old\n");
        log.reopen().unwrap();
        log.write(Stream::Stdout, b"new\n");
        assert_eq!(texts(&directory.join("moved")), ["old\n", "still old\n"]);
        assert_eq!(texts(&path), ["new\n"]);
        std::fs::remove_dir_all(directory).unwrap();
    }
}
