//! A third-party plugin: `rclone serve docker`.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;
use testkit::{BackupServer, Client, S3_BUCKET, S3_KEY, Server, until};

use super::{Scene, Test};

pub(super) const TESTS: &[Test] = &[
    ("rclone_with_a_directory", a_directory),
    ("rclone_with_an_s3_store", an_s3_store),
    ("rclone_killed_and_stopped", killed_and_stopped),
];

/// Whether `rclone` and FUSE are there; says so when not.
fn is_there() -> bool {
    let program = Command::new("rclone")
        .args(["help", "serve", "docker"])
        .output();
    if !program.is_ok_and(|output| output.status.success()) || !Path::new("/dev/fuse").exists() {
        println!("SKIPPED: rclone with `serve docker` and FUSE are needed: scripts/setup");
        return false;
    }
    true
}

struct Rclone<'a> {
    scene: &'a Scene,
    program: Server,
}

impl<'a> Rclone<'a> {
    fn start(scene: &'a Scene) -> Self {
        fs::create_dir_all(scene.engine.plugin_sockets()).unwrap();
        let program = Self::program(scene);
        Self { scene, program }
    }

    fn program(scene: &Scene) -> Server {
        let socket = scene.engine.plugin_sockets().join("rclone.sock");
        let config = scene.directory("rclone").join("rclone.conf");
        if !config.exists() {
            fs::write(&config, "").unwrap();
        }
        let mut command = Command::new("rclone");
        command
            .args(["serve", "docker", "--allow-other", "--socket-addr"])
            .arg(&socket)
            .arg("--base-dir")
            .arg(scene.directory("rclone/mounts"))
            .arg("--cache-dir")
            .arg(scene.directory("rclone/cache"))
            .arg("--config")
            .arg(&config)
            // This old release cannot do with it.
            .env_remove("AWS_CA_BUNDLE");
        let log = scene.directory("rclone").join("log");
        let program = Server::start(&mut command, &log);
        until("rclone listens", || UnixStream::connect(&socket).ok());
        program
    }

    fn restart(&mut self) {
        self.program = Self::program(self.scene);
    }
}

impl Drop for Rclone<'_> {
    fn drop(&mut self) {
        if !self.program.has_ended() {
            self.program.signal(Signal::CONT);
            self.program.end();
        }
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let base = self.scene.directory("rclone/mounts");
        for line in mounts.lines() {
            let point = line.split(' ').nth(1).unwrap();
            if Path::new(point).starts_with(&base) {
                unmount(Path::new(point));
            }
        }
    }
}

fn unmount(path: &Path) {
    let flags = rustix::mount::UnmountFlags::DETACH;
    rustix::mount::unmount(path, flags).unwrap();
}

fn a_directory(scene: &mut Scene) {
    if !is_there() {
        return;
    }
    let scene = &*scene;
    let _rclone = Rclone::start(scene);
    let remote = scene.directory("remote");
    create(scene, "data", &format!("remote={}", remote.display()));
    assert_eq!(
        scene
            .sh("data", "echo hello >/x/f; mkdir /x/d; cat /x/f")
            .ok(),
        "hello"
    );
    assert_eq!(fs::read_to_string(remote.join("f")).unwrap(), "hello\n");
    fs::write(remote.join("d/from-outside"), "seen").unwrap();
    scene
        .run("run -d --name reader --stop-signal KILL -v data:/x busybox sleep 1000")
        .ok();
    assert_eq!(scene.sh("data", "cat /x/d/from-outside").ok(), "seen");
    let listed = scene
        .run_and("volume ls --format", &["{{.Driver}} {{.Name}}"])
        .ok();
    assert_eq!(listed, "rclone data");
    let status = scene
        .run_and("volume inspect data --format", &["{{json .Status.Mounts}}"])
        .ok();
    assert_eq!(status.matches('"').count(), 2, "one mount: {status}");
    scene.run("rm -f reader").ok();
    scene.run("volume rm data").ok();
    assert!(
        remote.join("f").exists(),
        "rclone forgets a volume, and keeps what it shows"
    );
    assert_eq!(scene.run("volume ls -q").ok(), "");
}

