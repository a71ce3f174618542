//! Backups by themselves, drills that prove them, and what Prometheus sees of both.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use testkit::until;

use super::{Scenario, Scene};

pub(super) const OWN: &[Scenario] = &[
    ("s90_a_drill_proves_a_backup", drill),
    ("s91_a_damaged_backup_is_never_proven", damage),
    ("s92_a_schedule_runs_fails_and_recovers", schedule),
    ("s93_a_schedule_by_itself", by_itself),
    ("s94_metrics", metrics),
    ("s95_schedules_that_cannot_be", refused),
    ("s96_servers_have_their_recipes", recipes),
];

/// A repository of the scene's own, and where it is.
fn repository(scene: &Scene) -> (String, PathBuf) {
    let directory = scene.directory("backups");
    let password = directory.join("password");
    fs::write(&password, "secret\n").unwrap();
    let name = scene.name("repo");
    let place = directory.join("repository");
    scene
        .run(&format!(
            "backup init --password-file {} {name} {}",
            password.display(),
            place.display()
        ))
        .ok();
    (name, place)
}

/// A volume with some files.
fn filled(scene: &Scene, name: &str) {
    scene
        .run_and(
            &format!("run --rm -v %{name}:/data busybox sh -c"),
            &["cd /data; mkdir -p d/e; echo one > d/one; ln -s one d/link; chmod 640 d/one; head -c 300000 /dev/urandom > d/e/random"],
        )
        .ok();
}

fn proven(scene: &Scene, volume: &str) -> String {
    let listed = scene
        .run_and(
            &format!("volume ls --filter name=^%{volume}$ --format"),
            &["{{.Proven}}"],
        )
        .ok();
    listed.trim().to_owned()
}

/// Nothing of a drill is left.
fn nothing_is_left(scene: &Scene) {
    for line in ["volume ls -q", "ps -aq --no-trunc --format {{.Names}}"] {
        let left = scene.run(line).ok();
        // Other scenarios drill at the same time; theirs go by themselves.
        let clean = until("no drill is left", || {
            let now = scene.run(line).ok();
            let stays = left
                .lines()
                .filter(|name| name.starts_with("drill-"))
                .any(|name| now.lines().any(|known| known == name));
            (!stays).then_some(true)
        });
        assert!(clean);
    }
}

