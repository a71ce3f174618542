//! restic itself on our repositories, and we on restic's.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use crate::world::{PASSWORD, World, assert_same, entries, noise, save, what};
use backup::{
    Check, Compare, Location, Parent, Place, PruneOptions, Repository, Save, Unlock, Unwatched,
};

pub(crate) const TESTS: &[(&str, fn())] = &[
    ("restic_reads_what_we_wrote", restic_reads_what_we_wrote),
    ("we_restore_what_we_wrote", we_restore_what_we_wrote),
    ("we_restore_what_restic_wrote", we_restore_what_restic_wrote),
    (
        "only_what_changed_is_read_and_stored",
        only_what_changed_is_read_and_stored,
    ),
    ("a_parent_changes_no_cut", a_parent_changes_no_cut),
    ("errors_name_what_is_wrong", errors_name_what_is_wrong),
    ("keys_come_and_go", keys_come_and_go),
];

/// Debian's restic makes valid UTF-8 of what links point to, and restores no sockets.
fn without_what_restic_cannot(source: &Path) {
    std::fs::remove_file(source.join(OsStr::from_bytes(b"bad link"))).unwrap();
    std::fs::remove_file(source.join("socket")).unwrap();
}

fn restic_reads_what_we_wrote() {
    let world = World::new("restic-reads");
    let source = world.dir("source");
    entries(&source);
    without_what_restic_cannot(&source);
    let repository = Repository::create(&world.place(), PASSWORD).unwrap();
    let saved = save(&repository, &source).unwrap();
    assert!(saved.files > 10 && saved.new_bytes > 0, "{saved:?}");
    let Some(restic) = world.restic() else { return };
    let listed = restic.run(&["snapshots", "--json"]);
    assert!(listed.contains(saved.id.to_hex().as_str()), "{listed}");
    restic.run(&["check", "--read-data"]);
    let to = world.dir("restored");
    restic.run(&["restore", "latest", "--target", to.to_str().unwrap()]);
    assert_same(&source, &to.join("volumes/v/_data"));
    assert_eq!(
        std::fs::read(to.join("volumes/v/volume.json")).unwrap(),
        b"{}"
    );
}

fn we_restore_what_we_wrote() {
    let world = World::new("own");
    let source = world.dir("source");
    entries(&source);
    let repository = Repository::create(&world.place(), PASSWORD).unwrap();
    let saved = save(&repository, &source).unwrap();
    let again = Repository::open(&world.place(), Unlock::Password(PASSWORD)).unwrap();
    assert_eq!(again.id(), repository.id());
    let kept: backup::MasterKey = {
        let text = serde_json::to_string(&again.master_key()).unwrap();
        serde_json::from_str(&text).unwrap()
    };
    let again = Repository::open(&world.place(), Unlock::Master(&kept)).unwrap();
    let to = world.dir("restored");
    let restored = again
        .restore(saved.id, Path::new("/volumes/v/_data"), &to, &Unwatched)
        .unwrap();
    assert_eq!(restored.attributes_lost, 0);
    assert_same(&source, &to);
    assert_eq!(again.check(Check::Everything, &Unwatched).unwrap(), []);
}

fn we_restore_what_restic_wrote() {
    let world = World::new("restic-writes");
    let Some(restic) = world.restic() else { return };
    let source = world.dir("source");
    entries(&source);
    without_what_restic_cannot(&source);
    restic.run(&["init", "--repository-version", "2"]);
    restic.run(&["backup", source.to_str().unwrap()]);
    let repository = Repository::open(&world.place(), Unlock::Password(PASSWORD)).unwrap();
    let backups = repository.backups().unwrap();
    assert_eq!(backups.len(), 1);
    let to = world.dir("restored");
    repository
        .restore(backups[0].id, &source, &to, &Unwatched)
        .unwrap();
    assert_same(&source, &to);
    assert_eq!(repository.check(Check::Everything, &Unwatched).unwrap(), []);
    // And it goes on from there, both ways.
    let saved = save(&repository, &source).unwrap();
    assert_eq!(saved.new_bytes, 2, "only the file beside the data is new");
    restic.run(&["backup", source.to_str().unwrap()]);
    repository.forget(&[backups[0].id]).unwrap();
    let pruned = repository
        .prune(PruneOptions::default(), &Unwatched)
        .unwrap();
    assert!(pruned.bytes_kept > 0, "{pruned:?}");
    restic.run(&["check", "--read-data"]);
}

