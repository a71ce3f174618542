//! Backups of volumes that nobody writes to: read where they are, unless somebody turns up.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use super::backups::Repository;
use super::processes::seconds;
use super::{Scenario, Scene, host};

pub(crate) const OWN: &[Scenario] = &[("S89_volumes_that_nobody_writes_to", alone)];

/// Backs the volume up; whether a snapshot was made for it.
fn snapshot_was_made(scene: &Scene, before: &mut u64) -> bool {
    scene.run("volume backup %data --to %home").ok();
    let told = scene
        .run_and(
            &format!(
                "events --since 0 --until {} --filter volume=%data --filter event=snapshot --format",
                seconds() + 1
            ),
            &["{{.Action}}"],
        )
        .ok();
    let count = told.lines().count() as u64;
    std::mem::replace(before, count) < count
}

fn alone(scene: &Scene) {
    let _repository = Repository::new(scene);
    scene
        .run("run --rm -v %data:/d busybox mkdir -p /d/a/b")
        .ok();
    let data = scene.data("data");
    let kind = host("stat", &["-f", "-c", "%T", data.to_str().unwrap()]);
    if kind.trim() == "btrfs" {
        println!("SKIPPED: on btrfs a snapshot costs nothing and is always made");
        return;
    }
    let mut snapshots = 0;
    // What was done a moment ago may have been done meanwhile.
    testkit::until("a backup is made without a snapshot", || {
        (!snapshot_was_made(scene, &mut snapshots)).then_some(())
    });

    // Somebody writes whom no engine knows of; what is in each file fits together all the same.
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut count = 0_u64;
            while !over.load(Ordering::Relaxed) {
                count += 1;
                let (next, last) = (data.join("a/next"), data.join("a/b/count"));
                fs::write(&next, format!("{count}\n").repeat(1000)).unwrap();
                fs::rename(next, last).unwrap();
            }
        });
        testkit::until("the writer writes", || {
            data.join("a/b/count").exists().then_some(())
        });
        let made = snapshot_was_made(scene, &mut snapshots);
        over.store(true, Ordering::Relaxed);
        assert!(made, "the volume was written to");
    });
    let text = scene.run("backup cat %home:%data a/b/count").ok();
    let first = text.lines().next().unwrap();
    assert_eq!(text.lines().filter(|line| *line == first).count(), 1000);

    // And a container, which the engine does know.
    scene
        .run("run -d --name %writer -v %data:/d busybox sleep 1000")
        .ok();
    assert!(snapshot_was_made(scene, &mut snapshots));
    scene.run("rm -f %writer").ok();
    assert_eq!(scene.run("volume snapshot ls -q %data").ok(), "");
    scene.run("backup check %home --read-data").ok();
    scene.run("volume rm --now %data").ok();
    scene.run("backup rm-repo %home").ok();
}
