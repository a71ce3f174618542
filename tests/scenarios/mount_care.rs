//! S160–S166: mounts with care: attached to containers that run, with other owners, with holes, from sources that may be
//! missing or somewhere else.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::Path;

use super::volume_care::own;
use super::{Scenario, Scene, host};

pub(super) const SCENARIOS: &[Scenario] = &[
    ("s160_attach_and_detach", s160),
    ("s160a_attached_volumes_are_guarded", s160a),
    ("s161_idmap", s161),
    ("s162_missing_sources", s162),
];

pub(super) const OWN: &[Scenario] = &[
    ("s160b_temporary", s160b),
    ("s160c_detach_what_is_busy", s160c),
    ("s160d_symlinked_targets", s160d),
    ("s160e_detach_with_what_is_below", s160e),
    ("s161a_idmap_forms", s161a),
    ("s162a_missing_sources_by_policy", s162a),
    ("s163_exclude", s163),
    ("s164_require_device", s164),
];

/// What stock clients see of a container's mounts: destinations in order.
fn destinations(scene: &Scene, container: &str) -> Vec<String> {
    let format = "{{range .Mounts}}{{.Destination}} {{end}}";
    let mut found: Vec<String> = scene
        .inspect(container, format)
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    found.sort();
    found
}

fn s160(scene: &Scene) {
    let source = scene.directory("source");
    fs::write(source.join("file"), "of the host").unwrap();
    scene.run("run -d --name %c busybox sleep 1000").ok();
    let mount = own(scene, "container mount %c -v %data:/deep/data:rw");
    assert_eq!(mount.ok(), "/deep/data");
    own(
        scene,
        &format!(
            "container mount %c --mount type=bind,src={0},dst=/bind,ro -v {0}/file:/one",
            source.display()
        ),
    )
    .ok();
    assert_eq!(destinations(scene, "c"), ["/bind", "/deep/data", "/one"]);
    scene.sh("c", "echo kept > /deep/data/x").ok();
    assert_eq!(
        scene.sh("c", "cat /bind/file /one").ok(),
        "of the hostof the host"
    );
    scene
        .sh("c", "touch /bind/x")
        .fails(1, "Read-only file system");
    assert_eq!(
        fs::read_to_string(scene.data("data").join("x")).unwrap(),
        "kept\n"
    );
    // It is as if it had been there from the beginning.
    scene.run("restart -t 0 %c").ok();
    assert_eq!(
        scene.sh("c", "cat /deep/data/x /one").ok(),
        "kept\nof the host"
    );
    let shown = scene.inspect("c", "{{json .HostConfig.Binds}}{{json .HostConfig.Mounts}}");
    assert!(
        shown.contains("/deep/data") && shown.contains("\"/bind\""),
        "{shown}"
    );
    // And gone as if it had never been.
    own(scene, "container unmount %c /deep/data /one /bind").ok();
    assert!(destinations(scene, "c").is_empty());
    scene.sh("c", "ls /deep/data").ok();
    scene.sh("c", "ls /deep/data/x").fails(1, "No such file");
    scene.run("volume rm %data").ok();
    scene.run("restart -t 0 %c").ok();
    scene.sh("c", "ls /deep/data/x").fails(1, "No such file");
    let shown = scene.inspect("c", "{{json .HostConfig.Binds}}{{json .HostConfig.Mounts}}");
    assert!(
        !shown.contains("/deep") && !shown.contains("/bind"),
        "{shown}"
    );
    // One that does not run has it at its next start; an empty volume is filled from the image.
    scene.run("stop -t 0 %c").ok();
    own(scene, "container mount %c -v %filled:/usr/bin").ok();
    let image = scene.run("run --rm busybox ls /usr/bin").ok();
    scene.run("start %c").ok();
    assert_eq!(scene.sh("c", "ls /usr/bin").ok(), image);
    scene.run("rm -f %c").ok();
    scene.run("volume rm %filled").ok();
}

fn seconds() -> u64 {
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed();
    now.unwrap().as_secs()
}

