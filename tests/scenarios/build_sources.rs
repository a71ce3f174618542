//! What builds take from elsewhere: archives in every format, files from the web, base images from registries, steps that
//! another image has done.

use std::fs;
use std::path::Path;

use testkit::{Registry, RegistryOptions, Running};

use super::build::{build, context, outcome, text};
use super::fake_registry::{Fake, Image, Reply, digest, pipe};
use super::registry::{GZIP, local, registry, tar};
use super::registry_logins::run_as;
use super::{Scenario, Scene, host, one_prune_at_a_time};

pub(super) const SCENARIOS: &[Scenario] = &[
    ("b30_archives_of_every_format", b30),
    ("b31_files_from_the_web", b31),
    ("b32_base_images_from_registries", b32),
    ("b33_steps_of_other_images", b33),
    ("b34_who_leaves_ends_his_pull", b34),
];

const FORMATS: [(&str, &[&str]); 5] = [
    ("tar", &[]),
    ("tar.gz", &["gzip", "-c"]),
    ("tar.bz2", &["bzip2", "-c"]),
    ("tar.xz", &["xz", "-c"]),
    ("tar.zst", &["zstd", "-c"]),
];

fn compressed(stream: &[u8], command: &[&str]) -> Vec<u8> {
    match command {
        [] => stream.to_owned(),
        [program, arguments @ ..] => pipe(program, arguments, stream),
    }
}

fn b30(scene: &Scene) {
    let tree = scene.directory("tree");
    fs::create_dir_all(tree.join("d")).unwrap();
    // More than one block of bzip2.
    let noise: Vec<u8> = (0..600_000_u32)
        .flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect();
    fs::write(tree.join("d/noise"), &noise).unwrap();
    fs::write(tree.join("d/name"), scene.name("archives")).unwrap();
    let stream = pipe("tar", &["-C", text(&tree), "-cf", "-", "d"], b"");
    let directory = context(scene, "archives", &[("Dockerfile", "")]);
    let mut file = "FROM busybox\n".to_owned();
    for (name, command) in FORMATS {
        let bytes = compressed(&stream, command);
        fs::write(directory.join(format!("a.{name}")), &bytes).unwrap();
        file += &format!("ADD a.{name} /{name}/\n");
    }
    // What only looks like an archive is a file, and so is one that shall not be unpacked.
    let cut = &pipe("xz", &["-c"], &stream)[..40];
    fs::write(directory.join("cut.tar.xz"), cut).unwrap();
    let foreign = pipe("lz4", &["-c"], &stream);
    fs::write(directory.join("a.tar.lz4"), foreign).unwrap();
    file += "ADD cut.tar.xz a.tar.lz4 /files/\nADD --unpack=false a.tar.xz /files/\nCOPY a.tar.bz2 /files/\n\
        CMD cd /; cat */d/name; echo; cat */d/noise | md5sum; ls files\n";
    fs::write(directory.join("Dockerfile"), file).unwrap();
    let image = format!("{}-archives", scene.prefix);
    let said = outcome(scene, &image, &directory);
    let sum = String::from_utf8(pipe("md5sum", &[], &noise.repeat(FORMATS.len()))).unwrap();
    assert_eq!(
        said,
        format!(
            "{}\n{}a.tar.bz2\na.tar.lz4\na.tar.xz\ncut.tar.xz",
            scene.name("archives").repeat(FORMATS.len()),
            sum
        )
    );
    // The same for what images and containers are filled from.
    let saved = directory.join("saved.tar");
    scene.run_and("save -o", &[text(&saved), &image]).ok();
    let saved = fs::read(saved).unwrap();
    for (name, command) in FORMATS {
        let file = directory.join(format!("saved.{name}"));
        fs::write(&file, compressed(&saved, command)).unwrap();
        let loaded = scene.run_and("load -i", &[text(&file)]).ok();
        assert_eq!(loaded, format!("Loaded image: {image}:latest"), "{name}");
        let imported = format!("{}-imported", scene.prefix);
        let archive = directory.join(format!("a.{name}"));
        scene.run_and("import", &[text(&archive), &imported]).ok();
        scene
            .run_and("create --name %filled", &[&imported, "none"])
            .ok();
        let given = fs::read(&archive).unwrap();
        scene.run_with("cp - %filled:/", &given).ok();
        let name_of = scene.run("cp %filled:/d/name -").ok();
        assert!(name_of.contains(&scene.name("archives")), "{name}");
        scene.run("rm %filled").ok();
        scene.run(&format!("rmi {imported}")).ok();
    }
    scene.run(&format!("rmi {image}")).ok();
}

