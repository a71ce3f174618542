//! `ADD` and `COPY`.
//!
//! 1. Names are expanded, and the tree that is copied from is found: the context, a stage, an image.
//! 2. What is copied is gathered and digested; a step that gave the same upon the same is used again.
//! 3. Otherwise the entries are written into a new layer.
//!
//! From a stage or an image that itself was known, step 2 asks first by name alone: nothing is read then.

use std::io;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use dockerfile::ignore::Ignore;
use dockerfile::{Copy, Instruction, Source};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use self::item::{Content, Download, Item};
use self::mode::Mode;
use self::select::Wishes;
use super::BuildError;
use super::settings::absolute;
use super::stage::{Made, Stage};
use super::tree::{FoundKind, Tree};
use crate::containers::mounts::clean;

mod item;
mod mode;
mod owner;
mod select;
mod write;

/// Permissions of what a web server gave.
const DOWNLOADED: u32 = 0o600;
const WRITTEN: u32 = 0o644;

/// A source after expansion.
enum Wanted {
    Path(String),
    Url(String),
    Text { name: String, bytes: Vec<u8> },
}

impl Stage<'_> {
    pub(super) fn copy(
        &mut self,
        instruction: &Instruction,
        copy: &Copy,
        name: &'static str,
    ) -> Result<(), BuildError> {
        let wanted = self.wanted(copy, name)?;
        let wishes = self.wishes(copy, &wanted, name)?;
        let chown = self.optional(copy.chown.as_deref())?;
        let checksum = self.optional(copy.checksum.as_deref())?;
        let from = self.optional(copy.from.as_deref())?;
        let said = self.said(
            copy,
            &wanted,
            &wishes,
            chown.as_deref(),
            checksum.as_deref(),
        );
        let remote = wanted.iter().any(|one| matches!(one, Wanted::Url(_)));
        if checksum.is_some() && (!remote || wanted.len() > 1) {
            return Err(BuildError::Invalid(
                "checksum requires exactly one HTTP(S) source".to_owned(),
            ));
        }
        let mut aliases = Vec::new();
        if let Some(from) = &from {
            let chain = self.chain_of(from)?;
            aliases.push(body(&json!([said, "stage", chain])));
        } else if checksum.is_some() {
            aliases.push(body(&json!([said, "checksum"])));
        }
        for alias in &aliases {
            if self.use_cached(alias, &aliases, &instruction.text)? {
                return Ok(());
            }
        }
        let tree = match &from {
            Some(from) => self.tree_of(from)?,
            None => Tree::Context(&self.build.context),
        };
        let mut items = Vec::new();
        for one in &wanted {
            self.gather(&wishes, &tree, one, checksum.as_deref(), copy, &mut items)?;
        }
        let key = body(&json!([said, "content", digest(&items, &tree, name)?]));
        if self.use_cached(&key, &aliases, &instruction.text)? {
            return Ok(());
        }
        self.execute(
            &wishes,
            &tree,
            items,
            &wanted,
            chown.as_deref(),
            |stage, made| {
                stage.record(&key, &aliases, made, &instruction.text);
            },
        )
    }

    fn optional(&self, text: Option<&str>) -> Result<Option<String>, BuildError> {
        text.map(|text| self.word(text)).transpose()
    }

    fn wanted(&self, copy: &Copy, name: &'static str) -> Result<Vec<Wanted>, BuildError> {
        copy.sources
            .iter()
            .map(|source| match source {
                Source::Heredoc(heredoc) => {
                    let text = if heredoc.expand {
                        self.scope.raw(&heredoc.content, &self.config)?
                    } else {
                        heredoc.content.clone()
                    };
                    Ok(Wanted::Text {
                        name: heredoc.name.clone(),
                        bytes: text.into_bytes(),
                    })
                }
                Source::Path(path) => {
                    let path = self.word(path)?;
                    if name == "ADD" && copy.from.is_none() {
                        if is_git(&path) {
                            return Err(BuildError::Unsupported(format!(
                                "ADD of the git repository {path} is not supported: clone it into the build context"
                            )));
                        }
                        if path.starts_with("http://") || path.starts_with("https://") {
                            return Ok(Wanted::Url(path));
                        }
                    }
                    Ok(Wanted::Path(path))
                }
            })
            .collect()
    }

    fn wishes(
        &self,
        copy: &Copy,
        wanted: &[Wanted],
        name: &'static str,
    ) -> Result<Wishes, BuildError> {
        let destination = self.word(&copy.destination)?;
        if destination.is_empty() {
            return Err(BuildError::Copy {
                instruction: name,
                why: "the destination is empty".to_owned(),
            });
        }
        let says_directory = destination.ends_with('/')
            || matches!(destination.rsplit('/').next(), Some("." | ".."));
        if wanted.len() > 1 && !says_directory {
            return Err(BuildError::Copy {
                instruction: name,
                why: format!(
                    "When using {name} with more than one source file, the destination must be a directory and end with a /"
                ),
            });
        }
        let exclude: Vec<String> = copy
            .exclude
            .iter()
            .map(|pattern| self.word(pattern))
            .collect::<Result<_, _>>()?;
        let exclude = Ignore::from_patterns(exclude.iter().map(String::as_str))
            .map_err(|error| BuildError::Invalid(error.to_string()))?;
        let mode = self.optional(copy.chmod.as_deref())?;
        let destination = absolute(&destination, &self.config.working_dir);
        Ok(Wishes {
            instruction: name,
            destination: relative(&destination),
            is_directory: says_directory,
            exclude,
            parents: copy.parents,
            unpack: name == "ADD" && copy.unpack != Some(false),
            mode: mode.as_deref().map(Mode::parse).transpose()?,
        })
    }

    /// Everything that the instruction says, expanded, but what its sources hold.
    fn said(
        &self,
        copy: &Copy,
        wanted: &[Wanted],
        wishes: &Wishes,
        chown: Option<&str>,
        checksum: Option<&str>,
    ) -> Value {
        let sources: Vec<Value> = wanted
            .iter()
            .map(|one| match one {
                Wanted::Path(path) => json!(["path", path]),
                Wanted::Url(url) => json!(["url", url]),
                Wanted::Text { name, bytes } => json!(["text", name, bytes]),
            })
            .collect();
        json!([
            wishes.instruction,
            sources,
            wishes.destination,
            wishes.is_directory,
            copy.exclude,
            copy.parents,
            copy.unpack,
            copy.chmod,
            chown,
            checksum,
        ])
    }

    fn gather(
        &self,
        wishes: &Wishes,
        tree: &Tree<'_>,
        wanted: &Wanted,
        checksum: Option<&str>,
        copy: &Copy,
        items: &mut Vec<Item>,
    ) -> Result<(), BuildError> {
        let target = |name: &str| {
            if wishes.is_directory {
                wishes.destination.join(name)
            } else {
                wishes.destination.clone()
            }
        };
        let mode = |before: u32| {
            wishes
                .mode
                .as_ref()
                .map_or(before, |mode| mode.apply(before, false))
        };
        match wanted {
            Wanted::Path(path) => wishes.select(tree, path, items)?,
            Wanted::Text { name, bytes } => items.push(Item {
                target: target(name),
                content: Content::Text(bytes.clone()),
                mode: mode(WRITTEN),
                uid: 0,
                gid: 0,
                mtime: None,
            }),
            Wanted::Url(url) => {
                let (download, suggested, modified) = self.download(url, checksum)?;
                let name = suggested.or_else(|| name_of(url));
                if wishes.is_directory && name.is_none() {
                    return Err(BuildError::Copy {
                        instruction: wishes.instruction,
                        why: format!("cannot determine filename for source {url}"),
                    });
                }
                let name = name.unwrap_or_default();
                let content = Content::Download(download);
                if copy.unpack == Some(true) {
                    let nothing = Tree::Context(&self.build.context);
                    let reader = content
                        .reader(&nothing)
                        .map_err(|source| BuildError::File {
                            action: "cannot read",
                            path: url.into(),
                            source,
                        })?;
                    if archive::is_tar(reader) {
                        items.push(wishes.archive(content, wishes.destination.clone()));
                        return Ok(());
                    }
                }
                items.push(Item {
                    target: target(&name),
                    content,
                    mode: mode(DOWNLOADED),
                    uid: 0,
                    gid: 0,
                    mtime: modified,
                });
            }
        }
        Ok(())
    }

    /// The file, the name that the server suggests, and when it was modified.
    fn download(
        &self,
        url: &str,
        checksum: Option<&str>,
    ) -> Result<(Download, Option<String>, Option<sys::dir::Time>), BuildError> {
        let failed = |source| BuildError::File {
            action: "cannot fetch",
            path: url.into(),
            source,
        };
        self.say(&format!("Downloading {url}\n"));
        let cancel = std::sync::Arc::new(registry::Cancel::default());
        let given_up = std::sync::Arc::clone(&cancel);
        let _hooked = self
            .build
            .cancel
            .on_cancel(Box::new(move || given_up.give_up()));
        let download = self.build.builder.images.download(url, &cancel)?;
        let mut file = self.build.scratch.nameless().map_err(failed)?;
        let mut reader = archive::DigestReader::new(download.reader);
        io::copy(&mut reader, &mut file).map_err(failed)?;
        let (digest, _) = reader.finish();
        if let Some(checksum) = checksum
            && checksum != digest
        {
            return Err(BuildError::Invalid(format!(
                "digest mismatch {digest}: {checksum}"
            )));
        }
        let modified = download
            .modified
            .and_then(|text| jiff::fmt::rfc2822::parse(&text).ok())
            .map(|time| sys::dir::Time {
                seconds: time.timestamp().as_second(),
                nanoseconds: 0,
            });
        let digest = Sha256::digest(digest.as_bytes()).into();
        Ok((Download { file, digest }, download.name, modified))
    }

    fn execute(
        &mut self,
        wishes: &Wishes,
        tree: &Tree<'_>,
        mut items: Vec<Item>,
        wanted: &[Wanted],
        chown: Option<&str>,
        then: impl FnOnce(&mut Self, Made),
    ) -> Result<(), BuildError> {
        let made = self.fill_layer(|root| {
            let owner = chown.map(|chown| owner::resolve(root, chown)).transpose()?;
            into_directory(root, wishes, &mut items, wanted)?;
            let mut writer = write::Writer::new(wishes.instruction, root, owner);
            for item in &items {
                writer.write(tree, item)?;
            }
            writer.finish()
        })?;
        then(self, made);
        Ok(())
    }

    /// Writes a part of a tree into a directory of the host's: for mounts of `RUN`.
    pub(super) fn write_out(
        tree: &Tree<'_>,
        source: &str,
        directory: &Path,
    ) -> Result<(), BuildError> {
        let wishes = Wishes {
            instruction: "RUN --mount",
            destination: PathBuf::new(),
            is_directory: true,
            exclude: Ignore::default(),
            parents: false,
            unpack: false,
            mode: None,
        };
        let mut items = Vec::new();
        wishes.select(tree, source, &mut items)?;
        let opened = sys::dir::open(directory).map_err(|source| BuildError::File {
            action: "cannot open",
            path: directory.to_owned(),
            source,
        })?;
        let mut writer = write::Writer::new(wishes.instruction, opened.as_fd(), None);
        for item in &items {
            writer.write(tree, item)?;
        }
        writer.finish()
    }

    /// The digest of a part of a tree.
    pub(super) fn digest_of(tree: &Tree<'_>, source: &str) -> Result<String, BuildError> {
        let wishes = Wishes {
            instruction: "RUN --mount",
            destination: PathBuf::new(),
            is_directory: true,
            exclude: Ignore::default(),
            parents: false,
            unpack: false,
            mode: None,
        };
        let mut items = Vec::new();
        wishes.select(tree, source, &mut items)?;
        digest(&items, tree, "RUN --mount")
    }
}

