//! Command lines: a JSON array, or text for the shell.

use crate::Command;
use crate::json::{self, Form};
use crate::mistake::Mistake;

/// What a JSON array with anything but strings is answered with.
pub(crate) const NOT_STRINGS: &str =
    "when using JSON array syntax, arrays must be comprised of strings only";

/// Reads either form. Nothing at all is an empty array, which resets `CMD` and `ENTRYPOINT`. The second value says that the
/// text looks like an array and is none.
pub(crate) fn read(text: &str) -> Result<(Command, bool), Mistake> {
    if text.is_empty() {
        return Ok((Command::Exec(Vec::new()), false));
    }
    match json::form(text) {
        Form::Strings(words) => Ok((Command::Exec(words), false)),
        Form::Mixed => Err(Mistake::new(NOT_STRINGS)),
        Form::NotJson => {
            // `[ -f x ] && y` is a test, not a failed array.
            let begins = text.starts_with("[\"") || text.starts_with("['");
            let doubtful = begins || (text.starts_with('[') && text.ends_with(']'));
            Ok((Command::Shell(text.to_owned()), doubtful))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let shell = |text: &str| Command::Shell(text.to_owned());
        let exec =
            |words: &[&str]| Command::Exec(words.iter().map(|word| (*word).to_owned()).collect());
        for (text, command, doubtful) in [
            ("", exec(&[]), false),
            ("[]", exec(&[]), false),
            ("[\"a\", \"b\"]", exec(&["a", "b"]), false),
            ("a b", shell("a b"), false),
            ("[ -f x ] && y", shell("[ -f x ] && y"), false),
            ("['a']", shell("['a']"), true),
            ("[\"a\", ", shell("[\"a\", "), true),
            ("[a, b]", shell("[a, b]"), true),
        ] {
            assert_eq!(read(text), Ok((command, doubtful)), "{text}");
        }
        assert_eq!(read("[\"a\", 1]").expect_err("a number").text, NOT_STRINGS);
    }
}
