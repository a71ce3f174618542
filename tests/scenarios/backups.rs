//! Backups: made, looked into, restored, forgotten, damaged; by `orlop` and over HTTP, read by the stock `restic`.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use testkit::Output;

use super::{Scenario, Scene, host};

pub(crate) const OWN: &[Scenario] = &[
    ("S80_backups_and_restic", with_restic),
    ("S81_restores_are_whole_or_nothing", whole_or_nothing),
    ("S82_one_instant_for_several_volumes", one_instant),
    ("S83_stacks_come_back", stack),
    ("S84_keys_and_names_of_repositories", keys),
    ("S85_a_client_that_leaves", leaving),
    ("S86_volumes_that_can_have_no_snapshot", elsewhere),
];

const PASSWORD: &str = "correct horse";

/// A repository of this scenario, made by the engine.
pub(super) struct Repository {
    directory: PathBuf,
    password: PathBuf,
    name: String,
}

impl Repository {
    pub(super) fn new(scene: &Scene) -> Self {
        let directory = scene.directory("repository").join("of restic");
        let password = scene.directory("password").join("file");
        fs::write(&password, format!("{PASSWORD}\nnot this line\n")).unwrap();
        let repository = Self {
            name: scene.name("home"),
            directory,
            password,
        };
        let made = repository.add(scene, "init");
        assert_eq!(made.ok(), repository.name);
        repository
    }

    /// The same one by another name.
    pub(super) fn called(self, name: String) -> Self {
        Self { name, ..self }
    }

    /// `backup init` or `backup add`, by any engine.
    pub(super) fn add(&self, scene: &Scene, verb: &str) -> Output {
        self.add_with(scene, verb, &[])
    }

    pub(super) fn add_with(&self, scene: &Scene, verb: &str, flags: &[&str]) -> Output {
        let password = self.password.to_str().unwrap();
        let directory = self.directory.to_str().unwrap();
        let said = [&self.name, directory, "--password-file", password];
        scene.run_and(&format!("backup {verb}"), &[&said, flags].concat())
    }

    /// The stock program, told the same password.
    fn restic(&self, arguments: &[&str]) -> String {
        let first = fs::read_to_string(&self.password).unwrap();
        let output = Command::new("restic")
            .args(["--no-cache", "-r", self.directory.to_str().unwrap()])
            .args(arguments)
            .env("RESTIC_PASSWORD", first.lines().next().unwrap())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "restic {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    pub(super) fn locks(&self) -> usize {
        fs::read_dir(self.directory.join("locks")).map_or(0, Iterator::count)
    }
}

fn has_restic() -> bool {
    let there = Command::new("restic").arg("version").output().is_ok();
    if !there {
        println!("SKIPPED: the stock restic is missing: scripts/setup");
    }
    there
}

/// No snapshot was left by a backup of the volume.
fn no_snapshots(scene: &Scene, volume: &str) {
    let left = scene.run(&format!("volume snapshot ls -q %{volume}")).ok();
    assert_eq!(left, "");
}

