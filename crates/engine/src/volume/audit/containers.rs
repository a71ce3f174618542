//! What containers mount: sources that are missing, replaced or somewhere else, power over the host, several writers.

use std::collections::BTreeMap;
use std::path::Path;

use super::{Look, Weight};
use crate::containers::ContainerError;
use crate::containers::find::Columns as _;
use crate::containers::mounts::ResolvedMount;
use crate::containers::mounts::sources::SourceNote;

impl Look<'_> {
    pub(super) fn containers(&mut self, fast: bool) -> Result<(), ContainerError> {
        let containers = &self.engine.containers;
        let mut writers: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for row in self.engine.store.read(|tx| tx.containers())? {
            let active = row.status()?.is_active();
            for mount in containers.stored_mounts(&row)? {
                let point = &mount.point;
                match point.kind.as_str() {
                    "bind" => {
                        if !fast {
                            self.source(&row.name, active, &mount);
                        }
                        self.power(&row.name, &mount);
                    }
                    "volume" if active && point.rw && mount.snapshot.is_none() => {
                        let list = writers.entry(point.name.clone()).or_default();
                        if list.last() != Some(&row.name) {
                            list.push(row.name.clone());
                        }
                    }
                    _ => {}
                }
            }
        }
        for (volume, names) in writers.into_iter().filter(|(_, names)| names.len() > 1) {
            self.found(
                "several-writers",
                Weight::Medium,
                &volume,
                format!("{} run and can write to it", names.join(", ")),
                format!(
                    "two databases on one volume destroy it: mount it read-only in all but one, or \
                     `orlop volume label {volume} orlop.exclusive=true`"
                ),
            );
        }
        Ok(())
    }

    /// Whether the source of a bind is there, and what it was.
    fn source(&mut self, container: &str, active: bool, mount: &ResolvedMount) {
        let point = &mount.point;
        let Some(now) = SourceNote::now(&point.source) else {
            // A source that never was and is to be made is not missing.
            if !mount.create_source || mount.noted.is_some() {
                let made = if mount.create_source {
                    ": the next start makes an empty directory"
                } else {
                    ""
                };
                self.found(
                    "missing-bind",
                    Weight::Medium,
                    container,
                    format!(
                        "{} for {} does not exist{made}",
                        point.source, point.destination
                    ),
                    "make it, or remove the container",
                );
            }
            return;
        };
        let Some(noted) = &mount.noted else { return };
        if !noted.same_filesystem(&now) {
            self.found(
                "other-device",
                Weight::High,
                container,
                format!(
                    "{} for {} is on device {}, and was on {}: what is written there may go to the wrong disk",
                    point.source, point.destination, now.device, noted.device
                ),
                "mount its disk and restart the container; --mount ...,bind-require-device refuses such starts",
            );
        } else if active && noted.file.is_some() && noted.file != now.file {
            self.found(
                "replaced-file",
                Weight::Medium,
                container,
                format!(
                    "{} was replaced since the start: {} still shows the old file",
                    point.source, point.destination
                ),
                "restart the container, or mount the directory around the file",
            );
        }
    }

    /// Whether a bind gives power over the host.
    fn power(&mut self, container: &str, mount: &ResolvedMount) {
        let point = &mount.point;
        let own = Path::new(&point.source);
        let found = if own == self.engine.config.socket {
            Some((Weight::High, "who has the engine has the host"))
        } else if own == self.engine.paths.root() {
            Some((Weight::High, "all volumes and containers are in there"))
        } else {
            doubtful(&point.source)
        };
        if let Some((weight, why)) = found {
            let mode = if point.rw { "writable" } else { "read-only" };
            self.found(
                "doubtful-mount",
                weight,
                container,
                format!(
                    "{} is mounted {mode} at {}: {why}",
                    point.source, point.destination
                ),
                "mount less of it, or read-only, unless that is meant",
            );
        }
    }
}

/// Sources that give a container power over the host.
fn doubtful(source: &str) -> Option<(Weight, &'static str)> {
    let name = Path::new(source).file_name().unwrap_or_default();
    match source {
        "/" => Some((Weight::High, "that is the whole host")),
        _ if name == "docker.sock" || name == "containerd.sock" => {
            Some((Weight::High, "who has the engine has the host"))
        }
        "/etc" | "/usr" | "/bin" | "/sbin" | "/lib" | "/boot" | "/root" | "/var" => Some((
            Weight::Medium,
            "the host's own files can be changed from inside",
        )),
        "/proc" | "/sys" | "/dev" => Some((Weight::Medium, "that reaches the host's kernel")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubtful_sources() {
        for (source, weight) in [
            ("/", Some(Weight::High)),
            ("/var/run/docker.sock", Some(Weight::High)),
            ("/etc", Some(Weight::Medium)),
            ("/etc/localtime", None),
            ("/srv/data", None),
        ] {
            assert_eq!(doubtful(source).map(|found| found.0), weight, "{source}");
        }
    }
}
