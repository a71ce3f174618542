//! Volumes that travel: two engines in two network namespaces, joined by Debian's sshd and the user's ssh; connections that
//! break, engines that die, writers that write on.

#![expect(clippy::unwrap_used, reason = "a test program")]
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::exit,
    reason = "a test program"
)]

use std::sync::Arc;

use testkit::libtest_mimic::{Arguments, Trial};
use testkit::{Client, Engine, Host, Output};

mod broken;
mod host_there;
mod kinds;
mod registry;
mod streams;
mod tree;
mod writers;

use host_there::There;

/// Two engines: `here` on this host, `there` on the other one.
struct Pair {
    here: Engine,
    there: Engine,
    host: Arc<There>,
}

impl Pair {
    fn new(name: &str, host: &Arc<There>) -> Self {
        Self {
            here: Engine::start(&format!("move-{name}-a")),
            there: host.inside(|| Engine::start(&format!("move-{name}-b"))),
            host: Arc::clone(host),
        }
    }

    /// Both on this host.
    fn near(name: &str, host: &Arc<There>) -> Self {
        Self {
            here: Engine::start(&format!("move-{name}-a")),
            there: Engine::start(&format!("move-{name}-b")),
            host: Arc::clone(host),
        }
    }

    fn run(&self, line: &str) -> Output {
        let words: Vec<&str> = line.split_whitespace().collect();
        Client::Orlop.run(&self.here, &words)
    }

    fn run_there(&self, line: &str) -> Output {
        let words: Vec<&str> = line.split_whitespace().collect();
        Client::Orlop.run(&self.there, &words)
    }

    /// A command line in which `SSH` stands for the other engine by ssh, and `UNIX` for its socket.
    fn travel(&self, line: &str) -> Output {
        let mut command = self.command(line);
        let output = command.output().unwrap();
        Output {
            command: line.to_owned(),
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    fn command(&self, line: &str) -> std::process::Command {
        let socket = format!("unix://{}", self.there.socket().display());
        let name = self.host.login(&self.there.socket());
        let line = line
            .replace("SSH", &format!("ssh://{name}"))
            .replace("UNIX", &socket);
        let words: Vec<&str> = line.split_whitespace().collect();
        let mut command = Client::Orlop.command(&self.here, &words);
        command.env("PATH", self.host.path());
        command
    }

    fn data(&self, volume: &str) -> std::path::PathBuf {
        self.here.root.join("volumes").join(volume).join("_data")
    }

    fn data_there(&self, volume: &str) -> std::path::PathBuf {
        self.there.root.join("volumes").join(volume).join("_data")
    }

    /// What has arrived of a volume that is not complete.
    fn arrived(&self, volume: &str) -> Option<u64> {
        let listed = self.run_there("volume receiving ls --json");
        let all: serde_json::Value = serde_json::from_str(&listed.stdout).ok()?;
        all.as_array()?
            .iter()
            .find(|one| one["Name"] == volume)?
            .get("Bytes")?
            .as_u64()
    }
}

/// The number of bytes of contents that a journey says it has sent, in the units of people.
fn sent(output: &Output) -> f64 {
    let line = output
        .stderr
        .lines()
        .find(|line| line.contains(" of contents sent"))
        .unwrap_or_else(|| panic!("{output}"));
    let text = line.split(' ').next().unwrap();
    let at = text
        .find(|letter: char| letter.is_ascii_alphabetic())
        .unwrap();
    let scale = match &text[at..] {
        "B" => 1.0,
        "kB" => 1e3,
        "MB" => 1e6,
        "GB" => 1e9,
        other => panic!("{other}"),
    };
    text[..at].parse::<f64>().unwrap() * scale
}

type Journey = (&'static str, fn(&Arc<There>));

const JOURNEYS: &[Journey] = &[
    ("every_kind_of_file_over_ssh", kinds::over_ssh),
    ("between_filesystems", kinds::between_filesystems),
    ("what_travels_along", kinds::luggage),
    ("what_is_refused", kinds::refused),
    ("clients_over_ssh", kinds::clients),
    ("by_way_of_a_registry", registry::there_and_back),
    ("a_connection_that_breaks", broken::connection),
    ("an_engine_there_that_dies", broken::engine_there),
    ("an_engine_here_that_dies", broken::engine_here),
    ("a_person_who_stops", broken::stopped),
    ("a_copy_while_a_container_writes", writers::copy),
    ("a_move_while_a_container_writes", writers::moved),
    ("every_kind_of_file_as_a_stream", streams::every_kind),
    ("streams_only_where_both_can", streams::both_or_neither),
    ("a_move_by_streams_while_a_container_writes", streams::moved),
    ("what_a_stream_leaves_out", streams::left_out),
    ("a_stream_that_the_kernel_breaks_off", streams::broken_off),
    (
        "an_engine_there_that_dies_amid_a_stream",
        streams::engine_there,
    ),
    (
        "an_engine_here_that_dies_amid_a_stream",
        streams::engine_here,
    ),
];

fn main() {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(2);
    let root = rustix::process::geteuid().is_root();
    let sshd = std::path::Path::new("/usr/sbin/sshd").exists();
    if root && !arguments.list && !sshd {
        println!("SKIPPED: volumes that travel need sshd: scripts/setup");
    }
    let possible = root && sshd;
    let host = (possible && !arguments.list).then(|| {
        let host = Host::enter();
        (host, Arc::new(There::start()))
    });
    let trials = JOURNEYS
        .iter()
        .map(|&(name, journey)| {
            let there = host.as_ref().map(|(_, there)| Arc::clone(there));
            Trial::test(name, move || {
                journey(&there.unwrap());
                Ok(())
            })
            // Without root no engine runs.
            .with_ignored_flag(!possible)
        })
        .collect();
    let conclusion = testkit::libtest_mimic::run(&arguments, trials);
    drop(host);
    conclusion.exit();
}
