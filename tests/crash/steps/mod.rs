//! The engine dies at each step of each operation.
//!
//! The names of the steps are read from the sources, so a step that nobody thought of here makes a failing trial.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use testkit::libtest_mimic::Trial;
use testkit::{Client, Running, images_dir, steps};

use super::Scene;

mod backups;
mod containers;
mod images;
mod networks;
mod pools;
mod snapshots;
mod travel;
mod volumes;

/// What to do before, the operation that dies, and what must hold after the next start.
struct Operation {
    prefix: &'static str,
    prepare: fn(&Scene),
    run: &'static str,
    check: fn(&Scene),
}

/// Removed with everything it kept.
fn gone(scene: &Scene, volume: &str) {
    scene.run(&format!("volume rm --now {volume}")).ok();
}

fn context(scene: &Scene) -> PathBuf {
    scene.engine.root.with_extension("context")
}

fn second_image(scene: &Scene) {
    scene
        .run_and("run --name base busybox sh -c", &["echo two > /second"])
        .ok();
    scene.run("commit base second").ok();
    scene.run("rm base").ok();
}

/// An image whose layer is not there yet.
fn other_image(scene: &Scene) -> PathBuf {
    let path = scene.engine.root.with_extension("tar");
    if !path.exists() {
        let script = "set -e; d=$(mktemp -d); tar -C $d -xf $1; echo new > $d/new; tar -C $d -cf $2 .; rm -rf $d";
        let made = std::process::Command::new("sh")
            .args(["-c", script, "sh"])
            .args([&images_dir().join("busybox.tar"), &path])
            .status()
            .unwrap();
        assert!(made.success());
    }
    path
}

/// A command line in which `SOCKET` stands for the engine's own.
fn with_socket(scene: &Scene, line: &str) -> String {
    let socket = format!("unix://{}", scene.engine.socket().display());
    line.replace("SOCKET", &socket)
}

fn with_data(scene: &Scene) {
    scene
        .run("run --rm -v made:/data busybox touch /data/x")
        .ok();
}

/// By what they work on.
const OPERATIONS: &[&[Operation]] = &[
    containers::OPERATIONS,
    images::OPERATIONS,
    networks::OPERATIONS,
    volumes::OPERATIONS,
    pools::OPERATIONS,
    snapshots::OPERATIONS,
    backups::OPERATIONS,
    travel::OPERATIONS,
];

pub(super) fn trials(tags: &Arc<Mutex<Vec<String>>>) -> Vec<Trial> {
    let mut trials = Vec::new();
    for step in steps() {
        let prefix = step.split(':').next().unwrap();
        let operations: Vec<&Operation> = OPERATIONS
            .iter()
            .copied()
            .flatten()
            .filter(|operation| operation.prefix == prefix)
            .collect();
        if operations.is_empty() {
            let text = format!("no operation in {} reaches the step {step}", file!());
            trials.push(Trial::test(format!("killed_at::{step}"), move || {
                Err(text.into())
            }));
        }
        for operation in operations {
            let tags = Arc::clone(tags);
            let step = step.clone();
            let verb: Vec<&str> = operation.run.split_whitespace().take(3).collect();
            trials.push(Trial::test(
                format!("killed_at::{step}::{}", verb.join("_")),
                move || {
                    die_at(&step, operation, &tags);
                    Ok(())
                },
            ));
        }
    }
    trials
}

fn die_at(step: &str, operation: &Operation, tags: &Arc<Mutex<Vec<String>>>) {
    // The path of a socket has at most 107 bytes.
    let verb: String = operation
        .run
        .split_whitespace()
        .take(3)
        .flat_map(|word| word.chars().filter(char::is_ascii_alphanumeric).take(10))
        .collect();
    let name = format!("{step}-{verb}");
    let mut scene = Scene::new(&name, tags);
    (operation.prepare)(&scene);
    scene.check_invariants();
    scene.engine.terminate();
    scene.engine.resume_until(Some(step));
    let (image, directory) = (other_image(&scene), context(&scene));
    let mut words = Vec::new();
    let mut input = Stdio::null();
    let line = if operation.run.contains("REGISTRY") {
        operation.run.replace("REGISTRY", &scene.registry().address)
    } else {
        with_socket(&scene, operation.run)
    };
    for word in line.split_whitespace() {
        match word {
            "CONTEXT" => words.push(directory.to_str().unwrap()),
            "IMAGE" => words.push(image.to_str().unwrap()),
            "<IMAGE" => input = fs::File::open(&image).unwrap().into(),
            word => words.push(word),
        }
    }
    let client = Running::start_with(&mut Client::Orlop.command(&scene.engine, &words), input);
    scene.engine.wait_for_end();
    drop(client.finish());
    scene.engine.resume();
    (operation.check)(&scene);
    scene.check_invariants();
    // Starting once more finds nothing to do.
    scene.engine.terminate();
    scene.engine.resume();
    scene.check_invariants();
    fs::remove_file(image).unwrap();
}