fn with_restic(scene: &Scene) {
    let repository = Repository::new(scene);
    scene
        .run("volume create --label kind=precious --label a=b %data")
        .ok();
    scene
        .run_and(
            "run --rm -v %data:/d busybox sh -c",
            &["echo one > /d/f; ln /d/f /d/hard; ln -s f /d/soft; mkdir /d/dir; echo two > /d/dir/g; mkfifo /d/fifo; \
               chmod 4711 /d/dir/g; chown 7:8 /d/f; touch -d '2020-02-02 02:02:02' /d/f; \
               dd if=/dev/zero of=/d/holes bs=1 count=1 seek=10000000"],
        )
        .ok();
    scene.run("volume protect %data").ok();
    let made = scene.run("volume backup %data --to %home --tag first").ok();
    assert!(made.starts_with(&scene.fill("%home:%data@")), "{made}");
    no_snapshots(scene, "data");
    assert_eq!(repository.locks(), 0);
    let listed = scene
        .run("backup ls %home --format {{.Volume}}/{{.Tags}}")
        .ok();
    assert_eq!(listed, scene.fill("%data/first"));
    let detail = scene.run("volume inspect %data").json();
    assert_eq!(detail[0]["LastBackup"]["Repository"], scene.name("home"));
    assert!(detail[0]["LastBackup"]["Bytes"].as_u64().unwrap() > 10_000_000);
    let history = scene.run("volume history %data").ok();
    assert!(history.contains("backup"), "{history}");

    // An unchanged volume adds next to nothing.
    scene.run("volume backup %data --to %home").ok();
    let backups = scene.run("backup ls %home:%data").ok();
    assert_eq!(backups.lines().count(), 3, "{backups}");

    // Single files.
    let cat = |which: &str, path: &str| {
        scene
            .run(&format!("backup cat %home:%data{which} {path}"))
            .ok()
    };
    assert_eq!(cat("", "dir/g"), "two");
    assert_eq!(cat("@latest", "/f"), "one");
    assert!(cat("", "volume.json").contains("precious"));
    let files = scene.run("backup files -r %home:%data").ok();
    for part in ["-rws--x--x", "soft -> f", "dir/g", "7:8"] {
        assert!(files.contains(part), "{part}: {files}");
    }
    scene
        .run("backup cat %home:%data nothing")
        .fails(1, "nothing");

    // All of it again, in another volume.
    let restored = scene.run("volume restore %home:%data --as %copy").ok();
    assert!(restored.contains("is backup"), "{restored}");
    let copy = scene.data("copy");
    same_trees(&scene.data("data"), &copy);
    let blocks = host("stat", &["-c", "%b", copy.join("holes").to_str().unwrap()]);
    assert!(
        blocks.trim().parse::<u64>().unwrap() < 1000,
        "holes stay holes: {blocks}"
    );
    let copy = scene.run("volume inspect %copy").json();
    assert_eq!(copy[0]["Labels"]["kind"], "precious");
    assert_eq!(copy[0]["Protected"], true);

    if has_restic() {
        let snapshots = repository.restic(&["snapshots", "--json"]);
        assert!(snapshots.contains(&scene.fill("/volumes/%data")));
        repository.restic(&["check", "--read-data"]);
        let target = scene.directory("restic");
        let path = target.to_str().unwrap();
        repository.restic(&["restore", "latest", "--target", path]);
        let data = target.join(scene.fill("volumes/%data/_data"));
        same_trees(&scene.data("data"), &data);
        assert!(data.with_file_name("containers.json").exists());

        // And what it made is a volume here.
        let source = scene.directory("foreign");
        fs::write(source.join("from"), "restic").unwrap();
        repository.restic(&["backup", source.to_str().unwrap()]);
        let ids = scene.run("backup ls -q %home").ok();
        let id = ids.lines().last().unwrap().to_owned();
        scene
            .run(&format!("volume restore %home:@{id}"))
            .fails(1, "is of no volume");
        scene
            .run(&format!("volume restore %home:@{id} --as %foreign"))
            .ok();
        assert_eq!(
            fs::read_to_string(scene.data("foreign").join("from")).unwrap(),
            "restic"
        );
        // Rules do not see it.
        scene.run("backup forget %home --keep-last 1 --prune").ok();
        let left = scene.run("backup ls -q %home").ok();
        assert_eq!(left.lines().count(), 2, "{left}");
        repository.restic(&["check", "--read-data"]);
        scene.run(&format!("backup forget %home:@{id}")).ok();
        scene.run("volume rm %foreign").ok();
    }
    scene
        .run("backup forget %home")
        .fails(1, "nothing is said of what shall be kept");
    scene.run("volume unprotect %data").ok();
    scene.run("volume unprotect %copy").ok();
    scene.run("volume rm --now %data").ok();
    scene.run("volume rm --now %copy").ok();
    scene.run("backup rm-repo %home").ok();
    assert!(repository.directory.join("config").exists());
}

/// Everything that `find` and `getfattr` tell of two trees, and their contents.
fn same_trees(one: &Path, other: &Path) {
    let seen = |tree: &Path| {
        let script = "cd \"$1\" && find . -printf '%p %y %m %U %G %s %T@ %l %n\\n' | sort && \
                      find . -type f -print0 | sort -z | xargs -0 sha256sum";
        host("sh", &["-c", script, "sh", tree.to_str().unwrap()])
    };
    assert_eq!(seen(one), seen(other));
}

