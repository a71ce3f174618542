//! Reads the members of a tar stream: v7, ustar, GNU and PAX, with long names and all kinds of sparse files.
//!
//! Nothing a header claims is allocated before it has really been read, and everything that is collected in memory is
//! bounded.

use std::ffi::OsString;
use std::io::{self, Read};

use sys::dir::Time;

use crate::extended;
use crate::header::{BLOCK, Header, number, text};
use crate::pax;
use crate::sparse::{self, MOST_PIECES, Piece};

/// Bounds extended headers and long names of one member.
const MOST_EXTENSION: u64 = 1 << 20;

/// Why an archive cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("cannot read the archive")]
    Io { source: io::Error },
    #[error("the archive ends too early")]
    Truncated,
    #[error("invalid archive, {what} in the header before byte {offset}")]
    Invalid { what: &'static str, offset: u64 },
    #[error("the archive has a member of unknown type {kind:?}")]
    UnknownKind { kind: char },
}

/// What a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    HardLink,
    Symlink,
    Character,
    Block,
    Directory,
    Fifo,
}

/// One member. Names are as they stand in the archive.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) kind: Kind,
    pub(crate) name: Vec<u8>,
    pub(crate) link: Vec<u8>,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Length of the file, holes included.
    pub(crate) size: u64,
    pub(crate) mtime: Time,
    pub(crate) atime: Option<Time>,
    pub(crate) device: (u32, u32),
    pub(crate) attributes: Vec<(OsString, Vec<u8>)>,
    /// For files with holes: what the data that follows is.
    pub(crate) pieces: Option<Vec<Piece>>,
}

/// The members of a stream, one after the other.
pub(crate) struct Members<R> {
    stream: R,
    offset: u64,
    /// Data of the current member that was not read yet, and what fills up its last block.
    data: u64,
    padding: u64,
}

/// What came before a header and belongs to it.
#[derive(Default)]
struct Before {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    records: Vec<(Vec<u8>, Vec<u8>)>,
}

impl<R: Read> Members<R> {
    pub(crate) fn new(stream: R) -> Self {
        Self {
            stream,
            offset: 0,
            data: 0,
            padding: 0,
        }
    }

    /// The next member, after skipping what is left of the one before. `None` at the end of the archive; the stream may
    /// go on after it.
    pub(crate) fn next(&mut self) -> Result<Option<Member>, ReadError> {
        let mut before = Before::default();
        let mut expected = false;
        let mut budget = MOST_EXTENSION;
        loop {
            self.skip_data()?;
            let Some(header) = self.header()? else {
                return if expected {
                    Err(ReadError::Truncated)
                } else {
                    Ok(None)
                };
            };
            if header.is_zero() {
                return if expected {
                    Err(self.invalid("a missing member"))
                } else {
                    Ok(None)
                };
            }
            if !header.has_checksum() {
                return Err(self.invalid("a wrong checksum"));
            }
            let size = header
                .size()
                .and_then(|size| u64::try_from(size).ok())
                .ok_or_else(|| self.invalid("a wrong size"))?;
            self.expect_data(size);
            match header.kind() {
                b'x' | b'X' => {
                    let records = self.collect(&mut budget)?;
                    let records =
                        pax::parse(&records).ok_or_else(|| self.invalid("a malformed record"))?;
                    before.records.extend(
                        records
                            .into_iter()
                            .map(|(key, value)| (key.to_vec(), value.to_vec())),
                    );
                    expected = true;
                }
                b'L' => {
                    before.name = Some(text(&self.collect(&mut budget)?).to_vec());
                    expected = true;
                }
                b'K' => {
                    before.link = Some(text(&self.collect(&mut budget)?).to_vec());
                    expected = true;
                }
                // Defaults for all that follows, which nobody needs; labels of tapes.
                b'g' | b'V' => {}
                _ => return self.member(&header, before).map(Some),
            }
        }
    }

