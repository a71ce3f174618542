//! Where a line opens heredocs: words like `<<EOF`, `3<<-"EOF"`.
//!
//! Words are the shell's: quotes, escapes and `${…}` keep blanks together. Shifts inside `$((…))` open nothing, nor does a
//! line whose quotes do not close, nor a word that merely contains `<<`.

use std::ops::Range;

use crate::Heredoc;

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Opening {
    /// The line that ends the body.
    pub(crate) name: String,
    pub(crate) expand: bool,
    pub(crate) chomp: bool,
    pub(crate) descriptor: u32,
    /// The word's place in the line.
    pub(crate) span: Range<usize>,
}

impl Opening {
    /// With its body, as it is in the file.
    pub(crate) fn filled(self, body: &str) -> Heredoc {
        let content = if self.chomp {
            body.split_inclusive('\n')
                .map(|line| line.trim_start_matches('\t'))
                .collect()
        } else {
            body.to_owned()
        };
        Heredoc {
            name: self.name,
            content,
            expand: self.expand,
            descriptor: self.descriptor,
        }
    }
}

/// All that a line opens, in its order.
pub(crate) fn openings(line: &str) -> Vec<Opening> {
    if !line.contains("<<") {
        return Vec::new();
    }
    let words = words(line).unwrap_or_default();
    words
        .into_iter()
        .filter_map(|span| opening(line, span))
        .collect()
}

fn opening(line: &str, span: Range<usize>) -> Option<Opening> {
    let word = &line[span.clone()];
    let digits = word.len() - word.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let rest = word[digits..].strip_prefix("<<")?;
    let (chomp, rest) = match rest.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let rest = rest.trim_start();
    if rest.contains('<') {
        return None;
    }
    let (name, quoted) = unquote(rest);
    let descriptor = word[..digits].parse().unwrap_or(0);
    (!name.is_empty()).then_some(Opening {
        name,
        expand: !quoted,
        chomp,
        descriptor,
        span,
    })
}

/// The word without quotes and escapes, and whether it had quotes.
fn unquote(word: &str) -> (String, bool) {
    let mut name = String::new();
    let mut open = None;
    let mut quoted = false;
    let mut letters = word.chars();
    while let Some(letter) = letters.next() {
        match (letter, open) {
            ('\'' | '"', None) => {
                open = Some(letter);
                quoted = true;
            }
            (_, Some(quote)) if letter == quote => open = None,
            ('\\', None | Some('"')) => name.extend(letters.next()),
            _ => name.push(letter),
        }
    }
    (name, quoted)
}

/// The words' places; nothing if a quote or a brace does not close.
fn words(line: &str) -> Option<Vec<Range<usize>>> {
    let mut words = Vec::new();
    let mut start = None;
    let mut at = 0;
    while let Some(letter) = line[at..].chars().next() {
        let begin = at;
        at += letter.len_utf8();
        if letter.is_whitespace() {
            words.extend(start.take().map(|start| start..begin));
            continue;
        }
        start.get_or_insert(begin);
        let rest = &line[at..];
        match letter {
            '\\' => at += rest.chars().next().map_or(0, char::len_utf8),
            '\'' => at += rest.find('\'')? + 1,
            '"' => at += closing(rest, '"')?,
            '$' if rest.starts_with('{') => at += closing(rest, '}')?,
            '$' if rest.starts_with("((") => at += rest.find("))").map_or(0, |end| end + 2),
            '<' if rest.starts_with('<') => {
                let after = rest[1..].strip_prefix('-').unwrap_or(&rest[1..]);
                at = line.len() - after.trim_start().len();
            }
            _ => {}
        }
    }
    words.extend(start.map(|start| start..line.len()));
    Some(words)
}

/// Behind the first `end` that is not escaped.
fn closing(text: &str, end: char) -> Option<usize> {
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        if letter == '\\' {
            letters.next();
        } else if letter == end {
            return Some(at + letter.len_utf8());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds() {
        // Name, expand, chomp, descriptor.
        let plain = |name: &str| (name.to_owned(), true, false, 0);
        for (line, wanted) in [
            ("<<EOF", vec![plain("EOF")]),
            ("<<  EOF  > foo", vec![plain("EOF")]),
            ("<<-EOF", vec![("EOF".to_owned(), true, true, 0)]),
            ("<<- EOF", vec![("EOF".to_owned(), true, true, 0)]),
            ("<< -EOF", vec![plain("-EOF")]),
            ("<<'EOF'", vec![("EOF".to_owned(), false, false, 0)]),
            ("<<\"EOF\"", vec![("EOF".to_owned(), false, false, 0)]),
            ("<<EO\"F\"", vec![("EOF".to_owned(), false, false, 0)]),
            ("<<eo\\'f", vec![plain("eo'f")]),
            ("<<'e'o\\'f", vec![("eo'f".to_owned(), false, false, 0)]),
            ("<<'one two'", vec![("one two".to_owned(), false, false, 0)]),
            ("3<<EOF", vec![("EOF".to_owned(), true, false, 3)]),
            ("<<$EOF", vec![plain("$EOF")]),
            ("<<A <<B /d", vec![plain("A"), plain("B")]),
            ("python3 - <<PY", vec![plain("PY")]),
            ("cat <<A > a && cat <<B > b", vec![plain("A"), plain("B")]),
            ("echo ${x:-<<A b} <<E", vec![plain("E")]),
            ("echo $((1 << 4)) <<E", vec![plain("E")]),
            ("'<<EOF'", vec![]),
            ("\"<<EOF\"", vec![]),
            ("\\<<EOF", vec![]),
            ("<<<EOF", vec![]),
            ("<<A<<B", vec![]),
            ("a<<EOF", vec![]),
            ("<<", vec![]),
            ("<<-", vec![]),
            ("<<''", vec![]),
            ("<<'EOF", vec![]),
            ("<<EOF it's", vec![]),
            ("${a <<EOF", vec![]),
        ] {
            let found: Vec<_> = openings(line)
                .into_iter()
                .map(|found| (found.name, found.expand, found.chomp, found.descriptor))
                .collect();
            assert_eq!(found, wanted, "{line}");
        }
    }

    #[test]
    fn fills() {
        let chomped = openings("<<-E").remove(0).filled("\ta\n\t\tb\n c\n");
        assert_eq!(chomped.content, "a\nb\n c\n");
        assert_eq!(openings("<<E").remove(0).filled("\ta\n").content, "\ta\n");
    }
}
