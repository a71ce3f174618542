//! Docker's stream header: `[stream, 0, 0, 0, length as u32 big endian]` before each piece of output.
//!
//! Attach and exec connections without a terminal carry output in this form towards the client and plain bytes towards
//! stdin. With a terminal both directions are plain bytes.

/// Bytes before each piece.
pub const HEADER: usize = 8;

/// Which stream a piece belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stream {
    Stdin,
    Stdout,
    Stderr,
}

impl Stream {
    /// The name that Docker's log files use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stdin => "stdin",
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }

    const fn number(self) -> u8 {
        match self {
            Self::Stdin => 0,
            Self::Stdout => 1,
            Self::Stderr => 2,
        }
    }
}

/// A header that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("bytes {0:?} are no stream header")]
pub struct NotAHeader(pub [u8; HEADER]);

/// The header before `length` bytes of `stream`.
pub const fn header(stream: Stream, length: u32) -> [u8; HEADER] {
    let [a, b, c, d] = length.to_be_bytes();
    [stream.number(), 0, 0, 0, a, b, c, d]
}

/// Stream and length that `bytes` announce.
pub fn parse(bytes: [u8; HEADER]) -> Result<(Stream, u32), NotAHeader> {
    let [number, 0, 0, 0, a, b, c, d] = bytes else {
        return Err(NotAHeader(bytes));
    };
    let stream = match number {
        0 => Stream::Stdin,
        1 => Stream::Stdout,
        2 => Stream::Stderr,
        _ => return Err(NotAHeader(bytes)),
    };
    Ok((stream, u32::from_be_bytes([a, b, c, d])))
}

/// Takes headers apart from a byte stream that arrives in arbitrary portions.
#[derive(Debug, Default)]
pub struct Demultiplexer {
    header: [u8; HEADER],
    filled: usize,
    current: Option<(Stream, u32)>,
}

impl Demultiplexer {
    /// Calls `sink` with each piece in `bytes`. A piece may come in several calls when it crosses portions; an empty
    /// piece is not reported. After an error the stream is unusable.
    pub fn feed(
        &mut self,
        mut bytes: &[u8],
        mut sink: impl FnMut(Stream, &[u8]),
    ) -> Result<(), NotAHeader> {
        while !bytes.is_empty() {
            if let Some((stream, left)) = self.current {
                let take = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                let (piece, rest) = bytes.split_at(take);
                sink(stream, piece);
                bytes = rest;
                let left = left - u32::try_from(take).expect("not more than what is left");
                self.current = (left > 0).then_some((stream, left));
            } else {
                let take = bytes.len().min(HEADER - self.filled);
                let (piece, rest) = bytes.split_at(take);
                self.header[self.filled..self.filled + take].copy_from_slice(piece);
                self.filled += take;
                bytes = rest;
                if self.filled == HEADER {
                    self.filled = 0;
                    let (stream, length) = parse(self.header)?;
                    self.current = (length > 0).then_some((stream, length));
                }
            }
        }
        Ok(())
    }

    /// Whether the stream may end here: neither a header nor a piece is incomplete.
    pub const fn at_boundary(&self) -> bool {
        self.filled == 0 && self.current.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dockers_bytes() {
        assert_eq!(header(Stream::Stdout, 5), [1, 0, 0, 0, 0, 0, 0, 5]);
        assert_eq!(
            header(Stream::Stderr, 0x0102_0304),
            [2, 0, 0, 0, 1, 2, 3, 4]
        );
    }

    #[test]
    fn headers_survive_the_round_trip() {
        for stream in [Stream::Stdin, Stream::Stdout, Stream::Stderr] {
            for shift in 0..32 {
                for length in [1_u32 << shift, (1_u32 << shift) - 1, u32::MAX >> shift] {
                    assert_eq!(parse(header(stream, length)), Ok((stream, length)));
                }
            }
        }
    }

    #[test]
    fn what_is_no_header_is_refused() {
        for bytes in [
            [3, 0, 0, 0, 0, 0, 0, 1],
            [1, 1, 0, 0, 0, 0, 0, 1],
            [1, 0, 0, 9, 0, 0, 0, 1],
            *b"HTTP/1.1",
        ] {
            assert_eq!(parse(bytes), Err(NotAHeader(bytes)));
        }
    }

    /// Numbers that look random and are the same on each run.
    fn sequence(seed: u64) -> impl FnMut(u64) -> usize {
        let mut state = seed | 1;
        move |bound| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state % bound).unwrap()
        }
    }

    #[test]
    fn any_cut_of_any_sequence_gives_the_streams_back() {
        for seed in 1..200 {
            let mut next = sequence(u64::wrapping_mul(seed, 0x9e37_79b9_7f4a_7c15));
            let (mut wire, mut sent) = (Vec::new(), [Vec::new(), Vec::new()]);
            for _ in 0..next(20) {
                let which = next(2);
                let stream = [Stream::Stdout, Stream::Stderr][which];
                let piece: Vec<u8> = (0..next(300))
                    .map(|_| u8::try_from(next(256)).unwrap())
                    .collect();
                wire.extend(header(stream, u32::try_from(piece.len()).unwrap()));
                wire.extend(&piece);
                sent[which].extend(piece);
            }
            let (mut splitter, mut got) = (Demultiplexer::default(), [Vec::new(), Vec::new()]);
            let mut rest = wire.as_slice();
            while !rest.is_empty() {
                let (portion, after) = rest.split_at(rest.len().min(1 + next(40)));
                splitter
                    .feed(portion, |stream, bytes| {
                        got[usize::from(stream == Stream::Stderr)].extend_from_slice(bytes);
                    })
                    .unwrap();
                rest = after;
            }
            assert!(splitter.at_boundary());
            assert_eq!(got, sent, "seed {seed}");
        }
    }
}
