//! Variables, quotes and escapes: what the strings of an instruction become when it is executed.
//!
//! The rules are those of Docker's own lexer, which resembles a shell: `$name`, `${name}` and the operators `:- - :+ + :? ?`
//! `# ## % %% / //`, whose words may hold variables again. Quotes are removed, what the escape character protects is kept.
//! Variables without value are empty. Positional and special parameters (`$1`, `$@`) are looked up like names.

mod pattern;

use pattern::Pattern;

/// Nesting deeper than this is refused: it would take the stack.
const DEPTH: usize = 100;
/// Results longer than this are refused: nested replacements grow without bound.
const LENGTH: usize = 16 << 20;
/// Letters of the text that errors show: it may be a whole heredoc.
const SHOWN: usize = 100;

/// A text that cannot be expanded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("failed to process {text:?}: {reason}")]
pub struct ExpandError {
    /// The beginning of the text.
    pub text: String,
    pub reason: Reason,
}

/// Why not, in Docker's words where it has any.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    #[error("syntax error: missing '}}'")]
    MissingBrace,
    #[error("syntax error: missing '/' in ${{}}")]
    MissingSlash,
    #[error("syntax error: bad substitution")]
    BadSubstitution,
    #[error("unexpected end of statement while looking for matching single-quote")]
    SingleQuote,
    #[error("unexpected end of statement while looking for matching double-quote")]
    DoubleQuote,
    #[error("unsupported modifier ({0}) in substitution")]
    Modifier(String),
    #[error("invalid pattern ({pattern}) in substitution: invalid escape '\\{escaped}'")]
    Pattern { pattern: String, escaped: String },
    /// `${name?message}` of a variable without value.
    #[error("{name}: {message}")]
    Required { name: String, message: String },
    #[error("variables are nested deeper than {DEPTH} levels")]
    TooDeep,
    #[error("the result is longer than {LENGTH} bytes")]
    TooLong,
}

/// Gives a variable's value.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The text as one word: variables replaced, quotes and escapes gone, blanks kept.
///
/// # Errors
/// The syntax is wrong, or a variable that must have a value has none.
pub fn word(text: &str, escape: char, lookup: Lookup<'_>) -> Result<String, ExpandError> {
    Ok(process(text, escape, lookup, true)?.result)
}

/// The text as words: as [`word`], then split at blanks that were not quoted, those of values among them. Empty words vanish.
///
/// # Errors
/// As [`word`].
pub fn words(text: &str, escape: char, lookup: Lookup<'_>) -> Result<Vec<String>, ExpandError> {
    let mut out = process(text, escape, lookup, true)?;
    out.end_word();
    Ok(out.words)
}

/// The text with variables replaced and quotes left alone: the content of a heredoc. `\$` is a dollar, `\\` a backslash.
///
/// # Errors
/// As [`word`].
pub fn raw(text: &str, escape: char, lookup: Lookup<'_>) -> Result<String, ExpandError> {
    Ok(process(text, escape, lookup, false)?.result)
}

fn process(text: &str, escape: char, lookup: Lookup<'_>, quotes: bool) -> Result<Out, ExpandError> {
    let mut lexer = Lexer {
        rest: text,
        escape,
        quotes,
        lookup,
        depth: 0,
    };
    let out = lexer.until(None, false);
    out.map_err(|reason| ExpandError {
        text: beginning(text),
        reason,
    })
}

fn beginning(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The result as a whole and, at the same time, in words.
#[derive(Default)]
struct Out {
    result: String,
    words: Vec<String>,
    word: String,
}

impl Out {
    /// Quoted or escaped: blanks belong to the word.
    fn add(&mut self, text: &str) {
        self.result.push_str(text);
        self.word.push_str(text);
    }

    /// Blanks end the word.
    fn add_split(&mut self, text: &str) {
        self.result.push_str(text);
        for letter in text.chars() {
            if letter.is_whitespace() {
                self.end_word();
            } else {
                self.word.push(letter);
            }
        }
    }

    fn end_word(&mut self) {
        if !self.word.is_empty() {
            self.words.push(std::mem::take(&mut self.word));
        }
    }
}

struct Lexer<'a> {
    rest: &'a str,
    escape: char,
    quotes: bool,
    lookup: Lookup<'a>,
    depth: usize,
}

