//! Containers whose engine, shim or client goes away.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use rustix::process::{Pid, Signal};
use testkit::libtest_mimic::Trial;
use testkit::{Client, Engine, Running, binary, until};

use super::Scene;

pub(super) type Test = (&'static str, fn(&mut Scene));

const TESTS: &[Test] = &[
    (
        "containers_outlive_the_engine",
        containers_outlive_the_engine,
    ),
    (
        "an_end_while_the_engine_is_away_is_recorded",
        an_end_while_away,
    ),
    ("rm_while_the_engine_is_away", rm_while_away),
    (
        "restart_policies_while_the_engine_is_away",
        restart_while_away,
    ),
    (
        "a_terminal_survives_nothing_but_its_container_does",
        terminal,
    ),
    ("a_killed_shim_takes_its_container_along", killed_shim),
    (
        "a_shim_killed_while_the_engine_is_away",
        killed_shim_while_away,
    ),
    ("everything_killed_at_once", everything_killed),
    ("a_reboot", reboot),
    ("names_while_the_engine_is_away", names_while_away),
    ("networks_after_a_reboot", networks_after_a_reboot),
    ("a_killed_client", killed_client),
    ("killed_again_and_again", killed_again_and_again),
    ("one_engine_for_each_root", one_engine),
    ("a_socket_that_another_engine_has", socket_of_another),
    ("an_engine_that_ends_by_signal", terminated),
    ("a_socket_of_the_service_managers", activated),
];

pub(super) fn trials(tags: &Arc<Mutex<Vec<String>>>) -> Vec<Trial> {
    TESTS
        .iter()
        .chain(super::evident::TESTS)
        .chain(super::held::TESTS)
        .chain(super::restarts::TESTS)
        .map(|&(name, test)| {
            let tags = Arc::clone(tags);
            Trial::test(name, move || {
                let mut scene = Scene::new(name, &tags);
                test(&mut scene);
                scene.check_invariants();
                Ok(())
            })
        })
        .collect()
}

pub(super) fn kill(pid: i32) {
    rustix::process::kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
}

pub(super) fn pid_of(scene: &Scene, container: &str) -> i32 {
    scene.inspect(container, "{{.State.Pid}}").parse().unwrap()
}

pub(super) fn lives(pid: i32) -> bool {
    let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    state
        .rsplit(") ")
        .next()
        .is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['Z', 'X']))
}

/// Interfaces on this engine's bridge.
fn ports(scene: &Scene) -> usize {
    let bridge = format!("orl-{}", &scene.engine.tag()[..8]);
    let listed = Command::new("ip")
        .args(["-o", "link", "show", "master", &bridge])
        .output()
        .unwrap();
    String::from_utf8_lossy(&listed.stdout).lines().count()
}

/// Cgroups of one container.
fn groups(scene: &Scene, id: &str) -> Vec<String> {
    let tag = scene.engine.tag();
    let roots = fs::read_dir("/sys/fs/cgroup").unwrap().flatten();
    roots
        .map(|controller| controller.path().join(format!("orlop-{tag}")).join(id))
        .filter(|group| group.exists())
        .map(|group| group.display().to_string())
        .collect()
}

