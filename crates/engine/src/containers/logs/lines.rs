//! Complete lines of a file that may still grow.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Reads line by line; the beginning of an unfinished line is kept until its end is written.
#[derive(Debug)]
pub(super) struct Lines {
    file: File,
    buffer: Vec<u8>,
    /// Start of what was not handed out yet.
    start: usize,
}

const CHUNK: usize = 64 << 10;

impl Lines {
    pub(super) fn new(file: File) -> Self {
        Self {
            file,
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
            let mut limited = (&self.file).take(CHUNK as u64);
            if limited.read_to_end(&mut self.buffer)? == 0 {
                return Ok(None);
            }
        }
    }

    /// Whether `path` is another file by now.
    pub(super) fn was_rotated(&self, path: &Path) -> io::Result<bool> {
        let ours = self.file.metadata()?;
        match std::fs::metadata(path) {
            Ok(theirs) => Ok((ours.dev(), ours.ino()) != (theirs.dev(), theirs.ino())),
            // Between the two renames of a rotation.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
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
