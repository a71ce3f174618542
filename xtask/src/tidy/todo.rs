//! What is left to do has an issue: the word in a comment is followed by its number, `(#12)`.

use super::Finding;
use super::tree::{Tree, lines};
use regex::Regex;

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let word = Regex::new(r"(//[/!]?|#|--)\s*(TODO|FIXME|XXX|HACK)\b(?P<rest>.*)")
        .expect("a valid expression");
    let number = Regex::new(r"^\(#[0-9]+\)").expect("a valid expression");
    let mut findings = Vec::new();
    for file in &tree.files {
        if file.path.starts_with("xtask/") || file.path.ends_with(".md") {
            continue;
        }
        for (at, line) in lines(&file.text) {
            if let Some(found) = word.captures(line)
                && !number.is_match(&found["rest"])
            {
                findings.push(Finding::new(
                    &file.path,
                    at,
                    format!("write `{}(#number-of-the-issue)`", &found[2]),
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
    fn wants_a_number() {
        let text = "// TODO(#3): fine\n// TODO later\n//! FIXME\nlet todo = 1;\n";
        let tree = Tree::of(&[("crates/a/src/x.rs", text)]);
        let found: Vec<_> = check(&tree)
            .into_iter()
            .map(|finding| finding.line)
            .collect();
        assert_eq!(found, [2, 3]);
    }
}
