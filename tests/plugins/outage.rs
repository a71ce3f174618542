//! A plugin that hangs, dies, comes late; an engine that dies beside one.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use testkit::{Behaviour, Running, until};

use super::{Scene, Test};

pub(super) const TESTS: &[Test] = &[
    ("a_plugin_that_hangs", a_plugin_that_hangs),
    ("a_plugin_that_is_gone", a_plugin_that_is_gone),
    ("an_engine_that_dies", an_engine_that_dies),
    ("a_restart_needs_the_plugin", a_restart_needs_the_plugin),
];

fn a_plugin_that_hangs(scene: &mut Scene) {
    let fake = scene.fake();
    scene.run("volume create -d fake data").ok();
    for method in ["Mount", "Get", "List", "Activate", "Unmount"] {
        fake.behave(method, Behaviour::Hang);
    }
    let words = ["run", "--rm", "-v", "data:/x", "busybox", "true"];
    let stuck = Running::start(&mut scene.client.command(&scene.engine, &words));
    until("the plugin hangs", || {
        let calls = fake.take_calls();
        calls
            .iter()
            .any(|call| call.ends_with(" data"))
            .then_some(())
    });
    let began = Instant::now();
    for round in 0..3 {
        let name = format!("mine{round}");
        scene.run(&format!("volume create {name}")).ok();
        assert_eq!(scene.sh(&name, "echo 1 >/x/f; cat /x/f").ok(), "1");
        let listed = scene.run("volume ls -q").ok();
        assert!(
            listed.contains("data") && listed.contains(&name),
            "{listed}"
        );
        scene.run(&format!("volume rm {name}")).ok();
        scene.run("info").ok();
    }
    // Far below the deadline of a call.
    assert!(
        began.elapsed() < Duration::from_secs(100),
        "{:?}",
        began.elapsed()
    );

    // An engine that starts waits for nobody.
    scene.engine.kill();
    assert_ne!(stuck.finish().code, 0);
    scene.engine.resume();
    scene.run("volume create after").ok();
    scene.run("volume rm after").ok();
    fake.behave_well();
    until("the plugin has been told", || {
        fake.mounts("data").is_empty().then_some(())
    });
    let containers = scene.run("ps -aq").ok();
    for id in containers.lines() {
        scene.run(&format!("rm -f {id}")).ok();
    }
    until("the volume can be used again", || {
        (scene.sh("data", "echo 1").code == 0).then_some(())
    });
    scene.run("volume rm data").ok();
}

fn a_plugin_that_is_gone(scene: &mut Scene) {
    let mut fake = scene.fake();
    scene.run("volume create -d fake data").ok();
    scene.run("volume create -d fake given-up").ok();
    scene
        .run("run -d --name user --stop-signal KILL -v data:/x busybox sleep 1000")
        .ok();
    fake.stop();
    // What is mounted stays mounted; who stops does not wait.
    scene
        .run_and("exec user sh -c", &["echo written >/x/f"])
        .ok();
    scene.run("rm -f user").ok();
    scene.run("volume create mine").ok();
    assert_eq!(scene.run("volume ls -q").ok(), "data\ngiven-up\nmine");
    let inspected = scene.run("volume inspect data");
    inspected.fails(
        1,
        "error while checking if volume \"data\" exists in driver \"fake\": ",
    );
    inspected.fails(1, "connect: connection refused");
    assert_eq!(scene.run("volume rm -f given-up").ok(), "given-up");
    assert_eq!(scene.run("volume ls -q").ok(), "data\nmine");
    fake.resume();
    until("the plugin has been told", || {
        fake.mounts("data").is_empty().then_some(())
    });
    assert_eq!(scene.sh("data", "cat /x/f").ok(), "written");
    assert_eq!(
        scene.run("volume ls -q").ok(),
        "data\ngiven-up\nmine",
        "what the plugin kept is there again"
    );
}

fn an_engine_that_dies(scene: &mut Scene) {
    let fake = scene.fake();
    scene.run("volume create -d fake data").ok();
    for name in ["stays", "ends"] {
        scene
            .run(&format!(
                "run -d --name {name} --stop-signal KILL -v data:/x busybox sleep 1000"
            ))
            .ok();
    }
    let before = fake.mounts("data");
    assert_eq!(before.len(), 2);
    let id = scene.run_and("inspect ends --format", &["{{.Id}}"]).ok();
    let shim = scene.engine.shim_of(&id);
    scene.engine.kill();
    kill_process(Pid::from_raw(shim).unwrap(), Signal::KILL).unwrap();
    scene.engine.resume();
    until("the plugin has been told of the end", || {
        (fake.mounts("data").len() == 1).then_some(())
    });
    assert!(
        fake.mounts("data").is_subset(&before),
        "the mount of who runs is kept"
    );
    scene.run("volume rm data").fails(1, "volume is in use");
    scene.run("stop stays").ok();
    until("the last mount ends", || {
        fake.mounts("data").is_empty().then_some(())
    });
    scene.run("rm stays ends").ok();
    scene.run("volume rm data").ok();
}

fn a_restart_needs_the_plugin(scene: &mut Scene) {
    let mut fake = scene.fake();
    scene.run("volume create -d fake data").ok();
    scene
        .run_and(
            "run -d --name user --restart always --stop-signal KILL -v data:/x busybox sh -c",
            &["echo started >>/x/log; exec sleep 1000"],
        )
        .ok();
    let log = fake.path("data").join("log");
    let starts = || fs::read_to_string(&log).unwrap_or_default().lines().count();
    until("it has started", || (starts() == 1).then_some(()));
    let id = scene.run_and("inspect user --format", &["{{.Id}}"]).ok();
    let shim = scene.engine.shim_of(&id);
    // As after a reboot: nothing runs, and the plugin comes up later than the engine.
    scene.engine.kill();
    kill_process(Pid::from_raw(shim).unwrap(), Signal::KILL).unwrap();
    fake.stop();
    scene.engine.resume();
    scene.run("volume create mine").ok();
    fake.resume();
    until("it has started again", || (starts() == 2).then_some(()));
    until("the old mount is over", || {
        (fake.mounts("data").len() == 1).then_some(())
    });
    scene.run("rm -f user").ok();
    scene.run("volume rm data").ok();
}
