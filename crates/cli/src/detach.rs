//! The keys that leave a container without ending it, recognised in what the user types.
//!
//! The engine acts on them; the client only needs to know, for otherwise it could not tell the end of its streams from
//! the end of the container.

/// What is typed when nobody says otherwise: ctrl-p ctrl-q.
const USUAL: &[u8] = &[0x10, 0x11];

/// A key sequence and how much of it has been typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DetachKeys {
    keys: Vec<u8>,
    typed: usize,
}

impl DetachKeys {
    /// `text` is docker's notation, `ctrl-x,x`. What the engine will refuse is taken for the usual keys.
    pub(crate) fn new(text: Option<&str>) -> Self {
        let keys = text
            .filter(|text| !text.is_empty())
            .and_then(|text| text.split(',').map(key).collect());
        Self {
            keys: keys.unwrap_or_else(|| USUAL.to_vec()),
            typed: 0,
        }
    }

    /// Whether the sequence is complete with `input`.
    pub(crate) fn typed(&mut self, input: &[u8]) -> bool {
        for &byte in input {
            if self.keys[self.typed] == byte {
                self.typed += 1;
            } else {
                self.typed = usize::from(self.keys[0] == byte);
            }
            if self.typed == self.keys.len() {
                self.typed = 0;
                return true;
            }
        }
        false
    }
}

/// One key: a character, or `ctrl-` and one of `a` to `z` `@` `[` `\` `]` `^` `_`.
fn key(text: &str) -> Option<u8> {
    match text.strip_prefix("ctrl-").map(str::as_bytes) {
        Some(&[letter @ b'a'..=b'z']) => Some(letter - b'a' + 1),
        Some(&[sign @ (b'@' | b'['..=b'_')]) => Some(sign - b'@'),
        Some(_) => None,
        None => <[u8; 1]>::try_from(text.as_bytes()).ok().map(|[byte]| byte),
    }
}

#[cfg(test)]
mod tests {
    use super::DetachKeys;

    #[test]
    fn sequences() {
        for (keys, typed, detaches) in [
            (None, "\x10\x11", true),
            (None, "a\x10\x10\x11", true),
            (None, "\x10a\x11", false),
            (Some("ctrl-x,x"), "abc\x18x", true),
            (Some("ctrl-x,x"), "\x10\x11", false),
            (Some("q"), "q", true),
            (Some("ctrl-@"), "\0", true),
            (Some("nonsense"), "\x10\x11", true),
        ] {
            assert_eq!(
                DetachKeys::new(keys).typed(typed.as_bytes()),
                detaches,
                "{keys:?} {typed:?}"
            );
        }
        let mut keys = DetachKeys::new(None);
        assert!(!keys.typed(b"\x10"));
        assert!(keys.typed(b"\x11"), "in two portions");
    }
}
