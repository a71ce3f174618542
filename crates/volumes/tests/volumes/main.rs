//! Volumes on real directories and mounts: what each verb does, and what is left when it is cut short anywhere.

#![allow(
    clippy::disallowed_methods,
    reason = "tests make their own scratch files and processes"
)]
#![expect(clippy::unwrap_used, reason = "a test may panic")]
#![expect(clippy::print_stdout, reason = "a test that is skipped says so")]
#![expect(
    clippy::tests_outside_test_module,
    reason = "the whole program is a test"
)]

mod care;
mod contents;
mod crash;
mod driver_conformance;
mod lifecycle;
mod model;
mod mounts;
mod plugins;
mod reseeds;
mod scratch;
mod snapshots;
