//! Images that are made to fill the disk, and disks that are full: refused clearly, and nothing is left.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::json;
use testkit::{Engine, Output};

use super::fake_registry::{Fake, Image, Reply, pipe};
use super::registry::GZIP;
use super::{Scenario, Scene, host};

pub(super) const OWN: &[Scenario] = &[
    ("g01_bombs", g01),
    ("g02_full_disks", g02),
    ("g03_more_than_a_layer_may_unpack_to", g03),
];

/// An engine on a small filesystem of its own.
struct Place {
    engine: Option<Engine>,
    image: PathBuf,
    root: PathBuf,
}

impl Place {
    fn new(name: &str, megabytes: u64) -> Self {
        let mut engine = Engine::new(name);
        let root = engine.root.clone();
        let image = root.with_extension("image");
        fs::File::create(&image)
            .unwrap()
            .set_len(megabytes << 20)
            .unwrap();
        let path = image.to_str().unwrap();
        host("mkfs.ext4", &["-q", "-m", "0", path]);
        host("mount", &["-o", "loop", path, root.to_str().unwrap()]);
        engine.resume();
        engine.load_busybox();
        Self {
            engine: Some(engine),
            image,
            root,
        }
    }

    fn engine(&self) -> &Engine {
        self.engine.as_ref().unwrap()
    }