fn s160a(scene: &Scene) {
    let since = seconds();
    scene
        .run("run -d --name %first -v %db:/db busybox sleep 1000")
        .ok();
    own(scene, "volume label %db orlop.exclusive=true").ok();
    scene.run("run -d --name %second busybox sleep 1000").ok();
    own(scene, "container mount %second -v %db:/db").fails(1, "one writer at a time");
    own(scene, "container mount %second -v %db:/db:ro").ok();
    let users = own(
        scene,
        "volume inspect %db --format {{range.UsedBy}}{{.Name}}:{{.RW}};{{end}}",
    )
    .ok();
    assert_eq!(
        users,
        format!(
            "{}:true;{}:false;",
            scene.name("first"),
            scene.name("second")
        )
    );
    scene.run("rm -f %first").ok();
    scene.run("volume rm %db").fails(1, "in use");
    let history = own(scene, "volume history --json %db").json();
    let last = history
        .as_array()
        .unwrap()
        .iter()
        .rfind(|event| event["Action"] == "mount");
    assert_eq!(
        last.unwrap()["Detail"],
        format!("{} at /db (ro)", scene.name("second")).as_str()
    );
    for (flags, why) in [
        ("-v %db:/db", "Duplicate mount point: /db"),
        ("-v %db:/etc", "is mounted below it"),
        ("-v %db:/proc/x", "/proc/x"),
        (
            "-v %db:/bin/sh",
            "Are you trying to mount a directory onto a file",
        ),
        ("-v /nowhere/%x:/y:whatever", "invalid mode: whatever"),
        (
            "--mount type=bind,src=/nowhere/%x,dst=/y",
            "bind source path does not exist",
        ),
        (
            "--mount type=image,src=busybox,dst=/y",
            "only when a container is created",
        ),
    ] {
        own(scene, &format!("container mount %second {flags}")).fails(1, why);
    }
    own(scene, "container unmount %second /nothing").fails(1, "has nothing mounted at /nothing");
    // What was refused has left nothing: no mount, no lease, no volume.
    assert_eq!(destinations(scene, "second"), ["/db"]);
    own(scene, "container mount %second -v /anonymous").ok();
    let until_now = seconds() + 1;
    let line = format!(
        "events --since {since} --until {until_now} --filter container=%second --filter event=mount"
    );
    let events = scene.run(&line).ok();
    assert!(
        events.contains("container mount") && events.contains("destination=/anonymous"),
        "{events}"
    );
    scene.run("rm -fv %second").ok();
    scene.run("volume rm %db").ok();
    assert_eq!(
        scene
            .run("volume ls -q --filter dangling=true --filter name=%")
            .ok(),
        ""
    );
}

fn s160b(scene: &Scene) {
    let script = "until [ -e /end ]; do sleep 0.1; done; rm /end; exit 1";
    scene
        .run_and(
            "run -d --name %c --restart on-failure busybox sh -c",
            &[script],
        )
        .ok();
    scene
        .run("container mount %c --temporary -v %data:/data --mount type=tmpfs,dst=/mem")
        .ok();
    let listed = scene.run("container mount %c").ok();
    assert_eq!(listed.matches("temporary").count(), 2, "{listed}");
    let binds = scene.inspect("c", "{{json .HostConfig.Binds}}");
    assert!(!binds.contains("/data"), "{binds}");
    scene.run("volume rm %data").fails(1, "in use");
    // A restart by policy is a stop.
    scene.sh("c", "touch /end").ok();
    scene.until_inspect("c", "{{.RestartCount}} {{.State.Status}}", "1 running");
    assert!(destinations(scene, "c").is_empty());
    scene.run("volume rm %data").ok();
    scene
        .run("container mount %c --temporary -v %data:/data")
        .ok();
    scene.run("stop -t 0 %c").ok();
    assert!(destinations(scene, "c").is_empty());
    scene.run("volume rm %data").ok();
    scene
        .run("container mount %c --temporary -v %data:/data")
        .fails(1, "is not running");
    scene.run("rm -f %c").ok();
}

fn s160c(scene: &Scene) {
    scene
        .run_and(
            "run -d --name %c -v %data:/data busybox sh -c",
            &["cd /data; exec sleep 1000"],
        )
        .ok();
    scene
        .run("container unmount %c /data")
        .fails(1, "/data is busy");
    assert_eq!(destinations(scene, "c"), ["/data"]);
    scene.sh("c", "touch /data/still").ok();
    scene.run("container unmount --lazy %c /data").ok();
    assert!(destinations(scene, "c").is_empty());
    scene.sh("c", "ls /data/still").fails(1, "No such file");
    scene.run("rm -f %c").ok();
    scene.run("volume rm --now %data").ok();
}

