//! From the sources of an instruction to the entries that it makes, before anything is written.
//!
//! Of a directory its contents are copied, of a file the file; links in the name of a source are followed, links below it are
//! copied as links. Wildcards are Go's, one component at a time, `**` with `--parents`.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use dockerfile::ignore::{self, Ignore};

use super::item::{Content, Item};
use super::mode::Mode;
use crate::build::BuildError;
use crate::build::tree::{Found, FoundKind, Tree};

/// How an instruction wants its sources.
#[derive(Debug)]
pub(super) struct Wishes {
    pub(super) instruction: &'static str,
    /// In the image, relative to its root.
    pub(super) destination: PathBuf,
    /// The destination is a directory: several sources, a slash, or it is one already.
    pub(super) is_directory: bool,
    pub(super) exclude: Ignore,
    pub(super) parents: bool,
    /// `ADD`: archives are unpacked.
    pub(super) unpack: bool,
    pub(super) mode: Option<Mode>,
}

/// A source with what its name says of parents that are kept.
struct Source {
    found: Found,
    /// With `--parents`, the directories that are kept.
    kept: PathBuf,
}

impl Wishes {
    fn failed(&self, why: impl Into<String>) -> BuildError {
        BuildError::Copy {
            instruction: self.instruction,
            why: why.into(),
        }
    }

    fn io(&self, path: &Path, error: &io::Error) -> BuildError {
        self.failed(format!("{}: {}", path.display(), sys::error_words(error)))
    }

    /// Adds what the source with this name gives.
    pub(super) fn select(
        &self,
        tree: &Tree<'_>,
        name: &str,
        items: &mut Vec<Item>,
    ) -> Result<(), BuildError> {
        let sources = self.sources(tree, name)?;
        let many = sources.len() > 1 || has_wildcard(name);
        for source in sources {
            self.source(tree, name, &source, many, items)?;
        }
        Ok(())
    }

    fn source(
        &self,
        tree: &Tree<'_>,
        name: &str,
        source: &Source,
        many: bool,
        items: &mut Vec<Item>,
    ) -> Result<(), BuildError> {
        let found = &source.found;
        let destination = join(&self.destination, &source.kept);
        // The last name as it was written: a link may have led to another one.
        let own = found.path.file_name().unwrap_or(OsStr::new(""));
        match &found.kind {
            FoundKind::Directory => {
                let target = if self.parents && !own.is_empty() {
                    destination.join(own)
                } else {
                    destination
                };
                self.directory(tree, found, target, items)
            }
            FoundKind::Other => Ok(()),
            FoundKind::File(_) | FoundKind::Symlink(_) => {
                if self.exclude.excludes(&own.to_string_lossy()) {
                    return Ok(());
                }
                let written = Path::new(name).file_name().filter(|_| !has_wildcard(name));
                let base = if many || self.parents {
                    own
                } else {
                    written.unwrap_or(own)
                };
                if self.unpack
                    && matches!(found.kind, FoundKind::File(_))
                    && self.is_archive(tree, found)?
                {
                    items.push(self.archive(Content::Tree(found.clone()), destination));
                    return Ok(());
                }
                let target = if self.is_directory || many || self.parents {
                    destination.join(base)
                } else {
                    destination
                };
                items.push(self.item(found.clone(), target));
                Ok(())
            }
        }
    }

    pub(super) fn archive(&self, content: Content, target: PathBuf) -> Item {
        Item {
            target,
            content: Content::Archive(Box::new(content)),
            mode: 0,
            uid: 0,
            gid: 0,
            mtime: None,
        }
    }

    fn is_archive(&self, tree: &Tree<'_>, found: &Found) -> Result<bool, BuildError> {
        let reader = tree
            .reader(found)
            .map_err(|error| self.io(&found.path, &error))?;
        Ok(archive::is_tar(reader))
    }

    fn item(&self, found: Found, target: PathBuf) -> Item {
        let is_directory = matches!(found.kind, FoundKind::Directory);
        let mode = match (&self.mode, &found.kind) {
            (Some(mode), FoundKind::Directory | FoundKind::File(_)) => {
                mode.apply(found.mode, is_directory)
            }
            _ => found.mode,
        };
        Item {
            target,
            mode,
            uid: found.uid,
            gid: found.gid,
            mtime: Some(found.mtime),
            content: Content::Tree(found),
        }
    }

