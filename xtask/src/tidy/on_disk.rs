//! `docs/on-disk.md` describes every table of the database.

use super::Finding;
use super::tree::{Tree, lines};
use regex::Regex;

const DOCUMENT: &str = "docs/on-disk.md";

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let create = Regex::new(r"\bCREATE\s+(?:VIRTUAL\s+)?TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?(\w+)")
        .expect("a valid expression");
    let document = tree.file(DOCUMENT).map_or("", |file| file.text.as_str());
    let mut findings = Vec::new();
    for file in tree
        .files
        .iter()
        .filter(|file| file.owner() == Some("store") && !file.is_test())
    {
        for (number, line) in lines(file.without_tests()) {
            for table in create.captures_iter(line) {
                if !document.contains(&format!("`{}`", &table[1])) {
                    findings.push(Finding::new(
                        &file.path,
                        number,
                        format!("describe `{}` in {DOCUMENT}", &table[1]),
                    ));
                }
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wants_each_table() {
        let sql = "CREATE TABLE volumes (id);\nCREATE TABLE IF NOT EXISTS ops (id);\n";
        let tree = Tree::of(&[
            ("crates/store/migrations/0001.sql", sql),
            (DOCUMENT, "The table `ops` holds …"),
        ]);
        let found: Vec<_> = check(&tree)
            .into_iter()
            .map(|finding| finding.line)
            .collect();
        assert_eq!(found, [1]);
    }
}
