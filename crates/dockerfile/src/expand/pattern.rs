//! The patterns of `${name#pattern}` and its kin: `*` and `?` stand for anything, a backslash protects them and itself.

use super::Reason;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Letter(char),
    /// `?`
    One,
    /// `*`
    Any,
}

#[derive(Debug)]
pub(super) struct Pattern {
    tokens: Vec<Token>,
}

impl Pattern {
    pub(super) fn parse(text: &str) -> Result<Self, Reason> {
        let mut tokens = Vec::new();
        let mut letters = text.chars();
        while let Some(letter) = letters.next() {
            tokens.push(match letter {
                '*' => Token::Any,
                '?' => Token::One,
                // Slashes and braces are protected from what is around the pattern.
                '\\' => match letters.next() {
                    Some(escaped @ ('*' | '?' | '\\' | '/' | '}')) => Token::Letter(escaped),
                    escaped => {
                        return Err(Reason::Pattern {
                            pattern: text.to_owned(),
                            escaped: escaped.map(String::from).unwrap_or_default(),
                        });
                    }
                },
                _ => Token::Letter(letter),
            });
        }
        Ok(Self { tokens })
    }

    pub(super) fn without_prefix(&self, value: &str, longest: bool) -> String {
        let letters: Vec<char> = value.chars().collect();
        let end = end(self.tokens.iter(), &letters, longest).unwrap_or(0);
        letters[end..].iter().collect()
    }

    pub(super) fn without_suffix(&self, value: &str, longest: bool) -> String {
        let letters: Vec<char> = value.chars().rev().collect();
        let end = end(self.tokens.iter().rev(), &letters, longest).unwrap_or(0);
        letters[end..].iter().rev().collect()
    }

    /// The longest first match, or `all` of them, replaced; nothing if the result is longer than `most` bytes.
    pub(super) fn replace(
        &self,
        value: &str,
        replacement: &str,
        all: bool,
        most: usize,
    ) -> Option<String> {
        let letters: Vec<char> = value.chars().collect();
        let mut result = String::new();
        let mut at = 0;
        // An empty match right behind another one is none.
        let mut behind = None;
        while at <= letters.len() {
            let length = end(self.tokens.iter(), &letters[at..], true);
            match length {
                Some(0) if behind == Some(at) => {}
                Some(length) => {
                    result.push_str(replacement);
                    at += length;
                    behind = Some(at);
                    if !all {
                        break;
                    }
                    if length > 0 {
                        continue;
                    }
                }
                // What begins with a star and is not here is nowhere behind either.
                None if self.tokens.first() == Some(&Token::Any) => break,
                None => {}
            }
            result.extend(letters.get(at));
            at += 1;
            if result.len() > most {
                return None;
            }
        }
        result.extend(letters.get(at..).unwrap_or_default());
        (result.len() <= most).then_some(result)
    }
}

/// How many letters at the beginning match, at least or at most.
fn end<'a>(
    tokens: impl Iterator<Item = &'a Token>,
    letters: &[char],
    longest: bool,
) -> Option<usize> {
    // The places where a match of the tokens so far can end.
    let mut ends = vec![0];
    for token in tokens {
        match token {
            Token::Any => {
                let first = *ends.first()?;
                ends = (first..=letters.len()).collect();
            }
            Token::One => {
                ends.retain(|end| *end < letters.len());
                ends.iter_mut().for_each(|end| *end += 1);
            }
            Token::Letter(letter) => {
                ends.retain(|end| letters.get(*end) == Some(letter));
                ends.iter_mut().for_each(|end| *end += 1);
            }
        }
        if ends.is_empty() {
            return None;
        }
    }
    if longest {
        ends.last().copied()
    } else {
        ends.first().copied()
    }
}
