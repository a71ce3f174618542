//! Flags between an instruction and its arguments: `--name`, `--name=value`.
//!
//! Each instruction names those it knows; all others are refused, as are values that are missing or said twice.

use crate::mistake::Mistake;
use crate::suggest::closest;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Takes {
    /// Nothing, `true` or `false`.
    Bool,
    Value,
    /// A value each time.
    Values,
}

/// Flags an instruction knows.
pub(crate) type Known = &'static [(&'static str, Takes)];

/// Flags that were given and are known.
#[derive(Debug, Default)]
pub(crate) struct Flags {
    given: Vec<(&'static str, String)>,
}

impl Flags {
    pub(crate) fn check(words: &[String], known: Known) -> Result<Self, Mistake> {
        let mut flags = Self::default();
        for word in words {
            let (flag, value) = match word.split_once('=') {
                Some((flag, value)) => (flag, Some(value)),
                None => (word.as_str(), None),
            };
            let asked = flag.strip_prefix("--").unwrap_or(flag);
            let Some((name, takes)) = known.iter().find(|(name, _)| *name == asked) else {
                let names = known.iter().map(|(name, _)| *name);
                let text = format!("unknown flag: {flag}");
                return Err(Mistake::suggesting(text, closest(asked, names)));
            };
            if *takes != Takes::Values && flags.value(name).is_some() {
                return Err(Mistake::new(format!("duplicate flag specified: {flag}")));
            }
            let value = match (takes, value) {
                (Takes::Bool, None) => "true".to_owned(),
                (Takes::Bool, Some("")) | (Takes::Value | Takes::Values, None) => {
                    return Err(Mistake::new(format!("missing a value on flag: {flag}")));
                }
                (Takes::Bool, Some(value)) => {
                    let lower = value.to_ascii_lowercase();
                    if !["true", "false"].contains(&lower.as_str()) {
                        return Err(Mistake::new(format!(
                            "expecting boolean value for flag {flag}, not: {value}"
                        )));
                    }
                    lower
                }
                (Takes::Value | Takes::Values, Some(value)) => value.to_owned(),
            };
            flags.given.push((name, value));
        }
        Ok(flags)
    }

    pub(crate) fn value(&self, name: &str) -> Option<String> {
        self.values(name).into_iter().next()
    }

    /// Like [`Self::value`]; an empty one is none.
    pub(crate) fn filled(&self, name: &str) -> Option<String> {
        self.value(name).filter(|value| !value.is_empty())
    }

    pub(crate) fn values(&self, name: &str) -> Vec<String> {
        self.given
            .iter()
            .filter(|(given, _)| *given == name)
            .map(|(_, value)| value.clone())
            .collect()
    }

    pub(crate) fn switch(&self, name: &str) -> Option<bool> {
        self.value(name).map(|value| value == "true")
    }
}

/// Flags at the beginning of `arguments`, their quotes and escapes gone, and what follows them. `--` alone ends them.
pub(crate) fn split(arguments: &str) -> (Vec<String>, &str) {
    let mut flags = Vec::new();
    let mut rest = arguments.trim_start();
    while rest.starts_with("--") {
        let (word, after) = word(rest);
        rest = after.trim_start();
        if word == "--" {
            break;
        }
        flags.push(word);
    }
    (flags, rest)
}

fn word(text: &str) -> (String, &str) {
    let mut word = String::new();
    let mut open = None;
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match (letter, open) {
            // Backslash whatever the `escape` directive says, as BuildKit has it.
            ('\\', _) => word.extend(letters.next().map(|(_, letter)| letter)),
            ('\'' | '"', None) => open = Some(letter),
            (_, Some(quote)) if letter == quote => open = None,
            (_, None) if letter.is_whitespace() => return (word, &text[at..]),
            _ => word.push(letter),
        }
    }
    (word, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits() {
        for (arguments, flags, rest) in [
            ("", vec![], ""),
            ("a --b", vec![], "a --b"),
            ("--a b", vec!["--a"], "b"),
            (
                "--a=1  --b=\"x y\"\t c  d",
                vec!["--a=1", "--b=x y"],
                "c  d",
            ),
            ("--a='x\\' y' b", vec!["--a=x' y"], "b"),
            ("--a=x\\ y b", vec!["--a=x y"], "b"),
            ("-- --a", vec![], "--a"),
            ("--a", vec!["--a"], ""),
            ("--a=\"x", vec!["--a=x"], ""),
            ("--a\\", vec!["--a"], ""),
            ("-a b", vec![], "-a b"),
        ] {
            let flags: Vec<String> = flags.into_iter().map(str::to_owned).collect();
            assert_eq!(split(arguments), (flags, rest), "{arguments}");
        }
    }

    #[test]
    fn checks() {
        let known: Known = &[
            ("link", Takes::Bool),
            ("from", Takes::Value),
            ("exclude", Takes::Values),
        ];
        let check = |words: &str| {
            let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
            Flags::check(&words, known)
        };
        let flags = check("--link --from=a=b --exclude=x --exclude=y").expect("good flags");
        assert_eq!(flags.switch("link"), Some(true));
        assert_eq!(flags.value("from").as_deref(), Some("a=b"));
        assert_eq!(flags.values("exclude"), ["x", "y"]);
        let flags = check("--link=FALSE --from=").expect("good flags");
        assert_eq!(flags.switch("link"), Some(false));
        assert_eq!(flags.value("from").as_deref(), Some(""));
        assert_eq!(flags.filled("from"), None);
        for (words, text, suggestion) in [
            ("--form=a", "unknown flag: --form", Some("from")),
            ("--zzz", "unknown flag: --zzz", None),
            ("--from", "missing a value on flag: --from", None),
            ("--link=", "missing a value on flag: --link", None),
            ("--exclude", "missing a value on flag: --exclude", None),
            (
                "--link=yes",
                "expecting boolean value for flag --link, not: yes",
                None,
            ),
            (
                "--from=a --from=b",
                "duplicate flag specified: --from",
                None,
            ),
            ("--link --link", "duplicate flag specified: --link", None),
        ] {
            let mistake = check(words).expect_err(words);
            assert_eq!(
                (mistake.text.as_str(), mistake.suggestion.as_deref()),
                (text, suggestion)
            );
        }
    }
}
