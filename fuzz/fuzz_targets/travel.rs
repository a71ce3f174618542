//! Any bytes as what the other side of a transfer says, to a receiver or to a sender: no panic, nothing outside the tree, and a
//! digest that was not earned is not believed.
//!
//! Runs on a filesystem in memory; everything that is around the tree before must be there after.

#![no_main]

use std::fs::{self, File};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use sys::dir::{self, Stat};
use transfer::{Link, Receiver, Sender};

struct Scratch {
    target: OwnedFd,
    /// Everything around the target, as it was.
    around: Vec<(OwnedFd, Stat)>,
}

static SCRATCH: LazyLock<Scratch> = LazyLock::new(|| {
    let path = PathBuf::from(format!("/dev/shm/fuzz-travel-{}", std::process::id()));
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

fuzz_target!(|bytes: &[u8]| {
    let Some((side, said)) = bytes.split_first() else {
        return;
    };
    let target = SCRATCH.target.as_fd();
    let mut link = Link::new(said, std::io::sink());
    if side % 2 == 0 {
        let mut receiver = Receiver::new(&mut link, target);
        if let Ok(ended) = receiver.run() {
            // Nobody can guess a digest.
            receiver.verify(&ended).expect_err("it is believed");
        }
        for (fd, before) in &SCRATCH.around {
            let now = dir::stat(fd.as_fd()).expect("what it is");
            assert_eq!(
                (now.mtime, now.ctime, now.nlink),
                (before.mtime, before.ctime, before.nlink),
                "something outside was changed"
            );
        }
        dir::remove_contents(target).expect("the target can be emptied");
    } else {
        let mut sender = Sender::new(&mut link);
        if sender.learn(target).is_ok() && sender.pass(target, "Sending").is_ok() {
            drop(sender.end());
        }
    }
});
