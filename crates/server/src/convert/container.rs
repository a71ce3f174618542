//! Containers.

use engine::Paths;
use engine::containers::health::status_word;
use engine::containers::{ContainerDetail, NetworkSettings, Sample, Status};
use serde_json::{Map, Value, json};

use crate::convert::network;
use crate::errors::Refusal;
use crate::request::Request;

/// `h` and `w` of a resize.
pub(crate) fn size(request: &Request) -> Result<(u16, u16), Refusal> {
    let number = |key: &str| -> Result<u16, Refusal> {
        request
            .number(key)?
            .ok_or_else(|| Refusal::invalid(format!("invalid resize {key}: value is missing")))
    };
    Ok((number("h")?, number("w")?))
}

pub(crate) fn detail(detail: &ContainerDetail, paths: &Paths) -> Value {
    let state = &detail.state;
    let settings = &detail.network;
    let bridge = network::on_bridge(settings);
    let is = |status: Status| state.status == status;
    let upper = paths.container_upper(&detail.id);
    let mut host = serde_json::to_value(&detail.host_config).expect("a configuration serialises");
    shown_host_config(&mut host);
    let mut config = serde_json::to_value(&detail.config).expect("a configuration serialises");
    config["OnBuild"] = config.get("OnBuild").cloned().unwrap_or(Value::Null);
    let mut value = json!({
        "Id": detail.id,
        "Created": detail.created,
        "Path": detail.path,
        "Args": detail.args,
        "State": {
            "Status": state.status.as_str(),
            "Running": state.status.is_active(),
            "Paused": is(Status::Paused),
            "Restarting": is(Status::Restarting),
            "OOMKilled": state.oom_killed,
            "Dead": is(Status::Dead),
            "Pid": state.pid,
            "ExitCode": state.exit_code,
            "Error": state.error,
            "StartedAt": state.started_at,
            "FinishedAt": state.finished_at,
        },
        "Image": detail.image_id,
        "ResolvConfPath": detail.resolv_conf_path,
        "HostnamePath": detail.hostname_path,
        "HostsPath": detail.hosts_path,
        "LogPath": detail.log_path,
        "Name": format!("/{}", detail.name),
        "RestartCount": detail.restart_count,
        "Driver": "overlay2",
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": (!detail.exec_ids.is_empty()).then_some(&detail.exec_ids),
        "HostConfig": host,
        "GraphDriver": {
            "Name": "overlay2",
            "Data": {
                "LowerDir": paths.layers().display().to_string(),
                "MergedDir": "",
                "UpperDir": upper.display().to_string(),
                "WorkDir": paths.container_work(&detail.id).display().to_string(),
            },
        },
        "Mounts": detail.mounts,
        "Config": config,
        "NetworkSettings": {
            "Bridge": "",
            "SandboxID": "",
            "SandboxKey": if state.pid > 0 { format!("/proc/{}/ns/net", state.pid) } else { String::new() },
            "Ports": ports_map(settings),
            "HairpinMode": false,
            "LinkLocalIPv6Address": "",
            "LinkLocalIPv6PrefixLen": 0,
            "SecondaryIPAddresses": null,
            "SecondaryIPv6Addresses": null,
            "EndpointID": bridge.id,
            "Gateway": bridge.gateway,
            "GlobalIPv6Address": bridge.ip6,
            "GlobalIPv6PrefixLen": bridge.prefix_len6,
            "IPAddress": bridge.ip,
            "IPPrefixLen": bridge.prefix_len,
            "IPv6Gateway": bridge.gateway6,
            "MacAddress": bridge.mac,
            "Networks": network::endpoints(detail),
        },
    });
    if let Some(health) = &state.health {
        value["State"]["Health"] = json!({
            "Status": status_word(health.status),
            "FailingStreak": health.failing_streak,
            "Log": health
                .log
                .iter()
                .map(|probe| json!({
                    "Start": probe.start,
                    "End": probe.end,
                    "ExitCode": probe.exit_code,
                    "Output": probe.output,
                }))
                .collect::<Vec<_>>(),
        });
    }
    if let Some(size) = detail.size_rw {
        value["SizeRw"] = json!(size);
    }
    if let Some(size) = detail.size_root_fs {
        value["SizeRootFs"] = json!(size);
    }
    value
}

fn ports_map(network: &NetworkSettings) -> Value {
    let map: Map<String, Value> = network
        .ports
        .iter()
        .map(|(port, bindings)| {
            (
                port.clone(),
                serde_json::to_value(bindings).expect("bindings serialise"),
            )
        })
        .collect();
    Value::Object(map)
}

