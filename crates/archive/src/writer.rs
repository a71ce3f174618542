//! Writes tar members: ustar headers, with PAX records before them where ustar cannot say it.

use std::io::{self, BufWriter, Write};

use sys::dir::Time;

use crate::header::BLOCK;
use crate::pax;

const BUFFER: usize = 128 * 1024;

/// What a header says. Names are as they are to stand in the archive.
pub(crate) struct Entry<'a> {
    pub(crate) kind: u8,
    pub(crate) name: &'a [u8],
    pub(crate) link: &'a [u8],
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Of the data that follows.
    pub(crate) size: u64,
    pub(crate) mtime: Time,
    pub(crate) device: (u32, u32),
    /// Further PAX records.
    pub(crate) records: &'a [(Vec<u8>, Vec<u8>)],
}

/// A tar stream in the making.
pub(crate) struct Stream<W: Write> {
    out: BufWriter<W>,
    written: u64,
}

impl<W: Write> Stream<W> {
    pub(crate) fn new(out: W) -> Self {
        Self {
            out: BufWriter::with_capacity(BUFFER, out),
            written: 0,
        }
    }

    /// How many bytes were written so far.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// Writes a header; exactly `entry.size` bytes of data and [`Self::pad`] must follow.
    pub(crate) fn header(&mut self, entry: &Entry<'_>) -> io::Result<()> {
        let mut records = Vec::new();
        if entry.name.len() > 100 {
            pax::append(&mut records, b"path", entry.name);
        }
        if entry.link.len() > 100 {
            pax::append(&mut records, b"linkpath", entry.link);
        }
        for (key, value, digits) in [
            (&b"size"[..], entry.size, 11),
            (b"uid", u64::from(entry.uid), 7),
            (b"gid", u64::from(entry.gid), 7),
        ] {
            if !fits(value, digits) {
                pax::append(&mut records, key, value.to_string().as_bytes());
            }
        }
        let seconds = u64::try_from(entry.mtime.seconds)
            .ok()
            .filter(|seconds| fits(*seconds, 11));
        if seconds.is_none() || entry.mtime.nanoseconds != 0 {
            pax::append(
                &mut records,
                b"mtime",
                pax::time_text(entry.mtime).as_bytes(),
            );
        }
        for (key, value) in entry.records {
            pax::append(&mut records, key, value);
        }
        if !records.is_empty() {
            let base = entry
                .name
                .split(|byte| *byte == b'/')
                .rfind(|part| !part.is_empty());
            let name = [b"PaxHeaders.0/", base.unwrap_or_default()].concat();
            let size = records.len() as u64;
            self.block(&Entry {
                kind: b'x',
                name: &name,
                link: b"",
                size,
                ..*entry
            })?;
            self.data(&records)?;
            self.pad(size)?;
        }
        self.block(entry)
    }

    /// Writes a global header: records that stand for the archive, before its first member.
    pub(crate) fn global(&mut self, annotations: &[(Vec<u8>, Vec<u8>)]) -> io::Result<()> {
        let mut records = Vec::new();
        for (key, value) in annotations {
            pax::append(&mut records, key, value);
        }
        let size = records.len() as u64;
        self.block(&Entry {
            kind: b'g',
            // What programs that know no such header unpack it as.
            name: b"pax_global_header",
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
        self.data(&records)?;
        self.pad(size)
    }

    /// One ustar header; what does not fit is cut, or zero, because a PAX record says it.
    fn block(&mut self, entry: &Entry<'_>) -> io::Result<()> {
        let mut block = [0; BLOCK];
        let cut = |text: &'_ [u8]| text.len().min(100);
        block[..cut(entry.name)].copy_from_slice(&entry.name[..cut(entry.name)]);
        block[157..157 + cut(entry.link)].copy_from_slice(&entry.link[..cut(entry.link)]);
        octal(&mut block[100..108], u64::from(entry.mode & 0o7777));
        octal(&mut block[108..116], u64::from(entry.uid));
        octal(&mut block[116..124], u64::from(entry.gid));
        octal(&mut block[124..136], entry.size);
        octal(
            &mut block[136..148],
            u64::try_from(entry.mtime.seconds).unwrap_or(0),
        );
        block[156] = entry.kind;
        block[257..265].copy_from_slice(b"ustar\x0000");
        octal(&mut block[329..337], u64::from(entry.device.0));
        octal(&mut block[337..345], u64::from(entry.device.1));
        block[148..156].fill(b' ');
        let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
        octal(&mut block[148..155], sum);
        self.data(&block)
    }

    pub(crate) fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.written += bytes.len() as u64;
        self.out.write_all(bytes)
    }

    /// Fills up the last block after `size` bytes of data.
    pub(crate) fn pad(&mut self, size: u64) -> io::Result<()> {
        let over = usize::try_from(size % BLOCK as u64).expect("less than a block");
        if over > 0 {
            self.data(&[0; BLOCK][over..])?;
        }
        Ok(())
    }

    /// Writes what is buffered.
    pub(crate) fn flush(mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// Writes the end of the archive and everything that is buffered.
    pub(crate) fn finish(mut self) -> io::Result<u64> {
        self.data(&[0; 2 * BLOCK])?;
        self.out.flush()?;
        Ok(self.written)
    }
}

fn fits(value: u64, digits: u32) -> bool {
    value >> (3 * digits) == 0
}

/// Octal digits and a zero byte; nothing for what does not fit.
fn octal(field: &mut [u8], value: u64) {
    let digits = field.len() - 1;
    if !fits(value, u32::try_from(digits).expect("fields are short")) {
        return octal(field, 0);
    }
    let text = format!("{value:0digits$o}");
    field[..digits].copy_from_slice(text.as_bytes());
    field[digits] = 0;
}
