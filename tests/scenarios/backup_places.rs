//! Backups to servers, by an engine of its own that is killed meanwhile: an object store, a REST server, SFTP.
//!
//! What the places themselves must do is tested with the repositories; here is what the engine makes of it.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use testkit::Treatment::{Cut, Fail, Hang, Pass, Reset};
use testkit::{
    BackupServer, Client, Engine, LOGIN, Mistreat, Output, Running, S3_BUCKET, S3_KEY,
    ssh_arguments, until,
};

use super::{Scenario, Scene};

pub(crate) const OWN: &[Scenario] = &[
    ("S90_backups_in_an_object_store", |scene| {
        let directory = scene.directory("servers");
        testkit::install_s3_server();
        let Some(server) = BackupServer::s3(&directory) else {
            return;
        };
        let proxy = Mistreat::before(server.port);
        let keys = directory.join("keys");
        fs::write(
            &keys,
            format!("AWS_ACCESS_KEY_ID={S3_KEY}\nAWS_SECRET_ACCESS_KEY={S3_KEY}\n"),
        )
        .unwrap();
        let there = There {
            location: format!("s3:http://127.0.0.1:{}/{S3_BUCKET}/volumes", proxy.port),
            flags: vec!["--s3-keys-file".to_owned(), keys.to_str().unwrap().into()],
            files: server.files.clone(),
            proxy: Some(proxy),
        };
        there_and_back(scene, &there);
    }),
    ("S91_backups_on_a_rest_server", |scene| {
        let directory = scene.directory("servers");
        let (user, password) = LOGIN.split_once(':').unwrap();
        let login = ["--user", user, "--pass", password];
        let Some(server) = BackupServer::rest(&directory, &login) else {
            return;
        };
        let proxy = Mistreat::before(server.port);
        let there = There {
            location: format!("rest:http://{LOGIN}@127.0.0.1:{}/", proxy.port),
            flags: Vec::new(),
            files: server.files.clone(),
            proxy: Some(proxy),
        };
        there_and_back(scene, &there);
    }),
    ("S92_backups_over_sftp", |scene| {
        let directory = scene.directory("servers");
        let Some(server) = BackupServer::sftp(&directory) else {
            return;
        };
        let flags = ssh_arguments(&directory, "user")
            .iter()
            .map(|argument| format!("--ssh-arg={argument}"))
            .collect();
        let there = There {
            location: format!(
                "sftp://root@127.0.0.1:{}/{}",
                server.port,
                server.files.display()
            ),
            flags,
            files: server.files.clone(),
            proxy: None,
        };
        there_and_back(scene, &there);
    }),
];

/// A place for backups.
struct There {
    location: String,
    /// What `backup init` is told to get in.
    flags: Vec<String>,
    files: PathBuf,
    /// What the engine takes for the server.
    proxy: Option<Mistreat>,
}

impl There {
    /// All files of one kind, by the directory that they are in.
    fn files(&self, kind: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut ahead = vec![self.files.clone()];
        while let Some(directory) = ahead.pop() {
            for entry in fs::read_dir(directory).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    ahead.push(path);
                } else if path.components().any(|part| part.as_os_str() == kind) {
                    found.push(path);
                }
            }
        }
        found
    }
}

fn run(engine: &Engine, line: &str) -> Output {
    let words: Vec<&str> = line.split_whitespace().collect();
    Client::Orlop.run(engine, &words)
}

/// Bytes that do not compress.
fn noise(path: &Path, length: u64) {
    let mut bytes = Vec::new();
    let random = fs::File::open("/dev/urandom").unwrap();
    random.take(length).read_to_end(&mut bytes).unwrap();
    fs::write(path, bytes).unwrap();
}

fn there_and_back(scene: &Scene, there: &There) {
    let mut engine = Engine::start(&scene.name("places"));
    let password = scene.directory("password").join("file");
    fs::write(&password, "secret\n").unwrap();
    let mut words = vec![
        "backup",
        "init",
        "home",
        &there.location,
        "--password-file",
        password.to_str().unwrap(),
        "--retries",
        "1",
        "--timeout",
        "1s",
        "--limit-upload",
        "8m",
    ];
    words.extend(there.flags.iter().map(String::as_str));
    Client::Orlop.run(&engine, &words).ok();
    run(&engine, "volume create --label of=somebody data").ok();
    let data = engine.root.join("volumes/data/_data");
    fs::write(data.join("small"), "precious\n").unwrap();
    noise(&data.join("first"), 3_000_000);
    run(&engine, "volume backup data").ok();
    same(&engine, "once");

    killed(&mut engine, there);
    if let Some(proxy) = &there.proxy {
        mistreated(&engine, there, proxy);
    }
    damaged(&engine, there);

    // What is not kept goes, and its room is given back.
    noise(&data.join("first"), 3_000_000);
    run(&engine, "volume backup data").ok();
    let size = || -> u64 {
        let lengths = there.files("data").into_iter();
        lengths.map(|path| fs::metadata(path).unwrap().len()).sum()
    };
    let before = size();
    run(&engine, "backup forget home --keep-last 1 --prune").ok();
    assert!(
        before > size() + 2_500_000,
        "{before} bytes became {}",
        size()
    );
    run(&engine, "backup check home --read-data").ok();
    run(&engine, "backup verify home:data").ok();
    same(&engine, "last");
    assert_eq!(there.files("locks"), [] as [PathBuf; 0]);
}

