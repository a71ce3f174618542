//! The `-v` form as the engine reads it: `destination`, `source:destination`, `source:destination:mode`.
//!
//! Clients parse it too, each in its own way, so nothing is assumed here about what they checked.

use super::mount_spec;
use super::{ResolvedMount, clean};
use crate::containers::ContainerError;
use crate::containers::config::{BindOptions, DriverConfig, MountRequest, VolumeOptions};

/// What a mode string may say, each class at most once.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Mode {
    pub(super) readonly: bool,
    pub(super) propagation: Option<String>,
    pub(super) nocopy: bool,
    pub(super) idmap: Option<String>,
}

/// `None`: not a mode.
pub(super) fn parse_mode(text: &str) -> Option<Mode> {
    let mut mode = Mode::default();
    if text.is_empty() {
        return Some(mode);
    }
    let mut seen = [false; 6];
    for word in text.split(',') {
        let class = match word {
            "rw" => 0,
            "ro" => {
                mode.readonly = true;
                0
            }
            "z" | "Z" => 1,
            "private" | "rprivate" | "shared" | "rshared" | "slave" | "rslave" => {
                mode.propagation = Some(word.to_owned());
                2
            }
            "nocopy" => {
                mode.nocopy = true;
                3
            }
            "consistent" | "cached" | "delegated" => 4,
            "idmap" => {
                mode.idmap = Some("match-user".to_owned());
                5
            }
            word => {
                mode.idmap = Some(word.strip_prefix("idmap=")?.to_owned());
                5
            }
        };
        if std::mem::replace(&mut seen[class], true) {
            return None;
        }
    }
    Some(mode)
}

/// Reads one entry of `HostConfig.Binds`.
pub(super) fn parse(raw: &str, volume_driver: &str) -> Result<ResolvedMount, ContainerError> {
    let invalid = || ContainerError::Invalid(format!("invalid volume specification: '{raw}'"));
    let fields: Vec<&str> = raw.splitn(4, ':').collect();
    let (source, target, mode_text) = match fields.as_slice() {
        ["", ..] => return Err(invalid()),
        [target] => ("", *target, ""),
        [_, second] if parse_mode(second).is_some() => return Err(invalid()),
        [source, target] => (*source, *target, ""),
        [source, target, mode] => (*source, *target, *mode),
        _ => return Err(invalid()),
    };
    let mode = parse_mode(mode_text)
        .ok_or_else(|| ContainerError::Invalid(format!("invalid mode: {mode_text}")))?;
    let is_bind = source.starts_with('/');
    let request = MountRequest {
        kind: if is_bind { "bind" } else { "volume" }.to_owned(),
        source: source.to_owned(),
        target: target.to_owned(),
        read_only: mode.readonly,
        idmap: mode.idmap.unwrap_or_default(),
        bind_options: mode.propagation.map(|propagation| BindOptions {
            propagation,
            ..BindOptions::default()
        }),
        volume_options: (mode.nocopy || (!is_bind && !volume_driver.is_empty())).then(|| {
            VolumeOptions {
                no_copy: mode.nocopy,
                driver_config: (!is_bind && !volume_driver.is_empty()).then(|| DriverConfig {
                    name: volume_driver.to_owned(),
                    ..DriverConfig::default()
                }),
                ..VolumeOptions::default()
            }
        }),
        ..MountRequest::default()
    };
    mount_spec::check(&request, false).map_err(|error| {
        ContainerError::Invalid(format!("invalid volume specification: '{raw}': {error}"))
    })?;
    let mut mount = mount_spec::resolve(&request);
    if is_bind {
        mount.create_source = true;
        mount.point.source = clean(source);
    }
    if !mode_text.is_empty() || is_bind {
        mode_text.clone_into(&mut mount.point.mode);
    }
    Ok(mount)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_docker_takes_is_taken() {
        for (raw, kind, source, destination, rw) in [
            ("/a:/b", "bind", "/a", "/b", true),
            ("/a:/b:ro", "bind", "/a", "/b", false),
            ("/a:/b:ro,Z", "bind", "/a", "/b", false),
            ("/a:/b:", "bind", "/a", "/b", true),
            ("/a/:/b//c/", "bind", "/a", "/b/c", true),
            ("/:/host", "bind", "/", "/host", true),
            ("/a:/b:rshared,ro,delegated", "bind", "/a", "/b", false),
            ("name:/b", "volume", "name", "/b", true),
            ("name:/b:nocopy", "volume", "name", "/b", true),
            ("local/name:/tmp:rw", "volume", "local/name", "/tmp", true),
            ("/b", "volume", "", "/b", true),
            ("/a:/b:idmap", "bind", "/a", "/b", true),
            ("n:/b:ro,idmap=uids=5-0-1", "volume", "n", "/b", false),
        ] {
            let mount = parse(raw, "").unwrap_or_else(|error| panic!("{raw}: {error}"));
            let point = &mount.point;
            let shown = if point.kind == "bind" {
                &point.source
            } else {
                &point.name
            };
            assert_eq!(
                (
                    point.kind.as_str(),
                    shown.as_str(),
                    point.destination.as_str(),
                    point.rw
                ),
                (kind, source, destination, rw),
                "{raw}"
            );
        }
    }

    #[test]
    fn what_docker_refuses_is_refused_in_its_words() {
        for (raw, text) in [
            ("", "invalid volume specification: ''"),
            (":/b", "invalid volume specification: ':/b'"),
            ("/path:ro", "invalid volume specification: '/path:ro'"),
            ("/tmp:", "invalid volume specification: '/tmp:'"),
            ("path:ro", "invalid volume specification: 'path:ro'"),
            ("/a:/b:ro:x", "invalid volume specification: '/a:/b:ro:x'"),
            ("/a:/b:copy", "invalid mode: copy"),
            ("/a:/b:ro,rw", "invalid mode: ro,rw"),
            ("/a:/b:default", "invalid mode: default"),
            (
                "name:/p:shared",
                "invalid volume specification: 'name:/p:shared': invalid mount config for type \"volume\": field BindOptions must not be specified",
            ),
            (
                "/a:/b:nocopy",
                "invalid volume specification: '/a:/b:nocopy': invalid mount config for type \"bind\": field VolumeOptions must not be specified",
            ),
            (
                "/a:/b:idmap=me",
                "invalid volume specification: '/a:/b:idmap=me': invalid mount config for type \"bind\": invalid idmap 'me': must be match-user, match-user:USER, or uids=SOURCE-TARGET-COUNT[#...][;gids=...]",
            ),
            ("/a:/b:idmap,idmap", "invalid mode: idmap,idmap"),
            (
                "/a:/",
                "invalid volume specification: '/a:/': invalid mount config for type \"bind\": invalid specification: destination can't be '/'",
            ),
            (
                "name:rel",
                "invalid volume specification: 'name:rel': invalid mount config for type \"volume\": invalid mount path: 'rel' mount path must be absolute",
            ),
        ] {
            let error = parse(raw, "").expect_err(raw);
            assert_eq!(error.to_string(), text);
        }
    }
}
