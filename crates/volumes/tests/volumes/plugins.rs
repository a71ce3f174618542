//! Volumes that a plugin keeps: what each verb does, and what is left when the plugin or the engine is cut short.

use std::collections::BTreeSet;
use std::io::Cursor;
use std::os::fd::AsFd as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use sys::fault::{Action, at_step, fail_nth};
use testkit::{Behaviour, FakePlugin, until};
use volumes::{CreateVolume, PruneRequest, VolumeError, Volumes};

use crate::scratch::{Opened, Scratch, named, open_dir, trash_for, write_files};

fn fake(scratch: &Scratch) -> FakePlugin {
    let settings = scratch.plugin_settings();
    FakePlugin::start(
        &settings.sockets.join("fake.sock"),
        &scratch.root.join("kept"),
    )
}

fn with_driver(name: &str, driver: &str) -> CreateVolume {
    CreateVolume {
        driver: Some(driver.to_owned()),
        ..named(name)
    }
}

fn said<T: std::fmt::Debug>(result: Result<T, VolumeError>) -> String {
    result.unwrap_err().to_string()
}

fn names(volumes: &Volumes) -> Vec<String> {
    let survey = volumes.survey().unwrap();
    assert!(survey.warnings.is_empty(), "{:?}", survey.warnings);
    survey
        .volumes
        .into_iter()
        .map(|volume| format!("{} {}", volume.driver, volume.name))
        .collect()
}

#[test]
fn the_life_of_a_volume() {
    let scratch = Scratch::new();
    let fake = fake(&scratch);
    fake.set_scope("global");
    let opened = scratch.open();
    let volumes = &opened.volumes;
    volumes.set_trash_policy(trash_for(3600)).unwrap();
    let created = volumes
        .create(CreateVolume {
            options: [("size".to_owned(), "1g".to_owned())].into(),
            ..with_driver("data", "fake")
        })
        .unwrap();
    assert!(created.fresh);
    assert_eq!(created.volume.mountpoint, Path::new(""));
    assert_eq!(created.volume.scope, volumes::Scope::Global);
    assert_eq!(fake.options("data")["size"], "1g");
    assert!(!volumes.create(named("data")).unwrap().fresh);
    assert_eq!(
        said(volumes.create(with_driver("data", "local"))),
        "create data: driver 'fake' already has volume 'data': volume name must be unique"
    );

    let inspected = volumes.inspect("data").unwrap();
    assert_eq!(inspected.volume.mountpoint, fake.path("data"), "by Path");
    assert_eq!(inspected.volume.created_at, "2024-05-06T07:08:09Z");
    assert_eq!(inspected.status.unwrap()["mounts"], 0);

    // One mount for each holder, however often it asks.
    volumes.lease("data", "one", "/a", false).unwrap();
    fake.take_calls();
    let path = volumes.mount("data", "one").unwrap();
    assert_eq!(path, fake.path("data"));
    assert_eq!(volumes.mount("data", "one").unwrap(), path);
    assert_eq!(volumes.mount("data", "two").unwrap(), path);
    assert_eq!(volumes.mountpoint_for("data", "one").unwrap(), Some(path));
    assert_eq!(fake.mounts("data").len(), 2);
    volumes.unmount("data", "one").unwrap();
    assert_eq!(fake.mounts("data").len(), 2);
    assert_eq!(
        said(volumes.remove("data", true)),
        "remove data: volume is in use - [one]"
    );
    volumes.release("one").unwrap();
    assert_eq!(fake.mounts("data").len(), 1);
    assert_eq!(
        said(volumes.remove("data", true)),
        "remove data: volume has active mounts"
    );
    volumes.unmount("data", "two").unwrap();
    volumes.unmount("data", "two").unwrap();
    assert_eq!(
        fake.take_calls(),
        ["Mount data", "Mount data", "Unmount data", "Unmount data"]
    );

    // What needs bytes of ours is refused, and says why.
    for refused in [
        said(volumes.rename("data", "other", &|_| Ok(()))),
        said(volumes.usage("data")),
    ] {
        assert!(
            refused.starts_with("volume data is kept by volume plugin fake and cannot be "),
            "{refused}"
        );
    }
    let snapshot = volumes.copy_cost("data", None).unwrap_err();
    assert!(snapshot.to_string().contains("volume plugin"), "{snapshot}");
    volumes.protect("data", true).unwrap();
    assert_eq!(
        said(volumes.remove("data", false)),
        "volume data is protected; unprotect it first"
    );
    volumes.protect("data", false).unwrap();
    let all = PruneRequest {
        all: true,
        ..PruneRequest::default()
    };
    assert!(volumes.plan_prune(&all).unwrap().candidates.is_empty());

    opened.assert_sound("before the removal");
    volumes.remove("data", false).unwrap();
    assert!(fake.volumes().is_empty());
    assert!(volumes.trash().unwrap().is_empty(), "a plugin has no trash");
    opened.assert_sound("after the removal");
}

