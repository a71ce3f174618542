//! S245–S247, S249–S250: a database that is broken or lost, and what is made again without it.

use std::fs;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal};
use testkit::{Client, Disk, Engine, Output, binary, until};

use super::{Scenario, host};

pub(super) const OWN: &[Scenario] = &[
    ("s245a_a_database_that_is_none", |_| broken("none", &none)),
    ("s245b_a_truncated_database", |_| {
        broken("short", &truncated);
    }),
    ("s245c_a_page_that_is_overwritten", |_| {
        broken("page", &|engine| overwritten(engine, "volumes"));
    }),
    ("s246_damage_that_a_running_engine_meets", |_| met_later()),
    ("s247_a_newer_database_is_not_broken", |_| newer()),
    ("s249_who_made_it_is_known_again", |_| past()),
    ("s250a_a_copied_root_on_btrfs", |_| copied_root("btrfs")),
    ("s250b_a_copied_root_on_xfs", |_| copied_root("xfs")),
];

fn run(engine: &Engine, line: &str) -> Output {
    Client::Orlop.run(engine, &line.split(' ').collect::<Vec<_>>())
}

/// By the state directory, as users do: an engine is started when there is none.
fn by_root(engine: &Engine, line: &str) -> Output {
    let mut command = Command::new(binary());
    command.arg("--root").arg(&engine.root);
    let output = command
        .args(line.split(' '))
        .env_remove("ORLOP_HOST")
        .env_remove("ORLOP_ROOT")
        .stdin(Stdio::null())
        .process_group(0)
        .output()
        .unwrap();
    Output {
        command: line.to_owned(),
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Ends the engine that a client has started.
fn end(engine: &Engine) {
    let pid = fs::read_to_string(engine.root.join("engine.lock")).unwrap();
    let pid: i32 = pid.trim().parse().unwrap();
    rustix::process::kill_process(Pid::from_raw(pid).unwrap(), Signal::TERM).unwrap();
    until("the engine ends", || {
        let status = fs::read_to_string(format!("/proc/{pid}/stat"));
        status
            .map_or(true, |status| status.contains(") Z "))
            .then_some(())
    });
}

fn python(engine: &Engine, script: &str) -> String {
    let database = engine.root.join("orlop.db");
    host("python3", &["-c", script, database.to_str().unwrap()])
}

/// What the log of the database holds is in its file.
fn checkpoint(engine: &Engine) {
    python(
        engine,
        "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('PRAGMA wal_checkpoint(TRUNCATE)').fetchall()",
    );
}

fn none(engine: &Engine) {
    checkpoint(engine);
    fs::write(engine.root.join("orlop.db"), "junk\n").unwrap();
}

fn truncated(engine: &Engine) {
    checkpoint(engine);
    let file = fs::OpenOptions::new()
        .write(true)
        .open(engine.root.join("orlop.db"))
        .unwrap();
    let length = file.metadata().unwrap().len();
    file.set_len(length / 2).unwrap();
}

/// The first page of a table.
fn overwritten(engine: &Engine, table: &str) {
    checkpoint(engine);
    let place = python(
        engine,
        &format!(
            "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); \
             print((c.execute(\"SELECT rootpage FROM sqlite_master WHERE name = '{table}'\").fetchone()[0] - 1) \
             * c.execute('PRAGMA page_size').fetchone()[0])"
        ),
    );
    let mut file = fs::OpenOptions::new()
        .write(true)
        .open(engine.root.join("orlop.db"))
        .unwrap();
    file.seek(SeekFrom::Start(place.trim().parse().unwrap()))
        .unwrap();
    file.write_all(&[0xa5; 4096]).unwrap();
}

fn put_aside(engine: &Engine) -> Vec<String> {
    fs::read_dir(&engine.root)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("orlop.db.broken-"))
        .collect()
}

fn filled(name: &str) -> Engine {
    let engine = Engine::start(name);
    run(&engine, "volume create --label color=red data").ok();
    fs::write(engine.root.join("volumes/data/_data/kept"), "x").unwrap();
    run(&engine, "volume create plain").ok();
    run(&engine, "volume snapshot create --name s data").ok();
    engine
}

fn is_whole(engine: &Engine) {
    let inspected = by_root(engine, "volume inspect data").json();
    assert_eq!(inspected[0]["Labels"]["color"], "red");
    by_root(engine, "volume inspect plain").ok();
    assert_eq!(by_root(engine, "volume cat data:/kept").ok(), "x");
    assert_eq!(by_root(engine, "volume snapshot diff data@s").ok(), "");
}

fn broken(name: &str, break_it: &dyn Fn(&Engine)) {
    let mut engine = filled(&format!("broken-{name}"));
    engine.kill();
    break_it(&engine);
    let before = fs::read(engine.root.join("orlop.db")).unwrap();

    let root = engine.root.display().to_string();
    let refused = by_root(&engine, "volume ls");
    refused.fails(
        1,
        &format!("orlop system rescue {root} puts the database aside"),
    );
    assert_eq!(put_aside(&engine), [""; 0], "only by command");

    let rescued = by_root(&engine, &format!("system rescue {root}"));
    let said = rescued.ok();
    for part in [
        "the database cannot be read (",
        "only in it were containers, networks, images",
        "volume data was found again by its description",
        "volume plain was found again by its description",
    ] {
        assert!(said.contains(part), "{part} in {said}");
    }
    let aside = put_aside(&engine);
    assert_eq!(aside.len(), 1, "{aside:?}");
    assert!(said.contains(&aside[0]), "{said}");
    assert!(fs::read(engine.root.join(&aside[0])).unwrap() == before);
    is_whole(&engine);
    let again = by_root(&engine, "system rescue");
    assert_eq!(again.ok(), "nothing is missing");
    end(&engine);
    engine.resume();
    is_whole(&engine);
}

/// A start does not read all of the database.
fn met_later() {
    let mut engine = filled("damaged");
    engine.kill();
    overwritten(&engine, "volume_events");
    engine.resume();
    run(&engine, "volume ls").ok();
    run(&engine, "system rescue").fails(1, "stop the engine, then orlop system rescue");
    engine.kill();
    by_root(&engine, "system rescue").ok();
    is_whole(&engine);
    by_root(&engine, "volume history data").ok();
    end(&engine);
    engine.resume();
}

fn newer() {
    let mut engine = filled("newer");
    engine.kill();
    let version = python(
        &engine,
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); v = c.execute('PRAGMA user_version').fetchone()[0]; \
         c.execute('PRAGMA user_version = 10000'); print(v)",
    );
    let refused = by_root(&engine, "system rescue");
    refused.fails(1, "was written by a newer version");
    assert!(
        !refused.stderr.contains("puts the database aside"),
        "{refused}"
    );
    assert_eq!(put_aside(&engine), [""; 0]);
    // Nor by another engine.
    let other = Engine::start("newer-other");
    run(&other, &format!("system rescue {}", engine.root.display()))
        .fails(1, "was written by a newer version");
    assert_eq!(put_aside(&engine), [""; 0]);
    python(
        &engine,
        &format!(
            "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('PRAGMA user_version = {}')",
            version.trim()
        ),
    );
    engine.resume();
    run(&engine, "volume inspect data").ok();
}

