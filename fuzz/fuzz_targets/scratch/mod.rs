//! A target on a filesystem in memory, with things around it that must stay as they are.

use std::fs::{self, File};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use sys::dir::{self, Stat};

/// Descriptors that stay open, so that an execution costs few system calls of its own.
pub struct Scratch {
    target: OwnedFd,
    /// Everything around the target, as it was.
    around: Vec<(OwnedFd, Stat)>,
}

impl Scratch {
    pub fn new(name: &str) -> Self {
        let path = PathBuf::from(format!("/dev/shm/fuzz-{name}-{}", std::process::id()));
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
        Self {
            target: dir::open(&path.join("target")).expect("the target"),
            around: around
                .into_iter()
                .map(|fd| {
                    let stat = dir::stat(fd.as_fd()).expect("what it is");
                    (fd, stat)
                })
                .collect(),
        }
    }

    pub fn target(&self) -> BorrowedFd<'_> {
        self.target.as_fd()
    }

    /// Empties the target; everything around it is as it was.
    pub fn check_and_empty(&self) {
        // On this filesystem a directory has a length as soon as it has an entry.
        if dir::stat(self.target()).expect("what it is").size > 0 {
            dir::remove_contents(self.target()).expect("the target can be emptied");
        }
        for (fd, before) in &self.around {
            let now = Stat {
                // Anybody may look.
                atime: before.atime,
                ..dir::stat(fd.as_fd()).expect("what it is")
            };
            assert_eq!(&now, before, "something beside the target was touched");
        }
    }
}
