//! What a container would have mounted, before anything is made: where each mount comes from, what it hides, what would
//! be created and copied, and who could not write.

use std::collections::BTreeMap;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use serde::Serialize;
use sys::dir::Stat;

use self::user::{Owner, User};
use super::image_volumes::ImageVolumes;
use super::{CreateRequest, check, merge};
use crate::containers::mounts::prepare::snapshot_error;
use crate::containers::mounts::sources::BindMissing;
use crate::containers::mounts::{ResolvedMount, clean};
use crate::containers::{Config, ContainerError, Containers, HostConfig};

mod user;

/// One mount of a container that does not exist yet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ExplainedMount {
    pub target: String,
    /// `volume`, `bind`, `tmpfs`, `image`, or what the engine itself mounts.
    #[serde(rename = "Type")]
    pub kind: String,
    /// Name of the volume, path on the host, image; empty for memory.
    pub source: String,
    #[serde(rename = "RW")]
    pub rw: bool,
    /// The flag, the image, or the engine.
    pub origin: String,
    /// What would be mounted there otherwise.
    pub overrides: Vec<String>,
    /// What would be made.
    pub creates: Vec<String>,
    /// What would be copied.
    pub copies: Option<String>,
    /// Files of the image that cannot be seen.
    pub shadows: Option<String>,
    pub warnings: Vec<String>,
}

/// The whole answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Explanation {
    /// As whom the container would run: `1000:1000`.
    pub user: String,
    pub mounts: Vec<ExplainedMount>,
    pub warnings: Vec<String>,
}

