//! The project stands alone: no file names a path of the machine it was written on.

use super::Finding;
use super::tree::{Tree, lines};
use regex::Regex;

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    // In brackets, so that this file does not find itself.
    let places = Regex::new(r"(?:^|[^\w./-])(?:/[w]ork/|(?:\.\./)+[s]hared/|[s]hared/(?:spec|style|architecture|crates)\b)")
        .expect("a valid expression");
    let mut findings = Vec::new();
    for file in tree.files.iter().filter(|file| file.path != "Cargo.lock") {
        for (number, line) in lines(&file.text) {
            if places.is_match(line) {
                findings.push(Finding::new(
                    &file.path,
                    number,
                    "names a place outside the project",
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
    fn finds_places() {
        let text = [
            concat!("see `/wo", "rk/main`"),
            concat!("see ../sha", "red/style.md"),
            "private, slave and shared/private mounts",
            "containers/x/upper and x/work/index",
        ];
        let tree = Tree::of(&[("README.md", &text.join("\n"))]);
        let found: Vec<_> = check(&tree)
            .into_iter()
            .map(|finding| finding.line)
            .collect();
        assert_eq!(found, [1, 2]);
    }
}
