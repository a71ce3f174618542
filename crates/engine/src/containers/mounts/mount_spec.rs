//! The `--mount` form (`HostConfig.Mounts`): checks in Docker's order and words.

use std::path::{Component, Path};

use super::sources::BindMissing;
use super::{ResolvedMount, clean, idmap};
use crate::containers::ContainerError;
use crate::containers::config::{MountRequest, TmpfsOptions};
use crate::containers::inspect::MountPoint;

const PROPAGATIONS: [&str; 6] = [
    "private", "rprivate", "shared", "rshared", "slave", "rslave",
];

/// Refuses what cannot be meant. `source_must_exist` is the rule for `--mount`, not for `-v`.
pub(super) fn check(request: &MountRequest, source_must_exist: bool) -> Result<(), ContainerError> {
    verify(request, source_must_exist).map_err(|why| {
        ContainerError::Invalid(format!(
            "invalid mount config for type \"{}\": {why}",
            request.kind
        ))
    })
}

fn verify(request: &MountRequest, source_must_exist: bool) -> Result<(), String> {
    if request.target.is_empty() {
        return Err("field Target must not be empty".to_owned());
    }
    if clean(&request.target) == "/" {
        return Err("invalid specification: destination can't be '/'".to_owned());
    }
    must_be_absolute(&request.target)?;
    if !request.idmap.is_empty() {
        if !matches!(request.kind.as_str(), "bind" | "volume") {
            return Err("field IDMap must not be specified".to_owned());
        }
        idmap::parse(&request.idmap)?;
    }
    match request.kind.as_str() {
        "bind" => verify_bind(request, source_must_exist),
        "volume" => verify_volume(request),
        "tmpfs" => verify_tmpfs(request),
        "image" => verify_image(request),
        _ => Err("mount type unknown".to_owned()),
    }
}

fn verify_bind(request: &MountRequest, source_must_exist: bool) -> Result<(), String> {
    if request.source.is_empty() {
        return Err("field Source must not be empty".to_owned());
    }
    let options = request.bind_options.clone().unwrap_or_default();
    if !options.propagation.is_empty() && !PROPAGATIONS.contains(&options.propagation.as_str()) {
        return Err(format!("invalid propagation mode: {}", options.propagation));
    }
    no_field("VolumeOptions", request.volume_options.is_some())?;
    no_field("ImageOptions", request.image_options.is_some())?;
    no_field("TmpfsOptions", request.tmpfs_options.is_some())?;
    must_be_absolute(&request.source)?;
    if options.read_only_non_recursive && !request.read_only {
        return Err(
            "mode is read-write, BindOptions.ReadOnlyNonRecursive must not be set".to_owned(),
        );
    }
    if options.read_only_force_recursive {
        if !request.read_only {
            return Err(
                "mode is read-write, BindOptions.ReadOnlyForceRecursive must not be set".to_owned(),
            );
        }
        if options.propagation != "rprivate" {
            return Err("ReadOnlyForceRecursive requires Propagation to be rprivate".to_owned());
        }
    }
    let missing = if options.missing.is_empty() {
        None
    } else {
        Some(BindMissing::parse(&options.missing)?)
    };
    for path in &options.exclude {
        let inside = must_be_local(path).is_ok() && !matches!(clean(path).as_str(), "." | "..");
        if !inside {
            return Err(format!(
                "invalid exclude '{path}': must be a relative path of a directory below the source"
            ));
        }
    }
    let created = options.create_mountpoint || missing.is_some_and(|way| way != BindMissing::Error);
    if options.require_device && !Path::new(&request.source).exists() {
        return Err(format!(
            "bind source path does not exist: {}: there is no device to require",
            request.source
        ));
    }
    // symlink_metadata would call a dangling link present, although nothing can be mounted from it.
    if source_must_exist && !created && !Path::new(&request.source).exists() {
        return Err(format!(
            "bind source path does not exist: {}",
            request.source
        ));
    }
    Ok(())
}