impl Containers {
    /// Decides everything as `create` would, and makes nothing.
    ///
    /// # Errors
    /// Those of `create` that do not depend on making something.
    pub fn explain(&self, request: CreateRequest) -> Result<Explanation, ContainerError> {
        let CreateRequest {
            mut config,
            mut host_config,
            platform,
            ..
        } = request;
        let asked = config.volumes.clone().unwrap_or_default();
        let mut image = self.images.for_run(&config.image)?;
        let policy = ImageVolumes::parse(&host_config.image_volumes)?;
        let declared = policy.take(&mut image.config);
        check::platform(platform.as_deref(), &image, &config.image)?;
        merge::image_into(&mut config, &image.config);
        let mut warnings = super::fields::settle(&mut config, &mut host_config)?;
        merge::defaults(&mut host_config);
        warnings.extend(check::request(&config, &host_config)?);
        let mut mounts = self.resolve_mounts(&config, &host_config)?;
        warnings.extend(self.settle_sources(&mut mounts, &image.lowers)?);
        for mount in mounts.iter().filter(|mount| is_snapshot(mount)) {
            volumes::snapshot::parse_reference(&mount.point.name)
                .and_then(|(volume, name)| self.volumes.snapshot(volume, name))
                .map_err(snapshot_error)?;
        }
        let before = host_config.tmpfs.clone().unwrap_or_default();
        policy.settle(&declared, &mounts, &mut host_config);
        let mut from = Vec::new();
        for spec in host_config.volumes_from.iter().flatten() {
            let mounts = self.volumes_from(spec)?;
            let destinations = mounts.into_iter().map(|mount| mount.point.destination);
            from.push((spec.clone(), destinations.collect()));
        }
        let layers = Origins {
            from,
            config: &config,
            host: &host_config,
            asked: asked
                .keys()
                .map(|path| clean(&format!("/{path}")))
                .collect(),
            image: &config.image,
        };
        let look = |root: Option<BorrowedFd<'_>>| {
            let more = host_config.group_add.as_deref().unwrap_or_default();
            let user = root.map_or_else(User::default, |root| User::of(root, &config.user, more));
            let mut explained: Vec<ExplainedMount> = mounts
                .iter()
                .map(|mount| self.explain_mount(mount, &layers, root, &user))
                .collect();
            for (path, options) in host_config.tmpfs.iter().flatten() {
                let origin = if before.contains_key(path) {
                    "--tmpfs".to_owned()
                } else {
                    format!("image {} (--image-volumes tmpfs)", config.image)
                };
                let target = clean(path);
                let hidden = explained.iter().position(|mount| mount.target == target);
                let overrides = hidden
                    .map(|index| explained.remove(index).origin)
                    .into_iter()
                    .collect();
                explained.push(ExplainedMount {
                    shadows: root.and_then(|root| shadowed(root, &target)),
                    target,
                    kind: "tmpfs".to_owned(),
                    rw: !options.split(',').any(|option| option == "ro"),
                    origin,
                    overrides,
                    ..ExplainedMount::default()
                });
            }
            self.explain_nested(&mounts, root, &mut explained);
            (user, explained)
        };
        let (user, mut explained) = if image.lowers.is_empty() {
            look(None)
        } else {
            sys::overlay::with_view(&self.paths.layers(), &image.lowers, None, |root| {
                look(Some(root))
            })
            .map_err(|source| ContainerError::Io {
                action: "the image's files cannot be read".to_owned(),
                source,
            })?
        };
        engine_overrides(&mut explained);
        explained.sort_by(|a, b| a.target.cmp(&b.target));
        Ok(Explanation {
            user: user.to_string(),
            mounts: explained,
            warnings,
        })
    }

    fn explain_mount(
        &self,
        mount: &ResolvedMount,
        layers: &Origins<'_>,
        root: Option<BorrowedFd<'_>>,
        user: &User,
    ) -> ExplainedMount {
        let point = &mount.point;
        let mut origins = layers.of(&point.destination).into_iter();
        let mut explained = ExplainedMount {
            target: point.destination.clone(),
            kind: point.kind.clone(),
            source: if point.kind == "bind" {
                point.source.clone()
            } else {
                point.name.clone()
            },
            rw: point.rw,
            origin: origins
                .next()
                .unwrap_or_else(|| "--volumes-from".to_owned()),
            overrides: origins.collect(),
            ..ExplainedMount::default()
        };
        let in_image = root.and_then(|root| directory(root, &point.destination));
        let owner = match point.kind.as_str() {
            "volume" => self.explain_volume(mount, in_image.as_ref(), &mut explained),
            "bind" => match std::fs::metadata(&point.source) {
                Ok(metadata) => Some(Owner::from(&metadata)),
                Err(_) if mount.missing == BindMissing::CreateAsOwner => {
                    let made = format!("the directory {}, owned as its parent", point.source);
                    explained.creates.push(made);
                    None
                }
                Err(_) => {
                    explained
                        .creates
                        .push(format!("the directory {}, owned by root", point.source));
                    Some(Owner::ROOT)
                }
            },
            _ => None,
        };
        if explained.copies.is_none()
            && let Some(InImage { entries, .. }) = in_image
            && entries > 0
        {
            explained.shadows = Some(format!(
                "{entries} entries of the image's {}",
                point.destination
            ));
        }
        for hidden in &mount.exclude {
            explained.creates.push(format!(
                "an empty memory filesystem over {}/{hidden}",
                point.destination
            ));
        }
        // Whom a map shows as the owner is known when it is made.
        if let Some(owner) = owner
            && mount.idmap.is_none()
            && point.rw
            && !user.may_write(owner)
        {
            explained.warnings.push(format!(
                "user {user} will not be able to write: owner {owner}"
            ));
        }
        explained
    }

    /// What a mount within another one makes there, which stays when the container is gone.
    fn explain_nested(
        &self,
        mounts: &[ResolvedMount],
        root: Option<BorrowedFd<'_>>,
        explained: &mut [ExplainedMount],
    ) {
        for inner in 0..explained.len() {
            let target = PathBuf::from(&explained[inner].target);
            let around = explained
                .iter()
                .filter(|outer| {
                    target.starts_with(&outer.target) && target != Path::new(&outer.target)
                })
                .max_by_key(|outer| outer.target.len());
            let Some(outer) = around else { continue };
            let Some(mount) = (mounts.iter())
                .find(|mount| mount.point.destination == outer.target && !is_snapshot(mount))
            else {
                continue;
            };
            let there = match mount.point.kind.as_str() {
                "volume" => self.content(mount),
                "bind" => Some(PathBuf::from(&mount.point.source)),
                _ => continue,
            };
            let within = target.strip_prefix(&outer.target).unwrap_or(&target);
            let copied = outer.copies.is_some()
                && root.is_some_and(|root| directory(root, &explained[inner].target).is_some());
            let exists = there.is_some_and(|there| there.join(within).symlink_metadata().is_ok());
            if !copied && !exists {
                let what = if outer.source.is_empty() {
                    "the anonymous volume around it"
                } else {
                    &outer.source
                };
                let made = format!("the mount point {} in {what}", within.display());
                explained[inner].creates.push(made);
            }
        }
    }

    /// Where the files of a volume are that a mount shows, if it exists.
    fn content(&self, mount: &ResolvedMount) -> Option<PathBuf> {
        let name = Some(&mount.point.name).filter(|name| !name.is_empty())?;
        let volume = self.volumes.get(name).ok()?;
        Some(match &mount.subpath {
            Some(subpath) => volume.mountpoint.join(subpath),
            None => volume.mountpoint,
        })
    }

    /// Owner and mode that the root of the volume has, or will have.
    fn explain_volume(
        &self,
        mount: &ResolvedMount,
        in_image: Option<&InImage>,
        explained: &mut ExplainedMount,
    ) -> Option<Owner> {
        if is_snapshot(mount) {
            return None;
        }
        let name = &mount.point.name;
        let there = self.content(mount);
        let content = there.as_ref().and_then(|path| sys::dir::open(path).ok());
        if let (Some(_), None, Some(subpath)) = (&there, &content, &mount.subpath) {
            explained
                .warnings
                .push(format!("volume {name} has no directory {subpath}"));
            return None;
        }
        let is_empty = content.as_ref().is_none_or(|content| {
            sys::dir::read_dir(content.as_fd()).is_ok_and(|entries| entries.is_empty())
        });
        if there.is_none() {
            explained.creates.push(if name.is_empty() {
                "an anonymous volume".to_owned()
            } else {
                format!("the volume {name}")
            });
        }
        if mount.copy
            && is_empty
            && let Some(InImage { stat, entries }) = in_image
        {
            explained.copies = Some(format!(
                "{entries} entries of the image's {}",
                mount.point.destination
            ));
            return Some(Owner::from(stat));
        }
        match content {
            Some(content) => Some(Owner::from(&sys::dir::stat(content.as_fd()).ok()?)),
            None => Some(Owner::ROOT),
        }
    }
}

