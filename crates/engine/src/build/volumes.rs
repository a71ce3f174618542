//! What `RUN` writes below a declared volume: gone after the step, as in Docker's classic builder.
//!
//! The classic builder mounts a volume there, with what the image has in it, and throws it away. Here the process writes into
//! its layer like anywhere else, and what it wrote below the volume is taken out of the layer again. A directory that is
//! declared and missing is made, as a mount would, also where writes are kept.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::{Path, PathBuf};

use dockerfile::{Instruction, Lines};
use rustix::fs::{AtFlags, FileType};
use serde::{Deserialize, Serialize};
use store::LayerId;
use sys::descent::{Descent, Mounts};

use super::BuildError;
use super::stage::Stage;
use super::tree::real_in;

/// A volume and who declared it.
#[derive(Debug, Clone)]
pub(super) struct Declared {
    pub(super) path: String,
    /// `None`: the base image.
    pub(super) lines: Option<Lines>,
}

/// What a step lost, as its record remembers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Lost {
    pub(super) volume: String,
    pub(super) files: u64,
}

/// A volume as it was before the step.
pub(super) struct Kept {
    volume: String,
    /// Relative to the image's root, without links.
    path: PathBuf,
    made: bool,
}

impl Stage<'_> {
    /// Before a step: the places of the volumes.
    pub(super) fn keep_volumes(&self, layer: LayerId) -> Result<Vec<Kept>, BuildError> {
        if self.volumes.is_empty() {
            return Ok(Vec::new());
        }
        let drops = !self.build.request.keep_volumes;
        let view = self.view_of_layer(layer)?;
        let places: Vec<Kept> = self
            .volumes
            .iter()
            .map(|declared| {
                let failed = |source| BuildError::File {
                    action: "cannot make the volume",
                    path: declared.path.clone().into(),
                    source,
                };
                let path = real_in(view.root(), Path::new(&declared.path), true).map_err(failed)?;
                let found = sys::dir::open_in_root(view.root(), &path, rustix::fs::OFlags::PATH);
                let made = match found {
                    Ok(_) => false,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        sys::dir::mkdir_all_in_root(view.root(), &path, 0o755).map_err(failed)?;
                        true
                    }
                    Err(error) => return Err(failed(error)),
                };
                Ok(Kept {
                    volume: declared.path.clone(),
                    path,
                    made,
                })
            })
            .collect::<Result<_, BuildError>>()?;
        Ok(if drops { places } else { Vec::new() })
    }

    /// After a step: the layer has nothing below the volumes that it had not before.
    pub(super) fn drop_writes(
        &self,
        layer: LayerId,
        kept: &[Kept],
    ) -> Result<Vec<Lost>, BuildError> {
        let mut lost = Vec::new();
        if kept.is_empty() {
            return Ok(lost);
        }
        let root = self.build.builder.paths.layer_fs(layer);
        let root = sys::dir::open(&root).map_err(|source| BuildError::File {
            action: "cannot open",
            path: root,
            source,
        })?;
        for volume in kept {
            let files = take_out(root.as_fd(), volume).map_err(|source| BuildError::File {
                action: "cannot put back the volume",
                path: volume.path.clone(),
                source,
            })?;
            if files > 0 {
                lost.push(Lost {
                    volume: volume.volume.clone(),
                    files,
                });
            }
        }
        Ok(lost)
    }

    /// What is said at the end of the build.
    pub(super) fn warn_of_loss(&self, instruction: &Instruction, lost: &[Lost]) {
        for one in lost {
            let declared = self
                .volumes
                .iter()
                .find(|declared| declared.path == one.volume)
                .and_then(|declared| declared.lines);
            let file = &self.build.file;
            let by = match declared {
                Some(lines) => format!("line {} (VOLUME {})", lines.first, one.volume),
                None => format!("the base image (VOLUME {})", one.volume),
            };
            let files = if one.files == 1 {
                "1 file is".to_owned()
            } else {
                format!("{} files are", one.files)
            };
            self.build.warn(
                self.position,
                format!(
                    "[Warning] {file}:{}: what RUN writes below a declared volume is not kept: {files} not in the image.\n\
                     [Warning]   declared by {by}\n\
                     [Warning]   written by line {} ({})\n\
                     [Warning]   To keep such files, write them before the VOLUME line, or build with --build-volumes=keep.\n",
                    instruction.lines.first,
                    instruction.lines.first,
                    shortened(&instruction.text),
                ),
            );
        }
    }
}

fn shortened(text: &str) -> String {
    const MOST: usize = 60;
    let line = text.lines().next().unwrap_or_default();
    match line.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

/// Removes what the layer has at the volume; how many files that was.
fn take_out(root: BorrowedFd<'_>, volume: &Kept) -> io::Result<u64> {
    let (above, Some(name)) = (
        volume.path.parent().unwrap_or(Path::new("")),
        volume.path.file_name(),
    ) else {
        return Ok(0);
    };
    let parent = match sys::dir::open_deep(root, above) {
        Ok(parent) => parent,
        Err(error) if super::tree::is_absent(&error) => return Ok(0),
        // A link of the layer is in the way: below it there is nothing of the volume.
        Err(error) if rustix::io::Errno::from_io_error(&error) == Some(rustix::io::Errno::LOOP) => {
            return Ok(0);
        }
        Err(error) => return Err(error),
    };
    let stat = match sys::dir::stat_at(parent.as_fd(), name) {
        Ok(stat) => stat,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    if stat.kind() != FileType::Directory {
        rustix::fs::unlinkat(&parent, name, AtFlags::empty())?;
        return Ok(1);
    }
    let opened = sys::dir::open_at(parent.as_fd(), name)?;
    let files = count(opened.as_fd())?;
    if volume.made {
        sys::dir::remove_contents(opened.as_fd())?;
    } else {
        sys::dir::remove_tree_at(parent.as_fd(), name)?;
    }
    Ok(files)
}

/// Everything but directories.
fn count(root: BorrowedFd<'_>) -> io::Result<u64> {
    let mut files = 0;
    let mut walk = Descent::new(root, Mounts::Refuse)?;
    let mut ahead = vec![level(walk.dir(), &mut files)?];
    while let Some(names) = ahead.last_mut() {
        match names.pop() {
            Some(name) => {
                walk.enter(&name)?;
                ahead.push(level(walk.dir(), &mut files)?);
            }
            None => {
                ahead.pop();
                if walk.depth() > 0 {
                    walk.leave()?;
                }
            }
        }
    }
    Ok(files)
}

fn level(dir: BorrowedFd<'_>, files: &mut u64) -> io::Result<Vec<std::ffi::OsString>> {
    let (directories, others): (Vec<_>, Vec<_>) = sys::dir::read_dir(dir)?
        .into_iter()
        .partition(|entry| entry.kind == FileType::Directory);
    *files += others.len() as u64;
    Ok(directories.into_iter().map(|entry| entry.name).collect())
}
