//! Commands of a stream, from bytes that may be anything.
//!
//! A stream is a head, then commands: length, kind and checksum, then attributes, each with kind, length and bytes; numbers
//! are little end first. The checksum is CRC-32C without the usual inversions, over the command with zeros in its place.
//!
//! Guarantees: no more is kept in memory than the longest command and what was fed with its last bytes; every path is sound,
//! and is the root only where that makes sense; offsets and sizes are those that files can have.

use rustix::fs::Timespec;

use crate::entry::Node;
use crate::error::TransferError;
use crate::path::RelPath;

const MAGIC: &[u8; 13] = b"btrfs-stream\0";
const VERSION: u32 = 1;
const STREAM_HEAD: usize = MAGIC.len() + 4;
const HEAD: usize = 10;
/// Bytes of a command's attributes at most, in version 1.
const LONGEST: usize = 64 << 10;

/// Names a subvolume.
pub(crate) type Identity = [u8; 16];

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command<'b> {
    /// First of all: what the stream makes, and of what; `None`: of nothing.
    Begin {
        identity: Identity,
        parent: Option<Identity>,
    },
    /// A file is empty.
    Make {
        path: RelPath,
        node: Node,
    },
    Rename {
        from: RelPath,
        to: RelPath,
    },
    /// One more name of what `first` is.
    Link {
        first: RelPath,
        path: RelPath,
    },
    Unlink(RelPath),
    RemoveDirectory(RelPath),
    SetAttribute {
        path: RelPath,
        name: &'b [u8],
        value: &'b [u8],
    },
    RemoveAttribute {
        path: RelPath,
        name: &'b [u8],
    },
    Write {
        path: RelPath,
        offset: u64,
        bytes: &'b [u8],
    },
    /// Data that another place of a tree has, too.
    Share {
        path: RelPath,
        offset: u64,
        length: u64,
        whose: Identity,
        from: RelPath,
        from_offset: u64,
    },
    Truncate {
        path: RelPath,
        size: u64,
    },
    Mode {
        path: RelPath,
        mode: u32,
    },
    Owner {
        path: RelPath,
        uid: u32,
        gid: u32,
    },
    Times {
        path: RelPath,
        accessed: Timespec,
        modified: Timespec,
    },
    End,
}

fn nonsense<T>(what: &'static str) -> Result<T, TransferError> {
    Err(TransferError::Nonsense(what))
}

/// Bytes that become commands.
#[derive(Debug, Default)]
pub(crate) struct Commands {
    buffer: Vec<u8>,
    /// Up to here it has been read.
    taken: usize,
    begun: bool,
}

impl Commands {
    /// More of the stream. [`Commands::next`] must have said that it needs that.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.taken);
        self.taken = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// Whether nothing was fed that no command has used.
    pub(crate) fn is_used_up(&self) -> bool {
        self.taken == self.buffer.len()
    }

    /// The next command; `None` when more bytes are needed for it.
    ///
    /// # Errors
    /// [`TransferError::Nonsense`], [`TransferError::Unsound`].
    pub(crate) fn next(&mut self) -> Result<Option<Command<'_>>, TransferError> {
        if !self.begun {
            let Some(head) = self.buffer.get(..STREAM_HEAD) else {
                return Ok(None);
            };
            let (magic, version) = head.split_at(MAGIC.len());
            if magic != MAGIC || version != VERSION.to_le_bytes() {
                return nonsense("a stream of no known kind");
            }
            self.begun = true;
            self.taken = STREAM_HEAD;
        }
        let Some((head, rest)) = self.buffer[self.taken..].split_at_checked(HEAD) else {
            return Ok(None);
        };
        let length = usize::try_from(u32_of(&head[..4])).unwrap_or(usize::MAX);
        if length > LONGEST {
            return nonsense("a command that is too long");
        }
        let Some(body) = rest.get(..length) else {
            return Ok(None);
        };
        if u32_of(&head[6..]) != checksum(&head[..6], body) {
            return nonsense("a command with a wrong checksum");
        }
        self.taken += HEAD + length;
        let kind = u16::from_le_bytes([head[4], head[5]]);
        Attributes::parse(body)?.command(kind).map(Some)
    }
}

