//! What every kind of place must do, and what is said when one refuses.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use backup::{
    BackupError, Check, Location, Place, PruneOptions, Repository, S3Keys, Unlock, Unwatched,
};

use testkit::ssh_arguments;

use crate::servers::{self, Kind};
use crate::world::{PASSWORD, World, age, assert_same, entries, save};

pub(crate) const TESTS: &[(&str, fn())] = &[
    ("a_directory", a_directory),
    ("an_object_store", an_object_store),
    ("a_rest_server", a_rest_server),
    ("sftp", sftp),
    ("the_wrong_credentials", the_wrong_credentials),
    ("an_authority_of_its_own", an_authority_of_its_own),
    ("through_a_proxy", through_a_proxy),
    ("limits_are_kept", limits_are_kept),
    ("a_cache_saves_downloads", a_cache_saves_downloads),
];

fn a_directory() {
    let world = World::new("conform-directory");
    conform(&world, &servers::directory(&world));
}

fn an_object_store() {
    let world = World::new("conform-s3");
    if let Some(kind) = servers::object_store(&world) {
        conform(&world, &kind);
    }
}

fn a_rest_server() {
    let world = World::new("conform-rest");
    if let Some(kind) = servers::rest(&world) {
        conform(&world, &kind);
    }
}

fn sftp() {
    let world = World::new("conform-sftp");
    if let Some(kind) = servers::sftp(&world) {
        conform(&world, &kind);
    }
}

/// The life of a repository, the same on every kind of place.
fn conform(world: &World, kind: &Kind) {
    let name = kind.name;
    let place = &kind.place;
    let source = world.dir("source");
    entries(&source);
    age(&source);
    let none = Repository::open(place, Unlock::Password(PASSWORD)).unwrap_err();
    assert_eq!(
        none.to_string(),
        format!("there is no repository in {}", place.location),
        "{name}"
    );
    let repository = Repository::create(place, PASSWORD).unwrap();
    assert!(Repository::create(place, PASSWORD).is_err(), "{name}");
    let wrong = Repository::open(place, Unlock::Password("wrong")).unwrap_err();
    assert!(wrong.to_string().starts_with("wrong password"), "{wrong}");

    let first = save(&repository, &source).unwrap();
    let second = save(&repository, &source).unwrap();
    assert_eq!(second.new_bytes, 0, "{name}");
    let key = repository.master_key();
    let repository = Repository::open(place, Unlock::Master(&key)).unwrap();
    assert_eq!(repository.backups().unwrap().len(), 2, "{name}");
    assert_eq!(
        repository.find(&first.id.to_hex()[..12]).unwrap().id,
        first.id
    );

    let mut listed = Vec::new();
    repository
        .list(
            first.id,
            Path::new("/volumes/v/_data/deep"),
            true,
            &mut |entry| {
                listed.push(entry.path);
                ControlFlow::Continue(())
            },
        )
        .unwrap();
    let deep = |path: &str| PathBuf::from(format!("/volumes/v/_data/deep/{path}"));
    assert_eq!(
        listed,
        [
            deep("er"),
            deep("er/est"),
            deep("er/est/leaf"),
            deep("link of small")
        ]
    );
    let mut large = Vec::new();
    repository
        .cat(first.id, Path::new("/volumes/v/_data/large"), &mut large)
        .unwrap();
    assert!(large == std::fs::read(source.join("large")).unwrap());

    let to = world.dir("restored");
    let data = Path::new("/volumes/v/_data");
    repository
        .restore(second.id, data, &to, &Unwatched)
        .unwrap();
    assert_same(&source, &to);
    assert_eq!(repository.check(Check::Everything, &Unwatched).unwrap(), []);
    if let Some(restic) = &kind.restic {
        restic.run(&["check", "--read-data"]);
    }

    repository.forget(&[first.id]).unwrap();
    std::fs::remove_file(source.join("large")).unwrap();
    let third = save(&repository, &source).unwrap();
    repository.forget(&[second.id]).unwrap();
    let pruned = repository
        .prune(
            PruneOptions {
                max_unused_percent: 0,
                dry_run: false,
            },
            &Unwatched,
        )
        .unwrap();
    assert!(pruned.bytes_freed > 8_000_000, "{name}: {pruned:?}");
    assert_eq!(repository.check(Check::Everything, &Unwatched).unwrap(), []);
    let to = world.dir("restored again");
    repository.restore(third.id, data, &to, &Unwatched).unwrap();
    assert_same(&source, &to);
    if let Some(restic) = &kind.restic {
        restic.run(&["check", "--read-data"]);
    }
    if let Some(files) = &kind.files {
        let left: Vec<_> = std::fs::read_dir(files.join("locks")).unwrap().collect();
        assert!(left.is_empty(), "{name}: {left:?}");
    }
}

fn the_wrong_credentials() {
    let world = World::new("credentials");
    let refused = |place: &Place| {
        let error = Repository::create(place, PASSWORD).unwrap_err().to_string();
        let shown = place.location.to_string();
        assert!(
            error.starts_with(&format!("{shown} refuses access: ")),
            "{error}"
        );
    };
    if let Some(kind) = servers::rest(&world) {
        let port = kind.server.unwrap().port;
        let location = format!("rest:http://me:wrong@127.0.0.1:{port}/");
        // The server has ended with the line above; this is about being unreachable.
        let mut place = Place::new(Location::parse(&location).unwrap());
        place.retries = 1;
        let error = Repository::create(&place, PASSWORD)
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            format!("rest:http://me@127.0.0.1:{port}/ cannot be reached")
        );
    }
    let other = World::new("credentials-rest");
    if let Some(kind) = servers::rest(&other) {
        let port = kind.server.as_ref().unwrap().port;
        let location = format!("rest:http://me:wrong@127.0.0.1:{port}/");
        refused(&Place::new(Location::parse(&location).unwrap()));
    }
    if let Some(kind) = servers::object_store(&world) {
        let mut place = kind.place.clone();
        place.s3 = Some(S3Keys {
            access_key: "nobody".to_owned(),
            ..place.s3.unwrap()
        });
        refused(&place);
    }
    if let Some(kind) = servers::sftp(&world) {
        let mut place = kind.place.clone();
        // A key, but not one that the server knows.
        place.ssh = ssh_arguments(&world.path(""), "host");
        refused(&place);
    }
}

