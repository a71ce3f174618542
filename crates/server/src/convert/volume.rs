//! Volumes.

use engine::Volume;
use serde_json::{Value, json};

pub(crate) fn volume(volume: &Volume) -> Value {
    json!({
        "CreatedAt": volume.created_at,
        "Driver": volume.driver,
        "Labels": volume.labels,
        "Mountpoint": volume.mountpoint,
        "Name": volume.name,
        "Options": volume.options,
        "Scope": volume.scope.as_str(),
    })
}
