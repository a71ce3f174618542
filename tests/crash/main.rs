//! What survives a `kill -9` of the engine, of a shim, of both, or of a client, at any moment.
//!
//! * [`steps`]: the engine dies at each step of each operation of several steps; the next start leaves the object absent or
//!   complete, and nothing else.
//! * [`alone`]: containers whose engine, shim or both go away.
//! * [`evident`]: copies that are believed without their record.
//! * [`held`]: containers that the engine has frozen for a moment.
//! * [`restarts`]: restart policies and health checks across reboots, and while no engine runs.

#![expect(clippy::unwrap_used, reason = "a test program")]
#![allow(clippy::disallowed_methods, clippy::exit, reason = "a test program")]

use std::sync::{Arc, Mutex, OnceLock};

use testkit::libtest_mimic::{Arguments, Trial};
use testkit::{Client, Engine, FakePlugin, Host, Output, Registry, RegistryOptions};

mod alone;
mod evident;
mod held;
mod restarts;
mod steps;

/// An engine with the small image, and `orlop` to drive it.
struct Scene {
    engine: Engine,
    registry: OnceLock<Registry>,
    plugin: OnceLock<FakePlugin>,
}

/// A directory of data without a record, and what it is called when it has one.
const ORPHAN: &str = "ffffffffffffffffffffffffffffffff";
const ADOPTED: &str = "adopted";

impl Scene {
    fn new(name: &str, tags: &Arc<Mutex<Vec<String>>>) -> Self {
        let engine = Engine::start(&format!("crash-{}", name.replace(':', "-")));
        tags.lock().unwrap().push(engine.tag());
        engine.load_busybox();
        Self {
            engine,
            registry: OnceLock::new(),
            plugin: OnceLock::new(),
        }
    }

    /// A registry beside the engine, started when it is needed first.
    fn registry(&self) -> &Registry {
        self.registry.get_or_init(|| {
            let directory = self.engine.root.with_extension("registry");
            Registry::start(&directory, "127.0.0.1", &RegistryOptions::default())
        })
    }

    /// A volume plugin beside the engine, the driver `fake`, started when it is needed first.
    fn plugin(&self) -> &FakePlugin {
        self.plugin.get_or_init(|| {
            let socket = self.engine.plugin_sockets().join("fake.sock");
            FakePlugin::start(&socket, &self.engine.root.with_extension("fake"))
        })
    }

    fn run(&self, line: &str) -> Output {
        let words: Vec<&str> = line.split_whitespace().collect();
        Client::Orlop.run(&self.engine, &words)
    }

    /// As [`Scene::run`], with arguments that may hold blanks after the line's words.
    fn run_and(&self, line: &str, more: &[&str]) -> Output {
        let words: Vec<&str> = line
            .split_whitespace()
            .chain(more.iter().copied())
            .collect();
        Client::Orlop.run(&self.engine, &words)
    }

    fn inspect(&self, container: &str, format: &str) -> String {
        self.run_and(&format!("inspect {container} --format"), &[format])
            .ok()
    }

    #[track_caller]
    fn until_inspect(&self, container: &str, format: &str, wanted: &str) {
        testkit::until(&format!("{container} {format} is {wanted}"), || {
            let seen = self.run_and(&format!("inspect {container} --format"), &[format]);
            (seen.stdout.trim() == wanted).then_some(())
        });
    }

    /// Names in a directory of the state directory.
    fn names(&self, directory: &str) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(self.engine.root.join(directory))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    /// What holds whenever the engine has nothing to do.
    #[track_caller]
    fn check_invariants(&self) {
        let found = Mutex::new(Vec::new());
        let clean = testkit::until_or_late(|| {
            let contradictions = self.contradictions();
            let none = contradictions.is_empty();
            *found.lock().unwrap() = contradictions;
            none.then_some(())
        });
        assert!(clean.is_some(), "{:#?}", found.lock().unwrap());
    }

