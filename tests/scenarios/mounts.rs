//! S01–S12: volumes, bind mounts, tmpfs.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use testkit::until;

use super::{Scenario, Scene, http};

pub(super) const SCENARIOS: &[Scenario] = &[
    ("s01_anonymous_volume_and_published_ports", s01),
    ("s02_several_volumes", s02),
    ("s03_bind_mount_makes_its_source", s03),
    ("s04_read_only", s04),
    ("s05_a_single_file", s05),
    ("s06_forms_of_v", s06),
    ("s07_volumes_live_on_and_are_shared", s07),
    ("s08_named_volume_is_made", s08),
    ("s09_host_directory_round_trip", s09),
    ("s10_host_file_round_trip", s10),
    ("s11_mount_flag_and_tmpfs", s11),
    ("s12_the_host_sees_no_mount", s12),
    ("s13_subpath_and_image_mounts", s13),
    ("s14_mount_errors", s14),
    ("s15_propagation", s15),
    ("s16_symlinked_targets_stay_inside", s16),
    ("s17_copy_up_keeps_everything", s17),
    ("s18_nested_targets_and_etc", s18),
    ("s19_recursive_read_only", s19),
];

const SERVER: &str = "import http.server as h\nclass H(h.BaseHTTPRequestHandler):\n def do_GET(s):\n  s.send_response(200); s.end_headers(); s.wfile.write(open('/webapp/page').read().encode())\nh.HTTPServer(('',5000),H).serve_forever()";

fn s01(scene: &Scene) {
    let image = format!("{}-webapp", scene.prefix);
    scene.run("create --name %base debian true").ok();
    scene
        .run_and("commit -c", &["EXPOSE 5000", &scene.name("base"), &image])
        .ok();
    scene
        .run_and(
            &format!("run -d -P --name %web -v /webapp {image} python3 -c"),
            &[SERVER],
        )
        .ok();
    let mounts = scene
        .run_and("inspect %web --format", &["{{json .Mounts}}"])
        .json();
    let mount = &mounts[0];
    let source = mount["Source"].as_str().unwrap();
    assert_eq!(mount["Destination"], "/webapp");
    assert_eq!(mount["Name"].as_str().unwrap().len(), 64);
    assert_eq!(
        source,
        format!(
            "{}/volumes/{}/_data",
            scene.engine.root.display(),
            mount["Name"].as_str().unwrap()
        )
    );
    fs::write(format!("{source}/page"), "from the host").unwrap();
    assert_eq!(scene.sh("web", "cat /webapp/page").ok(), "from the host");
    let port = scene.run("port %web 5000").ok();
    let port = port
        .lines()
        .next()
        .unwrap()
        .rsplit(':')
        .next()
        .unwrap()
        .to_owned();
    for host in ["127.0.0.1", "192.0.2.1", "[::1]"] {
        let page = until(&format!("{host} answers"), || {
            http(&format!("http://{host}:{port}/"))
        });
        assert_eq!(page, "from the host", "{host}");
    }
    scene.sh("web", "echo inside > /webapp/answer").ok();
    assert_eq!(
        fs::read_to_string(format!("{source}/answer")).unwrap(),
        "inside\n"
    );
    scene.run("rm -fv %web %base").ok();
    assert!(!fs::exists(source).unwrap());
}

fn s02(scene: &Scene) {
    scene
        .run("create --name %many -v /one -v /two -v /three busybox")
        .ok();
    let names = scene.inspect("many", "{{range .Mounts}}{{.Destination}} {{end}}");
    let mut names: Vec<&str> = names.split_whitespace().collect();
    names.sort_unstable();
    assert_eq!(names, ["/one", "/three", "/two"]);
    scene.run("rm -v %many").ok();
}

fn s03(scene: &Scene) {
    let source = scene.directory("src").join("web_data");
    let bind = format!("{}:/webapp", source.display());
    scene
        .run(&format!(
            "run --name %bind -v {bind} busybox touch /webapp/made"
        ))
        .ok();
    assert!(source.join("made").exists());
    assert_eq!(fs::metadata(&source).unwrap().mode() & 0o7777, 0o755);
    scene.run("rm -v %bind").ok();
    assert!(
        source.join("made").exists(),
        "rm -v must not touch a bind source"
    );
    scene
        .run("run --rm -v rel/path:/c busybox true")
        .fails(125, "includes invalid characters for a local volume name");
}

