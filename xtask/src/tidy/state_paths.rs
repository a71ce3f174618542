//! Paths below the state directory are put together in `store`'s `paths.rs` and nowhere else.

use super::Finding;
use super::tree::{Tree, code, lines};
use regex::Regex;

const HOME: &str = "crates/store/src/paths.rs";

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let join = Regex::new(
        r#"\.(?:join|push)\("(?:orlop\.db|volumes|layers|containers|staging|trash|_data)[/"]"#,
    )
    .expect("a valid expression");
    let mut findings = Vec::new();
    for (file, text) in tree.product().filter(|(file, _)| file.path != HOME) {
        for (number, line) in lines(text) {
            if join.is_match(code(line)) {
                findings.push(Finding::new(
                    &file.path,
                    number,
                    format!("ask {HOME} for paths below the state directory"),
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
    fn finds_joins() {
        let tree = Tree::of(&[
            (HOME, "root.join(\"volumes\")\n"),
            (
                "crates/engine/src/x.rs",
                "root.join(\"staging\");\nurl.push(\"x\");\nother.join(\"usr\");\n",
            ),
            ("crates/engine/src/x/tests.rs", "root.join(\"staging\");\n"),
        ]);
        let found: Vec<_> = check(&tree)
            .into_iter()
            .map(|finding| (finding.path, finding.line))
            .collect();
        assert_eq!(found, [("crates/engine/src/x.rs".to_owned(), 1)]);
    }
}
