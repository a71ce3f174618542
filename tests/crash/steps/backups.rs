//! Backups, drills and schedules, and what is restored.

use std::fs;

use super::{Operation, gone, with_data};
use crate::Scene;

pub(super) const OPERATIONS: &[Operation] = &[
    Operation {
        prefix: "backup-drill",
        prepare: with_backup,
        run: "backup drill --image busybox --command true repo:made",
        check: |scene| {
            // What was restored is gone, and the verdict is there or not.
            assert_eq!(scene.run("volume ls -q").ok(), "made");
            assert_eq!(scene.run("ps -aq").ok(), "");
            scene.check_invariants();
            scene
                .run("backup drill --image busybox --command true repo:made")
                .ok();
            without_backup(scene);
        },
    },
    Operation {
        prefix: "backup-schedule",
        prepare: |scene| {
            with_backup(scene);
            scene
                .run("backup schedule set often --every 30d --volumes made --to repo")
                .ok();
        },
        run: "backup schedule run often",
        check: |scene| {
            // The run that was cut off counts as failed, and is made up for at once.
            testkit::until("the run is made up for", || {
                let state = &scene.run("backup schedule inspect often").json()[0]["State"];
                let made_up = state["FailuresInARow"] == 0 && state["LastSuccess"].is_string();
                made_up.then(|| assert_eq!(state["Failures"], 1, "{state}"))
            });
            scene.run("backup schedule rm often").ok();
            scene.check_invariants();
            without_backup(scene);
        },
    },
    Operation {
        prefix: "volume-backup",
        prepare: repository,
        run: "volume backup --consistency freeze data",
        check: backed_up_or_not,
    },
    Operation {
        prefix: "backup-in-place",
        prepare: repository,
        run: "volume backup data",
        check: backed_up_or_not,
    },
    Operation {
        prefix: "volume-receive",
        prepare: backed_up,
        run: "volume restore home:data --as made",
        check: |scene| {
            // Whole, or not there.
            if scene.run("volume inspect made").code != 0 {
                scene.run("volume restore home:data --as made").ok();
            }
            assert!(scene.engine.root.join("volumes/made/_data/before").exists());
            without_repository(scene);
            gone(scene, "made");
            gone(scene, "data");
        },
    },
    Operation {
        prefix: "snapshot-receive",
        prepare: backed_up,
        run: "volume restore home:data",
        check: restored_over,
    },
    Operation {
        prefix: "backup-restore",
        prepare: backed_up,
        run: "volume restore home:data",
        check: restored_over,
    },
    Operation {
        prefix: "stack-restore",
        prepare: |scene| {
            repository(scene);
            scene.run("network create made").ok();
            scene
                .run("create --name it --network made -v data:/data busybox ls /data/before")
                .ok();
            scene.run("volume backup data").ok();
            scene.run("rm it").ok();
            scene.run("network rm made").ok();
            gone(scene, "data");
        },
        run: "stack restore home:data",
        check: |scene| {
            // Each part is whole or not there.
            if scene.run("inspect --type container it").code == 0 {
                scene.run("start -a it").ok();
                scene.run("rm it").ok();
            }
            if scene.run("volume inspect data").code == 0 {
                scene
                    .run("run --rm -v data:/data busybox ls /data/before")
                    .ok();
                gone(scene, "data");
            }
            scene.run("stack restore home:data").ok();
            scene.run("start -a it").ok();
            scene.run("rm it").ok();
            scene.run("network rm made").ok();
            without_repository(scene);
            gone(scene, "data");
        },
    },
];

/// A volume with a backup in a repository of the scene's own.
fn with_backup(scene: &Scene) {
    with_data(scene);
    let place = scene.engine.root.with_extension("repository");
    let password = scene.engine.root.with_extension("password");
    fs::write(&password, "secret\n").unwrap();
    scene
        .run(&format!(
            "backup init --password-file {} repo {}",
            password.display(),
            place.display()
        ))
        .ok();
    scene.run("volume backup --to repo made").ok();
}

fn without_backup(scene: &Scene) {
    scene.run("volume rm --now made").ok();
    scene.run("backup rm-repo repo").ok();
    fs::remove_dir_all(scene.engine.root.with_extension("repository")).unwrap();
    fs::remove_file(scene.engine.root.with_extension("password")).unwrap();
}

/// A volume, and a repository for its backups.
fn repository(scene: &Scene) {
    scene
        .run("run --rm -v data:/data busybox touch /data/before")
        .ok();
    let directory = scene.engine.root.with_extension("backups");
    scene
        .run_and(
            "backup init home",
            &[
                directory.to_str().unwrap(),
                "--password-command",
                "echo secret",
            ],
        )
        .ok();
}

fn backed_up(scene: &Scene) {
    repository(scene);
    scene.run("volume backup data").ok();
    scene
        .run("run --rm -v data:/data busybox mv /data/before /data/later")
        .ok();
}

/// Listed and whole, or not listed; either way its snapshot and its leases are gone and the next one goes on.
fn backed_up_or_not(scene: &Scene) {
    assert_eq!(scene.run("volume snapshot ls -q").ok(), "");
    scene.run("backup check home --read-data").ok();
    scene.run("volume backup data").ok();
    // Nor the lock of the engine that was killed.
    let locks = scene.engine.root.with_extension("backups").join("locks");
    assert_eq!(fs::read_dir(locks).unwrap().count(), 0);
    scene.run("volume restore home:data --as copy").ok();
    assert!(scene.engine.root.join("volumes/copy/_data/before").exists());
    without_repository(scene);
    gone(scene, "copy");
    gone(scene, "data");
}

fn without_repository(scene: &Scene) {
    scene.run("backup rm-repo home").ok();
    fs::remove_dir_all(scene.engine.root.with_extension("backups")).unwrap();
    assert!(scene.names("backups").is_empty());
}

/// The volume holds what it held, or what the backup holds; the other one is what it kept, if it was restored.
fn restored_over(scene: &Scene) {
    let data = scene.engine.root.join("volumes/data/_data");
    let restored = data.join("before").exists();
    assert_ne!(restored, data.join("later").exists(), "one or the other");
    let kept = scene.run("volume snapshot ls -q data").ok();
    assert_eq!(kept.lines().count(), usize::from(restored), "{kept}");
    if !restored {
        scene.run("volume restore home:data").ok();
        assert!(data.join("before").exists());
    }
    without_repository(scene);
    gone(scene, "data");
}
