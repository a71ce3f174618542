//! Many at once: what they cost while they are there, and what is left of them.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use testkit::{Engine, until, until_or_late};

use super::Case;
use super::http::{connect, get, remove, run, send};

pub(super) const CASES: &[Case] = &[
    ("streams_and_watchers_cost_no_thread_each", no_thread_each),
    ("a_watcher_that_does_not_read", slow_watcher),
    ("an_attached_client_that_does_not_read", slow_reader),
    ("health_of_many_costs_no_thread_each", many_healthchecks),
    ("two_hundred_containers_leave_nothing", churn),
];

/// A line of /proc/PID/status as a number.
fn status(engine: &Engine, field: &str) -> usize {
    let text = fs::read_to_string(format!("/proc/{}/status", engine.pid())).unwrap();
    let line = text.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn threads(engine: &Engine) -> usize {
    status(engine, "Threads:")
}

/// Threads that may be there for work of all kinds, however many clients there are.
const POOL: usize = 270;

/// Threads that do not belong to the pool of those who serve requests.
fn own_threads(engine: &Engine) -> usize {
    fs::read_dir(format!("/proc/{}/task", engine.pid()))
        .unwrap()
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("comm")).ok())
        .filter(|name| !name.starts_with("tokio"))
        .count()
}

fn head_of(stream: &mut UnixStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

fn watch(engine: &Engine, kind: &str) -> UnixStream {
    let mut stream = connect(engine);
    let filters = format!("%7B%22type%22:%5B%22{kind}%22%5D%7D");
    // The connection ends with the answer, or else only when it has been idle for a minute.
    let request =
        format!("GET /events?filters={filters} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    assert!(head_of(&mut stream).starts_with("HTTP/1.1 200 "));
    stream
}

fn attach(engine: &Engine, container: &str) -> UnixStream {
    let mut stream = connect(engine);
    let request = format!(
        "POST /containers/{container}/attach?stream=1&stdout=1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let head = head_of(&mut stream);
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    stream
}

fn make_and_remove_volume(engine: &Engine, name: &str) {
    send(
        engine,
        "POST",
        "/volumes/create",
        Some(&json!({ "Name": name })),
    )
    .expect(201);
    send(engine, "DELETE", &format!("/volumes/{name}"), None).expect(204);
}

fn no_thread_each(engine: &Engine) {
    run(
        engine,
        "speaker",
        &json!({ "Image": "busybox", "Cmd": ["sh", "-c", "while [ ! -e /go ]; do sleep 0.05; done; echo spoken; sleep 1000"] }),
    );
    let before = threads(engine);
    let mut attached: Vec<_> = (0..500).map(|_| attach(engine, "speaker")).collect();
    let mut watchers: Vec<_> = (0..200).map(|_| watch(engine, "volume")).collect();
    assert!(
        get(engine, "/info").json()["NEventsListener"]
            .as_u64()
            .unwrap()
            >= 200
    );
    let with_all = threads(engine);
    assert!(
        with_all < before + POOL,
        "{before} threads before, {with_all} with 700 streams"
    );
    // All of them are served.
    make_and_remove_volume(engine, "watched");
    for stream in &mut watchers {
        let mut text = Vec::new();
        let mut buffer = [0; 4096];
        while !String::from_utf8_lossy(&text).contains("\"destroy\"") {
            let count = stream.read(&mut buffer).unwrap();
            assert!(count > 0);
            text.extend_from_slice(&buffer[..count]);
        }
    }
    let exec = send(
        engine,
        "POST",
        "/containers/speaker/exec",
        Some(&json!({ "Cmd": ["touch", "/go"] })),
    )
    .expect(201)
    .json()["Id"]
        .as_str()
        .unwrap()
        .to_owned();
    send(
        engine,
        "POST",
        &format!("/exec/{exec}/start"),
        Some(&json!({ "Detach": true })),
    )
    .expect(200);
    for stream in &mut attached {
        let mut frame = [0; 15];
        stream.read_exact(&mut frame).unwrap();
        assert_eq!(&frame[8..], b"spoken\n");
    }
    drop((attached, watchers));
    remove(engine, "speaker");
}

fn slow_watcher(engine: &Engine) {
    // More than is kept for one watcher.
    const ROUNDS: usize = 8000;
    run(
        engine,
        "sized",
        &json!({ "Image": "busybox", "Cmd": ["sleep", "1000"], "Tty": true }),
    );
    let slow: Vec<_> = (0..20).map(|_| watch(engine, "container")).collect();
    let mut quick = watch(engine, "container");
    let before = status(engine, "VmRSS:");
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let (mut seen, mut tail) = (0, Vec::new());
            let mut buffer = [0; 65536];
            while seen < ROUNDS {
                let count = quick.read(&mut buffer).unwrap();
                assert!(count > 0, "a watcher that reads was cut off after {seen}");
                tail.extend_from_slice(&buffer[..count]);
                let text = String::from_utf8_lossy(&tail).into_owned();
                let whole = text.rfind('\n').map_or(0, |at| at + 1);
                seen += text[..whole].matches("\"Action\":\"resize\"").count();
                tail.drain(..whole);
            }
        });
        for _ in 0..4 {
            scope.spawn(|| {
                while next.fetch_add(1, Ordering::Relaxed) < ROUNDS {
                    send(engine, "POST", "/containers/sized/resize?h=24&w=80", None).expect(200);
                }
            });
        }
        reader.join().unwrap();
    });
    let after = status(engine, "VmRSS:");
    assert!(
        after < before + (96 << 10),
        "{before} kB before, {after} kB after what nobody read"
    );
    // Those that did not read find what was sent before they fell behind, and then an end.
    for mut stream in slow {
        let mut text = Vec::new();
        stream.read_to_end(&mut text).unwrap();
        let seen = String::from_utf8_lossy(&text);
        let seen = seen.matches("\"Action\":\"resize\"").count();
        assert!((1..ROUNDS).contains(&seen), "{seen} of {ROUNDS}");
        assert!(
            text.ends_with(b"\r\n0\r\n\r\n"),
            "it ends as an answer does"
        );
    }
    remove(engine, "sized");
}

