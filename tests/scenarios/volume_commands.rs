//! S20–S23: the `volume` commands, their texts, filters and exit codes.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use testkit::until;

use super::{Scenario, Scene, host, one_prune_at_a_time};

pub(super) const SCENARIOS: &[Scenario] = &[
    ("s20_create", s20),
    ("s20a_names_that_are_refused", s20a),
    ("s20b_create_again", s20b),
    ("s21_ls_inspect_rm", s21),
    ("s21a_a_volume_in_use", s21a),
    ("s21b_filters", s21b),
    ("s21c_prune", s21c),
    ("s21d_prune_asks", s21d),
    ("s21e_tmpfs_option", s21e),
    ("s21f_bind_option", s21f),
    ("s21g_bad_options", s21g),
    ("s22_generic_inspect", s22),
    ("s24_events", s24),
];

pub(super) const OWN: &[Scenario] = &[
    ("s23_export_and_import", s23),
    ("s23a_import_refuses_what_is_wrong", s23a),
    ("s23b_a_volume_travels_as_an_archive", s23b),
];

fn s20(scene: &Scene) {
    let generated = scene.run("volume create").ok();
    assert!(
        generated.len() == 64 && generated.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "{generated}"
    );
    let labels = scene
        .run_and("volume inspect --format", &["{{json .Labels}}", &generated])
        .json();
    assert_eq!(
        labels["com.docker.volume.anonymous"], "",
        "a volume without a name is anonymous"
    );
    assert_eq!(
        scene.run("volume create --name %example").ok(),
        scene.name("example")
    );
    assert_eq!(scene.run("volume create %other").ok(), scene.name("other"));
    assert_ne!(scene.run("volume create --name %a %b").code, 0);
    scene.run("volume create %a %b").fails(1, "argument");
    assert!(scene.data("example").is_dir());
    assert_eq!(
        scene
            .run(&format!("volume rm {generated} %example %other"))
            .ok()
            .lines()
            .count(),
        3
    );
    assert!(!scene.data("example").exists());
}

fn s20a(scene: &Scene) {
    for (name, text) in [
        (
            "a",
            "volume name is too short, names should be at least two alphanumeric characters",
        ),
        ("a/b", "includes invalid characters for a local volume name"),
        (
            "../up",
            "includes invalid characters for a local volume name",
        ),
        ("-x", "-x"),
        (
            ".hidden",
            "includes invalid characters for a local volume name",
        ),
    ] {
        let output = scene.run(&format!("volume create {name}"));
        assert_ne!(output.code, 0, "{output}");
        assert!(output.stderr.contains(text), "{text} in {output}");
    }
    scene
        .run("volume create -d nosuchdriver %x")
        .fails(1, "nosuchdriver");
    scene.run("volume inspect %x").fails(1, "no such volume");
}

fn s20b(scene: &Scene) {
    scene.run("volume create --label first=1 %twice").ok();
    fs::write(scene.data("twice").join("kept"), "x").unwrap();
    assert_eq!(
        scene.run("volume create --label second=2 %twice").ok(),
        scene.name("twice")
    );
    let labels = scene
        .run_and("volume inspect %twice --format", &["{{json .Labels}}"])
        .json();
    assert_eq!(
        labels,
        serde_json::json!({ "first": "1" }),
        "an existing volume keeps its labels"
    );
    assert!(scene.data("twice").join("kept").exists());
    scene
        .run("volume create -d nosuchdriver %twice")
        .fails(1, &scene.name("twice"));
    scene.run("volume rm %twice").ok();
}

