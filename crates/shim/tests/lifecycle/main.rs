//! Real shims with real containers: start, streams, exec, restarts, an engine that dies, ends.
//!
//! The runner is also the shim: it executes itself with `shim` and the like as argument. Needs root and a static busybox; without
//! them it says so and passes. An argument selects the cases whose name contains it.

#![expect(
    clippy::disallowed_methods,
    reason = "tests make their own scratch files"
)]
#![expect(clippy::print_stdout, reason = "a test runner talks to a person")]

mod cases;
mod container;

use std::error::Error;
use std::process::ExitCode;

/// Result of a case.
pub(crate) type Outcome = Result<(), Box<dyn Error>>;

fn main() -> ExitCode {
    let argument = std::env::args().nth(1).unwrap_or_default();
    if argument == "shim" {
        return ExitCode::from(u8::try_from(shim::run_shim()).unwrap_or(255));
    }
    if argument == "shim-view" {
        return ExitCode::from(u8::try_from(shim::run_view()).unwrap_or(255));
    }
    if argument == "shim-clean" {
        return ExitCode::from(u8::try_from(shim::run_clean()).unwrap_or(255));
    }
    if argument == "--list" {
        return ExitCode::SUCCESS;
    }
    if !rustix::process::geteuid().is_root() || !std::path::Path::new(container::BUSYBOX).exists() {
        println!("skipped: needs root and {}", container::BUSYBOX);
        return ExitCode::SUCCESS;
    }
    let filter = if argument.starts_with('-') {
        ""
    } else {
        argument.as_str()
    };
    let mut failed = 0;
    for (name, case) in cases::ALL.iter().filter(|(name, _)| name.contains(filter)) {
        let outcome =
            std::panic::catch_unwind(case).unwrap_or_else(|_| Err("panicked, see above".into()));
        match outcome {
            Ok(()) => println!("test {name} ... ok"),
            Err(error) => {
                failed += 1;
                println!("test {name} ... FAILED: {error}");
            }
        }
    }
    container::remove_cgroups();
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
