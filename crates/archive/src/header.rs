//! The 512-byte header of a tar member: where its fields are, and how numbers stand in them.
//!
//! Own code, because the `tar` crate cannot read PAX 1.0 sparse members, rejects blank device fields, and reads long
//! names of any claimed length into memory.

pub(crate) const BLOCK: usize = 512;

/// One header as it is in the stream.
#[derive(Clone, Copy)]
pub(crate) struct Header(pub(crate) [u8; BLOCK]);

impl Header {
    pub(crate) fn is_zero(&self) -> bool {
        self.0.iter().all(|byte| *byte == 0)
    }

    /// Some old writers summed signed bytes.
    pub(crate) fn has_checksum(&self) -> bool {
        let Some(expected) = number(&self.0[148..156]) else {
            return false;
        };
        let bytes = self.0[..148].iter().chain(&[b' '; 8]).chain(&self.0[156..]);
        let unsigned: i64 = bytes.clone().map(|byte| i64::from(*byte)).sum();
        let signed: i64 = bytes.map(|byte| i64::from(byte.cast_signed())).sum();
        expected == unsigned || expected == signed
    }

    pub(crate) fn kind(&self) -> u8 {
        self.0[156]
    }

    /// The name, put together from both fields where the format has two.
    pub(crate) fn name(&self) -> Vec<u8> {
        let name = text(&self.0[..100]);
        // star keeps times behind a shorter prefix.
        let end = if &self.0[508..] == b"tar\0" { 476 } else { 500 };
        let prefix = text(&self.0[345..end]);
        // GNU tar has other fields at the prefix's place and says so with two spaces.
        if &self.0[257..263] != b"ustar\0" || prefix.is_empty() {
            return name.to_vec();
        }
        [prefix, b"/", name].concat()
    }

    pub(crate) fn link(&self) -> &[u8] {
        text(&self.0[157..257])
    }

    pub(crate) fn mode(&self) -> Option<i64> {
        number(&self.0[100..108])
    }

    pub(crate) fn uid(&self) -> Option<i64> {
        number(&self.0[108..116])
    }

    pub(crate) fn gid(&self) -> Option<i64> {
        number(&self.0[116..124])
    }

    pub(crate) fn size(&self) -> Option<i64> {
        number(&self.0[124..136])
    }

    pub(crate) fn mtime(&self) -> Option<i64> {
        number(&self.0[136..148])
    }

    /// Major and minor number; 0 where the format has no such fields.
    pub(crate) fn device(&self) -> Option<(i64, i64)> {
        if &self.0[257..262] != b"ustar" {
            return Some((0, 0));
        }
        Some((number(&self.0[329..337])?, number(&self.0[337..345])?))
    }
}

/// Up to the first zero byte.
pub(crate) fn text(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Octal digits with blanks around them, nothing for zero, or big-endian binary with the first bit set. `None` for
/// anything else, and for what is beyond 63 bits.
pub(crate) fn number(field: &[u8]) -> Option<i64> {
    let (first, rest) = field.split_first()?;
    if first & 0x80 != 0 {
        // The next bit is the sign.
        let mut value: i64 = i64::from(first & 0x3f) - i64::from(first & 0x40);
        for byte in rest {
            value = value.checked_mul(256)?.checked_add(i64::from(*byte))?;
        }
        return Some(value);
    }
    let digits = field.trim_ascii_start();
    let mut value: i64 = 0;
    for byte in digits {
        match byte {
            b'0'..=b'7' => value = value.checked_mul(8)?.checked_add(i64::from(byte - b'0'))?,
            0 | b' ' => break,
            _ => return None,
        }
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        for (field, expected) in [
            (&b"0000644\0"[..], Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"\0\0\0\0", Some(0)),
            (b"        ", Some(0)),
            (b"77777777", Some(0o77_777_777)),
            (b"12x", None),
            (b"8", None),
            (b"\x80\0\0\0\x01\0\0\0", Some(1 << 24)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff", Some(-1)),
            (
                b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff",
                Some(i64::MAX),
            ),
            (b"\x80\0\0\0\x80\0\0\0\0\0\0\0", None),
            (b"\xc0\0\0\0\0\0\0\0\0\0\0\0", None),
        ] {
            assert_eq!(number(field), expected, "{field:?}");
        }
    }
}
