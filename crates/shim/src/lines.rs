//! Cuts output into the pieces that become log entries: lines, and portions of 16 KiB of lines that are longer.
//!
//! Entries do not depend on the portions in which the output arrives. A piece without newline at its end is continued
//! by the next piece of the same stream; all pieces of a line carry the time of its first.

use jiff::Timestamp;

/// Longest piece, as in Docker.
pub(crate) const LIMIT: usize = 16 * 1024;

/// Cuts one stream.
#[derive(Debug, Default)]
pub(crate) struct LineSplitter {
    held: Vec<u8>,
    /// When the line began of which a piece was already given out.
    began: Option<Timestamp>,
}

impl LineSplitter {
    /// Gives each piece that `bytes` completes to `sink`, newline included.
    pub(crate) fn feed(
        &mut self,
        mut bytes: &[u8],
        now: impl Fn() -> Timestamp,
        mut sink: impl FnMut(&[u8], Timestamp),
    ) {
        while !bytes.is_empty() {
            let room = LIMIT - self.held.len();
            let window = &bytes[..bytes.len().min(room)];
            let newline = window.iter().position(|byte| *byte == b'\n');
            // A newline just behind a full piece belongs to the next one.
            let take = newline.map_or(window.len(), |at| at + 1);
            let (piece, rest) = bytes.split_at(take);
            let complete = newline.is_some();
            bytes = rest;
            if !complete && take < room {
                self.held.extend_from_slice(piece);
                return;
            }
            let time = match (self.began, complete) {
                (Some(began), _) => began,
                (None, _) => now(),
            };
            self.began = (!complete).then_some(time);
            if self.held.is_empty() {
                sink(piece, time);
            } else {
                self.held.extend_from_slice(piece);
                sink(&self.held, time);
                self.held.clear();
            }
        }
    }

    /// The stream has ended: gives out what has no newline.
    pub(crate) fn finish(
        &mut self,
        now: impl Fn() -> Timestamp,
        mut sink: impl FnMut(&[u8], Timestamp),
    ) {
        let time = self.began.take().unwrap_or_else(now);
        let rest = std::mem::take(&mut self.held);
        if !rest.is_empty() {
            sink(&rest, time);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn pieces(portions: &[&[u8]]) -> Vec<Vec<u8>> {
        let (mut splitter, mut pieces) = (LineSplitter::default(), Vec::new());
        for portion in portions {
            splitter.feed(
                portion,
                || Timestamp::UNIX_EPOCH,
                |p, _| pieces.push(p.to_vec()),
            );
        }
        splitter.finish(|| Timestamp::UNIX_EPOCH, |p, _| pieces.push(p.to_vec()));
        pieces
    }

    #[test]
    fn lines_are_independent_of_portions() {
        let text = b"one\n\ntwo and more\nno newline";
        let whole = pieces(&[text]);
        assert_eq!(
            whole,
            [&b"one\n"[..], b"\n", b"two and more\n", b"no newline"]
        );
        for cut in 0..text.len() {
            assert_eq!(pieces(&[&text[..cut], &text[cut..]]), whole, "cut at {cut}");
        }
        let single: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(pieces(&single), whole);
    }

    #[test]
    fn long_lines_are_cut_at_16_kib() {
        let mut text = vec![b'x'; 2 * LIMIT + 5];
        text.extend_from_slice(b"\nnext\n");
        for size in [1, 7, LIMIT - 1, LIMIT, LIMIT + 1, text.len()] {
            let portions: Vec<&[u8]> = text.chunks(size).collect();
            let lengths: Vec<usize> = pieces(&portions).iter().map(Vec::len).collect();
            assert_eq!(lengths, [LIMIT, LIMIT, 6, 5], "portions of {size}");
        }
        let mut exact = vec![b'x'; LIMIT];
        exact.push(b'\n');
        assert_eq!(
            pieces(&[&exact]).iter().map(Vec::len).collect::<Vec<_>>(),
            [LIMIT, 1]
        );
    }

    #[test]
    fn pieces_of_a_line_share_its_time() {
        let clock = Cell::new(0);
        let now = || {
            clock.set(clock.get() + 1);
            Timestamp::from_second(clock.get()).unwrap()
        };
        let (mut splitter, mut seconds) = (LineSplitter::default(), Vec::new());
        let mut text = vec![b'x'; LIMIT + 1];
        text.extend_from_slice(b"\nnext\n");
        splitter.feed(&text, now, |_, time| seconds.push(time.as_second()));
        assert_eq!(seconds, [1, 1, 2]);
    }
}