fn verify_volume(request: &MountRequest) -> Result<(), String> {
    no_field("BindOptions", request.bind_options.is_some())?;
    no_field("ImageOptions", request.image_options.is_some())?;
    no_field("TmpfsOptions", request.tmpfs_options.is_some())?;
    // No volume has such a name: it is VOLUME@SNAPSHOT.
    if request.source.contains('@') && !request.read_only {
        return Err(format!(
            "a snapshot can only be read: mount {} read-only",
            request.source
        ));
    }
    let subpath = request
        .volume_options
        .as_ref()
        .map_or("", |options| options.subpath.as_str());
    if !subpath.is_empty() {
        if request.source.is_empty() {
            return Err("must not set Subpath when using anonymous volumes".to_owned());
        }
        must_be_local(subpath)?;
    }
    Ok(())
}

fn verify_tmpfs(request: &MountRequest) -> Result<(), String> {
    no_field("BindOptions", request.bind_options.is_some())?;
    no_field("VolumeOptions", request.volume_options.is_some())?;
    no_field("ImageOptions", request.image_options.is_some())?;
    no_field("Source", !request.source.is_empty())?;
    tmpfs_options(request.tmpfs_options.as_ref(), request.read_only).map(|_| ())
}

fn verify_image(request: &MountRequest) -> Result<(), String> {
    if request.source.is_empty() {
        return Err("field Source must not be empty".to_owned());
    }
    no_field("BindOptions", request.bind_options.is_some())?;
    no_field("VolumeOptions", request.volume_options.is_some())?;
    no_field("TmpfsOptions", request.tmpfs_options.is_some())?;
    match &request.image_options {
        Some(options) if !options.subpath.is_empty() => must_be_local(&options.subpath),
        _ => Ok(()),
    }
}

fn no_field(name: &str, present: bool) -> Result<(), String> {
    if present {
        return Err(format!("field {name} must not be specified"));
    }
    Ok(())
}

fn must_be_absolute(path: &str) -> Result<(), String> {
    if path.starts_with('/') {
        return Ok(());
    }
    Err(format!(
        "invalid mount path: '{path}' mount path must be absolute"
    ))
}

fn must_be_local(subpath: &str) -> Result<(), String> {
    let mut depth = 0_i32;
    let local = Path::new(subpath).components().all(|component| {
        match component {
            Component::Normal(_) => depth += 1,
            Component::ParentDir => depth -= 1,
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return false,
        }
        depth >= 0
    });
    if local {
        return Ok(());
    }
    Err("subpath must be a relative path within the volume".to_owned())
}

/// The mount(8) options of a tmpfs mount.
pub(super) fn tmpfs_options(
    options: Option<&TmpfsOptions>,
    readonly: bool,
) -> Result<Vec<String>, String> {
    let mut list: Vec<String> = ["noexec", "nosuid", "nodev"].map(str::to_owned).to_vec();
    if readonly {
        list.push("ro".to_owned());
    }
    let Some(options) = options else {
        return Ok(list);
    };
    if options.mode != 0 {
        list.push(format!("mode={:o}", options.mode));
    }
    if options.size_bytes != 0 {
        list.push(format!("size={}", options.size_bytes));
    }
    for option in options.options.iter().flatten() {
        match option
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .as_slice()
        {
            ["exec"] => list.retain(|known| known != "noexec"),
            ["noexec"] => {}
            words => return Err(format!("invalid option: {}", words.join("="))),
        }
    }
    Ok(list)
}

