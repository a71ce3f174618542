//! Any text as an image reference: no panic, and what is read is read again from what it prints.

#![no_main]

use engine::images::Reference;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(reference) = Reference::parse(text) else {
        return;
    };
    let mut printed = reference.repository.clone();
    if let Some(tag) = &reference.tag {
        printed.push_str(&format!(":{tag}"));
    }
    if let Some(digest) = &reference.digest {
        printed.push_str(&format!("@{digest}"));
    }
    assert_eq!(Reference::parse(&printed).ok(), Some(reference));
});
