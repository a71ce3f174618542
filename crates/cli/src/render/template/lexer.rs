//! Cuts a template into tokens.
//!
//! The token list always ends with [`Kind::Eof`] or [`Kind::Error`] (whose text is the message), and the
//! white space that `{{-` and `-}}` ask to drop is already gone from the text tokens.

use super::quote::printable;
use std::borrow::Cow;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Error,
    Eof,
    Text,
    LeftDelim,
    RightDelim,
    LeftParen,
    RightParen,
    Space,
    Pipe,
    Assign,
    Declare,
    /// Any other printable ASCII character; only the comma has a meaning.
    Other,
    Bool,
    Char,
    Number,
    Str,
    RawStr,
    Field,
    Variable,
    Identifier,
    Dot,
    Nil,
    Block,
    Break,
    Continue,
    Define,
    Else,
    End,
    If,
    Range,
    Template,
    With,
}

#[derive(Debug, Clone)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind,
    /// Offset in bytes in the source.
    pub(super) at: usize,
    pub(super) line: usize,
    pub(super) text: Cow<'a, str>,
}

/// All tokens of `source`.
pub(super) fn tokens(source: &str) -> Vec<Token<'_>> {
    let mut lexer = Lexer {
        source,
        at: 0,
        counted: 0,
        line: 1,
        parens: 0,
        tokens: Vec::new(),
    };
    if let Err(message) = lexer.run() {
        let (at, line) = (lexer.at, lexer.line_at(lexer.at));
        lexer.tokens.push(Token {
            kind: Kind::Error,
            at,
            line,
            text: message.into(),
        });
    }
    lexer.tokens
}

