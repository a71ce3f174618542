//! Any text as `--change` of commit and import: no panic.

#![no_main]

use engine::containers::Config;
use engine::images::apply_changes;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    // Most inputs end in an error, which is right.
    drop(apply_changes(&mut Config::default(), &[text.to_owned()]));
});