fn s21(scene: &Scene) {
    scene.run("volume create --label colour=blue %example").ok();
    let listed = scene.run("volume ls --filter name=%example").ok();
    let lines: Vec<&str> = listed.lines().collect();
    assert_eq!(lines[0], "DRIVER    VOLUME NAME");
    assert_eq!(lines[1], format!("local     {}", scene.name("example")));
    assert_eq!(lines.len(), 2);
    let inspected = scene.run("volume inspect %example").json();
    let volume = &inspected[0];
    assert_eq!(volume["Name"], scene.name("example"));
    assert_eq!(volume["Driver"], "local");
    assert_eq!(volume["Scope"], "local");
    assert_eq!(
        volume["Mountpoint"],
        scene.data("example").to_str().unwrap()
    );
    assert_eq!(volume["Labels"], serde_json::json!({ "colour": "blue" }));
    assert!(volume["Options"].is_null() || volume["Options"] == serde_json::json!({}));
    let created = volume["CreatedAt"].as_str().unwrap();
    assert!(
        created.starts_with("20") && created.contains('T'),
        "{created}"
    );
    let keys: Vec<&String> = volume.as_object().unwrap().keys().collect();
    if scene.client == testkit::Client::Docker {
        assert_eq!(keys.len(), 7, "{keys:?}");
    }
    let directory = fs::metadata(scene.data("example")).unwrap();
    assert_eq!((directory.uid(), directory.mode() & 0o7777), (0, 0o755));
    assert_eq!(
        scene
            .run_and(
                "volume inspect %example --format",
                &["{{.Name}} {{.Driver}} {{index .Labels \"colour\"}}"]
            )
            .ok(),
        format!("{} local blue", scene.name("example"))
    );
    scene.run("volume create %second").ok();
    // What exists is shown and removed; what does not is told, and the exit code says so.
    let mixed = scene.run("volume inspect %example %nope");
    mixed.fails(1, "no such volume");
    assert!(mixed.stdout.contains(&scene.name("example")), "{mixed}");
    let removed = scene.run("volume rm %example %nope %second");
    removed.fails(1, &format!("get {}: no such volume", scene.name("nope")));
    assert_eq!(
        removed.stdout,
        format!("{}\n{}\n", scene.name("example"), scene.name("second"))
    );
    scene
        .run("volume rm")
        .fails(1, "requires at least 1 argument");
    scene.run("volume rm -f %nope").ok();
    assert_eq!(scene.run("volume inspect %nope").stdout.trim(), "[]");
}

fn s21a(scene: &Scene) {
    scene
        .run("create --name %holder -v %used:/data busybox true")
        .ok();
    let id = scene.inspect("holder", "{{.Id}}");
    let text = format!("remove {}: volume is in use - [{id}]", scene.name("used"));
    scene.run("volume rm %used").fails(1, &text);
    scene.run("volume rm -f %used").fails(1, &text);
    assert!(scene.data("used").is_dir());
    scene.run("rm %holder").ok();
    assert_eq!(scene.run("volume rm %used").ok(), scene.name("used"));
}

