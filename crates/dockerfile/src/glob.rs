//! Path patterns: Go's `filepath.Match`, and the same with `**`.
//!
//! A pattern becomes a list of tokens; matching keeps the set of places that the tokens so far can reach, so that no pattern
//! costs more than its length times the path's.

/// Not a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("syntax error in pattern")]
pub struct BadPattern;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Token {
    Letter(char),
    /// `?`: any but the slash.
    One,
    /// `*`: any number of letters but the slash.
    Some,
    /// `**/`, or `**` before something: whole directories, none too.
    Directories,
    /// `**` at the end: everything.
    All,
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

impl Token {
    /// Whether it can stand for a slash, though none is written.
    pub(crate) fn crosses(&self) -> bool {
        match self {
            Self::Directories | Self::All => true,
            Self::Class { .. } => self.takes('/'),
            Self::Letter(_) | Self::One | Self::Some => false,
        }
    }

    fn takes(&self, letter: char) -> bool {
        match self {
            Self::Letter(wanted) => *wanted == letter,
            Self::One => letter != '/',
            Self::Class { negated, ranges } => {
                ranges
                    .iter()
                    .any(|(low, high)| (*low..=*high).contains(&letter))
                    != *negated
            }
            Self::Some | Self::Directories | Self::All => false,
        }
    }
}

/// The tokens of a pattern; `deep` gives `**` its meaning.
pub(crate) fn tokens(pattern: &str, deep: bool) -> Result<Vec<Token>, BadPattern> {
    let mut tokens = Vec::new();
    let mut letters = pattern.chars().peekable();
    while let Some(letter) = letters.next() {
        tokens.push(match letter {
            '*' if deep && letters.next_if_eq(&'*').is_some() => {
                let _slash = letters.next_if_eq(&'/');
                if letters.peek().is_none() {
                    Token::All
                } else {
                    Token::Directories
                }
            }
            '*' => Token::Some,
            '?' => Token::One,
            '\\' => Token::Letter(letters.next().ok_or(BadPattern)?),
            '[' => class(&mut letters)?,
            _ => Token::Letter(letter),
        });
    }
    Ok(tokens)
}

fn class(letters: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<Token, BadPattern> {
    let negated = letters.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    loop {
        if !ranges.is_empty() && letters.next_if_eq(&']').is_some() {
            return Ok(Token::Class { negated, ranges });
        }
        let low = member(letters)?;
        let high = match letters.next_if_eq(&'-') {
            Some(_) => member(letters)?,
            None => low,
        };
        ranges.push((low, high));
    }
}

fn member(letters: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<char, BadPattern> {
    match letters.next().ok_or(BadPattern)? {
        '-' | ']' => Err(BadPattern),
        '\\' => letters.next().ok_or(BadPattern),
        letter => Ok(letter),
    }
}

/// Whether the tokens make up the whole path.
pub(crate) fn matches(tokens: &[Token], path: &[char]) -> bool {
    // Most paths differ from most patterns in their first or last letter.
    let ends = [(tokens.first(), path.first()), (tokens.last(), path.last())];
    for (token, letter) in ends {
        if let (Some(Token::Letter(wanted)), Some(letter)) = (token, letter)
            && wanted != letter
        {
            return false;
        }
    }
    // reached[n]: the tokens so far can end after n letters.
    let mut reached = vec![false; path.len() + 1];
    reached[0] = true;
    for token in tokens {
        let mut any = false;
        match token {
            Token::Some | Token::Directories | Token::All => {
                let mut inside = false;
                for (at, place) in reached.iter_mut().enumerate() {
                    let before = at.checked_sub(1).map(|before| path[before]);
                    if *token == Token::Some && before == Some('/') {
                        inside = false;
                    }
                    let open = inside && (*token != Token::Directories || before == Some('/'));
                    inside |= *place;
                    *place |= open;
                    any |= *place;
                }
            }
            _ => {
                for at in (0..path.len()).rev() {
                    reached[at + 1] = reached[at] && token.takes(path[at]);
                    any |= reached[at + 1];
                }
                reached[0] = false;
            }
        }
        if !any {
            return false;
        }
    }
    reached[path.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(pattern: &str, path: &str, deep: bool) -> Option<bool> {
        let path: Vec<char> = path.chars().collect();
        let tokens = tokens(pattern, deep).ok()?;
        Some(matches(&tokens, &path))
    }

    #[test]
    fn shallow() {
        for (pattern, path, wanted) in [
            ("abc", "abc", Some(true)),
            ("*", "abc", Some(true)),
            ("*", "", Some(true)),
            ("*c", "abc", Some(true)),
            ("a*", "a", Some(true)),
            ("a*", "ab/c", Some(false)),
            ("a*/b", "abc/b", Some(true)),
            ("a*/b", "a/c/b", Some(false)),
            ("a*b*c*d*e*/f", "axbxcxdxe/f", Some(true)),
            ("a*b*c*d*e*/f", "axbxcxdxexxx/fff", Some(false)),
            ("ab[c]", "abc", Some(true)),
            ("ab[b-d]", "abc", Some(true)),
            ("ab[e-g]", "abc", Some(false)),
            ("ab[^c]", "abc", Some(false)),
            ("ab[^e-g]", "abc", Some(true)),
            ("a\\*b", "a*b", Some(true)),
            ("a\\*b", "ab", Some(false)),
            ("a?b", "a☺b", Some(true)),
            ("a[^a]b", "a☺b", Some(true)),
            ("a???b", "a☺b", Some(false)),
            ("[a-ζ]*", "α", Some(true)),
            ("*[a-ζ]", "A", Some(false)),
            ("a?b", "a/b", Some(false)),
            ("a*b", "a/b", Some(false)),
            ("[\\]a]", "]", Some(true)),
            ("[\\-]", "-", Some(true)),
            ("[x\\-]", "x", Some(true)),
            ("**", "a/b", Some(false)),
            ("]", "]", Some(true)),
            ("*x", "xxx", Some(true)),
            ("[]a]", "]", None),
            ("[-]", "-", None),
            ("[x-]", "x", None),
            ("[-x]", "x", None),
            ("[a-b-c]", "a", None),
            ("[", "a", None),
            ("[^", "a", None),
            ("[^bc", "a", None),
            ("a[", "ab", None),
            ("\\", "a", None),
            ("[a", "x", None),
        ] {
            assert_eq!(found(pattern, path, false), wanted, "{pattern} {path}");
        }
    }

    #[test]
    fn deep() {
        for (pattern, path, wanted) in [
            ("**", "a/b", true),
            ("**/", "a", true),
            ("a/**", "a/b/c", true),
            ("a/**", "a", false),
            ("a**", "ab/c", true),
            ("**/c", "c", true),
            ("**/c", "a/b/c", true),
            ("**/c", "a/bc", false),
            ("a/**/c", "a/c", true),
            ("a/**/c", "a/b/b/c", true),
            ("a/**/c", "ac", false),
            ("a**c", "ac", true),
            ("a**c", "ab/c", true),
            ("a**c", "abc", false),
            ("**/*.go", "a/b/x.go", true),
            ("**/*.go", "x.go", true),
            ("a*/**/b", "ax/y/b", true),
            ("*/**", "a/b", true),
            ("*/**", "a", false),
        ] {
            assert_eq!(found(pattern, path, true), Some(wanted), "{pattern} {path}");
        }
        let many = "*a".repeat(500);
        let path = "a".repeat(499) + "b";
        assert_eq!(found(&many, &path, true), Some(false));
    }
}