/// Of a command with zeros for its checksum; the stream's has none of the inversions that others have.
fn checksum(head: &[u8], body: &[u8]) -> u32 {
    let sum = [head, &[0; 4], body]
        .iter()
        .fold(!0, |sum, part| crc32c::crc32c_append(sum, part));
    !sum
}

fn u32_of(bytes: &[u8]) -> u32 {
    u32::from_le_bytes(bytes.try_into().expect("four bytes were cut out"))
}

/// Kinds of attributes, by the numbers that the format gives them.
#[derive(Clone, Copy)]
enum Kind {
    Uuid = 1,
    Size = 4,
    Mode = 5,
    Uid = 6,
    Gid = 7,
    Rdev = 8,
    Mtime = 10,
    Atime = 11,
    AttributeName = 13,
    AttributeData = 14,
    Path = 15,
    PathTo = 16,
    PathLink = 17,
    Offset = 18,
    Data = 19,
    CloneUuid = 20,
    ClonePath = 22,
    CloneOffset = 23,
    CloneLength = 24,
}

/// How many kinds version 1 has, with 0, which is none.
const KINDS: usize = 25;

/// The attributes of one command, by kind.
struct Attributes<'b>([Option<&'b [u8]>; KINDS]);

impl<'b> Attributes<'b> {
    fn parse(mut body: &'b [u8]) -> Result<Self, TransferError> {
        let mut found = [None; KINDS];
        while !body.is_empty() {
            let Some((&[a, b, c, d], rest)) = body.split_first_chunk() else {
                return nonsense("an attribute that ends early");
            };
            let length = usize::from(u16::from_le_bytes([c, d]));
            let Some((value, rest)) = rest.split_at_checked(length) else {
                return nonsense("an attribute that ends early");
            };
            let Some(place) = found.get_mut(usize::from(u16::from_le_bytes([a, b]))) else {
                return nonsense("an attribute of no known kind");
            };
            if place.replace(value).is_some() {
                return nonsense("an attribute that comes twice");
            }
            body = rest;
        }
        Ok(Self(found))
    }