fn containers_outlive_the_engine(scene: &mut Scene) {
    let script = "i=0; while :; do i=$((i+1)); echo line $i; sleep 0.02; done";
    scene
        .run_and(
            "run -d --name it -v data:/data -p 127.0.0.1:18300:80 busybox sh -c",
            &[script],
        )
        .ok();
    scene
        .run_and(
            "exec -d it sh -c",
            &["mkdir -p /www; echo page > /www/page; httpd -p 80 -h /www"],
        )
        .ok();
    let page = || {
        let output = Command::new("curl")
            .args(["-sS", "--max-time", "5", "http://127.0.0.1:18300/page"])
            .output()
            .unwrap();
        (output.stdout == b"page\n").then_some(())
    };
    until("the page is served", page);
    let pid = pid_of(scene, "it");
    let lines = |scene: &Scene| scene.run("logs it").ok().lines().count();
    scene.engine.kill();
    assert!(lives(pid));
    until("the page is served without an engine", page);
    scene.engine.resume();
    assert_eq!(pid_of(scene, "it"), pid);
    assert!(scene.run("ps").ok().contains("   Up "));
    let before = lines(scene);
    until("the log goes on", || (lines(scene) > before).then_some(()));
    let log = scene.run("logs it").ok();
    let numbers: Vec<u32> = log
        .lines()
        .map(|line| line.rsplit(' ').next().unwrap().parse().unwrap())
        .collect();
    assert!(
        numbers[0] == 1 && numbers.windows(2).all(|pair| pair[1] == pair[0] + 1),
        "no line is lost"
    );
    scene.run("exec it true").ok();
    scene.run("volume rm data").fails(1, "volume is in use");
    scene.run("stats --no-stream it").ok();
    scene.run("pause it").ok();
    scene.engine.kill();
    scene.engine.resume();
    assert_eq!(scene.inspect("it", "{{.State.Status}}"), "paused");
    scene.run("unpause it").ok();
    until("the page is still served", page);
    scene.run("stop -t 0 it").ok();
    assert_eq!(scene.inspect("it", "{{.State.ExitCode}}"), "137");
    assert!(page().is_none());
    scene.run("rm it").ok();
}

fn an_end_while_away(scene: &mut Scene) {
    let script = "while [ ! -f /data/end ]; do sleep 0.02; done; echo last words; exit 23";
    scene
        .run_and("run -d --name it -v data:/data busybox sh -c", &[script])
        .ok();
    let pid = pid_of(scene, "it");
    scene.engine.kill();
    fs::write(scene.engine.root.join("volumes/data/_data/end"), "").unwrap();
    until("the container ends", || (!lives(pid)).then_some(()));
    scene.engine.resume();
    scene.until_inspect(
        "it",
        "{{.State.Status}} {{.State.ExitCode}} {{.State.OOMKilled}}",
        "exited 23 false",
    );
    assert_eq!(scene.run("logs it").ok(), "last words");
    assert_eq!(scene.run("wait it").ok(), "23");
    let finished = scene.inspect("it", "{{.State.FinishedAt}}");
    assert!(!finished.starts_with("0001"), "{finished}");
    scene.run("rm it").ok();
}

fn rm_while_away(scene: &mut Scene) {
    let script = "while [ ! -f /data/end ]; do sleep 0.02; done";
    scene
        .run_and(
            "run -d --rm --name it -v data:/data -v /anonymous busybox sh -c",
            &[script],
        )
        .ok();
    let pid = pid_of(scene, "it");
    scene.engine.kill();
    fs::write(scene.engine.root.join("volumes/data/_data/end"), "").unwrap();
    until("the container ends", || (!lives(pid)).then_some(()));
    scene.engine.resume();
    until("--rm is carried out", || {
        scene.run("ps -aq").ok().is_empty().then_some(())
    });
    assert_eq!(
        scene.run("volume ls -q").ok(),
        "data",
        "its anonymous volume went with it"
    );
}