fn is_snapshot(mount: &ResolvedMount) -> bool {
    mount.point.kind == "volume" && mount.point.name.contains('@')
}

/// Where destinations come from.
struct Origins<'a> {
    config: &'a Config,
    host: &'a HostConfig,
    /// What `--volumes-from` brings: the container, its destinations.
    from: Vec<(String, Vec<String>)>,
    /// Volumes without a source that the request names.
    asked: Vec<String>,
    image: &'a str,
}

impl Origins<'_> {
    /// Who wants something at `target`, the one who gets it first.
    fn of(&self, target: &str) -> Vec<String> {
        let mut origins = Vec::new();
        for request in self.host.mounts.iter().flatten() {
            if clean(&request.target) == target {
                origins.push("--mount".to_owned());
            }
        }
        for raw in self.host.binds.iter().flatten() {
            let mut parts = raw.split(':');
            let (first, second) = (parts.next().unwrap_or_default(), parts.next());
            if clean(second.unwrap_or(first)) == target {
                origins.push(format!("-v {raw}"));
            }
        }
        // Later ones win.
        for (spec, destinations) in self.from.iter().rev() {
            if destinations.iter().any(|path| path == target) {
                origins.push(format!("--volumes-from {spec}"));
            }
        }
        if self.declares(target) {
            origins.push(self.declared(target));
        }
        origins
    }

    fn declares(&self, target: &str) -> bool {
        self.config
            .volumes
            .iter()
            .flatten()
            .any(|(path, _)| clean(&format!("/{path}")) == target)
    }

    fn declared(&self, target: &str) -> String {
        if self.asked.iter().any(|path| path == target) {
            format!("-v {target}")
        } else {
            format!("VOLUME of image {}", self.image)
        }
    }
}

struct InImage {
    stat: Stat,
    entries: usize,
}

fn directory(root: BorrowedFd<'_>, path: &str) -> Option<InImage> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = sys::dir::open_in_root(root, Path::new(path), flags).ok()?;
    Some(InImage {
        stat: sys::dir::stat(directory.as_fd()).ok()?,
        entries: sys::dir::read_dir(directory.as_fd()).ok()?.len(),
    })
}

fn shadowed(root: BorrowedFd<'_>, target: &str) -> Option<String> {
    let found = directory(root, target)?;
    (found.entries > 0).then(|| format!("{} entries of the image's {target}", found.entries))
}

/// A user's mount replaces one of the engine's.
fn engine_overrides(mounts: &mut [ExplainedMount]) {
    let engine: BTreeMap<&str, &str> = BTreeMap::from([
        ("/proc", "the engine's /proc"),
        ("/dev", "the engine's /dev and all below it"),
        ("/dev/shm", "the engine's shared memory"),
        ("/dev/mqueue", "the engine's message queues"),
        ("/sys", "the engine's /sys"),
        ("/sys/fs/cgroup", "the engine's cgroups"),
        ("/etc/hosts", "the engine's /etc/hosts"),
        ("/etc/hostname", "the engine's /etc/hostname"),
        ("/etc/resolv.conf", "the engine's /etc/resolv.conf"),
    ]);
    for mount in mounts {
        if let Some(text) = engine.get(mount.target.as_str()) {
            mount.overrides.push((*text).to_owned());
        }
    }
}
