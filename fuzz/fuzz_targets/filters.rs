//! Any text as the `filters` parameter of a list request: no panic.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| server::fuzzing::filters(text));
