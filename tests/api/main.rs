//! The API as bytes on a socket: what no client library would send, shapes of versions, many at once.
//!
//! * `http` - requests as they are written, answers as they are read.
//! * `shapes` - routes and versions.
//! * `streams` - attached connections, with and without upgrade, by websocket.
//! * `hostile` - bodies, heads and connections that nobody needs to take.
//! * `load` - many streams, watchers and containers, and what they leave behind.

#![expect(clippy::unwrap_used, reason = "a test program")]
#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::exit,
    reason = "a test program"
)]

use std::sync::Arc;

use testkit::libtest_mimic::{Arguments, Trial};
use testkit::{Engine, Host};

mod hostile;
mod http;
mod load;
mod shapes;
mod streams;

type Case = (&'static str, fn(&Engine));

fn main() {
    let mut arguments = Arguments::from_args();
    let root = rustix::process::geteuid().is_root();
    let engine = (root && !arguments.list).then(|| {
        Host::enter();
        let engine = Engine::start("api");
        engine.load_busybox();
        Arc::new(engine)
    });
    let trials = |cases: &[Case]| -> Vec<Trial> {
        cases
            .iter()
            .map(|&(name, case)| {
                let engine = engine.clone();
                Trial::test(name, move || {
                    case(&engine.expect("root"));
                    Ok(())
                })
                // Without root no container starts.
                .with_ignored_flag(!root)
            })
            .collect()
    };
    let together = [shapes::CASES, streams::CASES, hostile::CASES].concat();
    // These count what is there before and after: nothing else may happen meanwhile.
    let alone = trials(load::CASES);
    let first = testkit::libtest_mimic::run(&arguments, trials(&together));
    arguments.test_threads = Some(1);
    let second = testkit::libtest_mimic::run(&arguments, alone);
    drop(engine);
    if first.has_failed() || second.has_failed() {
        std::process::exit(101);
    }
}
