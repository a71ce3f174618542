//! What goes wrong: servers that fail, hang and cut; processes that are killed; disks that are full; bytes that flip.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use backup::{
    BackupError, Check, Compare, Damage, Location, Parent, PruneOptions, Repository, Unlock,
    Unwatched, Watch,
};
use testkit::Treatment::{Cut, Fail, Hang, Pass, Reset};
use testkit::{Disk, Mistreat, until};

use crate::servers;
use crate::world::{PASSWORD, World, age, assert_same, entries, is_root, noise, save, what};

pub(crate) const TESTS: &[(&str, fn())] = &[
    ("a_prune_that_is_stopped", a_prune_that_is_stopped),
    (
        "a_server_that_fails_for_a_while",
        a_server_that_fails_for_a_while,
    ),
    ("a_server_that_fails_for_good", a_server_that_fails_for_good),
    ("killed_at_any_moment", killed_at_any_moment),
    ("a_full_disk", a_full_disk),
    ("a_flipped_byte_is_found", a_flipped_byte_is_found),
    ("a_missing_pack_is_named", a_missing_pack_is_named),
    ("what_is_lost_is_stored_again", what_is_lost_is_stored_again),
    (
        "what_was_found_to_be_damaged_is_not_trusted",
        what_was_found_to_be_damaged_is_not_trusted,
    ),
    ("files_that_cannot_be_read", files_that_cannot_be_read),
    ("stopped", stopped),
    (
        "a_source_that_is_written_to_is_no_backup",
        a_source_that_is_written_to_is_no_backup,
    ),
];

/// A repository behind a proxy before a REST server. What goes over it is a connection for each request or several.
fn behind_proxy(world: &World) -> Option<(servers::Kind, Mistreat, backup::Place)> {
    let kind = servers::rest(world)?;
    let proxy = Mistreat::before(kind.server.as_ref().unwrap().port);
    let location = format!("rest:http://me:secret@127.0.0.1:{}/", proxy.port);
    let mut place = backup::Place::new(Location::parse(&location).unwrap());
    place.patience = Duration::from_secs(1);
    place.retries = 3;
    Some((kind, proxy, place))
}

fn a_server_that_fails_for_a_while() {
    let world = World::new("fails-a-while");
    let Some((_server, proxy, place)) = behind_proxy(&world) else {
        return;
    };
    let source = world.dir("source");
    entries(&source);
    let repository = Repository::create(&place, PASSWORD).unwrap();
    for mode in [Fail, Reset, Hang, Cut] {
        // A repository of its own connections, so that the next request is met.
        let repository = Repository::open(&place, Unlock::Master(&repository.master_key()));
        proxy.treat(mode, 2);
        let saved = save(&repository.unwrap(), &source);
        assert!(saved.is_ok(), "{mode:?}: {saved:?}");
        proxy.treat(Pass, 0);
    }
    assert_eq!(repository.check(Check::Everything, &Unwatched).unwrap(), []);
}

fn a_server_that_fails_for_good() {
    let world = World::new("fails-for-good");
    let Some((_server, proxy, place)) = behind_proxy(&world) else {
        return;
    };
    let source = world.dir("source");
    entries(&source);
    let key = Repository::create(&place, PASSWORD).unwrap().master_key();
    for mode in [Fail, Reset, Hang, Cut] {
        proxy.treat(mode, usize::MAX);
        let start = Instant::now();
        let error = Repository::open(&place, Unlock::Master(&key))
            .and_then(|repository| save(&repository, &source))
            .unwrap_err();
        assert!(matches!(error, BackupError::Place(_)), "{mode:?}: {error}");
        let text = error.to_string();
        assert!(
            text.contains(&format!("127.0.0.1:{}", proxy.port)),
            "{text}"
        );
        assert!(!text.contains("secret"), "{text}");
        assert!(start.elapsed() < Duration::from_secs(50), "{mode:?}");
        proxy.treat(Pass, 0);
    }
    let repository = Repository::open(&place, Unlock::Master(&key)).unwrap();
    assert!(repository.backups().unwrap().is_empty());
    save(&repository, &source).unwrap();
    assert_eq!(repository.check(Check::Everything, &Unwatched).unwrap(), []);
}

/// What the test program is when it is called with [`CHILD`]: somebody who can be killed.
pub(crate) const CHILD: &str = "--child-of-the-test";

