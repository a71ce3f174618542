//! Routes that say no plainly, and what older versions of the API get.

use serde_json::json;
use testkit::Engine;

use super::Case;
use super::http::{get, remove, run, send};

pub(super) const CASES: &[Case] = &[
    ("unknown_routes_are_told", unknown_routes),
    ("numbers_that_cannot_be_are_told", numbers),
    ("a_snapshot_is_foreseen_and_not_made", foreseen),
    ("an_engine_outside_a_swarm", swarm),
    ("older_versions_get_older_shapes", older_shapes),
    ("fields_that_are_not_granted_are_told", fields),
    ("disk_usage_of_one_kind", disk_usage),
    ("wait_conditions", wait),
    ("logs_by_time_and_number", logs),
    ("stats_once_and_flowing", stats),
    ("info_and_version_are_complete", info),
];

fn unknown_routes(engine: &Engine) {
    for (method, path) in [
        ("GET", "/nothing"),
        ("GET", "/v1.41/nothing"),
        ("POST", "/containers/json"),
        ("DELETE", "/info"),
        ("PATCH", "/volumes"),
        ("GET", "/containers//json"),
        ("GET", "/"),
    ] {
        let answer = send(engine, method, path, None).expect(404);
        assert_eq!(answer.message(), "page not found", "{method} {path}");
    }
    assert!(
        get(engine, "/v1.99/info")
            .expect(400)
            .message()
            .contains("is too new. Maximum supported API version is")
    );
    assert!(
        get(engine, "/v1.23/info")
            .expect(400)
            .message()
            .contains("is too old. Minimum supported API version is 1.24")
    );
    for path in ["/session", "/grpc"] {
        assert!(
            send(engine, "POST", path, None)
                .expect(501)
                .message()
                .contains("BuildKit")
        );
    }
}

fn foreseen(engine: &Engine) {
    let volume = json!({"Name": "foreseen"});
    send(engine, "POST", "/volumes/create", Some(&volume)).expect(201);
    let plan = |volume: &str| {
        let wanted = json!({ "Volumes": [volume] });
        send(engine, "POST", "/orlop/v1/snapshots/plan", Some(&wanted))
    };
    // It is empty: nothing will be copied, whatever the filesystem.
    assert_eq!(plan("foreseen").expect(200).json(), json!({"Warnings": []}));
    plan("nothing").expect(404);
    let made = get(engine, "/orlop/v1/snapshots?volume=foreseen").expect(200);
    assert_eq!(made.json(), json!({"Snapshots": []}));
}

fn swarm(engine: &Engine) {
    let no_manager = "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again.";
    for (method, path) in [
        ("GET", "/swarm"),
        ("GET", "/nodes"),
        ("GET", "/nodes/x"),
        ("DELETE", "/nodes/x"),
        ("POST", "/nodes/x/update"),
        ("GET", "/services"),
        ("POST", "/services/create"),
        ("GET", "/services/x/logs"),
        ("GET", "/tasks/x"),
        ("GET", "/secrets"),
        ("POST", "/secrets/create"),
        ("DELETE", "/configs/x"),
        ("GET", "/swarm/unlockkey"),
    ] {
        let answer = send(engine, method, path, Some(&json!({}))).expect(503);
        assert_eq!(answer.message(), no_manager, "{method} {path}");
    }
    assert_eq!(
        send(engine, "POST", "/swarm/leave", None)
            .expect(503)
            .message(),
        "This node is not part of a swarm"
    );
    send(engine, "POST", "/swarm/init", Some(&json!({}))).expect(501);
    assert_eq!(
        get(engine, "/info").json()["Swarm"]["LocalNodeState"],
        "inactive"
    );
}

