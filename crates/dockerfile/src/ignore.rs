//! `.dockerignore`: which paths of a build context stay out of it.
//!
//! Each line is a pattern with Go's wildcards and `**`; one that begins with `!` lets in again what an earlier one left out,
//! and the last that applies decides. A pattern that matches a directory matches all that is in it.

use crate::glob::{self, Token};

pub use crate::glob::BadPattern;

/// A `.dockerignore` that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IgnoreError {
    /// An exclamation mark and nothing to let in.
    #[error("line {line}: illegal exclusion pattern: \"!\"")]
    Nothing { line: usize },
    /// A bracket that does not close, a backslash at the end.
    #[error("line {line}: syntax error in pattern {pattern:?}")]
    Pattern {
        line: usize,
        pattern: String,
        #[source]
        source: BadPattern,
    },
}

/// The patterns, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ignore {
    patterns: Vec<Pattern>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern {
    /// Begins with `!`.
    exception: bool,
    form: Form,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Form {
    /// No wildcard.
    Exact(String),
    /// `**` and letters that are no slash: any path that ends so, as Docker has it.
    Ends(String),
    Tokens(Vec<Token>),
}

impl Ignore {
    /// Reads a `.dockerignore`. Lines that begin with `#` are comments; blanks around a pattern, a leading slash, `.` and `..`
    /// within it mean nothing.
    ///
    /// # Errors
    /// The first line that is no pattern.
    pub fn parse(text: &[u8]) -> Result<Self, IgnoreError> {
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        let text = String::from_utf8_lossy(text);
        let lines = text.lines().enumerate();
        let patterns = lines
            .filter(|(_, line)| !line.starts_with('#'))
            .map(|(index, line)| (index + 1, line));
        Self::read(patterns)
    }

    /// The same from patterns that are given one by one, as those of `COPY --exclude`.
    ///
    /// # Errors
    /// The first that is no pattern, its number as the line.
    pub fn from_patterns<'a>(
        patterns: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, IgnoreError> {
        Self::read((1..).zip(patterns))
    }

    fn read<'a>(lines: impl Iterator<Item = (usize, &'a str)>) -> Result<Self, IgnoreError> {
        let mut patterns = Vec::new();
        for (line, written) in lines {
            let written = written.trim();
            let (exception, text) = match written.strip_prefix('!') {
                Some(rest) => (true, rest.trim()),
                None => (false, written),
            };
            if text.is_empty() {
                if exception {
                    return Err(IgnoreError::Nothing { line });
                }
                continue;
            }
            let form = form(&clean(text)).map_err(|source| IgnoreError::Pattern {
                line,
                pattern: text.to_owned(),
                source,
            })?;
            patterns.push(Pattern { exception, form });
        }
        Ok(Self { patterns })
    }

    /// Whether nothing is left out.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Whether the path, from the context's root with slashes between its names, stays out. The root itself never does.
    pub fn excludes(&self, path: &str) -> bool {
        let path = clean(path);
        if path.is_empty() {
            return false;
        }
        let letters: Vec<char> = path.chars().collect();
        let mut excluded = false;
        for pattern in &self.patterns {
            // Only what would change the answer is asked.
            if pattern.exception == excluded && pattern.matches(&path, &letters) {
                excluded = !pattern.exception;
            }
        }
        excluded
    }

    /// Whether an exception might let in something below `dir`: if not, a walker that finds `dir` left out need not look
    /// into it.
    pub fn may_contain_exception(&self, dir: &str) -> bool {
        let dir = clean(dir);
        self.patterns
            .iter()
            .any(|pattern| pattern.exception && pattern.may_be_below(&dir))
    }
}

impl Pattern {
    /// Matches the path or a directory it is in.
    fn matches(&self, path: &str, letters: &[char]) -> bool {
        match &self.form {
            Form::Exact(wanted) => path
                .strip_prefix(wanted.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
            Form::Ends(end) => prefixes(path, '/').any(|prefix| prefix.ends_with(end.as_str())),
            Form::Tokens(tokens) => {
                if glob::matches(tokens, letters) {
                    return true;
                }
                let slashes = letters.iter().enumerate().filter(|(_, c)| **c == '/');
                slashes
                    .map(|(at, _)| &letters[..at])
                    .any(|parent| glob::matches(tokens, parent))
            }
        }
    }

    fn may_be_below(&self, dir: &str) -> bool {
        let below = |left: &str, right: &str| {
            left.strip_prefix(right)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        match &self.form {
            _ if dir.is_empty() => true,
            Form::Exact(wanted) => below(wanted, dir) || below(dir, wanted),
            Form::Ends(_) => true,
            Form::Tokens(tokens) => {
                let names = tokens.split(|token| *token == Token::Letter('/'));
                names.zip(dir.split('/')).all(|(tokens, name)| {
                    let name: Vec<char> = name.chars().collect();
                    glob::matches(tokens, &name)
                }) || tokens.iter().any(Token::crosses)
            }
        }
    }
}

fn form(pattern: &str) -> Result<Form, BadPattern> {
    let tokens = glob::tokens(pattern, true)?;
    let special = |text: &str| text.contains(['*', '?', '[', '\\', ']']);
    if !special(pattern) {
        return Ok(Form::Exact(pattern.to_owned()));
    }
    match pattern.strip_prefix("**") {
        Some(end) if !end.is_empty() && !end.starts_with('/') && !special(end) => {
            Ok(Form::Ends(end.to_owned()))
        }
        _ => Ok(Form::Tokens(tokens)),
    }
}

/// The path and all directories it is in.
fn prefixes(path: &str, separator: char) -> impl Iterator<Item = &str> {
    path.match_indices(separator)
        .map(|(at, _)| &path[..at])
        .chain([path])
}

/// Without empty names and `.`; `..` takes back a name; no slash at either end. The root is the empty string.
fn clean(path: &str) -> String {
    let mut names: Vec<&str> = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." if names.last().is_some_and(|last| *last != "..") => {
                names.pop();
            }
            ".." if path.starts_with('/') => {}
            _ => names.push(name),
        }
    }
    names.join("/")
}

