//! S100–S105: servers that are being written to are backed up, destroyed, and come back on another root.
//!
//! The client of the consistency scenarios says each row that the server has acknowledged. What it had said when a backup was
//! begun is there on the other root, and of what came later nothing without all that was before it. The other root shares
//! nothing with the first one but the repository and its password.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use testkit::Engine;

use super::backups::Repository;
use super::consistency::{
    MARIADB, POSTGRESQL, REDIS, Server, more, rows, start, until_ready, write,
};
use super::{Scenario, Scene};

pub(super) const OWN: &[Scenario] = &[
    ("S100_postgresql_frozen_comes_back", |scene| {
        comes_back(scene, &POSTGRESQL, "--consistent freeze");
    }),
    ("S101_postgresql_hooked_comes_back", |scene| {
        comes_back(scene, &POSTGRESQL, &hook(&POSTGRESQL));
    }),
    ("S102_mariadb_frozen_comes_back", |scene| {
        comes_back(scene, &MARIADB, "--consistent freeze");
    }),
    ("S103_mariadb_hooked_comes_back", |scene| {
        comes_back(scene, &MARIADB, &hook(&MARIADB));
    }),
    ("S104_redis_frozen_comes_back", |scene| {
        comes_back(scene, &REDIS, "--consistent freeze");
    }),
    ("S105_redis_hooked_comes_back", |scene| {
        comes_back(scene, &REDIS, &hook(&REDIS));
    }),
];

fn hook(server: &Server) -> String {
    format!("--consistent hook --hook {}", server.hook)
}

/// The same scene on another root, which those share that run at the same time: it needs images of its own.
fn elsewhere(scene: &Scene) -> Scene {
    static OTHER: Mutex<Weak<Engine>> = Mutex::new(Weak::new());
    let mut other = OTHER.lock().unwrap_or_else(PoisonError::into_inner);
    let engine = other.upgrade().unwrap_or_else(|| {
        // A name of its own: the one before may not have ended yet.
        let engine = Arc::new(Engine::start(&scene.name("elsewhere")));
        engine.load_images();
        *other = Arc::downgrade(&engine);
        engine
    });
    Scene {
        engine,
        client: scene.client,
        prefix: scene.prefix.clone(),
    }
}

/// A backup, and what it owes.
struct Kept {
    id: String,
    /// Rows acknowledged before it was begun.
    before: u64,
    /// Bytes that the repository grew by.
    stored: u64,
}

fn back_up(scene: &Scene, flags: &str) -> Kept {
    let before = more(scene, 50);
    scene
        .run(&format!("volume backup %live --to %home {flags}"))
        .ok();
    // Nobody is left frozen.
    more(scene, 50);
    let newest = scene
        .run_and(
            "backup ls %home:%live@latest --format",
            &["{{.Id}} {{.StoredBytes}}"],
        )
        .ok();
    let (id, stored) = newest.split_once(' ').unwrap();
    Kept {
        id: id.to_owned(),
        before,
        stored: stored.parse().unwrap(),
    }
}

fn comes_back(scene: &Scene, server: &Server, flags: &str) {
    let repository = Repository::new(scene);
    scene.run("volume create %live").ok();
    start(scene, server, "server", "live");
    scene.sh("server", server.prepare).ok();
    write(scene, server, "server");
    let first = back_up(scene, flags);
    let second = back_up(scene, flags);
    assert!(
        second.stored < first.stored,
        "only what has changed is new: {} after {}",
        second.stored,
        first.stored
    );

    // All of it is lost, and the engine does not know the repository any more.
    scene.run("rm -f %writer %server").ok();
    scene.run("volume rm --now %live").ok();
    scene.run("backup rm-repo %home").ok();

    let other = elsewhere(scene);
    repository.add(&other, "add").ok();
    other.run("volume inspect %live").fails(1, "no such volume");

    // The newest with its container, as it was run.
    let restored = other.run("stack restore %home:%live --start").ok();
    assert!(
        restored.contains(&other.fill("started %server")),
        "{restored}"
    );
    until_ready(&other, server, "server");
    let newest = rows(&other, server, "server");
    assert!(newest >= second.before, "{newest} of {}", second.before);
    other.run("rm -f %server").ok();
    other.run("volume rm --now %live").ok();

    // The older one: once under its own name, for a server that is run anew.
    other
        .run(&format!("volume restore %home:%live@{}", first.id))
        .ok();
    start(&other, server, "again", "live");
    let older = rows(&other, server, "again");
    assert!(
        (first.before..=newest).contains(&older),
        "{older}: at least {}, at most {newest}",
        first.before
    );
    other.run("rm -f %again").ok();
    other.run("volume rm --now %live").ok();
    other.run("backup rm-repo %home").ok();
}
