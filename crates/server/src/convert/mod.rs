//! Between the engine's values and what travels.

use engine::events::Event;
use engine::system::Info;
use engine::{Engine, RegistrySettings};
use serde_json::{Value, json};

pub(crate) mod container;
pub(crate) mod container_summary;
pub(crate) mod image;
pub(crate) mod network;
pub(crate) mod volume;

/// Go's name of an architecture.
pub(crate) fn architecture(machine: &str) -> &str {
    match machine {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

pub(crate) fn event(event: &Event) -> Value {
    let mut value = json!({
        "Type": event.kind,
        "Action": event.action,
        "Actor": { "ID": event.actor, "Attributes": event.attributes },
        "scope": "local",
        "time": event.time.as_second(),
        "timeNano": i64::try_from(event.time.as_nanosecond()).unwrap_or(i64::MAX),
    });
    // Older clients look here.
    if matches!(event.kind, "container" | "image") {
        value["status"] = json!(event.action);
        value["id"] = json!(event.actor);
        if let Some(image) = event.attributes.get("image") {
            value["from"] = json!(image);
        }
    }
    value
}

/// Mirrors and registries without TLS, in the form of the daemon's own configuration.
fn registries(settings: &RegistrySettings) -> Value {
    let mut known = serde_json::Map::new();
    known.insert(
        "docker.io".to_owned(),
        json!({ "Name": "docker.io", "Mirrors": settings.mirrors, "Secure": true, "Official": true }),
    );
    for name in &settings.insecure {
        known.insert(
            name.clone(),
            json!({ "Name": name, "Mirrors": [], "Secure": false, "Official": false }),
        );
    }
    json!({
        "InsecureRegistryCIDRs": ["::1/128", "127.0.0.0/8"],
        "IndexConfigs": known,
        "Mirrors": settings.mirrors,
    })
}

/// `plugins`: volume drivers beside the local one.
pub(crate) fn info(info: &Info, engine: &Engine, plugins: &[String]) -> Value {
    let volume_drivers: Vec<&str> = std::iter::once("local")
        .chain(plugins.iter().map(String::as_str))
        .collect();
    let root = engine.paths.root();
    json!({
        "ID": engine.paths.tag(),
        "Containers": info.containers,
        "ContainersRunning": info.running,
        "ContainersPaused": info.paused,
        "ContainersStopped": info.stopped,
        "Images": info.images,
        "Driver": "overlay2",
        "DriverStatus": [["Backing", "overlayfs"]],
        "Plugins": { "Volume": volume_drivers, "Network": ["bridge", "host", "null"], "Authorization": null, "Log": ["json-file", "none"] },
        "MemoryLimit": true,
        "SwapLimit": !info.warnings.iter().any(|warning| warning.contains("swap")),
        "CpuCfsPeriod": true,
        "CpuCfsQuota": true,
        "CPUShares": true,
        "CPUSet": true,
        "PidsLimit": true,
        "IPv4Forwarding": info.forwarding,
        "Debug": false,
        "NFd": info.descriptors,
        "OomKillDisable": info.cgroup_version == "1",
        "NGoroutines": info.threads,
        "NEventsListener": engine.events.listeners(),
        "SystemTime": jiff::Timestamp::now().to_string(),
        "LoggingDriver": "json-file",
        "CgroupDriver": "cgroupfs",
        "CgroupVersion": info.cgroup_version,
        "KernelVersion": info.kernel,
        "OperatingSystem": info.operating_system,
        "OSVersion": info.os_version,
        "OSType": "linux",
        "Architecture": info.architecture,
        "IndexServerAddress": "https://index.docker.io/v1/",
        "RegistryConfig": registries(&engine.config.registries),
        "NCPU": info.cpus,
        "MemTotal": info.memory,
        "GenericResources": null,
        "DefaultAddressPools": null,
        "FirewallBackend": { "Driver": "nftables" },
        "CDISpecDirs": [],
        "DiscoveredDevices": [],
        "ProductLicense": "",
        "DockerRootDir": root,
        "HttpProxy": "",
        "HttpsProxy": "",
        "NoProxy": "",
        "Name": info.hostname,
        "Labels": [],
        "ExperimentalBuild": false,
        "ServerVersion": env!("CARGO_PKG_VERSION"),
        "Runtimes": { "orlop": { "path": "orlop" } },
        "DefaultRuntime": "orlop",
        "Swarm": { "NodeID": "", "NodeAddr": "", "LocalNodeState": "inactive", "ControlAvailable": false, "Error": "", "RemoteManagers": null },
        "LiveRestoreEnabled": true,
        "Isolation": "",
        "InitBinary": "orlop",
        "ContainerdCommit": { "ID": "" },
        "RuncCommit": { "ID": "" },
        "InitCommit": { "ID": "" },
        "SecurityOptions": ["name=seccomp,profile=builtin", "name=cgroupns"],
        "Warnings": info.warnings,
    })
}
