//! A journaled operation lists its numbered steps at the top of its file, so that the code can be read
//! against them.

use super::Finding;
use super::tree::Tree;
use regex::Regex;

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let operation =
        Regex::new(r"(?m)^impl\b[^\n{]*\bOperation\b[^\n{]* for ").expect("a valid expression");
    let numbered = Regex::new(r"^//!\s+1\. ").expect("a valid expression");
    tree.product()
        .filter(|(_, text)| operation.is_match(text))
        .filter(|(_, text)| {
            let mut header = text.lines().take_while(|line| line.starts_with("//!"));
            !(header.any(|line| line.contains("Steps"))
                && header.any(|line| numbered.is_match(line)))
        })
        .map(|(file, _)| {
            Finding::new(
                &file.path,
                1,
                "list the operation's steps: `//! Steps` and a numbered list",
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wants_a_numbered_list() {
        let bare = "//! Creates.\n\nimpl Operation for Create {}\n";
        let listed = "//! Creates.\n//!\n//! Steps:\n//! 1. row\n//! 2. rename\n\nimpl Operation for Create {}\n";
        let generic = "//! Runs.\n\nimpl<T: Clone> journal::Operation for Run<T> {}\n";
        let tree = Tree::of(&[
            ("crates/volumes/src/bare.rs", bare),
            ("crates/volumes/src/listed.rs", listed),
            ("crates/store/src/generic.rs", generic),
        ]);
        let found: Vec<_> = check(&tree)
            .into_iter()
            .map(|finding| finding.path)
            .collect();
        assert_eq!(
            found,
            ["crates/volumes/src/bare.rs", "crates/store/src/generic.rs"]
        );
    }
}
