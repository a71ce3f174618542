//! S60, S62 and images without a registry: import, commit, save, load, tag, history, rmi, prune.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use testkit::images_dir;

use super::{Scenario, Scene, host, one_prune_at_a_time};

pub(super) const SCENARIOS: &[Scenario] = &[
    ("s60_an_image_that_declares_a_volume", s60),
    ("s62_commit_never_takes_volumes_along", s62),
    ("i01_import", i01),
    ("i02_save_and_load", i02),
    ("i03_layouts_and_compression", i03),
    ("i04_tag_and_rmi", i04),
    ("i05_commit", i05),
    ("i06_ls_inspect_history", i06),
    ("i07_prune", i07),
    ("i08_hostile_archives", i08),
    ("i09_layers_are_shared", i09),
    ("i10_whiteouts", i10),
    ("i11_a_name_that_comes_while_another_goes", i11),
];

/// Flags that docker has not.
pub(super) const OWN: &[Scenario] = &[("s64_policy_for_declared_volumes", s64)];

fn s64(scene: &Scene) {
    let image = format!("{}-declares", scene.prefix);
    let tar = images_dir().join("busybox.tar");
    scene
        .run_and("import -c", &["VOLUME /etc /srv/d", text(&tar), &image])
        .ok();
    scene
        .run(&format!("create --name %usual {image} true"))
        .ok();
    assert_eq!(
        scene.inspect(
            "usual",
            "{{range .Mounts}}{{.Type}} {{.Destination}};{{end}}"
        ),
        "volume /etc;volume /srv/d;"
    );
    scene
        .run(&format!(
            "create --name %ignore --image-volumes ignore -v /given {image} cat /etc/passwd"
        ))
        .ok();
    assert_eq!(
        scene.inspect(
            "ignore",
            "{{range .Mounts}}{{.Destination}};{{end}} {{.Config.Volumes}}"
        ),
        "/given; map[/given:{}]"
    );
    assert!(scene.run("start -a %ignore").ok().contains("root"));
    // Memory, unless something else is there.
    let mounts = scene
        .run(&format!(
            "run --rm --image-volumes tmpfs -v %own:/etc {image} cat /proc/mounts"
        ))
        .ok();
    assert!(mounts.contains("tmpfs /srv/d tmpfs"), "{mounts}");
    assert!(!mounts.contains("tmpfs /etc tmpfs"), "{mounts}");
    assert!(scene.data("own").join("passwd").exists());
    scene
        .run(&format!("run --image-volumes keep {image} true"))
        .fails(125, "must be one of anonymous, tmpfs, ignore");
    scene.run("rm -v %usual %ignore").ok();
    scene.run("volume rm %own").ok();
    scene.run(&format!("rmi {image}")).ok();
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn s60(scene: &Scene) {
    let tree = scene.directory("tree");
    host(
        "tar",
        &[
            "-C",
            text(&tree),
            "-xf",
            text(&images_dir().join("busybox.tar")),
        ],
    );
    fs::create_dir(tree.join("declared")).unwrap();
    fs::write(tree.join("declared/seed"), "from the image\n").unwrap();
    std::os::unix::fs::chown(tree.join("declared"), Some(33), Some(4)).unwrap();
    fs::set_permissions(
        tree.join("declared"),
        std::os::unix::fs::PermissionsExt::from_mode(0o2770),
    )
    .unwrap();
    let tar = scene.directory("tar").join("image.tar");
    host(
        "tar",
        &["--numeric-owner", "-C", text(&tree), "-cf", text(&tar), "."],
    );
    let image = format!("{}-declares", scene.prefix);
    scene
        .run_and(
            "import -c",
            &[
                "VOLUME /declared /second",
                "-c",
                "VOLUME [\"/third\"]",
                "-c",
                "ENV A=1",
                "-c",
                "CMD [\"sh\"]",
                text(&tar),
                &image,
            ],
        )
        .ok();
    let volumes = scene
        .run_and(
            "image inspect --format",
            &["{{json .Config.Volumes}}", &image],
        )
        .json();
    assert_eq!(
        volumes,
        serde_json::json!({ "/declared": {}, "/second": {}, "/third": {} })
    );
    scene
        .run(&format!("run -d --name %it {image} sleep 1000"))
        .ok();
    assert_eq!(scene.inspect("it", "{{len .Mounts}}"), "3");
    let seen = scene
        .sh("it", "cat /declared/seed; stat -c '%u:%g %a' /declared")
        .ok();
    assert_eq!(seen, "from the image\n33:4 2770");
    let source = scene.inspect(
        "it",
        "{{range .Mounts}}{{if eq .Destination \"/declared\"}}{{.Source}}{{end}}{{end}}",
    );
    let directory = fs::metadata(&source).unwrap();
    assert_eq!(
        (directory.uid(), directory.gid(), directory.mode() & 0o7777),
        (33, 4, 0o2770)
    );
    // The image itself is never written.
    scene.sh("it", "echo changed > /declared/seed").ok();
    assert_eq!(
        scene
            .run(&format!("run --rm {image} cat /declared/seed"))
            .ok(),
        "from the image"
    );
    // A volume of one's own takes the place of the anonymous one.
    scene
        .run(&format!(
            "run --rm --name %own -v %mine:/declared {image} touch /declared/x"
        ))
        .ok();
    assert!(scene.data("mine").join("seed").exists() && scene.data("mine").join("x").exists());
    scene.run("rm -fv %it").ok();
    assert!(!fs::exists(&source).unwrap());
    scene.run("volume rm %mine").ok();
    scene.run(&format!("rmi {image}")).ok();
}

fn s62(scene: &Scene) {
    let image = format!("{}-committed", scene.prefix);
    scene
        .run_and(
            "run --name %it -v /anon -v %named:/named busybox sh -c",
            &["echo in the layer > /kept; echo x > /anon/lost; echo x > /named/lost"],
        )
        .ok();
    scene.run(&format!("commit %it {image}")).ok();
    let seen = scene
        .run_and(
            &format!("run --rm {image} sh -c"),
            &["cat /kept; ls -A /named /anon"],
        )
        .ok();
    assert_eq!(seen, "in the layer\n/anon:\n\n/named:");
    let volumes = scene
        .run_and(
            "image inspect --format",
            &["{{json .Config.Volumes}}", &image],
        )
        .json();
    assert_eq!(
        volumes,
        serde_json::json!({ "/anon": {} }),
        "what was anonymous is declared, what had a source is not"
    );
    scene.run("rm -v %it").ok();
    scene.run("volume rm %named").ok();
    scene.run(&format!("rmi {image}")).ok();
}

fn i01(scene: &Scene) {
    let busybox = images_dir().join("busybox.tar");
    let image = format!("{}-imported", scene.prefix);
    let id = scene
        .run_and(
            "import -m",
            &[
                "a message",
                "-c",
                "ENV A=b",
                "-c",
                "WORKDIR /tmp",
                "-c",
                "USER www-data",
                "-c",
                "EXPOSE 80",
                "-c",
                "LABEL l=v",
                "-c",
                "ENTRYPOINT [\"sh\", \"-c\"]",
                "-c",
                "CMD [\"echo $A; pwd; id -un\"]",
                text(&busybox),
                &image,
            ],
        )
        .ok();
    assert!(id.starts_with("sha256:") && id.len() == 71, "{id}");
    assert_eq!(
        scene.run(&format!("run --rm {image}")).ok(),
        "b\n/tmp\nwww-data"
    );
    // From a pipe, compressed, under a tag.
    let gzipped = scene.directory("gz").join("busybox.tar.gz");
    host(
        "sh",
        &[
            "-c",
            &format!("gzip -c {} > {}", busybox.display(), gzipped.display()),
        ],
    );
    scene
        .run_with(
            &format!("import - {image}:piped"),
            &fs::read(&gzipped).unwrap(),
        )
        .ok();
    assert_eq!(
        scene
            .run(&format!("run --rm {image}:piped echo works"))
            .ok(),
        "works"
    );
    assert_ne!(
        scene
            .run_with(&format!("import - {image}:bad"), b"no archive")
            .code,
        0
    );
    assert_ne!(
        scene
            .run_and(
                "import -c",
                &["NONSENSE x", text(&busybox), &format!("{image}:bad")]
            )
            .code,
        0
    );
    assert_ne!(scene.run("import /no/such/file.tar").code, 0);
    assert_ne!(
        scene
            .run(&format!("import {} UPPER/Case", busybox.display()))
            .code,
        0
    );
    assert_eq!(scene.run(&format!("images -q {image}:bad")).ok(), "");
    scene.run(&format!("rmi {image} {image}:piped")).ok();
}

fn i02(scene: &Scene) {
    let image = format!("{}-saved", scene.prefix);
    scene
        .run_and(
            "run --name %it busybox sh -c",
            &["echo second layer > /second; rm /bin/zcat; mkdir /opaque"],
        )
        .ok();
    let id = scene
        .run_and(
            "commit -c",
            &["CMD [\"cat\", \"/second\"]", &scene.name("it"), &image],
        )
        .ok();
    scene.run("rm %it").ok();
    scene.run(&format!("tag {image} {image}:second")).ok();
    let tar = scene.directory("save").join("image.tar");
    scene
        .run(&format!("save -o {} {image} {image}:second", tar.display()))
        .ok();
    let piped = scene.directory("save").join("piped.tar");
    scene.run_into(&format!("save {image}"), &piped);
    let listed = host("tar", &["-tf", text(&tar)]);
    assert!(listed.contains("manifest.json"), "{listed}");
    scene.run(&format!("rmi {image} {image}:second")).ok();
    scene
        .run(&format!("image inspect {image}"))
        .fails(1, "o such image");
    let loaded = scene.run(&format!("load -i {}", tar.display())).ok();
    assert!(
        loaded.contains(&format!("Loaded image: {image}:latest"))
            && loaded.contains(&format!("Loaded image: {image}:second")),
        "{loaded}"
    );
    assert_eq!(
        scene
            .run_and("image inspect --format", &["{{.Id}}", &image])
            .ok(),
        id,
        "the same image, to the last byte"
    );
    assert_eq!(scene.run(&format!("run --rm {image}")).ok(), "second layer");
    scene
        .run(&format!("run --rm {image} ls /bin/zcat"))
        .fails(1, "No such file");
    scene.run(&format!("rmi {image} {image}:second")).ok();
    let loaded = scene.run_with("load", &fs::read(&piped).unwrap()).ok();
    assert!(
        loaded.contains(&format!("Loaded image: {image}:latest")),
        "{loaded}"
    );
    scene.run(&format!("rmi {image}")).ok();
    scene.run("save no-such-image-anywhere").fails(1, "");
    assert_ne!(scene.run_with("load", b"no archive").code, 0);
}

fn i03(scene: &Scene) {
    let image = format!("{}-layout", scene.prefix);
    scene.run(&format!("tag busybox {image}")).ok();
    let id = scene
        .run_and("image inspect --format", &["{{.Id}}", &image])
        .ok();
    let here = scene.directory("layouts");
    let tar = here.join("image.tar");
    scene
        .run(&format!("save -o {} {image}", tar.display()))
        .ok();
    let both = here.join("both");
    fs::create_dir(&both).unwrap();
    host("tar", &["-C", text(&both), "-xf", text(&tar)]);
    let mut archives = vec![tar.clone()];
    // What Docker writes is both layouts in one; each alone must do.
    let docker = here.join("docker-archive.tar");
    host(
        "sh",
        &[
            "-c",
            &format!(
                "cd {} && tar -cf {} --exclude=index.json --exclude=oci-layout .",
                both.display(),
                docker.display()
            ),
        ],
    );
    archives.push(docker);
    if both.join("index.json").exists() {
        let oci = here.join("oci.tar");
        host(
            "sh",
            &[
                "-c",
                &format!(
                    "cd {} && tar -cf {} --exclude=manifest.json --exclude=repositories .",
                    both.display(),
                    oci.display()
                ),
            ],
        );
        archives.push(oci);
    }
    for (suffix, program) in [("gz", "gzip -c"), ("zst", "zstd -qc")] {
        let packed = here.join(format!("image.tar.{suffix}"));
        host(
            "sh",
            &[
                "-c",
                &format!("{program} {} > {}", tar.display(), packed.display()),
            ],
        );
        archives.push(packed);
    }
    for archive in archives {
        scene.run(&format!("rmi {image}")).ok();
        let loaded = scene.run(&format!("load -q -i {}", archive.display())).ok();
        assert!(
            loaded.contains("Loaded image"),
            "{}: {loaded}",
            archive.display()
        );
        if scene.run(&format!("image inspect {image}")).code != 0 {
            // An OCI index without a full name says only which image it was.
            scene.run(&format!("tag {id} {image}")).ok();
        }
        assert_eq!(
            scene
                .run_and("image inspect --format", &["{{.Id}}", &image])
                .ok(),
            id,
            "{}",
            archive.display()
        );
        assert_eq!(
            scene.run(&format!("run --rm {image} echo works")).ok(),
            "works"
        );
    }
    scene.run(&format!("rmi {image}")).ok();
}

fn i04(scene: &Scene) {
    let image = format!("{}-tagged", scene.prefix);
    scene.run(&format!("tag busybox {image}:one")).ok();
    scene
        .run(&format!("tag {image}:one example.test:5000/{image}:two"))
        .ok();
    let removed = scene.run(&format!("rmi {image}:one")).ok();
    assert_eq!(removed, format!("Untagged: {image}:one"));
    scene
        .run(&format!("rmi {image}:one"))
        .fails(1, "o such image");
    scene
        .run(&format!("run --rm example.test:5000/{image}:two true"))
        .ok();
    scene
        .run(&format!("tag busybox {image}:UPPER/x"))
        .fails(1, "");
    scene
        .run("tag no-such-image-anywhere x:y")
        .fails(1, "o such image");
    // An image that a container uses stays, unless it has another name.
    scene.run("create --name %base busybox").ok();
    scene
        .run_and("commit -c", &["ENV UNIQUE=1", &scene.name("base"), &image])
        .ok();
    scene.run(&format!("create --name %user {image}")).ok();
    scene.run(&format!("rmi {image}")).fails(1, "must force");
    scene.run("rm %user %base").ok();
    let removed = scene.run(&format!("rmi {image}")).ok();
    assert!(
        removed.contains(&format!("Untagged: {image}:latest"))
            && removed.contains("Deleted: sha256:"),
        "{removed}"
    );
    scene
        .run(&format!("rmi example.test:5000/{image}:two"))
        .ok();
    scene.run("rmi -f no-such-image-anywhere").ok();
}

fn i05(scene: &Scene) {
    let image = format!("{}-commit", scene.prefix);
    scene
        .run_and(
            "run -d --name %it -e KEPT=1 busybox sh -c",
            &["echo made > /made; echo ready; exec sleep 1000"],
        )
        .ok();
    scene.until_logs("it", "ready");
    let id = scene
        .run_and(
            "commit -a",
            &[
                "Somebody",
                "-m",
                "what was done",
                "-c",
                "LABEL l=v",
                "-c",
                "CMD [\"cat\", \"/made\"]",
                &scene.name("it"),
                &image,
            ],
        )
        .ok();
    assert!(id.starts_with("sha256:"), "{id}");
    assert_eq!(scene.inspect("it", "{{.State.Status}}"), "running");
    let inspected = scene.run(&format!("image inspect {image}")).json();
    assert_eq!(inspected[0]["Author"], "Somebody");
    assert_eq!(inspected[0]["Config"]["Labels"]["l"], "v");
    assert!(
        inspected[0]["Config"]["Env"]
            .as_array()
            .unwrap()
            .contains(&"KEPT=1".into())
    );
    assert_eq!(
        inspected[0]["RootFS"]["Layers"].as_array().unwrap().len(),
        2
    );
    assert_eq!(scene.run(&format!("run --rm {image}")).ok(), "made");
    assert!(
        scene
            .run(&format!("history --no-trunc {image}"))
            .ok()
            .contains("what was done")
    );
    scene.run("commit %nobody").fails(1, "No such container");
    scene.run("rm -f %it").ok();
    scene.run(&format!("rmi {image}")).ok();
}

fn i06(scene: &Scene) {
    let image = format!("{}-listed", scene.prefix);
    scene.run("create --name %base busybox").ok();
    scene
        .run_and(
            "commit -c",
            &[
                &format!("LABEL set={image}"),
                &scene.name("base"),
                &format!("{image}:v1"),
            ],
        )
        .ok();
    let listed = scene.run(&format!("images {image}")).ok();
    let header: Vec<&str> = listed
        .lines()
        .next()
        .unwrap()
        .split("  ")
        .map(str::trim)
        .filter(|title| !title.is_empty())
        .collect();
    assert_eq!(header, ["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"]);
    assert!(
        listed.lines().nth(1).unwrap().starts_with(&image) && listed.contains("v1"),
        "{listed}"
    );
    let id = scene
        .run_and(
            "image inspect --format",
            &["{{.Id}}", &format!("{image}:v1")],
        )
        .ok();
    assert_eq!(
        scene.run(&format!("images -q {image}")).ok(),
        id["sha256:".len()..][..12]
    );
    assert_eq!(scene.run(&format!("images -q --no-trunc {image}")).ok(), id);
    assert_eq!(
        scene
            .run_and(
                &format!("images --filter label=set={image} --format"),
                &["{{.Repository}}:{{.Tag}}"]
            )
            .ok(),
        format!("{image}:v1")
    );
    assert_eq!(
        scene
            .run_and(
                &format!("image ls --filter reference={image}:* --format"),
                &["{{.Tag}}"]
            )
            .ok(),
        "v1"
    );
    assert_eq!(
        scene
            .run(&format!(
                "run --rm {} echo by id",
                &id["sha256:".len()..][..12]
            ))
            .ok(),
        "by id"
    );
    let inspected = scene.run(&format!("inspect {image}:v1")).json();
    assert_eq!(inspected[0]["RepoTags"][0], format!("{image}:v1"));
    assert_eq!(
        (&inspected[0]["Os"], &inspected[0]["Architecture"]),
        (&"linux".into(), &"amd64".into())
    );
    let history = scene.run(&format!("history {image}:v1")).ok();
    assert!(history.lines().count() >= 3, "{history}");
    let sizes = scene
        .run_and(&format!("history {image}:v1 --format"), &["{{.Size}}"])
        .ok();
    assert!(sizes.starts_with("0B\n"), "nothing was changed: {sizes}");
    assert!(sizes.ends_with("MB"), "what the image began with: {sizes}");
    scene
        .run("image inspect no-such-image-anywhere")
        .fails(1, "o such image");
    scene.run("rm %base").ok();
    scene.run(&format!("rmi {image}:v1")).ok();
}

fn i07(scene: &Scene) {
    let _alone = one_prune_at_a_time();
    let image = format!("{}-pruned", scene.prefix);
    let label = format!("LABEL set={image}");
    scene.run("create --name %base busybox").ok();
    let dangling = scene
        .run_and("commit -c", &[&label, &scene.name("base")])
        .ok();
    let named = scene
        .run_and(
            "commit -c",
            &[&label, "-c", "ENV A=1", &scene.name("base"), &image],
        )
        .ok();
    scene.run("rm %base").ok();
    let pruned = scene
        .run(&format!("image prune -f --filter label=set={image}"))
        .ok();
    assert!(
        pruned.contains(&dangling) && !pruned.contains(&named),
        "{pruned}"
    );
    let pruned = scene
        .run(&format!("image prune -a -f --filter label=set={image}"))
        .ok();
    assert!(
        pruned.contains(&named) && pruned.contains("Total reclaimed space:"),
        "{pruned}"
    );
    scene
        .run(&format!("image inspect {image}"))
        .fails(1, "o such image");
}

/// Who was told that an image has a name finds it by that name, whatever other names it loses meanwhile.
fn i11(scene: &Scene) {
    let label = format!("LABEL of={}", scene.prefix);
    let (old, new) = (
        format!("{}-old", scene.prefix),
        format!("{}-new", scene.prefix),
    );
    scene.run("create --name %base busybox").ok();
    for _ in 0..15 {
        scene
            .run_and("commit -c", &[&label, &scene.name("base"), &old])
            .ok();
        std::thread::scope(|scope| {
            let tagged = scope.spawn(|| scene.run(&format!("tag {old} {new}")));
            scene.run(&format!("rmi {old}")).ok();
            if tagged.join().unwrap().code == 0 {
                scene.run(&format!("image inspect {new}")).ok();
                scene.run(&format!("rmi {new}")).ok();
            }
        });
    }
    scene.run("rm %base").ok();
}

/// Refused, or contained: never a file outside.
fn i08(scene: &Scene) {
    let here = scene.directory("hostile");
    let victim = here.join("victim");
    fs::create_dir(&victim).unwrap();
    fs::write(here.join("x"), "evil").unwrap();
    let image = format!("{}-hostile", scene.prefix);
    let build = |name: &str, script: &str| {
        let tar = here.join(name);
        host(
            "sh",
            &[
                "-ec",
                &format!(
                    "cd {}; T={}; V={}; {script}",
                    here.display(),
                    tar.display(),
                    victim.display()
                ),
            ],
        );
        tar
    };
    for (name, script) in [
        ("absolute.tar", "tar -P --transform \"s|^x|$V/a|\" -cf $T x"),
        (
            "dots.tar",
            "tar -P --transform \"s|^x|../../../../../../../../..$V/b|\" -cf $T x",
        ),
        (
            "symlink.tar",
            "mkdir -p 1 2/link; ln -sfn $V 1/link; echo evil > 2/link/c; tar -C 1 -cf $T link; tar -C 2 -rf $T link/c",
        ),
        (
            "hardlink.tar",
            "mkdir -p 3; ln -sfn $V/secret 3/s; tar -C 3 -cf $T s; echo y > 3/y; ln -f 3/y 3/z; tar -C 3 --transform \"s|^y|$V/secret|RSh\" -P -rf $T y z",
        ),
    ] {
        fs::write(victim.join("secret"), "untouched").unwrap();
        let tar = build(name, script);
        // Either answer is right.
        drop(scene.run(&format!("import {} {image}", tar.display())));
        drop(scene.run(&format!("load -i {}", tar.display())));
        drop(scene.run(&format!("rmi {image}")));
        let inside: Vec<_> = fs::read_dir(&victim)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(inside, ["secret"], "{name}");
        assert_eq!(
            fs::read_to_string(victim.join("secret")).unwrap(),
            "untouched",
            "{name}"
        );
    }
    let busybox = fs::read(images_dir().join("busybox.tar")).unwrap();
    let truncated = scene.run_with(&format!("import - {image}"), &busybox[..busybox.len() / 2]);
    assert_ne!(truncated.code, 0, "{truncated}");
    scene
        .run(&format!("image inspect {image}"))
        .fails(1, "o such image");
    let manifest = here.join("m");
    fs::create_dir(&manifest).unwrap();
    fs::write(manifest.join("manifest.json"), "[{\"Config\":\"../../../../etc/passwd\",\"RepoTags\":[\"x:y\"],\"Layers\":[\"/etc/passwd\"]}]").unwrap();
    let tar = build("manifest.tar", "tar -C m -cf $T manifest.json");
    assert_ne!(scene.run(&format!("load -i {}", tar.display())).code, 0);
    fs::write(manifest.join("manifest.json"), "[{\"Config\":").unwrap();
    let tar = build("broken.tar", "tar -C m -cf $T manifest.json");
    assert_ne!(scene.run(&format!("load -i {}", tar.display())).code, 0);
}

fn i09(scene: &Scene) {
    let image = format!("{}-shared", scene.prefix);
    scene.run("create --name %base busybox").ok();
    let parent = scene
        .run_and(
            "image inspect --format",
            &["{{index .RootFS.Layers 0}}", "busybox"],
        )
        .ok();
    scene
        .run_and(
            "commit -c",
            &["ENV A=1", &scene.name("base"), &format!("{image}:1")],
        )
        .ok();
    scene
        .run_and(
            "commit -c",
            &["ENV A=2", &scene.name("base"), &format!("{image}:2")],
        )
        .ok();
    for tag in ["1", "2"] {
        assert_eq!(
            scene
                .run_and(
                    "image inspect --format",
                    &["{{index .RootFS.Layers 0}}", &format!("{image}:{tag}")]
                )
                .ok(),
            parent
        );
    }
    // Loading what is there makes no second copy.
    let tar = scene.directory("tar").join("image.tar");
    scene
        .run(&format!("save -o {} {image}:1", tar.display()))
        .ok();
    let first = scene
        .run_and(
            "image inspect --format",
            &["{{.Id}}", &format!("{image}:1")],
        )
        .ok();
    scene.run(&format!("load -i {}", tar.display())).ok();
    assert_eq!(
        scene
            .run_and(
                "image inspect --format",
                &["{{.Id}}", &format!("{image}:1")]
            )
            .ok(),
        first
    );
    scene.run("rm %base").ok();
    scene.run(&format!("rmi {image}:1 {image}:2")).ok();
    scene.run("run --rm busybox true").ok();
}

fn i10(scene: &Scene) {
    let image = format!("{}-white", scene.prefix);
    scene
        .run_and(
            "run --name %one busybox sh -c",
            &["mkdir -p /d/sub; touch /d/a /d/b /d/sub/c"],
        )
        .ok();
    scene.run(&format!("commit %one {image}:1")).ok();
    scene
        .run_and(
            &format!("run --name %two {image}:1 sh -c"),
            &["rm /d/a; rm -r /d/sub; mkdir /d/sub; touch /d/sub/new"],
        )
        .ok();
    scene.run(&format!("commit %two {image}:2")).ok();
    scene.run("rm %one %two").ok();
    let tar = scene.directory("tar").join("image.tar");
    scene
        .run(&format!("save -o {} {image}:2", tar.display()))
        .ok();
    let before = scene.run(&format!("run --rm {image}:2 find /d")).ok();
    scene.run(&format!("rmi {image}:2 {image}:1")).ok();
    scene.run(&format!("load -i {}", tar.display())).ok();
    let after = scene.run(&format!("run --rm {image}:2 find /d")).ok();
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines.join(" ")
    };
    assert_eq!(sorted(&before), "/d /d/b /d/sub /d/sub/new");
    assert_eq!(sorted(&after), sorted(&before));
    scene.run(&format!("rmi {image}:2")).ok();
}