/// What a container makes of its own tree does not lead an attach out of it, nor a detach to what protects the host.
fn s160d(scene: &Scene) {
    scene.run("run -d --name %c busybox sleep 1000").ok();
    let outside = scene.directory("outside");
    scene
        .sh(
            "c",
            &format!(
                "ln -s {} /out; mkdir /safe; ln -s /safe /way",
                outside.display()
            ),
        )
        .ok();
    scene.run("container mount %c -v %data:/out/in").ok();
    assert!(fs::read_dir(&outside).unwrap().next().is_none());
    let hidden = scene
        .sh(
            "c",
            "grep -o ' /proc/[a-z_]* ' /proc/self/mountinfo | head -n 1",
        )
        .ok();
    let name = hidden.trim().strip_prefix("/proc/").unwrap();
    scene
        .run(&format!("container mount %c -v %data:/way/{name}"))
        .ok();
    scene.sh("c", "rm /way && ln -s /proc /way").ok();
    scene
        .run(&format!("container unmount --lazy %c /way/{name}"))
        .fails(1, "nothing is mounted at");
    scene
        .sh(
            "c",
            &format!("grep -q ' /proc/{name} ' /proc/self/mountinfo"),
        )
        .ok();
    scene.run("rm -f %c").ok();
    scene.run("volume rm %data").ok();
}

/// What came along with a mount goes with it, or all stays; what others have put there is never taken along unasked.
fn s160e(scene: &Scene) {
    let source = scene.directory("source");
    let inner = source.join("sub");
    let innermost = inner.join("deep");
    for place in [&inner, &innermost] {
        fs::create_dir(place).unwrap();
        let place = place.to_str().unwrap();
        host("mount", &["-t", "tmpfs", "-o", "size=1m", "tmpfs", place]);
    }
    fs::write(innermost.join("file"), "of the host").unwrap();
    scene
        .run_and(
            &format!(
                "run -d --name %c --cap-add SYS_ADMIN --security-opt seccomp=unconfined \
                 -v {}:/tree -v %data:/data -v %inside:/data/inside busybox sh -c",
                source.display()
            ),
            &["cd /tree/sub; until [ -e /leave ]; do sleep 0.1; done; cd /; touch /left; exec sleep 1000"],
        )
        .ok();
    // Who is in use keeps all: what is below it comes back.
    scene
        .run("container unmount %c /tree")
        .fails(1, "/tree/sub is busy");
    assert_eq!(scene.sh("c", "cat /tree/sub/deep/file").ok(), "of the host");
    scene
        .sh("c", "touch /leave; until [ -e /left ]; do sleep 0.1; done")
        .ok();
    // What a process has mounted may be nowhere else.
    scene
        .sh(
            "c",
            "mkdir /tree/own; mount -t tmpfs tmpfs /tree/own; echo kept > /tree/own/x",
        )
        .ok();
    scene.run("container unmount %c /tree").fails(
        1,
        "a process of the container has mounted something at /tree/own",
    );
    assert_eq!(scene.sh("c", "cat /tree/own/x").ok(), "kept");
    scene.sh("c", "umount /tree/own").ok();
    scene.run("container unmount %c /tree").ok();
    scene.sh("c", "! grep ' /tree' /proc/self/mountinfo").ok();
    assert_eq!(fs::read(innermost.join("file")).unwrap(), b"of the host");
    // A mount that somebody asked for is not part of another one.
    scene
        .run("container unmount %c /data")
        .fails(1, "cannot unmount /data: /data/inside is mounted below it");
    assert_eq!(destinations(scene, "c"), ["/data", "/data/inside"]);
    scene.run("container unmount %c /data/inside").ok();
    scene.run("container unmount %c /data").ok();
    assert!(destinations(scene, "c").is_empty());
    scene.run("rm -f %c").ok();
    scene.run("volume rm --now %data %inside").ok();
    for place in [&innermost, &inner] {
        host("umount", &[place.to_str().unwrap()]);
    }
}

fn owned(directory: &Path, uid: u32) {
    chown(directory, Some(uid), Some(uid)).unwrap();
}

fn owner(path: &Path) -> (u32, u32) {
    let stat = fs::metadata(path).unwrap();
    (stat.uid(), stat.gid())
}

fn s161(scene: &Scene) {
    let source = scene.directory("mapped");
    owned(&source, 1000);
    let bind = format!("{}:/w:idmap", source.display());
    for (user, file) in [("0", "by-root"), ("33", "by-33"), ("nobody", "by-name")] {
        scene
            .run_and(
                &format!("run --rm -u {user} -v {bind} busybox sh -c"),
                &[&format!("touch /w/{file}")],
            )
            .ok();
        assert_eq!(owner(&source.join(file)).0, 1000, "{user}");
    }
    assert_eq!(
        scene
            .run_and(
                &format!("run --rm -u 33 -v {bind} busybox stat -c"),
                &["%u", "/w"]
            )
            .ok(),
        "33"
    );
    // As it is without.
    let plain = format!("{}:/w", source.display());
    scene
        .run(&format!("run --rm -u 33 -v {plain} busybox touch /w/no"))
        .fails(1, "Permission denied");
    // Volumes, too.
    scene.run("volume create %vol").ok();
    owned(&scene.data("vol"), 1000);
    scene
        .run("run --rm -u 33 -v %vol:/w:idmap busybox touch /w/x")
        .ok();
    assert_eq!(owner(&scene.data("vol").join("x")).0, 1000);
    own(scene, "volume rm --now %vol").ok();
}

