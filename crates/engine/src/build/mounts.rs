//! `RUN --mount`: files of the context, of a stage or an image; directories that builds share; memory; secrets.
//!
//! Writes to a `bind` go nowhere: it is read-only, or with `rw` a copy that is thrown away. Secrets are in memory only, and in
//! no key: a step is not run again because a password has changed.

use std::path::{Path, PathBuf};

use dockerfile::{Mount as Said, MountKind as SaidKind, Run};
use serde_json::{Value, json};
use shim_protocol::spec::{Mount, MountKind, Propagation, ReadonlyRecursion};

use super::BuildError;
use super::settings::absolute;
use super::shared::InUse;
use super::stage::Stage;
use super::tree::Tree;

const SECRETS: &str = "/run/secrets/";
const MIB: u64 = 1 << 20;

/// A mount after expansion, before anything is made for it.
#[derive(Debug)]
pub(super) struct Wish<'a> {
    said: &'a Said,
    target: String,
    source: String,
    from: Option<String>,
    id: String,
    uid: u32,
    gid: u32,
    mode: Option<u32>,
    size: Option<u64>,
    sharing: String,
    /// Digest of what is mounted.
    content: Option<String>,
}

/// What a step needs of its mounts.
#[derive(Debug, Default)]
pub(super) struct Mounted {
    pub(super) mounts: Vec<Mount>,
    /// Secrets that are asked for as variables.
    pub(super) env: Vec<String>,
    pub(super) in_use: Vec<InUse>,
}

impl Wish<'_> {
    /// What a step depends on because of it.
    pub(super) fn key(&self) -> Value {
        json!([
            format!("{:?}", self.said.kind),
            self.target,
            self.source,
            self.from,
            self.id,
            self.content,
            self.said.env,
            self.said.read_only,
            (self.uid, self.gid, self.mode, self.size),
        ])
    }
}

pub(super) fn bind(
    source: PathBuf,
    subpath: Option<String>,
    target: String,
    readonly: bool,
) -> Mount {
    Mount {
        target,
        readonly,
        kind: MountKind::Bind {
            source,
            subpath,
            recursive: false,
            propagation: Propagation::Rprivate,
            readonly_recursion: ReadonlyRecursion::Never,
            create_source: false,
            create_as_owner: false,
            idmap: None,
            exclude: Vec::new(),
        },
    }
}