fn restart_while_away(scene: &mut Scene) {
    scene
        .run_and(
            "run -d --name failing --restart on-failure:2 -v data:/data busybox sh -c",
            &["echo x >> /data/failing; while [ ! -f /data/go ]; do sleep 0.02; done; exit 3"],
        )
        .ok();
    scene
        .run_and(
            "run -d --name steady --restart always -v data:/data busybox sh -c",
            &["echo x >> /data/steady; exec sleep 1000"],
        )
        .ok();
    let data = scene.engine.root.join("volumes/data/_data");
    let count = |name: &str| {
        fs::read_to_string(data.join(name))
            .unwrap_or_default()
            .lines()
            .count()
    };
    until("both run", || {
        (count("failing") == 1 && count("steady") == 1).then_some(())
    });
    let pid = pid_of(scene, "steady");
    scene.engine.kill();
    kill(pid);
    until("it is restarted without an engine", || {
        (count("steady") == 2).then_some(())
    });
    fs::write(data.join("go"), "").unwrap();
    until("it is tried again", || {
        (count("failing") == 3).then_some(())
    });
    scene.engine.resume();
    scene.until_inspect(
        "failing",
        "{{.State.Status}} {{.State.ExitCode}} {{.RestartCount}}",
        "exited 3 2",
    );
    scene.until_inspect("steady", "{{.State.Status}} {{.RestartCount}}", "running 1");
    assert_ne!(pid_of(scene, "steady"), pid);
    // An engine that runs as a service starts what is always to run, even after a stop by hand.
    for (policy, status) in [("always", "running"), ("unless-stopped", "exited")] {
        scene.run(&format!("update --restart {policy} steady")).ok();
        scene.run("stop -t 0 steady").ok();
        scene.engine.kill();
        scene.engine.resume();
        assert_eq!(
            scene.inspect("steady", "{{.State.Status}}"),
            status,
            "{policy}"
        );
    }
    scene.run("rm failing steady").ok();
}

fn terminal(scene: &mut Scene) {
    let mut terminal = testkit::Terminal::start(&Client::Orlop.command(
        &scene.engine,
        &["run", "-it", "--name", "it", "busybox", "sh"],
    ));
    terminal.expect("/ # ");
    terminal.send("echo be''fore\r");
    terminal.expect("before");
    scene.engine.kill();
    drop(terminal);
    scene.engine.resume();
    assert_eq!(scene.inspect("it", "{{.State.Status}}"), "running");
    let mut terminal =
        testkit::Terminal::start(&Client::Orlop.command(&scene.engine, &["attach", "it"]));
    terminal.send("echo af''ter\r");
    terminal.expect("after");
    terminal.send("exit 5\r");
    assert_eq!(terminal.finish().0, 5);
    scene.run("rm it").ok();
}

fn killed_shim(scene: &mut Scene) {
    scene.run("run -d --name it -v /anonymous -m 64m --memory-swap 64m -p 127.0.0.1::80 busybox sleep 1000").ok();
    let id = scene.inspect("it", "{{.Id}}");
    let pid = pid_of(scene, "it");
    assert_eq!(ports(scene), 1);
    kill(scene.engine.shim_of(&id));
    scene.until_inspect("it", "{{.State.Status}} {{.State.ExitCode}}", "exited 137");
    until("the container is dead", || (!lives(pid)).then_some(()));
    until("its interface is gone", || {
        (ports(scene) == 0).then_some(())
    });
    until("its cgroups are gone", || {
        groups(scene, &id).is_empty().then_some(())
    });
    scene.run("start it").ok();
    scene.run("exec it true").ok();
    scene.run("rm -fv it").ok();
    assert_eq!(scene.run("volume ls -q").ok(), "");
}

fn killed_shim_while_away(scene: &mut Scene) {
    scene
        .run("run -d --name it -m 64m --memory-swap 64m busybox sleep 1000")
        .ok();
    let id = scene.inspect("it", "{{.Id}}");
    let pid = pid_of(scene, "it");
    let shim = scene.engine.shim_of(&id);
    scene.engine.kill();
    kill(shim);
    until("the container is dead", || (!lives(pid)).then_some(()));
    scene.engine.resume();
    scene.until_inspect("it", "{{.State.Status}} {{.State.ExitCode}}", "exited 137");
    until("its interface is gone", || {
        (ports(scene) == 0).then_some(())
    });
    until("its cgroups are gone", || {
        groups(scene, &id).is_empty().then_some(())
    });
    scene.run("start it").ok();
    scene.run("rm -f it").ok();
}

