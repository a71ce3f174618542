//! Snapshots: kept, compared, restored, cloned, read and given up, on the filesystems that users have, while containers
//! write.

use std::fs;
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};
use store::{Paths, Store};
use testkit::{Client, Engine, Output, Running, until};

use super::{Scenario, Scene, host, unmount};

pub(crate) const OWN: &[Scenario] = &[
    ("S50_snapshots_on_btrfs", |_| {
        life("btrfs", &["mkfs.btrfs", "-q"]);
    }),
    ("S51_snapshots_on_xfs", |_| life("xfs", &["mkfs.xfs", "-q"])),
    ("S52_snapshots_on_ext4", |_| {
        life("ext4", &["mkfs.ext4", "-q"]);
    }),
    ("S52b_stopped_snapshots", |_| stopped()),
    ("S54b_retention_on_btrfs", |_| {
        retention("btrfs", &["mkfs.btrfs", "-q"]);
    }),
    ("S54c_retention_on_xfs", |_| {
        retention("xfs", &["mkfs.xfs", "-q"]);
    }),
    ("S54d_retention_on_ext4", |_| {
        retention("ext4", &["mkfs.ext4", "-q"]);
    }),
];

/// These run on each filesystem, too.
pub(crate) const EVERYWHERE: &[Scenario] = &[
    ("S53_consistency", consistency),
    ("S54_schedules_and_expiry", schedules),
    ("S54e_history", history),
];

/// An engine on a filesystem of its own.
struct Place {
    engine: Option<Engine>,
    image: PathBuf,
    root: PathBuf,
}

impl Place {
    fn new(kind: &str, make: &[&str]) -> Self {
        let mut engine = Engine::new(&format!("snapshots-{kind}"));
        let root = engine.root.clone();
        let image = root.with_extension("image");
        fs::File::create(&image).unwrap().set_len(3 << 30).unwrap();
        let path = image.to_str().unwrap();
        host(make[0], &[&make[1..], &[path]].concat());
        host("mount", &["-o", "loop", path, root.to_str().unwrap()]);
        engine.resume();
        engine.load_busybox();
        Self {
            engine: Some(engine),
            image,
            root,
        }
    }

    fn run(&self, line: &str) -> Output {
        let words: Vec<&str> = line.split_whitespace().collect();
        Client::Orlop.run(self.engine.as_ref().unwrap(), &words)
    }

    fn run_and(&self, line: &str, last: &str) -> Output {
        let mut words: Vec<&str> = line.split_whitespace().collect();
        words.push(last);
        Client::Orlop.run(self.engine.as_ref().unwrap(), &words)
    }

    fn start(&self, line: &str) -> Running {
        let words: Vec<&str> = line.split_whitespace().collect();
        Running::start(&mut Client::Orlop.command(self.engine.as_ref().unwrap(), &words))
    }

    /// Starts the engine again; meanwhile the schedule of a volume ran last an hour earlier than it did.
    fn an_hour_later(&mut self, volume: &str) {
        let engine = self.engine.as_mut().unwrap();
        engine.terminate();
        let store = Store::open(&Paths::new(&self.root).unwrap()).unwrap();
        let moved = store.write(|tx| {
            let row = tx.volume_by_name(volume)?.expect("the volume");
            let last = tx.schedule_of(&row.id)?.and_then(|row| row.last_run);
            let last: Timestamp = last.expect("it ran").parse().expect("a time");
            let earlier = last - SignedDuration::from_hours(1);
            tx.schedule_ran(&row.id, &earlier.to_string())
        });
        moved.unwrap();
        drop(store);
        engine.resume();
    }

    /// Names of a volume's snapshots that its schedule made, oldest first.
    fn scheduled(&self, volume: &str) -> Vec<String> {
        let listed = self.run(&format!(
            "volume snapshot ls {volume} --format {{{{.Reason}}}}:{{{{.Name}}}}"
        ));
        let listed = listed.ok();
        let names = listed
            .lines()
            .filter_map(|line| line.strip_prefix("schedule:"));
        names.map(str::to_owned).collect()
    }

