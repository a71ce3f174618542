//! Files are named after what they do: no drawers, and no directory repeated in its file.

use super::Finding;
use super::tree::Tree;

const DRAWERS: &[&str] = &[
    "util", "utils", "helper", "helpers", "common", "manager", "types", "misc",
];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.rust() {
        let parts: Vec<&str> = file.path.trim_end_matches(".rs").split('/').collect();
        if let Some(part) = parts.iter().find(|part| DRAWERS.contains(part)) {
            findings.push(Finding::new(
                &file.path,
                0,
                format!("`{part}` says nothing: name it by verb or noun"),
            ));
        }
        if let [.., directory, name] = parts.as_slice()
            && directory == name
        {
            findings.push(Finding::new(
                &file.path,
                0,
                "the file repeats its directory's name: use mod.rs or the verb",
            ));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_drawers_and_echoes() {
        let tree = Tree::of(&[
            ("crates/a/src/utils.rs", ""),
            ("crates/a/src/common/x.rs", ""),
            ("crates/a/src/volume/volume.rs", ""),
            ("crates/a/src/volume/create.rs", ""),
            ("crates/engine/src/engine.rs", ""),
        ]);
        let found: Vec<_> = check(&tree)
            .into_iter()
            .map(|finding| finding.path)
            .collect();
        assert_eq!(
            found,
            [
                "crates/a/src/utils.rs",
                "crates/a/src/common/x.rs",
                "crates/a/src/volume/volume.rs"
            ]
        );
    }
}
