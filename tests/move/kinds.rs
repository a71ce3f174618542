//! What is the same at the other end, from where to where, and what is refused.

use std::fs;
use std::sync::Arc;

use testkit::{Client, Disk, Engine};

use super::host_there::There;
use super::{Pair, sent, tree};

pub(crate) fn over_ssh(host: &Arc<There>) {
    let pair = Pair::new("kinds", host);
    pair.run("volume create data").ok();
    tree::populate(&pair.data("data"), 20_000);
    let copied = pair.travel("volume copy data SSH/");
    assert_eq!(copied.ok(), "data");
    tree::assert_same(&pair.data("data"), &pair.data_there("data"));
    // The other one is a volume like any other.
    pair.there.load_busybox();
    pair.run_there("run --rm -v data:/data busybox cat /data/kinds/file")
        .ok();
    assert_eq!(pair.run_there("volume receiving ls -q").ok(), "");
    // Once more, by the path of the socket and under another name: what is sent is the same.
    let again = pair.travel("volume copy data UNIX/again");
    assert_eq!(again.ok(), "again");
    tree::assert_same(&pair.data("data"), &pair.data_there("again"));
}

/// An engine on a filesystem of its own.
struct On {
    engine: Option<Engine>,
    _disk: Disk,
}

impl On {
    fn new(kind: &str, name: &str) -> Self {
        let mut engine = Engine::new(&format!("move-{name}-{kind}"));
        let disk = Disk::mount(kind, &engine.root, 600 << 20);
        engine.resume();
        Self {
            engine: Some(engine),
            _disk: disk,
        }
    }

    fn engine(&self) -> &Engine {
        self.engine.as_ref().unwrap()
    }
}

impl Drop for On {
    fn drop(&mut self) {
        // Before the filesystem below it.
        drop(self.engine.take());
    }
}

pub(crate) fn between_filesystems(_: &Arc<There>) {
    for (from, to) in [("btrfs", "xfs"), ("xfs", "ext4"), ("ext4", "btrfs")] {
        let (here, there) = (On::new(from, "from"), On::new(to, "to"));
        Client::Orlop
            .run(here.engine(), &["volume", "create", "data"])
            .ok();
        let data = here.engine().root.join("volumes/data/_data");
        tree::populate(&data, 500);
        let socket = format!("unix://{}/", there.engine().socket().display());
        Client::Orlop
            .run(here.engine(), &["volume", "copy", "data", &socket])
            .ok();
        tree::assert_same(&data, &there.engine().root.join("volumes/data/_data"));
        // What was made for the copy is gone.
        let snapshots = Client::Orlop.run(here.engine(), &["volume", "snapshot", "ls", "-q"]);
        assert_eq!(snapshots.ok(), "");
    }
}

pub(crate) fn luggage(host: &Arc<There>) {
    let pair = Pair::new("luggage", host);
    pair.run("volume create --label team=db --label odd=a=b data")
        .ok();
    fs::write(pair.data("data").join("file"), "one").unwrap();
    pair.run("volume snapshot create --name then data").ok();
    fs::write(pair.data("data").join("file"), "two").unwrap();
    pair.run("volume protect data").ok();
    pair.travel("volume copy data SSH/").ok();
    let there = |format: &str| {
        Client::Orlop
            .run(
                &pair.there,
                &["volume", "inspect", "data", "--format", format],
            )
            .ok()
    };
    let here = |format: &str| {
        Client::Orlop
            .run(
                &pair.here,
                &["volume", "inspect", "data", "--format", format],
            )
            .ok()
    };
    for format in [
        "{{json .Labels}}",
        "{{.CreatedAt}}",
        "{{.Protected}}",
        "{{.Driver}}",
    ] {
        assert_eq!(there(format), here(format), "{format}");
    }
    let history = pair.run_there("volume history data").ok();
    assert!(
        history.contains("protect") && history.contains("copy"),
        "{history}"
    );
    pair.run_there("volume rm data").fails(1, "protected");
    // A snapshot goes as a volume of its own.
    pair.travel("volume copy data@then SSH/then").ok();
    assert_eq!(
        fs::read_to_string(pair.data_there("then").join("file")).unwrap(),
        "one"
    );
    // A limit goes along.
    pair.run("volume create --size 64m small").ok();
    pair.travel("volume copy small UNIX/").ok();
    let limit = Client::Orlop.run(
        &pair.there,
        &["volume", "inspect", "small", "--format", "{{.Limits.Size}}"],
    );
    assert_eq!(limit.ok(), "67108864");
    pair.travel("volume copy --without-limits small UNIX/free")
        .ok();
}