    /// Data of the current member; 0 at its end.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ReadError> {
        let length = usize::try_from(self.data)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        if length == 0 {
            return Ok(0);
        }
        match self.some(&mut buffer[..length])? {
            0 => Err(ReadError::Truncated),
            length => {
                self.data -= length as u64;
                Ok(length)
            }
        }
    }

    fn some(&mut self, buffer: &mut [u8]) -> Result<usize, ReadError> {
        loop {
            match self.stream.read(buffer) {
                Ok(length) => {
                    self.offset += length as u64;
                    return Ok(length);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Err(ReadError::Truncated);
                }
                Err(source) => return Err(ReadError::Io { source }),
            }
        }
    }

    fn invalid(&self, what: &'static str) -> ReadError {
        ReadError::Invalid {
            what,
            offset: self.offset,
        }
    }

    fn expect_data(&mut self, size: u64) {
        self.data = size;
        let block = BLOCK as u64;
        self.padding = (block - size % block) % block;
    }

    fn skip_data(&mut self) -> Result<(), ReadError> {
        let mut buffer = [0; 16 * BLOCK];
        while self.data > 0 {
            self.read(&mut buffer)?;
        }
        let mut padding = std::mem::take(&mut self.padding);
        while padding > 0 {
            let most = usize::try_from(padding).unwrap_or(BLOCK).min(BLOCK);
            match self.some(&mut buffer[..most])? {
                // Docker's client leaves out what fills the last block up, with the end of the archive.
                0 => break,
                length => padding -= length as u64,
            }
        }
        Ok(())
    }

    /// `None` when the stream ends before the block.
    fn header(&mut self) -> Result<Option<Header>, ReadError> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            match self.some(&mut block[filled..])? {
                0 if filled == 0 => return Ok(None),
                0 => return Err(ReadError::Truncated),
                length => filled += length,
            }
        }
        Ok(Some(Header(block)))
    }

    /// All data of the current member, which must be within the budget.
    fn collect(&mut self, budget: &mut u64) -> Result<Vec<u8>, ReadError> {
        *budget = budget
            .checked_sub(self.data)
            .ok_or_else(|| self.invalid("an oversized extension"))?;
        let mut all = Vec::new();
        let mut buffer = [0; 16 * BLOCK];
        loop {
            match self.read(&mut buffer)? {
                0 => return Ok(all),
                length => all.extend_from_slice(&buffer[..length]),
            }
        }
    }

    fn member(&mut self, header: &Header, before: Before) -> Result<Member, ReadError> {
        let mut name = before.name.unwrap_or_else(|| header.name());
        let mut link = before.link.unwrap_or_else(|| header.link().to_vec());
        let id = |field: Option<i64>| field.and_then(|id| u32::try_from(id).ok());
        let mut uid = id(header.uid());
        let mut gid = id(header.gid());
        let mut mtime = header.mtime().map(|seconds| Time {
            seconds,
            nanoseconds: 0,
        });
        let mut atime = None;
        let mut attributes: Vec<(OsString, Vec<u8>)> = Vec::new();
        let mut map = PaxSparse::default();
        for (key, value) in &before.records {
            match key.as_slice() {
                // An empty value takes a record back.
                b"path" if !value.is_empty() => name.clone_from(value),
                b"linkpath" if !value.is_empty() => link.clone_from(value),
                b"size" => {
                    let size = pax::decimal(value).ok_or_else(|| self.invalid("a wrong size"))?;
                    self.expect_data(size);
                }
                b"uid" => uid = pax::decimal(value).and_then(|id| u32::try_from(id).ok()),
                b"gid" => gid = pax::decimal(value).and_then(|id| u32::try_from(id).ok()),
                b"mtime" => mtime = pax::time(value),
                b"atime" => atime = pax::time(value),
                _ if key.starts_with(b"GNU.sparse.") => {
                    map.record(&key[11..], value)
                        .ok_or_else(|| self.invalid("a wrong hole"))?;
                }
                _ => {
                    if let Some((name, value)) = extended::from_record(key, value) {
                        attributes.retain(|(known, _)| *known != name);
                        attributes.push((name, value));
                    }
                }
            }
        }
        if let Some(real) = map.name.take() {
            name = real;
        }
        let kind = match header.kind() {
            // Before there was a type for directories.
            b'0' | 0 if name.ends_with(b"/") => Kind::Directory,
            b'0' | 0 | b'7' | b'S' => Kind::File,
            b'1' => Kind::HardLink,
            b'2' => Kind::Symlink,
            b'3' => Kind::Character,
            b'4' => Kind::Block,
            b'5' | b'D' => Kind::Directory,
            b'6' => Kind::Fifo,
            kind => {
                return Err(ReadError::UnknownKind {
                    kind: char::from(kind),
                });
            }
        };
        // Some writers put a length there for members that have no data.
        if kind != Kind::File && header.kind() != b'D' {
            self.expect_data(0);
        }
        let mut size = self.data;
        let mut pieces = None;
        if header.kind() == b'S' {
            (pieces, size) = self.old_gnu(header)?;
        } else if kind == Kind::File && map.is_used {
            (pieces, size) = self.pax_sparse(map)?;
        }
        if pieces
            .as_ref()
            .is_some_and(|pieces| !sparse::is_sound(pieces, size, self.data))
        {
            return Err(self.invalid("wrong holes"));
        }
        let device = match kind {
            Kind::Character | Kind::Block => header
                .device()
                .and_then(|(major, minor)| Some((major.try_into().ok()?, minor.try_into().ok()?)))
                .ok_or_else(|| self.invalid("a wrong device number"))?,
            _ => (0, 0),
        };
        let mode = header
            .mode()
            .and_then(|mode| u32::try_from(mode & 0o7777).ok())
            .ok_or_else(|| self.invalid("a wrong mode"))?;
        // The kernel takes all ones for "leave as it is".
        let owner = |id: Option<u32>| id.filter(|id| *id != u32::MAX);
        Ok(Member {
            kind,
            name,
            link,
            mode,
            uid: owner(uid).ok_or_else(|| self.invalid("a wrong owner"))?,
            gid: owner(gid).ok_or_else(|| self.invalid("a wrong group"))?,
            size,
            mtime: mtime.ok_or_else(|| self.invalid("a wrong time"))?,
            atime,
            device,
            attributes,
            pieces,
        })
    }

    /// The first rows are in the header, more of them in blocks that the size does not count.
    fn old_gnu(&mut self, header: &Header) -> Result<(Option<Vec<Piece>>, u64), ReadError> {
        let wrong = |reader: &Self| reader.invalid("a wrong hole");
        let mut pieces = Vec::new();
        sparse::old_gnu_rows(&header.0[386..482], &mut pieces).ok_or_else(|| wrong(self))?;
        let size = number(&header.0[483..495])
            .and_then(|size| u64::try_from(size).ok())
            .ok_or_else(|| wrong(self))?;
        let mut goes_on = header.0[482] != 0;
        while goes_on {
            let Header(block) = self.header()?.ok_or(ReadError::Truncated)?;
            sparse::old_gnu_rows(&block[..504], &mut pieces).ok_or_else(|| wrong(self))?;
            if pieces.len() > MOST_PIECES {
                return Err(wrong(self));
            }
            goes_on = block[504] != 0;
        }
        Ok((Some(pieces), size))
    }

    fn pax_sparse(&mut self, map: PaxSparse) -> Result<(Option<Vec<Piece>>, u64), ReadError> {
        let wrong = |reader: &Self| reader.invalid("a wrong hole");
        let size = map.size.ok_or_else(|| wrong(self))?;
        if map.major != 1 {
            if map.offset.is_some() {
                return Err(wrong(self));
            }
            return Ok((Some(map.pieces), size));
        }
        let count = usize::try_from(self.map_number()?).map_err(|_| wrong(self))?;
        if count > MOST_PIECES {
            return Err(wrong(self));
        }
        let mut pieces = Vec::new();
        for _ in 0..count {
            pieces.push(Piece {
                offset: self.map_number()?,
                length: self.map_number()?,
            });
        }
        // The map fills whole blocks; data ends with a block, too, so what is left of this one is what is left over.
        let mut rest = [0; BLOCK];
        let over = (self.data % BLOCK as u64 + self.padding) % BLOCK as u64;
        let over = usize::try_from(over).expect("less than a block");
        let mut filled = 0;
        while filled < over {
            match self.read(&mut rest[filled..over])? {
                0 => return Err(wrong(self)),
                length => filled += length,
            }
        }
        Ok((Some(pieces), size))
    }

    /// A number of the map that stands before the data.
    fn map_number(&mut self) -> Result<u64, ReadError> {
        let mut digits = Vec::new();
        let mut byte = [0];
        while self.read(&mut byte)? == 1 && byte[0] != b'\n' && digits.len() < 20 {
            digits.push(byte[0]);
        }
        pax::decimal(&digits).ok_or_else(|| self.invalid("a wrong hole"))
    }
}

/// What the records `GNU.sparse.*` say, in the formats 0.0, 0.1 and 1.0.
#[derive(Default)]
struct PaxSparse {
    is_used: bool,
    name: Option<Vec<u8>>,
    size: Option<u64>,
    major: u64,
    /// Of a piece whose length is still to come.
    offset: Option<u64>,
    pieces: Vec<Piece>,
}

impl PaxSparse {
    /// `None` for a malformed record.
    fn record(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        self.is_used = true;
        match key {
            b"name" => self.name = Some(value.to_vec()),
            b"size" | b"realsize" => self.size = Some(pax::decimal(value)?),
            b"major" => self.major = pax::decimal(value)?,
            b"map" => self.pieces = sparse::from_list(value)?,
            // Two in a row: one of them has no length.
            b"offset" if self.offset.is_some() => return None,
            b"offset" => self.offset = Some(pax::decimal(value)?),
            b"numbytes" => {
                let piece = Piece {
                    offset: self.offset.take()?,
                    length: pax::decimal(value)?,
                };
                self.pieces.push(piece);
            }
            _ => {}
        }
        Some(())
    }
}
