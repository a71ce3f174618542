//! Every Rust file begins by saying what it is for.

use super::Finding;
use super::tree::Tree;

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let missing = |text: &str| !text.starts_with("//! ") || text.starts_with("//! (");
    tree.rust()
        .filter(|file| missing(&file.text))
        .map(|file| {
            Finding::new(
                &file.path,
                1,
                "begin the file with `//! ` and one sentence of purpose",
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wants_a_sentence() {
        let tree = Tree::of(&[
            ("crates/a/src/x.rs", "//! Purpose.\n"),
            ("crates/a/src/y.rs", "use std::fs;\n"),
            ("crates/a/src/z.rs", "//! (later)\n"),
            ("docs/a.md", "text"),
        ]);
        let found: Vec<_> = check(&tree)
            .into_iter()
            .map(|finding| finding.path)
            .collect();
        assert_eq!(found, ["crates/a/src/y.rs", "crates/a/src/z.rs"]);
    }
}