fn forget(engine: &Engine) {
    for file in ["orlop.db", "orlop.db-wal", "orlop.db-shm"] {
        fs::remove_file(engine.root.join(file)).ok();
    }
}

fn past() {
    let mut engine = Engine::start("past");
    engine.load_busybox();
    run(&engine, "run --name maker -v made:/d busybox touch /d/x").ok();
    run(&engine, "run --name reader -v made:/d:ro busybox true").ok();
    run(&engine, "volume ls --size --exact").ok();
    let shown = |engine: &Engine| {
        let inspected = run(engine, "volume inspect made").json();
        ["CreatedBy", "LastUsed", "LastWriter", "Usage"].map(|key| inspected[0][key].clone())
    };
    let before = shown(&engine);
    assert!(before.iter().all(|one| !one.is_null()), "{before:#?}");
    run(&engine, "rm maker reader").ok();
    // Who made it is written with it, the rest at the next start.
    engine.kill();
    engine.resume();
    engine.kill();
    forget(&engine);
    engine.resume();
    assert_eq!(shown(&engine), before);

    engine.load_busybox();
    run(&engine, "run --name second -v fresh:/d busybox true").ok();
    run(&engine, "rm second").ok();
    engine.kill();
    forget(&engine);
    engine.resume();
    let inspected = run(&engine, "volume inspect fresh").json();
    assert_eq!(inspected[0]["CreatedBy"]["Name"], "second");
}