fn drill(scene: &Scene) {
    let (repo, _) = repository(scene);
    filled(scene, "data");
    scene.run(&format!("volume backup --to {repo} %data")).ok();
    assert_eq!(proven(scene, "data"), "never");
    let reference = format!("{repo}:{}", scene.name("data"));

    // Restored and compared, then a command that sees the files, read-only and without network.
    scene.run(&format!("backup drill {reference}")).ok();
    let said = scene
        .run_and(
            &format!("backup drill --image busybox {reference} --command"),
            &["test \"$(cat /data/d/one)\" = one && ! touch /data/x 2>/dev/null && ! ip route | grep -q default && echo looked"],
        )
        .ok();
    assert!(
        said.contains("is proven") && said.contains("looked"),
        "{said}"
    );
    assert!(proven(scene, "data").contains("ago") || proven(scene, "data").contains("second"));
    let shown = &scene.run("volume inspect %data").json()[0];
    assert_eq!(shown["Proof"]["Repository"], repo.as_str(), "{shown}");
    assert!(shown["Proof"]["LastProven"].is_string());

    // A command that says no, and one that never ends.
    scene
        .run_and(
            &format!("backup drill --image busybox {reference} --command"),
            &["echo this is not what I expected >&2; exit 3"],
        )
        .fails(1, "the check ended with 3: this is not what I expected");
    assert_eq!(proven(scene, "data"), "FAILED");
    let shown = &scene.run("volume inspect %data").json()[0];
    assert!(
        shown["Proof"]["LastProven"].is_string(),
        "the earlier proof stays known: {shown}"
    );
    scene
        .run_and(
            &format!("backup drill --image busybox --timeout 1s {reference} --command"),
            &["sleep 1000"],
        )
        .fails(1, "did not end within 1 seconds");
    scene
        .run_and(
            &format!("backup drill --image busybox --writable {reference} --command"),
            &["touch /data/x"],
        )
        .ok();
    scene
        .run(&format!("backup drill --recipe oracle {reference}"))
        .fails(1, "unknown recipe");
    scene
        .run(&format!(
            "backup drill --image %no-such-image --command true {reference}"
        ))
        .fails(1, "No such image");
    scene
        .run(&format!("backup drill {repo}:%nothing"))
        .fails(1, "has no backup");
    let results = scene
        .run_and("backup drills --format", &["{{.Volume}} {{.Result}}"])
        .ok();
    assert!(
        results.contains(&format!("{} proven", scene.name("data"))),
        "{results}"
    );
    nothing_is_left(scene);

    // Somebody who stops a drill leaves nothing, and no verdict.
    let drills = || {
        let all = scene.run("backup drills --format {{.Volume}}").ok();
        all.lines().filter(|of| **of == scene.name("data")).count()
    };
    let before = drills();
    assert!(before > 1);
    let mut words = scene.words("backup drill --image busybox --command");
    words.extend(["sleep 1000".to_owned(), reference.clone()]);
    let drilling = scene
        .client
        .command(&scene.engine, &words)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    until("the check runs", || {
        scene
            .run_and(
                "ps --filter name=drill- --format",
                &["{{.Names}} {{.Command}}"],
            )
            .ok()
            .contains("sleep 1000")
            .then_some(())
    });
    let pid = rustix::process::Pid::from_raw(i32::try_from(drilling.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let ended = drilling.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(130));
    nothing_is_left(scene);
    assert_eq!(drills(), before);
    scene.run("volume rm --now %data").ok();
    scene.run(&format!("backup rm-repo {repo}")).ok();
}

/// All files below a directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}

fn damage(scene: &Scene) {
    let (repo, place) = repository(scene);
    filled(scene, "data");
    scene.run(&format!("volume backup --to {repo} %data")).ok();
    let largest = files(&place.join("data"))
        .into_iter()
        .max_by_key(|path| fs::metadata(path).unwrap().len())
        .unwrap();
    let mut bytes = fs::read(&largest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    // Packs are written read-only.
    fs::remove_file(&largest).unwrap();
    fs::write(&largest, bytes).unwrap();
    let failed = scene.run(&format!("backup drill {repo}:%data"));
    assert_eq!(failed.code, 1, "{failed}");
    let volume = scene.name("data");
    assert!(
        failed
            .stderr
            .contains(&format!("of volume {volume} in repository {repo}: pack ")),
        "{failed}"
    );
    assert_eq!(proven(scene, "data"), "FAILED");
    let listed = scene.run("volume ls --filter name=^%data$").ok();
    assert!(
        listed.contains("PROVEN") && listed.contains("FAILED"),
        "{listed}"
    );
    nothing_is_left(scene);
    // Now that it is known the next backup does without, however the place is written; what was lost can go.
    let again = scene.run(&format!("volume backup --to {}/ %data", place.display()));
    again.ok();
    assert!(
        again.stderr.contains("has lost something: pack "),
        "{again}"
    );
    scene.run(&format!("backup drill {repo}:%data")).ok();
    scene.run(&format!("backup prune {repo}")).ok();
    scene.run(&format!("backup check --read-data {repo}")).ok();
    scene
        .run(&format!(
            "volume backup --to {}/other %data",
            place.display()
        ))
        .fails(1, "has no name here: orlop backup add NAME /");
    scene.run("volume rm --now %data").ok();
    scene.run(&format!("backup rm-repo {repo}")).ok();
}

fn schedule(scene: &Scene) {
    let (repo, place) = repository(scene);
    filled(scene, "data");
    scene.run("volume label %data back=up").ok();
    let name = scene.name("nightly");
    let set = scene.run(&format!(
        "backup schedule set {name} --daily 03:00 --jitter 15m --zone Europe/Berlin --label back=up --to {repo} --keep-last 2 --drill always --verify 100"
    ));
    assert!(
        set.ok().contains("in "),
        "it says when it runs: {}",
        set.ok()
    );
    for _ in 0..3 {
        let ran = scene.run(&format!("backup schedule run {name}")).ok();
        assert!(ran.contains(&scene.name("data")), "{ran}");
    }
    let kept = scene.run(&format!("backup ls {repo}")).ok();
    assert_eq!(kept.lines().count(), 3, "a head and two backups: {kept}");
    assert_ne!(proven(scene, "data"), "never", "--drill always");
    let shown = &scene.run("volume inspect %data").json()[0];
    let own = &shown["BackupSchedules"][0];
    assert_eq!(own["Name"], name.as_str(), "{shown}");
    assert!(own["NextRun"].is_string() && own["LastSuccess"].is_string());
    assert!(own["Bytes"].as_u64().unwrap() > 300_000 && own["Seconds"].is_number());

    // The repository is gone: the run fails, and says so everywhere.
    let away = place.with_extension("away");
    fs::rename(&place, &away).unwrap();
    let listening = scene.start("events --filter type=volume --filter event=backup_failed");
    let failed = until("the failure is heard", || {
        let failed = scene.run(&format!("backup schedule run {name}"));
        assert_eq!(failed.code, 1, "{failed}");
        listening.stdout().contains(&name).then_some(failed)
    });
    assert!(failed.stderr.contains(&repo), "{failed}");
    drop(listening);
    let inspected = scene.run(&format!("backup schedule inspect {name}")).json();
    let state = &inspected[0]["State"];
    assert!(state["Failures"].as_u64().unwrap() >= 1, "{state}");
    assert!(state["RetryAt"].is_string() && state["Last"]["Error"].is_string());
    let next = scene
        .run_and(
            "volume ls --filter name=^%data$ --format",
            &["{{.NextBackup}}"],
        )
        .ok();
    assert!(next.contains("FAILED"), "{next}");

    // It is back: the next run goes on as if nothing had been.
    fs::rename(&away, &place).unwrap();
    scene.run(&format!("backup schedule run {name}")).ok();
    let inspected = scene.run(&format!("backup schedule inspect {name}")).json();
    assert_eq!(inspected[0]["State"]["FailuresInARow"], 0);
    scene.run(&format!("backup schedule pause {name}")).ok();
    let listed = scene
        .run_and("backup schedule ls --format", &["{{.Name}} {{.NextRun}}"])
        .ok();
    assert!(listed.contains(&format!("{name} paused")), "{listed}");
    scene.run(&format!("backup schedule resume {name}")).ok();
    scene.run(&format!("backup schedule rm {name}")).ok();
    scene
        .run(&format!("backup schedule rm {name}"))
        .fails(1, "no such schedule of backups");
    scene.run("volume rm --now %data").ok();
    scene.run(&format!("backup rm-repo {repo}")).ok();
}

fn by_itself(scene: &Scene) {
    let (repo, _) = repository(scene);
    filled(scene, "data");
    let name = scene.name("often");
    scene
        .run(&format!(
            "backup schedule set {name} --every 1s --volumes %data --to {repo} --keep-last 1"
        ))
        .ok();
    until("it has run twice by itself", || {
        let inspected = scene.run(&format!("backup schedule inspect {name}")).json();
        let state = &inspected[0]["State"];
        assert!(state["Last"]["Error"].is_null(), "{state}");
        (state["Runs"].as_u64() >= Some(2)).then_some(())
    });
    scene.run(&format!("backup schedule rm {name}")).ok();
    until("the run that was under way has ended", || {
        let metrics = scene.run("system metrics").ok();
        (!metrics.contains(&name)).then_some(())
    });
    scene.run("volume rm --now %data").ok();
    until("nobody uses the repository", || {
        (scene.run(&format!("backup rm-repo {repo}")).code == 0).then_some(())
    });
}

/// What a parser of the makers of Prometheus reads from a page: name, labels, value.
fn parsed(page: &str) -> Option<Vec<Value>> {
    const READ: &str = "
import json, sys
from prometheus_client.parser import text_string_to_metric_families
for family in text_string_to_metric_families(sys.stdin.read()):
    assert family.documentation and family.type in ('gauge', 'counter'), family
    for sample in family.samples:
        print(json.dumps([sample.name, sample.labels, sample.value]))
";
    let mut reader = Command::new("/usr/bin/python3")
        .args(["-c", READ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    reader
        .stdin
        .take()
        .unwrap()
        .write_all(page.as_bytes())
        .unwrap();
    let output = reader.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    if errors.contains("No module named 'prometheus_client'") {
        return None;
    }
    assert!(output.status.success(), "{errors}\n{page}");
    let text = String::from_utf8(output.stdout).unwrap();
    Some(
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect(),
    )
}

fn metrics(scene: &Scene) {
    let (repo, _) = repository(scene);
    filled(scene, "data");
    scene.run("volume ls --exact").ok();
    let name = scene.name("weekly");
    scene
        .run_and(
            &format!("backup schedule set {name} --volumes %data --to {repo} --cron"),
            &["61 3 * * *"],
        )
        .fails(1, "invalid crontab expression");
    scene
        .run_and(
            &format!("backup schedule set {name} --volumes %data --to {repo} --cron"),
            &["0 3 * * 1"],
        )
        .ok();
    scene.run(&format!("backup schedule run {name}")).ok();
    scene.run(&format!("backup drill {repo}:%data")).ok();
    let page = scene.run("system metrics").ok();
    let Some(samples) = parsed(&page) else {
        println!("SKIPPED: no parser of Prometheus' format here: scripts/setup");
        return;
    };
    let find = |metric: &str, label: &str, value: &str| {
        samples
            .iter()
            .find(|sample| sample[0] == metric && (label.is_empty() || sample[1][label] == value))
            .unwrap_or_else(|| panic!("no {metric} with {label}={value} in {page}"))[2]
            .as_f64()
            .unwrap()
    };
    let volume = scene.name("data");
    assert!(find("orlop_volume_size_bytes", "volume", &volume) > 300_000.0);
    assert!(find("orlop_volume_measured_timestamp_seconds", "volume", &volume) > 1.7e9);
    assert!(
        find(
            "orlop_backup_last_success_timestamp_seconds",
            "volume",
            &volume
        ) > 1.7e9
    );
    assert!(
        find(
            "orlop_drill_last_proven_timestamp_seconds",
            "volume",
            &volume
        ) > 1.7e9
    );
    assert!((find("orlop_drill_last_failed", "volume", &volume)).abs() < 0.5);
    assert!(find("orlop_backup_schedule_runs_total", "schedule", &name) > 0.5);
    assert!(
        find(
            "orlop_backup_schedule_next_run_timestamp_seconds",
            "schedule",
            &name
        ) > 1.7e9
    );
    assert!(find("orlop_containers", "state", "running") >= 0.0);
    assert!(find("orlop_operations_in_flight", "", "") >= 0.0);
    scene.run(&format!("backup schedule rm {name}")).ok();
    scene.run("volume rm --now %data").ok();
    scene.run(&format!("backup rm-repo {repo}")).ok();
}

fn refused(scene: &Scene) {
    let (repo, _) = repository(scene);
    for (flags, part) in [
        ("--daily 03:00", "what it backs up"),
        ("--all", "when it runs"),
        ("--all --daily 25:00", "write HH:MM"),
        (
            "--all --daily 03:00 --zone Mars/Olympus",
            "unknown time zone: Mars/Olympus",
        ),
        ("--volumes %nothing --daily 03:00", "no such volume"),
        (
            "--all --daily 03:00 --drill always --recipe oracle",
            "unknown recipe",
        ),
    ] {
        let refused = scene.run(&format!("backup schedule set %x --to {repo} {flags}"));
        assert_ne!(refused.code, 0, "{refused}");
        let said = format!("{}{}", refused.stderr, refused.stdout);
        assert!(said.contains(part), "{part} in {refused}");
    }
    scene
        .run("backup schedule set %x --to %nowhere --all --daily 03:00")
        .fails(1, "no such repository");
    let listed = scene.run("backup schedule ls").ok();
    assert!(!listed.contains(&scene.name("x")), "{listed}");
    scene.run(&format!("backup rm-repo {repo}")).ok();
}

/// A server's data, what a recipe says of it, and the same data with something essential gone.
fn recipes(scene: &Scene) {
    let (repo, _) = repository(scene);
    for (recipe, target, make, destroy) in [
        (
            "postgresql",
            "/var/lib/postgresql",
            "chown postgres /var/lib/postgresql; setpriv --reuid postgres --regid postgres --clear-groups \
             /usr/lib/postgresql/*/bin/initdb --no-sync -D /var/lib/postgresql/data >/dev/null",
            "rm -r /var/lib/postgresql/data/base/1",
        ),
        (
            "mariadb",
            "/var/lib/mysql",
            "mariadb-install-db --user=mysql --datadir=/var/lib/mysql --skip-test-db >/dev/null",
            "rm /var/lib/mysql/mysql/proc.MA*; echo nonsense > /var/lib/mysql/ibdata1",
        ),
        (
            "redis",
            "/data",
            "redis-server --dir /data --port 0 --unixsocket /tmp/s --daemonize yes >/dev/null; \
             until redis-cli -s /tmp/s set key value 2>/dev/null; do :; done; redis-cli -s /tmp/s save; test -s /data/dump.rdb",
            "truncate -s 20 /data/dump.rdb",
        ),
    ] {
        let volume = format!("%{recipe}");
        let sh = |script: &str| {
            scene
                .run_and(
                    &format!("run --rm --network none -v {volume}:{target} debian sh -ec"),
                    &[script],
                )
                .ok()
        };
        let drill = || {
            scene
                .run(&format!("volume backup --to {repo} {volume}"))
                .ok();
            scene.run(&format!(
                "backup drill --image debian --recipe {recipe} --target {target} {repo}:{volume}"
            ))
        };
        sh(make);
        let done = drill();
        assert!(done.ok().contains("is proven"), "{done}");
        assert!(proven(scene, recipe).contains("ago"), "{recipe}");
        sh(destroy);
        drill().fails(1, "the check ended with");
        assert_eq!(proven(scene, recipe), "FAILED", "{recipe}");
        scene.run(&format!("volume rm --now {volume}")).ok();
    }
    nothing_is_left(scene);
    scene.run(&format!("backup rm-repo {repo}")).ok();
}