#[test]
fn contents() {
    let scratch = Scratch::new();
    let fake = fake(&scratch);
    let opened = scratch.open();
    let volumes = &opened.volumes;
    volumes.create(with_driver("data", "fake")).unwrap();
    let source = scratch.source(&[("a", "1"), ("d/b", "2")]);
    volumes.mount("data", "holder").unwrap();
    assert!(
        volumes
            .populate("data", None, open_dir(&source).as_fd(), None)
            .unwrap()
    );
    volumes.unmount("data", "holder").unwrap();
    let kept = fake.path("data");
    assert_eq!(std::fs::read_to_string(kept.join("d/b")).unwrap(), "2");
    let mut tar = Vec::new();
    volumes
        .export("data", archive::Compressed::Not, &mut tar)
        .unwrap();
    // One that only the plugin knows is recorded when it is used.
    fake.add("found");
    volumes.import("found", &mut Cursor::new(tar)).unwrap();
    let listed = volumes.list_files("found", "d").unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].name, "b");
    assert!(fake.mounts("data").is_empty() && fake.mounts("found").is_empty());
    opened.assert_sound("afterwards");
}

#[test]
fn volumes_that_only_the_plugin_knows() {
    let scratch = Scratch::new();
    let fake = fake(&scratch);
    let opened = scratch.open();
    let volumes = &opened.volumes;
    volumes.create(named("data")).unwrap();
    for name in ["data", "found", "gone", "reused"] {
        fake.add(name);
    }
    // The one of a record is the one that is used.
    assert_eq!(
        names(volumes),
        ["local data", "fake found", "fake gone", "fake reused"]
    );
    let inspected = volumes.inspect("found").unwrap();
    assert_eq!(inspected.volume.driver, "fake");
    assert_eq!(inspected.volume.id, None);
    volumes.remove("gone", false).unwrap();
    // Nobody says which driver.
    let reused = volumes.create(named("reused")).unwrap();
    assert_eq!(reused.volume.driver, "fake");
    assert!(reused.volume.id.is_some());
    assert_eq!(fake.volumes(), ["data", "found", "reused"]);
    assert_eq!(
        said(volumes.remove("nowhere", false)),
        "get nowhere: no such volume"
    );
    volumes.remove("nowhere", true).unwrap();

    // What the plugin loses is not shown, and can be made again if nobody needs it.
    fake.lose("reused");
    assert_eq!(names(volumes), ["local data", "fake found"]);
    assert_eq!(
        said(volumes.inspect("reused").map(|_| ())),
        "get reused: no such volume"
    );
    volumes.lease("reused", "holder", "/x", false).unwrap();
    let vanished = said(volumes.create(named("reused")));
    assert!(
        vanished.starts_with(
            "create reused: found references to volume 'reused' in driver 'fake' but the volume was not found in the driver"
        ),
        "{vanished}"
    );
    volumes.release("holder").unwrap();
    assert!(volumes.create(with_driver("reused", "fake")).unwrap().fresh);
    assert_eq!(fake.volumes(), ["data", "found", "reused"]);
    fake.lose("reused");
    volumes.remove("reused", false).unwrap();
    opened.assert_sound("afterwards");
}

