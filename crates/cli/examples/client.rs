//! The client alone.
#![allow(clippy::exit, clippy::disallowed_methods, reason = "scratch")]
fn main() {
    std::process::exit(cli::main())
}