fn slow_reader(engine: &Engine) {
    run(
        engine,
        "chatty",
        &json!({ "Image": "busybox", "Cmd": ["sh", "-c", "while [ ! -e /go ]; do sleep 0.05; done; dd if=/dev/zero bs=64k count=200 2>/dev/null; touch /done; sleep 1000"], "HostConfig": { "LogConfig": { "Type": "none" } } }),
    );
    let before = status(engine, "VmRSS:");
    let slow = attach(engine, "chatty");
    let exec = |command: &[&str]| {
        let id = send(
            engine,
            "POST",
            "/containers/chatty/exec",
            Some(&json!({ "Cmd": command })),
        )
        .expect(201)
        .json()["Id"]
            .as_str()
            .unwrap()
            .to_owned();
        send(
            engine,
            "POST",
            &format!("/exec/{id}/start"),
            Some(&json!({ "Detach": true })),
        )
        .expect(200);
        until("the exec has ended", || {
            get(engine, &format!("/exec/{id}/json")).json()["ExitCode"].as_i64()
        })
    };
    exec(&["touch", "/go"]);
    // The client that does not read is dropped, and the container comes to its end.
    until("everything is written", || {
        (exec(&["test", "-e", "/done"]) == 0).then_some(())
    });
    let after = status(engine, "VmRSS:");
    assert!(after < before + (32 << 10), "{before} kB, then {after} kB");
    drop(slow);
    remove(engine, "chatty");
}

fn many_healthchecks(engine: &Engine) {
    const MANY: usize = 30;
    let names = |prefix: &str| {
        (0..MANY)
            .map(|number| format!("{prefix}{number}"))
            .collect::<Vec<_>>()
    };
    // The threads that hear the shims have names: others come and go.
    let start = |prefix: &str, config: &serde_json::Value| {
        for name in names(prefix) {
            run(engine, &name, config);
        }
        own_threads(engine)
    };
    let config = json!({ "Image": "busybox", "Cmd": ["sleep", "1000"], "HostConfig": { "NetworkMode": "none" } });
    let plain = start("plain", &config);
    names("plain").iter().for_each(|name| remove(engine, name));
    let mut checked = config;
    checked["Healthcheck"] =
        json!({ "Test": ["CMD", "true"], "Interval": 500_000_000, "Timeout": 5_000_000_000_i64 });
    let with_checks = start("checked", &checked);
    for number in 0..MANY {
        until("it is healthy", || {
            let state = get(engine, &format!("/containers/checked{number}/json")).json();
            (state["State"]["Health"]["Status"] == "healthy").then_some(())
        });
    }
    assert!(
        with_checks < plain + MANY,
        "{plain} threads for {MANY} containers, {with_checks} with health checks"
    );
    names("checked")
        .iter()
        .for_each(|name| remove(engine, name));
}

