//! S55 and the flags of `create` and `run` that are not about data: names, environment, users, listings.

use std::fs;

use testkit::until;

use super::{Scenario, Scene, one_prune_at_a_time};

pub(super) const SCENARIOS: &[Scenario] = &[
    ("s55_listings", s55),
    ("s55a_rm_flag_cleans_up", s55a),
    ("c01_exit_codes_of_run", c01),
    ("c02_environment", c02),
    ("c03_working_directory_and_user", c03),
    ("c04_entrypoint_and_command", c04),
    ("c05_hostname", c05),
    ("c06_names", c06),
    ("c07_what_is_refused", c07),
    ("c08_labels_and_filters", c08),
    ("c09_rename", c09),
    ("c10_inspect", c10),
    ("c11_formats", c11),
    ("c12_prune", c12),
    ("c13_cidfile_and_ids", c13),
    ("c14_system", c14),
    ("c15_help", c15),
];

fn s55(scene: &Scene) {
    scene.run("run --name %done busybox sh -c true").ok();
    scene
        .run("run --name %failed busybox sh -c false")
        .fails(1, "");
    scene.run("run -d --name %up busybox sleep 1000").ok();
    scene.run("create --name %new busybox true").ok();
    let all = scene.run("ps -a --filter name=%").ok();
    let header = all.lines().next().unwrap();
    let titles: Vec<&str> = header
        .split("  ")
        .map(str::trim)
        .filter(|title| !title.is_empty())
        .collect();
    assert_eq!(
        titles,
        [
            "CONTAINER ID",
            "IMAGE",
            "COMMAND",
            "CREATED",
            "STATUS",
            "PORTS",
            "NAMES"
        ]
    );
    let line = |name: &str| {
        let name = scene.name(name);
        all.lines()
            .find(|line| line.ends_with(&name))
            .unwrap_or_else(|| panic!("{name} in\n{all}"))
            .to_owned()
    };
    let ended = |line: &str, code: &str| {
        line.contains(&format!("Exited ({code}) ")) && line.contains(" ago")
    };
    assert!(ended(&line("done"), "0"), "{all}");
    assert!(ended(&line("failed"), "1"), "{all}");
    assert!(line("up").contains("   Up "), "{all}");
    assert!(line("new").contains("   Created   "), "{all}");
    assert!(line("up").contains("\"sleep 1000\""), "{all}");
    let running = scene.run("ps --filter name=%").ok();
    assert_eq!(running.lines().count(), 2, "{running}");
    let id = scene.inspect("up", "{{.Id}}");
    assert_eq!(scene.run("ps -q --filter name=%").ok(), id[..12]);
    assert_eq!(scene.run("ps -q --no-trunc --filter name=%").ok(), id);
    scene.run("rm -f %done %failed %up %new").ok();
}

fn s55a(scene: &Scene) {
    let label = scene.name("x");
    scene.run(&format!("run --rm --label set={label} -v /anonymous -v %named:/named busybox touch /anonymous/x /named/x")).ok();
    assert_eq!(
        scene
            .run(&format!("ps -aq --filter label=set={label}"))
            .ok(),
        ""
    );
    assert!(scene.data("named").join("x").exists());
    // In the background and killed, too.
    scene
        .run("run -d --rm --name %back -v /anonymous busybox sleep 1000")
        .ok();
    let volume = scene.inspect("back", "{{(index .Mounts 0).Name}}");
    scene.run("kill %back").ok();
    until("--rm has removed the container", || {
        (scene.run("inspect --type container %back").code == 1).then_some(())
    });
    scene
        .run(&format!("volume inspect {volume}"))
        .fails(1, "no such volume");
    scene.run("volume rm %named").ok();
}

