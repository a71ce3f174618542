//! S70 and registries: pull, push, login, search, with a real registry, with skopeo beside us, and with one that lies.

use std::fs;

use serde_json::json;
use testkit::{Engine, Registry, RegistryOptions};

use super::fake_registry::{Fake, Image, Reply, digest, pipe};
use super::{Scenario, Scene, host};

pub(super) const SCENARIOS: &[Scenario] = &[
    ("s70_push_and_pull", s70),
    ("r01_skopeo_reads_and_writes", r01),
    ("r02_platforms", r02),
    ("r05_run_pulls_what_is_missing", r05),
    ("r06_downloads_that_break", r06),
    ("r07_registries_that_lie", r07),
    ("r09_search_and_refusals", r09),
    ("r10_mirrors", r10),
    ("r12_two_pulls_of_one_layer", r12),
    ("r13_what_is_loaded_is_the_same", r13),
];

pub(super) const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

pub(super) fn registry(scene: &Scene, name: &str) -> Registry {
    Registry::start(
        &scene.directory(name),
        "127.0.0.1",
        &RegistryOptions::default(),
    )
}

/// A stream that no other test has, so that its layer is nobody's yet.
pub(super) fn tar(scene: &Scene, name: &str) -> Vec<u8> {
    let directory = scene.directory(&format!("tree-{name}"));
    fs::create_dir_all(directory.join("bin")).unwrap();
    fs::write(directory.join("name"), scene.name(name)).unwrap();
    let noise: Vec<u8> = (0..200_000_u32)
        .flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect();
    fs::write(directory.join("noise"), noise).unwrap();
    fs::copy("/bin/busybox", directory.join("bin/cat")).unwrap();
    pipe(
        "tar",
        &["-C", directory.to_str().unwrap(), "-cf", "-", "."],
        b"",
    )
}

/// An image in the engine with a layer of its own.
pub(super) fn local(scene: &Scene, name: &str) -> String {
    let file = scene.directory("tars").join(format!("{name}.tar"));
    fs::write(&file, tar(scene, name)).unwrap();
    let image = scene.name(name);
    scene
        .run_and("import", &[file.to_str().unwrap(), &image])
        .ok();
    image
}

fn repo_digest(scene: &Scene, image: &str) -> String {
    let shown = scene
        .run_and("image inspect --format", &["{{json .RepoDigests}}", image])
        .json();
    let repository = image.rsplit_once(':').filter(|(_, tag)| !tag.contains('/'));
    let repository = repository.map_or(image, |(repository, _)| repository);
    shown
        .as_array()
        .unwrap()
        .iter()
        .find_map(|one| one.as_str()?.strip_prefix(&format!("{repository}@")))
        .unwrap_or_else(|| panic!("{image} has no digest: {shown}"))
        .to_owned()
}

