//! What people do with a plugin's volumes while all goes well.

use std::fs;

use testkit::{Behaviour, Client, until};

use super::{Scene, Test};

pub(super) const TESTS: &[Test] = &[
    ("a_volume_of_a_plugin", a_volume),
    ("volumes_that_the_plugin_has", volumes_that_the_plugin_has),
    ("words", words),
    ("managed_plugins", managed_plugins),
];

fn a_volume(scene: &mut Scene) {
    let fake = scene.fake();
    fake.set_scope("global");
    assert_eq!(
        scene
            .run("volume create -d fake -o size=1g -o x=y --label l=1 data")
            .ok(),
        "data"
    );
    assert_eq!(fake.options("data")["size"], "1g");
    let shown = scene.run("volume inspect data").json();
    let shown = &shown[0];
    assert_eq!(shown["Driver"], "fake");
    assert_eq!(shown["Scope"], "global");
    assert_eq!(shown["Options"]["x"], "y");
    assert_eq!(shown["Labels"]["l"], "1");
    assert_eq!(shown["Status"]["mounts"], 0);
    assert_eq!(shown["Mountpoint"], fake.path("data").to_str().unwrap());
    assert_eq!(shown["CreatedAt"], "2024-05-06T07:08:09Z");
    scene.run("volume create local").ok();
    assert_eq!(scene.run("volume ls -q -f driver=fake").ok(), "data");
    assert_eq!(scene.run("volume ls -q").ok(), "data\nlocal");
    let drivers = scene
        .run_and("info --format", &["{{json .Plugins.Volume}}"])
        .ok();
    assert_eq!(drivers, r#"["local","fake"]"#);

    // Each container has a mount of its own; the first fills the volume from the image.
    scene
        .run("run -d --name one --stop-signal KILL -v data:/etc --volume-driver fake busybox sleep 1000")
        .ok();
    let passwd = fs::read_to_string(fake.path("data").join("passwd")).unwrap();
    assert!(passwd.contains("root:"), "filled from the image: {passwd}");
    let source = scene
        .run_and(
            "inspect one --format",
            &["{{(index .Mounts 0).Source}} {{(index .Mounts 0).Driver}}"],
        )
        .ok();
    assert_eq!(source, format!("{} fake", fake.path("data").display()));
    scene
        .run_and("exec one sh -c", &["echo hello >/etc/greeting"])
        .ok();
    assert_eq!(scene.sh("data", "cat /x/greeting").ok(), "hello");
    scene
        .run_and(
            "run --rm -v data:/x:ro busybox sh -c",
            &["echo no >/x/greeting"],
        )
        .fails(1, "Read-only file system");
    assert_eq!(
        scene
            .run("run --rm --volumes-from one busybox cat /etc/greeting")
            .ok(),
        "hello"
    );
    scene
        .run(
            "create --name two --mount type=volume,src=data,dst=/y,volume-driver=fake busybox true",
        )
        .ok();
    let kept = scene.directory("host");
    fs::write(kept.join("copied"), "from the host").unwrap();
    scene
        .run(&format!("cp {} two:/y/", kept.join("copied").display()))
        .ok();
    assert_eq!(
        fs::read_to_string(fake.path("data").join("copied")).unwrap(),
        "from the host"
    );
    assert_eq!(fake.mounts("data").len(), 1, "only the one that runs");
    if scene.client == Client::Orlop {
        let subpath =
            "run --rm --mount type=volume,src=data,dst=/y,volume-subpath=network busybox ls /y";
        fs::create_dir_all(fake.path("data").join("network")).unwrap();
        scene.run(subpath).ok();
        assert!(scene.run("volume export data").stdout.contains("greeting"));
        scene.run("volume protect data").ok();
        scene.run("volume unprotect data").ok();
        scene
            .run("volume snapshot create data")
            .fails(1, "can have no snapshots");
        scene.run("volume rename data other").fails(
            1,
            "volume data is kept by volume plugin fake and cannot be renamed",
        );
    }
    let used = scene.run("volume rm data");
    used.fails(1, "remove data: volume is in use - [");
    scene.run("rm -f one two").ok();
    until("the plugin has been told", || {
        fake.mounts("data").is_empty().then_some(())
    });

    // A volume with options of its own, made by the container that uses it.
    let mount = "type=volume,src=made,dst=/x,volume-driver=fake,volume-opt=o=p";
    scene
        .run_and(
            &format!("run --rm --mount {mount} busybox sh -c"),
            &["echo 1 >/x/f"],
        )
        .ok();
    assert_eq!(fake.options("made")["o"], "p");
    scene
        .run("run --rm -v /anonymous --volume-driver fake busybox true")
        .ok();
    assert_eq!(
        fake.volumes(),
        ["data", "made"],
        "an anonymous volume goes with its container"
    );
    let prune = if scene.client == Client::Orlop {
        "volume prune -f --all"
    } else {
        "volume prune -f"
    };
    scene.run(prune).ok();
    assert_eq!(
        fake.volumes(),
        ["data", "made"],
        "a plugin's volumes are not pruned"
    );
    assert_eq!(scene.run("volume rm data made").ok(), "data\nmade");
    assert!(fake.volumes().is_empty());
}

fn volumes_that_the_plugin_has(scene: &mut Scene) {
    let fake = scene.fake();
    fake.add("found");
    fs::write(fake.path("found").join("file"), "old").unwrap();
    fake.add("other");
    assert_eq!(
        scene
            .run_and("volume ls --format", &["{{.Driver}} {{.Name}}"])
            .ok(),
        "fake found\nfake other"
    );
    assert_eq!(
        scene
            .run_and("volume inspect found --format", &["{{.Driver}}"])
            .ok(),
        "fake"
    );
    assert_eq!(
        scene.run("volume ls -q -f dangling=true").ok(),
        "found\nother"
    );
    // No driver is named, and the plugin has it.
    assert_eq!(scene.sh("found", "cat /x/file").ok(), "old");
    scene.run("volume rm other").ok();
    assert_eq!(fake.volumes(), ["found"]);
    fake.lose("found");
    assert_eq!(scene.run("volume ls -q").ok(), "");
    scene.run("volume rm found").ok();
    scene
        .run("volume rm found")
        .fails(1, "get found: no such volume");
    scene.run("volume rm -f found").ok();
}

fn words(scene: &mut Scene) {
    let fake = scene.fake();
    scene.run("volume create -d ghost data").fails(
        1,
        "create data: error looking up volume plugin ghost: plugin \"ghost\" not found",
    );
    scene
        .run("run --rm -v data:/x --volume-driver ghost busybox true")
        .fails(
            125,
            "error looking up volume plugin ghost: plugin \"ghost\" not found",
        );
    let refuses = |method, err: &str| {
        fake.behave(
            method,
            Behaviour::Answer(500, format!(r#"{{"Err":"{err}"}}"#)),
        );
    };
    refuses("Create", "out of space");
    scene
        .run("volume create -d fake data")
        .fails(1, "create data: VolumeDriver.Create: out of space");
    fake.behave_well();
    scene.run("volume create -d fake data").ok();
    scene.run("volume create -d local data").fails(
        1,
        "create data: driver 'fake' already has volume 'data': volume name must be unique",
    );
    refuses("Mount", "no route");
    scene
        .run("run --rm -v data:/x busybox true")
        .fails(125, "VolumeDriver.Mount: no route");
    fake.behave(
        "Mount",
        Behaviour::Answer(200, r#"{"Mountpoint":"/mnt/../etc"}"#.to_owned()),
    );
    scene
        .run("run --rm -v data:/x busybox true")
        .fails(125, "cannot be a mount point");
    fake.behave_well();
    refuses("Remove", "busy");
    scene
        .run("volume rm data")
        .fails(1, "remove data: VolumeDriver.Remove: busy");
    refuses("List", "cannot list");
    // The record is shown all the same.
    assert_eq!(scene.run("volume ls -q").ok(), "data");
    fake.behave_well();
    scene.run("volume rm data").ok();
    assert_eq!(
        scene.run("ps -aq").ok(),
        "",
        "no container is left of all that"
    );
}

fn managed_plugins(scene: &mut Scene) {
    assert_eq!(scene.run("plugin ls -q").ok(), "");
    let header = scene.run("plugin ls").ok();
    assert!(
        header.starts_with("ID") && header.lines().count() == 1,
        "{header}"
    );
    scene.run("plugin inspect none").fails(1, "none");
    for verb in ["enable", "disable", "rm"] {
        scene
            .run(&format!("plugin {verb} none"))
            .fails(1, "plugin \"none\" not found");
    }
    scene
        .run("plugin set none A=b")
        .fails(1, "plugin \"none\" not found");
    scene
        .run("plugin install vieux/sshfs")
        .fails(1, "managed plugins are not supported");
}