fn an_authority_of_its_own() {
    let world = World::new("authority");
    let Some((mut kind, certificate)) = servers::rest_with_tls(&world) else {
        return;
    };
    // Nobody whom this system trusts vouches for the server.
    let error = Repository::create(&kind.place, PASSWORD).unwrap_err();
    assert!(matches!(error, BackupError::Place(_)), "{error}");
    let cause = std::error::Error::source(&error).map(ToString::to_string);
    assert!(
        cause.is_some_and(|cause| cause.contains("certificate")),
        "{error:?}"
    );
    kind.place.authority = Some("no certificate".to_owned());
    let error = Repository::create(&kind.place, PASSWORD)
        .unwrap_err()
        .to_string();
    assert!(error.contains("has no certificates"), "{error}");
    kind.place.authority = Some(certificate);
    conform(&world, &kind);
}

fn through_a_proxy() {
    let world = World::new("proxy");
    let Some((kind, certificate)) = servers::rest_with_tls(&world) else {
        return;
    };
    let proxy = servers::proxy();
    let port = kind.server.as_ref().unwrap().port;
    // A name that only the proxy knows.
    let location = format!("rest:https://backups.test:{port}/");
    let mut place = Place::new(Location::parse(&location).unwrap());
    place.retries = 0;
    place.authority = Some(certificate);
    let asked = || proxy.asked.load(std::sync::atomic::Ordering::SeqCst);
    Repository::create(&place, PASSWORD).unwrap_err();
    place.proxies.https = Some(proxy.address.clone());
    place.proxies.except = "*.test".to_owned();
    Repository::create(&place, PASSWORD).unwrap_err();
    assert_eq!(asked(), 0);
    place.proxies.except = "elsewhere.test".to_owned();
    let repository = Repository::create(&place, PASSWORD).unwrap();
    assert!(asked() > 0);
    let source = world.dir("source");
    entries(&source);
    save(&repository, &source).unwrap();
    assert_eq!(repository.check(Check::Everything, &Unwatched).unwrap(), []);
    place.proxies.https = Some("nonsense://somewhere".to_owned());
    let error = Repository::create(&place, PASSWORD)
        .unwrap_err()
        .to_string();
    assert!(error.contains("the address of the proxy"), "{error}");
}

fn limits_are_kept() {
    let world = World::new("limits");
    let source = world.dir("source");
    std::fs::write(source.join("noise"), crate::world::noise(7, 3_000_000)).unwrap();
    let mut place = world.place();
    place.upload_limit = Some(2_000_000);
    let repository = Repository::create(&place, PASSWORD).unwrap();
    let start = std::time::Instant::now();
    let saved = save(&repository, &source).unwrap();
    // A pack is paid before the next one goes out.
    let again = save(&repository, &source).unwrap();
    assert_eq!(again.new_bytes, 0);
    assert!(saved.stored_bytes >= 3_000_000);
    assert!(start.elapsed() >= Duration::from_millis(1400));
}

fn a_cache_saves_downloads() {
    let world = World::new("cached");
    let source = world.dir("source");
    entries(&source);
    age(&source);
    let mut place = world.place();
    place.cache = Some(world.path("our cache"));
    let repository = Repository::create(&place, PASSWORD).unwrap();
    let first = save(&repository, &source).unwrap();
    // Where the packs of trees hold nothing but zeros, the parent can only come from the cache.
    let hidden = world.path("hidden");
    let script = format!(
        "cp -a '{data}' '{}'; find '{data}' -type f -exec sh -c 'size=$(stat -c %s \"$1\"); truncate -s 0 \"$1\"; truncate -s $size \"$1\"' _ {{}} \\;",
        hidden.display(),
        data = world.path("repository/data").display(),
    );
    crate::world::run("sh", &["-c", &script]);
    let repository = Repository::open(&place, Unlock::Password(PASSWORD)).unwrap();
    let second = save(&repository, &source).unwrap();
    assert_eq!(second.new_bytes, 0);
    assert_eq!(second.files, first.files);
    let back = format!(
        "cp -a '{}/.' '{}'",
        hidden.display(),
        world.path("repository/data").display()
    );
    crate::world::run("sh", &["-c", &back]);
    // A cache with other contents, or none, changes nothing but the time it takes.
    let cache = world.path("our cache");
    let script = format!(
        "find '{}' -type f -exec sh -c 'echo rubbish > \"$1\"' _ {{}} \\;",
        cache.display()
    );
    crate::world::run("sh", &["-c", &script]);
    let to = world.dir("restored");
    let data = Path::new("/volumes/v/_data");
    repository
        .restore(second.id, data, &to, &Unwatched)
        .unwrap();
    assert_same(&source, &to);
    std::fs::remove_dir_all(&cache).unwrap();
    assert_eq!(repository.check(Check::Everything, &Unwatched).unwrap(), []);
}
