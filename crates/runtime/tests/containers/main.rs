//! Real containers from a small busybox root: needs root, leaves nothing behind.
//!
//! The runtime wants a single-threaded caller, so each case runs in a process of its own: this program calls itself
//! with the case's name. `cargo test -p runtime --test containers -- NAME` runs the cases whose names contain NAME.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test runner: it reports on stdout, fails by panic and ends with a code"
)]

mod files;
mod fixture;
mod limits;
mod mounting;
mod network;
mod processes;
mod security;

use std::process::Command;

use rustix::mount::{MountPropagationFlags, mount_change};

/// A case: its name and what it does.
pub(crate) type Case = (&'static str, fn());

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let cases: Vec<Case> = [
        processes::CASES,
        security::CASES,
        mounting::CASES,
        files::CASES,
        limits::CASES,
        network::CASES,
    ]
    .concat();
    if let [flag, name] = args.as_slice()
        && flag == "--case"
    {
        let (_, case) = cases.iter().find(|(known, _)| known == name).unwrap();
        // What a failing case mounts goes with its process.
        sys::namespace::new_mounts().unwrap();
        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        mount_change("/", private).unwrap();
        case();
        return;
    }
    if args.iter().any(|arg| arg == "--list") {
        for (name, _) in &cases {
            println!("{name}: test");
        }
        return;
    }
    if !rustix::process::geteuid().is_root() {
        println!("skipped: {} cases need root", cases.len());
        return;
    }
    let filters: Vec<&String> = args.iter().filter(|arg| !arg.starts_with('-')).collect();
    let mut failures = Vec::new();
    let mut run = 0;
    for (name, _) in &cases {
        if !filters.is_empty() && !filters.iter().any(|filter| name.contains(filter.as_str())) {
            continue;
        }
        run += 1;
        let output = Command::new("/proc/self/exe")
            .args(["--case", name])
            .env("RUST_BACKTRACE", "0")
            .output()
            .unwrap();
        let verdict = if output.status.success() {
            "ok"
        } else {
            "FAILED"
        };
        println!("case {name} ... {verdict}");
        let said = String::from_utf8_lossy(&output.stdout);
        for line in said.lines().filter(|line| line.starts_with("note:")) {
            println!("  {line}");
        }
        if !output.status.success() {
            println!("{said}{}", String::from_utf8_lossy(&output.stderr));
            failures.push(*name);
        }
    }
    println!("\n{run} cases, {} failed {failures:?}", failures.len());
    std::process::exit(i32::from(!failures.is_empty()));
}
