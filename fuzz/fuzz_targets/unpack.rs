//! Any bytes, unpacked as a layer or as plain files: no panic, and nothing outside the target.
//!
//! Runs on a filesystem in memory; everything that is there before must be there after.

#![no_main]

use std::fs;
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::sync::LazyLock;

use archive::{Devices, Limits, UnpackOptions, UnpackWhiteouts, decompress, unpack};
use libfuzzer_sys::fuzz_target;

static SCRATCH: LazyLock<PathBuf> = LazyLock::new(|| {
    let path = PathBuf::from(format!("/dev/shm/fuzz-unpack-{}", std::process::id()));
    fs::create_dir_all(path.join("target")).expect("a scratch directory");
    fs::create_dir_all(path.join("outside")).expect("a scratch directory");
    fs::write(path.join("outside/sentinel"), "untouched").expect("a sentinel");
    path
});

fuzz_target!(|bytes: &[u8]| {
    let Some((first, stream)) = bytes.split_first() else {
        return;
    };
    let target = sys::dir::open(&SCRATCH.join("target")).expect("the target");
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
            max_entries: 1000,
        },
        ..UnpackOptions::default()
    };
    if let Ok(plain) = decompress(stream) {
        // Errors are what most inputs deserve.
        drop(unpack(plain, target.as_fd(), &options));
    }
    sys::dir::remove_contents(target.as_fd()).expect("an empty target");
    let names = fs::read_dir(&*SCRATCH)
        .expect("the scratch directory")
        .count();
    assert_eq!(names, 2, "something was made beside the target");
    let sentinel = fs::read(SCRATCH.join("outside/sentinel")).expect("the sentinel");
    assert_eq!(sentinel, b"untouched");
    assert_eq!(
        fs::read_dir(SCRATCH.join("outside"))
            .expect("outside")
            .count(),
        1
    );
});
