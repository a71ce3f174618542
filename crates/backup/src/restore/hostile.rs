//! Trees that nobody's program would write: none of them leads out of the target.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustic_core::Id;

use crate::index::BlobKind;
use crate::location::Location;
use crate::node::{Node, NodeKind, Tree};
use crate::place::Kind;
use crate::save::Packs;
use crate::snapshot::Snapshot;
use crate::{BackupError, Place, Repository, Unwatched};

struct Scene {
    path: PathBuf,
    repository: Repository,
}

impl Drop for Scene {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.path).unwrap();
    }
}

impl Scene {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("hostile-{name}-{}", std::process::id()));
        std::fs::create_dir_all(path.join("to")).unwrap();
        std::fs::create_dir_all(path.join("outside")).unwrap();
        let location = Location::parse(path.join("repository").to_str().unwrap()).unwrap();
        let repository = Repository::create(&Place::new(location), "x").unwrap();
        Self { path, repository }
    }

    /// Records a backup with these entries, and restores it.
    fn restore(
        &self,
        nodes: impl FnOnce(&Packs<'_>) -> Vec<Node>,
    ) -> Result<crate::Restored, BackupError> {
        let index = self.repository.index().unwrap();
        let (tree, _) = Packs::run(&self.repository, &index, |packs| {
            packs.add_tree(&Tree {
                nodes: nodes(packs),
            })
        })
        .unwrap();
        let text = format!(
            r#"{{"time":"2024-01-01T00:00:00Z","tree":"{}","paths":["/"]}}"#,
            tree.to_hex().as_str()
        );
        let snapshot: Snapshot = serde_json::from_str(&text).unwrap();
        let id = self
            .repository
            .save_file(Kind::Snapshot, &snapshot)
            .unwrap();
        self.repository
            .restore(id, Path::new("/"), &self.path.join("to"), &Unwatched)
    }

    fn assert_nothing_outside(&self) {
        let outside: Vec<_> = std::fs::read_dir(self.path.join("outside"))
            .unwrap()
            .collect();
        assert!(outside.is_empty(), "{outside:?}");
        let mut beside: Vec<_> = std::fs::read_dir(&self.path)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        beside.sort();
        assert_eq!(beside, ["outside", "repository", "to"]);
    }
}

fn file(packs: &Packs<'_>, name: &str) -> Node {
    let content = packs.add(BlobKind::Data, b"evil").unwrap();
    Node::beside(name, 4, Timestamp::UNIX_EPOCH, vec![content])
}

fn link(packs: &Packs<'_>, name: &str, target: &str) -> Node {
    let mut node = file(packs, name);
    node.kind = NodeKind::Symlink;
    node.content = None;
    node.linktarget = target.to_owned();
    node
}

#[test]
fn names_that_are_no_names() {
    for (number, name) in [
        "..",
        ".",
        "",
        "../x",
        "a/b",
        "/etc/x",
        "nul\0",
        "\\x2e\\x2e",
    ]
    .into_iter()
    .enumerate()
    {
        for kind in [NodeKind::File, NodeKind::Dir, NodeKind::Fifo] {
            let scene = Scene::new(&format!("name-{number}-{kind:?}"));
            let refused = scene.restore(|packs| {
                let mut node = file(packs, "x");
                name.clone_into(&mut node.name);
                node.kind = kind;
                vec![node]
            });
            assert!(
                matches!(refused, Err(BackupError::Hostile { .. })),
                "{name:?}: {refused:?}"
            );
            scene.assert_nothing_outside();
        }
    }
}

#[test]
fn links_before_what_has_their_name() {
    let scene = Scene::new("links");
    let outside = scene.path.join("outside");
    let target = outside.to_str().unwrap();
    // A link, then a directory of the same name with a file in it.
    let refused = scene.restore(|packs| {
        let below = packs
            .add_tree(&Tree {
                nodes: vec![file(packs, "planted")],
            })
            .unwrap();
        vec![link(packs, "a", target), Node::above("a", below)]
    });
    assert!(
        matches!(refused, Err(BackupError::Target { .. })),
        "{refused:?}"
    );
    scene.assert_nothing_outside();
    std::fs::remove_file(scene.path.join("to/a")).unwrap();
    // A link, then a file of the same name.
    let inside = format!("{target}/planted");
    let refused = scene.restore(|packs| vec![link(packs, "b", &inside), file(packs, "b")]);
    assert!(
        matches!(refused, Err(BackupError::Target { .. })),
        "{refused:?}"
    );
    scene.assert_nothing_outside();
}

#[test]
fn a_tree_without_blobs_names_what_is_missing() {
    let scene = Scene::new("missing");
    let refused = scene.restore(|packs| {
        let mut node = file(packs, "x");
        node.content = Some(vec![Id::new([7; 32])]);
        vec![node]
    });
    assert!(
        matches!(refused, Err(BackupError::Damaged { .. })),
        "{refused:?}"
    );
    scene.assert_nothing_outside();
}
