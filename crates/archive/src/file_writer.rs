//! A tar stream of plain files from memory or from streams, such as an image archive.

use std::io::{self, Read, Write};

use sys::dir::Time;

use crate::writer::{Entry, Stream};

/// Writes files that belong to root, with mode 0644 and no time, so that the same files give the same bytes.
pub struct FileWriter<'a> {
    stream: Stream<&'a mut (dyn Write + Send)>,
}

impl std::fmt::Debug for FileWriter<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileWriter")
            .field("written", &self.stream.written())
            .finish()
    }
}

impl<'a> FileWriter<'a> {
    pub fn new(out: &'a mut (dyn Write + Send)) -> Self {
        Self {
            stream: Stream::new(out),
        }
    }

    /// Adds a file with the given contents.
    ///
    /// # Errors
    /// Those of the writer; the archive is then of no use.
    pub fn file(&mut self, name: &str, contents: &[u8]) -> io::Result<()> {
        self.stream(name, contents.len() as u64, &mut &*contents)
    }

    /// Adds a file with the next `size` bytes of `contents`.
    ///
    /// # Errors
    /// `UnexpectedEof` when there are fewer; those of reader and writer. The archive is then of no use.
    pub fn stream(&mut self, name: &str, size: u64, contents: &mut dyn Read) -> io::Result<()> {
        self.stream.header(&Entry {
            kind: b'0',
            name: name.as_bytes(),
            link: b"",
            mode: 0o644,
            uid: 0,
            gid: 0,
            size,
            mtime: Time {
                seconds: 0,
                nanoseconds: 0,
            },
            device: (0, 0),
            records: &[],
        })?;
        let mut left = size;
        let mut buffer = vec![0; 64 * 1024];
        while left > 0 {
            let most = usize::try_from(left)
                .unwrap_or(usize::MAX)
                .min(buffer.len());
            match contents.read(&mut buffer[..most]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(length) => {
                    self.stream.data(&buffer[..length])?;
                    left -= length as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.stream.pad(size)
    }

    /// Leaves the archive open: what is written behind it, another archive, goes on with it.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn leave_open(self) -> io::Result<()> {
        self.stream.flush()
    }

    /// Writes the end of the archive; without it the archive is cut.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn finish(self) -> io::Result<()> {
        self.stream.finish().map(drop)
    }
}