fn s161a(scene: &Scene) {
    let source = scene.directory("mapped");
    owned(&source, 1000);
    fs::write(source.join("others"), "").unwrap();
    let mount = format!("run --rm --mount type=bind,src={},dst=/w", source.display());
    scene
        .run(&format!(
            "{mount},idmap=match-user:nobody busybox sh -c true"
        ))
        .ok();
    let uid = scene
        .run_and(
            &format!("{mount},idmap=match-user:nobody busybox stat -c"),
            &["%u", "/w"],
        )
        .ok();
    assert_eq!(uid, scene.run("run --rm busybox id -u nobody").ok());
    let map = "idmap=uids=1000-0-1;gids=1000-7-1";
    let stat = scene
        .run_and(
            &format!("{mount},{map} busybox stat -c"),
            &["%u:%g", "/w", "/w/others"],
        )
        .ok();
    assert_eq!(
        stat, "0:7\n65534:65534",
        "what is not listed belongs to nobody"
    );
    scene
        .run(&format!("{mount},{map} busybox touch /w/others"))
        .fails(1, "touch");
    scene
        .run(&format!("{mount},{map} busybox touch /w/new"))
        .fails(1, "too large");
    scene
        .run(&format!("{mount},idmap=me busybox true"))
        .fails(125, "invalid idmap 'me'");
    scene
        .run(&format!("{mount},idmap=match-user:ghost busybox true"))
        .fails(125, "unable to find user ghost");
    // A filesystem that cannot says so, and nothing is left.
    scene
        .run("run --rm --mount type=bind,src=/proc,dst=/w,idmap=uids=0-5-1 busybox true")
        .fails(125, "cannot map the owners of '/proc' for /w");
    // While it runs, and seen in its mounts.
    scene.run("run -d -u 33 --name %c busybox sleep 1000").ok();
    scene
        .run(&format!(
            "container mount %c -v {}:/later:idmap",
            source.display()
        ))
        .ok();
    scene.sh("c", "touch /later/later").ok();
    assert_eq!(owner(&source.join("later")).0, 1000);
    assert!(
        scene
            .run("container mount %c")
            .ok()
            .contains("idmap=match-user")
    );
    scene.run("rm -f %c").ok();
}

fn s162(scene: &Scene) {
    let place = scene.directory("missing");
    let made = place.join("made");
    // Docker's way, with a word.
    let output = scene.run(&format!(
        "create --name %c -v {}:/w busybox true",
        made.display()
    ));
    let (_, said) = (output.clone().ok(), output.stderr);
    assert!(
        said.contains("WARNING: bind source path") && said.contains("owned by root"),
        "{said}"
    );
    assert!(!made.exists());
    scene.run("start -a %c").ok();
    assert_eq!(owner(&made), (0, 0));
    // There now: no word.
    let output = scene.run(&format!("run --rm -v {}:/w busybox true", made.display()));
    assert_eq!(output.stderr, "");
    scene.run("rm %c").ok();
    let file = place.join("file.conf");
    let output = scene.run(&format!(
        "create --name %c -v {}:/etc/passwd busybox true",
        file.display()
    ));
    assert!(
        output
            .stderr
            .contains("over the file /etc/passwd of the image"),
        "{}",
        output.stderr
    );
    scene.run("rm %c").ok();
}