#[test]
fn names_are_the_plugins_affair() {
    let scratch = Scratch::new();
    let fake = fake(&scratch);
    let opened = scratch.open();
    let volumes = &opened.volumes;
    // As some plugins want them.
    let name = "size=5,name=x y";
    volumes.create(with_driver(name, "fake")).unwrap();
    assert_eq!(fake.volumes(), [name]);
    assert_eq!(names(volumes), [format!("fake {name}")]);
    volumes.remove(name, false).unwrap();
    assert_eq!(
        said(volumes.create(with_driver("a\nb", "fake"))),
        "create \"a\\nb\": a volume's name has at most 255 bytes and no control characters"
    );
    assert!(said(volumes.create(named(name))).contains("includes invalid characters"));
    for driver in ["ghost", "../fake", "a/b", "vieux/sshfs:latest"] {
        assert_eq!(
            said(volumes.create(with_driver("data", driver))),
            format!(
                "create data: error looking up volume plugin {driver}: plugin \"{driver}\" not found"
            )
        );
    }
    opened.assert_sound("afterwards");
}

#[test]
fn a_plugin_that_refuses() {
    let scratch = Scratch::new();
    let fake = fake(&scratch);
    let opened = scratch.open();
    let volumes = &opened.volumes;
    let refuses =
        |method| fake.behave(method, Behaviour::Answer(500, r#"{"Err":"no"}"#.to_owned()));
    refuses("Create");
    assert_eq!(
        said(volumes.create(with_driver("data", "fake"))),
        "create data: VolumeDriver.Create: no"
    );
    opened.assert_sound("after a refused create");
    fake.behave_well();
    volumes.create(with_driver("data", "fake")).unwrap();
    refuses("Mount");
    assert_eq!(
        said(volumes.mount("data", "holder")),
        "error while mounting volume '': VolumeDriver.Mount: no"
    );
    fake.behave_well();
    volumes.mount("data", "holder").unwrap();
    refuses("Unmount");
    assert!(said(volumes.unmount("data", "holder")).ends_with("VolumeDriver.Unmount: no"));
    // As in Docker that was an unmount.
    assert_eq!(volumes.settle().unwrap(), 0);
    refuses("Remove");
    assert_eq!(
        said(volumes.remove("data", false)),
        "remove data: VolumeDriver.Remove: no"
    );
    assert_eq!(names(volumes), ["fake data"]);
    volumes.remove("data", true).unwrap();
    // The record has gone; what the plugin has it keeps.
    assert!(volumes.list().unwrap().is_empty());
    assert_eq!(names(volumes), ["fake data"]);
    opened.assert_sound("afterwards");
}

#[test]
fn a_plugin_that_is_gone() {
    let scratch = Scratch::new();
    let mut fake = fake(&scratch);
    let opened = scratch.open();
    let volumes = &opened.volumes;
    volumes.create(with_driver("data", "fake")).unwrap();
    volumes.create(with_driver("used", "fake")).unwrap();
    volumes.create(named("mine")).unwrap();
    volumes.mount("used", "holder").unwrap();
    fake.stop();
    let refused = "dial unix";
    for error in [
        said(volumes.mount("data", "other")),
        said(volumes.unmount("used", "holder")),
        said(volumes.remove("data", false)),
        said(volumes.inspect("data").map(|_| ())),
    ] {
        assert!(error.contains(refused), "{error}");
    }
    let known = said(volumes.create(named("data")));
    assert!(
        known.starts_with(
            "create data: found reference to volume 'data' in driver 'fake', but got an error while checking the driver: \
             error while checking if volume \"data\" exists in driver \"fake\": "
        ) && known.ends_with(": volume name must be unique"),
        "{known}"
    );
    // The others go on, and the list says who is missing.
    let survey = volumes.survey().unwrap();
    assert_eq!(survey.volumes.len(), 3);
    assert_eq!(survey.warnings.len(), 1);
    assert!(
        survey.warnings[0].starts_with("list fake: ") && survey.warnings[0].contains(refused),
        "{:?}",
        survey.warnings
    );
    volumes.create(named("new")).unwrap();
    volumes.remove("new", false).unwrap();
    volumes.remove("data", true).unwrap();

    assert_eq!(volumes.settle().unwrap(), 1);
    assert_eq!(volumes.owed().unwrap()["fake"], 1);
    fake.resume();
    assert_eq!(fake.mounts("used").len(), 1);
    assert_eq!(volumes.settle().unwrap(), 0);
    assert!(fake.mounts("used").is_empty(), "it has been told");
    assert_eq!(names(volumes), ["fake data", "local mine", "fake used"]);
    opened.assert_sound("afterwards");
}

#[test]
fn a_plugin_that_hangs_keeps_nobody_else() {
    let scratch = Scratch::new();
    let fake = fake(&scratch);
    let opened = scratch.open();
    let volumes = &opened.volumes;
    volumes.create(with_driver("data", "fake")).unwrap();
    for method in ["Mount", "Get", "List", "Activate"] {
        fake.behave(method, Behaviour::Hang);
    }
    std::thread::scope(|scope| {
        let stuck = scope.spawn(|| volumes.mount("data", "holder"));
        until("the plugin hangs", || {
            fake.take_calls()
                .contains(&"Mount data".to_owned())
                .then_some(())
        });
        let began = Instant::now();
        for round in 0..20 {
            let name = format!("mine{round}");
            volumes.create(named(&name)).unwrap();
            volumes.mount(&name, "other").unwrap();
            volumes.unmount(&name, "other").unwrap();
            volumes.remove(&name, false).unwrap();
            assert!(!volumes.survey().unwrap().warnings.is_empty());
        }
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "{:?}",
            began.elapsed()
        );
        let silent = said(stuck.join().unwrap());
        assert!(silent.contains("context deadline exceeded"), "{silent}");
    });
    // Nobody knows whether it is mounted: the plugin will be told that it is not needed.
    assert_eq!(volumes.owed().unwrap()["fake"], 1);
    fake.behave_well();
    until("the plugin has been told", || {
        (volumes.settle().unwrap() == 0).then_some(())
    });
    assert!(fake.mounts("data").is_empty());
    opened.assert_sound("afterwards");
}

#[test]
fn nothing_is_called_while_an_engine_starts() {
    let scratch = Scratch::new();
    let fake = fake(&scratch);
    {
        let opened = scratch.open();
        opened.volumes.create(with_driver("data", "fake")).unwrap();
        for holder in ["runs", "ended", ":export"] {
            opened.volumes.mount("data", holder).unwrap();
        }
    }
    fake.take_calls();
    let paths = std::sync::Arc::new(store::Paths::new(scratch.root.join("state")).unwrap());
    let store = std::sync::Arc::new(store::Store::open(&paths).unwrap());
    let volumes = Volumes::open(store, paths, scratch.plugin_settings()).unwrap();
    volumes.recover().unwrap();
    volumes
        .end_mounts_of_others(&BTreeSet::from(["runs".to_owned()]))
        .unwrap();
    volumes.unmount("data", "ended").unwrap();
    assert!(fake.take_calls().is_empty());
    assert!(said(volumes.mount("data", "new")).contains("is not called while the engine starts"));
    volumes.admit_plugins();
    assert_eq!(volumes.settle().unwrap(), 0);
    assert_eq!(fake.mounts("data").len(), 1, "only who runs");
    assert_eq!(volumes.mount("data", "runs").unwrap(), fake.path("data"));
    assert_eq!(
        fake.take_calls(),
        ["Activate", "Capabilities", "Unmount data", "Unmount data"]
    );
}

#[test]
fn records_come_back_from_descriptions() {
    let scratch = Scratch::new();
    let _fake = fake(&scratch);
    drop({
        let opened = scratch.open();
        opened.volumes.create(with_driver("a=b", "fake")).unwrap();
        opened
    });
    for file in ["orlop.db", "orlop.db-wal", "orlop.db-shm"] {
        let path = scratch.root.join("state").join(file);
        if path.exists() {
            std::fs::remove_file(path).unwrap();
        }
    }
    let opened = scratch.open();
    assert_eq!(opened.volumes.get("a=b").unwrap().driver, "fake");
    opened.assert_sound("after the rescue");
}

struct Case {
    name: &'static str,
    kinds: &'static [&'static str],
    act: fn(&Opened) -> Result<(), VolumeError>,
}