pub(crate) fn child(arguments: &[String]) {
    let [action, location, source] = arguments else {
        panic!("three words are wanted");
    };
    let place = backup::Place::new(Location::parse(location).unwrap());
    let repository = Repository::open(&place, Unlock::Password(PASSWORD)).unwrap();
    println!("opened");
    std::io::stdout().flush().unwrap();
    match action.as_str() {
        "save" => drop(save(&repository, Path::new(source)).unwrap()),
        _ => {
            let options = PruneOptions {
                max_unused_percent: 0,
                dry_run: false,
            };
            repository.prune(options, &Unwatched).unwrap();
        }
    }
}

fn killed_at_any_moment() {
    let world = World::new("killed");
    let source = world.dir("source");
    entries(&source);
    let place = world.place();
    let repository = Repository::create(&place, PASSWORD).unwrap();
    let first = save(&repository, &source).unwrap();
    let location = world.path("repository");
    for round in 0..12_u64 {
        let action = if round % 3 == 2 { "prune" } else { "save" };
        if action == "save" {
            std::fs::write(source.join(format!("n{round}")), noise(round, 20_000_000)).unwrap();
        } else {
            // Something to prune.
            let newest = repository.backups().unwrap().pop().unwrap();
            if newest.id != first.id {
                repository.forget(&[newest.id]).unwrap();
            }
        }
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([CHILD, action])
            .arg(&location)
            .arg(&source)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut word = [0; 7];
        child
            .stdout
            .as_mut()
            .unwrap()
            .read_exact(&mut word)
            .unwrap();
        // Moments are spread over what a run takes; which one is hit does not matter.
        let moment = Instant::now() + Duration::from_millis(round * 37 % 400);
        while Instant::now() < moment && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        child.kill().ok();
        child.wait().unwrap();
        // Whoever comes next goes on, whatever lock was left.
        let problems = repository.check(Check::Everything, &Unwatched).unwrap();
        assert!(
            problems.iter().all(|problem| !problem.is_loss()),
            "{action} {round}: {problems:?}"
        );
        let saved = save(&repository, &source).unwrap();
        assert!(saved.files > 0);
    }
    if let Some(restic) = world.restic() {
        restic.run(&["unlock"]);
        restic.run(&["check", "--read-data"]);
    }
    repository
        .prune(PruneOptions::default(), &Unwatched)
        .unwrap();
    assert_eq!(repository.check(Check::Everything, &Unwatched).unwrap(), []);
    let to = world.dir("restored");
    let newest = repository.backups().unwrap().pop().unwrap();
    let data = Path::new("/volumes/v/_data");
    repository
        .restore(newest.id, data, &to, &Unwatched)
        .unwrap();
    assert_same(&source, &to);
}

fn a_full_disk() {
    if !is_root() {
        println!("SKIPPED: a disk of its own needs root");
        return;
    }
    let world = World::new("full");
    let disk = Disk::mount("ext4", &world.path("disk"), 64 << 20);
    let place = backup::Place::new(
        Location::parse(world.path("disk/repository").to_str().unwrap()).unwrap(),
    );
    let repository = Repository::create(&place, PASSWORD).unwrap();
    let source = world.dir("source");
    std::fs::write(source.join("fits"), noise(1, 10_000_000)).unwrap();
    let fits = save(&repository, &source).unwrap();
    std::fs::write(source.join("does not"), noise(2, 90_000_000)).unwrap();
    let error = save(&repository, &source).unwrap_err();
    let cause = std::error::Error::source(&error).map(ToString::to_string);
    let full = "No space left on device";
    assert!(
        cause.as_deref().is_some_and(|cause| cause.contains(full)),
        "{error}: {cause:?}"
    );
    // Room for the lock and for what is written before something is removed.
    std::fs::remove_file(source.join("does not")).unwrap();
    assert_eq!(repository.backups().unwrap().len(), 1);
    repository
        .prune(PruneOptions::default(), &Unwatched)
        .unwrap();
    assert_eq!(repository.check(Check::Everything, &Unwatched).unwrap(), []);
    let again = save(&repository, &source).unwrap();
    assert_eq!(again.parent, Some(fits.id));
    assert_eq!(repository.check(Check::Everything, &Unwatched).unwrap(), []);
    drop(disk);
}

