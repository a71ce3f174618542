//! Files of containers from outside: `cp`, `diff`, `export`.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::{Scenario, Scene, host};

pub(super) const SCENARIOS: &[Scenario] = &[
    ("f01_cp_out", f01),
    ("f02_cp_in", f02),
    ("f03_cp_and_mounts", f03),
    ("f04_cp_refuses", f04),
    ("f05_cp_streams", f05),
    ("f06_cp_stays_inside", f06),
    ("f07_diff", f07),
    ("f08_export", f08),
];

fn cp(scene: &Scene, from: &str, to: &str) -> testkit::Output {
    scene
        .client
        .run(&scene.engine, &["cp", &scene.fill(from), &scene.fill(to)])
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn f01(scene: &Scene) {
    let here = scene.directory("out");
    scene
        .run_and("run -d --name %it busybox sh -c", &["mkdir -p /d/sub; echo one > /d/one; echo two > /d/sub/two; ln -s one /d/link; chown 33:4 /d/one; chmod 640 /d/one; echo ready; exec sleep 1000"])
        .ok();
    scene.until_logs("it", "ready");
    for state in ["running", "stopped"] {
        let target = here.join(state);
        fs::create_dir(&target).unwrap();
        cp(scene, "%it:/d/one", text(&target)).ok();
        assert_eq!(fs::read_to_string(target.join("one")).unwrap(), "one\n");
        assert_eq!(
            fs::metadata(target.join("one")).unwrap().mode() & 0o7777,
            0o640
        );
        // A new name; a directory under a new name; the content of a directory.
        cp(scene, "%it:/d/one", text(&target.join("renamed"))).ok();
        assert!(target.join("renamed").is_file());
        cp(scene, "%it:/d", text(&target.join("copy"))).ok();
        assert_eq!(
            fs::read_to_string(target.join("copy/sub/two")).unwrap(),
            "two\n"
        );
        cp(scene, "%it:/d", text(&target)).ok();
        assert!(target.join("d/sub/two").exists());
        fs::create_dir(target.join("content")).unwrap();
        cp(scene, "%it:/d/.", text(&target.join("content"))).ok();
        assert!(target.join("content/sub/two").exists());
        assert_eq!(
            text(&fs::read_link(target.join("content/link")).unwrap()),
            "one"
        );
        cp(scene, "%it:/d/link", text(&target.join("as-link"))).ok();
        assert!(
            fs::symlink_metadata(target.join("as-link"))
                .unwrap()
                .is_symlink()
        );
        let followed = target.join("followed");
        scene
            .client
            .run(
                &scene.engine,
                &["cp", "-L", &scene.fill("%it:/d/link"), text(&followed)],
            )
            .ok();
        assert_eq!(fs::read_to_string(followed).unwrap(), "one\n");
        if state == "running" {
            scene.run("stop -t 0 %it").ok();
        }
    }
    scene.run("rm %it").ok();
}

fn f02(scene: &Scene) {
    let here = scene.directory("in");
    fs::create_dir_all(here.join("tree/sub")).unwrap();
    fs::write(here.join("tree/sub/file"), "inside\n").unwrap();
    fs::write(here.join("file"), "text\n").unwrap();
    scene.run("run -d --name %run busybox sleep 1000").ok();
    scene
        .run("create --name %new busybox cat /etc/file /opt/tree/sub/file /srv/sub/file")
        .ok();
    for container in ["run", "new"] {
        cp(
            scene,
            text(&here.join("file")),
            &format!("%{container}:/etc"),
        )
        .ok();
        cp(
            scene,
            text(&here.join("file")),
            &format!("%{container}:/etc/renamed"),
        )
        .ok();
        // A directory that is missing is made from the source; into one that is there the source goes by its name.
        cp(scene, text(&here), &format!("%{container}:/opt")).ok();
        cp(
            scene,
            &format!("{}/.", text(&here.join("tree"))),
            &format!("%{container}:/srv"),
        )
        .ok();
        cp(
            scene,
            text(&here.join("tree")),
            &format!("%{container}:/tmp"),
        )
        .ok();
    }
    let seen = scene
        .run("exec %run cat /etc/file /etc/renamed /opt/tree/sub/file /srv/sub/file")
        .ok();
    assert_eq!(seen, "text\ntext\ninside\ninside");
    assert_eq!(scene.run("start -a %new").ok(), "text\ninside\ninside");
    // Whatever Docker's help says: owners are kept, with and without -a.
    std::os::unix::fs::chown(here.join("file"), Some(33), Some(4)).unwrap();
    cp(scene, text(&here.join("file")), "%run:/etc/plain").ok();
    scene
        .client
        .run(
            &scene.engine,
            &[
                "cp",
                "-a",
                text(&here.join("file")),
                &scene.fill("%run:/etc/kept"),
            ],
        )
        .ok();
    assert_eq!(
        scene.sh("run", "stat -c '%u:%g' /etc/plain /etc/kept").ok(),
        "33:4\n33:4"
    );
    scene.run("rm -f %run %new").ok();
}

fn f03(scene: &Scene) {
    let bind = scene.directory("bind");
    let file = scene.directory("file").join("x");
    fs::write(&file, "copied\n").unwrap();
    scene
        .run(&format!(
            "create --name %it -v %vol:/vol -v {}:/bind -v %vol:/ro:ro --tmpfs /tmpfs busybox true",
            bind.display()
        ))
        .ok();
    cp(scene, text(&file), "%it:/vol/x").ok();
    assert_eq!(
        fs::read_to_string(scene.data("vol").join("x")).unwrap(),
        "copied\n"
    );
    cp(scene, text(&file), "%it:/bind/x").ok();
    assert_eq!(fs::read_to_string(bind.join("x")).unwrap(), "copied\n");
    cp(scene, text(&file), "%it:/ro/y").fails(1, "mounted volume is marked read-only");
    let back = scene.directory("back");
    cp(scene, "%it:/ro/x", text(&back)).ok();
    assert_eq!(fs::read_to_string(back.join("x")).unwrap(), "copied\n");
    scene
        .run("create --name %rofs --read-only -v %vol:/vol busybox true")
        .ok();
    cp(scene, text(&file), "%rofs:/etc/x").fails(1, "container rootfs is marked read-only");
    cp(scene, text(&file), "%rofs:/vol/z").ok();
    scene.run("rm %it %rofs").ok();
    scene.run("volume rm %vol").ok();
}

fn f04(scene: &Scene) {
    let here = scene.directory("refused");
    fs::write(here.join("x"), "x").unwrap();
    scene.run("create --name %it busybox true").ok();
    cp(scene, "%it:/no/such/file", text(&here))
        .fails(1, "Could not find the file /no/such/file in container");
    cp(scene, "%nobody:/etc/passwd", text(&here)).fails(1, "No such container");
    cp(scene, text(&here.join("missing")), "%it:/tmp").fails(1, "no such file or directory");
    cp(scene, text(&here.join("x")), "%it:/no/such/directory/x").fails(1, "");
    cp(scene, text(&here.join("x")), "%it:/etc/passwd/x").fails(1, "");
    cp(scene, text(&here), "%it:/etc/passwd").fails(1, "");
    cp(scene, text(&here.join("x")), text(&here)).fails(1, "");
    cp(scene, "%it:/etc", "%it:/tmp").fails(1, "");
    scene.run("rm %it").ok();
}

fn f05(scene: &Scene) {
    let here = scene.directory("streams");
    scene
        .run_and(
            "run --name %it busybox sh -c",
            &["mkdir /d; echo text > /d/f"],
        )
        .ok();
    let tar = here.join("d.tar");
    scene.run_into("cp %it:/d -", &tar);
    assert!(host("tar", &["-tf", text(&tar)]).contains("d/f"));
    let output = scene.run_with("cp - %it:/opt", &fs::read(&tar).unwrap());
    // /opt is not in this image.
    assert_ne!(output.code, 0, "{output}");
    scene
        .run_with("cp - %it:/var", &fs::read(&tar).unwrap())
        .ok();
    cp(scene, "%it:/var/d/f", text(&here.join("again"))).ok();
    assert_eq!(fs::read_to_string(here.join("again")).unwrap(), "text\n");
    scene.run("rm %it").ok();
}

fn f06(scene: &Scene) {
    let here = scene.directory("inside");
    let victim = here.join("victim");
    fs::create_dir(&victim).unwrap();
    fs::write(here.join("x"), "escaped").unwrap();
    fs::write(victim.join("secret"), "secret of the host").unwrap();
    scene
        .run_and(
            "run --name %it busybox sh -c",
            &[&format!(
                "ln -s {} /out; ln -s ../../../../../../../../..{} /up",
                victim.display(),
                victim.display()
            )],
        )
        .ok();
    for link in ["out", "up"] {
        drop(cp(scene, text(&here.join("x")), &format!("%it:/{link}/x")));
        assert!(!victim.join("x").exists());
        assert_ne!(
            cp(
                scene,
                &format!("%it:/{link}/secret"),
                text(&here.join("stolen"))
            )
            .code,
            0
        );
        assert!(!here.join("stolen").exists());
    }
    scene.run("rm %it").ok();
}

fn f07(scene: &Scene) {
    scene.run_and("run --name %it -v %vol:/data busybox sh -c", &["touch /new; rm /bin/zcat; echo x >> /etc/passwd; mkdir -p /dir/sub; touch /data/unseen"]).ok();
    let seen = scene.run("diff %it").ok();
    let lines: Vec<&str> = seen.lines().collect();
    for line in [
        "A /new",
        "D /bin/zcat",
        "C /etc/passwd",
        "C /etc",
        "C /bin",
        "A /dir",
        "A /dir/sub",
    ] {
        assert!(lines.contains(&line), "{line} in\n{seen}");
    }
    assert!(!seen.contains("unseen"), "{seen}");
    scene.run("diff %nobody").fails(1, "No such container");
    scene.run("rm %it").ok();
    // Places that were made for mounts are the container's, as in Docker, what is mounted is not; before the first start there
    // are none, and of the files that every container gets there is never a word.
    let here = scene.directory("bound");
    scene
        .run_and(
            &format!(
                "create --name %it --tmpfs /made/tmp -v /anon/volume -v {}:/bound/here -v %vol:/deep/er/named busybox sh -c",
                text(&here)
            ),
            &["echo x > /own; echo x > /made/tmp/x; echo x > /deep/er/named/x"],
        )
        .ok();
    assert_eq!(scene.run("diff %it").ok(), "");
    scene.run("start -a %it").ok();
    let seen = scene.run("diff %it").ok();
    let mut lines: Vec<&str> = seen.lines().collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "A /anon",
            "A /anon/volume",
            "A /bound",
            "A /bound/here",
            "A /deep",
            "A /deep/er",
            "A /deep/er/named",
            "A /made",
            "A /made/tmp",
            "A /own",
        ]
    );
    scene.run("rm -v %it").ok();
    scene.run("volume rm %vol").ok();
}