    fn schedule(&self, volume: &str) -> serde_json::Value {
        let listed = self.run("volume schedule ls --format json").ok();
        let mut rows = listed
            .lines()
            .map(|line| serde_json::from_str(line).unwrap());
        rows.find(|row: &serde_json::Value| row["Volume"] == volume)
            .expect("its schedule")
    }

    fn sh(&self, script: &str) -> Output {
        Client::Orlop.run(
            self.engine.as_ref().unwrap(),
            &["exec", "app", "sh", "-c", script],
        )
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(self.engine.take());
        if !std::thread::panicking() {
            unmount(&self.root);
            fs::remove_dir(&self.root).unwrap();
            fs::remove_file(&self.image).unwrap();
        }
    }
}

fn life(kind: &str, make: &[&str]) {
    let place = Place::new(kind, make);
    place
        .run("run -d --name app -v data:/data busybox sleep 1000")
        .ok();
    place
        .sh("echo one > /data/f; mkdir /data/d; echo same > /data/d/same")
        .ok();
    let made = place.run("volume snapshot create --name one data");
    assert_eq!(made.ok(), "data@one");
    assert!(made.stderr.contains("containers were frozen for"), "{made}");
    assert_eq!(
        made.stderr.contains("this filesystem cannot share data"),
        kind == "ext4",
        "{made}"
    );
    place.sh("echo two > /data/f; echo x > /data/new").ok();
    assert_eq!(
        place.run("volume snapshot diff data@one").ok(),
        "M /f\nA /new"
    );
    // What is not in the bytes counts, too.
    let same = place.root.join("volumes/data/_data/d/same");
    host(
        "setfattr",
        &["-n", "user.k", "-v", "v", same.to_str().unwrap()],
    );
    let changes = place.run("volume snapshot diff data@one").ok();
    assert_eq!(changes, "M /f\nA /new\nM /d/same");
    host("setfattr", &["-x", "user.k", same.to_str().unwrap()]);
    place
        .run("volume snapshot create --name one data")
        .fails(1, "has a snapshot one already");
    assert_eq!(place.run("volume snapshot ls -q data").ok(), "data@one");

    // Read by another container; never written.
    for flags in [
        "-v data@one:/old:ro",
        "--mount type=volume,source=data@one,target=/old,readonly",
    ] {
        let read = place.run(&format!("run --rm {flags} busybox cat /old/f"));
        assert_eq!(read.ok(), "one");
    }
    place
        .run("run --rm -v data@one:/old busybox true")
        .fails(125, "a snapshot can only be read");
    place
        .run("run --rm -v data@none:/old:ro busybox true")
        .fails(125, "no such snapshot: data@none");
    place
        .run("create --name reader -v data@one:/old:ro busybox true")
        .ok();
    let refused = place.run("volume snapshot rm data@one");
    refused.fails(1, "snapshot data@one is in use");
    refused.fails(1, "hint: used by reader (created, ro at /old)");
    // Its record follows when the volume gets another name, which others may take.
    place.run("volume rename data other").ok();
    place.run("volume create data").ok();
    assert_eq!(
        place.run("inspect reader").json()[0]["Mounts"][0]["Name"],
        "other@one"
    );
    place.run("start reader").ok();
    place.run("volume rm data").ok();
    place.run("volume rename other data").ok();
    place.run("rm -f reader").ok();
    // One file of the past, without a container.
    assert_eq!(place.run("volume cat data@one:/f").ok(), "one");
    assert!(place.run("volume ls-files data@one").ok().ends_with(" f"));
    place
        .run("volume cp data@one:/f data@one:/")
        .fails(1, "a snapshot can only be read: data@one");
    let file = place.image.with_extension("tar");
    place
        .run(&format!("volume export -o {} data@one", file.display()))
        .ok();
    let packed = host("tar", &["-tf", file.to_str().unwrap()]);
    assert!(
        packed.lines().any(|line| line.ends_with("d/same")),
        "{packed}"
    );
    fs::remove_file(&file).unwrap();
    place
        .run("volume cat data@none:/f")
        .fails(1, "no such snapshot: data@none");

    // Not under a running container, unless it is told.
    place
        .run("volume restore data@one")
        .fails(1, "mounted by running containers: app");
    let forced = place.run("volume restore --force data@one");
    let kept = forced.ok();
    let kept = kept.rsplit(' ').next().unwrap();
    assert!(kept.starts_with("data@before-restore-"), "{forced}");
    assert!(
        forced.stderr.contains("until they are restarted: app"),
        "{forced}"
    );
    assert_eq!(place.sh("cat /data/f").ok(), "two");
    place.run("restart -t 0 app").ok();
    assert_eq!(place.sh("cat /data/f; ls /data").ok(), "one\nd\nf");
    place.run("stop -t 0 app").ok();
    place.run("volume restore --undo data").ok();
    place.run("start app").ok();
    assert_eq!(place.sh("cat /data/f /data/new").ok(), "two\nx");

    assert_eq!(place.run("volume clone data@one copy").ok(), "copy");
    assert_eq!(place.run("volume clone data twin").ok(), "twin");
    place
        .run("volume clone data@one copy")
        .fails(1, "volume copy exists already");
    for (volume, content) in [("copy", "one"), ("twin", "two")] {
        let read = place.run(&format!("run --rm -v {volume}:/d busybox cat /d/f"));
        assert_eq!(read.ok(), content);
    }
    place.run("volume snapshot create copy data").ok();
    for name in place.run("volume snapshot ls -q").ok().lines() {
        place.run(&format!("volume snapshot rm {name}")).ok();
    }
    assert_eq!(place.run("volume snapshot ls -q").ok(), "");
    assert_eq!(place.sh("cat /data/f").ok(), "two");
    for line in ["rm -f app", "volume rm data copy twin"] {
        place.run(line).ok();
    }
}

