//! The scenarios that users know from Docker's own tutorials, each driven once through `orlop` and once through the
//! stock `docker` CLI, against one real engine with real servers.
//!
//! Names in the code (S01 …) number the scenarios of the project's specification. At the end nothing may be left on the
//! host: the last trial looks for interfaces, firewall tables, mounts and cgroups.

#![expect(clippy::unwrap_used, reason = "a test program")]
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::exit,
    reason = "a test program"
)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use testkit::libtest_mimic::{Arguments, Trial};
use testkit::{Client, Engine, Host, Output, Running, Terminal};

mod adoptions;
mod audits;
mod backup;
mod backup_care;
mod backup_in_place;
mod backup_places;
mod backups;
mod build;
mod build_sources;
mod consistency;
mod containers;
mod data_containers;
mod downloads;
mod events;
mod fake_registry;
mod files;
mod filesystems;
mod full_disk;
mod health;
mod image_limits;
mod images;
mod limits;
mod long_commands;
mod mount_care;
mod mounts;
mod network_options;
mod networks;
mod pools;
mod processes;
mod registry;
mod registry_logins;
mod renames;
mod rescues;
mod restarts;
mod schedules;
mod server_backups;
mod servers;
mod snapshots;
mod special_files;
mod streams;
mod volume_care;
mod volume_commands;
mod volume_upgrades;

/// What a scenario works with.
#[derive(Clone)]
struct Scene {
    engine: Arc<Engine>,
    client: Client,
    /// Unique for scenario and client: names of one never meet those of another.
    prefix: String,
}