fn s04(scene: &Scene) {
    let source = scene.directory("ro");
    let bind = format!("{}:/dst", source.display());
    scene
        .run(&format!("run --rm -v {bind}:ro busybox touch /dst/x"))
        .fails(1, "Read-only file system");
    scene
        .run(&format!("run --rm -v {bind} busybox touch /dst/x"))
        .ok();
    assert!(source.join("x").exists());
}

fn s05(scene: &Scene) {
    let directory = scene.directory("file");
    let file = directory.join("history");
    fs::write(&file, "ls -l\n").unwrap();
    let seen = scene
        .run(&format!(
            "run --rm -v {}:/etc/history busybox cat /etc/history /etc/passwd",
            file.display()
        ))
        .ok();
    assert!(seen.starts_with("ls -l\nroot:"), "{seen}");
    let missing = directory.join("missing");
    scene
        .run(&format!(
            "run --rm -v {}:/x busybox true",
            missing.display()
        ))
        .ok();
    assert!(missing.is_dir(), "a missing source becomes a directory");
    scene
        .run(&format!(
            "run --rm -v {}:/etc/passwd busybox true",
            missing.display()
        ))
        .fails(125, "not a directory");
}

fn s06(scene: &Scene) {
    let host = scene.directory("h");
    let host = host.display();
    for (form, kind, rw) in [
        ("/c".to_owned(), "volume", "true"),
        (format!("{host}:/c"), "bind", "true"),
        (format!("{host}:/c:ro"), "bind", "false"),
        (format!("{host}:/c:rw"), "bind", "true"),
        ("%v:/c".to_owned(), "volume", "true"),
        ("%v:/c:ro".to_owned(), "volume", "false"),
    ] {
        scene
            .run(&format!("create --name %form -v {form} busybox"))
            .ok();
        assert_eq!(
            scene.inspect(
                "form",
                "{{(index .Mounts 0).Type}} {{(index .Mounts 0).RW}}"
            ),
            format!("{kind} {rw}"),
            "{form}"
        );
        scene.run("rm -v %form").ok();
    }
    for (form, text) in [
        ("/a:/b:ro:x", "/a:/b:ro:x"),
        ("/a:/b:nonsense", "invalid mode: nonsense"),
        ("/a:/", "destination can't be '/'"),
    ] {
        scene
            .run(&format!("create -v {form} busybox"))
            // What the client refuses by itself has another code.
            .fails(if form == "/a:/b:ro:x" { 125 } else { 1 }, text);
    }
    // With -v the stock client takes one letter for a drive of Windows.
    scene
        .run("create --mount type=volume,src=x,dst=/b busybox")
        .fails(
            1,
            "volume name is too short, names should be at least two alphanumeric characters",
        );
    scene.run("volume rm %v").ok();
}

fn s07(scene: &Scene) {
    scene
        .run("run -d --name %a -v %shared:/data busybox sleep 1000")
        .ok();
    scene
        .run("run -d --name %b -v %shared:/other busybox sleep 1000")
        .ok();
    scene.sh("a", "echo hello > /data/file").ok();
    assert_eq!(scene.sh("b", "cat /other/file").ok(), "hello");
    scene.run("rm -f %a %b").ok();
    assert_eq!(
        scene.run("run --rm -v %shared:/x busybox cat /x/file").ok(),
        "hello"
    );
    scene
        .run("run --rm busybox ls /data")
        .fails(1, "No such file or directory");
    scene.run("volume rm %shared").ok();
}

fn s08(scene: &Scene) {
    scene
        .run("volume inspect %named")
        .fails(1, "no such volume");
    scene
        .run("run --rm -v %named:/MountPoint busybox true")
        .ok();
    assert_eq!(
        scene
            .run_and("volume inspect %named --format", &["{{.Driver}}"])
            .ok(),
        "local"
    );
    scene.run("volume rm %named").ok();
}