/// A single file whose destination is a directory in the image goes into it.
fn into_directory(
    root: std::os::fd::BorrowedFd<'_>,
    wishes: &Wishes,
    items: &mut [Item],
    wanted: &[Wanted],
) -> Result<(), BuildError> {
    let ([item], [one]) = (items, wanted) else {
        return Ok(());
    };
    let is_directory = match &item.content {
        Content::Tree(found) => matches!(found.kind, FoundKind::Directory),
        Content::Archive(_) => true,
        _ => false,
    };
    if is_directory || item.target != wishes.destination {
        return Ok(());
    }
    let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY;
    match sys::dir::open_in_root(root, &wishes.destination, flags) {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(());
        }
        other => drop(other.map_err(|source| BuildError::File {
            action: "cannot look at",
            path: wishes.destination.clone(),
            source,
        })?),
    }
    let name = match one {
        Wanted::Path(path) => clean(path).rsplit('/').next().map(str::to_owned),
        Wanted::Text { name, .. } => Some(name.clone()),
        Wanted::Url(url) => name_of(url),
    };
    if let Some(name) = name {
        item.target.push(name);
    }
    Ok(())
}

fn digest(
    items: &[Item],
    tree: &Tree<'_>,
    instruction: &'static str,
) -> Result<String, BuildError> {
    let mut hash = Sha256::new();
    for item in items {
        item.digest(tree, &mut hash)
            .map_err(|error| BuildError::Copy {
                instruction,
                why: format!("{}: {}", item.target.display(), sys::error_words(&error)),
            })?;
    }
    Ok(hex(&hash.finalize()))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string");
        text
    })
}

/// What a step depends on but what is below it, as one word.
pub(super) fn body(value: &Value) -> String {
    hex(&Sha256::digest(value.to_string().as_bytes()))
}

fn relative(path: &str) -> PathBuf {
    Path::new(path.trim_start_matches('/')).to_owned()
}

/// The last name in a URL's path.
fn name_of(url: &str) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    let (_, path) = rest.split(['?', '#']).next()?.split_once('/')?;
    let name = path.rsplit('/').next()?;
    (!name.is_empty() && name != "." && name != "..").then(|| name.to_owned())
}

fn is_git(text: &str) -> bool {
    let before = text.split('#').next().unwrap_or(text);
    text.starts_with("git@")
        || text.starts_with("git://")
        || text.starts_with("ssh://")
        || text.starts_with("github.com/")
        || (before.starts_with("http") && before.ends_with(".git"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_urls() {
        for (url, name) in [
            ("http://h/a/b.txt?x=1", Some("b.txt")),
            ("https://h/", None),
            ("https://h", None),
            ("http://h/a/", None),
        ] {
            assert_eq!(name_of(url).as_deref(), name, "{url}");
        }
        assert!(is_git("https://h/x.git#v1") && is_git("git@h:x") && !is_git("http://h/x"));
    }
}
