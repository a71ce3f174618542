//! `--tail N`: the last lines, without reading the whole log when only the end is asked for.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};

use super::lines::Lines;
use super::{LogLine, LogReader, line_of};

const CHUNK: u64 = 64 << 10;

impl LogReader {
    /// Leaves the reader at the end, with the last `count` wanted lines pending.
    pub(super) fn skip_to_tail(&mut self, count: usize) -> io::Result<()> {
        let everything = self.request.stdout && self.request.stderr && self.request.until.is_none();
        if everything && let Some(file) = open_if_there(&self.path)? {
            // Enough lines in the newest file: start at the first of them.
            if let Some(offset) = start_of_last(&file, count)? {
                self.ahead.clear();
                (&file).seek(SeekFrom::Start(offset))?;
                self.current = Some(Lines::new(file));
                return self.keep_last(count);
            }
        }
        self.keep_last(count)
    }

    fn keep_last(&mut self, count: usize) -> io::Result<()> {
        let mut last: VecDeque<LogLine> = VecDeque::with_capacity(count.min(1024));
        while let Some(record) = self.next_record()? {
            if self
                .request
                .until
                .is_some_and(|until| super::time_of(&record) > until)
            {
                self.finished = true;
                break;
            }
            if count == 0 || !self.wants(&record) {
                continue;
            }
            if last.len() == count {
                last.pop_front();
            }
            last.push_back(line_of(record));
        }
        self.pending = last.into_iter().rev().collect();
        Ok(())
    }
}

pub(super) fn open_if_there(path: &std::path::Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Where the last `count` lines begin; `None` when the file has fewer.
fn start_of_last(mut file: &File, count: usize) -> io::Result<Option<u64>> {
    let mut end = file.metadata()?.len();
    let mut newlines = 0;
    let mut chunk = Vec::new();
    while end > 0 {
        let begin = end.saturating_sub(CHUNK);
        file.seek(SeekFrom::Start(begin))?;
        chunk.clear();
        file.take(end - begin).read_to_end(&mut chunk)?;
        for (index, _) in chunk
            .iter()
            .enumerate()
            .rev()
            .filter(|&(_, &byte)| byte == b'\n')
        {
            newlines += 1;
            if newlines > count {
                return Ok(Some(begin + index as u64 + 1));
            }
        }
        end = begin;
    }
    Ok(None)
}