fn everything_killed(scene: &mut Scene) {
    let names = ["one", "two", "three"];
    let mut victims = Vec::new();
    for name in names {
        scene
            .run_and(
                &format!("run -d --name {name} -v {name}:/data busybox sh -c"),
                &["echo kept > /data/f; sync; exec sleep 1000"],
            )
            .ok();
        let file = scene.engine.root.join("volumes").join(name).join("_data/f");
        until("it has written", || {
            (fs::read_to_string(&file).unwrap_or_default() == "kept\n").then_some(())
        });
        victims.push(scene.engine.shim_of(&scene.inspect(name, "{{.Id}}")));
        victims.push(pid_of(scene, name));
    }
    scene.engine.kill();
    for victim in victims {
        // A container may have died with its shim.
        rustix::process::kill_process(Pid::from_raw(victim).unwrap(), Signal::KILL).ok();
    }
    scene.engine.resume();
    for name in names {
        scene.until_inspect(name, "{{.State.Status}} {{.State.ExitCode}}", "exited 137");
        scene.run(&format!("start {name}")).ok();
        assert_eq!(scene.run(&format!("exec {name} cat /data/f")).ok(), "kept");
    }
    scene.run("rm -f one two three").ok();
    assert_eq!(ports(scene), 0);
}

fn reboot(scene: &mut Scene) {
    scene
        .run_and(
            "run -d --name always --restart always -v data:/data busybox sh -c",
            &["echo x >> /data/starts; exec sleep 1000"],
        )
        .ok();
    scene.run("run -d --name never busybox sleep 1000").ok();
    let starts = scene.engine.root.join("volumes/data/_data/starts");
    let count = || {
        fs::read_to_string(&starts)
            .unwrap_or_default()
            .lines()
            .count()
    };
    until("it runs", || (count() == 1).then_some(()));
    let shims: Vec<i32> = ["always", "never"]
        .iter()
        .map(|name| scene.engine.shim_of(&scene.inspect(name, "{{.Id}}")))
        .collect();
    let run = std::path::Path::new("/run/orlop").join(scene.engine.tag());
    scene.engine.kill();
    for shim in shims {
        kill(shim);
        until("the shim is dead", || (!lives(shim)).then_some(()));
    }
    // What a reboot does to a tmpfs.
    fs::remove_dir_all(run).unwrap();
    scene.engine.resume();
    scene.until_inspect(
        "never",
        "{{.State.Status}} {{.State.ExitCode}}",
        "exited 137",
    );
    scene.until_inspect("always", "{{.State.Status}}", "running");
    until("it was started again", || (count() == 2).then_some(()));
    scene.run("rm -f always never").ok();
}

/// What the resolver of the container with this first process says; `None` when it does not know the name.
fn looked_up(pid: i32, name: &str) -> Option<String> {
    let output = Command::new("nsenter")
        .args([
            "-t",
            &pid.to_string(),
            "-n",
            "busybox",
            "nslookup",
            name,
            "127.0.0.11",
        ])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let answer = text.split_once("Name:")?.1;
    let address = answer
        .lines()
        .find_map(|line| line.strip_prefix("Address"))?;
    Some(address.rsplit(' ').next()?.to_owned())
}