fn whole_or_nothing(scene: &Scene) {
    let repository = Repository::new(scene);
    scene
        .run_and(
            "run --rm -v %data:/d busybox sh -c",
            &["head -c 3000000 /dev/urandom > /d/big; echo first > /d/f"],
        )
        .ok();
    scene.run("volume backup %data --to %home").ok();

    // Over what is there; what was there can be had back.
    fs::write(scene.data("data").join("f"), "second\n").unwrap();
    scene
        .run("run -d --name %user -v %data:/d busybox sleep 1000")
        .ok();
    scene
        .run("volume restore %home:%data")
        .fails(1, "mounted by running containers");
    scene.run("stop -t 0 %user").ok();
    let turned = scene.run("volume restore %home:%data").ok();
    assert!(turned.contains("is kept as"), "{turned}");
    assert_eq!(scene.run("start %user").ok(), scene.name("user"));
    assert_eq!(scene.sh("user", "cat /d/f").ok(), "first");
    scene.run("stop -t 0 %user").ok();
    scene.run("volume restore --undo %data").ok();
    let content = || fs::read_to_string(scene.data("data").join("f")).unwrap();
    assert_eq!(content(), "second\n");

    // A name that is taken, a part without a name.
    scene
        .run("volume restore %home:%data --as %data")
        .fails(1, "exists already");
    scene
        .run("volume restore %home:%data --path d")
        .fails(1, "--as");
    scene
        .run("volume restore %home:%data --path nowhere --as %part")
        .fails(1, "nowhere");
    scene.run("volume inspect %part").fails(1, "no such volume");

    // A byte of a pack is flipped: found, named, and nothing half-restored.
    let largest = host(
        "sh",
        &[
            "-c",
            "find \"$1/data\" -type f -printf '%s %p\\n' | sort -n | tail -n 1 | cut -d' ' -f2-",
            "sh",
            repository.directory.to_str().unwrap(),
        ],
    );
    let pack = PathBuf::from(largest.trim_end());
    let mut bytes = fs::read(&pack).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::remove_file(&pack).unwrap();
    fs::write(&pack, &bytes).unwrap();
    let name: String = pack
        .file_name()
        .unwrap()
        .to_str()
        .unwrap()
        .chars()
        .take(8)
        .collect();
    scene.run("backup check %home --read-data").fails(1, &name);
    scene.run("backup verify %home:%data").fails(1, &name);
    let before = scene.run("volume snapshot ls -q %data").ok();
    for line in [
        "volume restore %home:%data --as %copy",
        "volume restore %home:%data",
    ] {
        let failed = scene.run(line);
        failed.fails(1, "was not restored");
        assert!(failed.stderr.contains(&name), "{failed}");
    }
    scene.run("volume inspect %copy").fails(1, "no such volume");
    assert_eq!(content(), "second\n");
    assert_eq!(scene.run("volume snapshot ls -q %data").ok(), before);
    assert_eq!(repository.locks(), 0);
    scene.run("rm -f %user").ok();
    scene.run("volume rm --now %data").ok();
    scene.run("backup rm-repo %home").ok();
}

fn one_instant(scene: &Scene) {
    let _repository = Repository::new(scene);
    scene
        .run_and(
            "run -d --name %writer -v %a:/a -v %b:/b busybox sh -c",
            &["i=0; while :; do i=$((i+1)); echo $i > /a/next; mv /a/next /a/count; echo $i > /b/next; mv /b/next /b/count; done"],
        )
        .ok();
    testkit::until("the writer writes", || {
        scene.data("b").join("count").exists().then_some(())
    });
    let mut pairs = Vec::new();
    for round in 0..3 {
        let made = scene.run("volume backup %a %b --to %home --consistent freeze");
        assert_eq!(made.ok().lines().count(), 2);
        assert!(made.stderr.contains("containers were frozen for"), "{made}");
        let count = |volume: &str| -> u64 {
            let text = scene.run(&format!("backup cat %home:%{volume} count")).ok();
            text.parse().unwrap()
        };
        let (a, b) = (count("a"), count("b"));
        assert!(a == b || a == b + 1, "round {round}: {a} and {b}");
        pairs.push(a);
    }
    assert!(pairs.is_sorted(), "{pairs:?}");
    let groups = scene.run("backup ls %home --format {{.Group}}").ok();
    let groups: std::collections::BTreeSet<&str> = groups.lines().collect();
    assert_eq!(groups.len(), 3);
    no_snapshots(scene, "a");
    scene.run("rm -f %writer").ok();
    scene.run("volume rm --now %a %b").ok();
    scene.run("backup rm-repo %home").ok();
}