    fn command(&self, kind: u16) -> Result<Command<'b>, TransferError> {
        Ok(match kind {
            1 => Command::Begin {
                identity: self.array(Kind::Uuid)?,
                parent: None,
            },
            2 => Command::Begin {
                identity: self.array(Kind::Uuid)?,
                parent: Some(self.array(Kind::CloneUuid)?),
            },
            3 => self.make(Node::File { size: 0 })?,
            4 => self.make(Node::Directory)?,
            5 => self.make(self.device()?)?,
            6 => self.make(Node::Fifo)?,
            7 => self.make(Node::Socket)?,
            8 => self.make(Node::Symlink(self.target()?))?,
            9 => Command::Rename {
                from: self.entry(Kind::Path)?,
                to: self.entry(Kind::PathTo)?,
            },
            10 => Command::Link {
                first: self.entry(Kind::PathLink)?,
                path: self.entry(Kind::Path)?,
            },
            11 => Command::Unlink(self.entry(Kind::Path)?),
            12 => Command::RemoveDirectory(self.entry(Kind::Path)?),
            13 => Command::SetAttribute {
                path: self.path(Kind::Path)?,
                name: self.name()?,
                value: self.bytes(Kind::AttributeData)?,
            },
            14 => Command::RemoveAttribute {
                path: self.path(Kind::Path)?,
                name: self.name()?,
            },
            15 => self.write()?,
            16 => self.share()?,
            17 => Command::Truncate {
                path: self.entry(Kind::Path)?,
                size: self.position(Kind::Size)?,
            },
            18 => Command::Mode {
                path: self.path(Kind::Path)?,
                mode: self.mode()?,
            },
            19 => Command::Owner {
                path: self.path(Kind::Path)?,
                uid: self.owner(Kind::Uid)?,
                gid: self.owner(Kind::Gid)?,
            },
            20 => Command::Times {
                path: self.path(Kind::Path)?,
                accessed: self.time(Kind::Atime)?,
                modified: self.time(Kind::Mtime)?,
            },
            21 => Command::End,
            _ => return nonsense("a command of no known kind"),
        })
    }

    fn make(&self, node: Node) -> Result<Command<'b>, TransferError> {
        Ok(Command::Make {
            path: self.entry(Kind::Path)?,
            node,
        })
    }

    fn write(&self) -> Result<Command<'b>, TransferError> {
        let bytes = self.bytes(Kind::Data)?;
        let offset = self.position(Kind::Offset)?;
        within(offset, bytes.len() as u64)?;
        Ok(Command::Write {
            path: self.entry(Kind::Path)?,
            offset,
            bytes,
        })
    }

    fn share(&self) -> Result<Command<'b>, TransferError> {
        let length = self.position(Kind::CloneLength)?;
        let offset = self.position(Kind::Offset)?;
        let from_offset = self.position(Kind::CloneOffset)?;
        within(offset, length)?;
        within(from_offset, length)?;
        Ok(Command::Share {
            path: self.entry(Kind::Path)?,
            offset,
            length,
            whose: self.array(Kind::CloneUuid)?,
            from: self.entry(Kind::ClonePath)?,
            from_offset,
        })
    }

    fn bytes(&self, kind: Kind) -> Result<&'b [u8], TransferError> {
        match self.0[kind as usize] {
            Some(bytes) => Ok(bytes),
            None => nonsense("a command without what it needs"),
        }
    }

    fn array<const N: usize>(&self, kind: Kind) -> Result<[u8; N], TransferError> {
        match self.bytes(kind)?.try_into() {
            Ok(bytes) => Ok(bytes),
            Err(_) => nonsense("an attribute of a wrong length"),
        }
    }

    fn number(&self, kind: Kind) -> Result<u64, TransferError> {
        Ok(u64::from_le_bytes(self.array(kind)?))
    }

    /// A place in a file, or its size.
    fn position(&self, kind: Kind) -> Result<u64, TransferError> {
        let number = self.number(kind)?;
        within(number, 0)?;
        Ok(number)
    }

    fn owner(&self, kind: Kind) -> Result<u32, TransferError> {
        match u32::try_from(self.number(kind)?) {
            // The last one says "as it is" to the kernel.
            Ok(id) if id != u32::MAX => Ok(id),
            _ => nonsense("an owner that cannot be"),
        }
    }

    fn mode(&self) -> Result<u32, TransferError> {
        match u32::try_from(self.number(Kind::Mode)?) {
            Ok(mode) if mode <= 0o7777 => Ok(mode),
            _ => nonsense("a mode that cannot be"),
        }
    }

    fn time(&self, kind: Kind) -> Result<Timespec, TransferError> {
        let [seconds @ .., a, b, c, d] = self.array::<12>(kind)?;
        let nanoseconds = u32::from_le_bytes([a, b, c, d]);
        if nanoseconds >= 1_000_000_000 {
            return nonsense("a time that cannot be");
        }
        Ok(Timespec {
            tv_sec: i64::from_le_bytes(seconds),
            tv_nsec: nanoseconds.into(),
        })
    }

    /// The name of an extended attribute.
    fn name(&self) -> Result<&'b [u8], TransferError> {
        let name = self.bytes(Kind::AttributeName)?;
        if name.is_empty() || name.len() > 255 || name.contains(&0) {
            return nonsense("a name that cannot be");
        }
        Ok(name)
    }

    fn target(&self) -> Result<Vec<u8>, TransferError> {
        let target = self.bytes(Kind::PathLink)?;
        if target.is_empty() || target.len() >= 4096 || target.contains(&0) {
            return nonsense("a link that cannot be");
        }
        Ok(target.to_vec())
    }

    fn device(&self) -> Result<Node, TransferError> {
        const TYPE: u64 = 0o170_000;
        let Ok(number) = u32::try_from(self.number(Kind::Rdev)?) else {
            return nonsense("a device that cannot be");
        };
        // As the kernel writes it: twelve bits of the major number amid twenty of the minor one.
        let major = (number & 0x000F_FF00) >> 8;
        let minor = (number & 0xFF) | ((number >> 12) & 0x000F_FF00);
        match self.number(Kind::Mode)? & TYPE {
            0o020_000 => Ok(Node::Character { major, minor }),
            0o060_000 => Ok(Node::Block { major, minor }),
            _ => nonsense("a device that cannot be"),
        }
    }

    /// The root, too.
    fn path(&self, kind: Kind) -> Result<RelPath, TransferError> {
        let path = RelPath::from_bytes(self.bytes(kind)?);
        if path.is_sound() {
            Ok(path)
        } else {
            Err(TransferError::Unsound(path))
        }
    }

    fn entry(&self, kind: Kind) -> Result<RelPath, TransferError> {
        let path = self.path(kind)?;
        if path.is_root() {
            return Err(TransferError::Unsound(path));
        }
        Ok(path)
    }
}

