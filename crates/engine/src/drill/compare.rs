//! A restored volume against the backup's own listing: kind, size, mode, owner, time and target of every entry, nothing
//! missing and nothing more; and the contents of some files, byte by byte, as a second reader gives them.
//!
//! Which files those are is drawn from the backup's id, so that drills of different backups look at different ones. All
//! other contents were checked by digest as they were restored.

use std::fs::File;
use std::io::{self, Read as _, Write};
use std::ops::ControlFlow;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::{Path, PathBuf};

use backup::EntryKind;
use rustix::fs::{FileType, OFlags};
use sha2::{Digest as _, Sha256};
use sys::dir::Stat;

use super::{DrillError, Drills};
use crate::backups::BackupEntry;
use crate::cancel::Cancel;

/// Files whose contents are read again.
const SAMPLE: usize = 32;

/// Files with the smallest draws so far.
#[derive(Debug, Default)]
struct Sample(Vec<(Vec<u8>, String)>);

impl Sample {
    fn offer(&mut self, salt: &str, path: &str) {
        let draw = Sha256::digest(format!("{salt}\n{path}")).to_vec();
        let at = self.0.partition_point(|(known, _)| *known < draw);
        if at < SAMPLE {
            self.0.insert(at, (draw, path.to_owned()));
            self.0.truncate(SAMPLE);
        }
    }
}

impl Drills {
    /// Compares; the first difference is the error.
    pub(super) fn compare(
        &self,
        from: &str,
        volume: &str,
        name: &str,
        cancel: &Cancel,
    ) -> Result<(), DrillError> {
        let mut sample = Sample::default();
        let (mut expected, mut outcome) = (0_u64, Ok(()));
        let found = self.volumes.with_root(name, |root| {
            self.backups.files(from, "/", true, &mut |entry| {
                let path = below(volume, &entry.path);
                if path.as_os_str().is_empty() {
                    return ControlFlow::Continue(());
                }
                expected += 1;
                if entry.kind == EntryKind::File && entry.size > 0 && path.to_str().is_some() {
                    sample.offer(from, &path.to_string_lossy());
                }
                outcome = if cancel.is_cancelled() {
                    Err(DrillError::Cancelled)
                } else {
                    same(root, &path, &entry)
                };
                if outcome.is_ok() {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            })?;
            std::mem::replace(&mut outcome, Ok(()))?;
            count(root).map_err(DrillError::Read)
        })??;
        if found != expected {
            return Err(DrillError::Count { found, expected });
        }
        for (_, path) in sample.0 {
            if cancel.is_cancelled() {
                return Err(DrillError::Cancelled);
            }
            self.same_content(from, name, &path)?;
        }
        Ok(())
    }

    fn same_content(&self, from: &str, name: &str, path: &str) -> Result<(), DrillError> {
        self.volumes.with_root(name, |root| {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let file =
                sys::dir::open_beneath(root, Path::new(path), flags).map_err(DrillError::Read)?;
            let mut against = Against {
                file: File::from(file),
                differs: false,
            };
            self.backups.cat(from, path, &mut against)?;
            let more = against.file.read(&mut [0]).map_err(DrillError::Read)?;
            if against.differs || more > 0 {
                return Err(DrillError::Differs {
                    path: path.to_owned(),
                    how: "has other contents than the backup".to_owned(),
                });
            }
            Ok(())
        })?
    }
}

/// The path below the volume's root, whether it is told from there or from the root of the backup.
fn below(volume: &str, path: &Path) -> PathBuf {
    let path = path.strip_prefix("/").unwrap_or(path);
    path.strip_prefix(format!("volumes/{volume}/_data"))
        .unwrap_or(path)
        .to_owned()
}

/// Compares what is written to it with a file.
struct Against {
    file: File,
    differs: bool,
}

impl Write for Against {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut there = vec![0; bytes.len()];
        match self.file.read_exact(&mut there) {
            Ok(()) => self.differs |= there != bytes,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => self.differs = true,
            Err(error) => return Err(error),
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn same(root: BorrowedFd<'_>, path: &Path, entry: &BackupEntry) -> Result<(), DrillError> {
    let differs = |how: String| DrillError::Differs {
        path: path.display().to_string(),
        how,
    };
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok(());
    };
    let looked = if parent.as_os_str().is_empty() {
        sys::dir::stat_at(root, name)
    } else {
        sys::dir::open_deep(root, parent).and_then(|parent| sys::dir::stat_at(parent.as_fd(), name))
    };
    let stat = match looked {
        Ok(stat) => stat,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(differs("is missing".to_owned()));
        }
        Err(error) => return Err(DrillError::Read(error)),
    };
    difference(&stat, entry).map_or(Ok(()), |how| Err(differs(how)))
}

/// In what they differ, if they do.
fn difference(stat: &Stat, entry: &BackupEntry) -> Option<String> {
    let kind = match stat.kind() {
        FileType::RegularFile => EntryKind::File,
        FileType::Directory => EntryKind::Directory,
        FileType::Symlink => EntryKind::Symlink,
        FileType::BlockDevice => EntryKind::BlockDevice,
        FileType::CharacterDevice => EntryKind::CharacterDevice,
        FileType::Fifo => EntryKind::Fifo,
        FileType::Socket => EntryKind::Socket,
        FileType::Unknown => EntryKind::Unknown,
    };
    if kind != entry.kind {
        return Some("is of another kind".to_owned());
    }
    if kind == EntryKind::File && stat.size != entry.size {
        return Some(format!("has {} bytes instead of {}", stat.size, entry.size));
    }
    if kind != EntryKind::Symlink && stat.permissions() != entry.mode {
        return Some(format!(
            "has mode {:o} instead of {:o}",
            stat.permissions(),
            entry.mode
        ));
    }
    if (stat.uid, stat.gid) != (entry.uid, entry.gid) {
        return Some(format!(
            "belongs to {}:{} instead of {}:{}",
            stat.uid, stat.gid, entry.uid, entry.gid
        ));
    }
    if stat.mtime.seconds != entry.mtime.as_second() && entry.mtime.subsec_nanosecond() >= 0 {
        return Some("has another time".to_owned());
    }
    None
}

/// Entries below a directory, without following anything.
fn count(root: BorrowedFd<'_>) -> io::Result<u64> {
    let mut entries = 0;
    for entry in sys::dir::read_dir(root)? {
        entries += 1;
        if entry.kind == FileType::Directory {
            let below = sys::dir::open_at(root, &entry.name)?;
            entries += count(below.as_fd())?;
        }
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_below_the_root() {
        for (told, wanted) in [
            ("/volumes/db/_data/a/b", "a/b"),
            ("/volumes/db/_data", ""),
            ("/volumes/other/_data/a", "volumes/other/_data/a"),
            ("/a/b", "a/b"),
            ("a", "a"),
            ("/", ""),
        ] {
            assert_eq!(below("db", Path::new(told)), Path::new(wanted), "{told}");
        }
    }

    #[test]
    fn a_sample_is_steady_and_bounded() {
        let draw = |salt: &str| {
            let mut sample = Sample::default();
            for number in 0..1000 {
                sample.offer(salt, &number.to_string());
            }
            sample.0
        };
        assert_eq!(draw("a").len(), SAMPLE);
        assert_eq!(draw("a"), draw("a"));
        assert_ne!(draw("a"), draw("b"));
    }
}
