//! Any bytes, unpacked as a layer or as plain files: no panic, and nothing outside the target.
//!
//! Runs on a filesystem in memory; everything that is there before must be there after. Blocks that say they are headers
//! are given a right checksum if the first byte asks for it: few changes of an archive would get further otherwise.

#![no_main]

mod scratch;

use std::sync::LazyLock;

use archive::{Devices, Limits, UnpackOptions, UnpackWhiteouts, unpack};
use libfuzzer_sys::fuzz_target;
use scratch::Scratch;

static SCRATCH: LazyLock<Scratch> = LazyLock::new(|| Scratch::new("unpack"));

fn repair(stream: &[u8]) -> Vec<u8> {
    let mut stream = stream.to_vec();
    for block in stream.chunks_exact_mut(512) {
        if &block[257..262] == b"ustar" {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
            block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        }
    }
    stream
}

fuzz_target!(|bytes: &[u8]| {
    let Some((first, stream)) = bytes.split_first() else {
        return;
    };
    let whiteouts = if first % 2 == 0 {
        UnpackWhiteouts::Literal
    } else {
        UnpackWhiteouts::ToOverlay
    };
    let options = UnpackOptions {
        whiteouts,
        devices: Devices::Skip,
        no_overwrite_dir_non_dir: first & 2 != 0,
        limits: Limits {
            max_bytes: 1 << 20,
            max_entries: 100,
        },
        ..UnpackOptions::default()
    };
    let repaired;
    let stream = if first & 4 == 0 {
        repaired = repair(stream);
        repaired.as_slice()
    } else {
        stream
    };
    let target = SCRATCH.target();
    // Errors are what most inputs deserve.
    drop(unpack(stream, target, &options));
    SCRATCH.check_and_empty();
});
