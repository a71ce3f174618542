//! S55–S59: what a snapshot of a server that is being written to is worth.
//!
//! A client in another container, which nobody freezes, writes numbered rows and says each number once the server has
//! acknowledged it. Whatever it had said when a snapshot was begun must be there when a second server starts on a clone of
//! that snapshot, and of what came later nothing without all that was before it.

use testkit::until;

use super::{Scenario, Scene};

pub(super) const OWN: &[Scenario] = &[
    ("S55_postgresql_on_each_rung", |scene| {
        on_each_rung(scene, &POSTGRESQL);
    }),
    ("S56_mariadb_on_each_rung", |scene| {
        on_each_rung(scene, &MARIADB);
    }),
    ("S57_redis_on_each_rung", |scene| {
        on_each_rung(scene, &REDIS);
    }),
    ("S59_hooks_that_fail_or_hang", bad_hooks),
];

/// These run on each filesystem, too.
pub(super) const EVERYWHERE: &[Scenario] = &[
    ("S58_two_volumes_at_one_instant", one_instant),
    ("S58b_writers_that_come_late", late_writers),
    ("S59b_hooks_where_they_belong", hooks_of_groups),
];

/// A server, as a user would run it.
pub(super) struct Server {
    /// Name of the ready-made hook.
    pub(super) hook: &'static str,
    mountpoint: &'static str,
    /// Makes its data when there is none, and serves it to everybody.
    start: &'static str,
    ready: &'static str,
    /// Makes the table, from within.
    pub(super) prepare: &'static str,
    /// Writes to the host `$1` for ever, and says what was acknowledged, a number a line.
    write: &'static str,
    /// Says all rows in their order, a number a line, from within.
    rows: &'static str,
    /// What the copy says in its log that shows that it had something to recover; empty: nothing in particular.
    recovers: &'static str,
}