fn b31(scene: &Scene) {
    let tree = scene.directory("web");
    fs::write(tree.join("inside"), scene.name("web")).unwrap();
    let archive = pipe("tar", &["-C", text(&tree), "-czf", "-", "inside"], b"");
    let plain = scene.name("plain").into_bytes();
    let (sum, wrong) = (digest(&plain), digest(b"another"));
    let web = {
        let plain = plain.clone();
        Fake::start(move |asked| match asked.path.as_str() {
            "/plain" => Reply::new(200, plain.clone())
                .with("Last-Modified", "Mon, 02 Jan 2006 15:04:05 GMT"),
            "/a.tar.gz" => Reply::new(200, archive.clone()),
            "/moved" => Reply::new(302, "").with("Location", "/plain"),
            "/named" => Reply::new(200, "suggested")
                .with("Content-Disposition", "attachment; filename=\"given\""),
            "/cut" => Reply {
                cut: Some(3),
                ..Reply::new(200, "too short")
            },
            "/secret" => Reply::new(403, "no"),
            _ => Reply::new(404, ""),
        })
    };
    let url = format!("http://{}", web.address);
    let directory = context(
        scene,
        "web-build",
        &[(
            "Dockerfile",
            &format!(
                "FROM busybox\n\
                 ADD {url}/plain /file\n\
                 ADD {url}/moved /d/\n\
                 ADD {url}/named /d/\n\
                 ADD --chown=7:8 --chmod=644 {url}/plain /owned\n\
                 ADD {url}/a.tar.gz /kept/\n\
                 ADD --unpack=true {url}/a.tar.gz /open/\n\
                 ADD --checksum={sum} {url}/plain /checked\n\
                 CMD cat /file /d/moved /checked /open/inside; echo; ls /d /kept; stat -c '%a %u:%g %Y' /file /owned\n"
            ),
        )],
    );
    let image = format!("{}-web", scene.prefix);
    let said = outcome(scene, &image, &directory);
    let name = scene.name("plain");
    assert_eq!(
        said,
        format!(
            "{name}{name}{name}{}\n/d:\ngiven\nmoved\n\n/kept:\na.tar.gz\n600 0:0 1136214245\n644 7:8 1136214245",
            scene.name("web")
        )
    );
    // With a checksum the file need not be fetched to know that nothing has changed.
    let before = web.asked().len();
    let only = format!("FROM busybox\nADD --checksum={sum} {url}/plain /checked\n");
    fs::write(directory.join("Dockerfile"), &only).unwrap();
    build(scene, &[text(&directory)]).ok();
    let fetched = web.asked().len();
    assert!(fetched > before);
    let again = build(scene, &[text(&directory)]);
    assert!(again.ok().contains("Using cache"), "{again}");
    assert_eq!(web.asked().len(), fetched);
    for (line, why) in [
        (
            format!("ADD --checksum={wrong} {url}/plain /x"),
            format!("digest mismatch {sum}: {wrong}"),
        ),
        (
            format!("ADD {url}/nothing /x"),
            format!("404 from {url}/nothing"),
        ),
        (
            format!("ADD {url}/secret /x"),
            format!("403 from {url}/secret"),
        ),
        (format!("ADD {url}/cut /x"), format!("{url}/cut")),
        (
            "ADD http://127.0.0.1:1/x /x".to_owned(),
            "connection refused".to_owned(),
        ),
        (
            format!("ADD --checksum={sum} Dockerfile /x"),
            "checksum requires exactly one HTTP(S) source".to_owned(),
        ),
        (format!("ADD {url}/ /x/"), format!("{url}/")),
    ] {
        let file = format!("FROM busybox\n{line}\n");
        fs::write(directory.join("Dockerfile"), file).unwrap();
        build(scene, &[text(&directory)]).fails(1, &why);
    }
    scene.run(&format!("rmi {image}")).ok();
}