fn c01(scene: &Scene) {
    scene
        .run_and("run --rm busybox sh -c", &["exit 7"])
        .fails(7, "");
    scene
        .run_and("run --rm --init busybox sh -c", &["exit 8"])
        .fails(8, "");
    scene
        .run_and("run --rm --init busybox sh -c", &["kill -9 $$"])
        .fails(137, "");
    scene
        .run("run --rm busybox /no/such/program")
        .fails(127, "no such file or directory");
    scene
        .run("run --rm busybox nosuchprogram")
        .fails(127, "executable file not found in $PATH");
    scene
        .run("run --rm busybox /etc/passwd")
        .fails(126, "permission denied");
    scene.run("run --rm busybox /etc").fails(126, "");
    scene
        .run("run --nosuchflag busybox")
        .fails(125, "unknown flag: --nosuchflag");
    scene.run("run").fails(1, "requires at least 1 argument");
    scene
        .run("run --rm no-such-image-anywhere true")
        .fails(125, "no-such-image-anywhere");
    scene.run("start %nobody").fails(1, "No such container");
    // What did not start is still there, with the reason.
    scene
        .run("run --name %kept busybox /no/such/program")
        .fails(127, "");
    assert_eq!(
        scene.inspect("kept", "{{.State.Status}} {{.State.ExitCode}}"),
        "created 127"
    );
    assert!(!scene.inspect("kept", "{{.State.Error}}").is_empty());
    scene.run("rm %kept").ok();
}

fn c02(scene: &Scene) {
    let file = scene.directory("env").join("file");
    fs::write(
        &file,
        "# a comment\nFROM_FILE=one two\n\nORLOP_TEST_UNSET\nPATH_LIKE=/a:/b=c\n",
    )
    .unwrap();
    let words = [
        "run",
        "--rm",
        "-e",
        "GIVEN=with blanks",
        "-e",
        "HOME_FROM_HERE",
        "-e",
        "EMPTY=",
        "--env-file",
        file.to_str().unwrap(),
        "busybox",
        "env",
    ];
    let output = scene
        .client
        .command(&scene.engine, &words)
        .env("HOME_FROM_HERE", "taken over")
        .output()
        .unwrap();
    let seen = String::from_utf8(output.stdout).unwrap();
    for line in [
        "GIVEN=with blanks",
        "HOME_FROM_HERE=taken over",
        "EMPTY=",
        "FROM_FILE=one two",
        "PATH_LIKE=/a:/b=c",
        "HOME=/root",
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    ] {
        assert!(seen.lines().any(|seen| seen == line), "{line} in\n{seen}");
    }
    assert!(
        seen.contains("HOSTNAME=") && !seen.contains("TERM=") && !seen.contains("ORLOP_TEST_UNSET"),
        "{seen}"
    );
    let terminal = scene.terminal("run --rm -t busybox env");
    assert!(terminal.finish().1.contains("TERM=xterm"));
    scene
        .run("run --rm --env-file /no/such/file busybox true")
        .fails(125, "no such file or directory");
}

fn c03(scene: &Scene) {
    assert_eq!(
        scene.run("run --rm -w /made/for/it busybox pwd").ok(),
        "/made/for/it"
    );
    scene.run("run --rm -w relative busybox pwd").fails(125, "");
    for (user, seen) in [
        (
            "www-data",
            "uid=33(www-data) gid=33(www-data) groups=4(adm),33(www-data)",
        ),
        ("33:4", "uid=33(www-data) gid=4(adm) groups=4(adm)"),
        ("1234", "uid=1234 gid=0(root) groups=0(root)"),
        ("1234:5678", "uid=1234 gid=5678 groups=5678"),
        ("daemon:adm", "uid=1(daemon) gid=4(adm) groups=4(adm)"),
    ] {
        let ids = scene.run(&format!("run --rm -u {user} busybox id")).ok();
        // busybox prints the primary group first.
        let sorted = |text: &str| {
            let mut groups: Vec<String> = text
                .rsplit('=')
                .next()
                .unwrap()
                .split(',')
                .map(str::to_owned)
                .collect();
            groups.sort();
            (text.rsplit_once(' ').unwrap().0.to_owned(), groups)
        };
        assert_eq!(sorted(&ids), sorted(seen), "{user}");
    }
    scene
        .run("run --rm -u nobodyhere busybox id")
        .fails(125, "unable to find user nobodyhere");
    scene
        .run("run --rm -u root:nogrouphere busybox id")
        .fails(125, "unable to find group nogrouphere");
    let groups = scene
        .run("run --rm -u www-data --group-add 999 --group-add daemon busybox id -G")
        .ok();
    assert!(
        groups.contains("999") && groups.split(' ').any(|id| id == "1"),
        "{groups}"
    );
    assert_eq!(
        scene
            .run_and("run --rm -u www-data busybox sh -c", &["echo $HOME; umask"])
            .ok(),
        "/home/www\n0022"
    );
}

