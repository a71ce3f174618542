//! The files of a log that are not written any more: `log.1` is the newest of them, or `log.1.gz` where they are compressed.
//!
//! A child compresses, so that no output waits for it and no shim keeps the memory that it takes:
//! 1. `log.gz.part` is written and synced
//! 2. it is renamed to `log.1.gz`, durably
//! 3. `log.1` is removed
//!
//! Cut short before 2, the plain file is still the one that counts; between 2 and 3 both say the same. Nothing is rotated before
//! the child has ended: meanwhile the log grows beyond its limit.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};
use shim_protocol::spec::LogConfig;

/// The rotated files of one log.
#[derive(Debug)]
pub(crate) struct Rotation {
    log: PathBuf,
    max_file: u32,
    compress: bool,
    /// Hangs up when the child that compresses has ended.
    compressing: Option<OwnedFd>,
}

impl Rotation {
    /// What an earlier shim has not compressed is compressed now.
    pub(crate) fn new(log: &Path, config: &LogConfig) -> Self {
        let mut rotation = Self {
            log: log.to_owned(),
            max_file: config.max_file,
            compress: config.compress,
            compressing: None,
        };
        rotation.compress();
        rotation
    }

    /// Whether the log has to go on as it is for now.
    pub(crate) fn is_busy(&mut self) -> bool {
        const NOW: Timespec = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let busy = self.compressing.as_ref().is_some_and(|ended| {
            let mut end = [PollFd::new(ended, PollFlags::IN)];
            // An error is no hang-up, and is asked about again.
            poll(&mut end, Some(&NOW)).is_ok_and(|ready| ready == 0)
        });
        if !busy {
            self.compressing = None;
        }
        busy
    }

    /// Whether rotated files are kept at all.
    pub(crate) fn keeps_any(&self) -> bool {
        self.max_file > 1
    }

    /// Moves the log, which must not be busy, to the rotated files; the oldest of them goes.
    #[expect(
        clippy::disallowed_methods,
        reason = "logs are not synced, for speed, and neither are their names"
    )]
    pub(crate) fn shift(&self) -> io::Result<()> {
        let last = self.max_file - 1;
        for oldest in [self.plain(last), self.packed(last)] {
            missing_is_fine(std::fs::remove_file(oldest))?;
        }
        for number in (1..last).rev() {
            let (plain, packed) = (self.plain(number), self.packed(number));
            if packed.exists() {
                // The child ended before its last step.
                missing_is_fine(std::fs::remove_file(&plain))?;
            }
            missing_is_fine(std::fs::rename(packed, self.packed(number + 1)))?;
            missing_is_fine(std::fs::rename(plain, self.plain(number + 1)))?;
        }
        std::fs::rename(&self.log, self.plain(1))
    }

    /// Begins to compress the newest rotated file, if that is to be done. What cannot be compressed stays as it is.
    pub(crate) fn compress(&mut self) {
        let plain = self.plain(1);
        if !self.compress || !plain.exists() {
            return;
        }
        let Ok((ended, end)) = pipe_with(PipeFlags::CLOEXEC) else {
            return;
        };
        let (part, packed) = (self.named("gz.part"), self.packed(1));
        let child = sys::fork::in_child(&[end.as_fd()], || {
            i32::from(pack(&plain, &part, &packed).is_err())
        });
        if child.is_ok() {
            self.compressing = Some(ended);
        }
    }

    fn plain(&self, number: u32) -> PathBuf {
        self.named(&number.to_string())
    }

    fn packed(&self, number: u32) -> PathBuf {
        self.named(&format!("{number}.gz"))
    }

    fn named(&self, ending: &str) -> PathBuf {
        let mut path = OsString::from(&self.log);
        path.push(".");
        path.push(ending);
        path.into()
    }
}

fn missing_is_fine(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The steps of the module's description.
fn pack(plain: &Path, part: &Path, packed: &Path) -> io::Result<()> {
    let written = write_packed(plain, part).and_then(|()| sys::durable::rename_sync(part, packed));
    if written.is_err() {
        // The first failure is the one that counts.
        sys::durable::remove_file(part).unwrap_or_default();
        return written;
    }
    sys::durable::remove_file(plain).map(drop)
}

fn write_packed(plain: &Path, part: &Path) -> io::Result<()> {
    let mut from = File::open(plain)?;
    let to = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o640)
        .open(part)?;
    let mut encoder = GzEncoder::new(to, Compression::default());
    io::copy(&mut from, &mut encoder)?;
    sys::durable::sync_fd(encoder.finish()?.as_fd())
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::GzDecoder;

    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("orlop-rotate-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    fn rotation(directory: &Path, max_file: u32) -> Rotation {
        Rotation {
            log: directory.join("log"),
            max_file,
            // A child of a test program, which has threads, is none to rely on.
            compress: false,
            compressing: None,
        }
    }

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_packed_file_takes_the_place_of_the_plain_one() {
        let directory = scratch("pack");
        let (plain, part, packed) = (
            directory.join("log.1"),
            directory.join("log.gz.part"),
            directory.join("log.1.gz"),
        );
        std::fs::write(&plain, "line\n".repeat(1000)).unwrap();
        // What a child that was killed has left.
        std::fs::write(&part, "x".repeat(100_000)).unwrap();
        pack(&plain, &part, &packed).unwrap();
        assert_eq!(names(&directory), ["log.1.gz"]);
        let mut text = String::new();
        GzDecoder::new(File::open(&packed).unwrap())
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, "line\n".repeat(1000));
        pack(&plain, &part, &packed).unwrap_err();
        assert_eq!(names(&directory), ["log.1.gz"], "nothing was lost");
        std::fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn both_forms_move_on_and_the_oldest_goes() {
        let directory = scratch("shift");
        let put = |name: &str| std::fs::write(directory.join(name), name).unwrap();
        // `log.1` is packed, and its child was killed before it could remove it; `log.2` could not be packed.
        for name in ["log", "log.1", "log.1.gz", "log.2", "log.3.gz"] {
            put(name);
        }
        rotation(&directory, 4).shift().unwrap();
        assert_eq!(names(&directory), ["log.1", "log.2.gz", "log.3"]);
        put("log");
        rotation(&directory, 4).shift().unwrap();
        assert_eq!(names(&directory), ["log.1", "log.2", "log.3.gz"]);
        let oldest = std::fs::read_to_string(directory.join("log.3.gz")).unwrap();
        assert_eq!(oldest, "log.1.gz");
        std::fs::remove_dir_all(directory).unwrap();
    }
}