fn s162a(scene: &Scene) {
    let place = scene.directory("missing");
    owned(&place, 1000);
    let path = |name: &str| format!("{}/{name}", place.display());
    let refused = "bind source path does not exist";
    scene
        .run(&format!(
            "run --rm --bind-missing error -v {}:/w busybox true",
            path("a")
        ))
        .fails(125, refused);
    scene
        .run(&format!(
            "run --rm --mount type=bind,src={},dst=/w,bind-missing=error busybox true",
            path("a")
        ))
        .fails(125, refused);
    scene
        .run(&format!(
            "run --rm --bind-missing maybe -v {}:/w busybox true",
            path("a")
        ))
        .fails(125, "must be one of create, error, create-as-owner");
    assert!(fs::read_dir(&place).unwrap().next().is_none());
    scene
        .run(&format!(
            "run --rm --bind-missing create-as-owner -v {}:/w busybox true",
            path("a/b")
        ))
        .ok();
    assert_eq!(owner(&place.join("a")), (1000, 1000));
    assert_eq!(owner(&place.join("a/b")), (1000, 1000));
    scene
        .run(&format!(
            "run --rm --mount type=bind,src={},dst=/etc/passwd,bind-missing=create-as-owner busybox true",
            path("file")
        ))
        .fails(125, "is a file in the image");
    assert!(!place.join("file").exists());
    // The mount's own word goes before the container's.
    scene
        .run(&format!(
            "run --rm --bind-missing error --mount type=bind,src={},dst=/w,bind-missing=create busybox true",
            path("c")
        ))
        .ok();
    assert_eq!(owner(&place.join("c")), (0, 0));
}

fn s163(scene: &Scene) {
    let project = scene.directory("project");
    fs::create_dir_all(project.join("node_modules/left-pad")).unwrap();
    fs::write(project.join("main.js"), "main").unwrap();
    for path in [project.clone(), project.join("node_modules")] {
        owned(&path, 1000);
    }
    let mount = format!(
        "--mount type=bind,src={},dst=/app,bind-exclude=node_modules,build/out",
        project.display()
    );
    scene
        .run(&format!(
            "run -d -u 1000 --name %c {mount} busybox sleep 1000"
        ))
        .ok();
    assert_eq!(
        scene.sh("c", "ls /app/node_modules; cat /app/main.js").ok(),
        "main"
    );
    scene
        .sh(
            "c",
            "touch /app/node_modules/inside /app/build/out/inside /app/seen",
        )
        .ok();
    assert!(project.join("seen").exists());
    assert!(!project.join("node_modules/inside").exists());
    assert!(project.join("node_modules/left-pad").exists());
    assert!(
        project
            .join("build/out")
            .read_dir()
            .unwrap()
            .next()
            .is_none()
    );
    assert_eq!(owner(&project.join("build/out")), (1000, 1000));
    scene.run("rm -f %c").ok();
    // Read-only, the holes can still be written; what is missing stays missing.
    let mount = mount.replace("build/out", "other,ro");
    let seen = scene.run_and(
        &format!("run --rm {mount} busybox sh -c"),
        &["touch /app/node_modules/x; ls /app"],
    );
    assert_eq!(seen.ok(), "build\nmain.js\nnode_modules\nseen");
    assert!(!project.join("other").exists());
    for wrong in ["/abs", "../up", "."] {
        let mount = format!(
            "--mount type=bind,src={},dst=/app,bind-exclude={wrong}",
            project.display()
        );
        scene
            .run(&format!("run --rm {mount} busybox true"))
            .fails(125, "invalid exclude");
    }
}

fn s164(scene: &Scene) {
    let place = scene.directory("disk");
    let image = place.with_extension("img");
    fs::File::create(&image).unwrap().set_len(16 << 20).unwrap();
    let (image, disk) = (image.to_str().unwrap(), place.to_str().unwrap());
    host("mkfs.ext4", &["-q", image]);
    host("mount", &["-o", "loop", image, disk]);
    let mount = format!("--mount type=bind,src={disk},dst=/w,bind-require-device");
    scene
        .run(&format!("create --name %c {mount} busybox touch /w/x"))
        .ok();
    scene.run("start -a %c").ok();
    assert!(place.join("x").exists());
    host("umount", &[disk]);
    scene
        .run("start -a %c")
        .fails(1, "is on another filesystem");
    assert!(
        !place.join("x").exists(),
        "nothing was written to the wrong disk"
    );
    let audit = scene.run("volume audit --json");
    assert_eq!(audit.code, 1);
    let audited: serde_json::Value = serde_json::from_str(&audit.stdout).unwrap();
    let found = audited["Findings"]
        .as_array()
        .unwrap()
        .iter()
        .any(|finding| {
            finding["Kind"] == "other-device" && finding["Subject"] == scene.name("c").as_str()
        });
    assert!(found, "{}", audit.stdout);
    host("mount", &["-o", "loop", image, disk]);
    scene.run("start -a %c").ok();
    scene.run("rm %c").ok();
    host("umount", &[disk]);
    scene
        .run(&format!(
            "create {} busybox true",
            mount.replace(disk, "/nowhere/at/all")
        ))
        .fails(1, "there is no device to require");
}
