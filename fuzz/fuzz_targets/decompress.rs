//! Any bytes as a compressed stream: no panic, also when a failed reader is read again, and an end that stays one.

#![no_main]

use std::io::Read as _;

use archive::decompress;
use libfuzzer_sys::fuzz_target;

/// More than gzip's window; what is longer only repeats.
const ENOUGH: usize = 128 << 10;

fuzz_target!(|bytes: &[u8]| {
    let Ok(mut plain) = decompress(bytes) else {
        return;
    };
    let mut part = [0; 16 << 10];
    let mut length = 0;
    while length < ENOUGH {
        match plain.read(&mut part) {
            Ok(0) => {
                assert_eq!(plain.read(&mut part).ok(), Some(0), "it goes on");
                return;
            }
            Ok(count) => length += count,
            // Most inputs end so, which is right.
            Err(_) => {
                drop(plain.read(&mut part));
                return;
            }
        }
    }
});
