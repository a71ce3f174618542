//! Complete lines of a file that may still grow, or of one that was compressed and does not.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Reads line by line; the beginning of an unfinished line is kept until its end is written.
pub(super) struct Lines {
    source: Source,
    buffer: Vec<u8>,
    /// Start of what was not handed out yet.
    start: usize,
}

enum Source {
    File(File),
    Packed(Box<dyn Read + Send>),
}

const CHUNK: usize = 64 << 10;

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lines").finish_non_exhaustive()
    }
}

impl Lines {
    pub(super) fn new(file: File) -> Self {
        Self::of(Source::File(file))
    }

    /// Of a file that is compressed with gzip.
    pub(super) fn packed(file: File) -> io::Result<Self> {
        let plain = archive::decompress(file).map_err(io::Error::other)?;
        Ok(Self::of(Source::Packed(plain)))
    }

    fn of(source: Source) -> Self {
        Self {
            source,
            buffer: Vec::new(),
            start: 0,
        }
    }

    /// Without the newline; `None` at the present end.
    pub(super) fn next_line(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut searched = self.start;
        loop {
            if let Some(length) = self.buffer[searched..]
                .iter()
                .position(|&byte| byte == b'\n')
            {
                let end = searched + length;
                let line = self.buffer[self.start..end].to_vec();
                self.start = end + 1;
                return Ok(Some(line));
            }
            self.buffer.drain(..self.start);
            self.start = 0;
            searched = self.buffer.len();
            let read = match &mut self.source {
                Source::File(file) => file.take(CHUNK as u64).read_to_end(&mut self.buffer),
                Source::Packed(plain) => plain.take(CHUNK as u64).read_to_end(&mut self.buffer),
            };
            if read? == 0 {
                return Ok(None);
            }
        }
    }

    /// Whether `path` is another file by now.
    pub(super) fn was_rotated(&self, path: &Path) -> io::Result<bool> {
        let Source::File(ours) = &self.source else {
            return Ok(true);
        };
        let ours = ours.metadata()?;
        // Between the two steps of a rotation there is none.
        Ok(identity(path)?.is_some_and(|theirs| (ours.dev(), ours.ino()) != theirs))
    }
}

/// What tells a file from every other one; `None`: there is none.
pub(super) fn identity(path: &Path) -> io::Result<Option<(u64, u64)>> {
    match std::fs::metadata(path) {
        Ok(stat) => Ok(Some((stat.dev(), stat.ino()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn an_unfinished_line_waits_for_its_end() {
        let path = std::env::temp_dir().join(format!("orlop-lines-{}", std::process::id()));
        let mut writer = File::create(&path).expect("temporary file");
        let mut lines = Lines::new(File::open(&path).expect("just made"));
        writer.write_all(b"one\ntw").expect("write");
        assert_eq!(lines.next_line().expect("read"), Some(b"one".to_vec()));
        assert_eq!(lines.next_line().expect("read"), None);
        writer.write_all(b"o\n").expect("write");
        assert_eq!(lines.next_line().expect("read"), Some(b"two".to_vec()));
        std::fs::remove_file(&path).expect("cleanup");
    }
}