fn c04(scene: &Scene) {
    let image = format!("{}-entry", scene.prefix);
    scene.run("create --name %base busybox").ok();
    scene
        .run_and(
            "commit -c",
            &[
                "ENTRYPOINT [\"echo\", \"entry\"]",
                "-c",
                "CMD [\"default\"]",
                &scene.name("base"),
                &image,
            ],
        )
        .ok();
    assert_eq!(
        scene.run(&format!("run --rm {image}")).ok(),
        "entry default"
    );
    assert_eq!(
        scene.run(&format!("run --rm {image} given words")).ok(),
        "entry given words"
    );
    assert_eq!(
        scene
            .run(&format!("run --rm --entrypoint printf {image} %s x"))
            .ok(),
        format!("{}-s", scene.prefix)
    );
    // An entrypoint of one's own resets the image's command.
    assert_eq!(
        scene
            .run(&format!("run --rm --entrypoint echo {image}"))
            .ok(),
        ""
    );
    assert_eq!(
        scene
            .run_and("run --rm --entrypoint", &["", &image, "echo", "none"])
            .ok(),
        "none"
    );
    scene
        .run_and(
            "commit -c",
            &["CMD []", &scene.name("base"), &scene.name("nothing")],
        )
        .ok();
    scene.run("rm %base").ok();
    scene.run(&format!("rmi {image} %nothing")).ok();
}

fn c05(scene: &Scene) {
    let seen = scene
        .run_and(
            "run --rm -h myhost --domainname example.test busybox sh -c",
            &["hostname; cat /etc/hostname; grep myhost /etc/hosts"],
        )
        .ok();
    assert!(seen.starts_with("myhost\nmyhost"), "{seen}");
    assert!(seen.contains("myhost.example.test myhost"), "{seen}");
    scene.run("create --name %named busybox hostname").ok();
    let id = scene.inspect("named", "{{.Id}}");
    assert_eq!(scene.run("start -a %named").ok(), id[..12]);
    scene.run("rm %named").ok();
}

fn c06(scene: &Scene) {
    scene.run("create --name %taken busybox true").ok();
    let id = scene.inspect("taken", "{{.Id}}");
    let text = format!(
        "Conflict. The container name \"/{}\" is already in use by container \"{id}\". You have to remove (or rename) that container to be able to reuse that name.",
        scene.name("taken")
    );
    scene
        .run("create --name %taken busybox true")
        .fails(1, &text);
    scene
        .run("run --name %taken busybox true")
        .fails(125, &text);
    scene
        .run_and("create --name", &["two words", "busybox"])
        .fails(
            1,
            "Invalid container name (two words), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed",
        );
    scene
        .run("create --name -x busybox")
        .fails(1, "Invalid container name");
    scene.run("rm %taken").ok();
    // A generated name is two words.
    let id = scene.run("create busybox true").ok();
    assert_eq!(id.len(), 64);
    let name = scene.run_and("inspect --format", &["{{.Name}}", &id]).ok();
    assert!(name.starts_with('/') && name.contains('_'), "{name}");
    assert_eq!(scene.run(&format!("rm {}", &id[..10])).ok(), id[..10]);
}

