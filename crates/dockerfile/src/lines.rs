//! From lines to whole instructions: parser directives, comments, continuation lines, the bodies of heredocs.
//!
//! A line that ends in the escape character, blanks after it aside, goes on in the next one; comments and (with a warning)
//! empty lines in between are skipped. A doubled escape character at the end is a literal one.

use std::collections::HashSet;

use crate::Lines;
use crate::mistake::Mistake;
use crate::statement::CLOSING;

#[derive(Debug)]
pub(crate) struct Reader<'a> {
    /// With their line ends.
    lines: Vec<&'a str>,
    /// How many are read: the number of the last one read, counted from one.
    read: usize,
    pub(crate) escape: char,
}

/// An instruction with its continuation lines.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Joined {
    pub(crate) lines: Lines,
    pub(crate) text: String,
    pub(crate) has_empty_line: bool,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(text: &'a str, escape: char) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        Self {
            lines: text.split_inclusive('\n').collect(),
            read: 0,
            escape,
        }
    }

    /// Reads `# name=value` at the beginning of the file, of which `escape` alone means something here. The lines stay: they
    /// are comments.
    pub(crate) fn directives(&mut self) -> Result<(), (Lines, Mistake)> {
        let mut seen = HashSet::new();
        for (index, line) in self.lines.iter().enumerate() {
            let Some((name, value)) = directive(line) else {
                return Ok(());
            };
            let at = Lines {
                first: index + 1,
                last: index + 1,
            };
            if !seen.insert(name.clone()) {
                let text = format!("only one {name} parser directive can be used");
                return Err((at, Mistake::new(text)));
            }
            if name == "escape" {
                self.escape = match value {
                    "\\" => '\\',
                    "`" => '`',
                    _ => {
                        let text = format!("invalid escape token '{value}' does not match ` or \\");
                        return Err((at, Mistake::new(text)));
                    }
                };
            }
        }
        Ok(())
    }

    /// The next instruction, nothing at the end of the file.
    pub(crate) fn next(&mut self) -> Option<Joined> {
        loop {
            let line = self.line()?.trim_start();
            let first = self.read;
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (part, mut goes_on) = self.continued(line);
            let mut text = part.to_owned();
            let mut has_empty_line = false;
            while goes_on {
                let Some(line) = self.line() else { break };
                let start = line.trim_start();
                if start.starts_with('#') {
                    continue;
                }
                if start.is_empty() {
                    has_empty_line = true;
                    continue;
                }
                let (part, more) = self.continued(line);
                text.push_str(part);
                goes_on = more;
            }
            // What continued at the end of the file does so no more, so that the text alone is read in the same way.
            let mut text = text.trim_end_matches(CLOSING);
            while let (before, true) = self.continued(text) {
                text = before.trim_end_matches(CLOSING);
            }
            if !text.is_empty() {
                let lines = Lines {
                    first,
                    last: self.read,
                };
                return Some(Joined {
                    lines,
                    text: text.to_owned(),
                    has_empty_line,
                });
            }
        }
    }

    /// The lines up to the one that is `name` (after tabs, if `chomp`), which is read too; nothing if there is none.
    pub(crate) fn body(&mut self, name: &str, chomp: bool) -> Option<String> {
        let mut content = String::new();
        while let Some(line) = self.lines.get(self.read) {
            self.read += 1;
            let end = line.trim_end_matches(['\r', '\n']);
            let end = if chomp {
                end.trim_start_matches('\t')
            } else {
                end
            };
            if end == name {
                return Some(content);
            }
            content.push_str(line);
        }
        None
    }

    /// Lines that were read.
    pub(crate) fn read(&self) -> usize {
        self.read
    }

    fn line(&mut self) -> Option<&'a str> {
        let line = *self.lines.get(self.read)?;
        self.read += 1;
        Some(line.trim_end_matches(['\r', '\n']))
    }

    fn continued<'b>(&self, line: &'b str) -> (&'b str, bool) {
        let trimmed = line.trim_end_matches(CLOSING);
        match trimmed.strip_suffix(self.escape) {
            Some(before) if !before.ends_with(self.escape) => (before, true),
            _ => (line, false),
        }
    }
}