impl Lexer<'_> {
    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let letter = self.peek()?;
        self.rest = &self.rest[letter.len_utf8()..];
        Some(letter)
    }

    fn take(&mut self, wanted: char) -> bool {
        match self.rest.strip_prefix(wanted) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// Up to the end of the text, or to `stop`, which must be there. With `raw_escapes`, escape characters stay: patterns
    /// read them again.
    fn until(&mut self, stop: Option<char>, raw_escapes: bool) -> Result<Out, Reason> {
        let mut out = Out::default();
        while let Some(letter) = self.peek() {
            if Some(letter) == stop {
                self.next();
                return Ok(out);
            }
            match letter {
                '\'' if self.quotes => out.add(self.single_quoted()?),
                '"' if self.quotes => out.add(&self.double_quoted(raw_escapes)?),
                '$' => out.add_split(&self.dollar()?),
                _ if letter == self.escape => {
                    self.next();
                    if raw_escapes {
                        out.add(letter.encode_utf8(&mut [0; 4]));
                    }
                    if let Some(escaped) = self.next() {
                        out.add(escaped.encode_utf8(&mut [0; 4]));
                    }
                }
                _ => {
                    self.next();
                    out.add_split(letter.encode_utf8(&mut [0; 4]));
                }
            }
            if out.result.len() > LENGTH {
                return Err(Reason::TooLong);
            }
        }
        match stop {
            None => Ok(out),
            Some('/') => Err(Reason::MissingSlash),
            Some(_) => Err(Reason::MissingBrace),
        }
    }

    /// All up to the next quote, as it is.
    fn single_quoted(&mut self) -> Result<&str, Reason> {
        let (quoted, rest) = self.rest[1..].split_once('\'').ok_or(Reason::SingleQuote)?;
        self.rest = rest;
        Ok(quoted)
    }

    /// The escape character protects the quote, the dollar and itself, and is a letter before all others.
    fn double_quoted(&mut self, raw_escapes: bool) -> Result<String, Reason> {
        self.next();
        let mut result = String::new();
        loop {
            let letter = self.peek().ok_or(Reason::DoubleQuote)?;
            match letter {
                '$' => result.push_str(&self.dollar()?),
                '"' => {
                    self.next();
                    return Ok(result);
                }
                _ => {
                    self.next();
                    let escaped = match self.peek() {
                        Some(next) if letter == self.escape && (next == '"' || next == '$') => true,
                        Some(next) => letter == self.escape && next == self.escape,
                        None => false,
                    };
                    if !escaped || raw_escapes {
                        result.push(letter);
                    }
                    if escaped {
                        result.extend(self.next());
                    } else if raw_escapes && letter == self.escape {
                        // A letter like others: in a pattern, it protects itself.
                        result.push(letter);
                    }
                }
            }
            if result.len() > LENGTH {
                return Err(Reason::TooLong);
            }
        }
    }

    /// A variable, or a dollar that begins none.
    fn dollar(&mut self) -> Result<String, Reason> {
        self.next();
        if !self.take('{') {
            let name = self.name();
            return Ok(match name.as_str() {
                "" => "$".to_owned(),
                name => (self.lookup)(name).unwrap_or_default(),
            });
        }
        match self.peek() {
            None => return Err(Reason::MissingBrace),
            Some('{' | '}' | ':') => return Err(Reason::BadSubstitution),
            Some(_) => {}
        }
        if self.depth == DEPTH {
            return Err(Reason::TooDeep);
        }
        self.depth += 1;
        let value = self.braced();
        self.depth -= 1;
        value
    }

    /// Behind `${`.
    fn braced(&mut self) -> Result<String, Reason> {
        let name = self.name();
        let value = (self.lookup)(&name);
        let mut modifier = String::new();
        let mut operator = self.next().ok_or(Reason::MissingBrace)?;
        modifier.push(operator);
        let empty_counts = operator == ':';
        if empty_counts {
            operator = self.next().ok_or(Reason::MissingBrace)?;
            modifier.push(operator);
        }
        match operator {
            '}' if !empty_counts => Ok(value.unwrap_or_default()),
            '-' | '+' | '?' => {
                let word = self.until(Some('}'), false)?.result;
                let usable = value
                    .as_ref()
                    .is_some_and(|value| !(empty_counts && value.is_empty()));
                match (operator, value) {
                    ('-', Some(value)) if usable => Ok(value),
                    ('-', _) => Ok(word),
                    ('+', _) if usable => Ok(word),
                    ('+', _) => Ok(String::new()),
                    (_, Some(value)) if usable => Ok(value),
                    (_, value) => {
                        let message = match value {
                            _ if !word.is_empty() => word,
                            Some(_) => "is not allowed to be empty".to_owned(),
                            None => "is not allowed to be unset".to_owned(),
                        };
                        Err(Reason::Required { name, message })
                    }
                }
            }
            '#' | '%' => {
                let longest = self.take(operator);
                let word = self.until(Some('}'), true)?.result;
                let value = value.unwrap_or_default();
                let pattern = Pattern::parse(&word)?;
                Ok(if operator == '#' {
                    pattern.without_prefix(&value, longest)
                } else {
                    pattern.without_suffix(&value, longest)
                })
            }
            '/' if !empty_counts => {
                let all = self.take('/');
                let word = self.until(Some('/'), true)?.result;
                let replacement = self.until(Some('}'), true)?.result;
                let value = value.unwrap_or_default();
                Pattern::parse(&word)?
                    .replace(&value, &replacement, all, LENGTH)
                    .ok_or(Reason::TooLong)
            }
            _ => Err(Reason::Modifier(modifier)),
        }
    }

    /// A name, a number, or one of the shell's special letters; empty if there is none.
    fn name(&mut self) -> String {
        let is_special = |letter: char| "@*#?-$!".contains(letter);
        let end = match self.peek() {
            Some(first) if first.is_ascii_digit() => self.rest.find(|c: char| !c.is_ascii_digit()),
            Some(first) if is_special(first) => Some(1),
            _ => self.rest.find(|c: char| !c.is_alphanumeric() && c != '_'),
        };
        let (name, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        name.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &str) -> Option<String> {
        let value = match name {
            "PWD" => "/home",
            "SHELL" => "bash",
            "KOREAN" => "한국어",
            "NULL" => "",
            "FILE" => "/tmp/tmp/bar.tar.gz",
            "STARS" => "a***yy*",
            "ODD" => "()[]{}^$.*?|\\x",
            "LINE" => "x  y\tz",
            "NEEDLE" => "\\*/",
            "PATHS" => "/foo*/*/*.txt",
            "1" => "one",
            "@" => "all",
            _ => return None,
        };
        Some(value.to_owned())
    }

    #[test]
    fn single_words() {
        for (text, wanted) in [
            ("", ""),
            ("hello", "hello"),
            ("he'll'o", "hello"),
            ("he'\\'o", "he\\o"),
            ("he\\'llo", "he'llo"),
            ("he\\\\'ll'o", "he\\llo"),
            ("abc\\tdef", "abctdef"),
            ("\"abc\\tdef\"", "abc\\tdef"),
            ("\"abc\\\\tdef\"", "abc\\tdef"),
            ("'abc\\tdef'", "abc\\tdef"),
            ("hello\\", "hello"),
            ("\"a'b\"", "a'b"),
            ("'a\"b'", "a\"b"),
            ("a b  c", "a b  c"),
            ("$PWD", "/home"),
            ("he$PWD.", "he/home."),
            ("he$PWDx", "he"),
            ("${PWD}x", "/homex"),
            ("'$PWD'", "$PWD"),
            ("\"$PWD\"", "/home"),
            ("\\$PWD", "$PWD"),
            ("\"\\$PWD\"", "$PWD"),
            ("\\\\$PWD", "\\/home"),
            ("$", "$"),
            ("a$", "a$"),
            ("$.x", "$.x"),
            ("$$", ""),
            ("$1$2$10", "one"),
            ("${1}x$@", "onexall"),
            ("$KOREAN, ${KOREAN}", "한국어, 한국어"),
            ("안녕\\$PWD", "안녕$PWD"),
            ("${NONE}", ""),
            ("${NONE:-x}", "x"),
            ("${NULL:-x}", "x"),
            ("${NULL-x}", ""),
            ("${NONE-x}", "x"),
            ("${PWD:-x}", "/home"),
            ("${NONE:-}", ""),
            ("${NONE:-$PWD/${SHELL}}", "/home/bash"),
            ("${NONE:-\"a b\"}", "a b"),
            ("${NONE:-'}'}", "}"),
            ("${NONE:-\\}}", "}"),
            ("${NONE:-${NONE:-${SHELL}}}", "bash"),
            ("${PWD:+x}", "x"),
            ("${NULL:+x}", ""),
            ("${NULL+x}", "x"),
            ("${NONE+x}", ""),
            ("${PWD:?m}", "/home"),
            ("${NULL?m}", ""),
            ("${FILE#*/}", "tmp/tmp/bar.tar.gz"),
            ("${FILE##*/}", "bar.tar.gz"),
            ("${FILE%.*}", "/tmp/tmp/bar.tar"),
            ("${FILE%%.*}", "/tmp/tmp/bar"),
            ("${FILE#x}", "/tmp/tmp/bar.tar.gz"),
            ("${FILE#}", "/tmp/tmp/bar.tar.gz"),
            ("${FILE##}", "/tmp/tmp/bar.tar.gz"),
            ("${FILE%}", "/tmp/tmp/bar.tar.gz"),
            ("${FILE%???}", "/tmp/tmp/bar.tar"),
            ("${FILE#$NULL}", "/tmp/tmp/bar.tar.gz"),
            ("${FILE#/t?p}", "/tmp/bar.tar.gz"),
            ("${KOREAN#?}", "국어"),
            ("${KOREAN%?}", "한국"),
            ("${KOREAN/국/x}", "한x어"),
            ("${STARS%%\\**}", "a"),
            ("${STARS%%\\**\\*}", "a"),
            ("${ODD#()[]{\\}^$.\\*\\?|\\\\}", "x"),
            ("${FILE/tmp/x}", "/x/tmp/bar.tar.gz"),
            ("${FILE//tmp/x}", "/x/x/bar.tar.gz"),
            ("${FILE/\\/tmp/}", "/tmp/bar.tar.gz"),
            ("${FILE//\\//\\/}", "\\/tmp\\/tmp\\/bar.tar.gz"),
            ("${PATHS/$NEEDLE/.}", "/foo.*/*.txt"),
            ("${PATHS//$NEEDLE/.}", "/foo..*.txt"),
            ("${FILE/*/x}", "x"),
            ("${SHELL/$NULL/ww}", "wwbash"),
            ("${NULL/x/y}", ""),
            ("${SHELL/x/y}", "bash"),
            ("${NONE///}", ""),
            ("${PWD//o/$NONE}", "/hme"),
        ] {
            assert_eq!(word(text, '\\', &lookup).as_deref(), Ok(wanted), "{text}");
        }
        assert_eq!(word("`$PWD\\x", '`', &lookup).as_deref(), Ok("$PWD\\x"));
    }

    #[test]
    fn refuses() {
        let missing = Reason::MissingBrace;
        for (text, wanted) in [
            ("${", missing.clone()),
            ("${PWD", missing.clone()),
            ("${PWD:", missing.clone()),
            ("${PWD:-x", missing.clone()),
            ("${PWD#x", missing.clone()),
            ("${PWD/x/y", missing),
            ("${PWD//x}", Reason::MissingSlash),
            ("${PWD/x", Reason::MissingSlash),
            ("${}", Reason::BadSubstitution),
            ("${:}", Reason::BadSubstitution),
            ("${{x}}", Reason::BadSubstitution),
            ("'a", Reason::SingleQuote),
            ("\"a", Reason::DoubleQuote),
            ("\"a\\\"", Reason::DoubleQuote),
            ("${PWD=x}", Reason::Modifier("=".to_owned())),
            ("${PWD:=x}", Reason::Modifier(":=".to_owned())),
            ("${PWD:x}", Reason::Modifier(":x".to_owned())),
            ("${PWD:}", Reason::Modifier(":}".to_owned())),
            (
                "${NONE?}",
                Reason::Required {
                    name: "NONE".to_owned(),
                    message: "is not allowed to be unset".to_owned(),
                },
            ),
            (
                "${NULL:?}",
                Reason::Required {
                    name: "NULL".to_owned(),
                    message: "is not allowed to be empty".to_owned(),
                },
            ),
            (
                "${NONE:?say $SHELL}",
                Reason::Required {
                    name: "NONE".to_owned(),
                    message: "say bash".to_owned(),
                },
            ),
            (
                "${PWD#\\x}",
                Reason::Pattern {
                    pattern: "\\x".to_owned(),
                    escaped: "x".to_owned(),
                },
            ),
        ] {
            let error = word(text, '\\', &lookup).expect_err(text);
            assert_eq!(error.reason, wanted, "{text}");
        }
        let deep = "${x:-".repeat(10_000);
        let error = word(&deep, '\\', &lookup).expect_err("deep nesting");
        assert_eq!(error.reason, Reason::TooDeep);
        let bomb = (0..12).fold("y".to_owned(), |inner, _| format!("${{FILE//?/{inner}}}"));
        let error = word(&bomb, '\\', &lookup).expect_err("a bomb");
        assert_eq!(error.reason, Reason::TooLong);
        let error = word("${x", '\\', &lookup).expect_err("no brace");
        assert_eq!(
            error.to_string(),
            "failed to process \"${x\": syntax error: missing '}'"
        );
    }

    #[test]
    fn several_words() {
        for (text, wanted) in [
            ("", vec![]),
            ("  ", vec![]),
            ("hello", vec!["hello"]),
            (" hello  there ", vec!["hello", "there"]),
            ("\"hello there\"", vec!["hello there"]),
            ("'a b'c \"d e\"", vec!["a bc", "d e"]),
            ("a\\ b c", vec!["a b", "c"]),
            ("$LINE", vec!["x", "y", "z"]),
            ("a$LINE", vec!["ax", "y", "z"]),
            ("\"$LINE\" a", vec!["x  y\tz", "a"]),
            ("${NONE:-a b}", vec!["a", "b"]),
            ("$NONE a", vec!["a"]),
            ("a \"\" b", vec!["a", "b"]),
        ] {
            let found = words(text, '\\', &lookup).expect(text);
            assert_eq!(found, wanted, "{text}");
        }
    }

    #[test]
    fn raw_texts() {
        for (text, wanted) in [
            ("\"$SHELL\" '$SHELL'\n", "\"bash\" 'bash'\n"),
            ("it's", "it's"),
            ("\\$SHELL \\\\", "$SHELL \\"),
            ("\\\n", "\n"),
            ("${NONE:-\"x\"}", "\"x\""),
        ] {
            assert_eq!(raw(text, '\\', &lookup).as_deref(), Ok(wanted), "{text}");
        }
    }
}