struct Lexer<'a> {
    source: &'a str,
    at: usize,
    /// Newlines are counted up to here, and `line` is the result.
    counted: usize,
    line: usize,
    parens: usize,
    tokens: Vec<Token<'a>>,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.source[self.at..]
    }

    fn line_at(&mut self, at: usize) -> usize {
        if at > self.counted {
            self.line += self.source[self.counted..at].matches('\n').count();
            self.counted = at;
        }
        self.line
    }

    /// Emits the `length` bytes at the cursor as one token and steps over them.
    fn emit(&mut self, kind: Kind, length: usize) {
        let (at, line) = (self.at, self.line_at(self.at));
        let text = Cow::Borrowed(&self.source[at..at + length]);
        self.tokens.push(Token {
            kind,
            at,
            line,
            text,
        });
        self.at += length;
    }

    fn run(&mut self) -> Result<(), String> {
        while let Some(length) = self.rest().find("{{") {
            let text = &self.rest()[..length];
            let after = &self.rest()[length + 2..];
            let trim = after.starts_with('-') && after[1..].starts_with(is_space);
            let kept = if trim {
                text.trim_end_matches(is_space).len()
            } else {
                length
            };
            if kept > 0 {
                self.emit(Kind::Text, kept);
            }
            self.at += length - kept;
            let delimiter = if trim { 3 } else { 2 };
            let inner = &self.rest()[delimiter..];
            if inner.trim_start_matches(is_space).starts_with("/*")
                && (trim || inner.starts_with("/*"))
            {
                self.comment(delimiter)?;
            } else {
                self.emit(Kind::LeftDelim, delimiter);
                self.parens = 0;
                self.action()?;
            }
        }
        let length = self.rest().len();
        if length > 0 {
            self.emit(Kind::Text, length);
        }
        self.emit(Kind::Eof, 0);
        Ok(())
    }

    fn comment(&mut self, delimiter: usize) -> Result<(), String> {
        let body = &self.rest()[delimiter..];
        let start = body.find("/*").unwrap_or_default() + 2;
        let Some(length) = body[start..].find("*/") else {
            return Err("unclosed comment".to_owned());
        };
        let after = &body[start + length + 2..];
        let end = self.source.len() - after.len();
        match right_delimiter(after) {
            Some((length, trim)) => {
                self.at = end;
                self.close(length, trim);
                Ok(())
            }
            None => {
                self.at = end;
                Err("comment ends before closing delimiter".to_owned())
            }
        }
    }

    /// Steps over a right delimiter, and over the white space behind it if it asks for that.
    fn close(&mut self, length: usize, trim: bool) {
        self.at += length;
        if trim {
            self.at += self.rest().len() - self.rest().trim_start_matches(is_space).len();
        }
    }

    /// From behind a left delimiter to behind its right delimiter.
    fn action(&mut self) -> Result<(), String> {
        loop {
            let rest = self.rest();
            if let Some((length, trim)) = right_delimiter(rest) {
                if self.parens > 0 {
                    return Err("unclosed left paren".to_owned());
                }
                self.emit(Kind::RightDelim, length);
                self.close(0, trim);
                return Ok(());
            }
            let Some(c) = rest.chars().next() else {
                return Err("unclosed action".to_owned());
            };
            match c {
                c if is_space(c) => self.space(),
                '=' => self.emit(Kind::Assign, 1),
                ':' if rest.starts_with(":=") => self.emit(Kind::Declare, 2),
                ':' => return Err("expected :=".to_owned()),
                '|' => self.emit(Kind::Pipe, 1),
                '"' => self.quoted('"', Kind::Str, "unterminated quoted string")?,
                '\'' => self.quoted('\'', Kind::Char, "unterminated character constant")?,
                '`' => match rest[1..].find('`') {
                    Some(length) => self.emit(Kind::RawStr, length + 2),
                    None => return Err("unterminated raw quoted string".to_owned()),
                },
                '$' => self.name(Kind::Variable)?,
                '.' if !rest[1..].starts_with(|c: char| c.is_ascii_digit()) => {
                    self.name(Kind::Field)?;
                }
                '.' | '+' | '-' | '0'..='9' => self.number()?,
                c if is_word(c) => self.name(Kind::Identifier)?,
                '(' => {
                    self.parens += 1;
                    self.emit(Kind::LeftParen, 1);
                }
                ')' => {
                    let Some(parens) = self.parens.checked_sub(1) else {
                        return Err("unexpected right paren".to_owned());
                    };
                    self.parens = parens;
                    self.emit(Kind::RightParen, 1);
                }
                c if c.is_ascii_graphic() => self.emit(Kind::Other, 1),
                c => {
                    return Err(format!(
                        "unrecognized character in action: {}",
                        character(c)
                    ));
                }
            }
        }
    }

    fn space(&mut self) {
        let rest = self.rest();
        let mut length = rest.len() - rest.trim_start_matches(is_space).len();
        if rest[length..].starts_with("-}}") {
            // The last blank belongs to the delimiter.
            length -= 1;
        }
        if length > 0 {
            self.emit(Kind::Space, length);
        }
    }

    fn quoted(&mut self, quote: char, kind: Kind, unterminated: &str) -> Result<(), String> {
        let mut escaped = false;
        for (at, c) in self.rest().char_indices().skip(1) {
            match c {
                '\n' => break,
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                c if c == quote => {
                    self.emit(kind, at + 1);
                    return Ok(());
                }
                _ => {}
            }
        }
        Err(unterminated.to_owned())
    }

    /// `.Field`, `$variable`, or a word; also the bare `.` and `$`.
    fn name(&mut self, kind: Kind) -> Result<(), String> {
        let rest = self.rest();
        let mark = usize::from(kind != Kind::Identifier);
        let length = mark
            + rest[mark..]
                .find(|c| !is_word(c))
                .unwrap_or(rest.len() - mark);
        if let Some(c) = rest[length..].chars().next()
            && !(is_space(c)
                || matches!(c, '.' | ',' | '|' | ':' | '(' | ')')
                || rest[length..].starts_with("}}"))
        {
            return Err(format!("bad character {}", character(c)));
        }
        let kind = match (kind, &rest[..length]) {
            (Kind::Field, ".") => Kind::Dot,
            (Kind::Identifier, word) => keyword(word),
            (kind, _) => kind,
        };
        self.emit(kind, length);
        Ok(())
    }

    fn number(&mut self) -> Result<(), String> {
        let rest = self.rest();
        let bytes = rest.as_bytes();
        let mut at = usize::from(matches!(bytes[0], b'+' | b'-'));
        let digit = |at: usize, accepted: &str| {
            bytes
                .get(at)
                .is_some_and(|&b| b == b'_' || accepted.as_bytes().contains(&b))
        };
        let (mut digits, mut exponent) = ("0123456789", "eE");
        if digit(at, "0") {
            (digits, exponent, at) = match bytes.get(at + 1) {
                Some(b'x' | b'X') => ("0123456789abcdefABCDEF", "pP", at + 2),
                Some(b'o' | b'O') => ("01234567", "", at + 2),
                Some(b'b' | b'B') => ("01", "", at + 2),
                _ => (digits, exponent, at),
            };
        }
        let run = |mut at: usize, accepted: &str| {
            while digit(at, accepted) {
                at += 1;
            }
            at
        };
        at = run(at, digits);
        if bytes.get(at) == Some(&b'.') {
            at = run(at + 1, digits);
        }
        if bytes
            .get(at)
            .is_some_and(|b| exponent.as_bytes().contains(b))
        {
            at += 1;
            at += usize::from(matches!(bytes.get(at), Some(b'+' | b'-')));
            at = run(at, "0123456789");
        }
        match rest[at..].chars().next() {
            Some(c) if is_word(c) => {
                let text = &rest[..at + c.len_utf8()];
                Err(format!("bad number syntax: {}", super::quote::quote(text)))
            }
            _ => {
                self.emit(Kind::Number, at);
                Ok(())
            }
        }
    }
}

/// Length of a right delimiter at the start of `rest`, and whether it trims.
fn right_delimiter(rest: &str) -> Option<(usize, bool)> {
    if rest.starts_with("}}") {
        return Some((2, false));
    }
    let blank = rest.chars().next().filter(|c| is_space(*c))?;
    let length = blank.len_utf8();
    rest[length..]
        .starts_with("-}}")
        .then_some((length + 3, true))
}

fn keyword(word: &str) -> Kind {
    match word {
        "true" | "false" => Kind::Bool,
        "nil" => Kind::Nil,
        "block" => Kind::Block,
        "break" => Kind::Break,
        "continue" => Kind::Continue,
        "define" => Kind::Define,
        "else" => Kind::Else,
        "end" => Kind::End,
        "if" => Kind::If,
        "range" => Kind::Range,
        "template" => Kind::Template,
        "with" => Kind::With,
        _ => Kind::Identifier,
    }
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

/// A character as Go's `%#U` shows it.
fn character(c: char) -> String {
    let code = format!("U+{:04X}", u32::from(c));
    if printable(c) {
        format!("{code} '{c}'")
    } else {
        code
    }
}