    fn contradictions(&self) -> Vec<String> {
        let lines = |output: Output| -> Vec<String> {
            let mut lines: Vec<String> = output.ok().lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        let mut found = Vec::new();
        let mut same = |what: &str, known: Vec<String>, there: Vec<String>| {
            if known != there {
                found.push(format!("{what}: known {known:?}, there {there:?}"));
            }
        };
        let containers = lines(self.run("ps -aq --no-trunc"));
        same(
            "container directories",
            containers.clone(),
            self.names("containers"),
        );
        let volumes = lines(self.run("volume ls -q"));
        // A plugin keeps the bytes of its volumes elsewhere; what describes them is here.
        let local = lines(self.run("volume ls -q -f driver=local"));
        same("volume links", local, self.names("volumes"));
        let trash = lines(self.run("volume trash ls -q"));
        let data = self.names("data");
        let orphan =
            data.iter().any(|name| name == ORPHAN) && !volumes.iter().any(|name| name == ADOPTED);
        let known = volumes.len() + trash.len() + usize::from(orphan);
        same(
            "number of data directories",
            vec![known.to_string()],
            vec![data.len().to_string()],
        );
        let mut layers = Vec::new();
        let images = lines(self.run("images -q --no-trunc"));
        for image in &images {
            let chain = self
                .run_and(
                    "image inspect --format",
                    &["{{json .RootFS.Layers}}", image],
                )
                .json();
            let chain = chain.as_array().unwrap();
            for length in 1..=chain.len() {
                layers.push(chain[..length].to_vec());
            }
        }
        layers.sort_by_key(|chain| format!("{chain:?}"));
        layers.dedup();
        same(
            "number of layers",
            vec![layers.len().to_string()],
            vec![self.names("layers").len().to_string()],
        );
        same("staging", Vec::new(), self.names("staging"));
        same("trash", Vec::new(), self.names("trash"));
        for controller in std::fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
            let group = controller
                .path()
                .join(format!("orlop-{}", self.engine.tag()));
            for entry in std::fs::read_dir(group).into_iter().flatten().flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                if entry.path().is_dir() && !containers.contains(&name) {
                    found.push(format!("cgroup {}", entry.path().display()));
                }
            }
        }
        found
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        // The engine was killed by its test and not started again: its containers need one to be removed.
        if !std::thread::panicking() && self.engine.has_ended() {
            self.engine.resume();
        }
        if self.plugin.take().is_some() {
            for extension in ["plugins", "fake"] {
                // What is left of a fake is in the way of nothing.
                drop(std::fs::remove_dir_all(
                    self.engine.root.with_extension(extension),
                ));
            }
        }
    }
}

fn main() {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(4);
    let tags = Arc::default();
    let root = rustix::process::geteuid().is_root();
    let host = (root && !arguments.list).then(Host::enter);
    // Without root nothing of this can run: the trials are counted as ignored.
    let trials = steps::trials(&tags)
        .into_iter()
        .chain(alone::trials(&tags))
        .map(|trial| trial.with_ignored_flag(!root))
        .collect();
    let conclusion = testkit::libtest_mimic::run(&arguments, trials);
    let Some(host) = host else {
        conclusion.exit();
    };
    let last = Trial::test("nothing_is_left_on_the_host", move || {
        let left = Mutex::new(Vec::new());
        let clean = testkit::until_or_late(|| {
            let tags = tags.lock().unwrap();
            let found: Vec<String> = tags.iter().flat_map(|tag| host.leftovers(tag)).collect();
            let none = found.is_empty();
            *left.lock().unwrap() = found;
            none.then_some(())
        });
        assert!(clean.is_some(), "left behind: {:#?}", left.lock().unwrap());
        Ok(())
    });
    // Kept engines of failed trials would be found here.
    let clean =
        (!conclusion.has_failed()).then(|| testkit::libtest_mimic::run(&arguments, vec![last]));
    if conclusion.has_failed() || clean.is_some_and(|clean| clean.has_failed()) {
        std::process::exit(101);
    }
}
