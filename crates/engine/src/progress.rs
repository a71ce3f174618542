//! How far a long task has come: the engine says it, servers and clients show it.

use std::fmt::Debug;

/// Receives progress. Called often; implementations throttle.
pub trait Progress: Send + Sync + Debug {
    /// `done` of `total` bytes (0: unknown) of the item named `id` (a layer, a volume), doing `action` ("Loading layer").
    fn step(&self, id: &str, action: &str, done: u64, total: u64);
    /// One line of plain text ("Loaded image: x").
    fn line(&self, text: &str);
    /// What people should know before it goes on.
    fn warning(&self, _text: &str) {}
    /// An item that has no measure has come so far ("Pull complete"); an empty `id`: the whole.
    fn status(&self, _id: &str, _text: &str) {}
    /// A result for programs, beside what people read.
    fn result(&self, _value: &serde_json::Value) {}
}

/// Says nothing.
#[derive(Debug)]
pub struct Silent;

impl Progress for Silent {
    fn step(&self, _id: &str, _action: &str, _done: u64, _total: u64) {}
    fn line(&self, _text: &str) {}
}

/// Tells how much of a stream was read.
pub(crate) struct CountingReader<'a, R> {
    reader: R,
    id: &'a str,
    action: &'a str,
    progress: &'a dyn Progress,
    done: u64,
    told: u64,
}

/// Bytes between two tellings.
const STRIDE: u64 = 1 << 20;

impl<'a, R> CountingReader<'a, R> {
    pub(crate) fn new(reader: R, id: &'a str, action: &'a str, progress: &'a dyn Progress) -> Self {
        Self {
            reader,
            id,
            action,
            progress,
            done: 0,
            told: 0,
        }
    }
}

impl<R: std::io::Read> std::io::Read for CountingReader<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.done += count as u64;
        if self.done - self.told >= STRIDE || (count == 0 && self.done > self.told) {
            self.told = self.done;
            self.progress.step(self.id, self.action, self.done, 0);
        }
        Ok(count)
    }
}