/// From a checked request to a mount; names of anonymous volumes and image ids are still open.
pub(super) fn resolve(request: &MountRequest) -> ResolvedMount {
    let mut point = MountPoint {
        kind: request.kind.clone(),
        destination: clean(&request.target),
        rw: !request.read_only,
        ..MountPoint::default()
    };
    let mut mount = ResolvedMount {
        idmap: (!request.idmap.is_empty()).then(|| request.idmap.clone()),
        ..ResolvedMount::default()
    };
    match request.kind.as_str() {
        "bind" => {
            let options = request.bind_options.clone().unwrap_or_default();
            point.source = clean(&request.source);
            point.propagation = options.propagation;
            let missing = BindMissing::parse(&options.missing).ok();
            mount.create_source =
                options.create_mountpoint || missing.is_some_and(|way| way != BindMissing::Error);
            mount.missing = missing.unwrap_or_default();
            mount.exclude = options.exclude.iter().map(|path| clean(path)).collect();
            mount.require_device = options.require_device;
            mount.non_recursive = options.non_recursive;
            mount.read_only_non_recursive = options.read_only_non_recursive;
            mount.read_only_force_recursive = options.read_only_force_recursive;
        }
        "volume" => {
            let options = request.volume_options.clone().unwrap_or_default();
            point.name.clone_from(&request.source);
            // Docker relabels local volumes as shared unless told otherwise, and shows it as their mode.
            "z".clone_into(&mut point.mode);
            let driver = options.driver_config.unwrap_or_default();
            point.driver = driver.name;
            mount.driver_options = driver.options;
            mount.volume_labels = options.labels;
            mount.anonymous = request.source.is_empty();
            mount.copy = !options.no_copy;
            mount.exclusive = options.exclusive;
            mount.subpath = (!options.subpath.is_empty()).then_some(options.subpath);
        }
        "tmpfs" => mount.tmpfs = Some(request.tmpfs_options.clone().unwrap_or_default()),
        _ => {
            point.name.clone_from(&request.source);
            point.rw = false;
            "rprivate".clone_into(&mut point.propagation);
            mount.subpath = request
                .image_options
                .as_ref()
                .map(|options| options.subpath.clone())
                .filter(|subpath| !subpath.is_empty());
        }
    }
    mount.point = point;
    mount
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::containers::config::{BindOptions, ImageOptions, VolumeOptions};

    fn request(kind: &str, source: &str, target: &str) -> MountRequest {
        MountRequest {
            kind: kind.to_owned(),
            source: source.to_owned(),
            target: target.to_owned(),
            ..MountRequest::default()
        }
    }

    #[test]
    fn refusals_are_in_dockers_words() {
        let subpath = |path: &str| VolumeOptions {
            subpath: path.to_owned(),
            ..VolumeOptions::default()
        };
        let cases = [
            (request("bind", "/", ""), "field Target must not be empty"),
            (request("bind", "", "/x"), "field Source must not be empty"),
            (
                request("bind", "/nowhere/at/all", "/x"),
                "bind source path does not exist: /nowhere/at/all",
            ),
            (
                request("volume", "v", "x"),
                "invalid mount path: 'x' mount path must be absolute",
            ),
            (
                request("volume", "v", "/x/.."),
                "invalid specification: destination can't be '/'",
            ),
            (
                request("tmpfs", "s", "/x"),
                "field Source must not be specified",
            ),
            (request("npipe", "s", "/x"), "mount type unknown"),
            (
                MountRequest {
                    bind_options: Some(BindOptions::default()),
                    ..request("volume", "v", "/x")
                },
                "field BindOptions must not be specified",
            ),
            (
                MountRequest {
                    volume_options: Some(subpath("a")),
                    ..request("volume", "", "/x")
                },
                "must not set Subpath when using anonymous volumes",
            ),
            (
                MountRequest {
                    volume_options: Some(subpath("../a")),
                    ..request("volume", "v", "/x")
                },
                "subpath must be a relative path within the volume",
            ),
            (
                MountRequest {
                    image_options: Some(ImageOptions {
                        subpath: "/abs".to_owned(),
                    }),
                    ..request("image", "i", "/x")
                },
                "subpath must be a relative path within the volume",
            ),
            (
                MountRequest {
                    bind_options: Some(BindOptions {
                        propagation: "up".to_owned(),
                        ..BindOptions::default()
                    }),
                    ..request("bind", "/", "/x")
                },
                "invalid propagation mode: up",
            ),
            (
                MountRequest {
                    tmpfs_options: Some(TmpfsOptions {
                        options: Some(vec![vec!["uid".to_owned(), "1".to_owned()]]),
                        ..TmpfsOptions::default()
                    }),
                    ..request("tmpfs", "", "/x")
                },
                "invalid option: uid=1",
            ),
        ];
        for (request, why) in cases {
            let error = check(&request, true).expect_err(why);
            assert_eq!(
                error.to_string(),
                format!("invalid mount config for type \"{}\": {why}", request.kind)
            );
        }
    }

    #[test]
    fn tmpfs_options_are_dockers() {
        let options = TmpfsOptions {
            size_bytes: 1024,
            mode: 0o1770,
            options: Some(vec![vec!["exec".to_owned()]]),
        };
        assert_eq!(
            tmpfs_options(Some(&options), true).expect("valid"),
            ["nosuid", "nodev", "ro", "mode=1770", "size=1024"]
        );
    }
}