/// Go's `filepath.Match`: `*` and `?` do not match the slash, `**` is not special.
///
/// # Errors
/// The pattern is none, whatever the path.
pub fn matches(pattern: &str, path: &str) -> Result<bool, BadPattern> {
    let tokens = glob::tokens(pattern, false)?;
    let path: Vec<char> = path.chars().collect();
    Ok(glob::matches(&tokens, &path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excludes() {
        // Patterns, one a line; paths that stay out; paths that do not.
        let table: &[(&str, &[&str], &[&str])] = &[
            ("", &[], &["a", ""]),
            ("# a\n\n  \n", &[], &["a"]),
            (" # a", &["# a"], &["a"]),
            ("a", &["a", "a/b", "a/b/c"], &["ab", "b/a", "ba"]),
            ("/a", &["a", "a/b"], &["b/a"]),
            ("./a/", &["a"], &["b"]),
            ("a/../b", &["b"], &["a"]),
            ("a  \t", &["a"], &["a "]),
            ("\u{feff}a", &["a"], &[]),
            ("a\r\nb\r\n", &["a", "b"], &[]),
            ("*", &["a", "a/b"], &["", "."]),
            ("*.md", &["x.md"], &["a/x.md", "x.mdx"]),
            (
                "*/temp*",
                &["a/temp", "a/temporary.txt"],
                &["temp", "a/b/temp"],
            ),
            ("temp?", &["tempa", "tempb"], &["temp", "tempab"]),
            ("**/*.go", &["x.go", "a/b/x.go"], &["x.god"]),
            ("**", &["a", "a/b"], &[]),
            (
                "**/node_modules",
                &["node_modules", "a/node_modules/b"],
                &["node_modules2"],
            ),
            ("a/**/b", &["a/b", "a/x/y/b", "a/x/b/c"], &["ab", "x/a/b"]),
            ("a/**", &["a/b", "a/b/c"], &["a"]),
            ("**foo", &["foo", "xfoo", "a/xfoo"], &["food"]),
            ("[a-c]x", &["ax", "cx"], &["dx"]),
            ("[^a-c]x", &["dx"], &["ax"]),
            ("a\\*b", &["a*b"], &["axb"]),
            ("*.md\n!README.md", &["x.md"], &["README.md"]),
            (
                "*.md\n!README*.md\nREADME-secret.md",
                &["x.md", "README-secret.md"],
                &["README-a.md"],
            ),
            (
                "*.md\nREADME-secret.md\n!README*.md",
                &["x.md"],
                &["README-secret.md", "README.md"],
            ),
            ("a\n!a/b", &["a", "a/c"], &["a/b", "a/b/c"]),
            ("a\n! a/b", &["a/c"], &["a/b"]),
            ("!a", &[], &["a"]),
            (
                "*\n!src\n!/go.mod",
                &["x", "x/src"],
                &["src", "src/a", "go.mod"],
            ),
            ("/", &[], &["a"]),
            (".", &[], &["a"]),
            ("..", &[], &["a"]),
        ];
        for (text, out, inside) in table {
            let ignore = Ignore::parse(text.as_bytes()).expect(text);
            for path in *out {
                assert!(ignore.excludes(path), "{text:?} must exclude {path:?}");
            }
            for path in *inside {
                assert!(!ignore.excludes(path), "{text:?} must not exclude {path:?}");
            }
        }
    }

    #[test]
    fn exceptions_below() {
        let table: &[(&str, &[&str], &[&str])] = &[
            (
                "a\n!a/b/c",
                &["a", "a/b", "a/b/c", "a/b/c/d", ""],
                &["x", "a/x", "ab"],
            ),
            ("*\n!src/*.go", &["src", "src/x.go"], &["doc", "src/x.md"]),
            ("*\n!**/x", &["a", "a/b"], &[]),
            ("*\n!a?/x", &["ab", "ac"], &["a", "b"]),
            ("*\n![^a]x", &["a", "bx"], &[]),
            ("a", &[], &["a", ""]),
        ];
        for (text, may, cannot) in table {
            let ignore = Ignore::parse(text.as_bytes()).expect(text);
            for dir in *may {
                assert!(ignore.may_contain_exception(dir), "{text:?} {dir:?}");
            }
            for dir in *cannot {
                assert!(!ignore.may_contain_exception(dir), "{text:?} {dir:?}");
            }
        }
    }

    #[test]
    fn refuses() {
        for (text, wanted) in [
            ("a\n!", "line 2: illegal exclusion pattern: \"!\""),
            ("a\n\n!  ", "line 3: illegal exclusion pattern: \"!\""),
            ("[", "line 1: syntax error in pattern \"[\""),
            ("a\n!b[", "line 2: syntax error in pattern \"b[\""),
            ("a\\", "line 1: syntax error in pattern \"a\\\\\""),
        ] {
            let error = Ignore::parse(text.as_bytes()).expect_err(text);
            assert_eq!(error.to_string(), wanted);
        }
    }

    #[test]
    fn plain_matches() {
        assert_eq!(matches("*.txt", "a.txt"), Ok(true));
        assert_eq!(matches("*.txt", "a/b.txt"), Ok(false));
        assert_eq!(matches("**", "a/b"), Ok(false));
        assert_eq!(matches("[", "a"), Err(BadPattern));
    }
}
