//! Any bytes as what the other side of a transfer says, to a receiver or to a sender: no panic, nothing outside the tree, and a
//! digest that was not earned is not believed.
//!
//! Runs on a filesystem in memory; everything that is around the tree before must be there after.

#![no_main]

mod scratch;

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use scratch::Scratch;
use transfer::{Link, Receiver, Sender};

static SCRATCH: LazyLock<Scratch> = LazyLock::new(|| Scratch::new("travel"));

fuzz_target!(|bytes: &[u8]| {
    let Some((side, said)) = bytes.split_first() else {
        return;
    };
    let target = SCRATCH.target();
    let mut link = Link::new(said, std::io::sink());
    if side % 2 == 0 {
        let mut receiver = Receiver::new(&mut link, target);
        if let Ok(ended) = receiver.run() {
            // Nobody can guess a digest.
            receiver.verify(&ended).expect_err("it is believed");
        }
        SCRATCH.check_and_empty();
    } else {
        let mut sender = Sender::new(&mut link);
        if sender.learn(target).is_ok() && sender.pass(target, "Sending").is_ok() {
            drop(sender.end());
        }
    }
});