fn an_s3_store(scene: &mut Scene) {
    if !is_there() {
        return;
    }
    let scene = &*scene;
    let Some(store) = BackupServer::s3(&scene.directory("s3")) else {
        return;
    };
    fs::write(
        scene.directory("rclone").join("rclone.conf"),
        format!(
            "[s3]\ntype = s3\nprovider = Other\naccess_key_id = {S3_KEY}\nsecret_access_key = {S3_KEY}\n\
             endpoint = http://127.0.0.1:{}\nforce_path_style = true\n",
            store.port
        ),
    )
    .unwrap();
    let mut rclone = Rclone::start(scene);
    create(
        scene,
        "objects",
        &format!("remote=s3:{S3_BUCKET} -o vfs-cache-mode=writes -o vfs-write-back=0s"),
    );
    scene
        .sh("objects", "echo one >/x/a; mkdir /x/d; echo two >/x/d/b")
        .ok();
    until("the object is in the store", || {
        fs::read_dir(store.files.join(S3_BUCKET).join("d"))
            .is_ok_and(|mut entries| entries.next().is_some())
            .then_some(())
    });
    // Another mount, and another process, see what is in the store.
    rclone.program.end();
    rclone.restart();
    assert_eq!(scene.sh("objects", "cat /x/a /x/d/b").ok(), "one\ntwo");
    if scene.client == Client::Orlop {
        let listed = scene.run("volume ls-files objects:d").ok();
        assert!(listed.contains('b'), "{listed}");
    }
    scene.run("volume rm objects").ok();
}

fn killed_and_stopped(scene: &mut Scene) {
    if !is_there() {
        return;
    }
    let scene = &*scene;
    let mut rclone = Rclone::start(scene);
    let remote = scene.directory("remote");
    create(scene, "data", &format!("remote={}", remote.display()));
    scene
        .run("run -d --name user --stop-signal KILL -v data:/x busybox sleep 1000")
        .ok();
    scene.run_and("exec user sh -c", &["echo kept >/x/f"]).ok();

    // It hangs: others go on.
    rclone.program.signal(Signal::STOP);
    scene.run("volume create mine").ok();
    assert_eq!(scene.sh("mine", "echo 1").ok(), "1");
    assert_eq!(scene.run("volume ls -q").ok(), "data\nmine");
    rclone.program.signal(Signal::CONT);
    until("it is asked again", || {
        (scene.run("volume inspect data").code == 0).then_some(())
    });

    // It dies: what it had mounted is dead until somebody takes it away.
    rclone.program.kill();
    scene
        .run_and("exec user sh -c", &["cat /x/f"])
        .fails(1, "endpoint is not connected");
    scene.run("rm -f user").ok();
    assert_eq!(scene.run("volume ls -q").ok(), "data\nmine");
    assert_eq!(scene.sh("mine", "echo 1").ok(), "1");
    unmount(&scene.directory("rclone").join("mounts/data"));
    // This release hangs at its start over mounts in what it remembers.
    fs::remove_file(scene.directory("rclone").join("cache/docker-plugin.state")).unwrap();
    rclone.restart();
    until("it answers, and has lost the volume", || {
        (scene.run("volume ls -q").ok() == "mine").then_some(())
    });
    // Nobody needs it any more: it is made again, and the bytes are where they were.
    create(scene, "data", &format!("remote={}", remote.display()));
    assert_eq!(scene.sh("data", "cat /x/f").ok(), "kept");
    scene.run("volume rm data").ok();
}

fn create(scene: &Scene, name: &str, option: &str) {
    assert_eq!(
        scene
            .run(&format!("volume create -d rclone -o {option} {name}"))
            .ok(),
        name
    );
}