fn names_while_away(scene: &mut Scene) {
    // Nothing is asked elsewhere, so that what is unknown is said at once.
    scene.run("network create --internal net").ok();
    scene
        .run("run -d --name web --network net --network-alias www busybox sleep 1000")
        .ok();
    scene
        .run("run -d --name it --network net busybox sleep 1000")
        .ok();
    let (web, it) = (pid_of(scene, "web"), pid_of(scene, "it"));
    let address = scene.inspect("web", "{{.NetworkSettings.Networks.net.IPAddress}}");
    assert_eq!(looked_up(it, "www"), Some(address.clone()));
    scene.engine.kill();
    for name in ["web", "www", "web.net"] {
        assert_eq!(looked_up(it, name), Some(address.clone()), "{name}");
    }
    // Who ends is forgotten without an engine. The shim wakes one when nobody hears of it, which is as well.
    kill(web);
    until("the name is gone", || {
        looked_up(it, "www").is_none().then_some(())
    });
    scene.engine.resume();
    assert!(looked_up(it, "it").is_some());
    scene.until_inspect("web", "{{.State.Status}}", "exited");
    scene.run("start web").ok();
    assert!(looked_up(it, "www").is_some());
    // A shim that is killed leaves its names to the engine.
    let shim = scene.engine.shim_of(&scene.inspect("web", "{{.Id}}"));
    scene.engine.kill();
    kill(shim);
    until("the shim is dead", || (!lives(shim)).then_some(()));
    scene.engine.resume();
    until("the name is gone", || {
        looked_up(it, "www").is_none().then_some(())
    });
    scene.run("rm -f web it").ok();
    scene.run("network rm net").ok();
}

fn networks_after_a_reboot(scene: &mut Scene) {
    let id = scene.run("network create --subnet 10.98.1.0/24 net").ok();
    scene
        .run("run -d --name it --restart always --network net --ip 10.98.1.9 -p 127.0.0.1::80 busybox sleep 1000")
        .ok();
    let shim = scene.engine.shim_of(&scene.inspect("it", "{{.Id}}"));
    let run = std::path::Path::new("/run/orlop").join(scene.engine.tag());
    scene.engine.kill();
    kill(shim);
    until("the shim is dead", || (!lives(shim)).then_some(()));
    fs::remove_dir_all(run).unwrap();
    let bridge = format!("br-{}", &id.trim()[..12]);
    for line in [
        vec!["ip", "link", "delete", &bridge],
        vec![
            "nft",
            "delete",
            "table",
            "ip",
            &format!("orlop-{}", scene.engine.tag()),
        ],
    ] {
        let status = Command::new(line[0]).args(&line[1..]).status().unwrap();
        assert!(status.success(), "{line:?}");
    }
    scene.engine.resume();
    scene.until_inspect("it", "{{.State.Status}}", "running");
    assert_eq!(
        scene.inspect("it", "{{.NetworkSettings.Networks.net.IPAddress}}"),
        "10.98.1.9"
    );
    let pid = pid_of(scene, "it");
    assert_eq!(looked_up(pid, "it").as_deref(), Some("10.98.1.9"));
    scene.run("exec it ping -c 1 -W 5 10.98.1.1").ok();
    scene.run("rm -f it").ok();
    scene.run("network rm net").ok();
}

fn killed_client(scene: &mut Scene) {
    for _ in 0..5 {
        let client = Running::start(&mut Client::Orlop.command(
            &scene.engine,
            &["run", "--rm", "-v", "/anonymous", "busybox", "sleep", "0.2"],
        ));
        client.signal(Signal::KILL);
        drop(client.finish());
    }
    until("what was started has ended", || {
        scene.run("ps -q").ok().is_empty().then_some(())
    });
    let left = scene.run("ps -aq").ok();
    // A create whose answer nobody heard leaves a container that never started; it can be removed.
    for id in left.lines() {
        scene.run(&format!("rm -v {id}")).ok();
    }
    assert_eq!(scene.run("volume ls -q").ok(), "");
}