fn s09(scene: &Scene) {
    let host = scene.directory("hostdir");
    let bind = format!("{}:/MountPoint", host.display());
    scene
        .run_and(
            &format!("run --name %dir -v {bind} busybox sh -c"),
            &["umask 027; echo text > /MountPoint/file"],
        )
        .ok();
    let made = fs::metadata(host.join("file")).unwrap();
    assert_eq!(
        (made.uid(), made.gid(), made.mode() & 0o7777),
        (0, 0, 0o640)
    );
    let mounts = scene
        .run_and(
            "inspect --format",
            &["{{json .Mounts}}", &scene.name("dir")],
        )
        .json();
    assert_eq!(mounts[0]["Source"], host.to_str().unwrap());
    assert_eq!(mounts[0]["Destination"], "/MountPoint");
    assert_eq!(mounts[0]["RW"], true);
    assert_eq!(mounts[0]["Propagation"], "rprivate");
    scene.run("rm %dir").ok();
}

fn s10(scene: &Scene) {
    let file = scene.directory("f").join("text");
    fs::write(&file, "").unwrap();
    scene
        .run_and(
            &format!("run --rm -v {}:/text busybox sh -c", file.display()),
            &["echo written inside > /text"],
        )
        .ok();
    assert_eq!(fs::read_to_string(file).unwrap(), "written inside\n");
}

fn s11(scene: &Scene) {
    let host = scene.directory("m");
    let seen = scene
        .run(&format!(
            "run --rm --mount type=bind,src={},dst=/b,readonly --mount type=volume,src=%vol,dst=/v --mount type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=1770 --tmpfs /u:size=2m busybox mount",
            host.display()
        ))
        .ok();
    let line = |target: &str| {
        seen.lines()
            .find(|line| line.contains(&format!(" on {target} ")))
            .unwrap_or_else(|| panic!("{target} in\n{seen}"))
            .to_owned()
    };
    assert!(line("/b").contains("(ro,"));
    assert!(line("/v").contains("(rw,"));
    for option in [
        "tmpfs",
        "nosuid",
        "nodev",
        "noexec",
        "size=1024k",
        "mode=1770",
    ] {
        assert!(line("/t").contains(option), "{option} in {}", line("/t"));
    }
    assert!(line("/u").contains("size=2048k"));
    scene
        .run("run --name %t --tmpfs /x:size=1m busybox touch /x/gone")
        .ok();
    scene.run("start -a %t").ok();
    scene
        .run("run --rm --tmpfs /x:size=1m busybox dd if=/dev/zero of=/x/big bs=1M count=2")
        .fails(1, "No space left on device");
    let types =
        scene.run("create --name %both -v /dev/shm:/dev/shm --mount type=tmpfs,dst=/y busybox");
    types.ok();
    let kinds = scene.inspect(
        "both",
        "{{range .Mounts}}{{.Type}}:{{.Destination}} {{end}}",
    );
    assert!(
        kinds.contains("bind:/dev/shm") && kinds.contains("tmpfs:/y"),
        "{kinds}"
    );
    scene.run("rm -v %t %both").ok();
    scene.run("volume rm %vol").ok();
}

fn s12(scene: &Scene) {
    scene
        .run("run -d --name %hidden -v /inside busybox sleep 1000")
        .ok();
    scene.sh("hidden", "touch /inside/x /outside").ok();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(
        !mounts.contains(&scene.engine.root.display().to_string()),
        "{mounts}"
    );
    let id = scene.inspect("hidden", "{{.Id}}");
    let upper = scene.engine.root.join("containers").join(id).join("upper");
    assert!(upper.join("outside").exists());
    assert_eq!(fs::read_dir(upper.join("inside")).unwrap().count(), 0);
    scene.run("rm -fv %hidden").ok();
}