fn older_shapes(engine: &Engine) {
    let image = |version: &str, field: &str| {
        get(engine, &format!("/v{version}/images/busybox/json"))
            .expect(200)
            .json()
            .pointer(field)
            .cloned()
    };
    assert!(image("1.43", "/VirtualSize").is_some());
    assert!(image("1.44", "/VirtualSize").is_none());
    assert_eq!(image("1.44", "/Container"), Some(json!("")));
    assert!(image("1.45", "/Container").is_none());
    // docker-compose 1 asks for the newest version and cannot do without it.
    assert_eq!(image("1.50", "/ContainerConfig"), Some(json!({})));
    assert!(image("1.49", "/Config/Tty").is_some());
    assert!(image("1.50", "/Config/Tty").is_none());
    assert!(image("1.50", "/Config/Cmd").is_some());
    let info = |version: &str, field: &str| {
        get(engine, &format!("/v{version}/info"))
            .json()
            .get(field)
            .cloned()
    };
    assert!(info("1.50", "BridgeNfIptables").is_none());
    assert_eq!(info("1.49", "BridgeNfIptables"), Some(json!(false)));
    assert!(info("1.48", "FirewallBackend").is_none());
    assert!(info("1.49", "FirewallBackend").is_some());
    // A field that the version does not have is not there, whatever the client says.
    let body = json!({
        "Image": "busybox", "Cmd": ["true"],
        "Healthcheck": { "Test": ["CMD", "true"], "StartInterval": 7_000_000_000_i64, "Interval": 1_000_000_000 },
    });
    for (version, shown) in [("1.43", false), ("1.44", true)] {
        let name = format!("older-{}", version.replace('.', "-"));
        send(
            engine,
            "POST",
            &format!("/v{version}/containers/create?name={name}"),
            Some(&body),
        )
        .expect(201);
        let check =
            get(engine, &format!("/containers/{name}/json")).json()["Config"]["Healthcheck"]
                .clone();
        assert_eq!(check.get("StartInterval").is_some(), shown, "{version}");
        remove(engine, &name);
    }
    // An invalid condition was ignored once.
    let path = |version| format!("/v{version}/containers/older/wait?condition=odd");
    send(
        engine,
        "POST",
        "/containers/create?name=older",
        Some(&json!({ "Image": "busybox", "Cmd": ["true"] })),
    )
    .expect(201);
    send(engine, "POST", &path("1.29"), None).expect(200);
    send(engine, "POST", &path("1.30"), None).expect(400);
    remove(engine, "older");
}

fn fields(engine: &Engine) {
    let create = |host: serde_json::Value| {
        let body = json!({ "Image": "busybox", "Cmd": ["true"], "HostConfig": host });
        send(
            engine,
            "POST",
            "/containers/create?name=fields",
            Some(&body),
        )
    };
    for host in [
        json!({ "CgroupParent": "/mine" }),
        json!({ "StorageOpt": { "size": "1G" } }),
        json!({ "CpuRealtimePeriod": 1000 }),
        json!({ "Isolation": "hyperv" }),
        json!({ "Runtime": "kata" }),
        json!({ "IOMaximumIOps": 5 }),
    ] {
        let answer = create(host.clone());
        assert_eq!(answer.status, 400, "{host}");
    }
    let answer = create(json!({ "CpuPercent": 5, "KernelMemoryTCP": 1 })).expect(201);
    assert_eq!(answer.json()["Warnings"].as_array().unwrap().len(), 2);
    remove(engine, "fields");
}

fn disk_usage(engine: &Engine) {
    let usage = get(engine, "/system/df?type=volume").expect(200).json();
    assert!(usage["Volumes"].is_array());
    assert!(usage["Images"].is_null() && usage["Containers"].is_null());
    let all = get(engine, "/system/df").expect(200).json();
    for kind in ["Images", "Containers", "Volumes", "BuildCache"] {
        assert!(all[kind].is_array(), "{kind}");
    }
    // The parameter came with 1.42.
    let old = get(engine, "/v1.41/system/df?type=volume")
        .expect(200)
        .json();
    assert!(old["Images"].is_array() && old["BuilderSize"].is_number());
    assert!(all.get("BuilderSize").is_none());
    assert_eq!(
        get(engine, "/system/df?type=odd").expect(400).message(),
        "unknown object type: odd"
    );
}

