//! Containers that are frozen while their volume is copied, by an engine that dies.

use std::process::Stdio;

use testkit::{Client, Running, until};

use super::Scene;
use super::alone::Test;

pub(super) const TESTS: &[Test] = &[("a_held_container_goes_on_without_its_engine", goes_on)];

fn goes_on(scene: &mut Scene) {
    let count = "n=0; while :; do n=$((n+1)); echo $n >/data/n; usleep 1000; done";
    scene
        .run_and("run -d --name it -v data:/data busybox sh -c", &[count])
        .ok();
    let number = scene.engine.root.join("volumes/data/_data/n");
    scene.engine.terminate();
    scene.engine.resume_until(Some("snapshot-freeze:frozen"));
    let line = ["volume", "snapshot", "create", "--name", "s", "data"];
    let mut command = Client::Orlop.command(&scene.engine, &line);
    let client = Running::start_with(&mut command, Stdio::null());
    scene.engine.wait_for_end();
    drop(client.finish());
    let count = || std::fs::read_to_string(&number).unwrap_or_default();
    let before = count();
    until("it goes on, and no engine runs", || {
        let now = count();
        (!now.is_empty() && now != before).then_some(())
    });
    scene.engine.resume();
    assert_eq!(scene.inspect("it", "{{.State.Status}}"), "running");
    assert_eq!(scene.run("volume snapshot ls -q data").ok(), "");
    scene.run("volume snapshot create --name s data").ok();
    scene.run("rm -f it").ok();
    scene.run("volume rm --now data").ok();
    scene.check_invariants();
}
