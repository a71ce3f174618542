//! What is wrong with a Dockerfile, where, and the lines around it.

use std::fmt;

use crate::Lines;

/// Lines shown before and after the wrong ones.
const CONTEXT: usize = 2;
/// Of a very long instruction, only the beginning is shown.
const MOST_LINES: usize = 40;
/// Of a very long line, only the beginning is shown.
const MOST_LETTERS: usize = 300;

/// A Dockerfile that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    /// Where the instruction stands; line 0 if the file as a whole is wrong.
    pub lines: Lines,
    /// In upper case.
    pub instruction: Option<String>,
    /// One sentence.
    pub text: String,
    /// The wrong lines and some around them, with their numbers.
    pub shown: Vec<(usize, String)>,
    /// What was probably meant.
    pub suggestion: Option<String>,
}

impl fmt::Display for ParseError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.lines.first > 0 {
            write!(
                formatter,
                "dockerfile parse error on line {}: ",
                self.lines.first
            )?;
        }
        formatter.write_str(&self.text)?;
        match &self.suggestion {
            Some(suggestion) => write!(formatter, " (did you mean {suggestion}?)"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ParseError {}

impl ParseError {
    /// Many lines for people: the place, the lines with the wrong ones marked, the sentence. `file` is what they call it.
    pub fn report(&self, file: &str) -> String {
        if self.lines.first == 0 {
            return format!("{file}: {self}\n");
        }
        let mut report = format!("{file}:{}\n{RULE}\n", self.lines.first);
        for (number, line) in &self.shown {
            let wrong = (self.lines.first..=self.lines.last).contains(number);
            let mark = if wrong { ">>>" } else { "   " };
            let line = format!("{number:4} | {mark} {line}");
            report.push_str(line.trim_end());
            report.push('\n');
        }
        report.push_str(&format!("{RULE}\n{self}\n"));
        report
    }
}

const RULE: &str = "--------------------";

/// The named lines of `text` with two before and two after them, each with its number; long lines and long instructions are
/// cut.
pub fn excerpt(text: &[u8], lines: Lines) -> Vec<(usize, String)> {
    if lines.first == 0 {
        return Vec::new();
    }
    let last = lines.last.min(lines.first.saturating_add(MOST_LINES));
    let from = lines.first.saturating_sub(CONTEXT).max(1);
    let until = last.saturating_add(CONTEXT);
    // The end of the last line begins no other one.
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    text.split(|byte| *byte == b'\n')
        .enumerate()
        .map(|(index, line)| (index + 1, line))
        .skip_while(|(number, _)| *number < from)
        .take_while(|(number, _)| *number <= until)
        .map(|(number, line)| (number, shorten(line)))
        .collect()
}

fn shorten(line: &[u8]) -> String {
    let line = String::from_utf8_lossy(line);
    let line = line.trim_start_matches('\u{feff}').trim_end();
    match line.char_indices().nth(MOST_LETTERS) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

/// A sentence and a suggestion, before it is known where.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mistake {
    pub(crate) text: String,
    pub(crate) suggestion: Option<String>,
}

impl Mistake {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            suggestion: None,
        }
    }

    pub(crate) fn suggesting(text: impl Into<String>, suggestion: Option<String>) -> Self {
        Self {
            text: text.into(),
            suggestion,
        }
    }

    pub(crate) fn at(self, lines: Lines, instruction: Option<String>, source: &[u8]) -> ParseError {
        ParseError {
            lines,
            instruction,
            text: self.text,
            shown: excerpt(source, lines),
            suggestion: self.suggestion,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports() {
        let text = b"FROM a\n\nCOPPY x \\\n  y\nRUN b\nRUN c\nRUN d\n";
        let error = Mistake::suggesting("unknown instruction: COPPY", Some("COPY".to_owned())).at(
            Lines { first: 3, last: 4 },
            Some("COPPY".to_owned()),
            text,
        );
        let sentence =
            "dockerfile parse error on line 3: unknown instruction: COPPY (did you mean COPY?)";
        assert_eq!(error.to_string(), sentence);
        let wanted = format!(
            "Dockerfile:3\n{RULE}\n   1 |     FROM a\n   2 |\n   3 | >>> COPPY x \\\n   4 | >>>   y\n   5 |     RUN b\n   6 |     RUN c\n{RULE}\n{sentence}\n"
        );
        assert_eq!(error.report("Dockerfile"), wanted);
    }

    #[test]
    fn excerpts() {
        let lines = |first, last| Lines { first, last };
        let numbers = |text: &[u8], lines| -> Vec<usize> {
            excerpt(text, lines)
                .iter()
                .map(|(number, _)| *number)
                .collect()
        };
        assert_eq!(numbers(b"a\nb\nc\n", lines(1, 1)), [1, 2, 3]);
        assert_eq!(numbers(b"a\nb\nc", lines(9, 9)), [0usize; 0]);
        assert_eq!(numbers(b"a", lines(0, 0)), [0usize; 0]);
        let long = "x".repeat(MOST_LETTERS + 1);
        let shown = excerpt(long.as_bytes(), lines(1, 1));
        assert_eq!(shown[0].1.chars().count(), MOST_LETTERS + 1);
        let many = "a\n".repeat(1000);
        assert_eq!(
            excerpt(many.as_bytes(), lines(1, 900)).len(),
            1 + MOST_LINES + CONTEXT
        );
    }
}