fn s13(scene: &Scene) {
    if scene.client == testkit::Client::Docker {
        // Older stock clients do not know these keys.
        let help = scene.run("version --format {{.Client.APIVersion}}").ok();
        let minor: u32 = help.rsplit('.').next().unwrap().parse().unwrap();
        if minor < 48 {
            println!("s13: skipped with a docker CLI of API {help}");
            return;
        }
    }
    scene
        .run_and(
            "run --rm -v %sub:/v busybox sh -c",
            &["mkdir -p /v/a/b; echo deep > /v/a/b/f; ln -s ../../.. /v/a/out"],
        )
        .ok();
    assert_eq!(
        scene
            .run("run --rm --mount type=volume,src=%sub,dst=/x,volume-subpath=a/b busybox cat /x/f")
            .ok(),
        "deep"
    );
    scene
        .run("run --rm --mount type=volume,src=%sub,dst=/x,volume-subpath=nothing busybox true")
        .fails(127, "no such file or directory");
    assert_ne!(
        scene
            .run("run --rm --mount type=volume,src=%sub,dst=/x,volume-subpath=a/out busybox ls /x")
            .code,
        0
    );
    assert!(scene.run("run --rm --mount type=image,src=debian,dst=/image busybox cat /image/etc/debian_version").ok().starts_with(|c: char| c.is_ascii_alphanumeric()));
    scene
        .run("run --rm --mount type=image,src=debian,dst=/image busybox touch /image/x")
        .fails(1, "Read-only file system");
    scene.run("volume rm %sub").ok();
}

fn s14(scene: &Scene) {
    for (line, text) in [
        (
            "create --mount type=bind,src=/nowhere/at/all,dst=/x busybox",
            "bind source path does not exist: /nowhere/at/all",
        ),
        (
            "create -v /a:/x -v /b:/x busybox",
            "Duplicate mount point: /x",
        ),
        (
            "create -v /a:/x --tmpfs /x busybox",
            "Duplicate mount point: /x",
        ),
        (
            "create --volumes-from nobody busybox",
            "No such container: nobody",
        ),
        (
            "create -v vol-ok:/p:shared busybox",
            "field BindOptions must not be specified",
        ),
    ] {
        let output = scene.run(line);
        assert_ne!(output.code, 0, "{output}");
        assert!(output.stderr.contains(text), "{text} in {output}");
    }
    scene
        .run("run --rm -v %file:/etc/passwd busybox true")
        .fails(125, "not a directory");
    scene.run("volume rm %file").ok();
}

fn s15(scene: &Scene) {
    let host = scene.directory("shared");
    assert!(
        std::process::Command::new("mount")
            .args(["-t", "tmpfs", "shared"])
            .arg(&host)
            .status()
            .unwrap()
            .success()
    );
    assert!(
        std::process::Command::new("mount")
            .arg("--make-shared")
            .arg(&host)
            .status()
            .unwrap()
            .success()
    );
    scene
        .run(&format!(
            "run -d --name %prop -v {}:/s:rshared busybox sleep 1000",
            host.display()
        ))
        .ok();
    fs::create_dir(host.join("later")).unwrap();
    assert!(
        std::process::Command::new("mount")
            .args(["-t", "tmpfs", "later"])
            .arg(host.join("later"))
            .status()
            .unwrap()
            .success()
    );
    fs::write(host.join("later/f"), "propagated").unwrap();
    assert_eq!(scene.sh("prop", "cat /s/later/f").ok(), "propagated");
    assert_eq!(
        scene.inspect("prop", "{{(index .Mounts 0).Propagation}}"),
        "rshared"
    );
    scene.run("rm -f %prop").ok();
    assert!(
        std::process::Command::new("umount")
            .arg("-R")
            .arg(&host)
            .status()
            .unwrap()
            .success()
    );
}

fn s16(scene: &Scene) {
    let host = scene.directory("target");
    fs::write(host.join("f"), "seen").unwrap();
    scene.run_and("run --name %link busybox sh -c", &["ln -s /var/real /link; ln -s ../../../../../../../../escape /up; mkdir -p /var/real"]).ok();
    scene
        .run(&format!("commit %link {}-linked", scene.prefix))
        .ok();
    let seen = scene
        .run(&format!(
            "run --rm -v {}:/link -v {}:/up {}-linked cat /var/real/f /escape/f",
            host.display(),
            host.display(),
            scene.prefix
        ))
        .ok();
    assert_eq!(seen, "seenseen");
    assert!(!fs::exists("/escape").unwrap() && !fs::exists("/var/real").unwrap());
    scene.run("rm %link").ok();
    scene.run(&format!("rmi {}-linked", scene.prefix)).ok();
}

