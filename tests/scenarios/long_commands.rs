//! What takes long says how far it is, and ends with whoever waits for it.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;

use serde_json::Value;
use testkit::{Client, Engine, Output, until};

use super::{Scenario, Scene};

pub(super) const OWN: &[Scenario] = &[
    ("s170_long_commands_say_how_far_they_are", told),
    ("s170a_chown_ends_with_its_client", |_| chown()),
    ("s170b_image_prune_ends_with_its_client", |_| prune()),
    ("s170c_measuring_ends_with_its_client", |_| measuring()),
];

/// The steps of an action.
fn steps(output: &Output, action: &str) -> Vec<Value> {
    output
        .stderr
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .filter(|line: &Value| line["action"] == action)
        .collect()
}

fn told(scene: &Scene) {
    let image = scene.name("image");
    let make = |script: &str, from: &str| {
        scene
            .run_and(&format!("run --name %made {from} sh -c"), &[script])
            .ok();
        scene.run(&format!("commit %made {image}")).ok();
        scene.run("rm %made").ok();
    };
    make(
        "mkdir /seed; head -c 3000000 /dev/zero > /seed/f",
        "busybox",
    );
    scene
        .run(&format!("run --rm -v %data:/seed {image} true"))
        .ok();
    make("head -c 3000000 /dev/urandom > /seed/f", &image);

    let seeded = scene.run("volume reseed --merge --progress json %data");
    assert!(seeded.ok().contains("M /f"), "{seeded}");
    for action in ["Comparing", "Copying"] {
        let told = steps(&seeded, action);
        let most = told
            .iter()
            .filter_map(|step| step["current"].as_u64())
            .max();
        assert!(
            most.is_some_and(|most| most >= 65_536),
            "{action}: {seeded}"
        );
    }

    scene.run("volume ls --exact").ok();
    let changed = scene.run("volume chown --progress json %data 5:5");
    assert_eq!(changed.ok(), "2 changed");
    let last = steps(&changed, "Changing owners")
        .pop()
        .expect("it is told");
    assert_eq!(last["id"], scene.name("data").as_str(), "{changed}");
    assert_eq!(last["current"], last["total"], "{changed}");
    assert!(last["current"].as_u64().unwrap() >= 3_000_000, "{changed}");
    let quiet = scene.run("volume chown --quiet %data 5:5");
    assert_eq!(
        (quiet.ok().as_str(), quiet.stderr.as_str()),
        ("0 changed", "")
    );

    // The files of a volume become a filesystem of its own, where nothing else keeps a limit.
    scene.run("volume create %limited").ok();
    fs::write(scene.data("limited").join("f"), vec![7; 3 << 20]).unwrap();
    let resized = scene.run("volume resize --progress json %limited 32m");
    resized.ok();
    let compared = steps(&resized, "Comparing");
    assert_eq!(
        compared.is_empty(),
        steps(&resized, "Copying").is_empty(),
        "{resized}"
    );
    for step in compared {
        assert!(
            step["current"].as_u64() <= step["total"].as_u64(),
            "{resized}"
        );
    }
    scene.run("volume rm --now %data %limited").ok();
    scene.run(&format!("rmi {image}")).ok();
}

/// Asks for something, and leaves in the middle of it.
fn ask(engine: &Engine, head: &str) -> UnixStream {
    let mut socket = UnixStream::connect(engine.socket()).unwrap();
    write!(
        socket,
        "{head} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
    )
    .unwrap();
    socket
}

fn run(engine: &Engine, line: &str) -> Output {
    let words: Vec<&str> = line.split_whitespace().collect();
    Client::Orlop.run(engine, &words)
}