fn b32(scene: &Scene) {
    let passwords = scene.directory("passwords").join("htpasswd");
    let entry = host("htpasswd", &["-Bbn", "me", "secret"]);
    fs::write(&passwords, entry.trim()).unwrap();
    let registry = Registry::start(
        &scene.directory("registry"),
        "127.0.0.1",
        &RegistryOptions {
            tls: None,
            passwords: Some(passwords),
        },
    );
    let base = format!("{}/team/base:1", registry.address);
    let config = scene.directory("config");
    let run = |line: &str| run_as(scene, &config, line, b"");
    let push = |name: &str| {
        let ours = local(scene, name);
        scene.run(&format!("tag {ours} {base}")).ok();
        run(&format!("push {base}")).ok();
        scene.run(&format!("rmi {ours} {base}")).ok();
    };
    let directory = context(
        scene,
        "based",
        &[(
            "Dockerfile",
            &format!("FROM {base}\nLABEL of=%x\nCMD [\"cat\", \"/name\"]\n"),
        )],
    );
    let image = format!("{}-based", scene.prefix);
    let building = |flags: &str| {
        let line = format!("build {flags} -t {image} {}", directory.display());
        with_classic_builder(scene, &config, &line)
    };
    let login = format!("login -u me -p secret {}", registry.address);
    run(&login).ok();
    push("one");
    run(&format!("logout {}", registry.address)).ok();
    // Without a password the base image is nobody's to have.
    building("").fails(1, "no basic auth credentials");
    run(&login).ok();
    let built = building("");
    assert!(built.ok().contains("Pulling from team/base"), "{built}");
    let said = || scene.run(&format!("run --rm {image}")).ok();
    assert_eq!(said(), scene.name("one"));
    // What is there is taken, unless something newer is asked for.
    let ours = local(scene, "two");
    let first = scene
        .run(&format!("image inspect -f {{{{.Id}}}} {base}"))
        .ok();
    scene.run(&format!("tag {ours} {base}")).ok();
    run(&format!("push {base}")).ok();
    scene.run(&format!("tag {first} {base}")).ok();
    scene.run(&format!("rmi {ours}")).ok();
    let built = building("");
    assert!(!built.ok().contains("Pulling from"), "{built}");
    assert_eq!(said(), scene.name("one"));
    let built = building("--pull");
    assert!(built.ok().contains("Pulling from team/base"), "{built}");
    assert_eq!(said(), scene.name("two"));
    // One that is not there any more is an error only for who asks.
    let address = registry.address.clone();
    drop(registry);
    building("").ok();
    building("--pull").fails(
        1,
        &format!("dial tcp {address}: connect: connection refused"),
    );
    scene.run(&format!("rmi {image} {base}")).ok();
}