/// Open files of the engine, but for the database: as many readers of it as were ever needed at once stay open.
fn descriptors(process: &Path) -> usize {
    fs::read_dir(process.join("fd"))
        .unwrap()
        .flatten()
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .filter(|target| !target.to_string_lossy().contains("orlop.db"))
        .count()
}

/// Everything that a container takes, counted.
fn taken(engine: &Engine) -> BTreeMap<&'static str, usize> {
    let tag = engine.tag();
    let entries = |path: &Path| fs::read_dir(path).map_or(0, Iterator::count);
    let lines = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output().unwrap();
        String::from_utf8_lossy(&output.stdout).lines().count()
    };
    let cgroups: usize = fs::read_dir("/sys/fs/cgroup")
        .unwrap()
        .flatten()
        .map(|controller| {
            let group = controller.path().join(format!("orlop-{tag}"));
            fs::read_dir(group).map_or(0, |entries| {
                entries
                    .flatten()
                    .filter(|entry| entry.path().is_dir())
                    .count()
            })
        })
        .sum();
    let process = PathBuf::from(format!("/proc/{}", engine.pid()));
    // Those of other tests on this machine are not ours: only what this engine's shims hold.
    let shims = fs::read_dir(Path::new("/run/orlop").join(&tag)).map_or(0, Iterator::count);
    BTreeMap::from([
        (
            "mounts",
            fs::read_to_string(process.join("mountinfo"))
                .unwrap()
                .lines()
                .count(),
        ),
        ("descriptors", descriptors(&process)),
        ("run directories", shims),
        ("cgroups", cgroups),
        ("interfaces", lines("ip", &["-o", "link"])),
        ("firewall elements", lines("nft", &["list", "ruleset"])),
        (
            "container directories",
            entries(&engine.root.join("containers")),
        ),
        ("staging", entries(&engine.root.join("staging"))),
        ("trash", entries(&engine.root.join("trash"))),
        // Their bytes are in the trash of volumes, which is another matter.
        (
            "volumes",
            get(engine, "/volumes").json()["Volumes"]
                .as_array()
                .map_or(0, Vec::len),
        ),
    ])
}

fn churn(engine: &Engine) {
    const CLIENTS: usize = 20;
    const CONTAINERS: usize = 200;
    let life = |name: &str| {
        let config = json!({
            "Image": "busybox",
            "Cmd": ["sh", "-c", "echo hello > /data/x; sleep 1000"],
            "Volumes": { "/data": {} },
            "ExposedPorts": { "80/tcp": {} },
            "HostConfig": { "PortBindings": { "80/tcp": [{ "HostPort": "" }] } },
        });
        run(engine, name, &config);
        send(engine, "POST", &format!("/containers/{name}/kill"), None).expect(204);
        send(engine, "POST", &format!("/containers/{name}/wait"), None).expect(200);
        send(engine, "DELETE", &format!("/containers/{name}?v=1"), None).expect(204);
    };
    let settled = || {
        let mut last = taken(engine);
        until_or_late(|| {
            let now = taken(engine);
            let same = now == last;
            last = now;
            same.then_some(())
        });
        last
    };
    let churn = |prefix: &str, containers: usize| {
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= containers {
                            return;
                        }
                        life(&format!("{prefix}{number}"));
                    }
                });
            }
        });
    };
    // Before counting: what the first containers make for all of them stays, and so do the readers of the database.
    churn("first", 2 * CLIENTS);
    let before = settled();
    churn("churn", CONTAINERS);
    let mut after = BTreeMap::new();
    let clean = until_or_late(|| {
        after = taken(engine);
        after
            .iter()
            .all(|(what, count)| *count <= before[what])
            .then_some(())
    });
    assert!(clean.is_some(), "before {before:#?}, after {after:#?}");
    assert_eq!(get(engine, "/containers/json?all=1").json(), json!([]));
}
