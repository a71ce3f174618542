//! Any bytes, unpacked as a layer or as plain files: no panic, and nothing outside the target.
//!
//! Runs on a filesystem in memory; everything that is there before must be there after. Blocks that say they are headers
//! are given a right checksum if the first byte asks for it: few changes of an archive would get further otherwise.

#![no_main]

use std::fs::{self, File};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;
use std::sync::LazyLock;

use archive::{Devices, Limits, UnpackOptions, UnpackWhiteouts, unpack};
use libfuzzer_sys::fuzz_target;
use sys::dir::{self, Stat};

/// Descriptors that stay open, so that an execution costs few system calls of its own.
struct Scratch {
    target: OwnedFd,
    /// Everything around the target, as it was.
    around: Vec<(OwnedFd, Stat)>,
}

static SCRATCH: LazyLock<Scratch> = LazyLock::new(|| {
    let path = PathBuf::from(format!("/dev/shm/fuzz-unpack-{}", std::process::id()));
    fs::create_dir_all(path.join("target")).expect("a scratch directory");
    fs::create_dir_all(path.join("outside")).expect("a scratch directory");
    fs::write(path.join("outside/sentinel"), "untouched").expect("a sentinel");
    let mut around: Vec<OwnedFd> = [&path, &path.join("outside")]
        .map(|path| dir::open(path).expect("a scratch directory"))
        .into();
    around.push(
        File::open(path.join("outside/sentinel"))
            .expect("the sentinel")
            .into(),
    );
    Scratch {
        target: dir::open(&path.join("target")).expect("the target"),
        around: around
            .into_iter()
            .map(|fd| {
                let stat = dir::stat(fd.as_fd()).expect("what it is");
                (fd, stat)
            })
            .collect(),
    }
});

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
    let target = SCRATCH.target.as_fd();
    // Errors are what most inputs deserve.
    drop(unpack(stream, target, &options));
    // On this filesystem a directory has a length as soon as it has an entry.
    if dir::stat(target).expect("what it is").size > 0 {
        dir::remove_contents(target).expect("an empty target");
    }
    for (fd, before) in &SCRATCH.around {
        let now = Stat {
            // Anybody may look.
            atime: before.atime,
            ..dir::stat(fd.as_fd()).expect("what it is")
        };
        assert_eq!(&now, before, "something beside the target was touched");
    }
});
