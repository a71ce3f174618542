//! Images.

use engine::images::{ImageDetail, ImageSummary};
use serde_json::{Value, json};

pub(crate) fn summary(image: &ImageSummary) -> Value {
    json!({
        "Id": image.id,
        "ParentId": image.parent,
        "RepoTags": image.tags,
        "RepoDigests": image.digests,
        "Created": image.created,
        "Size": image.size,
        "VirtualSize": image.size,
        "SharedSize": image.shared_size,
        "Labels": if image.labels.is_empty() { Value::Null } else { json!(image.labels) },
        "Containers": image.containers,
    })
}

pub(crate) fn detail(image: &ImageDetail) -> Value {
    let mut directories = image
        .layer_dirs
        .iter()
        .map(|path| path.display().to_string());
    let upper = directories.next().unwrap_or_default();
    let lower = directories.collect::<Vec<_>>().join(":");
    let mut data = json!({ "UpperDir": upper, "WorkDir": "", "MergedDir": "" });
    if !lower.is_empty() {
        data["LowerDir"] = json!(lower);
    }
    let mut config = json!(image.config);
    config["OnBuild"] = config.get("OnBuild").cloned().unwrap_or(Value::Null);
    let mut shown = json!({
        "Id": image.id,
        "RepoTags": image.tags,
        "RepoDigests": image.digests,
        "Parent": image.parent,
        "Comment": image.comment,
        "Created": image.created,
        "DockerVersion": "",
        "Author": image.author,
        // Gone from newer versions; docker-compose 1 asks for the newest and does not run without it.
        "ContainerConfig": {},
        "Config": config,
        "Architecture": image.architecture,
        "Os": image.os,
        "Size": image.size,
        "VirtualSize": image.size,
        "GraphDriver": { "Name": "overlay2", "Data": data },
        "RootFS": { "Type": "layers", "Layers": image.diff_ids },
        "Metadata": { "LastTagTime": image.last_tagged.clone().unwrap_or_else(|| "0001-01-01T00:00:00Z".to_owned()) },
    });
    if !image.variant.is_empty() {
        shown["Variant"] = json!(image.variant);
    }
    shown
}