/// The files of one kind, largest first.
fn files(world: &World, kind: &str) -> Vec<PathBuf> {
    let mut found: Vec<(u64, PathBuf)> = Vec::new();
    let mut ahead = vec![world.path("repository").join(kind)];
    while let Some(path) = ahead.pop() {
        if path.is_dir() {
            ahead.extend(
                std::fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        } else {
            found.push((path.metadata().unwrap().len(), path));
        }
    }
    found.sort();
    found.into_iter().rev().map(|(_, path)| path).collect()
}

fn a_flipped_byte_is_found() {
    let world = World::new("flipped");
    let source = world.dir("source");
    entries(&source);
    let repository = Repository::create(&world.place(), PASSWORD).unwrap();
    let saved = save(&repository, &source).unwrap();
    let names = [
        ("data", "pack"),
        ("index", "index"),
        ("snapshots", "snapshot"),
        ("keys", "key"),
    ];
    for (directory, kind) in names {
        for path in files(&world, directory) {
            let good = std::fs::read(&path).unwrap();
            let name = path.file_name().unwrap().to_str().unwrap();
            for at in [0, good.len() / 2, good.len() - 1] {
                let mut bad = good.clone();
                bad[at] ^= 1;
                std::fs::write(&path, &bad).unwrap();
                let problems = repository.check(Check::Everything, &Unwatched).unwrap();
                let found = problems
                    .iter()
                    .find(|problem| problem.file == format!("{kind} {name}"));
                let found = found.unwrap_or_else(|| panic!("{kind} {at}: {problems:?}"));
                assert_eq!(found.damage, Damage::Damaged, "{kind} {at}");
                if kind == "pack" && at == 0 {
                    assert_eq!(found.backups, [saved.id], "{found}");
                    assert!(!found.blobs.is_empty(), "{found}");
                }
                // A byte of the description of a pack hurts nothing that is restored; all others are noticed.
                let to = world.dir("to");
                let restored =
                    repository.restore(saved.id, Path::new("/volumes/v/_data"), &to, &Unwatched);
                if restored.is_ok() {
                    assert_same(&source, &to);
                } else {
                    assert_ne!(kind, "key");
                }
                std::fs::remove_dir_all(&to).unwrap();
            }
            std::fs::write(&path, &good).unwrap();
        }
    }
    assert_eq!(repository.check(Check::Everything, &Unwatched).unwrap(), []);
    // Nobody without an intact configuration gets in.
    let config = world.path("repository/config");
    let mut bytes = std::fs::read(&config).unwrap();
    bytes[40] ^= 1;
    std::fs::write(&config, bytes).unwrap();
    assert!(Repository::open(&world.place(), Unlock::Password(PASSWORD)).is_err());
}

fn a_missing_pack_is_named() {
    let world = World::new("missing");
    let source = world.dir("source");
    std::fs::write(source.join("one"), noise(1, 100_000)).unwrap();
    let repository = Repository::create(&world.place(), PASSWORD).unwrap();
    let alone = backup::Save {
        extra: &[],
        ..what(Compare::Modified, Parent::Newest)
    };
    let first = repository.save(&source, &alone, &Unwatched).unwrap();
    std::fs::remove_file(source.join("one")).unwrap();
    std::fs::write(source.join("two"), noise(2, 10_000)).unwrap();
    let second = save(&repository, &source).unwrap();
    let pack = &files(&world, "data")[0];
    let name = pack.file_name().unwrap().to_str().unwrap().to_owned();
    std::fs::remove_file(pack).unwrap();
    let problems = repository.check(Check::Structure, &Unwatched).unwrap();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(problems[0].damage, Damage::Missing);
    assert_eq!(problems[0].file, format!("pack {name}"));
    assert_eq!(problems[0].backups, [first.id]);
    let error = repository
        .restore(first.id, Path::new("/"), &world.dir("to"), &Unwatched)
        .unwrap_err();
    assert!(error.to_string().contains(&name), "{error}");
    assert_eq!(
        repository
            .check(Check::Backup(second.id), &Unwatched)
            .unwrap()
            .len(),
        1
    );
    repository
        .restore(second.id, Path::new("/"), &world.dir("other"), &Unwatched)
        .unwrap();
}

/// What can be known to be gone before a backup is made is in that backup nevertheless, and what is there twice is found.
fn what_is_lost_is_stored_again() {
    let cut = |path: &Path| {
        let bytes = std::fs::read(path).unwrap();
        std::fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
    };
    let flip = |path: &Path| {
        let mut bytes = std::fs::read(path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(path, bytes).unwrap();
    };
    let remove = |path: &Path| std::fs::remove_file(path).unwrap();
    // What is harmed and how, how many files of it, and whether there is a cache that has them.
    type Harm<'a> = (&'a str, &'a str, &'a dyn Fn(&Path), usize, bool);
    let harms: [Harm<'_>; 5] = [
        ("data", "pack", &remove, 1, false),
        ("data", "pack", &cut, 9, true),
        ("index", "index", &flip, 9, false),
        ("index", "index", &cut, 9, true),
        ("snapshots", "snapshot", &cut, 9, true),
    ];
    for (number, (directory, kind, harm, count, with_cache)) in harms.into_iter().enumerate() {
        let world = World::new(&format!("lost-{number}"));
        let source = world.dir("source");
        entries(&source);
        std::fs::write(source.join("noise"), noise(7, 3_000_000)).unwrap();
        age(&source);
        let mut place = world.place();
        place.retries = 0;
        place.cache = with_cache.then(|| world.path("own-cache"));
        let repository = Repository::create(&place, PASSWORD).unwrap();
        let first = save(&repository, &source).unwrap();
        assert_eq!(first.lost, [""; 0]);
        let mut names = Vec::new();
        for path in files(&world, directory).iter().take(count) {
            harm(path);
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            names.push(format!("{kind} {name}"));
        }
        let second = save(&repository, &source).unwrap();
        for name in &names {
            let told = |lost: &String| lost.starts_with(name.as_str());
            assert!(second.lost.iter().any(told), "{name}: {:?}", second.lost);
        }
        assert_eq!(second.lost.len(), names.len(), "{:?}", second.lost);
        // Whole for somebody who has no cache. The earlier one is, too, when only contents of files were lost.
        let key = repository.master_key();
        let repository = Repository::open(&world.place(), Unlock::Master(&key)).unwrap();
        let whole = if count == 1 {
            vec![&first, &second]
        } else {
            vec![&second]
        };
        for saved in whole {
            let to = world.dir(&format!("to-{}", saved.id));
            let data = Path::new("/volumes/v/_data");
            repository
                .restore(saved.id, data, &to, &Unwatched)
                .unwrap_or_else(|error| panic!("{kind} {number}: {error}"));
            assert_same(&source, &to);
        }
        let problems = repository.check(Check::Everything, &Unwatched).unwrap();
        for name in &names {
            assert!(
                problems.iter().any(|problem| problem.file == *name),
                "{name}: {problems:?}"
            );
        }
        let hurt = |problem: &backup::Problem| problem.backups.contains(&second.id);
        assert!(!problems.iter().any(hurt), "{problems:?}");
        assert_eq!(save(&repository, &source).unwrap().new_bytes, 0);
    }
}

/// Once somebody has read it, the next backup knows; a prune takes it away when nobody needs it any more.
fn what_was_found_to_be_damaged_is_not_trusted() {
    let world = World::new("suspects");
    let source = world.dir("source");
    std::fs::write(source.join("one"), noise(1, 400_000)).unwrap();
    let mut place = world.place();
    place.cache = Some(world.path("own-cache"));
    let repository = Repository::create(&place, PASSWORD).unwrap();
    let first = save(&repository, &source).unwrap();
    std::fs::write(source.join("two"), noise(2, 300_000)).unwrap();
    age(&source);
    let both = save(&repository, &source).unwrap();
    let flip = |path: &Path| {
        let mut bytes = std::fs::read(path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(path, bytes).unwrap();
        path.file_name().unwrap().to_str().unwrap().to_owned()
    };
    // A pack that both backups need, and then a part of the index.
    let read = Check::Backup(both.id);
    let pack = flip(&files(&world, "data")[0]);
    assert!(!repository.check(read, &Unwatched).unwrap().is_empty());
    let index = flip(&files(&world, "index")[0]);
    assert!(!repository.check(read, &Unwatched).unwrap().is_empty());
    std::fs::remove_file(source.join("two")).unwrap();
    std::fs::write(source.join("three"), noise(3, 5_000)).unwrap();
    let next = save(&repository, &source).unwrap();
    assert!(next.lost.contains(&format!("pack {pack} is damaged")));
    assert!(next.lost.contains(&format!("index {index} is damaged")));
    assert!(next.new_bytes >= 405_000, "{next:?}");
    let restore = |repository: &Repository, saved: &backup::Saved, name: &str| {
        let to = world.dir(name);
        let data = Path::new("/volumes/v/_data");
        repository
            .restore(saved.id, data, &to, &Unwatched)
            .map(|_| to)
    };
    assert_same(&source, &restore(&repository, &next, "next").unwrap());
    // What the first backup had is there again, as is what the cache knew of the index.
    let key = repository.master_key();
    let elsewhere = Repository::open(&world.place(), Unlock::Master(&key)).unwrap();
    restore(&elsewhere, &first, "first").unwrap();
    assert_same(&source, &restore(&elsewhere, &next, "elsewhere").unwrap());
    // Packs that nothing else has are in the way of a prune as long as somebody needs them, and named.
    let newest = files(&world, "data")
        .into_iter()
        .max_by_key(|path| path.metadata().unwrap().modified().unwrap())
        .unwrap();
    let bytes = std::fs::read(&newest).unwrap();
    std::fs::remove_file(&newest).unwrap();
    let name = newest.file_name().unwrap().to_str().unwrap();
    let refused = repository
        .prune(PruneOptions::default(), &Unwatched)
        .unwrap_err();
    let text = refused.to_string();
    assert!(matches!(refused, BackupError::StillNeeded { .. }), "{text}");
    assert!(text.contains(name) || text.contains("is damaged"), "{text}");
    std::fs::write(&newest, bytes).unwrap();
    repository
        .prune(PruneOptions::default(), &Unwatched)
        .unwrap();
    assert_eq!(repository.check(Check::Everything, &Unwatched).unwrap(), []);
    assert_eq!(save(&repository, &source).unwrap().lost, [""; 0]);
    assert_same(&source, &restore(&elsewhere, &next, "pruned").unwrap());
}

fn files_that_cannot_be_read() {
    let world = World::new("unreadable");
    let source = world.dir("source");
    entries(&source);
    let repository = Repository::create(&world.place(), PASSWORD).unwrap();
    let first = save(&repository, &source).unwrap();
    // Root may read every file, but not every file can be read.
    let odd = Path::new("/proc/self/attr");
    if std::fs::read(odd.join("current")).is_ok() {
        println!("SKIPPED: no file is known that cannot be read");
        return;
    }
    let error = save(&repository, odd).unwrap_err();
    let BackupError::Unreadable { count, .. } = &error else {
        panic!("{error}");
    };
    assert!(*count > 0);
    assert_eq!(repository.backups().unwrap().len(), 1);
    assert_eq!(repository.backups().unwrap()[0].id, first.id);
}

/// Stops after so many bytes.
struct Impatient {
    after: u64,
    seen: AtomicU64,
    stopped: AtomicBool,
}

impl Watch for Impatient {
    fn total(&self, _: u64) {}
    fn advance(&self, bytes: u64) {
        self.seen.fetch_add(bytes, Ordering::SeqCst);
    }
    fn stop(&self) -> bool {
        let stop = self.seen.load(Ordering::SeqCst) > self.after;
        self.stopped.fetch_or(stop, Ordering::SeqCst);
        stop
    }
}

fn stopped() {
    let world = World::new("stopped");
    let source = world.dir("source");
    for number in 0..20 {
        std::fs::write(source.join(format!("f{number}")), noise(number, 3_000_000)).unwrap();
    }
    age(&source);
    let repository = Repository::create(&world.place(), PASSWORD).unwrap();
    let watch = Impatient {
        after: 20_000_000,
        seen: AtomicU64::new(0),
        stopped: AtomicBool::new(false),
    };
    let save_what = what(Compare::Modified, Parent::Newest);
    let error = repository.save(&source, &save_what, &watch).unwrap_err();
    assert!(matches!(error, BackupError::Stopped), "{error}");
    assert!(repository.backups().unwrap().is_empty());
    assert!(files(&world, "locks").is_empty());
    // What was stored is not stored again.
    let saved = save(&repository, &source).unwrap();
    assert!(saved.new_bytes < 45_000_000, "{saved:?}");
    let newest = saved.id;
    let to = world.dir("to");
    let watch = Impatient {
        after: 5_000_000,
        seen: AtomicU64::new(0),
        stopped: AtomicBool::new(false),
    };
    let error = repository
        .restore(newest, Path::new("/volumes/v/_data"), &to, &watch)
        .unwrap_err();
    assert!(matches!(error, BackupError::Stopped), "{error}");
    until("no lock is left", || {
        files(&world, "locks").is_empty().then_some(())
    });
}

/// Ends a prune when it asks for the so-manieth time.
#[derive(Default)]
struct Countdown {
    left: AtomicU64,
    stopped: AtomicBool,
}

impl Watch for Countdown {
    fn total(&self, _: u64) {}
    fn advance(&self, _: u64) {}
    fn stop(&self) -> bool {
        let stop = self
            .left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                left.checked_sub(1)
            })
            .is_err();
        self.stopped.fetch_or(stop, Ordering::SeqCst);
        stop
    }
}