/// Fields that clients expect whatever was asked for.
fn shown_host_config(host: &mut Value) {
    let Some(fields) = host.as_object_mut() else {
        return;
    };
    for (key, value) in [
        ("AutoRemove", json!(false)),
        ("BlkioDeviceReadBps", Value::Null),
        ("CgroupParent", json!("")),
        ("Cgroup", json!("")),
        ("CpuCount", json!(0)),
        ("CpuPercent", json!(0)),
        ("CpuRealtimePeriod", json!(0)),
        ("CpuRealtimeRuntime", json!(0)),
        ("IOMaximumBandwidth", json!(0)),
        ("IOMaximumIOps", json!(0)),
        ("Isolation", json!("")),
        ("BlkioWeightDevice", Value::Null),
    ] {
        fields.entry(key).or_insert(value);
    }
    for key in ["Init", "Mounts", "Sysctls", "Tmpfs"] {
        if fields.get(key).is_some_and(Value::is_null) {
            fields.remove(key);
        }
    }
}

fn cpu(sample: Option<&Sample>) -> Value {
    let Some(sample) = sample else {
        return json!({
            "cpu_usage": { "total_usage": 0, "usage_in_kernelmode": 0, "usage_in_usermode": 0 },
            "throttling_data": { "periods": 0, "throttled_periods": 0, "throttled_time": 0 },
        });
    };
    let mut shown = json!({
        "cpu_usage": {
            "total_usage": sample.cpu_total,
            "usage_in_kernelmode": sample.cpu_kernel,
            "usage_in_usermode": sample.cpu_user,
        },
        "throttling_data": { "periods": 0, "throttled_periods": 0, "throttled_time": 0 },
    });
    if sample.running {
        shown["system_cpu_usage"] = json!(sample.system_cpu);
        shown["online_cpus"] = json!(sample.online_cpus);
    }
    shown
}

/// One answer of `stats`; `before` is the reading that percentages are reckoned from.
pub(crate) fn stats(sample: &Sample, before: Option<&Sample>, unified: bool) -> Value {
    let networks: Map<String, Value> = sample
        .networks
        .iter()
        .map(|(name, counters)| {
            let [rx, rx_packets, rx_errors, rx_dropped, tx, tx_packets, tx_errors, tx_dropped] = counters;
            let shown = json!({
                "rx_bytes": rx, "rx_packets": rx_packets, "rx_errors": rx_errors, "rx_dropped": rx_dropped,
                "tx_bytes": tx, "tx_packets": tx_packets, "tx_errors": tx_errors, "tx_dropped": tx_dropped,
            });
            (name.clone(), shown)
        })
        .collect();
    let block_io: Vec<Value> = sample
        .block_io
        .iter()
        .map(|(major, minor, operation, bytes)| {
            json!({ "major": major, "minor": minor, "op": operation, "value": bytes })
        })
        .collect();
    let mut memory = json!({});
    if sample.running {
        memory = json!({ "usage": sample.memory_usage, "stats": sample.memory_stats, "limit": sample.memory_limit });
        if !unified {
            memory["max_usage"] = json!(sample.memory_max_usage);
        }
    }
    let mut pids = json!({});
    if sample.running {
        pids = json!({ "current": sample.pids });
        if sample.pids_limit > 0 {
            pids["limit"] = json!(sample.pids_limit);
        }
    }
    // What version 2 of the kernel's control groups does not tell is null, and so is all of one that does not run.
    let unknown = || {
        if sample.running && !unified {
            json!([])
        } else {
            Value::Null
        }
    };
    let block_io = json!({
        "io_service_bytes_recursive": if sample.running { Value::Array(block_io) } else { Value::Null },
        "io_serviced_recursive": unknown(),
        "io_queue_recursive": unknown(),
        "io_service_time_recursive": unknown(),
        "io_wait_time_recursive": unknown(),
        "io_merged_recursive": unknown(),
        "io_time_recursive": unknown(),
        "sectors_recursive": unknown(),
    });
    let mut shown = json!({
        "id": sample.id,
        "name": format!("/{}", sample.name),
        "read": sample.read.to_string(),
        "preread": before.map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), |before| before.read.to_string()),
        "pids_stats": pids,
        "blkio_stats": block_io,
        "num_procs": 0,
        "storage_stats": {},
        "cpu_stats": cpu(Some(sample)),
        "precpu_stats": cpu(before),
        "memory_stats": memory,
    });
    if !networks.is_empty() {
        shown["networks"] = Value::Object(networks);
    }
    shown
}