fn s70(scene: &Scene) {
    let registry = registry(scene, "registry");
    let ours = local(scene, "first");
    let name = format!("{}/team/first", registry.address);
    scene.run(&format!("tag {ours} {name}")).ok();
    let pushed = scene.run(&format!("push {name}")).ok();
    assert!(pushed.starts_with(&format!(
        "Using default tag: latest\nThe push refers to repository [{name}]\n"
    )));
    assert!(pushed.contains(": Preparing\n") && pushed.contains(": Pushed\n"));
    let line = pushed.lines().last().unwrap();
    let sha = repo_digest(scene, &name);
    assert!(
        line.starts_with(&format!("latest: digest: {sha} size: ")),
        "{line}"
    );
    let again = scene.run(&format!("push {name}")).ok();
    assert!(
        again.contains(": Layer already exists\n") && again.contains(&sha),
        "{again}"
    );
    let other = format!("{}/team/other:v1", registry.address);
    scene.run(&format!("tag {ours} {other}")).ok();
    let mounted = scene.run(&format!("push {other}")).ok();
    assert!(mounted.contains(": Mounted from team/first\n"), "{mounted}");

    let id = scene
        .run(&format!("image inspect -f {{{{.Id}}}} {name}"))
        .ok();
    let removed = scene.run(&format!("rmi {ours} {name} {other}")).ok();
    assert!(
        removed.contains(&format!("Untagged: {name}@{sha}")) && removed.contains("Deleted: "),
        "{removed}"
    );
    let pulled = scene.run(&format!("pull {name}")).ok();
    let lines: Vec<&str> = pulled.lines().collect();
    assert_eq!(
        lines[..2],
        [
            "Using default tag: latest",
            "latest: Pulling from team/first"
        ]
    );
    // A layer stays for as long as anybody else is adding layers, and is then no news.
    let is_new = pulled.contains(": Pulling fs layer\n") && pulled.contains(": Pull complete\n");
    assert!(is_new || pulled.contains(": Already exists\n"), "{pulled}");
    assert_eq!(
        lines[lines.len() - 3..],
        [
            format!("Digest: {sha}"),
            format!("Status: Downloaded newer image for {name}:latest"),
            format!("{name}:latest"),
        ]
    );
    assert_eq!(
        scene
            .run(&format!("image inspect -f {{{{.Id}}}} {name}"))
            .ok(),
        id
    );
    assert_eq!(
        scene.run(&format!("run --rm {name} cat /name")).ok(),
        scene.name("first")
    );
    let again = scene.run(&format!("pull {name}")).ok();
    assert!(again.contains(&format!("Status: Image is up to date for {name}:latest")));
    let table = scene.run("images --digests").ok();
    assert!(table.contains(&sha), "{table}");
    // What came with a manifest is pushed with it: same bytes, same digest.
    scene.run(&format!("tag {name} {other}")).ok();
    scene.run(&format!("push {other}")).ok();
    assert_eq!(repo_digest(scene, &other), sha);
    // By digest, without a name; then everything.
    scene.run(&format!("rmi {name} {other}")).ok();
    let by_digest = scene.run(&format!("pull {name}@{sha}")).ok();
    assert!(by_digest.contains(&format!("{sha}: Pulling from team/first")));
    scene.run(&format!("run --rm {name}@{sha} cat /name")).ok();
    scene.run(&format!("rmi {name}@{sha}")).ok();
    let second = format!("{name}:second");
    let ours = local(scene, "second");
    scene.run(&format!("tag {ours} {second}")).ok();
    scene.run(&format!("push {second}")).ok();
    scene.run(&format!("rmi {second} {ours}")).ok();
    let all = scene.run(&format!("pull -a {name}")).ok();
    assert!(all.contains("latest: Pulling from") && all.contains("second: Pulling from"));
    // All tags of a repository at once, as others see them.
    let many = format!("{}/team/many", registry.address);
    for tag in ["one", "two"] {
        scene.run(&format!("tag {second} {many}:{tag}")).ok();
    }
    let pushed = scene.run(&format!("push -a {many}")).ok();
    assert!(
        pushed.contains("\none: digest: sha256:") && pushed.contains("\ntwo: digest: sha256:"),
        "{pushed}"
    );
    let listed = host(
        "skopeo",
        &[
            "list-tags",
            "--tls-verify=false",
            &format!("docker://{many}"),
        ],
    );
    assert!(
        listed.contains("\"one\"") && listed.contains("\"two\""),
        "{listed}"
    );
    scene
        .run(&format!("rmi {many}:one {many}:two {name}:latest {second}"))
        .ok();
}