pub(crate) fn refused(host: &Arc<There>) {
    let pair = Pair::new("refused", host);
    pair.here.load_busybox();
    pair.run("volume create data").ok();
    fs::write(pair.data("data").join("file"), "precious").unwrap();
    pair.run_there("volume create taken").ok();
    pair.travel("volume copy data SSH/taken")
        .fails(1, "a volume named taken exists already");
    pair.travel("volume copy data SSH/no/name")
        .fails(1, "no/name");
    pair.travel("volume copy none SSH/")
        .fails(1, "no such volume");
    pair.travel("volume copy data@none SSH/").fails(1, "none");
    pair.travel("volume copy data tcp://there/")
        .fails(1, "invalid destination");
    pair.travel("volume copy data unix:///nowhere/docker.sock/x")
        .fails(1, "Cannot connect");
    pair.travel("volume copy data ssh://u:secret@there/x")
        .fails(1, "plain-text password");
    pair.travel("volume copy --consistency magic data SSH/")
        .fails(1, "invalid consistency");
    pair.travel("volume copy --pool none data SSH/")
        .fails(1, "none");
    pair.travel("volume move data@x SSH/").fails(1, "x");
    pair.run("run -d --name app -v data:/data busybox sleep 1000")
        .ok();
    pair.travel("volume move data SSH/")
        .fails(1, "running containers: app");
    pair.run("volume protect data").ok();
    pair.travel("volume move --stop data SSH/")
        .fails(1, "protected");
    assert_eq!(
        pair.run("inspect app --format {{.State.Status}}").ok(),
        "running"
    );
    assert_eq!(pair.run_there("volume ls -q").ok(), "taken");
    assert_eq!(pair.run_there("volume receiving ls -q").ok(), "");
    pair.run_there("volume receiving rm none")
        .fails(1, "no volume none is arriving");
}

pub(crate) fn clients(host: &Arc<There>) {
    let pair = Pair::new("clients", host);
    pair.run_there("volume create far").ok();
    let name = host.login(&pair.there.socket());
    for program in ["orlop", "docker"] {
        let mut command = if program == "orlop" {
            std::process::Command::new(testkit::binary())
        } else {
            std::process::Command::new("docker")
        };
        let output = command
            .args(["-H", &format!("ssh://{name}"), "volume", "ls", "-q"])
            .env("PATH", host.path())
            .env("HOME", "/nonexistent")
            .env_remove("DOCKER_HOST")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(said.trim(), "far", "{program}: {errors}");
    }
    // From there to here: the client speaks to either engine by ssh.
    fs::write(pair.data_there("far").join("file"), "far").unwrap();
    let here = format!("unix://{}/near", pair.here.socket().display());
    let output = std::process::Command::new(testkit::binary())
        .args([
            "-H",
            &format!("ssh://{name}"),
            "volume",
            "move",
            "far",
            &here,
        ])
        .env("PATH", host.path())
        .env("HOME", "/nonexistent")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(
        fs::read_to_string(pair.data("near").join("file")).unwrap(),
        "far"
    );
    assert_eq!(pair.run_there("volume ls -q").ok(), "");
    let copied = pair.travel("volume copy near SSH/back");
    assert!(sent(&copied) < 10.0, "{copied}");
}
