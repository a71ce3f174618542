//! A file that is written at its end and read from its beginning at the same time.
//!
//! The reader waits for what is not there yet. It sees the end only when the writer said that all of it was right.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::sync::{Condvar, Mutex, PoisonError};

#[derive(Debug)]
pub(super) struct Spool {
    file: File,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Clone, Copy)]
struct State {
    written: u64,
    end: Option<End>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Complete,
    Broken,
}

impl Spool {
    /// `file` is open for reading and writing; its first `written` bytes, which are all it has, are there already.
    pub(super) fn new(file: File, written: u64) -> Self {
        Self {
            file,
            state: Mutex::new(State { written, end: None }),
            changed: Condvar::new(),
        }
    }

    /// Adds to the end; only one thread does.
    pub(super) fn append(&self, bytes: &[u8]) -> io::Result<()> {
        let written = self.state().written;
        self.file.write_all_at(bytes, written)?;
        self.change(|state| state.written += bytes.len() as u64);
        Ok(())
    }

    /// Nothing more will come. Only the first word counts.
    pub(super) fn end(&self, end: End) {
        self.change(|state| state.end = state.end.or(Some(end)));
    }

    pub(super) fn is_complete(&self) -> bool {
        self.state().end == Some(End::Complete)
    }

    pub(super) fn reader(&self) -> Reader<'_> {
        Reader { spool: self, at: 0 }
    }

    fn state(&self) -> State {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }
}

/// Reads what is there, and waits for the rest.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    spool: &'a Spool,
    at: u64,
}

impl Reader<'_> {
    /// How much was read.
    pub(super) fn position(&self) -> u64 {
        self.at
    }
}

impl Read for Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let spool = self.spool;
        let state = spool.state.lock().unwrap_or_else(PoisonError::into_inner);
        let state = *spool
            .changed
            .wait_while(state, |state| {
                state.written == self.at && state.end.is_none()
            })
            .unwrap_or_else(PoisonError::into_inner);
        if state.end == Some(End::Broken) {
            return Err(io::Error::other("the download broke off"));
        }
        let left = usize::try_from(state.written - self.at).unwrap_or(usize::MAX);
        let most = left.min(buffer.len());
        let count = spool.file.read_at(&mut buffer[..most], self.at)?;
        if count == 0 && most > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spool() -> Spool {
        let name = std::env::temp_dir().join(format!("orlop-spool-{}", store::OpId::random()));
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&name)
            .expect("made");
        std::fs::remove_file(&name).expect("removed");
        Spool::new(file, 0)
    }

    #[test]
    fn reads_while_it_is_written() {
        let spool = spool();
        std::thread::scope(|scope| {
            let reading = scope.spawn(|| {
                let mut bytes = Vec::new();
                spool.reader().read_to_end(&mut bytes).map(|_| bytes)
            });
            for part in [&b"one "[..], b"two ", b"three"] {
                spool.append(part).expect("written");
            }
            spool.end(End::Complete);
            let bytes = reading.join().expect("no panic").expect("complete");
            assert_eq!(bytes, b"one two three");
        });
    }

    #[test]
    fn what_is_broken_has_no_end() {
        let spool = spool();
        spool.append(b"half").expect("written");
        spool.end(End::Broken);
        spool.end(End::Complete);
        let mut bytes = Vec::new();
        assert!(spool.reader().read_to_end(&mut bytes).is_err());
    }
}