/// What was loaded keeps its identity: the image's id, and the diff ids of its layers, byte by byte.
fn r13(scene: &Scene) {
    let ours = local(scene, "kept");
    let registry = registry(scene, "registry");
    let name = format!("{}/kept", registry.address);
    scene.run(&format!("tag {ours} {name}")).ok();
    scene.run(&format!("push {name}")).ok();
    let identity = |image: &str| {
        scene
            .run_and(
                "image inspect --format",
                &["{{.Id}} {{json .RootFS.Layers}}", image],
            )
            .ok()
    };
    let first = identity(&name);
    let scratch = scene.directory("round");
    let saved = scratch.join("saved.tar");
    let again = scratch.join("again.tar");
    let layout = scratch.join("layout.tar");
    let (saved, again, layout) = (
        saved.to_str().unwrap(),
        again.to_str().unwrap(),
        layout.to_str().unwrap(),
    );
    scene.run_and("save -o", &[saved, &name]).ok();
    host(
        "skopeo",
        &[
            "copy",
            "-q",
            "--src-tls-verify=false",
            &format!("docker://{name}"),
            &format!("oci-archive:{layout}:{name}:latest"),
        ],
    );
    for file in [saved, layout] {
        scene.run(&format!("rmi -f {ours} {name}")).ok();
        let loaded = scene.run_and("load -i", &[file]).ok();
        assert!(loaded.contains(&format!("{name}:latest")), "{loaded}");
        let found = identity(&name);
        if file == saved {
            assert_eq!(found, first);
        }
        // Whoever writes another format writes another configuration; the layers stay.
        let layers = |identity: &str| identity.split_once(' ').unwrap().1.to_owned();
        assert_eq!(layers(&found), layers(&first));
        scene.run_and("save -o", &[again, &name]).ok();
        scene.run(&format!("rmi {name}")).ok();
        scene.run_and("load -i", &[again]).ok();
        assert_eq!(identity(&name), found, "{file}, saved once more");
        let elsewhere = format!("{}/elsewhere", registry.address);
        scene.run(&format!("tag {name} {elsewhere}")).ok();
        scene.run(&format!("push {elsewhere}")).ok();
        let config = host(
            "skopeo",
            &[
                "inspect",
                "--config",
                "--raw",
                "--tls-verify=false",
                &format!("docker://{elsewhere}"),
            ],
        );
        assert!(found.starts_with(&digest(config.as_bytes())), "{config}");
        scene.run(&format!("rmi {elsewhere}")).ok();
    }
    scene.run(&format!("rmi {name}")).ok();
}

fn r01(scene: &Scene) {
    let registry = registry(scene, "registry");
    let ours = local(scene, "first");
    let name = format!("{}/a", registry.address);
    scene.run(&format!("tag {ours} {name}")).ok();
    scene.run(&format!("push {name}")).ok();
    let skopeo = |arguments: &[&str]| host("skopeo", arguments);
    // What we pushed is read by others.
    let out = scene.directory("out");
    skopeo(&[
        "copy",
        "-q",
        "--src-tls-verify=false",
        &format!("docker://{name}:latest"),
        &format!("dir:{}", out.display()),
    ]);
    let manifest = fs::read_to_string(out.join("manifest.json")).unwrap();
    assert_eq!(digest(manifest.as_bytes()), repo_digest(scene, &name));
    scene.run(&format!("rmi {ours} {name}")).ok();
    // What others write is pulled, in each compression.
    for (tag, arguments) in [
        ("gzip", &["--format", "v2s2"][..]),
        (
            "zstd",
            &["--format", "oci", "--dest-compress-format", "zstd"][..],
        ),
    ] {
        let target = format!("{name}:{tag}");
        let stream = tar(scene, tag);
        let image = Image::new(&stream, &stream, "application/vnd.oci.image.layer.v1.tar");
        let plain = scene.directory(&format!("plain-{tag}"));
        for (file, bytes) in [
            ("version", b"Directory Transport Version: 1.1\n".to_vec()),
            ("manifest.json", image.manifest.to_string().into_bytes()),
            (&digest(&stream)["sha256:".len()..], stream.clone()),
            (
                &digest(&image.config)["sha256:".len()..],
                image.config.clone(),
            ),
        ] {
            fs::write(plain.join(file), bytes).unwrap();
        }
        let from = format!("dir:{}", plain.display());
        let to = format!("docker://{target}");
        let mut all = vec!["copy", "-q", "--dest-tls-verify=false"];
        all.extend(arguments);
        all.extend([from.as_str(), to.as_str()]);
        skopeo(&all);
        let pulled = scene.run(&format!("pull {target}")).ok();
        assert!(pulled.contains(": Pull complete"), "{pulled}");
        assert_eq!(
            scene.run(&format!("run --rm {target} cat /name")).ok(),
            scene.name(tag)
        );
        let sha = repo_digest(scene, &target);
        let raw = skopeo(&["inspect", "--raw", "--tls-verify=false", &to]);
        assert_eq!(digest(raw.as_bytes()), sha);
        if tag == "zstd" {
            assert!(raw.contains("tar+zstd"), "{raw}");
        }
        // The stream is kept as it came, and is still the layer's.
        let saved = scene.directory("saved").join("image.tar");
        scene
            .run_and("save -o", &[saved.to_str().unwrap(), &target])
            .ok();
        let elsewhere = format!("{}/{tag}", registry.address);
        scene.run(&format!("tag {target} {elsewhere}")).ok();
        scene.run(&format!("push {elsewhere}")).ok();
        assert_eq!(repo_digest(scene, &elsewhere), sha);
        scene.run(&format!("rmi {target} {elsewhere}")).ok();
        scene.run_and("load -i", &[saved.to_str().unwrap()]).ok();
        assert_eq!(
            scene.run(&format!("run --rm {target} cat /name")).ok(),
            scene.name(tag)
        );
        scene.run(&format!("rmi {target}")).ok();
    }
}

