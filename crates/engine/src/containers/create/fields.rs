//! Fields of Docker's create request that the engine does not act on: each is refused, or discarded with a warning, never
//! ignored in silence.
//!
//! `Annotations` is kept and shown, because it is what the user says of his container; `ArgsEscaped` is for Windows'
//! images and says nothing here.

use serde_json::{Map, Value};

use crate::containers::{Config, ContainerError, HostConfig};

/// What becomes of a field that is set.
enum Fate {
    /// The request is refused with this sentence.
    Refused(&'static str),
    /// It is taken away, and the client is told so.
    Discarded(&'static str),
}

use Fate::{Discarded, Refused};

const FATES: [(&str, Fate); 13] = [
    (
        "Cgroup",
        Refused("cgroups of other containers are not supported"),
    ),
    (
        "Capabilities",
        Refused("capabilities are chosen with CapAdd and CapDrop"),
    ),
    (
        "CgroupParent",
        Refused("a parent for the container's cgroup is not supported"),
    ),
    (
        "CpuRealtimePeriod",
        Refused("kernel does not support CPU real-time scheduler"),
    ),
    (
        "CpuRealtimeRuntime",
        Refused("kernel does not support CPU real-time scheduler"),
    ),
    (
        "IOMaximumIOps",
        Refused("invalid QoS settings: linux does not support configuration of maximum IOPS"),
    ),
    (
        "IOMaximumBandwidth",
        Refused("invalid QoS settings: linux does not support configuration of maximum bandwidth"),
    ),
    (
        "StorageOpt",
        Refused("--storage-opt is not supported: a container's own layer has no limit"),
    ),
    (
        "BlkioWeightDevice",
        Discarded(
            "Your kernel does not support Block I/O weight_device or the device is not mounted. Weight-device discarded.",
        ),
    ),
    (
        "CpuCount",
        Discarded("linux does not support CPU count. Count discarded."),
    ),
    (
        "CpuPercent",
        Discarded("linux does not support CPU percent. Percent discarded."),
    ),
    (
        "KernelMemory",
        Discarded(
            "Your kernel does not support kernel memory limit capabilities or the cgroup is not mounted. Limitation discarded.",
        ),
    ),
    (
        "KernelMemoryTCP",
        Discarded(
            "Your kernel does not support kernel memory TCP limit capabilities or the cgroup is not mounted. Limitation discarded.",
        ),
    ),
];

/// Warnings, or the first field that cannot be granted.
pub(super) fn settle(
    config: &mut Config,
    host: &mut HostConfig,
) -> Result<Vec<String>, ContainerError> {
    let mut warnings = Vec::new();
    for (field, fate) in &FATES {
        if !is_set(&host.other, field) {
            continue;
        }
        match fate {
            Refused(why) => return Err(ContainerError::Invalid((*why).to_owned())),
            Discarded(warning) => {
                host.other.remove(*field);
                warnings.push((*warning).to_owned());
            }
        }
    }
    if let Some(isolation) = host.other.get("Isolation").and_then(Value::as_str)
        && !matches!(isolation, "" | "default")
    {
        return Err(ContainerError::Invalid(format!(
            "invalid isolation \"{isolation}\" on linux"
        )));
    }
    if config.other.get("NetworkDisabled") == Some(&Value::Bool(true))
        && matches!(host.network_mode.as_str(), "" | "default")
    {
        "none".clone_into(&mut host.network_mode);
    }
    Ok(warnings)
}

/// Zero, empty and false are what clients send for what they leave alone.
fn is_set(fields: &Map<String, Value>, name: &str) -> bool {
    match fields.get(name) {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::Number(number)) => number.as_f64() != Some(0.0),
        Some(Value::String(text)) => !text.is_empty(),
        Some(Value::Array(items)) => !items.is_empty(),
        Some(Value::Object(fields)) => !fields.is_empty(),
        Some(Value::Bool(true)) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn settled(fields: Value) -> Result<(HostConfig, Vec<String>), String> {
        let mut host: HostConfig = serde_json::from_value(fields).expect("a host configuration");
        let warnings =
            settle(&mut Config::default(), &mut host).map_err(|error| error.to_string())?;
        Ok((host, warnings))
    }

    #[test]
    fn what_is_set_is_refused_or_discarded_and_told() {
        let (host, warnings) = settled(json!({
            "CgroupParent": "", "CpuCount": 0, "StorageOpt": {}, "BlkioWeightDevice": [], "Isolation": "default",
            "Annotations": { "a": "b" },
        }))
        .expect("nothing is set");
        assert!(warnings.is_empty(), "{warnings:?}");
        assert_eq!(host.other["Annotations"], json!({ "a": "b" }));
        for (field, value) in [
            ("CgroupParent", json!("/x")),
            ("StorageOpt", json!({ "size": "1G" })),
            ("CpuRealtimePeriod", json!(1)),
            ("Isolation", json!("hyperv")),
            ("Capabilities", json!(["CAP_KILL"])),
        ] {
            assert!(settled(json!({ field: value })).is_err(), "{field}");
        }
        let (host, warnings) =
            settled(json!({ "CpuPercent": 5, "KernelMemoryTCP": 7 })).expect("discarded");
        assert_eq!(warnings.len(), 2);
        assert!(host.other.is_empty());
    }

    #[test]
    fn no_network_is_none() {
        let mut config: Config =
            serde_json::from_value(json!({ "NetworkDisabled": true })).expect("a configuration");
        let mut host = HostConfig::default();
        settle(&mut config, &mut host).expect("granted");
        assert_eq!(host.network_mode, "none");
    }
}
