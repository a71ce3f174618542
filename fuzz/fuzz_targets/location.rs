//! Any text as the location of a repository: no panic, what is shown of it means the same place, and no password is shown.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| backup::fuzzing::location(text));
