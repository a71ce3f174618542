//! No test is switched off: a test that cannot run here says so when it runs, and is counted.

use super::Finding;
use super::tree::{Tree, lines};

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.rust().filter(|file| !file.path.starts_with("xtask/")) {
        for (number, line) in lines(&file.text) {
            if line.trim_start().starts_with("#[ignore") {
                findings.push(Finding::new(
                    &file.path,
                    number,
                    "no #[ignore]: skip at run time with a printed reason",
                ));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_attribute() {
        let tree = Tree::of(&[(
            "tests/a.rs",
            "#[test]\n    #[ignore = \"slow\"]\nfn x() {}\n",
        )]);
        assert_eq!(check(&tree).first().map(|finding| finding.line), Some(2));
    }
}
