//! `plan`: which file of a tree is in which layer.
//!
//! Files in the order of their paths make a layer until it is large enough and the digest of a path says that it ends there:
//! a file that comes or goes moves the ends of no layers but its own. A large file has a layer to itself. Names of one file
//! stay together. Directories are the last layer, so that their times are right after everything else was unpacked.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use archive::Choice;
use rustix::fs::FileType;
use sha2::{Digest as _, Sha256};
use sys::descent::{Descent, Mounts};
use sys::dir;

/// Bytes of files in a layer, about.
const UNIT: u64 = 64 << 20;
/// Manifests have so many layers at most, by the rule for images.
const MOST_UNITS: u64 = 30;

#[derive(Debug, Default)]
pub(super) struct Plan {
    files: HashMap<PathBuf, usize>,
    directories: HashSet<PathBuf>,
    layers: usize,
}

struct File {
    path: PathBuf,
    size: u64,
    /// Of a file with several names.
    inode: Option<(u64, u64)>,
}

impl Plan {
    pub(super) fn of(root: BorrowedFd<'_>) -> io::Result<Self> {
        let mut plan = Self::default();
        let mut files = Vec::new();
        walk(root, &mut files, &mut plan.directories)?;
        plan.divide(files);
        Ok(plan)
    }

    fn divide(&mut self, files: Vec<File>) {
        let total: u64 = files.iter().map(|file| file.size).sum();
        let mut unit = UNIT;
        while total / unit > MOST_UNITS {
            unit *= 2;
        }
        let (mut layer, mut held) = (0, 0);
        let mut inodes: HashMap<(u64, u64), usize> = HashMap::new();
        for file in files {
            if let Some(&known) = file.inode.as_ref().and_then(|inode| inodes.get(inode)) {
                self.files.insert(file.path, known);
                continue;
            }
            if file.size >= unit && held > 0 {
                (layer, held) = (layer + 1, 0);
            }
            if let Some(inode) = file.inode {
                inodes.insert(inode, layer);
            }
            // Names count: layers of empty files end as well.
            held += file.size + 512;
            let ends = Sha256::digest(file.path.as_os_str().as_bytes())[0] % 16 == 0;
            self.files.insert(file.path, layer);
            if held >= unit || (held >= unit / 2 && ends) {
                (layer, held) = (layer + 1, 0);
            }
        }
        self.layers = layer + usize::from(held > 0) + 1;
    }

    pub(super) fn layers(&self) -> usize {
        self.layers
    }

    /// Whether the entry of an archive belongs to a layer.
    pub(super) fn choice(&self, layer: usize, path: &Path) -> Choice {
        let path: PathBuf = path
            .components()
            .filter(|part| matches!(part, std::path::Component::Normal(_)))
            .collect();
        let is_last = layer + 1 == self.layers;
        if path.as_os_str().is_empty() || self.directories.contains(&path) {
            return if is_last { Choice::Take } else { Choice::Look };
        }
        if self.files.get(&path) == Some(&layer) {
            Choice::Take
        } else {
            Choice::Leave
        }
    }
}

fn walk(
    root: BorrowedFd<'_>,
    files: &mut Vec<File>,
    directories: &mut HashSet<PathBuf>,
) -> io::Result<()> {
    let mut walk = Descent::new(root, Mounts::Cross)?;
    let mut ahead = vec![names(walk.dir())?];
    while let Some(left) = ahead.last_mut() {
        let Some(name) = left.pop() else {
            ahead.pop();
            if walk.depth() > 0 {
                walk.leave()?;
            }
            continue;
        };
        let stat = dir::stat_at(walk.dir(), &name)?;
        let path = walk.path().join(&name);
        if stat.kind() == FileType::Directory {
            walk.enter(&name)?;
            ahead.push(names(walk.dir())?);
            directories.insert(path);
            continue;
        }
        files.push(File {
            path,
            // Holes are not packed.
            size: stat.size.min(stat.blocks.saturating_mul(512)),
            inode: (stat.nlink > 1).then_some((stat.dev, stat.ino)),
        });
    }
    Ok(())
}

/// The last name first.
fn names(dir: BorrowedFd<'_>) -> io::Result<Vec<OsString>> {
    let mut names: Vec<OsString> = dir::read_dir(dir)?
        .into_iter()
        .map(|entry| entry.name)
        .collect();
    names.sort_unstable_by(|a, b| b.cmp(a));
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(files: &[(String, u64)]) -> Plan {
        let mut plan = Plan::default();
        plan.divide(
            files
                .iter()
                .map(|(path, size)| File {
                    path: PathBuf::from(path),
                    size: *size,
                    inode: None,
                })
                .collect(),
        );
        plan
    }

    fn members(plan: &Plan) -> HashSet<Vec<PathBuf>> {
        (0..plan.layers())
            .map(|layer| {
                let mut members: Vec<PathBuf> = plan
                    .files
                    .iter()
                    .filter(|(_, of)| **of == layer)
                    .map(|(path, _)| path.clone())
                    .collect();
                members.sort();
                members
            })
            .collect()
    }

    #[test]
    fn a_file_that_comes_changes_few_layers() {
        let mut files: Vec<(String, u64)> = (0..1000)
            .map(|number| (format!("d/{number:04}"), 1 << 20))
            .collect();
        let before = members(&plan(&files));
        files.insert(500, ("d/0499x".to_owned(), 1 << 20));
        let after = members(&plan(&files));
        assert!(before.len() > 10);
        assert!(before.difference(&after).count() <= 3);
    }

    #[test]
    fn a_large_file_is_alone_and_layers_are_few() {
        let files: Vec<(String, u64)> = (0..10_000)
            .map(|number| (format!("{number:05}"), 50 << 20))
            .chain([("zz".to_owned(), 100 << 30)])
            .collect();
        let plan = plan(&files);
        assert!(plan.layers() <= registry::MAX_LAYERS, "{}", plan.layers());
        let last = plan.files[Path::new("zz")];
        assert_eq!(plan.files.values().filter(|of| **of == last).count(), 1);
        assert_eq!(plan.choice(last, Path::new("./zz")), Choice::Take);
        assert_eq!(plan.choice(0, Path::new("zz")), Choice::Leave);
    }
}
