//! `--detach-keys ctrl-p,ctrl-q`, and finding them in what is typed.

/// What detaches where nothing else was said: ctrl-p, ctrl-q.
const DEFAULT: [u8; 2] = [16, 17];

/// Bytes of a sequence; an empty one is the default.
pub(crate) fn parse(text: Option<&str>) -> Result<Vec<u8>, String> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Ok(DEFAULT.to_vec());
    };
    text.split(',')
        .map(|key| match key.as_bytes() {
            [byte] => Some(*byte),
            _ => match key.strip_prefix("ctrl-").map(str::as_bytes) {
                Some([letter @ b'a'..=b'z']) => Some(letter - b'a' + 1),
                Some([b'@']) => Some(0),
                Some([sign @ b'['..=b'_']) => Some(sign - b'[' + 27),
                _ => None,
            },
        })
        .collect::<Option<Vec<u8>>>()
        .ok_or_else(|| format!("invalid detach escape keys ({text}) provided"))
}

/// Holds back what may be the beginning of the sequence.
#[derive(Debug)]
pub(crate) struct Watch {
    keys: Vec<u8>,
    matched: usize,
}

impl Watch {
    pub(crate) fn new(keys: Vec<u8>) -> Self {
        Self { keys, matched: 0 }
    }

    /// What to pass on of `typed`; `None` when the sequence is complete.
    pub(crate) fn pass(&mut self, typed: &[u8]) -> Option<Vec<u8>> {
        let mut passed = Vec::with_capacity(typed.len());
        for &byte in typed {
            if byte != self.keys[self.matched] {
                passed.extend(&self.keys[..self.matched]);
                self.matched = 0;
            }
            if byte == self.keys[self.matched] {
                self.matched += 1;
                if self.matched == self.keys.len() {
                    return None;
                }
            } else {
                passed.push(byte);
            }
        }
        Some(passed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences() {
        for (text, keys) in [
            (None, vec![16, 17]),
            (Some(""), vec![16, 17]),
            (Some("ctrl-a,x"), vec![1, b'x']),
            (Some("ctrl-@,ctrl-[,ctrl-\\,ctrl-_"), vec![0, 27, 28, 31]),
        ] {
            assert_eq!(parse(text), Ok(keys));
        }
        for text in ["ctrl-foo", "ctrl-A", "ab", "a,,b"] {
            assert!(parse(Some(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn a_sequence_is_found_and_nothing_else_is_lost() {
        let mut watch = Watch::new(vec![16, 17]);
        assert_eq!(watch.pass(b"ab"), Some(b"ab".to_vec()));
        assert_eq!(watch.pass(&[b'x', 16]), Some(b"x".to_vec()));
        assert_eq!(watch.pass(b"y"), Some(vec![16, b'y']));
        assert_eq!(watch.pass(&[16, 16]), Some(vec![16]));
        assert_eq!(watch.pass(&[17]), None);
    }
}