fn wait(engine: &Engine) {
    let body = json!({ "Image": "busybox", "Cmd": ["sh", "-c", "exit 7"] });
    send(
        engine,
        "POST",
        "/containers/create?name=waited",
        Some(&body),
    )
    .expect(201);
    // Created is not running: told at once.
    let now = send(engine, "POST", "/containers/waited/wait", None).expect(200);
    assert_eq!(now.json()["StatusCode"], 0);
    std::thread::scope(|scope| {
        let waits = ["next-exit", "removed"].map(|condition| {
            let path = format!("/containers/waited/wait?condition={condition}");
            scope.spawn(move || send(engine, "POST", &path, None).expect(200).json())
        });
        // The waiters are there when their heads have come; a second pair is as good a sign.
        testkit::until("it has ended", || {
            send(engine, "POST", "/containers/waited/start", None);
            let state = get(engine, "/containers/waited/json").json()["State"].clone();
            (state["Status"] == "exited" && state["ExitCode"] == 7 && waits[0].is_finished())
                .then_some(())
        });
        testkit::until("it is removed", || {
            (send(engine, "DELETE", "/containers/waited?force=1", None).status == 404).then_some(())
        });
        for answer in waits {
            assert_eq!(answer.join().unwrap()["StatusCode"], 7);
        }
    });
    send(engine, "POST", "/containers/waited/wait", None).expect(404);
}

fn logs(engine: &Engine) {
    run(
        engine,
        "logged",
        &json!({ "Image": "busybox", "Cmd": ["sh", "-c", "for i in 1 2 3 4 5; do echo line $i; done; echo bad >&2"] }),
    );
    send(engine, "POST", "/containers/logged/wait", None).expect(200);
    let text = |query: &str| {
        let answer = get(engine, &format!("/containers/logged/logs?{query}")).expect(200);
        // Frames of eight bytes of head and their line.
        let mut lines = String::new();
        let mut rest = answer.body.as_slice();
        while let Some((head, tail)) = rest.split_first_chunk::<8>() {
            let length = u32::from_be_bytes([head[4], head[5], head[6], head[7]]) as usize;
            lines.push_str(&String::from_utf8_lossy(&tail[..length]));
            rest = &tail[length..];
        }
        lines
    };
    let all = text("stdout=1&stderr=1");
    assert_eq!(all.lines().count(), 6, "{all}");
    assert_eq!(text("stdout=1&tail=2"), "line 4\nline 5\n");
    assert_eq!(text("stdout=1&tail=0"), "");
    assert_eq!(text("stderr=1"), "bad\n");
    assert_eq!(text("stdout=1&since=4102444800"), "");
    assert_eq!(text("stdout=1&until=1"), "");
    assert_eq!(text("stdout=1&stderr=1&until=4102444800"), all);
    // Somebody who follows what has ended gets its end, also with a limit in the future.
    assert_eq!(text("stdout=1&stderr=1&follow=1&until=4102444800"), all);
    let stamped = text("stdout=1&timestamps=1&tail=1");
    let (stamp, line) = stamped.split_once(' ').unwrap();
    assert_eq!(
        (stamp.len(), line),
        ("2024-01-01T00:00:00.000000000Z".len(), "line 5\n")
    );
    // From the very moment of the last line on.
    assert_eq!(text(&format!("stdout=1&since={stamp}")), "line 5\n");
    get(engine, "/containers/logged/logs").expect(400);
    get(engine, "/containers/logged/logs?stdout=1&since=soon").expect(400);
    assert!(
        get(engine, "/v1.41/containers/logged/logs?stdout=1")
            .head
            .contains("application/vnd.docker.raw-stream")
    );
    assert!(
        get(engine, "/v1.42/containers/logged/logs?stdout=1")
            .head
            .contains("application/vnd.docker.multiplexed-stream")
    );
    remove(engine, "logged");
}

fn stats(engine: &Engine) {
    run(
        engine,
        "measured",
        &json!({ "Image": "busybox", "Cmd": ["sleep", "1000"] }),
    );
    let once = get(engine, "/containers/measured/stats?stream=0&one-shot=1")
        .expect(200)
        .json();
    assert_eq!(once["preread"], "0001-01-01T00:00:00Z");
    assert!(once["memory_stats"]["usage"].as_u64().unwrap() > 0);
    assert!(once["pids_stats"]["current"].as_u64().unwrap() >= 1);
    let twice = get(engine, "/containers/measured/stats?stream=0")
        .expect(200)
        .json();
    assert_ne!(twice["preread"], "0001-01-01T00:00:00Z");
    remove(engine, "measured");
    get(engine, "/containers/measured/stats?stream=0").expect(404);
}