fn s17(scene: &Scene) {
    scene
        .run_and(
            "run --name %seed debian sh -c",
            &["mkdir -m 2750 /seed; chown www-data:adm /seed; cd /seed; echo a > a; ln a hard; ln -s a soft; setfattr -n user.k -v v a; setfacl -m u:33:r a; truncate -s 50M sparse; mkfifo fifo; chmod 4755 a; touch -d 2001-02-03 a"],
        )
        .ok();
    scene
        .run(&format!("commit %seed {}-seed", scene.prefix))
        .ok();
    scene
        .run(&format!(
            "create --name %filled -v %copy:/seed {}-seed",
            scene.prefix
        ))
        .ok();
    let data = scene
        .engine
        .root
        .join("volumes")
        .join(scene.name("copy"))
        .join("_data");
    let root = fs::metadata(&data).unwrap();
    assert_eq!(
        (root.uid(), root.gid(), root.mode() & 0o7777),
        (33, 4, 0o2750)
    );
    let a = fs::metadata(data.join("a")).unwrap();
    assert_eq!((a.mode() & 0o7777, a.nlink()), (0o4755, 2));
    assert_eq!(a.ino(), fs::metadata(data.join("hard")).unwrap().ino());
    assert!(a.mtime() < 1_000_000_000);
    assert_eq!(
        fs::read_link(data.join("soft")).unwrap().to_str(),
        Some("a")
    );
    let sparse = fs::metadata(data.join("sparse")).unwrap();
    assert!(
        sparse.len() == 50 << 20 && sparse.blocks() < 100,
        "{sparse:?}"
    );
    let attributes = std::process::Command::new("getfattr")
        .args(["-d", "-m", "-"])
        .arg(data.join("a"))
        .output()
        .unwrap();
    let attributes = String::from_utf8_lossy(&attributes.stdout).into_owned();
    assert!(
        attributes.contains("user.k=\"v\"") && attributes.contains("system.posix_acl_access"),
        "{attributes}"
    );
    scene
        .run(&format!(
            "create --name %empty -v %none:/seed:nocopy {}-seed",
            scene.prefix
        ))
        .ok();
    assert_eq!(
        fs::read_dir(
            scene
                .engine
                .root
                .join("volumes")
                .join(scene.name("none"))
                .join("_data")
        )
        .unwrap()
        .count(),
        0
    );
    scene.run("rm %seed %filled %empty").ok();
    scene.run("volume rm %copy %none").ok();
    scene.run(&format!("rmi {}-seed", scene.prefix)).ok();
}

fn s18(scene: &Scene) {
    let outer = scene.directory("outer");
    let seen = scene
        .run_and(
            &format!(
                "run --rm -v %inner:/z/a -v {}:/z -v %etc:/etc busybox sh -c",
                outer.display()
            ),
            &["touch /z/a/in /z/out; cat /etc/hosts /etc/passwd"],
        )
        .ok();
    assert!(
        seen.contains("localhost") && seen.contains("root:x:0:0"),
        "{seen}"
    );
    assert!(outer.join("out").exists() && outer.join("a").is_dir());
    assert_eq!(fs::read_dir(outer.join("a")).unwrap().count(), 0);
    assert!(
        scene
            .engine
            .root
            .join("volumes")
            .join(scene.name("inner"))
            .join("_data/in")
            .exists()
    );
    scene.run("volume rm %inner %etc").ok();
}

fn s19(scene: &Scene) {
    let host = scene.directory("rro");
    fs::create_dir(host.join("sub")).unwrap();
    assert!(
        std::process::Command::new("mount")
            .args(["-t", "tmpfs", "sub"])
            .arg(host.join("sub"))
            .status()
            .unwrap()
            .success()
    );
    let write = |options: &str| {
        scene.run(&format!(
            "run --rm --mount type=bind,src={},dst=/r,{options} busybox touch /r/sub/x",
            host.display()
        ))
    };
    write("readonly").fails(1, "Read-only file system");
    scene
        .run(&format!(
            "run --rm -v {}:/r:ro busybox touch /r/sub/x",
            host.display()
        ))
        .fails(1, "Read-only file system");
    assert!(
        std::process::Command::new("umount")
            .arg(host.join("sub"))
            .status()
            .unwrap()
            .success()
    );
}