/// On a filesystem that shares nothing a copy takes a while, tells how far it is, and ends with whoever waits for it.
fn stopped() {
    let place = Place::new("stopped", &["mkfs.ext4", "-q"]);
    place
        .run_and(
            "run -d --name app -v data:/data busybox sh -c",
            "while :; do date >> /data/log; usleep 10000; done",
        )
        .ok();
    let content = place.root.join("volumes/data/_data");
    let content = content.canonicalize().unwrap();
    host(
        "fallocate",
        &["-l", "1G", content.join("large").to_str().unwrap()],
    );
    let kept = content.with_file_name("snapshots");
    let copies = || fs::read_dir(&kept).map_or(0, Iterator::count);
    let volumes = || fs::read_dir(place.root.join("data")).unwrap().count();
    let written = || fs::metadata(content.join("log")).unwrap().len();
    let nothing_is_left = || {
        until("what was copied is gone", || {
            (copies() == 0 && volumes() == 1).then_some(())
        });
        let before = written();
        until("the container writes again", || {
            (written() > before).then_some(())
        });
        assert_eq!(place.run("volume snapshot ls -q").ok(), "");
        assert_eq!(place.run("volume ls -q").ok(), "data");
    };
    for line in [
        "volume snapshot create --name s --progress json data",
        "volume clone --progress json data copy",
    ] {
        let running = place.start(line);
        running.expect("\"current\":");
        running.signal(rustix::process::Signal::INT);
        let ended = running.finish();
        assert_eq!(ended.code, 130, "{ended}");
        assert_eq!(ended.stdout, "", "{ended}");
        nothing_is_left();
    }

    // A client that asks for no progress, and hangs up.
    let mut socket = UnixStream::connect(place.engine.as_ref().unwrap().socket()).unwrap();
    let body = r#"{"Volumes":["data"],"Name":"s"}"#;
    let head = "POST /orlop/v1/snapshots HTTP/1.1\r\nHost: x\r\nContent-Type: application/json";
    write!(
        socket,
        "{head}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    until("the copy has begun", || (copies() == 1).then_some(()));
    drop(socket);
    nothing_is_left();

    // What comes to its end says so, to who wants to know.
    place.run("rm -f app").ok();
    fs::File::options()
        .write(true)
        .open(content.join("large"))
        .unwrap()
        .set_len(64 << 20)
        .unwrap();
    for (line, action, name) in [
        ("snapshot create --name s data", "Copying", "data"),
        ("clone data@s copy", "Cloning", "copy"),
        ("restore data@s", "Restoring", "data"),
    ] {
        let told = place.run(&format!("volume {line} --progress json"));
        told.ok();
        let lines: Vec<serde_json::Value> = told
            .stderr
            .lines()
            .filter(|line| line.starts_with('{'))
            .map(|line| serde_json::from_str(line).unwrap())
            .filter(|line: &serde_json::Value| line["action"] == action)
            .collect();
        let last = lines.last().expect("how far it is");
        assert_eq!(last["id"], name, "{told}");
        assert_eq!(last["current"], last["total"], "{told}");
        assert!(last["current"].as_u64().unwrap() >= 64 << 20, "{told}");
    }
    let quiet = place.run("volume snapshot create --quiet --name quiet data");
    assert_eq!(quiet.ok(), "data@quiet");
    assert_eq!(quiet.stderr, "", "{quiet}");
    place.run("volume rm --now data copy").ok();
}

fn path_of(scene: &Scene, snapshot: &str) -> PathBuf {
    let volume = snapshot.split('@').next().unwrap();
    let listed = scene.run(&format!(
        "volume snapshot ls %{volume} --format {{{{.Name}}}}={{{{.Path}}}}"
    ));
    let name = snapshot.split('@').nth(1).unwrap();
    let found = listed
        .ok()
        .lines()
        .find_map(|line| line.strip_prefix(&format!("{name}=")).map(PathBuf::from));
    found.unwrap_or_else(|| panic!("{listed}"))
}

/// What each rung of the ladder promises.
fn consistency(scene: &Scene) {
    let script = "i=0; while :; do i=$((i+1)); echo $i > /a/t; mv /a/t /a/n; echo $i > /b/t; mv /b/t /b/n; done";
    scene
        .run_and(
            "run -d --name %writer -v %a:/a -v %b:/b busybox sh -c",
            &[script],
        )
        .ok();
    until("the container writes", || {
        scene.data("b").join("n").exists().then_some(())
    });
    for round in 0..5 {
        scene
            .run(&format!("volume snapshot create --name r{round} %b %a"))
            .ok();
        let number = |volume: &str| -> i64 {
            let path = path_of(scene, &format!("{volume}@r{round}")).join("n");
            fs::read_to_string(path).unwrap().trim().parse().unwrap()
        };
        let ahead = number("a") - number("b");
        assert!(
            (0..=1).contains(&ahead),
            "the two volumes are of one instant: {ahead}"
        );
    }
    assert_eq!(scene.inspect("writer", "{{.State.Status}}"), "running");
    scene.run("exec %writer true").ok();

    let hooked = scene.run_and(
        "volume snapshot create --name hooked %a",
        &["--pre", "echo prepared > /a/hook", "--post", "rm /a/hook"],
    );
    hooked.ok();
    assert!(path_of(scene, "a@hooked").join("hook").exists());
    assert!(!scene.data("a").join("hook").exists());
    scene
        .run_and(
            "volume snapshot create --name failed %a",
            &["--pre", "echo sorry; exit 3", "--post", "touch /a/after"],
        )
        .fails(1, "ended with 3: sorry");
    assert!(
        scene.data("a").join("after").exists(),
        "what follows a hook runs in any case"
    );
    scene
        .run("volume snapshot diff %a@failed")
        .fails(1, "no such snapshot");

    let started = scene.inspect("writer", "{{.State.StartedAt}}");
    scene.run("update --restart no %writer").ok();
    scene
        .run("volume snapshot create --consistency stop --name stopped %a")
        .ok();
    assert_eq!(scene.inspect("writer", "{{.State.Status}}"), "running");
    assert_ne!(scene.inspect("writer", "{{.State.StartedAt}}"), started);
    for (flags, text) in [
        ("--consistency strong", "invalid consistency"),
        ("--hook oracle", "unknown hook"),
        ("--consistency hook", "needs a command to run"),
        ("--name a/b", "invalid snapshot name"),
    ] {
        scene
            .run(&format!("volume snapshot create {flags} %a"))
            .fails(1, text);
    }
    scene.run("rm -f %writer").ok();
    scene.run("volume rm %a %b").ok();
}

fn schedules(scene: &Scene) {
    scene.run("volume create %data").ok();
    scene
        .run("volume schedule set %data")
        .fails(1, "keeps at least one");
    scene
        .run("volume schedule set --daily 1 --at 25:00 %data")
        .fails(1, "invalid time");
    scene
        .run("volume schedule set --hourly 24 --daily 7 --at 03:30 %data")
        .ok();
    let listed = || {
        scene
            .run("volume snapshot ls %data --format {{.Reason}}:{{.Labels}}")
            .ok()
    };
    until("the first snapshot is made at once", || {
        (listed() == "schedule:orlop.schedule=hourly,daily").then_some(())
    });
    let shown = scene.run("volume schedule ls").ok();
    assert!(
        shown.contains(&scene.name("data")) && shown.contains("03:30"),
        "{shown}"
    );
    scene.run("volume schedule rm %data").ok();
    scene
        .run("volume schedule rm %data")
        .fails(1, "has no schedule");
    assert!(!listed().is_empty(), "what was made stays");

    scene
        .run("volume snapshot create --name pinned --expire 1s --pin %data")
        .ok();
    scene
        .run("volume snapshot create --name short --expire 1s %data")
        .ok();
    until("it expires", || {
        let names = scene
            .run("volume snapshot ls %data --format {{.Name}}")
            .ok();
        (!names.contains("short")).then_some(())
    });
    let names = scene
        .run("volume snapshot ls %data --format {{.Name}}")
        .ok();
    assert!(names.contains("pinned"), "{names}");
    scene.run("volume snapshot unpin %data@pinned").ok();
    scene.run("volume rm %data").ok();
}

/// A schedule keeps so many, whatever fails around its snapshots, and says what failed.
fn retention(kind: &str, make: &[&str]) {
    let mut place = Place::new(&format!("kept-{kind}"), make);
    place
        .run("run -d --name app -v data:/data busybox sleep 1000")
        .ok();
    place.run("volume snapshot create --name mine data").ok();
    // No hour begins while this runs.
    let now = Timestamp::now() + SignedDuration::from_mins(30);
    let at = now.strftime("%H:%M");
    // What follows a snapshot fails: it is made once all the same, and counts.
    place
        .run_and(
            &format!("volume schedule set --hourly 2 --at {at} data --post"),
            "echo x >> /data/after; echo sorry; exit 3",
        )
        .ok();
    let failed = |place: &Place, text: &str| {
        until("its failure is told", || {
            let schedule = place.schedule("data");
            let result = schedule["Result"].as_str().unwrap();
            result.contains(text).then_some(schedule.clone())
        })
    };
    let schedule = failed(&place, "ended with 3: sorry");
    assert_eq!(schedule["Consistency"], "hook");
    let next = schedule["NextRun"].as_str().unwrap();
    assert!(next.starts_with("in "), "{schedule}");
    let first = place.scheduled("data");
    assert_eq!(first.len(), 1);
    let events = place
        .run("events --since 1h --until 0s --filter event=snapshot_failed")
        .ok();
    assert_eq!(events.lines().count(), 1, "{events}");
    assert!(
        events.contains(&first[0]) && events.contains("sorry"),
        "{events}"
    );
    let audit = place.run("volume audit --fast");
    audit.fails(1, "snapshot-failed");
    audit.fails(1, "its schedule failed");
    let metrics = place.run("system metrics").ok();
    let line = "orlop_snapshot_schedule_failures_in_a_row{volume=\"data\"} 1";
    assert!(metrics.contains(line), "{metrics}");

    // An engine that comes back does not try again what is made; it looks at the volumes in order.
    let engine = place.engine.as_mut().unwrap();
    engine.kill();
    engine.resume();
    place.run("volume create later").ok();
    place.run("volume schedule set --daily 1 later").ok();
    until("the clock has looked", || {
        (place.scheduled("later").len() == 1).then_some(())
    });
    assert_eq!(place.scheduled("data"), first);
    assert_eq!(place.sh("cat /data/after").ok(), "x");

    place.an_hour_later("data");
    let both = until("the next one is made", || {
        let names = place.scheduled("data");
        (names.len() == 2).then_some(names)
    });
    assert_eq!(both[0], first[0]);
    failed(&place, "sorry");
    place.an_hour_later("data");
    let newest = until("the oldest goes with the third", || {
        let names = place.scheduled("data");
        (names.len() == 2 && names != both).then_some(names)
    });
    assert_eq!(newest[0], both[1]);
    assert_eq!(place.sh("cat /data/after").ok(), "x\nx\nx");

    // One that is not made counts for nothing, and what is older stays.
    place
        .run_and(
            &format!("volume schedule set --hourly 2 --at {at} data --pre"),
            "echo no; exit 4",
        )
        .ok();
    place.an_hour_later("data");
    failed(&place, "ended with 4: no");
    assert_eq!(place.scheduled("data"), newest);
    place
        .run("volume audit --fast")
        .fails(1, "its schedule makes no snapshot");
    let engine = place.engine.as_mut().unwrap();
    engine.kill();
    engine.resume();
    failed(&place, "ended with 4: no");

    // What is mended is tried at once.
    place.run("volume schedule set --hourly 1 data").ok();
    let last = until("one is kept", || {
        let names = place.scheduled("data");
        (names.len() == 1).then_some(names)
    });
    assert!(!newest.contains(&last[0]), "{last:?}");
    until("all is well", || {
        (place.schedule("data")["Result"] == "done").then_some(())
    });
    place.run("volume audit --fast").ok();
    assert!(
        place
            .run("volume snapshot ls -q data")
            .ok()
            .contains("data@mine")
    );
    for line in ["rm -f app", "volume rm --now data later"] {
        place.run(line).ok();
    }
}

/// What was done to a volume is told by its history, however often it was mounted since.
fn history(scene: &Scene) {
    let told = || -> Vec<String> {
        let history = scene.run("volume history --json %data").json();
        let event = |event: &serde_json::Value| {
            let word = |key: &str| event[key].as_str().unwrap().to_owned();
            format!("{} {}", word("Action"), word("Detail"))
        };
        history.as_array().unwrap().iter().map(event).collect()
    };
    for line in [
        "volume create %data",
        "volume snapshot create --name one %data",
        "volume snapshot pin %data@one",
        "volume snapshot unpin %data@one",
        "volume restore %data@one",
        "volume restore --undo %data",
        "volume snapshot rm %data@one",
        "volume schedule set --daily 7 --at 02:30 --hook redis %data",
    ] {
        scene.run(line).ok();
    }
    until("the first scheduled one is made", || {
        told()
            .iter()
            .any(|event| {
                event.starts_with("snapshot_scheduled ") && event.ends_with(" (schedule, sync)")
            })
            .then_some(())
    });
    scene.run("volume schedule rm %data").ok();
    let events = told();
    for (number, start) in [
        "create ",
        "snapshot one (manual, sync)",
        "pin one",
        "unpin one",
        "restore one; kept as before-restore-",
        "restore_undo before-restore-",
        "snapshot_rm one",
        "schedule daily 7, at 02:30, hook redis",
        "snapshot_scheduled ",
        "schedule_rm ",
    ]
    .into_iter()
    .enumerate()
    {
        assert!(events[number].starts_with(start), "{start}: {events:?}");
    }
    scene
        .run("volume snapshot create --name short --expire 1s %data")
        .ok();
    until("it expires", || {
        told()
            .contains(&"snapshot_expired short".to_owned())
            .then_some(())
    });
    scene.run("volume clone %data %copy").ok();
    let of = scene.name("data");
    let copied = scene.run("volume history %copy").ok();
    assert!(copied.contains(&format!("of {of}")), "{copied}");
    assert_eq!(
        scene.run("volume inspect %copy").json()[0]["CreatedBy"]["CloneOf"],
        of
    );
    scene.run("volume rm --now %data %copy").ok();
}
