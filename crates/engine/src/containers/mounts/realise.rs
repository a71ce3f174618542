//! At every start: from the stored mounts to the list that the shim carries out, in mounting order.
//!
//! Order: by depth of the destination, so that nested targets come after what holds them; a user's mount replaces one
//! of the engine's for the same destination, and a mount on `/dev` drops what the engine would put below it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use shim_protocol::spec::{Mount, MountKind, Propagation, ReadonlyRecursion};

use super::sources::BindMissing;
use super::{ResolvedMount, clean, idmap, mount_spec};
use crate::containers::{ContainerError, Containers, HostConfig};

/// Mounted volumes of one container, so that a failed start can give them back.
pub(crate) fn volume_names(mounts: &[ResolvedMount]) -> impl Iterator<Item = &str> {
    mounts
        .iter()
        .filter(|mount| mount.point.kind == "volume" && mount.snapshot.is_none())
        .map(|mount| mount.point.name.as_str())
}

impl Containers {
    /// Brings up the volumes of `mounts` and lists all mounts of the container.
    pub(crate) fn realise_mounts(
        &self,
        id: &str,
        mounts: &[ResolvedMount],
        host: &HostConfig,
    ) -> Result<Vec<Mount>, ContainerError> {
        let mut user: Vec<Mount> = Vec::new();
        for mount in mounts {
            user.push(self.realise(id, mount)?);
        }
        for (destination, options) in host.tmpfs.iter().flatten() {
            let target = clean(destination);
            // As in Docker, the tmpfs wins over a --mount of the same destination.
            user.retain(|mount| mount.target != target);
            user.push(Mount {
                target,
                readonly: false,
                kind: MountKind::Tmpfs {
                    options: merge_tmpfs_options(options),
                },
            });
        }
        let mut all: Vec<Mount> = self
            .engine_mounts(id, host)
            .into_iter()
            .filter(|mount| {
                !user.iter().any(|own| {
                    own.target == mount.target
                        || (own.target == "/dev" && mount.target.starts_with("/dev/"))
                })
            })
            .collect();
        // Virtual filesystems first: users may mount below /dev, /proc and /sys.
        all.sort_by_key(|mount| is_late(&mount.target));
        let late = all
            .iter()
            .position(|mount| is_late(&mount.target))
            .unwrap_or(all.len());
        user.sort_by_key(|mount| depth(&mount.target));
        let tail = all.split_off(late);
        all.extend(user);
        all.extend(tail);
        Ok(all)
    }

    /// Brings one volume up, or says what else is mounted.
    pub(super) fn realise(&self, id: &str, mount: &ResolvedMount) -> Result<Mount, ContainerError> {
        let point = &mount.point;
        let map = mount.idmap.as_deref().map(idmap::parse).transpose();
        let idmap = map.map_err(ContainerError::Invalid)?;
        let kind = match point.kind.as_str() {
            "bind" => MountKind::Bind {
                source: PathBuf::from(&point.source),
                subpath: None,
                recursive: !mount.non_recursive,
                propagation: propagation(&point.propagation),
                readonly_recursion: if mount.read_only_force_recursive {
                    ReadonlyRecursion::Forced
                } else if mount.read_only_non_recursive {
                    ReadonlyRecursion::Never
                } else {
                    ReadonlyRecursion::IfPossible
                },
                create_source: mount.create_source && mount.missing != BindMissing::Error,
                create_as_owner: mount.missing == BindMissing::CreateAsOwner,
                idmap,
                exclude: mount.exclude.clone(),
            },
            "volume" => MountKind::Bind {
                source: match &mount.snapshot {
                    Some(snapshot) => self.volumes.snapshot_tree(&snapshot.volume, &snapshot.id)?,
                    None => self.volumes.mount(&point.name, id)?,
                },
                subpath: mount.subpath.clone(),
                recursive: true,
                propagation: Propagation::Rprivate,
                readonly_recursion: ReadonlyRecursion::IfPossible,
                create_source: false,
                create_as_owner: false,
                idmap,
                exclude: Vec::new(),
            },
            "tmpfs" => MountKind::Tmpfs {
                options: mount_spec::tmpfs_options(mount.tmpfs.as_ref(), !point.rw)
                    .map_err(ContainerError::Invalid)?,
            },
            _ => MountKind::Image {
                lowers: self
                    .images
                    .lowers(mount.image.as_deref().unwrap_or_default())?,
                subpath: mount.subpath.clone(),
            },
        };
        Ok(Mount {
            target: point.destination.clone(),
            readonly: !point.rw,
            kind,
        })
    }