/// A registry that has what is in the list: path's end, content type, bytes.
fn honest(things: Vec<(String, &'static str, Vec<u8>)>) -> Fake {
    Fake::start(move |asked| {
        if asked.path == "/v2/" {
            return Reply::new(200, "{}");
        }
        things
            .iter()
            .find(|(end, _, _)| asked.path.ends_with(end.as_str()))
            .map_or_else(
                || {
                    Reply::new(
                        404,
                        r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#,
                    )
                },
                |(_, kind, bytes)| Reply::new(200, bytes.clone()).with("Content-Type", *kind),
            )
    })
}

fn r02(scene: &Scene) {
    let stream = tar(scene, "platforms");
    let layer = pipe("gzip", &["-c"], &stream);
    let image = Image::new(&stream, &layer, GZIP);
    let mut things = vec![(digest(&layer), "", layer.clone())];
    let mut entries = vec![json!({
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": digest(b"attestation"), "size": 1,
        "platform": { "os": "unknown", "architecture": "unknown" },
    })];
    for architecture in ["amd64", "arm64"] {
        let mut config: serde_json::Value = serde_json::from_slice(&image.config).unwrap();
        config["architecture"] = json!(architecture);
        let config = config.to_string().into_bytes();
        let mut manifest = image.manifest.clone();
        manifest["config"]["digest"] = json!(digest(&config));
        manifest["config"]["size"] = json!(config.len());
        let manifest = manifest.to_string().into_bytes();
        entries.push(json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": digest(&manifest), "size": manifest.len(),
            "platform": { "os": "linux", "architecture": architecture },
        }));
        things.push((digest(&config), "", config));
        things.push((
            digest(&manifest),
            "application/vnd.oci.image.manifest.v1+json",
            manifest,
        ));
    }
    for (tag, kind) in [
        ("oci", "application/vnd.oci.image.index.v1+json"),
        (
            "list",
            "application/vnd.docker.distribution.manifest.list.v2+json",
        ),
    ] {
        let index = json!({ "schemaVersion": 2, "mediaType": kind, "manifests": entries });
        things.push((format!("/{tag}"), kind, index.to_string().into_bytes()));
    }
    let index = things.iter().find(|(end, _, _)| end == "/oci").unwrap();
    let index_digest = digest(&index.2);
    let fake = honest(things);
    let name = format!("{}/multi", fake.address);
    let architecture = |tag: &str| {
        scene
            .run(&format!(
                "image inspect -f {{{{.Architecture}}}} {name}:{tag}"
            ))
            .ok()
    };
    let here = if cfg!(target_arch = "aarch64") {
        "arm64"
    } else {
        "amd64"
    };
    for tag in ["oci", "list"] {
        scene.run(&format!("pull {name}:{tag}")).ok();
        assert_eq!(architecture(tag), here);
        scene
            .run(&format!("pull --platform linux/arm64/v8 {name}:{tag}"))
            .ok();
        assert_eq!(architecture(tag), "arm64");
        scene
            .run(&format!("pull --platform linux/s390x {name}:{tag}"))
            .fails(
                1,
                "no matching manifest for linux/s390x in the manifest list entries",
            );
    }
    // The name's digest is the index's.
    let digests = scene
        .run(&format!("image inspect -f {{{{.RepoDigests}}}} {name}:oci"))
        .ok();
    assert!(
        digests.contains(&format!("{name}@{index_digest}")),
        "{digests}"
    );
    scene.run(&format!("rmi {name}:oci {name}:list")).ok();
}