/// A command line with a configuration of its own, and no `BuildKit`.
fn with_classic_builder(scene: &Scene, config: &Path, line: &str) -> testkit::Output {
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    let output = scene
        .client
        .command(&scene.engine, &words)
        .env("DOCKER_CONFIG", config)
        .env("DOCKER_BUILDKIT", "0")
        .output()
        .unwrap();
    testkit::Output {
        command: line.to_owned(),
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn b33(scene: &Scene) {
    let _alone = one_prune_at_a_time();
    let registry = registry(scene, "cache");
    let file = "FROM busybox AS made\n\
        RUN echo %x > /made\n\
        FROM busybox\n\
        ENV OF=%x\n\
        WORKDIR /work\n\
        RUN date +%s%N > /date; echo %x\n\
        COPY file /file\n\
        COPY --from=made /made /made\n\
        RUN true || echo %x\n\
        CMD cat /date\n";
    let directory = context(scene, "cached", &[("Dockerfile", file), ("file", "one")]);
    let image = format!("{}/cached", registry.address);
    build(scene, &["-t", &image, text(&directory)]).ok();
    let date = scene.run(&format!("run --rm {image}")).ok();
    scene.run(&format!("push {image}")).ok();
    // Nothing is remembered any more, and the image comes from the registry as for somebody else.
    let forget = || {
        scene.run(&format!("rmi -f {image}")).ok();
        scene
            .run_and(
                "builder prune -af --filter",
                &[&format!("description={}", scene.name("x"))],
            )
            .ok();
        for description in ["WORKDIR", "COPY file /file", "COPY --from=made", "date"] {
            scene
                .run_and(
                    "builder prune -af --filter",
                    &[&format!("description={description}")],
                )
                .ok();
        }
        scene.run(&format!("pull {image}")).ok();
    };
    let again = format!("{}-again", scene.prefix);
    let building = |from: &[&str]| {
        let mut words = vec!["-t", again.as_str()];
        for one in from {
            words.extend(["--cache-from", one]);
        }
        words.push(text(&directory));
        build(scene, &words).ok()
    };
    forget();
    // The first stage is in no image: it is made again, and what the second takes from it is the same.
    let said = building(&["no/such/image", &image]);
    assert_eq!(said.matches("Running in").count(), 1, "{said}");
    assert_eq!(said.matches("Using cache").count(), 5, "{said}");
    assert_eq!(scene.run(&format!("run --rm {again}")).ok(), date);
    let id = |name: &str| {
        scene
            .run(&format!("image inspect -f {{{{.Id}}}} {name}"))
            .ok()
    };
    assert_eq!(id(&again), id(&image), "the same image came of it");
    // It is remembered now.
    let said = building(&[]);
    assert!(!said.contains("Running in"), "{said}");
    // What depends on a change is done again, and nothing above it.
    forget();
    scene.run(&format!("rmi {again}")).ok();
    fs::write(directory.join("file"), "two").unwrap();
    let said = building(&[&image]);
    assert_eq!(said.matches("Running in").count(), 2, "{said}");
    assert_eq!(said.matches("Using cache").count(), 2, "{said}");
    assert_eq!(scene.run(&format!("run --rm {again}")).ok(), date);
    // Without being named the image is no source.
    scene.run(&format!("rmi {again}")).ok();
    forget();
    let said = building(&[]);
    assert_eq!(said.matches("Running in").count(), 3, "{said}");
    scene.run(&format!("rmi {again} {image}")).ok();
}

fn b34(scene: &Scene) {
    let stream = tar(scene, "left");
    let layer = pipe("gzip", &["-1c"], &stream);
    let image = Image::new(&stream, &layer, GZIP);
    let sha = digest(&layer);
    let fake = {
        let (image, sha) = (image.clone(), sha.clone());
        Fake::start(move |asked| {
            if asked.path == "/v2/" {
                return Reply::new(200, "{}");
            }
            let held = asked.path.contains("/held/") && asked.path.ends_with(&sha);
            let reply = image.answer(asked);
            if held {
                return Reply {
                    cut: Some(50_000),
                    hold: true,
                    ..reply
                };
            }
            reply
        })
    };
    let part = scene
        .engine
        .root
        .join("downloads")
        .join(&sha["sha256:".len()..]);
    let name = format!("{}/held/x", fake.address);
    let directory = context(scene, "held", &[("Dockerfile", &format!("FROM {name}\n"))]);
    let mut building = scene
        .client
        .command(&scene.engine, &["build", text(&directory)]);
    building.env("DOCKER_BUILDKIT", "0");
    let pulling = scene.client.command(&scene.engine, &["pull", &name]);
    let asked = || {
        let asked = fake.asked();
        asked.iter().filter(|line| line.contains(&sha)).count()
    };
    for (times, mut command) in [(1, pulling), (2, building)] {
        let running = Running::start(&mut command);
        // The second one begins when the first one has let go of the layer.
        testkit::until("a part of the layer is there", || {
            let there = fs::metadata(&part).is_ok_and(|part| part.len() == 50_000);
            (there && asked() == times).then_some(())
        });
        drop(running);
    }
    scene
        .run(&format!("image inspect {name}"))
        .fails(1, "No such image");
    // Nobody has to wait for what was given up.
    let name = format!("{}/free/x", fake.address);
    scene.run(&format!("pull {name}")).ok();
    assert_eq!(
        scene.run(&format!("run --rm {name} cat /name")).ok(),
        scene.name("left")
    );
    assert!(!part.exists(), "it is a layer's now");
    scene.run(&format!("rmi {name}")).ok();
}
