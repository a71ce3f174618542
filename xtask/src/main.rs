//! The project's own chores, run as `cargo xtask NAME`.
//!
//! `tidy` checks the rules of the source tree that neither the compiler nor clippy knows; `cargo test` runs
//! it too. `pictures` draws the pictures of the docs.

#![expect(
    clippy::print_stderr,
    reason = "a program whose findings are read on a terminal"
)]

mod pictures;
mod tidy;

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let task = std::env::args().nth(1);
    match task.as_deref() {
        Some("tidy") => tidy(),
        Some("pictures") => pictures(),
        _ => {
            eprintln!("usage: cargo xtask tidy|pictures");
            ExitCode::from(2)
        }
    }
}

fn tidy() -> ExitCode {
    match tidy::run(root()) {
        Ok(findings) if findings.is_empty() => ExitCode::SUCCESS,
        Ok(findings) => {
            for finding in &findings {
                eprintln!("{finding}");
            }
            eprintln!("{} findings", findings.len());
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("tidy could not run: {error}");
            ExitCode::FAILURE
        }
    }
}

fn pictures() -> ExitCode {
    match pictures::write(root()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the pictures could not be drawn: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The workspace's directory.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask lies in the workspace")
}