fn killed_again_and_again(scene: &mut Scene) {
    let mut acknowledged = Vec::new();
    for round in 0..12u32 {
        let name = format!("v{round}");
        let clients: Vec<Running> = [
            vec![
                "run",
                "--rm",
                "-v",
                "shared:/data",
                "-v",
                "/anonymous",
                "busybox",
                "sh",
                "-c",
                "echo x >> /data/f",
            ],
            vec!["run", "-d", "-v", "/anonymous", "busybox", "sleep", "0.1"],
            vec!["volume", "create", &name],
        ]
        .iter()
        .map(|words| Running::start(&mut Client::Orlop.command(&scene.engine, words)))
        .collect();
        // A little later in each round; the last ones are mostly done. This is no wait for a condition.
        let begun = std::time::Instant::now();
        while begun.elapsed().as_millis() < u128::from(round * 10) {
            std::thread::yield_now();
        }
        scene.engine.kill();
        for client in clients {
            let output = client.finish();
            if output.code == 0 && output.stdout.trim() == name {
                acknowledged.push(name.clone());
            }
        }
        scene.engine.resume();
        for name in &acknowledged {
            scene.run(&format!("volume inspect {name}")).ok();
        }
    }
    until("all containers have ended", || {
        scene.run("ps -q").ok().is_empty().then_some(())
    });
    scene.check_invariants();
    let left = scene.run("ps -aq").ok();
    for id in left.lines() {
        scene.run(&format!("rm -v {id}")).ok();
    }
    let volumes = scene.run("volume ls -q").ok();
    assert!(
        volumes
            .lines()
            .all(|name| name == "shared" || name.starts_with('v')),
        "{volumes}"
    );
    assert_eq!(ports(scene), 0);
}

fn one_engine(scene: &mut Scene) {
    let second = Command::new(binary())
        .arg("serve")
        .arg("--root")
        .arg(&scene.engine.root)
        .output()
        .unwrap();
    assert!(!second.status.success());
    let text = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(text.contains("already running"), "{text}");
    // The first one does not care.
    scene.run("run --rm busybox true").ok();
    let other = Engine::start("crash-other-root");
    assert_ne!(other.tag(), scene.engine.tag());
    assert_eq!(Client::Orlop.run(&other, &["ps", "-aq"]).ok(), "");
}

/// Neither by a slip on the command line nor by what the environment says of another one.
fn socket_of_another(scene: &mut Scene) {
    let engine = &scene.engine;
    let theirs = format!("unix://{}", engine.socket().display());
    let other = engine.root.with_extension("scratch");
    let serve = |more: &[&str]| {
        Command::new(binary())
            .arg("serve")
            .arg("--root")
            .arg(&other)
            .args(more)
            .env("ORLOP_HOST", &theirs)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let refused = serve(&["-H", &theirs]).wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && said.contains("another engine answers at"),
        "{said}"
    );
    let mut beside = serve(&[]);
    until("it listens on a socket of its own", || {
        UnixStream::connect(other.join("docker.sock")).ok()
    });
    rustix::process::kill_process(Pid::from_child(&beside), Signal::TERM).unwrap();
    assert!(beside.wait().unwrap().success());
    fs::remove_dir_all(&other).unwrap();
    Client::Orlop.run(engine, &["ps"]).ok();
}

fn terminated(scene: &mut Scene) {
    scene.run("run -d --name it busybox sleep 1000").ok();
    let pid = pid_of(scene, "it");
    scene.engine.terminate();
    assert!(lives(pid));
    assert!(
        !scene.engine.socket().exists(),
        "an engine that ends takes its socket away"
    );
    scene.engine.resume();
    assert_eq!(pid_of(scene, "it"), pid);
    scene.run("rm -f it").ok();
}

/// The socket listens before there is an engine and after it; a client waits instead of failing.
fn activated(scene: &mut Scene) {
    scene.engine.terminate();
    let listener = UnixListener::bind(scene.engine.socket()).unwrap();
    for _ in 0..2 {
        // What a service manager does: the socket as descriptor 3, and two variables.
        let script = "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$@\"";
        let engine = Running::start_with(
            Command::new("sh")
                .args(["-c", script, "sh"])
                .arg(binary())
                .args(["serve", "--root"])
                .arg(&scene.engine.root),
            Stdio::from(OwnedFd::from(listener.try_clone().unwrap())),
        );
        assert_eq!(scene.run("run --rm busybox echo served").ok(), "served");
        engine.signal(Signal::TERM);
        engine.finish().ok();
        assert!(scene.engine.socket().exists());
    }
    drop(listener);
    scene.engine.resume();
}