fn stack(scene: &Scene) {
    let _repository = Repository::new(scene);
    scene.run("network create %net").ok();
    scene
        .run(
            "run -d --name %db --network %net --network-alias store --label who=me -e SECRET=s -v %data:/d -v /nameless \
             busybox sleep 1000",
        )
        .ok();
    scene
        .sh("db", "echo kept > /d/f; echo too > /nameless/g")
        .ok();
    scene
        .run("create --name %idle --network %net -v %data:/d:ro busybox cat /d/f")
        .ok();
    let nameless = scene.inspect(
        "db",
        "{{range .Mounts}}{{if eq .Destination \"/nameless\"}}{{.Name}}{{end}}{{end}}",
    );
    scene
        .run(&format!("volume backup %data {nameless} --to %home"))
        .ok();
    scene
        .run("stack restore %home:%data")
        .fails(1, "exists already");
    scene.run("rm -fv %db %idle").ok();
    scene.run("volume rm --now %data").ok();
    scene.run("network rm %net").ok();

    // What cannot be done is said before anything is.
    scene.run("create --name %db busybox true").ok();
    scene
        .run("stack restore %home:%data")
        .fails(1, "exists already: rename or remove it first");
    scene.run("rm %db").ok();
    scene.run("volume inspect %data").fails(1, "no such volume");

    let restored = scene.run("stack restore %home:%data --start").ok();
    for part in [
        "volume %data",
        "network %net",
        "container %idle",
        "started %db",
    ] {
        assert!(restored.contains(&scene.fill(part)), "{part}: {restored}");
    }
    assert_eq!(scene.inspect("db", "{{.State.Status}}"), "running");
    assert_eq!(scene.inspect("db", "{{.Config.Labels.who}}"), "me");
    assert_eq!(
        scene.sh("db", "cat /d/f /nameless/g; echo $SECRET").ok(),
        "kept\ntoo\ns"
    );
    assert_eq!(scene.run("start -a %idle").ok(), "kept");
    let named = scene
        .run("run --rm --network %net busybox nslookup store")
        .ok();
    assert!(named.contains("store"), "{named}");
    scene.run("rm -fv %db %idle").ok();
    scene.run(&format!("volume rm --now {nameless}")).ok();
    scene.run("volume rm --now %data").ok();
    scene.run("network rm %net").ok();
    scene.run("backup rm-repo %home").ok();
}

fn keys(scene: &Scene) {
    let repository = Repository::new(scene);
    scene.run("volume create %data").ok();
    scene
        .run("backup init %home /nowhere --password-command false")
        .fails(1, "did not give a secret");
    repository.add(scene, "init").fails(1, "exists already");
    scene
        .run("volume backup %data --to %other")
        .fails(1, "no such repository");
    scene
        .run("backup add %bad relative --password-command date")
        .fails(1, "must be an absolute path");
    let directory = repository.directory.to_str().unwrap();
    let wrong = scene.run_and(
        "backup add %bad",
        &[directory, "--password-command", "echo wrong"],
    );
    wrong.fails(1, "wrong password");
    let empty = scene.directory("empty");
    scene
        .run_and(
            "backup add %bad",
            &[empty.to_str().unwrap(), "--password-command", "echo x"],
        )
        .fails(1, "there is no repository in");

    // Nothing secret is told; what is kept is for the engine's user alone.
    let shown = scene.run("backup repos --format json").ok();
    assert!(shown.contains(&scene.name("home")) && !shown.contains(PASSWORD));
    let secrets = host(
        "find",
        &[
            scene.engine.root.join("backups").to_str().unwrap(),
            "-name",
            "secret.json",
            "-perm",
            "/077",
        ],
    );
    assert_eq!(secrets, "");

    // By its location as well.
    scene.run_and("volume backup %data --to", &[directory]).ok();

    // A second key, without the first.
    let added = scene.run_and(
        "backup key add %home",
        &["--password-command", "echo second"],
    );
    assert!(added.ok().len() >= 8);
    let listed = scene.run("backup key ls %home --format {{.Id}}").ok();
    assert_eq!(listed.lines().count(), 2);
    let first = listed
        .lines()
        .find(|id| **id != *added.ok())
        .unwrap()
        .to_owned();
    scene.run(&format!("backup key rm %home {first}")).ok();
    scene
        .run(&format!("backup key rm %home {}", added.ok()))
        .fails(1, "the last key");

    scene.run("backup lock %home").ok();
    for line in ["volume backup %data --to %home", "backup ls %home"] {
        scene.run(line).fails(1, "is locked");
    }
    let password = repository.password.to_str().unwrap();
    scene
        .run_and("backup unlock %home", &["--password-file", password])
        .fails(1, "wrong password");
    scene
        .run_and(
            "backup unlock %home",
            &["--password-command", "echo second"],
        )
        .ok();
    scene.run("volume backup %data --to %home").ok();
    scene.run("backup rm-repo %home").ok();
    scene.run("backup ls %home").fails(1, "no such repository");
    scene.run("volume rm --now %data").ok();
}