impl Stage<'_> {
    pub(super) fn mount_wishes<'r>(&self, run: &'r Run) -> Result<Vec<Wish<'r>>, BuildError> {
        run.mounts
            .iter()
            .map(|said| self.mount_wish(said))
            .collect()
    }

    fn mount_wish<'r>(&self, said: &'r Said) -> Result<Wish<'r>, BuildError> {
        let number = |text: Option<&String>, radix| -> Result<Option<u32>, BuildError> {
            text.map(|text| {
                let text = self.word(text)?;
                u32::from_str_radix(&text, radix)
                    .map_err(|_| BuildError::Invalid(format!("invalid number {text} in --mount")))
            })
            .transpose()
        };
        if said.kind == SaidKind::Ssh {
            return Err(BuildError::Unsupported(
                "RUN --mount=type=ssh is not supported: mount a key as a secret".to_owned(),
            ));
        }
        let source = self.word(&said.source)?;
        let target = self.word(&said.target)?;
        let mut id = self.word(&said.id)?;
        let target = match said.kind {
            SaidKind::Secret => {
                if id.is_empty() {
                    let named = if source.is_empty() { &target } else { &source };
                    id = named.rsplit('/').next().unwrap_or(named).to_owned();
                }
                match (target.is_empty(), said.env.is_some()) {
                    (false, _) => absolute(&target, &self.config.working_dir),
                    (true, true) => String::new(),
                    (true, false) => format!("{SECRETS}{id}"),
                }
            }
            _ => absolute(&target, &self.config.working_dir),
        };
        if target == "/" {
            return Err(BuildError::Invalid("invalid mount target \"/\"".to_owned()));
        }
        if said.kind == SaidKind::Cache && id.is_empty() {
            id.clone_from(&target);
        }
        let from = (!said.from.is_empty()).then(|| said.from.clone());
        let source = if source.is_empty() {
            "/".to_owned()
        } else {
            source
        };
        let content = match (said.kind, &from) {
            (SaidKind::Bind, None) => Some(Self::digest_of(
                &Tree::Context(&self.build.context),
                &source,
            )?),
            (SaidKind::Bind, Some(from)) => Some(self.chain_of(from)?),
            _ => None,
        };
        let size = match &said.size {
            Some(text) => Some(bytes(&self.word(text)?)?),
            None => None,
        };
        Ok(Wish {
            said,
            target,
            source,
            from,
            id,
            uid: number(said.uid.as_ref(), 10)?.unwrap_or(0),
            gid: number(said.gid.as_ref(), 10)?.unwrap_or(0),
            mode: number(said.mode.as_ref(), 8)?,
            size,
            sharing: match &said.sharing {
                Some(text) => self.word(text)?,
                None => "shared".to_owned(),
            },
            content,
        })
    }

    /// Makes what the mounts of the step `id` need.
    pub(super) fn mount_all(&self, wishes: &[Wish<'_>], id: &str) -> Result<Mounted, BuildError> {
        let mut mounted = Mounted::default();
        let mut numbered: Vec<(usize, &Wish<'_>)> = wishes.iter().enumerate().collect();
        // Everybody locks in one order, so that nobody waits for each other.
        numbered.sort_by(|(_, one), (_, other)| one.id.cmp(&other.id));
        for (number, wish) in numbered {
            match wish.said.kind {
                SaidKind::Bind => mounted.mounts.push(self.mount_bind(wish)?),
                SaidKind::Cache => self.mount_cache(wish, &mut mounted)?,
                SaidKind::Tmpfs => {
                    let options = wish.size.map(|size| format!("size={size}")).into_iter();
                    mounted.mounts.push(Mount {
                        target: wish.target.clone(),
                        readonly: false,
                        kind: MountKind::Tmpfs {
                            options: options
                                .chain(["nosuid", "nodev"].map(str::to_owned))
                                .collect(),
                        },
                    });
                }
                SaidKind::Secret => self.mount_secret(wish, id, number, &mut mounted)?,
                SaidKind::Ssh => {}
            }
        }
        // What is nested comes after what it is in.
        mounted
            .mounts
            .sort_by_key(|mount| mount.target.matches('/').count());
        Ok(mounted)
    }

    fn mount_bind(&self, wish: &Wish<'_>) -> Result<Mount, BuildError> {
        let target = wish.target.clone();
        let subpath = below(&wish.source);
        if wish.said.read_only == Some(false) {
            let directory = self.build.scratch.directory()?;
            match &wish.from {
                Some(from) => Self::write_out(&self.tree_of(from)?, &wish.source, &directory)?,
                None => {
                    let context = Tree::Context(&self.build.context);
                    Self::write_out(&context, &wish.source, &directory)?;
                }
            }
            return Ok(bind(
                directory.clone(),
                self.only_file(wish, &directory)?,
                target,
                false,
            ));
        }
        match &wish.from {
            None => Ok(bind(self.build.unpacked()?, subpath, target, true)),
            Some(from) => Ok(Mount {
                target,
                readonly: true,
                kind: MountKind::Image {
                    lowers: self.build.builder.images.stack(&self.blocks_of(from)?),
                    subpath,
                },
            }),
        }
    }

    /// The name of the file, when a file and not a directory is mounted.
    fn only_file(&self, wish: &Wish<'_>, directory: &Path) -> Result<Option<String>, BuildError> {
        let Some(name) = Path::new(&wish.source).file_name() else {
            return Ok(None);
        };
        let stat = rustix::fs::stat(directory.join(name));
        let is_file = stat.is_ok_and(|stat| {
            rustix::fs::FileType::from_raw_mode(stat.st_mode) != rustix::fs::FileType::Directory
        });
        let found = match &wish.from {
            Some(from) => self.tree_of(from)?.find(Path::new(&wish.source), true),
            None => Tree::Context(&self.build.context).find(Path::new(&wish.source), true),
        };
        let is_directory = matches!(
            found,
            Ok(Some(found)) if matches!(found.kind, super::tree::FoundKind::Directory)
        );
        Ok((is_file && !is_directory).then(|| name.to_string_lossy().into_owned()))
    }

    fn mount_cache(&self, wish: &Wish<'_>, mounted: &mut Mounted) -> Result<(), BuildError> {
        let builder = self.build.builder;
        let (key, in_use) = builder.shared.take(&wish.id, &wish.sharing);
        let (directory, is_new) = builder.shared_directory(&key, &wish.target)?;
        if is_new {
            if let Some(from) = &wish.from {
                Self::write_out(&self.tree_of(from)?, &wish.source, &directory)?;
            }
            let failed = |source: rustix::io::Errno| BuildError::File {
                action: "cannot prepare",
                path: directory.clone(),
                source: source.into(),
            };
            rustix::fs::chown(
                &directory,
                Some(rustix::fs::Uid::from_raw(wish.uid)),
                Some(rustix::fs::Gid::from_raw(wish.gid)),
            )
            .map_err(failed)?;
            let mode = rustix::fs::Mode::from_raw_mode(wish.mode.unwrap_or(0o755));
            rustix::fs::chmod(&directory, mode).map_err(failed)?;
        }
        mounted.in_use.push(in_use);
        let readonly = wish.said.read_only == Some(true);
        mounted
            .mounts
            .push(bind(directory, None, wish.target.clone(), readonly));
        Ok(())
    }

    fn mount_secret(
        &self,
        wish: &Wish<'_>,
        id: &str,
        number: usize,
        mounted: &mut Mounted,
    ) -> Result<(), BuildError> {
        let Some(secret) = self.build.request.secrets.get(&wish.id) else {
            if wish.said.required {
                return Err(BuildError::NoSecret(wish.id.clone()));
            }
            return Ok(());
        };
        if let Some(variable) = &wish.said.env {
            let value = String::from_utf8_lossy(secret);
            mounted.env.push(format!("{variable}={value}"));
        }
        if wish.target.is_empty() {
            return Ok(());
        }
        let source = self.build.builder.write_run_file(
            id,
            &format!("secret-{number}"),
            secret,
            wish.mode.unwrap_or(0o400),
            (wish.uid, wish.gid),
        )?;
        mounted
            .mounts
            .push(bind(source, None, wish.target.clone(), true));
        Ok(())
    }
}

/// A source as a path below what is mounted; nothing for all of it.
fn below(source: &str) -> Option<String> {
    let path = absolute(source, "/");
    let path = path.trim_start_matches('/');
    (!path.is_empty()).then(|| path.to_owned())
}

/// Docker's sizes: `64m`, `1.5GiB`.
fn bytes(text: &str) -> Result<u64, BuildError> {
    let invalid = || BuildError::Invalid(format!("invalid size: '{text}'"));
    let digits = text
        .find(|letter: char| !letter.is_ascii_digit() && letter != '.')
        .unwrap_or(text.len());
    let (whole, fraction) = text[..digits]
        .split_once('.')
        .unwrap_or((&text[..digits], ""));
    let unit = text[digits..].trim().to_ascii_lowercase();
    let unit = unit.strip_suffix('b').unwrap_or(&unit);
    let scale: u64 = match unit.strip_suffix('i').unwrap_or(unit) {
        "" => 1,
        "k" => 1 << 10,
        "m" => MIB,
        "g" => MIB << 10,
        "t" => MIB << 20,
        "p" => MIB << 30,
        _ => return Err(invalid()),
    };
    let whole: u64 = whole.parse().map_err(|_| invalid())?;
    let tenths = fraction
        .chars()
        .next()
        .and_then(|digit| digit.to_digit(10))
        .unwrap_or(0);
    whole
        .checked_mul(scale)
        .and_then(|bytes| bytes.checked_add(scale / 10 * u64::from(tenths)))
        .ok_or_else(invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, size) in [
            ("64m", 64 * MIB),
            ("100", 100),
            ("1 GiB", MIB << 10),
            ("2kb", 2048),
        ] {
            assert_eq!(bytes(text).unwrap(), size, "{text}");
        }
        assert!(bytes("x").is_err() && bytes("1z").is_err());
        assert_eq!(below("/"), None);
        assert_eq!(below("a/../b"), Some("b".to_owned()));
    }
}
