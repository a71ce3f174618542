//! `unsafe` lives in `sys` alone, and every other package takes the workspace's lints, which forbid it.

use super::Finding;
use super::tree::{Tree, code, lines};
use regex::Regex;

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let keyword =
        Regex::new(r"\bunsafe\s*(\{|fn\b|impl\b|trait\b|extern\b)").expect("a valid expression");
    let mut findings = Vec::new();
    for file in tree
        .rust()
        .filter(|file| file.owner() != Some("sys") && !file.path.starts_with("xtask/"))
    {
        for (number, line) in lines(&file.text) {
            if keyword.is_match(code(line)) {
                findings.push(Finding::new(
                    &file.path,
                    number,
                    "unsafe outside sys: add a safe function to sys",
                ));
            }
        }
    }
    for file in tree
        .files
        .iter()
        .filter(|file| file.path.ends_with("/Cargo.toml"))
    {
        let inherits = file.text.contains("[lints]\nworkspace = true");
        if !inherits
            && file.owner() != Some("sys")
            && !["fuzz/", "tests/clients/"]
                .iter()
                .any(|outside| file.path.starts_with(outside))
        {
            findings.push(Finding::new(
                &file.path,
                0,
                "take the workspace's lints: `[lints]` with `workspace = true`",
            ));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sys_may() {
        let tree = Tree::of(&[
            ("crates/sys/src/a.rs", "unsafe { x() }"),
            ("crates/sys/Cargo.toml", "[lints.clippy]\n"),
            ("crates/b/src/a.rs", "// unsafe { no }\nunsafe fn x() {}\n"),
            ("crates/b/Cargo.toml", "[package]\n"),
        ]);
        let found: Vec<_> = check(&tree)
            .into_iter()
            .map(|finding| (finding.path, finding.line))
            .collect();
        assert_eq!(
            found,
            [
                ("crates/b/src/a.rs".to_owned(), 2),
                ("crates/b/Cargo.toml".to_owned(), 0)
            ]
        );
    }
}