fn c07(scene: &Scene) {
    for (line, text) in [
        ("run --gpus all busybox true", "gpu"),
        (
            "run -m 1m busybox true",
            "Minimum memory limit allowed is 6MB",
        ),
        (
            "run --cpus 100000 busybox true",
            "Range of CPUs is from 0.01 to",
        ),
        (
            "run --restart nonsense busybox true",
            "invalid restart policy",
        ),
        (
            "run --rm --restart always busybox true",
            "onflicting options",
        ),
        ("run --cap-add NONSENSE busybox true", "unknown capability"),
        ("run -p 99999:80 busybox true", "nvalid"),
        ("run --network container: busybox true", "container"),
        (
            "run --network container:%nobody busybox true",
            "No such container",
        ),
        ("run --network nosuchnetwork busybox true", "nosuchnetwork"),
        ("run --security-opt nonsense=1 busybox true", "nonsense"),
        ("run --ulimit nofile=10:5 busybox true", "soft"),
        (
            "run --device /dev/no-such-device busybox true",
            "no-such-device",
        ),
        ("run --log-driver nosuchdriver busybox true", "nosuchdriver"),
        ("run --link %nobody:x busybox true", "nobody"),
        ("run --stop-signal NONSENSE busybox true", "nonsense"),
        ("run --ipc nonsense busybox true", "IPC mode"),
        ("run --pid nonsense busybox true", "PID mode"),
    ] {
        let output = scene.run(line);
        // The stock client makes 127 of every text that sounds like a missing program.
        let code = if output.stderr.contains("no such file or directory") {
            127
        } else {
            125
        };
        assert_eq!(output.code, code, "{output}");
        assert!(
            output.stderr.to_lowercase().contains(&text.to_lowercase()),
            "{text} in {output}"
        );
    }
    // Nothing half-made stays; a start that failed leaves the container, as in Docker.
    let left = scene
        .run_and(
            "ps -a --filter ancestor=busybox --format",
            &["{{.Names}} {{.Status}}"],
        )
        .ok();
    assert!(!left.contains("nobody"), "{left}");
}

fn c08(scene: &Scene) {
    let file = scene.directory("labels").join("file");
    fs::write(&file, "from=file\n").unwrap();
    let set = scene.name("x");
    scene
        .run(&format!(
            "create --name %one --label set={set} --label a=1 --label-file {} busybox true",
            file.display()
        ))
        .ok();
    scene
        .run(&format!(
            "run --name %two --label set={set} -v %vol:/data busybox true"
        ))
        .ok();
    scene
        .run_and(
            &format!("run --name %three --label set={set} debian sh -c"),
            &["exit 3"],
        )
        .fails(3, "");
    let labels = scene
        .run_and("inspect %one --format", &["{{json .Config.Labels}}"])
        .json();
    assert_eq!(
        (&labels["from"], &labels["a"]),
        (&"file".into(), &"1".into())
    );
    for (filter, names) in [
        ("", "one three two"),
        ("--filter label=a", "one"),
        ("--filter label=a=1", "one"),
        ("--filter label=a=2", ""),
        ("--filter status=created", "one"),
        ("--filter status=exited", "three two"),
        ("--filter exited=3", "three"),
        ("--filter ancestor=debian", "three"),
        ("--filter volume=%vol", "two"),
        ("--filter volume=/data", "two"),
        ("--filter name=%t", "three two"),
        ("--filter name=^/%two$", "two"),
    ] {
        let output = scene
            .run_and(
                &format!("ps -a --filter label=set={set} {filter} --format"),
                &["{{.Names}}"],
            )
            .ok();
        let mut seen: Vec<&str> = output
            .lines()
            .map(|name| name.rsplit('-').next().unwrap())
            .collect();
        seen.sort_unstable();
        assert_eq!(seen.join(" "), names, "{filter}");
    }
    scene
        .run("ps --filter nonsense=1")
        .fails(1, "invalid filter");
    scene.run("rm %one %two %three").ok();
    scene.run("volume rm %vol").ok();
}

fn c09(scene: &Scene) {
    scene.run("run -d --name %before busybox sleep 1000").ok();
    scene.run("create --name %other busybox true").ok();
    scene.run("rename %before %after").ok();
    assert_eq!(
        scene.inspect("after", "{{.Name}}"),
        format!("/{}", scene.name("after"))
    );
    scene
        .run("inspect --type container %before")
        .fails(1, "o such container");
    scene
        .run("rename %after %other")
        .fails(1, "Conflict. The container name");
    scene.run("rename %nobody %x").fails(1, "No such container");
    scene
        .run_and("rename %after", &["not a name"])
        .fails(1, "nvalid container name");
    // The old name is free.
    scene.run("create --name %before busybox true").ok();
    scene.run("rm -f %after %other %before").ok();
}