fn leaving(scene: &Scene) {
    let repository = Repository::new(scene);
    scene
        .run_and(
            "run --rm -v %data:/d busybox sh -c",
            &["head -c 200000000 /dev/urandom > /d/big"],
        )
        .ok();
    // A client goes as soon as the snapshot is there.
    let body = format!(
        "{{\"Volumes\":[\"{}\"],\"To\":\"{}\"}}",
        scene.name("data"),
        scene.name("home")
    );
    let mut socket = UnixStream::connect(scene.engine.socket()).unwrap();
    std::io::Write::write_all(
        &mut socket,
        format!(
            "POST /orlop/v1/backups HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .as_bytes(),
    )
    .unwrap();
    let snapshots = || scene.run("volume snapshot ls -q %data").ok();
    testkit::until("the backup has begun", || {
        (!snapshots().is_empty() || !scene.run("backup ls -q %home").ok().is_empty()).then_some(())
    });
    drop(socket);
    testkit::until("nothing of it is left", || {
        snapshots().is_empty().then_some(())
    });
    testkit::until("no lock is left", || {
        (repository.locks() == 0).then_some(())
    });

    // ^C of a client.
    let running = scene.start("volume backup %data --to %home --progress json");
    testkit::until("the backup has begun", || {
        (!snapshots().is_empty() || !scene.run("backup ls -q %home").ok().is_empty()).then_some(())
    });
    running.signal(rustix::process::Signal::INT);
    let ended = running.finish();
    assert!(matches!(ended.code, 0 | 130), "{ended}");
    testkit::until("nothing of it is left", || {
        snapshots().is_empty().then_some(())
    });
    testkit::until("no lock is left", || {
        (repository.locks() == 0).then_some(())
    });

    // The next one goes on, and tells how far it is.
    let told = scene.run("volume backup %data --to %home --progress json");
    told.ok();
    assert!(told.stderr.contains("\"action\":\"Backing up\""), "{told}");
    scene.run("backup check %home --read-data").ok();
    let restored = scene.run("volume restore %home:%data --as %copy").ok();
    assert!(restored.contains("1 files"), "{restored}");
    let sums = |volume: &str| {
        let path = scene.data(volume).join("big");
        host("cksum", &[path.to_str().unwrap()])
            .split(' ')
            .next()
            .unwrap()
            .to_owned()
    };
    assert_eq!(sums("data"), sums("copy"));
    scene.run("volume rm --now %data %copy").ok();
    scene.run("backup rm-repo %home").ok();
}

fn elsewhere(scene: &Scene) {
    let _repository = Repository::new(scene);
    let source = scene.directory("source");
    fs::write(source.join("f"), "bound").unwrap();
    scene
        .run_and(
            "volume create %bound -o type=none -o o=bind -o",
            &[&format!("device={}", source.display())],
        )
        .ok();
    scene
        .run("volume backup %bound --to %home")
        .fails(1, "can have no snapshot");
    let read = scene.run("volume backup %bound --to %home --consistent none");
    read.ok();
    assert!(read.stderr.contains("was read as it was"), "{read}");
    let restored = scene.run("volume restore %home:%bound --as %copy");
    restored.ok();
    assert!(
        restored
            .stderr
            .contains("they are in the volume itself now"),
        "{restored}"
    );
    assert_eq!(
        fs::read_to_string(scene.data("copy").join("f")).unwrap(),
        "bound"
    );
    scene.run("volume rm --now %bound %copy").ok();
    scene.run("backup rm-repo %home").ok();
}