fn only_what_changed_is_read_and_stored() {
    let world = World::new("incremental");
    let source = world.dir("source");
    entries(&source);
    crate::world::age(&source);
    let repository = Repository::create(&world.place(), PASSWORD).unwrap();
    let first = save(&repository, &source).unwrap();
    let second = save(&repository, &source).unwrap();
    assert_eq!(second.parent, Some(first.id));
    assert_eq!(second.new_bytes, 0);
    std::fs::write(source.join("added"), "added").unwrap();
    let third = save(&repository, &source).unwrap();
    assert_eq!(third.new_bytes, 5);
    assert_eq!(third.files, first.files + 1);
    // A change that keeps size and time is noticed when everything is compared.
    let quiet = source.join("quiet");
    std::fs::write(&quiet, "before").unwrap();
    crate::world::age(&source);
    save(&repository, &source).unwrap();
    std::fs::write(&quiet, "behind").unwrap();
    crate::world::age(&source);
    let missed = save(&repository, &source).unwrap();
    assert_eq!(missed.new_bytes, 0);
    let noticed =
        crate::world::save_with(&repository, &source, Compare::Everything, Parent::Newest);
    assert_eq!(noticed.unwrap().new_bytes, 6);
}

/// Whether a file is cut with the parent's cuts at hand or without any, the cuts are the same.
fn a_parent_changes_no_cut() {
    let world = World::new("cuts");
    let source = world.dir("source");
    let path = source.join("large");
    let repository = Repository::create(&world.place(), PASSWORD).unwrap();
    let save = |parent| {
        let what = Save {
            extra: &[],
            ..what(Compare::Modified, parent)
        };
        repository.save(&source, &what, &Unwatched).unwrap()
    };
    let mut bytes = noise(7, 12_000_000);
    std::fs::write(&path, &bytes).unwrap();
    save(Parent::Newest);
    let changes: [fn(&mut Vec<u8>); 7] = [
        |bytes| bytes[6_000_000] ^= 1,
        |bytes| bytes.extend(noise(8, 3_000_000)),
        |bytes| bytes.truncate(9_000_000),
        |bytes| bytes[0] ^= 1,
        |bytes| drop(bytes.splice(4_000_000..4_000_000, [1, 2, 3])),
        |bytes| bytes[2_000_000..5_000_000].fill(0),
        Vec::clear,
    ];
    for (number, change) in changes.into_iter().enumerate() {
        change(&mut bytes);
        std::fs::write(&path, &bytes).unwrap();
        let guided = save(Parent::Newest);
        assert!(guided.parent.is_some());
        let alone = save(Parent::None);
        assert_eq!(guided.tree, alone.tree, "change {number}");
        assert_eq!(alone.new_bytes, 0, "change {number}");
    }
    assert!(
        repository
            .check(Check::Everything, &Unwatched)
            .unwrap()
            .is_empty()
    );
}

fn errors_name_what_is_wrong() {
    let world = World::new("errors");
    let place = world.place();
    let text = |error: backup::BackupError| error.to_string();
    let shown = world.path("repository");
    let shown = shown.display();
    assert_eq!(
        text(Repository::open(&place, Unlock::Password("x")).unwrap_err()),
        format!("there is no repository in {shown}")
    );
    let repository = Repository::create(&place, PASSWORD).unwrap();
    assert_eq!(
        text(Repository::create(&place, PASSWORD).unwrap_err()),
        format!("there is a repository in {shown} already")
    );
    assert_eq!(
        text(Repository::open(&place, Unlock::Password("x")).unwrap_err()),
        format!("wrong password for the repository in {shown}")
    );
    let other = World::new("errors-other");
    let foreign = Repository::create(&other.place(), PASSWORD).unwrap();
    assert_eq!(
        text(Repository::open(&place, Unlock::Master(&foreign.master_key())).unwrap_err()),
        format!(
            "the key does not open the repository in {shown}: it is another one now, or its config is damaged"
        )
    );
    assert_eq!(
        text(repository.find("ab").unwrap_err()),
        format!("no backup ab in {shown}")
    );
    let nowhere = Place::new(Location::parse("/nowhere/at/all").unwrap());
    assert_eq!(
        text(Repository::open(&nowhere, Unlock::Password("x")).unwrap_err()),
        "there is no repository in /nowhere/at/all"
    );
}

fn keys_come_and_go() {
    let world = World::new("keys");
    let repository = Repository::create(&world.place(), PASSWORD).unwrap();
    let first = repository.keys().unwrap()[0].id;
    let refused = repository.remove_key(&first.to_hex()).unwrap_err();
    assert!(refused.to_string().starts_with("the last key"), "{refused}");
    repository.add_key("another", "here").unwrap();
    let keys = repository.keys().unwrap();
    assert_eq!(keys.len(), 2);
    repository.remove_key(&first.to_hex()).unwrap();
    assert!(Repository::open(&world.place(), Unlock::Password(PASSWORD)).is_err());
    let opened = Repository::open(&world.place(), Unlock::Password("another")).unwrap();
    assert_eq!(opened.keys().unwrap()[0].host, "here");
}
