//! A volume has the name that it has now wherever a container's record names it: among its mounts, where `inspect` and the
//! filters of `ps` look, and in the request it was made with, which clients show and make containers anew from.
//!
//! A record knows its volumes by their ids. What names something else at the same destination stays as it is.

use store::{ContainerRow, Paths, StoreError, VolumeId, VolumeState, WriteTx};

use super::{ResolvedMount, clean};
use crate::containers::HostConfig;
use crate::containers::create::to_json;

/// Gives the volumes of a container that is about to be recorded the names that they have in this transaction; whether any
/// had another one.
pub(crate) fn name_as_present(
    tx: &WriteTx<'_>,
    paths: &Paths,
    row: &mut ContainerRow,
) -> Result<bool, StoreError> {
    let mut mounts: Vec<ResolvedMount> = read(row, "mounts", &row.mounts)?;
    let mut renamed = Vec::new();
    for mount in &mut mounts {
        let id = match &mount.snapshot {
            Some(snapshot) => Some(snapshot.volume.clone()),
            None => mount.volume_id.as_deref().and_then(VolumeId::parse),
        };
        let Some(id) = id else { continue };
        // The name of one that is being removed is another's by now.
        let Some(volume) = tx
            .volume(&id)?
            .filter(|volume| volume.state == VolumeState::Ready)
        else {
            continue;
        };
        let old = mount.point.name.clone();
        let new = match old.split_once('@') {
            Some((_, snapshot)) if mount.snapshot.is_some() => {
                format!("{}@{snapshot}", volume.name)
            }
            _ => volume.name.clone(),
        };
        if new == old {
            continue;
        }
        if mount.snapshot.is_none() {
            let mountpoint = paths.mountpoint(&volume.name);
            mount.point.source = mountpoint.to_string_lossy().into_owned();
        }
        mount.point.name.clone_from(&new);
        renamed.push((mount.point.destination.clone(), old, new));
    }
    if renamed.is_empty() {
        return Ok(false);
    }
    row.mounts = to_json(&mounts);
    let mut host: HostConfig = read(row, "host_config", &row.host_config)?;
    for (destination, old, new) in &renamed {
        in_request(&mut host, destination, old, new);
    }
    row.host_config = to_json(&host);
    Ok(true)
}

fn read<T: serde::de::DeserializeOwned>(
    row: &ContainerRow,
    column: &'static str,
    text: &str,
) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|_| StoreError::Unreadable {
        table: "containers",
        id: row.id.clone(),
        column,
    })
}

/// Names in the request what is mounted at `destination`.
fn in_request(host: &mut HostConfig, destination: &str, old: &str, new: &str) {
    for bind in host.binds.iter_mut().flatten() {
        let rest = bind
            .strip_prefix(old)
            .and_then(|rest| rest.strip_prefix(':'));
        if let Some(rest) = rest
            && clean(rest.split(':').next().unwrap_or(rest)) == destination
        {
            *bind = format!("{new}:{rest}");
        }
    }
    for request in host.mounts.iter_mut().flatten() {
        if request.kind == "volume"
            && request.source == old
            && clean(&request.target) == destination
        {
            new.clone_into(&mut request.source);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::in_request;
    use crate::containers::HostConfig;
    use crate::containers::config::MountRequest;

    #[test]
    fn only_what_is_mounted_there_is_renamed() {
        let mount = |kind: &str, source: &str, target: &str| MountRequest {
            kind: kind.to_owned(),
            source: source.to_owned(),
            target: target.to_owned(),
            ..MountRequest::default()
        };
        let mut host = HostConfig {
            binds: Some(
                [
                    "data:/d/:ro",
                    "data2:/d",
                    "data:/e",
                    "/data:/d",
                    "/d",
                    "data@x:/d",
                ]
                .map(str::to_owned)
                .into(),
            ),
            mounts: Some(vec![
                mount("volume", "data", "/d"),
                mount("bind", "data", "/d"),
                mount("volume", "data", "/e"),
                mount("volume", "", "/d"),
            ]),
            ..HostConfig::default()
        };
        in_request(&mut host, "/d", "data", "new");
        assert_eq!(
            host.binds.unwrap(),
            [
                "new:/d/:ro",
                "data2:/d",
                "data:/e",
                "/data:/d",
                "/d",
                "data@x:/d"
            ]
        );
        let sources: Vec<String> = host
            .mounts
            .unwrap()
            .into_iter()
            .map(|request| request.source)
            .collect();
        assert_eq!(sources, ["new", "data", "data", ""]);
    }
}
