//! Any text as a published port: no panic.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| cli::fuzzing::ports(text));
