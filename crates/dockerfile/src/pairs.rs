//! `ENV`, `LABEL` and `ARG`: names and values, quotes still on.

use crate::mistake::Mistake;

/// `name=value …`, or the old form `name value with blanks`; the flag says that it was the old form.
pub(crate) fn pairs(
    instruction: &str,
    arguments: &str,
    escape: char,
) -> Result<(Vec<(String, String)>, bool), Mistake> {
    let words = words(arguments, escape);
    let Some(first) = words.first() else {
        return Err(Mistake::new(format!(
            "{instruction} requires at least one argument"
        )));
    };
    if !first.contains('=') {
        return match arguments.split_once([' ', '\t', '\u{b}', '\u{c}', '\r']) {
            Some((name, value)) => {
                let value = value.trim_start().to_owned();
                Ok((vec![(name.to_owned(), value)], true))
            }
            None => Err(Mistake::new(format!(
                "{instruction} must have two arguments"
            ))),
        };
    }
    let pair = |word: &String| match word.split_once('=') {
        Some(("", _)) => Err(blank(instruction)),
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
        None => Err(Mistake::new(format!(
            "Syntax error - can't find = in {word:?}. Must be of the form: name=value"
        ))),
    };
    let pairs = words.iter().map(pair).collect::<Result<_, _>>()?;
    Ok((pairs, false))
}

/// Names, some with values.
pub(crate) fn arguments(
    arguments: &str,
    escape: char,
) -> Result<Vec<(String, Option<String>)>, Mistake> {
    let words = words(arguments, escape);
    if words.is_empty() {
        return Err(Mistake::new("ARG requires at least one argument"));
    }
    let argument = |word: String| match word.split_once('=') {
        Some(("", _)) => Err(blank("ARG")),
        Some((name, value)) => Ok((name.to_owned(), Some(value.to_owned()))),
        None => Ok((word, None)),
    };
    words.into_iter().map(argument).collect()
}

fn blank(instruction: &str) -> Mistake {
    Mistake::new(format!("{instruction} names can not be blank"))
}

/// Splits at blanks outside quotes; quotes and escapes stay. An escape character at the very end is dropped.
fn words(text: &str, escape: char) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut open = None;
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if letter == escape && open != Some('\'') {
            if let Some(next) = letters.next() {
                word.extend([letter, next]);
            }
            continue;
        }
        match open {
            Some(quote) if letter == quote => open = None,
            None if letter == '\'' || letter == '"' => open = Some(letter),
            None if letter.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                continue;
            }
            _ => {}
        }
        word.push(letter);
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits() {
        for (text, wanted) in [
            ("", vec![]),
            (" a  b\t", vec!["a", "b"]),
            ("a=\"x y\" b='p q'", vec!["a=\"x y\"", "b='p q'"]),
            ("a=x\\ y b", vec!["a=x\\ y", "b"]),
            ("a=\"x\\\" y\" b", vec!["a=\"x\\\" y\"", "b"]),
            ("a='x\\' b", vec!["a='x\\'", "b"]),
            ("a\\", vec!["a"]),
            ("a=\"x y", vec!["a=\"x y"]),
            ("\"\" b", vec!["\"\"", "b"]),
        ] {
            assert_eq!(words(text, '\\'), wanted, "{text}");
        }
        assert_eq!(words("a=x` y b=c:\\ d", '`'), ["a=x` y", "b=c:\\", "d"]);
    }

    #[test]
    fn pairs_of_both_forms() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        for (text, wanted, old) in [
            (
                "a=1 b=\"x y\"",
                vec![pair("a", "1"), pair("b", "\"x y\"")],
                false,
            ),
            ("a=", vec![pair("a", "")], false),
            ("a=b=c", vec![pair("a", "b=c")], false),
            ("a b c", vec![pair("a", "b c")], true),
            ("a \t b=c", vec![pair("a", "b=c")], true),
            ("a \"b c\"", vec![pair("a", "\"b c\"")], true),
        ] {
            let found = pairs("ENV", text, '\\').expect(text);
            assert_eq!(found, (wanted, old), "{text}");
        }
        for (text, wanted) in [
            ("", "ENV requires at least one argument"),
            ("a", "ENV must have two arguments"),
            ("=a", "ENV names can not be blank"),
            (
                "a=b c",
                "Syntax error - can't find = in \"c\". Must be of the form: name=value",
            ),
        ] {
            let mistake = pairs("ENV", text, '\\').expect_err(text);
            assert_eq!(mistake.text, wanted);
        }
    }

    #[test]
    fn arguments_with_and_without_value() {
        let found = arguments("a b=1 c= d=\"x y\"", '\\').expect("good arguments");
        let found: Vec<_> = found
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_deref()))
            .collect();
        let wanted = [
            ("a", None),
            ("b", Some("1")),
            ("c", Some("")),
            ("d", Some("\"x y\"")),
        ];
        assert_eq!(found, wanted);
        for (text, wanted) in [
            ("", "ARG requires at least one argument"),
            ("a =b", "ARG names can not be blank"),
        ] {
            assert_eq!(arguments(text, '\\').expect_err(text).text, wanted);
        }
    }
}
