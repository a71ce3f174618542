//! Checks of the source tree: one file a check, each a function from the tree to what it found.
//!
//! A check reports the file and line and what to do; it never changes anything.

mod edges;
mod first_line;
mod ignored_tests;
mod length;
mod names;
mod on_disk;
mod owners;
mod state_paths;
mod steps;
mod todo;
mod tree;
mod unsafe_code;
mod workplace;

use std::fmt;
use std::path::Path;
use tree::Tree;

/// One broken rule.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    path: String,
    /// From 1; 0 for the file as a whole.
    line: usize,
    text: String,
}

impl Finding {
    fn new(path: &str, line: usize, text: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            line,
            text: text.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.text),
            line => write!(f, "{}:{line}: {}", self.path, self.text),
        }
    }
}

/// Checks that look at files only.
const CHECKS: &[fn(&Tree) -> Vec<Finding>] = &[
    first_line::check,
    ignored_tests::check,
    length::check,
    names::check,
    on_disk::check,
    state_paths::check,
    steps::check,
    todo::check,
    unsafe_code::check,
    workplace::check,
];

/// Runs all checks on the workspace at `root`.
///
/// # Errors
/// A sentence, when the tree cannot be read or `cargo metadata` fails.
pub(crate) fn run(root: &Path) -> Result<Vec<Finding>, String> {
    let tree = Tree::read(root).map_err(|error| format!("reading {}: {error}", root.display()))?;
    let packages = edges::packages(root)?;
    let mut findings: Vec<Finding> = CHECKS.iter().flat_map(|check| check(&tree)).collect();
    findings.extend(edges::check(&packages));
    findings.extend(owners::check(&packages));
    findings.sort_by(|a, b| (&a.path, a.line).cmp(&(&b.path, b.line)));
    Ok(findings)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_tree_is_tidy() {
        let findings = super::run(crate::root()).expect("the tree can be read");
        let shown: Vec<String> = findings.iter().map(ToString::to_string).collect();
        assert!(shown.is_empty(), "\n{}", shown.join("\n"));
    }
}