/// Whether a file can have so many bytes there.
fn within(offset: u64, length: u64) -> Result<(), TransferError> {
    match offset.checked_add(length).map(i64::try_from) {
        Some(Ok(_)) => Ok(()),
        _ => nonsense("a place that no file has"),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) const PATH: u16 = Kind::Path as u16;
    pub(crate) const TO: u16 = Kind::PathTo as u16;
    pub(crate) const LINK: u16 = Kind::PathLink as u16;
    pub(crate) const UUID: u16 = Kind::Uuid as u16;
    pub(crate) const SIZE: u16 = Kind::Size as u16;
    pub(crate) const OFFSET: u16 = Kind::Offset as u16;
    pub(crate) const DATA: u16 = Kind::Data as u16;
    pub(crate) const MODE: u16 = Kind::Mode as u16;

    pub(crate) fn head() -> Vec<u8> {
        [MAGIC.as_slice(), &VERSION.to_le_bytes()].concat()
    }

    /// A command as the kernel writes it.
    pub(crate) fn command(kind: u16, attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = Vec::new();
        for (kind, value) in attributes {
            body.extend(kind.to_le_bytes());
            body.extend(u16::try_from(value.len()).expect("short").to_le_bytes());
            body.extend(*value);
        }
        let mut bytes = u32::try_from(body.len())
            .expect("short")
            .to_le_bytes()
            .to_vec();
        bytes.extend(kind.to_le_bytes());
        let sum = checksum(&bytes, &body);
        bytes.extend(sum.to_le_bytes());
        bytes.extend(body);
        bytes
    }

    fn first(bytes: &[u8]) -> Result<Option<String>, TransferError> {
        let mut commands = Commands::default();
        commands.feed(&head());
        commands.feed(bytes);
        Ok(commands.next()?.map(|command| format!("{command:?}")))
    }

    #[test]
    fn commands_are_those_of_a_kernel() {
        // The beginning and the end of what Linux 6.18 wrote of a subvolume `r`.
        let written = [
            "62747266732d73747265616d0001000000",
            "250000000100cb5970e20f0001007201001000f0682e6bcf93c94d8faff158ad2e812d020008000700000000000000",
            "000000001500506cc99d",
        ]
        .concat();
        let written = written
            .as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).expect("hex"), 16))
            .collect::<Result<Vec<u8>, _>>()
            .expect("hex");
        let mut commands = Commands::default();
        commands.feed(&written);
        let begin = commands.next().expect("it makes sense");
        assert!(
            matches!(
                begin,
                Some(Command::Begin {
                    identity: [0xf0, 0x68, .., 0x2d],
                    parent: None
                })
            ),
            "{begin:?}"
        );
        let end = commands.next().expect("it makes sense");
        assert_eq!(end, Some(Command::End));
        assert!(commands.is_used_up());
    }

    #[test]
    fn commands_come_in_any_portions() {
        let mut stream = head();
        stream.extend(command(1, &[(PATH, b"name"), (UUID, &[7; 16])]));
        stream.extend(command(3, &[(PATH, b"o257-7-0")]));
        stream.extend(command(9, &[(PATH, b"o257-7-0"), (TO, b"d/file")]));
        let bytes = vec![5; 48 << 10];
        stream.extend(command(
            15,
            &[
                (PATH, b"d/file"),
                (OFFSET, &9_u64.to_le_bytes()),
                (DATA, &bytes),
            ],
        ));
        stream.extend(command(21, &[]));
        let path = |text: &str| RelPath::from_bytes(text);
        for portion in [1, 7, 4096, stream.len()] {
            let mut commands = Commands::default();
            let mut seen = 0;
            for some in stream.chunks(portion) {
                commands.feed(some);
                while let Some(command) = commands.next().expect("it makes sense") {
                    let wanted = match seen {
                        0 => Command::Begin {
                            identity: [7; 16],
                            parent: None,
                        },
                        1 => Command::Make {
                            path: path("o257-7-0"),
                            node: Node::File { size: 0 },
                        },
                        2 => Command::Rename {
                            from: path("o257-7-0"),
                            to: path("d/file"),
                        },
                        3 => Command::Write {
                            path: path("d/file"),
                            offset: 9,
                            bytes: &bytes,
                        },
                        _ => Command::End,
                    };
                    assert_eq!(command, wanted);
                    seen += 1;
                }
            }
            assert_eq!(seen, 5, "{portion}");
            assert!(commands.is_used_up());
        }
    }

    #[test]
    fn a_device_has_the_numbers_of_the_kernel() {
        // 259:70000
        let number = 0x103_u64 << 8 | (70_000 & 0xFF) | (70_000 & !0xFF) << 12;
        let made = first(&command(
            5,
            &[
                (PATH, b"x"),
                (Kind::Rdev as u16, &number.to_le_bytes()),
                (MODE, &0o060_644_u64.to_le_bytes()),
            ],
        ));
        assert!(
            made.expect("it makes sense")
                .expect("it is complete")
                .contains("Block { major: 259, minor: 70000 }")
        );
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let most = u64::MAX.to_le_bytes();
        let wrong_sum = {
            let mut bytes = command(3, &[(PATH, b"x")]);
            bytes[7] ^= 1;
            bytes
        };
        let cut = {
            let mut bytes = command(3, &[(PATH, b"xyz")]);
            // The attribute claims more than its command has.
            bytes[12] = 200;
            let sum = checksum(&bytes[..6], &bytes[10..]);
            bytes[6..10].copy_from_slice(&sum.to_le_bytes());
            bytes
        };
        let huge = [&u32::MAX.to_le_bytes()[..], &[3, 0], &[0; 4]].concat();
        for (what, bytes) in [
            ("wrong checksum", wrong_sum),
            ("ends early", cut),
            ("too long", huge),
            ("no known kind", command(25, &[(PATH, b"an encoded write")])),
            ("no known kind", command(3, &[(25, b"x")])),
            ("twice", command(3, &[(PATH, b"x"), (PATH, b"y")])),
            ("without what it needs", command(9, &[(PATH, b"x")])),
            ("wrong length", command(1, &[(UUID, &[7; 15])])),
            ("no file has", command(17, &[(PATH, b"x"), (SIZE, &most)])),
            (
                "no file has",
                command(
                    15,
                    &[
                        (PATH, b"x"),
                        (OFFSET, &i64::MAX.to_le_bytes()),
                        (DATA, b"!"),
                    ],
                ),
            ),
            ("a mode", command(18, &[(PATH, b"x"), (MODE, &most)])),
            ("cannot be in a volume", command(3, &[(PATH, b"../x")])),
            ("cannot be in a volume", command(3, &[(PATH, b"/x")])),
            ("cannot be in a volume", command(3, &[(PATH, b"a/../../x")])),
            ("cannot be in a volume", command(3, &[(PATH, b"x\0y")])),
            ("cannot be in a volume", command(3, &[(PATH, b"")])),
            ("cannot be in a volume", command(12, &[(PATH, b"")])),
            (
                "cannot be in a volume",
                command(9, &[(PATH, b"x"), (TO, b"..")]),
            ),
            (
                "cannot be in a volume",
                command(10, &[(PATH, b"x"), (LINK, b"../x")]),
            ),
        ] {
            let error = first(&bytes).expect_err(what).to_string();
            assert!(error.contains(what), "{what}: {error}");
        }
        let mut commands = Commands::default();
        commands.feed(b"btrfs-stream\0\x02\0\0\0");
        commands.next().expect_err("another version");
    }
}