fn info(engine: &Engine) {
    let info = get(engine, "/info").expect(200).json();
    for field in [
        "ID",
        "Containers",
        "ContainersRunning",
        "ContainersPaused",
        "ContainersStopped",
        "Images",
        "Driver",
        "DriverStatus",
        "Plugins",
        "MemoryLimit",
        "SwapLimit",
        "CpuCfsPeriod",
        "CpuCfsQuota",
        "CPUShares",
        "CPUSet",
        "PidsLimit",
        "IPv4Forwarding",
        "Debug",
        "NFd",
        "OomKillDisable",
        "NGoroutines",
        "SystemTime",
        "LoggingDriver",
        "CgroupDriver",
        "CgroupVersion",
        "NEventsListener",
        "KernelVersion",
        "OperatingSystem",
        "OSVersion",
        "OSType",
        "Architecture",
        "IndexServerAddress",
        "RegistryConfig",
        "NCPU",
        "MemTotal",
        "GenericResources",
        "DockerRootDir",
        "HttpProxy",
        "HttpsProxy",
        "NoProxy",
        "Name",
        "Labels",
        "ExperimentalBuild",
        "ServerVersion",
        "Runtimes",
        "DefaultRuntime",
        "Swarm",
        "LiveRestoreEnabled",
        "Isolation",
        "InitBinary",
        "ContainerdCommit",
        "RuncCommit",
        "InitCommit",
        "SecurityOptions",
        "DefaultAddressPools",
        "FirewallBackend",
        "CDISpecDirs",
        "DiscoveredDevices",
        "Warnings",
    ] {
        assert!(info.get(field).is_some(), "{field}");
    }
    assert!(info["RegistryConfig"]["IndexConfigs"]["docker.io"]["Official"] == true);
    let version = get(engine, "/version").expect(200).json();
    for field in [
        "Platform",
        "Components",
        "Version",
        "ApiVersion",
        "MinAPIVersion",
        "GitCommit",
        "GoVersion",
        "Os",
        "Arch",
        "KernelVersion",
        "BuildTime",
    ] {
        assert!(version.get(field).is_some(), "{field}");
    }
    assert_eq!(version["Components"][0]["Name"], "Engine");
    let ping = send(engine, "HEAD", "/_ping", None).expect(200);
    assert!(ping.body.is_empty());
    for header in [
        "api-version: 1.",
        "swarm: inactive",
        "ostype: linux",
        "builder-version: 1",
        "cache-control: no-cache",
    ] {
        assert!(ping.head.to_lowercase().contains(header), "{header}");
    }
}

fn numbers(engine: &Engine) {
    send(
        engine,
        "POST",
        "/volumes/create",
        Some(&json!({"Name": "numbers"})),
    )
    .expect(201);
    for (path, message) in [
        ("chown", "missing parameter: uid"),
        ("chown?uid=-1", "invalid value \"-1\" for uid"),
        (
            "chown?uid=4294967295",
            "invalid value \"4294967295\" for uid",
        ),
        (
            "chown?uid=1&gid=4294967295",
            "invalid value \"4294967295\" for gid",
        ),
        ("resize", "missing parameter: size"),
        ("resize?size=-1", "invalid size: '-1'"),
        (
            "resize?size=9223372036854775807",
            "invalid size: '9223372036854775807'",
        ),
    ] {
        let path = format!("/orlop/v1/volumes/numbers/{path}");
        let answer = send(engine, "POST", &path, None).expect(400);
        assert_eq!(answer.message(), message, "{path}");
    }
    for size in [json!(-1), json!(u64::MAX), json!(true)] {
        let pool = json!({"Name": "numbers", "Kind": "btrfs", "Size": size});
        let answer = send(engine, "POST", "/orlop/v1/pools", Some(&pool)).expect(400);
        assert!(answer.message().contains("invalid size"), "{size}");
    }
    send(engine, "DELETE", "/volumes/numbers", None).expect(204);
}