/// A copy of subvolumes is plain directories: names, content and snapshots come back all the same, and what is said of limits is so.
fn copied_root(kind: &str) {
    let mut engine = Engine::new(&format!("copied-{kind}"));
    let disk = Disk::mount(kind, &engine.root, 800 << 20);
    engine.resume();
    run(&engine, "volume create --size 32m data").ok();
    run(&engine, "volume create plain").ok();
    for volume in ["data", "plain"] {
        fs::write(content(&engine, volume).join("kept"), "one").unwrap();
        run(
            &engine,
            &format!("volume snapshot create --name s {volume}"),
        )
        .ok();
    }
    engine.kill();
    forget(&engine);

    // The same root without its database.
    engine.resume();
    check(&engine, true);

    // A copy of its data, on another disk.
    engine.terminate();
    engine.unmount_all();
    let mut copy = Engine::new(&format!("copied-to-{kind}"));
    let disk_too = Disk::mount(kind, &copy.root, 800 << 20);
    let data = engine.root.join("data");
    host(
        "cp",
        &["-a", data.to_str().unwrap(), copy.root.to_str().unwrap()],
    );
    engine.resume();
    run(&engine, "volume rm --now data plain").ok();
    drop(engine);
    drop(disk);
    let rescued = by_root(&copy, "system rescue").ok();
    for volume in ["data", "plain"] {
        let found = format!("volume {volume} was found again by its description");
        assert_eq!(rescued.matches(&found).count(), 1, "{rescued}");
    }
    // A filesystem of its own is copied as a file, and keeps its limit; a subvolume is not.
    let is_lost = kind == "btrfs";
    let lost = "volume data may hold more than its limit: ";
    assert_eq!(
        rescued.matches(lost).count(),
        usize::from(is_lost),
        "{rescued}"
    );
    end(&copy);
    copy.resume();
    check(&copy, !is_lost);
    if is_lost {
        assert!(
            rescued.contains("orlop volume resize data 33554432 copies it"),
            "{rescued}"
        );
        run(&copy, "volume resize data 33554432").ok();
        check(&copy, true);
    }
    // What is restored is a volume of the kind that it was.
    for volume in ["data", "plain"] {
        fs::write(content(&copy, volume).join("kept"), "two").unwrap();
        run(&copy, &format!("volume restore {volume}@s")).ok();
        assert_eq!(
            run(&copy, &format!("volume cat {volume}:/kept")).ok(),
            "one"
        );
    }
    check(&copy, true);
    run(&copy, "volume rm --now data plain").ok();
    drop(copy);
    drop(disk_too);
}

fn content(engine: &Engine, volume: &str) -> PathBuf {
    engine.root.join("volumes").join(volume).join("_data")
}

fn check(engine: &Engine, is_limited: bool) {
    let inspected = run(engine, "volume inspect data").json();
    assert_eq!(inspected[0]["Limits"]["Size"], 32 << 20);
    for volume in ["data", "plain"] {
        assert_eq!(
            run(engine, &format!("volume cat {volume}:/kept")).ok(),
            "one"
        );
        let diff = run(engine, &format!("volume snapshot diff {volume}@s"));
        assert_eq!(diff.ok(), "");
    }
    let audit = run(engine, "volume audit --level medium");
    assert_eq!(audit.ok(), "2 volumes, 0 findings");
    let big = content(engine, "data").join("big");
    let written = fs::write(&big, vec![1; 48 << 20]);
    let synced = written.and_then(|()| fs::File::open(&big)?.sync_all());
    assert_eq!(synced.is_err(), is_limited, "{synced:?}");
    fs::remove_file(&big).unwrap();
}