/// Wherever it is stopped, all is as it was: no lock, no pack, no part of the index more or less. Or it comes to its end.
fn a_prune_that_is_stopped() {
    let world = World::new("prune-stopped");
    let source = world.dir("source");
    let repository = Repository::create(&world.place(), PASSWORD).unwrap();
    for number in 0..40 {
        std::fs::write(source.join(format!("f{number}")), noise(number, 600_000)).unwrap();
    }
    age(&source);
    let first = save(&repository, &source).unwrap();
    for number in (0..40).step_by(2) {
        std::fs::remove_file(source.join(format!("f{number}"))).unwrap();
    }
    let second = save(&repository, &source).unwrap();
    repository.forget(&[first.id]).unwrap();
    let options = PruneOptions {
        max_unused_percent: 0,
        dry_run: false,
    };
    let all = |world: &World| -> Vec<_> {
        let mut all: Vec<_> = ["data", "index", "locks", "snapshots"]
            .iter()
            .flat_map(|kind| files(world, kind))
            .collect();
        all.sort();
        all
    };
    let before = all(&world);
    let mut stops = 0;
    loop {
        let watch = Countdown {
            left: AtomicU64::new(stops),
            stopped: AtomicBool::new(false),
        };
        let pruned = repository.prune(options, &watch);
        let stopped = watch.stopped.load(Ordering::SeqCst);
        match pruned {
            Err(BackupError::Stopped) => assert!(stopped, "stop {stops}"),
            other => {
                let pruned = other.unwrap();
                assert!(pruned.packs_rewritten > 0, "{pruned:?}");
                break;
            }
        }
        assert_eq!(all(&world), before, "stop {stops}");
        stops += 1;
    }
    assert!(stops > 5, "it was asked {stops} times only");
    assert!(files(&world, "locks").is_empty());
    assert_eq!(repository.check(Check::Everything, &Unwatched).unwrap(), []);
    let to = world.dir("to");
    repository
        .restore(second.id, Path::new("/volumes/v/_data"), &to, &Unwatched)
        .unwrap();
    assert_same(&source, &to);
}