fn f08(scene: &Scene) {
    let here = scene.directory("export");
    scene
        .run_and(
            "run --name %it -v %vol:/data busybox sh -c",
            &["echo text > /new; touch /data/unseen"],
        )
        .ok();
    scene.run_into("export %it", &here.join("one.tar"));
    scene
        .run(&format!("export -o {} %it", here.join("two.tar").display()))
        .ok();
    for file in ["one.tar", "two.tar"] {
        let listed = host("tar", &["-tf", text(&here.join(file))]);
        let names: Vec<&str> = listed
            .lines()
            .map(|line| line.trim_start_matches("./").trim_end_matches('/'))
            .collect();
        assert!(
            names.contains(&"new") && names.contains(&"bin/busybox") && names.contains(&"data"),
            "{listed}"
        );
        assert!(!listed.contains("unseen"), "{listed}");
    }
    // What is no file is not replaced by one.
    let device = here.join("null");
    host("mknod", &[text(&device), "c", "1", "3"]);
    scene
        .run(&format!("export -o {} %it", device.display()))
        .fails(1, "device");
    assert!(!fs::metadata(&device).unwrap().is_file());
    // An exported container is an image again.
    let image = format!("{}-exported", scene.prefix);
    scene
        .run(&format!(
            "import {} {image}",
            here.join("one.tar").display()
        ))
        .ok();
    assert_eq!(
        scene.run(&format!("run --rm {image} cat /new")).ok(),
        "text"
    );
    scene.run("rm %it").ok();
    scene.run(&format!("rmi {image}")).ok();
    scene.run("volume rm %vol").ok();
}
