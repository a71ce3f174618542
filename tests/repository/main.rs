//! Repositories of backups: on every kind of place, with restic on the other side, and with everything that can go wrong.

#![expect(clippy::unwrap_used, reason = "a test program")]
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::exit,
    reason = "a test program"
)]

use testkit::libtest_mimic::{Arguments, Trial};

mod faults;
mod locks;
mod moving;
mod places;
mod restic;
mod servers;
mod world;

fn main() {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some(faults::CHILD) {
        let arguments: Vec<String> = arguments.collect();
        return faults::child(&arguments);
    }
    testkit::install_s3_server();
    let suites = [
        ("places", places::TESTS),
        ("restic", restic::TESTS),
        ("locks", locks::TESTS),
        ("faults", faults::TESTS),
        ("moving", moving::TESTS),
    ];
    let trials = suites.into_iter().flat_map(|(suite, tests)| {
        tests.iter().map(move |(name, test)| {
            Trial::test(format!("{suite}::{name}"), || {
                test();
                Ok(())
            })
        })
    });
    testkit::libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit();
}