/// Writes to the source as soon as something of it was read.
struct Meddling(PathBuf);

impl Watch for Meddling {
    fn total(&self, _: u64) {}

    fn advance(&self, _: u64) {
        std::fs::write(&self.0, "meddled").unwrap();
    }

    fn stop(&self) -> bool {
        false
    }
}

fn a_source_that_is_written_to_is_no_backup() {
    let world = World::new("touched");
    let source = world.dir("source");
    std::fs::create_dir(source.join("deep")).unwrap();
    std::fs::write(source.join("deep/file"), noise(1, 100_000)).unwrap();
    let repository = Repository::create(&world.place(), PASSWORD).unwrap();
    let save = |watch: &dyn Watch| {
        let now = backup::Began::now();
        let what = backup::Save {
            untouched_since: Some(&now),
            ..what(Compare::Changed, Parent::Newest)
        };
        repository.save(&source, &what, watch)
    };
    // What was written a moment before may have been written after it.
    until("the source rests", || save(&Unwatched).ok());
    let meddling = Meddling(source.join("deep/other"));
    let error = save(&meddling).unwrap_err();
    assert!(matches!(error, BackupError::Touched { .. }), "{error:?}");
    assert_eq!(repository.backups().unwrap().len(), 1);
    assert!(
        repository
            .check(Check::Everything, &Unwatched)
            .unwrap()
            .is_empty()
    );
}