fn r05(scene: &Scene) {
    let registry = registry(scene, "registry");
    let ours = local(scene, "first");
    let name = format!("{}/first", registry.address);
    scene.run(&format!("tag {ours} {name}")).ok();
    scene.run(&format!("push {name}")).ok();
    scene.run(&format!("rmi {ours} {name}")).ok();
    scene
        .run(&format!("run --rm --pull never {name} cat /name"))
        .fails(125, &format!("No such image: {name}"));
    let output = scene.run(&format!("run --rm {name} cat /name"));
    assert_eq!(output.ok(), scene.name("first"));
    assert!(
        output
            .stderr
            .starts_with(&format!("Unable to find image '{name}:latest' locally\n")),
        "{output}"
    );
    assert!(output.stderr.contains("Status: Downloaded newer image for"));
    let output = scene.run(&format!(
        "create --name %made --pull always {name} cat /name"
    ));
    output.ok();
    assert!(
        format!("{}{}", output.stderr, output.stdout).contains("Image is up to date"),
        "{output}"
    );
    scene.run("rm %made").ok();
    let missing = format!("{}/missing", registry.address);
    scene.run(&format!("run --rm {missing} true")).fails(
        125,
        &format!("manifest for {missing}:latest not found: manifest unknown: manifest unknown"),
    );
    scene.run(&format!("rmi {name}")).ok();
}

fn r06(scene: &Scene) {
    for ranges in [true, false] {
        let what = if ranges { "ranges" } else { "no-ranges" };
        let stream = tar(scene, what);
        let layer = pipe("gzip", &["-1c"], &stream);
        let sha = digest(&layer);
        assert!(layer.len() > 100_000);
        let fake = breaking(Image::new(&stream, &layer, GZIP), ranges);
        let name = format!("{}/x", fake.address);
        let pulled = scene.run(&format!("pull {name}")).ok();
        assert!(pulled.contains(": Pull complete"), "{pulled}");
        assert_eq!(
            scene.run(&format!("run --rm {name} cat /name")).ok(),
            scene.name(what)
        );
        scene.run(&format!("rmi {name}")).ok();
        let asked: Vec<String> = fake
            .asked()
            .into_iter()
            .filter(|line| line.contains(&sha))
            .map(|line| line.rsplit(' ').next().unwrap().to_owned())
            .collect();
        if ranges {
            assert_eq!(
                asked,
                ["", "bytes=30000-", "bytes=30000-", "bytes=50000-"],
                "each byte once"
            );
        } else {
            assert_eq!(asked, ["", "bytes=30000-"]);
        }
    }
}

/// A registry that breaks off twice and fails once in between, or one that knows no ranges and breaks off once.
fn breaking(image: Image, ranges: bool) -> Fake {
    let sha = digest(&image.layer);
    Fake::start(move |asked| {
        if asked.path == "/v2/" {
            return Reply::new(200, "{}");
        }
        if !asked.path.ends_with(&sha) {
            return image.answer(asked);
        }
        let all = &image.layer;
        let cut = |bytes, reply| Reply {
            cut: Some(bytes),
            ..reply
        };
        match (ranges, asked.before) {
            (_, 0) => cut(30_000, Reply::new(200, all.clone())),
            (true, 1) => Reply::new(503, "later"),
            (true, 2) => cut(20_000, Reply::part(asked, all)),
            (true, _) => Reply::part(asked, all),
            (false, _) => Reply::new(200, all.clone()),
        }
    })
}