    /// What every container gets unless the user mounts something else there.
    pub(in crate::containers) fn engine_mounts(&self, id: &str, host: &HostConfig) -> Vec<Mount> {
        let plain = |target: &str, kind| Mount {
            target: target.to_owned(),
            readonly: false,
            kind,
        };
        let file = |target: &str, source: PathBuf| Mount {
            target: target.to_owned(),
            readonly: host.readonly_rootfs,
            kind: MountKind::Bind {
                source,
                subpath: None,
                recursive: false,
                propagation: Propagation::Rprivate,
                readonly_recursion: ReadonlyRecursion::Never,
                create_source: false,
                create_as_owner: false,
                idmap: None,
                exclude: Vec::new(),
            },
        };
        let shm_size = if host.shm_size > 0 {
            host.shm_size
        } else {
            DEFAULT_SHM_SIZE
        };
        let mut mounts = vec![
            plain("/proc", MountKind::Proc),
            plain("/dev", MountKind::Dev),
            plain("/dev/pts", MountKind::Devpts),
            Mount {
                readonly: !host.privileged,
                ..plain("/sys", MountKind::Sysfs)
            },
            Mount {
                readonly: !host.privileged,
                ..plain("/sys/fs/cgroup", MountKind::Cgroup)
            },
        ];
        if host.ipc_mode == "host" {
            mounts.push(host_directory("/dev/shm"));
            mounts.push(host_directory("/dev/mqueue"));
        } else {
            mounts.push(plain("/dev/mqueue", MountKind::Mqueue));
            if host.ipc_mode != "none" {
                let options = ["mode=1777", "noexec", "nosuid", "nodev"]
                    .into_iter()
                    .map(str::to_owned)
                    .chain([format!("size={shm_size}")])
                    .collect();
                mounts.push(plain("/dev/shm", MountKind::Tmpfs { options }));
            }
        }
        mounts.push(file(
            "/etc/resolv.conf",
            self.paths.container_file(id, "resolv.conf"),
        ));
        mounts.push(file(
            "/etc/hostname",
            self.paths.container_file(id, "hostname"),
        ));
        mounts.push(file("/etc/hosts", self.paths.container_file(id, "hosts")));
        mounts
    }
}

/// Docker's default for /dev/shm.
const DEFAULT_SHM_SIZE: i64 = 64 << 20;

fn host_directory(path: &str) -> Mount {
    Mount {
        target: path.to_owned(),
        readonly: false,
        kind: MountKind::Bind {
            source: PathBuf::from(path),
            subpath: None,
            recursive: true,
            propagation: Propagation::Rprivate,
            readonly_recursion: ReadonlyRecursion::Never,
            create_source: false,
            create_as_owner: false,
            idmap: None,
            exclude: Vec::new(),
        },
    }
}

/// Files that must not be hidden by a volume on /etc.
pub(in crate::containers) fn is_late(target: &str) -> bool {
    matches!(target, "/etc/resolv.conf" | "/etc/hostname" | "/etc/hosts")
}

fn depth(target: &str) -> usize {
    target.matches('/').count()
}

fn propagation(text: &str) -> Propagation {
    match text {
        "private" => Propagation::Private,
        "shared" => Propagation::Shared,
        "rshared" => Propagation::Rshared,
        "slave" => Propagation::Slave,
        "rslave" => Propagation::Rslave,
        _ => Propagation::Rprivate,
    }
}

/// `--tmpfs` options over Docker's defaults: the last word on each subject counts.
fn merge_tmpfs_options(options: &str) -> Vec<String> {
    let subject = |option: &str| -> String {
        let word = option.split('=').next().unwrap_or(option);
        match word {
            "rw" | "ro" => "rw".to_owned(),
            word => word.strip_prefix("no").unwrap_or(word).to_owned(),
        }
    };
    let mut merged: BTreeMap<usize, String> = BTreeMap::new();
    let mut place: BTreeMap<String, usize> = BTreeMap::new();
    let all = ["noexec", "nosuid", "nodev"]
        .into_iter()
        .chain(options.split(',').filter(|option| !option.is_empty()));
    for (index, option) in all.enumerate() {
        let slot = *place.entry(subject(option)).or_insert(index);
        merged.insert(slot, option.to_owned());
    }
    merged.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tmpfs_options_override_the_defaults() {
        for (given, merged) in [
            ("", "noexec,nosuid,nodev"),
            ("exec,size=64m", "exec,nosuid,nodev,size=64m"),
            ("rw,suid,dev,mode=1777", "noexec,suid,dev,rw,mode=1777"),
            ("size=1m,size=2m", "noexec,nosuid,nodev,size=2m"),
        ] {
            assert_eq!(merge_tmpfs_options(given).join(","), merged, "{given}");
        }
    }

    #[test]
    fn depth_counts_separators() {
        assert!(depth("/a") < depth("/a/b"));
        assert!(depth("/zzzzzzzz") < depth("/a/b"));
    }
}