    fn run(&self, scene: &Scene, words: &[&str]) -> Output {
        let mut command = scene.client.command(self.engine(), words);
        let output = command
            .env("DOCKER_BUILDKIT", "0")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        Output {
            command: words.join(" "),
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Bytes that are free.
    fn free(&self) -> u64 {
        let disk = rustix::fs::statvfs(&self.root).unwrap();
        disk.f_bavail * disk.f_frsize
    }

    /// Everything that is there for images and builds.
    fn things(&self) -> Vec<PathBuf> {
        let mut things: Vec<PathBuf> = ["layers", "staging", "containers", "downloads"]
            .iter()
            .filter_map(|name| fs::read_dir(self.root.join(name)).ok())
            .flatten()
            .map(|entry| entry.unwrap().path())
            .collect();
        things.sort();
        things
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(self.engine.take());
        if !std::thread::panicking() {
            host("umount", &[self.root.to_str().unwrap()]);
            fs::remove_dir(&self.root).unwrap();
            fs::remove_file(&self.image).unwrap();
        }
    }
}

/// A tar stream with one file of so many megabytes of zeros, compressed by `program`.
fn zeros(megabytes: u64, program: &str) -> Vec<u8> {
    let script = format!(
        "d=$(mktemp -d); head -c {megabytes}M /dev/zero > $d/zeros; tar -C $d -cf - zeros | {program}; rm -r $d"
    );
    pipe("sh", &["-c", &script], b"")
}

/// An image with this layer.
fn registry_of(layer: &[u8]) -> Fake {
    let stream = pipe("gzip", &["-dc"], layer);
    let image = Image::new(&stream, layer, GZIP);
    Fake::start(move |asked| {
        if asked.path == "/v2/" {
            return Reply::new(200, "{}");
        }
        let mut manifest = image.manifest.clone();
        let changed = |manifest: &serde_json::Value| {
            Reply::new(200, manifest.to_string())
                .with("Content-Type", "application/vnd.oci.image.manifest.v1+json")
        };
        let is_manifest = asked.path.contains("/manifests/");
        match asked.path.split('/').nth(2).unwrap_or_default() {
            "deep" if is_manifest => {
                let layer = manifest["layers"][0].clone();
                manifest["layers"] = json!(vec![layer; 128]);
                changed(&manifest)
            }
            "endless" if is_manifest => {
                manifest["layers"][0]["size"] = json!(u64::MAX);
                changed(&manifest)
            }
            "large" if is_manifest => {
                manifest["layers"][0]["size"] = json!(1_u64 << 50);
                changed(&manifest)
            }
            "talkative" if is_manifest => {
                manifest["config"]["size"] = json!(5 << 20);
                changed(&manifest)
            }
            "giant" if is_manifest => Reply::new(200, vec![b' '; (4 << 20) + 1]),
            _ => image.answer(asked),
        }
    })
}

fn g01(scene: &Scene) {
    let place = Place::new("bombs", 200);
    let (before, free) = (place.things(), place.free());
    let bomb = zeros(300, "gzip -c");
    assert!(bomb.len() < 2 << 20);
    let fake = registry_of(&bomb);
    let run = |words: &[&str]| {
        let output = place.run(scene, words);
        assert_eq!(place.things(), before, "something stayed: {output}");
        let lost = free.saturating_sub(place.free());
        assert!(lost < 4 << 20, "{lost} bytes are gone: {output}");
        output
    };
    for (repository, why) in [
        ("bomb", "bytes that are free: no space left on device"),
        ("deep", "max depth exceeded"),
        ("endless", "impossible size"),
        ("large", "does not fit on the disk"),
        ("talkative", "the configuration of"),
        ("giant", "is larger than 4194304 bytes"),
    ] {
        let name = format!("{}/{repository}", fake.address);
        run(&["pull", &name]).fails(1, why);
    }
    // The same from a file: as the archive itself, and as a layer in it.
    let scratch = scene.directory("bombs");
    let whole = scratch.join("whole.tar.xz");
    fs::write(&whole, zeros(300, "xz -0c")).unwrap();
    let whole = whole.to_str().unwrap();
    run(&["load", "-i", whole]).fails(1, "bytes that are free: no space left on device");
    run(&["import", whole, "x"]).fails(1, "bytes that are free: no space left on device");
    let layout = layout(&scratch, &bomb);
    run(&["load", "-i", &layout]).fails(1, "bytes that are free: no space left on device");
    // And in a build.
    let context = scene.directory("bomb-build");
    fs::copy(whole, context.join("whole.tar.xz")).unwrap();
    fs::write(
        context.join("Dockerfile"),
        "FROM busybox\nADD whole.tar.xz /\n",
    )
    .unwrap();
    run(&["build", context.to_str().unwrap()])
        .fails(1, "bytes that are free: no space left on device");
    drop(fs::remove_dir_all(scratch));
}

/// There is room for it, and yet it is more than two hundred times its size and a gigabyte.
fn g03(scene: &Scene) {
    let mut engine = Engine::new(&scene.name("ratio"));
    let root = engine.root.to_str().unwrap().to_owned();
    host("mount", &["-t", "tmpfs", "-o", "size=4g", "tmpfs", &root]);
    engine.resume();
    // Streams of gzip are one stream when they follow each other.
    let head = "d=$(mktemp -d); truncate -s 1500M $d/zeros; tar -C $d -cf - zeros | head -c 512 | gzip -c; rm -r $d";
    let mut bomb = pipe("sh", &["-c", head], b"");
    let zeros = pipe("sh", &["-c", "head -c 100M /dev/zero | gzip -c"], b"");
    for _ in 0..15 {
        bomb.extend_from_slice(&zeros);
    }
    let bound = bomb.len() * 200 + (1 << 30);
    assert!(bound < 1500 << 20);
    // Nobody gets as far as to find out that the stream is another one.
    let image = Image::new(b"not this", &bomb, GZIP);
    let fake = Fake::start(move |asked| match asked.path.as_str() {
        "/v2/" => Reply::new(200, "{}"),
        _ => image.answer(asked),
    });
    let name = format!("{}/x", fake.address);
    scene.client.run(&engine, &["pull", &name]).fails(
        1,
        &format!(
            "unpacks to more than {bound} bytes, which is too much for its {} compressed ones",
            bomb.len()
        ),
    );
    for directory in ["layers", "staging", "downloads"] {
        let left = fs::read_dir(engine.root.join(directory)).unwrap().count();
        assert_eq!(left, 0, "{directory}");
    }
    drop(engine);
    host("umount", &[&root]);
    fs::remove_dir(&root).unwrap();
}

/// A docker archive of an image with this layer.
fn layout(scratch: &Path, layer: &[u8]) -> String {
    let directory = scratch.join("layout");
    fs::create_dir_all(&directory).unwrap();
    let image = Image::new(&pipe("gzip", &["-dc"], layer), layer, GZIP);
    fs::write(directory.join("layer.tar"), layer).unwrap();
    fs::write(directory.join("config.json"), &image.config).unwrap();
    let manifest =
        json!([{ "Config": "config.json", "RepoTags": ["x:1"], "Layers": ["layer.tar"] }]);
    fs::write(directory.join("manifest.json"), manifest.to_string()).unwrap();
    let file = scratch.join("layout.tar");
    let file = file.to_str().unwrap().to_owned();
    host(
        "tar",
        &["-C", directory.to_str().unwrap(), "-cf", &file, "."],
    );
    file
}

fn g02(scene: &Scene) {
    let place = Place::new("full", 320);
    let before = place.things();
    let scratch = scene.directory("full");
    let noise = scratch.join("noise");
    host(
        "sh",
        &[
            "-c",
            &format!("head -c 60M /dev/urandom > {}", noise.display()),
        ],
    );
    let stream = pipe(
        "tar",
        &["-C", scratch.to_str().unwrap(), "-cf", "-", "noise"],
        b"",
    );
    let layer = pipe("gzip", &["-1c"], &stream);
    let fake = registry_of(&layer);
    let name = format!("{}/x", fake.address);
    let plain = scratch.join("noise.tar");
    fs::write(&plain, &stream).unwrap();
    let archive = layout(&scratch, &layer);
    let context = scene.directory("full-build");
    fs::write(
        context.join("Dockerfile"),
        "FROM busybox\nRUN dd if=/dev/zero of=/zeros bs=1M count=500\n",
    )
    .unwrap();
    let copying = scene.directory("full-copy");
    fs::copy(&noise, copying.join("noise")).unwrap();
    fs::write(
        copying.join("Dockerfile"),
        "FROM busybox\nCOPY noise /\nCOPY noise /again\nCOPY noise /and-again\n",
    )
    .unwrap();
    let run = |words: &[&str]| {
        let output = place.run(scene, words);
        assert!(output.code != 0, "{output}");
        assert!(
            format!("{}{}", output.stdout, output.stderr)
                .to_lowercase()
                .contains("no space left on device"),
            "{output}"
        );
        assert_eq!(place.things(), before, "something stayed: {output}");
    };
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    run(&["build", &text(&context)]);
    // What was copied before the disk was full is remembered, as after any build that fails.
    let output = place.run(scene, &["build", &text(&copying)]);
    output.fails(1, "no space left on device");
    place.run(scene, &["builder", "prune", "-af"]).ok();
    assert_eq!(place.things(), before);
    // Less is left than what would have to stay.
    let ballast = place.root.join("ballast");
    let size = place.free() - (90 << 20);
    let size = size.to_string();
    host("fallocate", &["-l", &size, ballast.to_str().unwrap()]);
    run(&["pull", &name]);
    run(&["load", "-i", &archive]);
    run(&["import", &text(&plain), "x"]);
    run(&["build", &text(&copying)]);
    fs::remove_file(ballast).unwrap();
    // With room again all of it works.
    place.run(scene, &["pull", &name]).ok();
    place.run(scene, &["rmi", &name]).ok();
    assert_eq!(place.things(), before);
    drop(fs::remove_dir_all(scratch));
}