fn chown() {
    const FILES: u32 = 60_000;
    let engine = Engine::start("chown-left");
    run(&engine, "volume create data").ok();
    let content = engine.root.join("volumes/data/_data");
    for directory in 0..60 {
        let directory = content.join(format!("d{directory}"));
        fs::create_dir(&directory).unwrap();
        for file in 0..FILES / 60 {
            fs::File::create(directory.join(file.to_string())).unwrap();
        }
    }
    let theirs = |uid: u32| {
        let all = (0..60).flat_map(|directory| {
            let directory = content.join(format!("d{directory}"));
            (0..FILES / 60).map(move |file| directory.join(file.to_string()))
        });
        let theirs = all.filter(|file| fs::symlink_metadata(file).unwrap().uid() == uid);
        u32::try_from(theirs.count()).unwrap()
    };
    let socket = ask(&engine, "POST /orlop/v1/volumes/data/chown?uid=7");
    until("it has begun", || {
        (fs::metadata(&content).unwrap().uid() == 7).then_some(())
    });
    drop(socket);
    // It says so where it is looked up later.
    until("it has ended", || {
        let history = run(&engine, "volume history data").ok();
        history.contains("to 7, not all").then_some(())
    });
    assert!(theirs(7) < FILES);
    let rest = run(&engine, "volume chown data 7").ok();
    assert_ne!(rest, "0 changed");
    assert_eq!(theirs(7), FILES);
    run(&engine, "volume rm --now data").ok();
}

fn prune() {
    const IMAGES: usize = 60;
    let engine = Engine::start("prune-left");
    let file = engine.root.with_extension("tar");
    for number in 0..IMAGES {
        // A tar stream of one small file of its own.
        let name = format!("f{number}");
        let mut head = [0_u8; 512];
        head[..name.len()].copy_from_slice(name.as_bytes());
        head[100..107].copy_from_slice(b"0000644");
        head[124..135].copy_from_slice(b"00000000000");
        head[156] = b'0';
        head[148..156].fill(b' ');
        let sum: u32 = head.iter().map(|&byte| u32::from(byte)).sum();
        head[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        fs::write(&file, [&head[..], &[0; 1024]].concat()).unwrap();
        run(&engine, &format!("import {} one", file.display())).ok();
    }
    fs::remove_file(&file).unwrap();
    let left = || run(&engine, "image ls -aq").ok().lines().count();
    assert_eq!(left(), IMAGES);
    let socket = ask(&engine, "POST /images/prune");
    until("the first one is gone", || (left() < IMAGES).then_some(()));
    drop(socket);
    until("it has ended", || {
        let told = run(
            &engine,
            "events --filter type=image --filter event=prune --since 10m --until 0s",
        );
        told.ok().contains("prune").then_some(())
    });
    let stayed = left();
    assert!(stayed > 1, "all went though nobody waited");
    let all = run(&engine, "image prune -f --progress json");
    assert!(all.ok().contains("Total reclaimed space"), "{all}");
    assert_eq!(steps(&all, "Removing").last().unwrap()["id"], "images");
    assert_eq!(left(), 1, "what has a name stays");
    run(&engine, "image prune -af").ok();
}

fn measuring() {
    const VOLUMES: usize = 400;
    let engine = Engine::start("measure-left");
    for number in 0..VOLUMES {
        let body = format!(r#"{{"Name":"v{number:04}"}}"#);
        let mut socket = UnixStream::connect(engine.socket()).unwrap();
        write!(
            socket,
            "POST /volumes/create HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nConnection: close\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    }
    let measured = || {
        let mut socket = UnixStream::connect(engine.socket()).unwrap();
        write!(
            socket,
            "GET /orlop/v1/volumes HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        assert!(answer.contains("v0399"), "{answer}");
        answer.matches("\"Usage\":{").count()
    };
    assert_eq!(measured(), 0);
    let answer = BufReader::new(ask(&engine, "GET /orlop/v1/usage"));
    let first = answer
        .lines()
        .find(|line| line.as_ref().unwrap().contains("\"Bytes\""));
    assert!(first.unwrap().unwrap().contains("v0000"));
    let quiet = || {
        let before = measured();
        (measured() == before && measured() == before).then_some(before)
    };
    let known = until("it has ended", quiet);
    assert!((1..VOLUMES).contains(&known), "{known}");
    // Who stays gets all of them.
    run(&engine, "volume ls --exact").ok();
    assert_eq!(measured(), VOLUMES);
}