pub(super) const POSTGRESQL: Server = Server {
    hook: "postgresql",
    mountpoint: "/var/lib/postgresql",
    start: "set -e
        as='setpriv --reuid postgres --regid postgres --clear-groups'
        bin=$(echo /usr/lib/postgresql/*/bin)
        data=/var/lib/postgresql/data
        mkdir -p /run/postgresql; chown postgres /run/postgresql /var/lib/postgresql
        if ! [ -s $data/PG_VERSION ]; then
            $as $bin/initdb --no-sync -A trust -D $data >/dev/null
            echo 'host all all all trust' >>$data/pg_hba.conf
        fi
        exec $as $bin/postgres -D $data -c listen_addresses='*'",
    ready: "psql -h 127.0.0.1 -U postgres -c 'select 1'",
    prepare: "psql -h 127.0.0.1 -U postgres -c 'create table t (n bigint primary key)'",
    write: "i=0; while :; do i=$((i+1)); echo \"insert into t values ($i) returning n;\"; done |
        exec stdbuf -oL psql -X -q -A -t -h $1 -U postgres",
    rows: "psql -q -A -t -h 127.0.0.1 -U postgres -c 'select n from t order by n'",
    recovers: "automatic recovery in progress",
};

pub(super) const MARIADB: Server = Server {
    hook: "mariadb",
    mountpoint: "/var/lib/mysql",
    start: super::backup::MARIADB,
    ready: "mariadb -h 127.0.0.1 -u app -papp -e 'select 1'",
    prepare: "mariadb -h 127.0.0.1 -u app -papp -e 'create database d; create table d.t (n bigint primary key) engine=innodb'",
    // The second statement is answered when the first is over.
    write: "i=0; while :; do i=$((i+1)); echo \"insert into t values ($i); select $i;\"; done |
        exec mariadb -n -N -s -h $1 -u app -papp d",
    rows: "mariadb -N -h 127.0.0.1 -u app -papp -e 'select n from d.t order by n'",
    recovers: "crash recovery",
};

pub(super) const REDIS: Server = Server {
    hook: "redis",
    mountpoint: "/data",
    start: "exec redis-server --dir /data --protected-mode no --bind 0.0.0.0 --save '' --appendonly yes --appendfsync always",
    ready: "redis-cli ping | grep PONG",
    // Something that stays as it is, as the other servers have by themselves; of many pieces for what looks for those.
    prepare: "head -c 12000000 /dev/urandom | base64 -w 0 | redis-cli -x set ballast",
    // It answers with the length of the list.
    write: "i=0; while :; do i=$((i+1)); echo \"rpush rows $i\"; done | exec stdbuf -oL redis-cli -h $1",
    rows: "redis-cli lrange rows 0 -1",
    recovers: "",
};

/// Runs the server on a volume, and waits until it answers.
#[track_caller]
pub(super) fn start(scene: &Scene, server: &Server, container: &str, volume: &str) {
    scene
        .run_and(
            &format!(
                "run -d --name %{container} -v %{volume}:{} debian sh -c",
                server.mountpoint
            ),
            &[server.start],
        )
        .ok();
    until_ready(scene, server, container);
}

/// Waits until the server in a container answers.
#[track_caller]
pub(super) fn until_ready(scene: &Scene, server: &Server, container: &str) {
    until("the server answers", || {
        let asked = scene.sh(container, server.ready);
        let running = asked.code == 0 || scene.inspect(container, "{{.State.Running}}") == "true";
        assert!(running, "{}", scene.run(&format!("logs %{container}")));
        (asked.code == 0).then_some(())
    });
}

/// The last number that the writer has said.
fn acknowledged(scene: &Scene) -> u64 {
    let said = scene.run("logs --tail 2 %writer").stdout;
    // The last line may not be whole.
    let whole = said.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let last = whole.lines().last().unwrap_or_default();
    last.trim().parse().unwrap_or(0)
}

/// Starts the client that writes to a server for ever.
#[track_caller]
pub(super) fn write(scene: &Scene, server: &Server, container: &str) {
    let address = scene.inspect(container, "{{.NetworkSettings.IPAddress}}");
    scene
        .run_and(
            "run -d --name %writer debian sh -c",
            &[server.write, "sh", &address],
        )
        .ok();
}

/// How many rows a server has: all from the first on, none left out.
#[track_caller]
pub(super) fn rows(scene: &Scene, server: &Server, container: &str) -> u64 {
    let said = scene.sh(container, server.rows).ok();
    let mut last = 0;
    for row in said.lines() {
        last += 1;
        assert_eq!(row, last.to_string(), "a row is missing or too much");
    }
    last
}

/// Waits until the writer has written so many more rows.
#[track_caller]
pub(super) fn more(scene: &Scene, rows: u64) -> u64 {
    let before = acknowledged(scene);
    until("the client writes", || {
        let now = acknowledged(scene);
        (now >= before + rows).then_some(now)
    })
}

fn on_each_rung(scene: &Scene, server: &Server) {
    scene.run("volume create %live").ok();
    start(scene, server, "server", "live");
    scene.sh("server", server.prepare).ok();
    write(scene, server, "server");
    let mut kept = Vec::new();
    let hook = format!("--hook {}", server.hook);
    for (name, flags) in [
        ("frozen", "--consistency freeze"),
        ("hooked", hook.as_str()),
    ] {
        let before = more(scene, 50);
        scene
            .run(&format!(
                "volume snapshot create --name {name} {flags} %live"
            ))
            .ok();
        kept.push((name, before));
        // It goes on: nobody is left frozen.
        more(scene, 50);
    }
    // The writer ends with its connection.
    let before = more(scene, 50);
    scene
        .run("volume snapshot create --name stopped --consistency stop %live")
        .ok();
    kept.push(("stopped", before));
    scene.run("rm -f %writer").ok();
    for (name, before) in kept {
        scene.run(&format!("volume clone %live@{name} %copy")).ok();
        start(scene, server, "second", "copy");
        let there = rows(scene, server, "second");
        assert!(there >= before, "{name}: {there} of {before}");
        if name == "frozen" && !server.recovers.is_empty() {
            let log = scene.run("logs %second");
            assert!(
                format!("{}{}", log.stdout, log.stderr).contains(server.recovers),
                "it was taken while it ran: {log}"
            );
        }
        scene.run("rm -f %second").ok();
        scene.run("volume rm --now %copy").ok();
    }
    scene.run("rm -f %server").ok();
    scene.run("volume rm --now %live").ok();
}

/// Writes one counter to two volumes in turn.
const COUNT: &str =
    "i=0; while :; do i=$((i+1)); echo $i > /a/t; mv /a/t /a/n; echo $i > /b/t; mv /b/t /b/n; done";

/// How far the counter in the first volume is ahead of the second's, in a snapshot of both: the two are of one instant.
#[track_caller]
fn of_one_instant(scene: &Scene, name: &str) {
    let number = |volume: &str| -> i64 {
        let mount = format!("{}@{name}:/s:ro", scene.name(volume));
        scene
            .run(&format!(
                "run --rm --network none -v {mount} busybox cat /s/n"
            ))
            .ok()
            .trim()
            .parse()
            .unwrap()
    };
    let ahead = number("a") - number("b");
    assert!(
        (0..=1).contains(&ahead),
        "the two volumes are of one instant: {ahead}"
    );
}

/// One counter, written to two volumes in turn by a container.
fn one_instant(scene: &Scene) {
    scene
        .run_and(
            "run -d --name %writer -v %a:/a -v %b:/b busybox sh -c",
            &[COUNT],
        )
        .ok();
    until("the container writes", || {
        scene.data("b").join("n").exists().then_some(())
    });
    for round in 0..10 {
        scene
            .run(&format!("volume snapshot create --name r{round} %b %a"))
            .ok();
        of_one_instant(scene, &format!("r{round}"));
    }
    scene.run("rm -f %writer").ok();
    scene.run("volume rm --now %a %b").ok();
}

/// Who begins to write while a command prepares the snapshot is held, too; so is who is between two runs.
fn late_writers(scene: &Scene) {
    scene
        .run("run -d --name %asked -v %a:/a busybox sleep 1000")
        .ok();
    scene.run("volume create %b").ok();
    for round in 0..3 {
        let line = format!("volume snapshot create --name late{round} --pre %wait %b %a");
        let wait = "touch /a/begun; until [ -e /a/go ]; do usleep 1000; done; rm /a/begun /a/go";
        let running = scene.start_with(&line, "%wait", wait);
        until("the command before runs", || {
            scene.data("a").join("begun").exists().then_some(())
        });
        scene
            .run_and(
                "run -d --name %writer -v %a:/a -v %b:/b busybox sh -c",
                &[COUNT],
            )
            .ok();
        until("the container writes", || {
            scene.data("b").join("n").exists().then_some(())
        });
        scene.sh("asked", "touch /a/go").ok();
        running.finish().ok();
        of_one_instant(scene, &format!("late{round}"));
        scene.run("rm -f %writer").ok();
        std::fs::remove_file(scene.data("b").join("n")).unwrap();
    }
    scene.run("rm -f %asked").ok();

    // Both numbers are written by a run that ends at once.
    let again = "i=$(cat /a/n); i=$((i+1)); echo $i > /a/t; mv /a/t /a/n; echo $i > /b/t; mv /b/t /b/n; exit 1";
    std::fs::write(scene.data("b").join("n"), "0").unwrap();
    std::fs::write(scene.data("a").join("n"), "0").unwrap();
    scene
        .run_and(
            "run -d --name %again --restart always -v %a:/a -v %b:/b busybox sh -c",
            &[again],
        )
        .ok();
    for round in 0..4 {
        until("it waits to be started again", || {
            (scene.inspect("again", "{{.State.Status}} {{.RestartCount}}")
                >= format!("restarting {}", 2 + round))
            .then_some(())
        });
        let name = format!("again{round}");
        scene
            .run(&format!("volume snapshot create --name {name} %b %a"))
            .ok();
        of_one_instant(scene, &name);
    }
    let listed = scene
        .run("volume snapshot ls %a --format {{.Name}}:{{.Consistency}}")
        .ok();
    assert!(listed.contains("again3:freeze"), "{listed}");
    scene.run("rm -f %again").ok();
    scene.run("volume rm --now %a %b").ok();
}

/// A ready-made command runs where its program is, or where it is told to; the others are only frozen.
fn hooks_of_groups(scene: &Scene) {
    scene
        .run("run -d --name %db -v %a:/data busybox sleep 1000")
        .ok();
    scene
        .run("run -d --name %web -v %b:/data busybox sleep 1000")
        .ok();
    scene
        .sh(
            "db",
            "printf '#!/bin/sh\necho asked >> /data/asked\n' > /bin/psql; chmod +x /bin/psql",
        )
        .ok();
    let asked = |name: &str| {
        let mount = format!("{}@{name}:/s:ro", scene.name("a"));
        scene
            .run(&format!(
                "run --rm --network none -v {mount} busybox cat /s/asked"
            ))
            .ok()
    };
    scene
        .run("volume snapshot create --name all --hook postgresql %a %b")
        .ok();
    assert_eq!(asked("all"), "asked");
    scene
        .run("volume snapshot create --name one --hook %db=postgresql %b %a")
        .ok();
    assert_eq!(asked("one"), "asked\nasked");
    let listed = scene
        .run("volume snapshot ls %b --format {{.Name}}:{{.Consistency}}")
        .ok();
    assert_eq!(listed, "all:hook\none:hook");
    for (flags, text) in [
        ("--hook redis", "has redis-cli"),
        ("--hook mysql", "has mariadb or mysql"),
        ("--hook postgresql --hook redis", "has redis-cli"),
        ("--hook %web=postgresql", "ended with 127"),
        ("--hook %none=postgresql", "No such container"),
        ("--hook %db=oracle", "unknown hook \"oracle\""),
        ("--hook oracle", "unknown hook \"oracle\""),
    ] {
        scene
            .run(&format!("volume snapshot create --name bad {flags} %a %b"))
            .fails(1, text);
    }
    scene
        .run("volume snapshot create --name bad --hook %db=postgresql %b")
        .fails(1, "does not run with volume");
    scene
        .run("volume schedule set --daily 1 --hook %db=oracle %a")
        .fails(1, "unknown hook");
    scene
        .run("volume schedule set --daily 1 --hook %db=postgresql %a")
        .ok();
    let scheduled = |consistency: &str| {
        let line = format!("schedule:{consistency}");
        until("its snapshot is made", || {
            let listed = scene
                .run("volume snapshot ls %a --format {{.Reason}}:{{.Consistency}}")
                .ok();
            listed.lines().any(|one| one == line).then_some(())
        });
    };
    scheduled("hook");
    // Who cannot be asked, for it does not run, writes nothing.
    scene.run("stop -t 0 %db").ok();
    scene.run("volume schedule rm %a").ok();
    scene
        .run("volume schedule set --daily 1 --hook %db=postgresql %a")
        .ok();
    scheduled("sync");
    scene.run("rm -f %db %web").ok();
    scene.run("volume rm --now %a %b").ok();
}

fn bad_hooks(scene: &Scene) {
    scene
        .run_and(
            "run -d --name %it -v %data:/data busybox sh -c",
            &["i=0; while :; do i=$((i+1)); echo $i > /data/t; mv /data/t /data/n; done"],
        )
        .ok();
    until("the container writes", || {
        scene.data("data").join("n").exists().then_some(())
    });
    let post = "echo x >> /data/after";
    for (number, (pre, text)) in [
        ("echo sorry; exit 3", "ended with 3: sorry"),
        ("no-such-command", "ended with 127"),
        // Silent, or not; what it started goes, too.
        ("sleep 4321", "did not end within 1 seconds and was killed"),
        (
            "while :; do echo x; done",
            "did not end within 1 seconds and was killed",
        ),
        (
            "sleep 4321 >/dev/null 2>&1 & wait",
            "did not end within 1 seconds and was killed",
        ),
        (
            "exec >/dev/null 2>&1; sleep 4321",
            "did not end within 1 seconds and was killed",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        scene
            .run_and(
                "volume snapshot create --name bad --hook-timeout 1s %data",
                &["--pre", pre, "--post", post],
            )
            .fails(1, text);
        let after = std::fs::read_to_string(scene.data("data").join("after")).unwrap();
        assert_eq!(
            after.lines().count(),
            number + 1,
            "what follows a hook runs in any case, once: {pre}"
        );
    }
    // The same after the copy: the snapshot is made, and the answer says what went wrong.
    let late = scene.run_and(
        "volume snapshot create --name late --hook-timeout 1s %data",
        &["--pre", "true", "--post", "sleep 4321"],
    );
    late.fails(
        1,
        "the snapshot is made, but then: the command \"sleep 4321\" in container",
    );
    late.fails(1, "did not end within 1 seconds");
    assert_eq!(late.stdout.trim(), format!("{}@late", scene.name("data")));
    let cloned = scene.run_and("volume clone %data %copy", &["--post", "exit 3"]);
    cloned.fails(1, "the volume is made, but then: ");
    assert_eq!(cloned.stdout.trim(), scene.name("copy"));
    scene.run("volume rm --now %copy").ok();
    let listed = scene
        .run("volume snapshot ls %data --format {{.Name}}")
        .ok();
    assert_eq!(listed, "late");
    let left = scene.run("top %it").ok();
    assert!(!left.contains("4321"), "{left}");
    // It was thawed.
    let number = || std::fs::read_to_string(scene.data("data").join("n")).unwrap_or_default();
    let before = number();
    until("the container goes on", || {
        let now = number();
        (!now.is_empty() && now != before).then_some(())
    });
    scene
        .run("volume snapshot create --hook-timeout soon %data")
        .fails(125, "--hook-timeout");
    scene.run("rm -f %it").ok();
    scene.run("volume rm --now %data").ok();
}