    /// A directory and all below it that is not excluded.
    fn directory(
        &self,
        tree: &Tree<'_>,
        top: &Found,
        target: PathBuf,
        items: &mut Vec<Item>,
    ) -> Result<(), BuildError> {
        items.push(self.item(top.clone(), target.clone()));
        // Directories still to read: the entry, its place in the image, its path below the source.
        let mut ahead = vec![(top.clone(), target, PathBuf::new())];
        while let Some((directory, target, below)) = ahead.pop() {
            let failed = |error: io::Error| self.io(&directory.path, &error);
            for name in tree.names(&directory.path).map_err(failed)? {
                let below = below.join(&name);
                let text = below.to_string_lossy();
                let excluded = !self.exclude.is_empty() && self.exclude.excludes(&text);
                if excluded && !self.exclude.may_contain_exception(&text) {
                    continue;
                }
                let Some(child) = tree.child(&directory.path, &name).map_err(failed)? else {
                    continue;
                };
                let place = target.join(&name);
                match child.kind {
                    FoundKind::Other => {}
                    FoundKind::Directory => {
                        if !excluded {
                            items.push(self.item(child.clone(), place.clone()));
                        }
                        ahead.push((child, place, below));
                    }
                    FoundKind::File(_) | FoundKind::Symlink(_) if excluded => {}
                    FoundKind::File(_) | FoundKind::Symlink(_) => {
                        items.push(self.item(child, place));
                    }
                }
            }
        }
        Ok(())
    }

    /// The entries that a name, which may hold wildcards, means.
    fn sources(&self, tree: &Tree<'_>, name: &str) -> Result<Vec<Source>, BuildError> {
        let (path, pivot) = self.clean(name)?;
        let components: Vec<String> = path
            .iter()
            .map(|step| step.to_string_lossy().into_owned())
            .collect();
        let mut found = Vec::new();
        if has_wildcard(name) {
            self.expand(tree, PathBuf::new(), &components, &mut found)?;
            if found.is_empty() {
                return Err(self.failed("no source files were specified"));
            }
            found.sort();
            found.dedup();
        } else {
            found.push(path);
        }
        found
            .into_iter()
            .map(|path| {
                let entry = tree
                    .find(&path, true)
                    .map_err(|error| self.io(&path, &error))?
                    .ok_or_else(|| self.missing(tree, &path))?;
                let kept = if self.parents {
                    let above = path.parent().unwrap_or(Path::new(""));
                    above.iter().skip(pivot).collect()
                } else {
                    PathBuf::new()
                };
                Ok(Source { found: entry, kept })
            })
            .collect()
    }

    fn missing(&self, tree: &Tree<'_>, path: &Path) -> BuildError {
        let path = path.display();
        self.failed(match tree {
            Tree::Context(_) => format!(
                "file not found in build context or excluded by .dockerignore: stat {path}: file does not exist"
            ),
            Tree::Files(_) => format!("stat {path}: file does not exist"),
        })
    }

    /// The name relative to the tree's root, and how many of its components come before a `/./`.
    fn clean(&self, name: &str) -> Result<(PathBuf, usize), BuildError> {
        let mut path: Vec<&str> = Vec::new();
        let mut pivot = 0;
        for (index, step) in name.split('/').enumerate() {
            match step {
                "." if index > 0 && self.parents => pivot = path.len(),
                "" | "." => {}
                ".." => {
                    if path.pop().is_none() && !name.starts_with('/') {
                        return Err(self.failed(format!(
                            "forbidden path outside the build context: {name} ()"
                        )));
                    }
                }
                step => path.push(step),
            }
        }
        Ok((path.iter().collect(), pivot.min(path.len())))
    }

    fn expand(
        &self,
        tree: &Tree<'_>,
        base: PathBuf,
        components: &[String],
        found: &mut Vec<PathBuf>,
    ) -> Result<(), BuildError> {
        let Some((first, rest)) = components.split_first() else {
            found.push(base);
            return Ok(());
        };
        let failed = |error: io::Error| self.io(&base, &error);
        if !has_wildcard(first) {
            let next = base.join(first);
            let there = tree.find(&next, true).map_err(failed)?;
            let fits = there
                .is_some_and(|there| rest.is_empty() || matches!(there.kind, FoundKind::Directory));
            return if fits {
                self.expand(tree, next, rest, found)
            } else {
                Ok(())
            };
        }
        let deep = first == "**" && self.parents;
        if deep {
            self.expand(tree, base.clone(), rest, found)?;
        }
        let Some(directory) = tree.find(&base, true).map_err(failed)? else {
            return Ok(());
        };
        for name in tree.names(&directory.path).map_err(failed)? {
            let next = base.join(&name);
            if deep {
                let child = tree.child(&directory.path, &name).map_err(failed)?;
                if child.is_some_and(|child| matches!(child.kind, FoundKind::Directory)) {
                    self.expand(tree, next, components, found)?;
                } else if rest.is_empty() {
                    found.push(next);
                }
                continue;
            }
            let fits = ignore::matches(first, &name.to_string_lossy())
                .map_err(|_| self.failed(format!("syntax error in pattern {first:?}")))?;
            if !fits {
                continue;
            }
            if rest.is_empty() {
                found.push(next);
                continue;
            }
            let there = tree.find(&next, true).map_err(failed)?;
            if there.is_some_and(|there| matches!(there.kind, FoundKind::Directory)) {
                self.expand(tree, next, rest, found)?;
            }
        }
        Ok(())
    }
}

fn has_wildcard(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// Joining nothing would add a slash.
fn join(one: &Path, other: &Path) -> PathBuf {
    if other.as_os_str().as_bytes().is_empty() {
        one.to_owned()
    } else {
        one.join(other)
    }
}
