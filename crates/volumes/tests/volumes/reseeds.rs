//! New contents that nobody waits for any more.

use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicU32, Ordering};

use store::ErrorKind;
use volumes::{Observer, Reseeding, Unobserved};

use crate::scratch::{Scratch, named, open_dir, tree, write_files};

/// Leaves once it has heard of that many comparisons and copies.
struct Impatient {
    comparisons: u32,
    copies: u32,
    compared: AtomicU32,
    copied: AtomicU32,
}

impl Observer for Impatient {
    fn copied(&self, volume: &str, bytes: u64) {
        assert!(volume == "data" && bytes > 0);
        self.copied.fetch_add(1, Ordering::Relaxed);
    }

    fn settles(&self, _volume: &str, _bytes: u64) {}

    fn compared(&self, volume: &str, bytes: u64) {
        assert!(volume == "data" && bytes > 0);
        self.compared.fetch_add(1, Ordering::Relaxed);
    }

    fn is_stopped(&self) -> bool {
        self.compared.load(Ordering::Relaxed) >= self.comparisons
            && self.copied.load(Ordering::Relaxed) >= self.copies
    }
}

#[test]
fn until_all_is_there_nothing_has_changed() {
    let scratch = Scratch::new();
    let opened = scratch.open();
    opened.volumes.create(named("data")).unwrap();
    let data = opened.paths.mountpoint("data");
    let new = scratch.source(&[("small", "new"), ("dir/added", "new")]);
    let bytes = |last: u8| {
        let mut bytes = vec![1; 24 << 20];
        *bytes.last_mut().unwrap() = last;
        bytes
    };
    std::fs::write(data.join("large"), bytes(1)).unwrap();
    std::fs::write(new.join("large"), bytes(2)).unwrap();
    write_files(&data, &[("small", "old"), ("mine", "kept")]);
    let before = tree(&data);
    let new = open_dir(&new);
    let reseeding = Reseeding {
        base: None,
        new: new.as_fd(),
        subpath: None,
        replace: true,
    };
    // At once, in the middle of a file that is compared, and of one that is copied.
    for (comparisons, copies) in [(0, 0), (3, 0), (1, 1)] {
        let eyes = Impatient {
            comparisons,
            copies,
            compared: AtomicU32::new(0),
            copied: AtomicU32::new(0),
        };
        let stopped = opened.volumes.reseed("data", &reseeding, "{}", &eyes);
        let error = stopped.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}");
        assert!(tree(&data) == before, "{comparisons} {copies}");
        let notes = opened.volumes.notes("data").unwrap();
        assert_eq!(notes.seeded_by, None);
        opened.assert_sound("stopped");
    }
    let planned = opened.volumes.plan_reseed("data", &reseeding, &Unobserved);
    let done = opened
        .volumes
        .reseed("data", &reseeding, "{}", &Unobserved)
        .unwrap();
    assert_eq!(planned.unwrap(), done);
    assert_eq!(done.len(), 4, "{done:?}");
    let after = tree(&data);
    assert!(after != before);
    assert_eq!(std::fs::read_to_string(data.join("small")).unwrap(), "new");
    assert_eq!(std::fs::read_to_string(data.join("mine")).unwrap(), "kept");
    opened.assert_sound("reseeded");
}
