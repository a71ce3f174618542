//! No Rust file is longer than 800 lines, tests not counted.

use super::Finding;
use super::tree::Tree;

const LIMIT: usize = 800;

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    tree.rust()
        .filter(|file| !file.is_test())
        .map(|file| (file, file.without_tests().lines().count()))
        .filter(|(_, count)| *count > LIMIT)
        .map(|(file, count)| {
            Finding::new(
                &file.path,
                0,
                format!("{count} lines without tests, {LIMIT} at most: split it by verb or noun"),
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_without_tests() {
        let long = "x\n".repeat(LIMIT + 1);
        let tested = format!("x\n\n#[cfg(test)]\nmod tests {{\n{long}}}\n");
        let tree = Tree::of(&[
            ("crates/a/src/long.rs", &long),
            ("crates/a/src/tested.rs", &tested),
            ("crates/a/src/x/tests.rs", &long),
        ]);
        let found: Vec<_> = check(&tree)
            .into_iter()
            .map(|finding| finding.path)
            .collect();
        assert_eq!(found, ["crates/a/src/long.rs"]);
    }
}