/// Name in lower case and value of a parser directive.
fn directive(line: &str) -> Option<(String, &str)> {
    let (name, value) = line.trim_start().strip_prefix('#')?.split_once('=')?;
    let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
    let known = ["syntax", "escape", "check"].contains(&name.as_str());
    (known && !value.is_empty()).then_some((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(source: &str) -> Vec<(usize, usize, String)> {
        let mut reader = Reader::new(source, '\\');
        reader.directives().expect("good directives");
        std::iter::from_fn(|| reader.next())
            .map(|joined| (joined.lines.first, joined.lines.last, joined.text))
            .collect()
    }

    #[test]
    fn joins() {
        for (source, wanted) in [
            ("", vec![]),
            ("\n  \n# c\n", vec![]),
            ("a b", vec![(1, 1, "a b")]),
            ("\u{feff}a\r\nb\r\n", vec![(1, 1, "a"), (2, 2, "b")]),
            ("a \\\n  b\nc", vec![(1, 2, "a   b"), (3, 3, "c")]),
            ("a \\  \t\nb", vec![(1, 2, "a b")]),
            ("a \\\r\n b\r\n", vec![(1, 2, "a  b")]),
            (
                "a \\\n # comment\n\n b\nc",
                vec![(1, 4, "a  b"), (5, 5, "c")],
            ),
            ("a \\\\\nb", vec![(1, 1, "a \\\\"), (2, 2, "b")]),
            ("a \\", vec![(1, 1, "a")]),
            ("\\\na", vec![(1, 2, "a")]),
            ("\\\n", vec![]),
            ("a # no comment", vec![(1, 1, "a # no comment")]),
            ("# escape=`\na `\nb", vec![(2, 3, "a b")]),
            (
                "#escape = `\n# syntax=x\na \\\nb",
                vec![(3, 3, "a \\"), (4, 4, "b")],
            ),
            ("\n# escape=`\na `\nb", vec![(3, 3, "a `"), (4, 4, "b")]),
            (
                "# hello\n# escape=`\na `\nb",
                vec![(3, 3, "a `"), (4, 4, "b")],
            ),
            ("#escape=\na \\\nb", vec![(2, 3, "a b")]),
        ] {
            let wanted: Vec<_> = wanted
                .into_iter()
                .map(|(first, last, text)| (first, last, text.to_owned()))
                .collect();
            assert_eq!(texts(source), wanted, "{source:?}");
        }
    }

    #[test]
    fn refuses_directives() {
        for (source, line, wanted) in [
            (
                "# escape=x",
                1,
                "invalid escape token 'x' does not match ` or \\",
            ),
            (
                "# escape=\\\n# ESCAPE=`",
                2,
                "only one escape parser directive can be used",
            ),
            (
                "# syntax=a\n# check=b\n# syntax=c",
                3,
                "only one syntax parser directive can be used",
            ),
        ] {
            let (lines, mistake) = Reader::new(source, '\\')
                .directives()
                .expect_err("a bad directive");
            assert_eq!((lines.first, mistake.text.as_str()), (line, wanted));
        }
    }

    #[test]
    fn bodies() {
        let mut reader = Reader::new("a\n\tb\r\n\tEOF\nEOF\nc", '\\');
        assert_eq!(
            reader.body("EOF", false).as_deref(),
            Some("a\n\tb\r\n\tEOF\n")
        );
        assert_eq!(reader.body("EOF", false), None);
        let mut reader = Reader::new("a\n\tEOF", '\\');
        assert_eq!(reader.body("EOF", true).as_deref(), Some("a\n"));
    }
}
