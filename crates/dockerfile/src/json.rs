//! The exec form: a JSON array of strings, told apart from text that merely begins with a bracket.

/// What a text is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Strings(Vec<String>),
    /// JSON, an array, but not of strings alone.
    Mixed,
    NotJson,
}

/// Deeper nesting is nobody's command.
const DEPTH: usize = 100;

pub(crate) fn form(text: &str) -> Form {
    let mut scanner = Scanner {
        rest: text.trim_start(),
    };
    let mut strings = Vec::new();
    let mut mixed = false;
    let read = scanner.list('[', ']', |scanner| {
        if scanner.rest.starts_with('"') {
            strings.push(scanner.string()?);
        } else {
            mixed = true;
            scanner.value(DEPTH)?;
        }
        Some(())
    });
    scanner.blanks();
    match read {
        Some(()) if !scanner.rest.is_empty() => Form::NotJson,
        Some(()) if mixed => Form::Mixed,
        Some(()) => Form::Strings(strings),
        None => Form::NotJson,
    }
}

struct Scanner<'a> {
    rest: &'a str,
}

impl Scanner<'_> {
    fn blanks(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    fn take(&mut self, wanted: char) -> Option<()> {
        self.rest = self.rest.strip_prefix(wanted)?;
        Some(())
    }

    /// Elements between commas; blanks around each are skipped.
    fn list(
        &mut self,
        open: char,
        close: char,
        mut element: impl FnMut(&mut Self) -> Option<()>,
    ) -> Option<()> {
        self.take(open)?;
        self.blanks();
        if self.take(close).is_some() {
            return Some(());
        }
        loop {
            self.blanks();
            element(self)?;
            self.blanks();
            if self.take(close).is_some() {
                return Some(());
            }
            self.take(',')?;
        }
    }

    fn value(&mut self, depth: usize) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        match self.rest.chars().next()? {
            '"' => self.string().map(drop),
            '[' => self.list('[', ']', |scanner| scanner.value(depth)),
            '{' => self.list('{', '}', |scanner| {
                scanner.string()?;
                scanner.blanks();
                scanner.take(':')?;
                scanner.blanks();
                scanner.value(depth)
            }),
            '-' | '0'..='9' => self.number(),
            _ => {
                let word = ["true", "false", "null"]
                    .into_iter()
                    .find(|word| self.rest.starts_with(word))?;
                self.rest = &self.rest[word.len()..];
                Some(())
            }
        }
    }

    fn digits(&mut self) -> Option<()> {
        let rest = self.rest.trim_start_matches(|c: char| c.is_ascii_digit());
        let found = rest.len() < self.rest.len();
        self.rest = rest;
        found.then_some(())
    }

    fn number(&mut self) -> Option<()> {
        self.rest = self.rest.strip_prefix('-').unwrap_or(self.rest);
        if self.take('0').is_none() {
            self.digits()?;
        }
        if self.take('.').is_some() {
            self.digits()?;
        }
        if let Some(rest) = self.rest.strip_prefix(['e', 'E']) {
            self.rest = rest.strip_prefix(['+', '-']).unwrap_or(rest);
            self.digits()?;
        }
        Some(())
    }

    fn string(&mut self) -> Option<String> {
        self.take('"')?;
        let mut string = String::new();
        loop {
            let letter = self.rest.chars().next()?;
            self.rest = &self.rest[letter.len_utf8()..];
            match letter {
                '"' => return Some(string),
                '\\' => string.push(self.escape()?),
                '\0'..='\u{1f}' => return None,
                _ => string.push(letter),
            }
        }
    }

    fn escape(&mut self) -> Option<char> {
        let letter = self.rest.chars().next()?;
        self.rest = &self.rest[letter.len_utf8()..];
        Some(match letter {
            '"' | '\\' | '/' => letter,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let first = self.unit()?;
                let rest = self.rest;
                if (0xd800..0xdc00).contains(&first) && rest.starts_with("\\u") {
                    self.rest = &rest[2..];
                    let second = self.unit()?;
                    if let Some(Ok(letter)) = char::decode_utf16([first, second]).next() {
                        return Some(letter);
                    }
                    // Two halves that are no pair: the second may begin another one.
                    self.rest = rest;
                }
                char::from_u32(u32::from(first)).unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            _ => return None,
        })
    }

    fn unit(&mut self) -> Option<u16> {
        let digits = self.rest.get(..4)?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        self.rest = &self.rest[4..];
        u16::from_str_radix(digits, 16).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let strings =
            |words: &[&str]| Form::Strings(words.iter().map(|word| (*word).to_owned()).collect());
        for (text, wanted) in [
            ("[]", strings(&[])),
            (" [ ] ", strings(&[])),
            (r#"["a", "b c"]"#, strings(&["a", "b c"])),
            (
                r#"["\"\\\/\n\u00e9\ud83d\ude00"]"#,
                strings(&["\"\\/\né😀"]),
            ),
            (r#"["\ud83d"]"#, strings(&["\u{fffd}"])),
            (r#"["\ud83d\u0041"]"#, strings(&["\u{fffd}A"])),
            (r#"["a", 1]"#, Form::Mixed),
            (r#"[-1.5e+3, null, {"a": [true, {}]}]"#, Form::Mixed),
            (r#"[["a"]]"#, Form::Mixed),
            ("", Form::NotJson),
            ("a", Form::NotJson),
            ("{}", Form::NotJson),
            ("['a']", Form::NotJson),
            (r#"["a",]"#, Form::NotJson),
            (r#"["a"] b"#, Form::NotJson),
            (r#"["a""#, Form::NotJson),
            (r#"["\x"]"#, Form::NotJson),
            (r#"["\u12é4"]"#, Form::NotJson),
            ("[\"a\tb\"]", Form::NotJson),
            ("[ -f x ] && y", Form::NotJson),
            ("[01]", Form::NotJson),
            ("[1.]", Form::NotJson),
        ] {
            assert_eq!(form(text), wanted, "{text}");
        }
        assert_eq!(form(&"[".repeat(100_000)), Form::NotJson);
    }
}
