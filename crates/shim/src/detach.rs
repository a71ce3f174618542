//! Finds the detach keys in what a client types.
//!
//! Bytes that may be the beginning of the keys are held back until the next byte decides, so that the container never
//! sees a part of a complete sequence, and loses nothing of an incomplete one.

/// Finder for one client.
#[derive(Debug, Default)]
pub(crate) struct DetachKeys {
    keys: Vec<u8>,
    matched: usize,
}

impl DetachKeys {
    /// Without keys nothing is ever found.
    pub(crate) fn new(keys: Option<Vec<u8>>) -> Self {
        Self {
            keys: keys.unwrap_or_default(),
            matched: 0,
        }
    }

    /// Appends to `out` what the container shall see of `input`. True when the keys were found: what follows them is
    /// dropped.
    pub(crate) fn feed(&mut self, input: &[u8], out: &mut Vec<u8>) -> bool {
        if self.keys.is_empty() {
            out.extend_from_slice(input);
            return false;
        }
        for &byte in input {
            loop {
                if byte == self.keys[self.matched] {
                    self.matched += 1;
                    break;
                }
                if self.matched == 0 {
                    out.push(byte);
                    break;
                }
                let shorter = self.shorter();
                out.extend_from_slice(&self.keys[..self.matched - shorter]);
                self.matched = shorter;
            }
            if self.matched == self.keys.len() {
                self.matched = 0;
                return true;
            }
        }
        false
    }

    /// The client's input has ended: gives out what was held back.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.keys[..self.matched]);
        self.matched = 0;
    }

    /// Length of the longest beginning of the keys that the matched part ends with, itself excluded.
    fn shorter(&self) -> usize {
        let matched = &self.keys[..self.matched];
        (0..self.matched)
            .rev()
            .find(|&n| matched.ends_with(&self.keys[..n]))
            .unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn found_in_any_portions() {
        // (keys, input, what the container sees, found)
        type Case = (&'static [u8], &'static [u8], &'static [u8], bool);
        let cases: [Case; 10] = [
            (b"\x10\x11", b"ls\n", b"ls\n", false),
            (b"\x10\x11", b"ls\x10\x11rest", b"ls", true),
            (b"\x10\x11", b"\x10x\x11", b"\x10x\x11", false),
            (b"\x10\x11", b"\x10\x10\x11", b"\x10", true),
            (b"\x10\x11", b"end\x10", b"end\x10", false),
            (b"aab", b"aaab", b"a", true),
            (b"abab", b"abaabab", b"aba", true),
            (b"q", b"xyq", b"xy", true),
            (b"", b"\x10\x11", b"\x10\x11", false),
            (b"aaa", b"aabaa", b"aabaa", false),
        ];
        for (keys, input, seen, found) in cases {
            for size in 1..=input.len() {
                let mut finder = DetachKeys::new(Some(keys.to_vec()));
                let mut out = Vec::new();
                let result = input
                    .chunks(size)
                    .any(|portion| finder.feed(portion, &mut out));
                if !result {
                    finder.finish(&mut out);
                }
                assert_eq!(
                    (out.as_slice(), result),
                    (seen, found),
                    "{keys:?} in {input:?} by {size}"
                );
            }
        }
    }
}
