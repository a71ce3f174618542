//! Any bytes as a manifest, an index, an image configuration and the list of an image archive: no panic, and nothing beyond
//! the limits is let pass.

#![no_main]

use libfuzzer_sys::fuzz_target;

/// What a registry may call a document.
const TYPES: [&str; 5] = [
    "",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v1+prettyjws",
];

fuzz_target!(|bytes: &[u8]| {
    let Some((first, document)) = bytes.split_first() else {
        return;
    };
    engine::fuzzing::manifest(TYPES[usize::from(*first) % TYPES.len()], document);
});