const CASES: &[Case] = &[
    Case {
        name: "create",
        kinds: &["volume-create"],
        act: |opened| opened.volumes.create(with_driver("new", "fake")).map(drop),
    },
    Case {
        name: "remove",
        kinds: &["volume-withdraw"],
        act: |opened| opened.volumes.remove("old", false),
    },
    Case {
        name: "mount",
        kinds: &["plugin-mount"],
        act: |opened| {
            opened.volumes.mount("old", "holder")?;
            opened.volumes.unmount("old", "holder")
        },
    },
];

fn points(case: &Case) -> Vec<String> {
    volumes::recover::points()
        .into_iter()
        .filter(|point| {
            case.kinds
                .iter()
                .any(|kind| point.starts_with(&format!("{kind}:")))
        })
        .collect()
}

fn prepared(scratch: &Scratch) -> Opened {
    let opened = scratch.open();
    opened.volumes.create(with_driver("old", "fake")).unwrap();
    write_files(&scratch.root.join("kept/old"), &[("file", "bytes")]);
    opened
}

/// Whatever was cut short: a start puts it right, the plugin is told everything, and what was wanted can be had.
fn check(scratch: &Scratch, fake: &FakePlugin, case: &Case, at: &str) {
    let opened = scratch.open();
    opened
        .volumes
        .end_mounts_of_others(&BTreeSet::new())
        .unwrap();
    assert_eq!(opened.volumes.settle().unwrap(), 0, "{at}");
    assert!(
        fake.mounts("old").is_empty(),
        "{at}: the plugin was not told"
    );
    opened.assert_sound(at);
    let removed = case.name == "remove";
    if fake.volumes().contains(&"old".to_owned()) {
        let file = scratch.root.join("kept/old/file");
        assert_eq!(std::fs::read_to_string(file).unwrap(), "bytes", "{at}");
        assert!(
            opened.volumes.get("old").is_ok(),
            "{at}: it has lost its record"
        );
    } else {
        assert!(removed, "{at}: nobody removed it");
    }
    opened.volumes.create(with_driver("new", "fake")).unwrap();
    if removed {
        opened.volumes.remove("old", true).unwrap();
    }
    let expected: &[&str] = if removed { &["new"] } else { &["new", "old"] };
    assert_eq!(fake.volumes(), expected, "{at}");
    opened.assert_sound(at);
}