fn r07(scene: &Scene) {
    let stream = tar(scene, "lies");
    let layer = pipe("gzip", &["-1c"], &stream);
    let image = Image::new(&stream, &layer, GZIP);
    let sha = digest(&layer);
    let fake = {
        let (image, sha) = (image.clone(), sha.clone());
        Fake::start(move |asked| {
            if asked.path == "/v2/" {
                return Reply::new(200, "{}");
            }
            let repository = asked.path.split('/').nth(2).unwrap_or_default();
            let is_layer = asked.path.ends_with(&sha);
            let is_manifest = asked.path.contains("/manifests/");
            let mut manifest = image.manifest.clone();
            let changed = |manifest: serde_json::Value| {
                Reply::new(200, manifest.to_string())
                    .with("Content-Type", "application/vnd.oci.image.manifest.v1+json")
            };
            match repository {
                "digest" if is_layer => {
                    let mut bytes = image.layer.clone();
                    let last = bytes.len() - 1;
                    bytes[last] ^= 1;
                    Reply::new(200, bytes)
                }
                "short" if is_layer => Reply::new(200, &image.layer[..1000]),
                "long" if is_layer => Reply::new(200, [image.layer.as_slice(), b"more"].concat()),
                "gone" if is_layer => Reply::new(
                    404,
                    r#"{"errors":[{"code":"BLOB_UNKNOWN","message":"blob unknown to registry"}]}"#,
                ),
                "broken" if is_layer => Reply::new(500, "no"),
                "down" if is_manifest => Reply::new(500, "no"),
                "foreign" if is_manifest => {
                    manifest["layers"][0]["mediaType"] =
                        json!("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip");
                    changed(manifest)
                }
                "schema1" if is_manifest => Reply::new(200, r#"{"schemaVersion":1,"fsLayers":[]}"#)
                    .with(
                        "Content-Type",
                        "application/vnd.docker.distribution.manifest.v1+prettyjws",
                    ),
                "giant" if is_manifest => Reply::new(200, vec![b' '; (4 << 20) + 1]),
                "diffid" if is_manifest => {
                    // The layer is what the manifest says, and not what the configuration says.
                    let other = Image::new(b"another stream", &image.layer, GZIP);
                    changed(other.manifest)
                }
                "diffid" if !is_layer => Reply::new(
                    200,
                    Image::new(b"another stream", &image.layer, GZIP).config,
                ),
                "nonsense" if is_manifest => Reply::new(200, "<html>"),
                "denied" if is_manifest => Reply::new(
                    403,
                    r#"{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}"#,
                ),
                "said" if is_manifest => {
                    changed(manifest).with("Docker-Content-Digest", digest(b"something else"))
                }
                _ => image.answer(asked),
            }
        })
    };
    for (repository, words) in [
        (
            "digest",
            format!("filesystem layer verification failed for digest {sha}"),
        ),
        (
            "short",
            format!(
                "{sha} does not have its size: expected {}, got 1000",
                layer.len()
            ),
        ),
        ("long", format!("{sha} does not have its size")),
        ("gone", "blob unknown: blob unknown to registry".to_owned()),
        (
            "broken",
            "gave up after 5 attempts: received unexpected HTTP status: 500".to_owned(),
        ),
        ("down", "received unexpected HTTP status: 500".to_owned()),
        ("foreign", "may not be distributed".to_owned()),
        ("schema1", "schema 1, which is not supported".to_owned()),
        ("giant", "is larger than 4194304 bytes".to_owned()),
        ("diffid", "invalid diffID for layer".to_owned()),
        ("nonsense", "an answer that cannot be understood".to_owned()),
        ("said", "does not have its digest".to_owned()),
    ] {
        let name = format!("{}/{repository}", fake.address);
        let output = scene.run(&format!("pull {name}"));
        output.fails(1, &words);
        scene
            .run(&format!("image inspect {name}"))
            .fails(1, "No such image");
    }
    let name = format!("{}/denied", fake.address);
    scene.run(&format!("pull {name}")).fails(
        1,
        &format!("pull access denied for {name}, repository does not exist or may require 'docker login': denied: requested access to the resource is denied"),
    );
    // Nothing of all this stayed in the way of the truth.
    let name = format!("{}/truth", fake.address);
    scene.run(&format!("pull {name}")).ok();
    assert_eq!(
        scene.run(&format!("run --rm {name} cat /name")).ok(),
        scene.name("lies")
    );
    scene.run(&format!("rmi {name}")).ok();
}

fn r09(scene: &Scene) {
    let registry = registry(scene, "registry");
    let ours = local(scene, "found");
    let name = format!("{}/team/found", registry.address);
    scene.run(&format!("tag {ours} {name}")).ok();
    scene.run(&format!("push {name}")).ok();
    let table = scene.run(&format!("search {}/foun", registry.address)).ok();
    assert!(
        table.starts_with("NAME ") && table.contains(&name),
        "{table}"
    );
    let found = Fake::start(|asked| {
        if asked.path.starts_with("/v1/search?q=thing") {
            Reply::new(
                200,
                r#"{"results":[{"name":"a/thing","description":"one","star_count":7,"is_official":true},{"name":"b/thing","description":"two","star_count":1}]}"#,
            )
        } else if asked.path == "/v2/" {
            Reply::new(200, "{}")
        } else {
            Reply::new(404, "")
        }
    });
    let table = scene
        .run(&format!("search --filter stars=3 {}/thing", found.address))
        .ok();
    assert!(
        table.contains("a/thing") && table.contains("[OK]") && !table.contains("b/thing"),
        "{table}"
    );
    scene
        .run(&format!("search {}/other", found.address))
        .fails(1, "neither a search nor a catalogue");
    scene
        .run(&format!("push {}/nothing", registry.address))
        .fails(
            1,
            &format!(
                "An image does not exist locally with the tag: {}/nothing",
                registry.address
            ),
        );
    scene
        .run(&format!("push {name}:nothing"))
        .fails(1, &format!("tag does not exist: {name}:nothing"));
    scene.run(&format!("pull {name}:nothing")).fails(
        1,
        &format!("manifest for {name}:nothing not found: manifest unknown: manifest unknown"),
    );
    let address = registry.address.clone();
    scene.run(&format!("rmi {ours} {name}")).ok();
    drop(registry);
    scene.run(&format!("pull {address}/x")).fails(
        1,
        &format!("Get \"http://{address}/v2/\": dial tcp {address}: connect: connection refused"),
    );
    scene.run("pull Upper/Case").fails(1, "must be lowercase");
}

fn r10(scene: &Scene) {
    let registry = registry(scene, "registry");
    let ours = local(scene, "mirrored");
    let name = format!("{}/library/mirrored", registry.address);
    scene.run(&format!("tag {ours} {name}")).ok();
    scene.run(&format!("push {name}")).ok();
    let sha = repo_digest(scene, &name);
    scene.run(&format!("rmi {ours} {name}")).ok();
    let mut engine = Engine::new(&scene.name("mirrors"));
    // The first one is gone; that the second one helps needs no word to anybody.
    fs::write(
        engine.root.join("daemon.json"),
        json!({ "registry-mirrors": ["http://127.0.0.1:1", format!("http://{}", registry.address)] })
            .to_string(),
    )
    .unwrap();
    engine.resume();
    let run = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        scene.client.run(&engine, &words)
    };
    let pulled = run("pull mirrored").ok();
    assert!(
        pulled.contains("latest: Pulling from library/mirrored")
            && pulled.ends_with("docker.io/library/mirrored:latest"),
        "{pulled}"
    );
    let digests = run("image inspect -f {{.RepoDigests}} mirrored").ok();
    assert_eq!(digests, format!("[mirrored@{sha}]"));
}

fn r12(scene: &Scene) {
    let stream = tar(scene, "shared");
    let layer = pipe("gzip", &["-1c"], &stream);
    let image = Image::new(&stream, &layer, GZIP);
    let sha = digest(&layer);
    let fake = Fake::start(move |asked| {
        if asked.path == "/v2/" {
            Reply::new(200, "{}")
        } else {
            image.answer(asked)
        }
    });
    let name = format!("{}/x", fake.address);
    let pulls: Vec<_> = (0..4)
        .map(|number| scene.start(&format!("pull {name}:{number}")))
        .collect();
    for pull in pulls {
        pull.finish().ok();
    }
    let times = fake
        .asked()
        .iter()
        .filter(|line| line.contains(&sha))
        .count();
    assert_eq!(times, 1, "one of them fetches the layer, for all");
    for number in 0..4 {
        scene.run(&format!("rmi {name}:{number}")).ok();
    }
}