/// The newest backup, as a new volume, is what the volume is.
fn same(engine: &Engine, name: &str) {
    run(engine, &format!("volume restore home:data --as {name}")).ok();
    let volumes = engine.root.join("volumes");
    for entry in fs::read_dir(volumes.join("data/_data")).unwrap() {
        let entry = entry.unwrap();
        let there = volumes.join(name).join("_data").join(entry.file_name());
        assert!(
            fs::read(entry.path()).unwrap() == fs::read(there).unwrap(),
            "{} is another one",
            entry.path().display()
        );
    }
    let format = format!("volume inspect {name} --format {{{{.Labels.of}}}}");
    assert_eq!(run(engine, &format).ok(), "somebody");
    run(engine, &format!("volume rm --now {name}")).ok();
}

/// The engine dies in the middle of an upload: the next one goes on, and the lock of the dead one holds up nobody.
fn killed(engine: &mut Engine, there: &There) {
    noise(&engine.root.join("volumes/data/_data/second"), 40_000_000);
    let packs = there.files("data").len();
    let line = ["volume", "backup", "data"];
    let client = Running::start(&mut Client::Orlop.command(engine, &line));
    until("a pack has arrived", || {
        (there.files("data").len() > packs).then_some(())
    });
    engine.kill();
    assert_ne!(client.finish().code, 0);
    assert!(!there.files("locks").is_empty(), "it was killed too late");
    engine.resume();
    assert_eq!(run(engine, "backup ls -q home").ok().lines().count(), 1);
    assert_eq!(run(engine, "volume snapshot ls -q data").ok(), "");
    run(engine, "volume backup data").ok();
    assert_eq!(there.files("locks"), [] as [PathBuf; 0]);
    run(engine, "backup check home --read-data").ok();
    same(engine, "again");
}

/// Whatever the server does, a backup that is not complete is none, and says so; the next one is.
fn mistreated(engine: &Engine, there: &There, proxy: &Mistreat) {
    let backups = || run(engine, "backup ls -q home").ok().lines().count();
    let before = backups();
    for (treatment, says) in [
        (Fail, "answered 500"),
        (Hang, "cannot be reached"),
        (Cut, ""),
        (Reset, "cannot be reached"),
    ] {
        noise(&engine.root.join("volumes/data/_data/third"), 12_000_000);
        let packs = there.files("data").len();
        let line = ["volume", "backup", "data"];
        let client = Running::start(&mut Client::Orlop.command(engine, &line));
        until("a pack has arrived", || {
            (there.files("data").len() > packs).then_some(())
        });
        proxy.treat(treatment, usize::MAX);
        let failed = client.finish();
        failed.fails(1, "volume data was not backed up to repository home");
        assert!(failed.stderr.contains(says), "{treatment:?}: {failed}");
        proxy.treat(Pass, 0);
        assert_eq!(backups(), before, "{treatment:?}");
    }
    // The lock that could not be taken back is nobody's.
    run(engine, "volume backup data").ok();
    run(engine, "backup prune home").ok();
    assert_eq!(there.files("locks"), [] as [PathBuf; 0]);
    run(engine, "backup check home --read-data").ok();
    same(engine, "treated");
}

/// A byte of a pack is another one: the error names pack, backup and volume, and nothing is half restored.
fn damaged(engine: &Engine, there: &There) {
    let length = |path: &PathBuf| fs::metadata(path).unwrap().len();
    let pack = there.files("data").into_iter().max_by_key(length).unwrap();
    let name = pack.file_name().unwrap().to_str().unwrap()[..16].to_owned();
    let whole = fs::read(&pack).unwrap();
    let mut bytes = whole.clone();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&pack, bytes).unwrap();
    let newest = run(engine, "backup ls -q home:data@latest").ok();
    let newest = newest[..8].to_owned();
    let failed = run(engine, "volume restore home:data --as broken");
    for word in ["volume broken was not restored", &newest, "home", &name] {
        failed.fails(1, word);
    }
    run(engine, "volume inspect broken").fails(1, "no such volume");
    let checked = run(engine, "backup check home --read-data");
    checked.fails(1, &name);
    checked.fails(1, &newest);
    let verified = run(engine, "backup verify home:data");
    verified.fails(1, &name);
    fs::write(&pack, whole).unwrap();
    run(engine, "backup check home --read-data").ok();
}