fn s21b(scene: &Scene) {
    scene
        .run("volume create --label kind=%x --label more %one")
        .ok();
    scene.run("volume create --label kind=%x %two").ok();
    scene
        .run("create --name %holder -v %two:/data busybox true")
        .ok();
    let list = |filters: &str| {
        let output = scene
            .run(&format!("volume ls -q --filter label=kind=%x {filters}"))
            .ok();
        output
            .lines()
            .map(|name| name.rsplit('-').next().unwrap().to_owned())
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(list(""), "one two");
    assert_eq!(
        list("--filter label=more"),
        "one",
        "several labels are all wanted"
    );
    assert_eq!(list("--filter dangling=true"), "one");
    assert_eq!(list("--filter dangling=false"), "two");
    assert_eq!(list("--filter dangling=1"), "one");
    assert_eq!(list("--filter name=tw"), "two");
    assert_eq!(list("--filter driver=local"), "one two");
    assert_eq!(list("--filter driver=other"), "");
    scene
        .run("volume ls --filter nonsense=1")
        .fails(1, "invalid filter 'nonsense'");
    scene
        .run("volume ls --filter dangling=perhaps")
        .fails(1, "invalid filter 'dangling");
    let shown = scene
        .run_and(
            "volume ls --filter name=%two --format",
            &["{{.Name}}|{{.Driver}}|{{.Scope}}|{{.Label \"kind\"}}|{{.Mountpoint}}"],
        )
        .ok();
    let expected = format!(
        "{}|local|local|{}|{}",
        scene.name("two"),
        scene.name("x"),
        scene.data("two").display()
    );
    assert_eq!(shown, expected);
    let table = scene
        .run_and(
            "volume ls --filter name=%two --format",
            &["table {{.Name}}\t{{.Driver}}"],
        )
        .ok();
    assert!(
        table.starts_with("VOLUME NAME") && table.contains("DRIVER"),
        "{table}"
    );
    let json = scene
        .run_and("volume ls --filter name=%two --format", &["{{json .}}"])
        .json();
    assert_eq!(json["Name"], scene.name("two"));
    scene.run("rm %holder").ok();
    scene.run("volume rm %one %two").ok();
}

fn s21c(scene: &Scene) {
    let _alone = one_prune_at_a_time();
    let label = format!("--label set={}", scene.name("x"));
    let anonymous = scene.run(&format!("volume create {label}")).ok();
    scene.run(&format!("volume create {label} %named")).ok();
    scene.run(&format!("volume create {label} %held")).ok();
    scene
        .run(&format!(
            "volume create {label} --opt type=tmpfs --opt device=tmpfs %optioned"
        ))
        .ok();
    scene
        .run("create --name %holder -v %held:/data busybox true")
        .ok();
    let filter = format!("--filter label=set={}", scene.name("x"));
    // Before API 1.42 a prune took named volumes, too.
    let takes_named_at_once = scene.api() < 42;
    let pruned = scene.run(&format!("volume prune -f {filter}")).ok();
    assert!(pruned.starts_with("Deleted Volumes:\n"), "{pruned}");
    assert!(pruned.contains(&anonymous), "{pruned}");
    assert!(pruned.contains("Total reclaimed space: 0B"), "{pruned}");
    assert_eq!(
        pruned.contains(&scene.name("named")),
        takes_named_at_once,
        "{pruned}"
    );
    if !takes_named_at_once {
        let pruned = scene.run(&format!("volume prune -f --all {filter}")).ok();
        assert!(pruned.contains(&scene.name("named")), "{pruned}");
    }
    assert_eq!(
        scene.run(&format!("volume prune -f {filter}")).ok(),
        "Total reclaimed space: 0B"
    );
    let left = scene.run(&format!("volume ls -q {filter}")).ok();
    assert_eq!(
        left,
        format!("{}\n{}", scene.name("held"), scene.name("optioned")),
        "used or with options: never pruned"
    );
    scene.run("rm %holder").ok();
    scene.run("volume rm %held %optioned").ok();
}

fn s21d(scene: &Scene) {
    let _alone = one_prune_at_a_time();
    let label = format!("set={}", scene.name("x"));
    let name = scene.run(&format!("volume create --label {label}")).ok();
    let asked = scene.run_with(&format!("volume prune --filter label={label}"), b"n\n");
    assert!(
        asked.stdout.contains("WARNING! This will remove"),
        "{asked}"
    );
    assert!(
        asked
            .stdout
            .contains("Are you sure you want to continue? [y/N]"),
        "{asked}"
    );
    scene.run(&format!("volume inspect {name}")).ok();
    let agreed = scene.run_with(&format!("volume prune --filter label={label}"), b"y\n");
    assert!(agreed.ok().contains(&name), "{agreed}");
    scene
        .run(&format!("volume inspect {name}"))
        .fails(1, "no such volume");
}

fn s21e(scene: &Scene) {
    scene
        .run("volume create --opt type=tmpfs --opt device=tmpfs --opt o=size=1m,mode=1770 %ram")
        .ok();
    let options = scene
        .run_and("volume inspect %ram --format", &["{{json .Options}}"])
        .json();
    assert_eq!(
        options,
        serde_json::json!({ "device": "tmpfs", "o": "size=1m,mode=1770", "type": "tmpfs" })
    );
    scene
        .run("run -d --name %first -v %ram:/r busybox sleep 1000")
        .ok();
    let mounted = scene.sh("first", "echo x > /r/f; mount | grep ' /r '").ok();
    assert!(
        mounted.contains("tmpfs")
            && mounted.contains("size=1024k")
            && mounted.contains("mode=1770"),
        "{mounted}"
    );
    scene
        .sh("first", "dd if=/dev/zero of=/r/big bs=1M count=2")
        .fails(1, "No space left on device");
    scene.run("run --rm -v %ram:/r busybox cat /r/f").ok();
    scene.run("volume rm %ram").fails(1, "volume is in use");
    scene.run("rm -f %first").ok();
    // Unmounted with its last user: what was in it is gone.
    scene
        .run("run --rm -v %ram:/r busybox cat /r/f")
        .fails(1, "No such file or directory");
    scene.run("volume rm %ram").ok();
}

fn s21f(scene: &Scene) {
    let source = scene.directory("source");
    scene
        .run(&format!(
            "volume create --opt type=none --opt o=bind --opt device={} %bind",
            source.display()
        ))
        .ok();
    scene.run("run --rm -v %bind:/b busybox touch /b/made").ok();
    assert!(source.join("made").exists());
    scene.run("volume rm %bind").ok();
    assert!(
        source.join("made").exists(),
        "the directory belongs to the host"
    );
    scene
        .run("volume create --opt type=none --opt o=bind --opt device=/nowhere/at/all %missing")
        .ok();
    scene
        .run("run --rm -v %missing:/b busybox true")
        .fails(127, "no such file or directory");
    scene.run("volume rm %missing").ok();
}

fn s21g(scene: &Scene) {
    for (options, text) in [
        ("--opt colour=blue", "invalid option: \"colour\""),
        ("--opt type=tmpfs", "missing required option: \"device\""),
        ("--opt device=/x", "missing required option: \"type\""),
        ("--opt o=bind", "missing required option"),
    ] {
        let output = scene.run(&format!("volume create {options} %bad"));
        output.fails(1, text);
    }
    let sized = scene.run("volume create --opt size=10m %bad");
    if sized.code == 0 {
        scene.run("volume rm %bad").ok();
    } else {
        sized.fails(1, "quota size requested but no quota support");
    }
    scene.run("volume inspect %bad").fails(1, "no such volume");
}

fn s22(scene: &Scene) {
    scene.run("volume create %same").ok();
    let found = scene.run("inspect %same").json();
    assert_eq!(found[0]["Driver"], "local");
    scene.run("create --name %same busybox true").ok();
    let found = scene.run("inspect %same").json();
    assert_eq!(
        found[0]["Name"],
        format!("/{}", scene.name("same")),
        "a container comes first"
    );
    let found = scene.run("inspect --type volume %same").json();
    assert_eq!(found[0]["Driver"], "local");
    let none = scene.run("inspect %nothing");
    assert_eq!((none.code, none.stdout.trim()), (1, "[]"), "{none}");
    assert!(
        none.stderr.to_lowercase().contains("no such object"),
        "{none}"
    );
    scene.run("rm %same").ok();
    scene.run("volume rm %same").ok();
}

fn s23(scene: &Scene) {
    scene
        .run_and(
            "run --rm -v %my-volume:/v busybox sh -c",
            &["cd /v; mkdir -m 2750 d; echo text > d/f; chown -R 33:4 d; ln d/f hard; ln -s d/f soft; touch -d 2001-02-03 d/f; mkfifo p"],
        )
        .ok();
    let tar = scene.directory("tar").join("v.tar");
    scene.run_into("volume export %my-volume", &tar);
    let listed = host("tar", &["--numeric-owner", "-tvf", tar.to_str().unwrap()]);
    assert!(listed.contains("33/4"), "{listed}");
    assert!(
        listed.contains("soft -> d/f") && listed.contains("link to"),
        "{listed}"
    );

    // What orlop wrote, orlop reads; what GNU tar wrote, orlop reads too.
    scene.run("volume create %again").ok();
    scene
        .run_with("volume import %again", &fs::read(&tar).unwrap())
        .ok();
    let unpacked = scene.directory("unpacked");
    host(
        "tar",
        &[
            "--numeric-owner",
            "-C",
            unpacked.to_str().unwrap(),
            "-xpf",
            tar.to_str().unwrap(),
        ],
    );
    let packed = scene.directory("packed").join("gnu.tar.gz");
    host(
        "tar",
        &[
            "--numeric-owner",
            "-C",
            unpacked.to_str().unwrap(),
            "-czf",
            packed.to_str().unwrap(),
            ".",
        ],
    );
    scene.run("volume create %gnu").ok();
    scene
        .run_with("volume import %gnu", &fs::read(&packed).unwrap())
        .ok();
    for directory in [scene.data("again"), unpacked, scene.data("gnu")] {
        let file = fs::metadata(directory.join("d/f")).unwrap();
        assert_eq!(
            (
                file.uid(),
                file.gid(),
                file.nlink(),
                file.mtime() < 1_000_000_000
            ),
            (33, 4, 2, true)
        );
        assert_eq!(
            fs::metadata(directory.join("d")).unwrap().mode() & 0o7777,
            0o2750
        );
        assert_eq!(
            fs::metadata(directory.join("hard")).unwrap().ino(),
            file.ino()
        );
        assert_eq!(
            fs::read_to_string(directory.join("soft")).unwrap(),
            "text\n"
        );
        assert!(directory.join("p").exists());
    }
    scene.run("volume rm %my-volume %again %gnu").ok();
}

/// What the volume says of itself travels in front of the files, and GNU tar says nothing of it.
fn s23b(scene: &Scene) {
    scene
        .run("volume create --label team=a --label empty= %labelled")
        .ok();
    fs::write(scene.data("labelled").join("file"), "text").unwrap();
    let archives = scene.directory("archives");
    for (format, ending) in [
        ("none", "tar"),
        ("gzip", "tar.gz"),
        ("xz", "tar.xz"),
        ("zstd", "tar.zst"),
    ] {
        let tar = archives.join(format!("v.{ending}"));
        let path = tar.to_str().unwrap();
        scene
            .run(&format!(
                "volume export --compress {format} -o {path} %labelled"
            ))
            .ok();
        if format == "none" || format == "gzip" || has(format) {
            let unpacked = scene.directory(&format!("unpacked-{format}"));
            let done = std::process::Command::new("tar")
                .args(["-xvf", path, "-C", unpacked.to_str().unwrap()])
                .output()
                .unwrap();
            assert!(done.status.success() && done.stderr.is_empty(), "{done:?}");
            assert_eq!(String::from_utf8_lossy(&done.stdout), "./\nfile\n");
            assert_eq!(fs::read_dir(&unpacked).unwrap().count(), 1);
        } else {
            println!("skipped: GNU tar has no {format} on this host");
        }
        let made = scene.run(&format!("volume import %travelled {path}"));
        assert_eq!(made.ok(), scene.name("travelled"));
        let shown = &scene.run("volume inspect %travelled").json()[0];
        assert_eq!(shown["Labels"]["team"], "a", "{shown}");
        assert_eq!(shown["Labels"]["empty"], "");
        assert_eq!(
            fs::read_to_string(scene.data("travelled").join("file")).unwrap(),
            "text"
        );
        // It keeps its own labels from now on.
        scene.run("volume label %travelled team=b").ok();
        scene.run(&format!("volume import %travelled {path}")).ok();
        let shown = &scene.run("volume inspect %travelled").json()[0];
        assert_eq!(shown["Labels"]["team"], "b", "{shown}");
        scene.run("volume rm %travelled").ok();
    }
    let unmade = archives.join("unmade.tar");
    scene
        .run(&format!(
            "volume export --compress lzma %labelled -o {}",
            unmade.display()
        ))
        .fails(1, "it is none, gzip, xz or zstd");
    assert!(!unmade.exists());
    // Lines for programs, and nothing unless somebody looks.
    let tar = archives.join("told.tar");
    let told = scene.run(&format!(
        "volume export --progress json -o {} %labelled",
        tar.display()
    ));
    let last: serde_json::Value = told
        .stderr
        .lines()
        .last()
        .and_then(|line| serde_json::from_str(line).ok())
        .expect("a line of JSON");
    assert_eq!(last["action"], "Exporting", "{told}");
    assert_eq!(
        last["current"].as_u64().unwrap(),
        fs::metadata(&tar).unwrap().len()
    );
    for silent in ["", "--quiet ", "--progress none "] {
        let told = scene.run(&format!(
            "volume export {silent}-o {} %labelled",
            tar.display()
        ));
        assert!(told.stderr.is_empty(), "{told}");
    }
    scene.run("volume rm %labelled").ok();
}

/// Whether a program is installed.
fn has(program: &str) -> bool {
    std::process::Command::new(program)
        .arg("--version")
        .output()
        .is_ok()
}

fn s23a(scene: &Scene) {
    scene.run("volume create %target").ok();
    fs::write(scene.data("target").join("before"), "x").unwrap();
    let no_tar = scene.run_with("volume import %target", b"this is no archive at all");
    assert_ne!(no_tar.code, 0, "{no_tar}");
    let scratch = scene.directory("evil");
    let victim = scratch.join("victim");
    fs::write(scratch.join("x"), "evil").unwrap();
    let tar = scratch.join("evil.tar");
    host(
        "tar",
        &[
            "-C",
            scratch.to_str().unwrap(),
            "-P",
            "--transform",
            &format!("s|^x$|{}|", victim.display()),
            "-cf",
            tar.to_str().unwrap(),
            "x",
        ],
    );
    // Refused or kept inside the volume, never outside.
    drop(scene.run_with("volume import %target", &fs::read(&tar).unwrap()));
    assert!(!victim.exists());
    assert!(scene.data("target").join("before").exists());
    scene
        .run_with("volume import %missing", &fs::read(&tar).unwrap())
        .fails(1, "no such volume");
    scene.run_into("volume export %target", &tar);
    scene
        .run("volume export %missing")
        .fails(1, "no such volume");
    scene.run("volume rm %target").ok();
}

fn s24(scene: &Scene) {
    let listening = scene.start("events --filter type=volume");
    let name = scene.name("told");
    // The stream has no first line: repeat a harmless change until it is heard.
    until("events are heard", || {
        scene.run("volume create %first").ok();
        scene.run("volume rm %first").ok();
        listening
            .stdout()
            .contains(&scene.name("first"))
            .then_some(())
    });
    scene.run("volume create %told").ok();
    scene.run("volume create %told").ok();
    scene.run("run --rm -v %told:/data busybox true").ok();
    scene.run("volume rm %told").ok();
    listening.expect(&format!("volume destroy {name}"));
    listening.signal(rustix::process::Signal::TERM);
    let heard = listening.finish().stdout;
    let heard: Vec<&str> = heard.lines().filter(|line| line.contains(&name)).collect();
    let verbs: Vec<&str> = heard
        .iter()
        .map(|line| line.split_whitespace().nth(2).unwrap())
        .collect();
    assert_eq!(
        verbs,
        ["create", "mount", "unmount", "destroy"],
        "an idempotent create is no event: {heard:#?}"
    );
    assert!(
        heard[1].contains("destination=/data") && heard[1].contains("read/write=true"),
        "{}",
        heard[1]
    );
}