impl Scene {
    /// A name for a container or volume of this scenario.
    fn name(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix)
    }

    /// Runs a command line; `%x` stands for [`Scene::name`]`("x")`, words are separated by blanks.
    fn run(&self, line: &str) -> Output {
        self.client.run(&self.engine, &self.words(line))
    }

    /// As [`Scene::run`], with arguments that may hold blanks after the line's words.
    fn run_and(&self, line: &str, more: &[&str]) -> Output {
        let mut words = self.words(line);
        words.extend(more.iter().map(|&word| word.to_owned()));
        self.client.run(&self.engine, &words)
    }

    fn run_with(&self, line: &str, input: &[u8]) -> Output {
        self.client.run_with(&self.engine, &self.words(line), input)
    }

    /// A shell command inside a running container.
    fn sh(&self, container: &str, script: &str) -> Output {
        self.run_and(&format!("exec %{container} sh -c"), &[script])
    }

    fn fill(&self, word: &str) -> String {
        word.replace('%', &format!("{}-", self.prefix))
    }

    /// A scratch directory on the host, removed with the scene.
    fn directory(&self, name: &str) -> PathBuf {
        let path = self
            .engine
            .root
            .with_extension("scratch")
            .join(self.name(name));
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    /// A command line that goes on beside the test.
    fn start(&self, line: &str) -> Running {
        Running::start(&mut self.client.command(&self.engine, &self.words(line)))
    }

    /// As [`Scene::start`], with what may hold blanks in place of the word `stands`.
    fn start_with(&self, line: &str, stands: &str, text: &str) -> Running {
        let stands = self.fill(stands);
        let words = self.words(line).into_iter();
        let words: Vec<String> = words
            .map(|word| {
                if word == stands {
                    text.to_owned()
                } else {
                    word
                }
            })
            .collect();
        Running::start(&mut self.client.command(&self.engine, &words))
    }

    /// A command line on a terminal.
    fn terminal(&self, line: &str) -> Terminal {
        Terminal::start(&self.client.command(&self.engine, &self.words(line)))
    }

    /// A command line whose standard output is a file.
    fn run_into(&self, line: &str, path: &Path) {
        let file = std::fs::File::create(path).unwrap();
        let output = self
            .client
            .command(&self.engine, &self.words(line))
            .stdout(file)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{line}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    fn words(&self, line: &str) -> Vec<String> {
        line.split_whitespace()
            .map(|word| self.fill(word))
            .collect()
    }

    /// Waits until a value of `inspect --format` is `wanted`.
    #[track_caller]
    fn until_inspect(&self, container: &str, format: &str, wanted: &str) {
        testkit::until(&format!("{container} {format} is {wanted}"), || {
            (self.inspect(container, format) == wanted).then_some(())
        });
    }

    /// Waits until the container's log holds `text`.
    #[track_caller]
    fn until_logs(&self, container: &str, text: &str) {
        testkit::until(&format!("{container} logs {text}"), || {
            let output = self.run(&format!("logs %{container}"));
            (output.stdout.contains(text) || output.stderr.contains(text)).then_some(())
        });
    }

    /// A host port for this client alone; `number` is below 100.
    fn port(&self, number: u16) -> u16 {
        if self.client == Client::Orlop {
            18_000 + number
        } else {
            18_100 + number
        }
    }

    /// The minor version of the API that the client and the engine speak: stock clients of some age lack some flags.
    fn api(&self) -> u32 {
        let version = self.run("version --format {{.Client.APIVersion}}").ok();
        version.rsplit('.').next().unwrap().parse().unwrap()
    }

    /// Where a volume's bytes are on the host.
    fn data(&self, volume: &str) -> PathBuf {
        self.engine
            .root
            .join("volumes")
            .join(self.name(volume))
            .join("_data")
    }

    /// One value of `inspect --format`.
    fn inspect(&self, container: &str, format: &str) -> String {
        self.run_and(&format!("inspect %{container} --format"), &[format])
            .ok()
    }
}

type Scenario = (&'static str, fn(&Scene));

fn http(url: &str) -> Option<String> {
    let output = Command::new("curl")
        .args(["-sS", "-g", "--max-time", "10", url])
        .output()
        .unwrap();
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// An engine refuses a second prune while one is running, as Docker does.
fn one_prune_at_a_time() -> std::sync::MutexGuard<'static, ()> {
    static PRUNE: Mutex<()> = Mutex::new(());
    PRUNE
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A host command; its standard output.
#[track_caller]
fn host(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Unmounts what an engine had its state on. What has just ended may hold it for a moment.
fn unmount(point: &Path) {
    testkit::until(&format!("{} can be unmounted", point.display()), || {
        rustix::mount::unmount(point, rustix::mount::UnmountFlags::empty()).ok()
    });
}

fn main() {
    let mut arguments = Arguments::from_args();
    // Most of a scenario is waiting for other processes.
    arguments.test_threads.get_or_insert(4);
    let shared = [
        mounts::SCENARIOS,
        mount_care::SCENARIOS,
        volume_upgrades::SCENARIOS,
        volume_commands::SCENARIOS,
        pools::SCENARIOS,
        volume_care::SCENARIOS,
        renames::SCENARIOS,
        data_containers::SCENARIOS,
        backup::SCENARIOS,
        servers::SCENARIOS,
        containers::SCENARIOS,
        processes::SCENARIOS,
        restarts::SCENARIOS,
        events::SCENARIOS,
        health::SCENARIOS,
        limits::SCENARIOS,
        streams::SCENARIOS,
        files::SCENARIOS,
        networks::SCENARIOS,
        network_options::SCENARIOS,
        images::SCENARIOS,
        build::SCENARIOS,
        build_sources::SCENARIOS,
        registry::SCENARIOS,
        downloads::SCENARIOS,
        registry_logins::SCENARIOS,
    ]
    .concat();
    // What the stock client has no command for.
    let own = [
        adoptions::OWN,
        audits::OWN,
        rescues::OWN,
        snapshots::OWN,
        backups::OWN,
        backup_care::OWN,
        backup_in_place::OWN,
        backup_places::OWN,
        consistency::OWN,
        server_backups::OWN,
        schedules::OWN,
        volume_commands::OWN,
        pools::OWN,
        volume_care::OWN,
        renames::OWN,
        long_commands::OWN,
        mount_care::OWN,
        volume_upgrades::OWN,
        images::OWN,
        build::OWN,
        image_limits::OWN,
        full_disk::OWN,
        special_files::OWN,
        streams::OWN,
    ]
    .concat();
    // Not on every host.
    let demanding = [(
        pools::WITH_ALL_CAPABILITIES,
        pools::has_all_capabilities as fn() -> bool,
    )];
    // Another engine is driven by its own client only.
    let clients: &[Client] = if testkit::peer().is_some() {
        &[Client::Docker]
    } else {
        &[Client::Orlop, Client::Docker]
    };
    let runs = shared
        .iter()
        .flat_map(|scenario| clients.iter().map(move |&client| (scenario, client)))
        .chain(own.iter().map(|scenario| (scenario, Client::Orlop)))
        .filter(|(_, client)| clients.contains(client));
    if arguments.list || !rustix::process::geteuid().is_root() {
        let trials = runs.map(|((name, _), client)| {
            Trial::test(format!("{name}::{client}"), || Ok(())).with_ignored_flag(true)
        });
        let on_disks = filesystems::runs()
            .map(|(name, ..)| Trial::test(name, || Ok(())).with_ignored_flag(true));
        let trials = trials.chain(on_disks);
        // Without root nothing of this can run: the trials are counted as ignored.
        arguments.ignored = false;
        arguments.include_ignored = false;
        testkit::libtest_mimic::run(&arguments, trials.collect()).exit();
    }
    let host = Host::enter();
    let engine = Engine::start("scenarios");
    engine.load_images();
    let tag = engine.tag();
    let engine = Arc::new(engine);
    let mut trials = Vec::new();
    let demanding = demanding
        .iter()
        .filter(|_| clients.contains(&Client::Orlop))
        .flat_map(|(scenarios, can)| {
            let missing = !can();
            scenarios
                .iter()
                .map(move |scenario| (scenario, Client::Orlop, missing))
        });
    let runs = runs.map(|(scenario, client)| (scenario, client, false));
    for (&(name, scenario), client, missing) in runs.chain(demanding) {
        let number = name.split('_').next().unwrap();
        let scene = Scene {
            engine: Arc::clone(&engine),
            client,
            prefix: format!(
                "{number}{}",
                if client == Client::Orlop { "o" } else { "d" }
            ),
        };
        let trial = Trial::test(format!("{name}::{client}"), move || {
            scenario(&scene);
            Ok(())
        });
        trials.push(trial.with_ignored_flag(missing));
    }
    let disks = Arc::new(filesystems::Disks::default());
    if clients.contains(&Client::Orlop) {
        for (trial, (name, scenario), kind) in filesystems::runs() {
            let disks = Arc::clone(&disks);
            trials.push(Trial::test(trial, move || {
                scenario(&disks.scene(name, kind));
                Ok(())
            }));
        }
    }
    let conclusion = testkit::libtest_mimic::run(&arguments, trials);
    drop(std::fs::remove_dir_all(
        engine.root.with_extension("scratch"),
    ));
    Arc::into_inner(disks)
        .expect("no trial runs any more")
        .close();
    // The trials' handles are gone: dropping ours removes the containers and ends the engine.
    drop(Arc::into_inner(engine).expect("no trial runs any more"));
    let last = Trial::test("nothing_is_left_on_the_host", move || {
        let left = Mutex::new(Vec::new());
        let clean = testkit::until_or_late(|| {
            *left.lock().unwrap() = host.leftovers(&tag);
            left.lock().unwrap().is_empty().then_some(())
        });
        assert!(clean.is_some(), "left behind: {:#?}", left.lock().unwrap());
        Ok(())
    });
    let clean = testkit::libtest_mimic::run(&arguments, vec![last]);
    if conclusion.has_failed() || clean.has_failed() {
        std::process::exit(101);
    }
}
