//! What containers mount: sources that are missing, replaced or somewhere else, power over the host, several writers.

use std::collections::BTreeMap;
use std::path::Path;

use super::power::Own;
use super::{Look, Weight};
use crate::containers::ContainerError;
use crate::containers::find::Columns as _;
use crate::containers::mounts::ResolvedMount;
use crate::containers::mounts::sources::SourceNote;

impl Look<'_> {
    pub(super) fn containers(&mut self, fast: bool) -> Result<(), ContainerError> {
        let engine = self.engine;
        let containers = &engine.containers;
        let own = Own {
            root: engine.paths.root(),
            socket: &engine.config.socket,
            pools: std::mem::take(&mut self.pools),
            fast,
        };
        self.device_volumes(&own)?;
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
                        let mode = if point.rw { "writable" } else { "read-only" };
                        let how = format!("mounted {mode} at {}", point.destination);
                        self.power(&row.name, &point.source, &how, &own);
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

    /// Whether a source gives power over the host, or goes past the engine.
    fn power(&mut self, subject: &str, source: &str, how: &str, own: &Own<'_>) {
        let Some(doubt) = own.doubt(Path::new(source)) else {
            return;
        };
        let leads = doubt
            .leads_to
            .map(|place| format!(" leads to {}, and", place.display()))
            .unwrap_or_default();
        self.found(
            "doubtful-mount",
            doubt.weight,
            subject,
            format!("{source}{leads} is {how}: {}", doubt.why),
            doubt.advice,
        );
    }

    /// Volumes that are a directory or device of the host (`-o device=…`).
    fn device_volumes(&mut self, own: &Own<'_>) -> Result<(), ContainerError> {
        for volume in self.engine.store.read(|tx| tx.volumes_with_options())? {
            let options = volume.options.unwrap_or_default();
            let device = options
                .get("device")
                .filter(|device| device.starts_with('/'));
            let is_here = !self.engine.volumes.is_elsewhere(&volume.driver);
            let Some(device) = device.filter(|_| is_here) else {
                continue;
            };
            let is_bind = options
                .get("o")
                .is_some_and(|o| o.split(',').any(|word| word == "bind" || word == "rbind"));
            if is_bind {
                self.power(&volume.name, device, "what the volume holds", own);
            }
            // A share of another host is no path of this one's.
            let is_local = !device.starts_with("//");
            if !own.fast && is_local && SourceNote::now(device).is_none() {
                self.found(
                    "missing-bind",
                    Weight::Medium,
                    &volume.name,
                    format!("{device}, which the volume holds, does not exist"),
                    format!(
                        "make it, or remove the volume: orlop volume rm {}",
                        volume.name
                    ),
                );
            }
        }
        Ok(())
    }
}