fn c10(scene: &Scene) {
    scene.run("run -d --name %it -e A=1 --restart on-failure:3 --label l=v -m 64m --memory-swap 64m -p 127.0.0.1::80 -v %vol:/data:ro busybox sleep 1000").ok();
    let all = scene.run("inspect %it").json();
    let it = &all[0];
    assert_eq!(it["Name"], format!("/{}", scene.name("it")));
    assert_eq!(it["Path"], "sleep");
    assert_eq!(it["Args"], serde_json::json!(["1000"]));
    assert_eq!(it["State"]["Status"], "running");
    assert_eq!(it["State"]["Running"], true);
    assert!(it["State"]["Pid"].as_i64().unwrap() > 0);
    assert!(it["Image"].as_str().unwrap().starts_with("sha256:"));
    assert_eq!(it["Config"]["Image"], "busybox");
    assert!(
        it["Config"]["Env"]
            .as_array()
            .unwrap()
            .contains(&"A=1".into())
    );
    assert_eq!(
        it["HostConfig"]["RestartPolicy"],
        serde_json::json!({ "Name": "on-failure", "MaximumRetryCount": 3 })
    );
    assert_eq!(it["HostConfig"]["Memory"], 64 << 20);
    assert_eq!(
        it["HostConfig"]["Binds"][0],
        format!("{}:/data:ro", scene.name("vol"))
    );
    assert_eq!(it["HostConfig"]["LogConfig"]["Type"], "json-file");
    assert_eq!(it["Mounts"][0]["RW"], false);
    assert_eq!(it["Mounts"][0]["Driver"], "local");
    let ip = it["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
        .as_str()
        .unwrap();
    assert_eq!(ip.split('.').count(), 4, "{ip}");
    assert_eq!(
        it["NetworkSettings"]["Ports"]["80/tcp"][0]["HostIp"],
        "127.0.0.1"
    );
    assert!(fs::exists(it["LogPath"].as_str().unwrap()).unwrap());
    assert_eq!(scene.inspect("it", "{{.NetworkSettings.IPAddress}}"), ip);
    assert_eq!(
        scene.inspect(
            "it",
            "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        ),
        ip
    );
    assert!(scene.run("inspect -s %it").json()[0]["SizeRw"].is_number());
    scene.run("rm -f %it").ok();
    scene.run("volume rm %vol").ok();
}

fn c11(scene: &Scene) {
    scene
        .run("run -d --name %it --label k=v busybox sleep 1000")
        .ok();
    for (format, expected) in [
        ("{{.Names}}", scene.name("it")),
        (
            "{{.Image}} {{.Command}}",
            "busybox \"sleep 1000\"".to_owned(),
        ),
        ("{{.State}}", "running".to_owned()),
        ("{{.Label \"k\"}}", "v".to_owned()),
        ("{{upper .Image}}", "BUSYBOX".to_owned()),
        ("{{len .Names}}", scene.name("it").len().to_string()),
        ("{{if .Ports}}ports{{else}}none{{end}}", "none".to_owned()),
    ] {
        assert_eq!(
            scene
                .run_and("ps --filter name=%it --format", &[format])
                .ok(),
            expected,
            "{format}"
        );
    }
    for (format, expected) in [
        ("{{json .Config.Cmd}}", "[\"sleep\",\"1000\"]"),
        ("{{join .Config.Cmd \"+\"}}", "sleep+1000"),
        ("{{index .Config.Labels \"k\"}}", "v"),
        ("{{.Config.Labels}}", "map[k:v]"),
        ("{{.Args}}", "[1000]"),
        (
            "{{printf \"%s-%d\" .State.Status .RestartCount}}",
            "running-0",
        ),
        (
            "{{range $i, $w := .Config.Cmd}}{{$i}}{{$w}} {{end}}",
            "0sleep 11000 ",
        ),
        ("{{with .State}}{{.Status}}{{end}}", "running"),
        ("{{.HostConfig.Privileged}}", "false"),
    ] {
        assert_eq!(
            scene.inspect("it", format),
            expected.trim_end_matches('\n'),
            "{format}"
        );
    }
    scene
        .run_and("inspect %it --format", &["{{.NoSuchField}}"])
        .fails(1, "");
    let broken = scene.run_and("inspect %it --format", &["{{.Broken"]);
    assert_ne!(broken.code, 0);
    assert!(broken.stderr.contains("emplate"), "{broken}");
    let json = scene
        .run_and("ps --filter name=%it --format", &["json"])
        .json();
    assert_eq!(json["Names"], scene.name("it"));
    scene.run("rm -f %it").ok();
}

fn c12(scene: &Scene) {
    let _alone = one_prune_at_a_time();
    let set = scene.name("x");
    let ended = scene
        .run(&format!("create --label set={set} busybox true"))
        .ok();
    scene
        .run(&format!(
            "run -d --name %up --label set={set} busybox sleep 1000"
        ))
        .ok();
    let pruned = scene
        .run(&format!("container prune -f --filter label=set={set}"))
        .ok();
    assert!(
        pruned.contains("Deleted Containers:") && pruned.contains(&ended),
        "{pruned}"
    );
    assert!(pruned.contains("Total reclaimed space:"), "{pruned}");
    assert_eq!(scene.inspect("up", "{{.State.Running}}"), "true");
    scene.run("rm -f %up").ok();
}

fn c13(scene: &Scene) {
    let file = scene.directory("cid").join("file");
    scene
        .run(&format!(
            "run --cidfile {} --name %it busybox true",
            file.display()
        ))
        .ok();
    let id = fs::read_to_string(&file).unwrap();
    assert_eq!(id, scene.inspect("it", "{{.Id}}"));
    scene
        .run(&format!("run --cidfile {} busybox true", file.display()))
        .fails(125, "ontainer ID file found");
    assert_eq!(scene.run(&format!("wait {}", &id[..6])).ok(), "0");
    assert_eq!(
        scene
            .run_and("container inspect --format", &["{{.Id}}", &id[..12]])
            .ok(),
        id
    );
    scene.run("rm %it").ok();
}

fn c14(scene: &Scene) {
    let version = scene.run("version --format {{.Server.APIVersion}}").ok();
    assert!(version.starts_with("1."), "{version}");
    let version = scene.run("version").ok();
    assert!(
        version.contains("Client") && version.contains("Server"),
        "{version}"
    );
    let info = scene
        .run("info --format {{.Driver}}|{{.DockerRootDir}}|{{.CgroupVersion}}")
        .ok();
    assert_eq!(
        info.split('|').nth(1).unwrap(),
        scene.engine.root.to_str().unwrap()
    );
    assert!(scene.run("info").ok().contains("Containers:"));
    scene.run("volume create %counted").ok();
    let usage = scene.run("system df").ok();
    for line in ["Images", "Containers", "Local Volumes", "Build Cache"] {
        assert!(usage.contains(line), "{line} in {usage}");
    }
    assert!(
        scene
            .run("system df -v")
            .ok()
            .contains(&scene.name("counted"))
    );
    scene.run("volume rm %counted").ok();
}

fn c15(scene: &Scene) {
    for line in [
        "--help",
        "run --help",
        "volume --help",
        "volume create --help",
        "image ls --help",
    ] {
        let help = scene.run(line);
        assert!(help.ok().contains("Usage:"), "{help}");
    }
    let unknown = scene.run("nosuchcommand");
    assert_ne!(unknown.code, 0);
    assert!(unknown.stderr.contains("nosuchcommand"), "{unknown}");
    let unknown = scene.run("volume nosuchcommand");
    assert_ne!(unknown.stdout.len() + unknown.stderr.len(), 0);
}
