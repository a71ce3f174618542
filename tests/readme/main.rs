//! The README's tour and the examples of docs, typed as they stand: every ```console block is run on a private engine and
//! must answer as printed.
//!
//! A line `$ …` is a command, what follows is its output; `…` in it stands for anything. State is kept from block to block.

#![expect(clippy::unwrap_used, reason = "a test program")]
#![allow(
    clippy::disallowed_methods,
    clippy::exit,
    clippy::print_stdout,
    reason = "a test program"
)]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use testkit::libtest_mimic::{Arguments, Trial};
use testkit::{Engine, Host, binary, images_dir};

const PAGES: [(&str, &str); 13] = [
    ("the_tour", "README.md"),
    ("pictures", "docs/pictures.md"),
    ("pools", "docs/pools.md"),
    ("backups", "docs/backups.md"),
    ("drills", "docs/drills.md"),
    ("schedules", "docs/schedules.md"),
    ("snapshots", "docs/snapshots.md"),
    ("volumes", "docs/volumes.md"),
    ("health", "docs/health.md"),
    ("metrics", "docs/metrics.md"),
    ("networks", "docs/networks.md"),
    ("moving", "docs/moving.md"),
    ("plugins", "docs/plugins.md"),
];

/// A command and what it answers.
struct Step {
    command: String,
    answer: Vec<String>,
}

fn main() {
    let arguments = Arguments::from_args();
    let root = rustix::process::geteuid().is_root();
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    if root && !arguments.list {
        Host::enter();
    }
    let trials = PAGES
        .iter()
        .map(|&(name, page)| {
            let steps = steps(&fs::read_to_string(home.join(page)).unwrap());
            Trial::test(name, move || {
                if name == "plugins" && Command::new("rclone").arg("version").output().is_err() {
                    println!("SKIPPED: {page} needs rclone: scripts/setup");
                    return Ok(());
                }
                tour(name, &steps);
                Ok(())
            })
            // Without root no container starts.
            .with_ignored_flag(!root)
        })
        .collect();
    testkit::libtest_mimic::run(&arguments, trials).exit();
}

fn tour(name: &str, steps: &[Step]) {
    assert!(steps.len() > 5, "the page has no tour");
    let engine = Engine::start(&format!("readme-{name}"));
    let directory = engine.root.with_extension("scratch");
    fs::create_dir_all(directory.join("target")).unwrap();
    fs::copy(
        images_dir().join("busybox.tar"),
        directory.join("target/busybox.tar"),
    )
    .unwrap();
    // One shell for the whole tour: a directory that is changed stays so. A mark tells where an answer ends.
    let mut script = String::from("exec 2>&1\n");
    for step in steps {
        script.push_str(&step.command);
        script.push_str("\nprintf '\\n@@@ %s\\n' $?\n");
    }
    let path = format!(
        "{}:{}",
        binary().parent().unwrap().display(),
        std::env::var("PATH").unwrap()
    );
    let mut shell = Command::new("bash")
        .current_dir(&directory)
        .env("PATH", path)
        .env(
            "ORLOP_HOST",
            format!("unix://{}", engine.socket().display()),
        )
        .env(
            "DOCKER_HOST",
            format!("unix://{}", engine.socket().display()),
        )
        .env("PLUGIN_SOCKETS", engine.plugin_sockets())
        .env("HOME", "/nonexistent")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let input = script.clone();
    let mut stdin = shell.stdin.take().unwrap();
    let writer = std::thread::spawn(move || {
        std::io::Write::write_all(&mut stdin, input.as_bytes()).unwrap();
    });
    let output = shell.wait_with_output().unwrap();
    writer.join().unwrap();
    let output = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut answers = output.split("\n@@@ ");
    let mut seen = answers.next().unwrap().to_owned();
    for step in steps {
        let rest = answers
            .next()
            .unwrap_or_else(|| panic!("no answer to {}:\n{output}", step.command));
        let (code, next) = rest.split_once('\n').unwrap();
        let lines: Vec<&str> = seen.lines().collect();
        let alike = lines.len() == step.answer.len()
            && lines
                .iter()
                .zip(&step.answer)
                .all(|(line, pattern)| matches(line.trim_end(), pattern));
        assert!(
            alike,
            "$ {}\nshould say\n{}\nbut says\n{seen}",
            step.command,
            step.answer.join("\n")
        );
        assert_eq!(code, "0", "$ {}\n{seen}", step.command);
        next.clone_into(&mut seen);
    }
    drop(engine);
    fs::remove_dir_all(directory).unwrap();
}

/// The commands of all ```console blocks. A command goes on while its line ends with a backslash.
fn steps(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut inside = false;
    let mut unfinished = false;
    for line in text.lines() {
        if line.starts_with("```") {
            inside = line == "```console";
        } else if inside {
            if let Some(command) = line.strip_prefix("$ ") {
                steps.push(Step {
                    command: command.to_owned(),
                    answer: Vec::new(),
                });
                unfinished = command.ends_with('\\');
            } else if unfinished {
                let step = steps.last_mut().unwrap();
                step.command.push('\n');
                step.command.push_str(line);
                unfinished = line.ends_with('\\');
            } else {
                steps.last_mut().unwrap().answer.push(line.to_owned());
            }
        }
    }
    steps
}

/// Whether a line is as printed; `…` stands for anything.
fn matches(line: &str, pattern: &str) -> bool {
    let mut parts = pattern.split('…');
    let Some(mut rest) = line.strip_prefix(parts.next().unwrap()) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else {
        return rest.is_empty();
    };
    for part in middle {
        let Some((_, after)) = rest.split_once(part) else {
            return false;
        };
        rest = after;
    }
    rest.ends_with(last)
}
