//! The text files of the workspace, as the checks see them.
//!
//! Build output, `.git` and files that are not UTF-8 are left out. Paths are relative to the workspace and
//! use `/`.

use std::fs;
use std::io;
use std::path::Path;

#[derive(Debug)]
pub(super) struct File {
    pub(super) path: String,
    pub(super) text: String,
}

#[derive(Debug)]
pub(super) struct Tree {
    pub(super) files: Vec<File>,
}

impl Tree {
    pub(super) fn read(root: &Path) -> io::Result<Self> {
        let mut files = Vec::new();
        collect(root, "", &mut files)?;
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Self { files })
    }

    /// A tree for tests, of path and text.
    #[cfg(test)]
    pub(super) fn of(files: &[(&str, &str)]) -> Self {
        let file = |(path, text): &(&str, &str)| File {
            path: (*path).to_owned(),
            text: (*text).to_owned(),
        };
        Self {
            files: files.iter().map(file).collect(),
        }
    }

    pub(super) fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }

    pub(super) fn rust(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.path.ends_with(".rs"))
    }

    /// Rust files of the crates with what belongs to tests cut off; files of tests are left out.
    pub(super) fn product(&self) -> impl Iterator<Item = (&File, &str)> {
        self.rust()
            .filter(|file| file.path.starts_with("crates/") && !file.is_test())
            .filter(|file| !file.path.starts_with("crates/testkit/"))
            .map(|file| (file, file.without_tests()))
    }
}

impl File {
    /// A file that holds tests only.
    pub(super) fn is_test(&self) -> bool {
        self.path.starts_with("tests/")
            || self.path.contains("/tests/")
            || self.path.ends_with("/tests.rs")
    }

    /// The text up to the test module at its end.
    pub(super) fn without_tests(&self) -> &str {
        let start = self
            .text
            .match_indices("\n#[cfg(test)]\n")
            .find(|(at, mark)| self.text[at + mark.len()..].starts_with("mod tests {"));
        start.map_or(&self.text, |(at, _)| &self.text[..=at])
    }

    /// The crate's name in `crates/NAME/…`.
    pub(super) fn owner(&self) -> Option<&str> {
        self.path.strip_prefix("crates/")?.split('/').next()
    }
}

/// Lines with their numbers from 1.
pub(super) fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(at, line)| (at + 1, line))
}

/// The code of a line: what stands before a comment. Good enough for the words the checks look for.
pub(super) fn code(line: &str) -> &str {
    line.find("//").map_or(line, |at| &line[..at])
}

fn collect(directory: &Path, prefix: &str, files: &mut Vec<File>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let path = if prefix.is_empty() {
            name.clone()
        } else {
            format!("{prefix}/{name}")
        };
        // `.git` is a file where the tree is a second work tree of its repository.
        if matches!(
            name.as_str(),
            ".git" | "target" | "node_modules" | "__pycache__"
        ) {
            continue;
        }
        let kind = entry.file_type()?;
        if kind.is_dir() {
            collect(&entry.path(), &path, files)?;
        } else if kind.is_file() {
            let bytes = match fs::read(entry.path()) {
                Ok(bytes) => bytes,
                // An editor's temporary file went away between the two calls.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            if let Ok(text) = String::from_utf8(bytes) {
                files.push(File { path, text });
            }
        }
    }
    Ok(())
}
