//! S24: volumes of plugins, through both clients. A plugin in the test's own hand shows what happens when one hangs, dies or
//! forgets; `rclone serve docker`, as Debian has it, shows that a real one works, with a directory and with an S3 store.
//!
//! Each trial has an engine of its own: a plugin that hangs is seen by everybody who lists volumes.

#![expect(clippy::unwrap_used, reason = "a test program")]
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::exit,
    reason = "a test program"
)]

use std::path::PathBuf;

use testkit::libtest_mimic::{Arguments, Trial};
use testkit::{Client, Engine, FakePlugin, Host, Output};

mod life;
mod outage;
mod rclone;

/// An engine with a client, and room for a plugin beside it.
struct Scene {
    engine: Engine,
    client: Client,
}

impl Scene {
    fn run(&self, line: &str) -> Output {
        self.run_and(line, &[])
    }

    /// With arguments that may hold blanks after the line's words.
    fn run_and(&self, line: &str, more: &[&str]) -> Output {
        let words: Vec<&str> = line
            .split_whitespace()
            .chain(more.iter().copied())
            .collect();
        self.client.run(&self.engine, &words)
    }

    fn sh(&self, volume: &str, script: &str) -> Output {
        self.run_and(&format!("run --rm -v {volume}:/x busybox sh -c"), &[script])
    }

    /// A directory beside the engine's state.
    fn directory(&self, name: &str) -> PathBuf {
        let path = self.engine.root.with_extension("kept").join(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    fn fake(&self) -> FakePlugin {
        let socket = self.engine.plugin_sockets().join("fake.sock");
        FakePlugin::start(&socket, &self.directory("fake"))
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        for extension in ["plugins", "specs", "kept"] {
            // Most trials need only some of them.
            drop(std::fs::remove_dir_all(
                self.engine.root.with_extension(extension),
            ));
        }
    }
}

type Test = (&'static str, fn(&mut Scene));

fn main() {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(2);
    let root = rustix::process::geteuid().is_root();
    if root && !arguments.list {
        // The network of the run reaches no registry.
        testkit::install_s3_server();
        Host::enter();
    }
    let tests = [life::TESTS, outage::TESTS, rclone::TESTS].concat();
    let trials = tests
        .into_iter()
        .flat_map(|test| [Client::Orlop, Client::Docker].map(|client| (test, client)))
        .map(|((name, test), client)| {
            Trial::test(format!("{name}::{client}"), move || {
                let engine = Engine::start(&format!("plugins-{name}-{client}"));
                engine.load_busybox();
                test(&mut Scene { engine, client });
                Ok(())
            })
            // Without root no container starts.
            .with_ignored_flag(!root)
        })
        .collect();
    testkit::libtest_mimic::run(&arguments, trials).exit();
}
