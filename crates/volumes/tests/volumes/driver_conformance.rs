//! What every driver must do, as `driver/mod.rs` says: one suite, one line for each driver.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use volumes::driver::{Access, Driver, Local, Options, Place};

use crate::scratch::{Scratch, on_filesystem};

/// Options with which a volume of the driver can be made everywhere, and options that it must refuse.
struct Candidate<'a> {
    driver: &'a dyn Driver,
    accepted: Vec<Options>,
    refused: Vec<Options>,
}

fn conforms(candidate: &Candidate<'_>, scratch: &Scratch) {
    let driver = candidate.driver;
    for options in &candidate.refused {
        assert!(driver.check(options).is_err(), "{options:?}");
    }
    for options in &candidate.accepted {
        driver.check(options).unwrap();
        let directory = scratch.root.join("volume");
        let content = directory.join("_data");
        let place = Place {
            directory: &directory,
            content: &content,
            mountpoint: &content,
            options,
        };

        // A volume that does not exist yet can be unbuilt: recovery does not know better.
        driver.unbuild(place).unwrap();
        for _ in 0..2 {
            driver.build(place).unwrap();
            assert!(content.is_dir());
            assert_eq!(std::fs::read_dir(&content).unwrap().count(), 0);
            assert!(!driver.is_mounted(place).unwrap());
        }
        for _ in 0..2 {
            driver.unmount(place).unwrap();
        }
        if !driver.needs_mount(options) {
            driver.mount(place).unwrap();
            assert!(!driver.is_mounted(place).unwrap());
        }
        std::fs::write(content.join("precious"), "x").unwrap();
        assert!(driver.unbuild(place).is_err(), "bytes are never unbuilt");
        assert!(content.join("precious").exists());
        std::fs::remove_file(content.join("precious")).unwrap();
        for _ in 0..2 {
            driver.unbuild(place).unwrap();
            assert!(!directory.exists());
        }

        // A volume whose bytes are here can be copied; the copies are complete, apart, and go when they are told to.
        driver.build(place).unwrap();
        let has_trees = driver.sharing(place).unwrap().is_some();
        assert_eq!(has_trees, !driver.needs_mount(options));
        if has_trees {
            std::fs::write(content.join("file"), "old").unwrap();
            let (snapshot, clone) = (directory.join("snapshot"), directory.join("clone"));
            for (from, to, access) in [
                (&content, &snapshot, Access::ReadOnly),
                (&snapshot, &clone, Access::Writable),
            ] {
                for _ in 0..2 {
                    let replica = driver
                        .replicate(from, to, access, &|_| ControlFlow::Continue(()))
                        .unwrap();
                    driver.settle(to, access, replica).unwrap();
                }
            }
            std::fs::write(content.join("file"), "new").unwrap();
            for (tree, text) in [(&snapshot, "old"), (&clone, "old"), (&content, "new")] {
                driver.expose(tree).unwrap();
                assert_eq!(std::fs::read_to_string(tree.join("file")).unwrap(), text);
            }
            driver.seal(&clone).unwrap();
            for tree in [&snapshot, &clone] {
                for _ in 0..2 {
                    driver.discard(tree).unwrap();
                    assert!(!tree.exists());
                }
            }
            std::fs::remove_file(content.join("file")).unwrap();
        }
        driver.unbuild(place).unwrap();

        // Every durable call that fails leaves what unbuild removes.
        for n in 1.. {
            let armed = sys::fault::fail_nth(n, 5);
            let built = driver.build(place);
            let fired = armed.fired();
            drop(armed);
            assert_eq!(built.is_err(), fired, "call {n}");
            driver.unbuild(place).unwrap();
            assert!(!directory.exists(), "call {n}");
            if !fired {
                break;
            }
        }
    }
}

fn options(pairs: &[(&str, &str)]) -> Options {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect::<BTreeMap<_, _>>()
}

fn local_in(scratch: &Scratch, limited: bool) {
    let mut accepted = vec![
        options(&[]),
        options(&[("type", "tmpfs"), ("device", "tmpfs"), ("o", "size=1m")]),
        options(&[("soft-size", "1g")]),
    ];
    if limited {
        // By whatever there is to keep it.
        accepted.push(options(&[("size", "16m")]));
        accepted.push(options(&[("size", "16m"), ("image", "true")]));
    }
    let candidate = Candidate {
        driver: &Local,
        accepted,
        refused: vec![
            options(&[("color", "red")]),
            options(&[("soft-size", "2g"), ("size", "1g")]),
        ],
    };
    conforms(&candidate, scratch);
}

#[test]
fn local() {
    local_in(&Scratch::new(), false);
}

#[test]
fn local_on_real_filesystems() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    for (kind, make) in [
        ("ext4", &["mkfs.ext4", "-q"][..]),
        ("xfs", &["mkfs.xfs", "-q"]),
        ("btrfs", &["mkfs.btrfs", "-q"]),
    ] {
        on_filesystem(kind, make, None, 400 << 20, |scratch| {
            local_in(scratch, true);
        })
        .unwrap();
    }
}

#[test]
fn no_driver_is_forgotten() {
    let tested = ["local"];
    assert_eq!(
        volumes::Drivers::builtin().names().collect::<Vec<_>>(),
        tested
    );
}
