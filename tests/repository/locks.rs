//! restic's locks: it sees ours, and we see its.

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Condvar, Mutex};

use backup::{BackupError, Compare, Parent, PruneOptions, Repository, Unlock, Unwatched, Watch};
use rustix::process::{Pid, Signal, kill_process};
use testkit::until;

use crate::world::{PASSWORD, World, entries, save, what};

pub(crate) const TESTS: &[(&str, fn())] = &[
    ("restic_sees_ours", restic_sees_ours),
    ("we_see_restics", we_see_restics),
    ("an_exclusive_one_of_restics", an_exclusive_one_of_restics),
    (
        "one_that_was_removed_is_noticed",
        one_that_was_removed_is_noticed,
    ),
    ("a_dead_process_holds_none", a_dead_process_holds_none),
];

/// Lets a save wait in the middle until it is told to go on.
#[derive(Default)]
struct Gate {
    state: Mutex<(bool, bool)>,
    changed: Condvar,
}

impl Gate {
    fn until_entered(&self) {
        let state = self.state.lock().unwrap();
        drop(
            self.changed
                .wait_while(state, |(entered, _)| !*entered)
                .unwrap(),
        );
    }

    fn open(&self) {
        self.state.lock().unwrap().1 = true;
        self.changed.notify_all();
    }
}

impl Watch for Gate {
    fn total(&self, _: u64) {}
    fn advance(&self, _: u64) {
        let mut state = self.state.lock().unwrap();
        state.0 = true;
        self.changed.notify_all();
        drop(self.changed.wait_while(state, |(_, open)| !*open).unwrap());
    }
    fn stop(&self) -> bool {
        false
    }
}

/// Calls `meanwhile` while a save is in the middle of its work; what the save said.
fn during_a_save(
    repository: &Repository,
    source: &Path,
    meanwhile: impl FnOnce(),
) -> Result<backup::Saved, BackupError> {
    let gate = Gate::default();
    std::thread::scope(|scope| {
        let saving = scope
            .spawn(|| repository.save(source, &what(Compare::Everything, Parent::None), &gate));
        gate.until_entered();
        let opened = std::panic::catch_unwind(std::panic::AssertUnwindSafe(meanwhile));
        gate.open();
        let saved = saving.join().unwrap();
        opened.unwrap();
        saved
    })
}

/// Whether there is a lock that is complete: restic writes under other names first.
fn is_locked(locks: &Path) -> bool {
    std::fs::read_dir(locks)
        .unwrap()
        .any(|entry| entry.unwrap().file_name().len() == 64)
}

fn restic_sees_ours() {
    let world = World::new("locks-ours");
    let Some(restic) = world.restic() else { return };
    let source = world.dir("source");
    entries(&source);
    let repository = Repository::create(&world.place(), PASSWORD).unwrap();
    save(&repository, &source).unwrap();
    let other = Repository::open(&world.place(), Unlock::Password(PASSWORD)).unwrap();
    during_a_save(&repository, &source, || {
        let (success, text) = restic.try_run(&["prune"]);
        assert!(!success && text.contains("already locked"), "{text}");
        // Removing locks that mean nothing leaves ours.
        restic.run(&["unlock"]);
        let (success, text) = restic.try_run(&["prune"]);
        assert!(!success && text.contains("already locked"), "{text}");
        restic.run(&["backup", source.to_str().unwrap()]);
        let error = other
            .prune(PruneOptions::default(), &Unwatched)
            .unwrap_err();
        assert!(matches!(error, BackupError::Locked { .. }), "{error}");
        save(&other, &source).unwrap();
    })
    .unwrap();
    restic.run(&["prune"]);
}

fn we_see_restics() {
    let world = World::new("locks-restics");
    let Some(restic) = world.restic() else { return };
    let source = world.dir("source");
    entries(&source);
    let repository = Repository::create(&world.place(), PASSWORD).unwrap();
    // Reads until we close its input.
    let mut child = restic
        .command(&["backup", "--stdin"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let locks = world.path("repository/locks");
    until("restic has locked", || is_locked(&locks).then_some(()));
    let error = repository
        .prune(PruneOptions::default(), &Unwatched)
        .unwrap_err()
        .to_string();
    let pid = format!("locked by process {} on ", child.id());
    assert!(error.contains(&pid), "{error}");
    save(&repository, &source).unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"some").unwrap();
    drop(input);
    assert!(child.wait().unwrap().success());
    repository
        .prune(PruneOptions::default(), &Unwatched)
        .unwrap();
}

fn an_exclusive_one_of_restics() {
    let world = World::new("locks-exclusive");
    let Some(restic) = world.restic() else { return };
    let source = world.dir("source");
    entries(&source);
    let repository = Repository::create(&world.place(), PASSWORD).unwrap();
    save(&repository, &source).unwrap();
    let mut child = restic
        .command(&["prune"])
        .process_group(0)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let locks = world.path("repository/locks");
    until("restic has locked", || is_locked(&locks).then_some(()));
    let pid = Pid::from_child(&child);
    kill_process(pid, Signal::STOP).unwrap();
    let still_there = is_locked(&locks);
    let saved = save(&repository, &source);
    kill_process(pid, Signal::CONT).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(still_there, "restic was faster than the test");
    let error = saved.unwrap_err().to_string();
    assert!(error.contains("locked exclusively by process"), "{error}");
    save(&repository, &source).unwrap();
}

fn one_that_was_removed_is_noticed() {
    let world = World::new("locks-removed");
    let source = world.dir("source");
    entries(&source);
    let repository = Repository::create(&world.place(), PASSWORD).unwrap();
    let error = during_a_save(&repository, &source, || {
        for lock in std::fs::read_dir(world.path("repository/locks")).unwrap() {
            std::fs::remove_file(lock.unwrap().path()).unwrap();
        }
    })
    .unwrap_err();
    assert!(matches!(error, BackupError::LockLost { .. }), "{error}");
    assert!(repository.backups().unwrap().is_empty());
    save(&repository, &source).unwrap();
}

fn a_dead_process_holds_none() {
    let world = World::new("locks-dead");
    let Some(restic) = world.restic() else { return };
    let repository = Repository::create(&world.place(), PASSWORD).unwrap();
    let mut child = restic
        .command(&["backup", "--stdin"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let locks = world.path("repository/locks");
    until("restic has locked", || is_locked(&locks).then_some(()));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(is_locked(&locks));
    repository
        .prune(PruneOptions::default(), &Unwatched)
        .unwrap();
    assert!(!is_locked(&locks));
}
