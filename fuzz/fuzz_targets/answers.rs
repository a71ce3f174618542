//! Any bytes as what an S3 or REST server answers, lists and errors: no panic, and errors are told in one short line.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| backup::fuzzing::answers(body));
