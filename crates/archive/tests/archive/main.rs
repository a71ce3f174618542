//! Archives against the real kernel and against GNU tar. Needs root; other users skip what they may not do.

#![expect(clippy::unwrap_used, reason = "a test")]
#![expect(clippy::print_stderr, reason = "a test that is skipped says so")]
#![expect(
    clippy::tests_outside_test_module,
    reason = "the whole program is a test"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "tests make their own scratch files and run tar"
)]

mod hostile;
mod layers;
mod mutation;
mod raw;
mod round_trip;
mod scratch;
