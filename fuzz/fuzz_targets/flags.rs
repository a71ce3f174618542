//! Any text as the value of a flag, ports aside: no panic, whichever the flag.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| cli::fuzzing::flags(text));