#[test]
fn an_error_at_each_point() {
    for case in CASES {
        for point in points(case) {
            let at = format!("{} failed at {point}", case.name);
            let scratch = Scratch::new();
            let fake = fake(&scratch);
            let opened = prepared(&scratch);
            let armed = at_step(&point, Action::Fail(5));
            let outcome = (case.act)(&opened);
            assert!(
                armed.fired() || point.ends_with(":end"),
                "{at}: not reached"
            );
            drop(armed);
            assert_eq!(outcome.is_ok(), point.ends_with(":end"), "{at}");
            drop(opened);
            check(&scratch, &fake, case, &at);
        }
    }
}

#[test]
fn an_error_of_each_durable_call() {
    for case in CASES {
        for n in 1.. {
            let at = format!("{} with call {n} failing", case.name);
            let scratch = Scratch::new();
            let fake = fake(&scratch);
            let opened = prepared(&scratch);
            let armed = fail_nth(n, 28);
            let outcome = (case.act)(&opened);
            let fired = armed.fired();
            drop(armed);
            if !fired {
                outcome.unwrap();
                break;
            }
            assert!(outcome.is_err(), "{at}: the error was swallowed");
            drop(opened);
            check(&scratch, &fake, case, &at);
        }
    }
}

#[test]
fn a_kill_at_each_point() {
    for (index, case) in CASES.iter().enumerate() {
        let points = points(case);
        assert!(points.len() >= 4, "{}: {points:?}", case.name);
        for point in points {
            let at = format!("{} killed at {point}", case.name);
            let scratch = Scratch::new();
            let fake = fake(&scratch);
            drop(prepared(&scratch));
            let child = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "plugins::child", "--nocapture"])
                .env("ORLOP_PLUGIN_CASE", index.to_string())
                .env("ORLOP_PLUGIN_POINT", &point)
                .env("ORLOP_PLUGIN_ROOT", &scratch.root)
                .stdout(Stdio::null())
                .status()
                .unwrap();
            assert_eq!(child.signal(), Some(9), "{at}: {child}");
            check(&scratch, &fake, case, &at);
        }
    }
}

/// What [`a_kill_at_each_point`] starts; does nothing in an ordinary run.
#[test]
fn child() {
    let Ok(root) = std::env::var("ORLOP_PLUGIN_ROOT") else {
        return;
    };
    let scratch = Scratch::at(Path::new(&root));
    let index: usize = std::env::var("ORLOP_PLUGIN_CASE").unwrap().parse().unwrap();
    let opened = scratch.open();
    let _armed = at_step(&std::env::var("ORLOP_PLUGIN_POINT").unwrap(), Action::Kill);
    let outcome = (CASES[index].act)(&opened);
    panic!("still alive: {outcome:?}");
}
