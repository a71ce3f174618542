//! Downloads that are cut off, by whom it may be: what came is kept, continued and checked, and goes when nobody wants it.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, SystemTime};

use serde_json::json;
use testkit::{Engine, Output, Running};

use super::fake_registry::{Asked, Fake, Image, Reply, digest, pipe};
use super::registry::{GZIP, local, tar};
use super::{Scenario, Scene};

pub(super) const SCENARIOS: &[Scenario] = &[
    ("d01_the_client_leaves", d01),
    ("d02_the_engine_is_killed", d02),
    ("d03_the_registry_dies", d03),
    ("d04_nobody_goes_on", d04),
    ("d05_registries_that_say_nothing", d05),
    ("d06_a_push_ends_with_its_client", d06),
    ("d07_layers_of_a_removed_image_go_after_a_pull", d07),
];

/// Bytes of the upper layer that come before the registry does what it is told.
const CUT: usize = 50_000;

/// What becomes of the upper layer's connection.
const HONEST: usize = 0;
const HOLDS: usize = 1;
const BREAKS: usize = 2;
const WITHOUT_RANGES: usize = 3;

/// An image of two layers, and a registry that has it.
struct Stack {
    fake: Fake,
    lower: String,
    upper: String,
    size: usize,
    manner: Arc<AtomicUsize>,
}

impl Stack {
    fn new(scene: &Scene, name: &str) -> Self {
        let streams = [
            tar(scene, &format!("{name}-lower")),
            tar(scene, &format!("{name}-upper")),
        ];
        let layers = streams
            .clone()
            .map(|stream| pipe("gzip", &["-1c"], &stream));
        let mut image = Image::new(&streams[0], &layers[0], GZIP);
        let mut config: serde_json::Value = serde_json::from_slice(&image.config).unwrap();
        config["rootfs"]["diff_ids"] = json!([digest(&streams[0]), digest(&streams[1])]);
        image.config = config.to_string().into_bytes();
        image.manifest["config"]["digest"] = json!(digest(&image.config));
        image.manifest["config"]["size"] = json!(image.config.len());
        image.manifest["layers"] = layers
            .iter()
            .map(|layer| json!({ "mediaType": GZIP, "digest": digest(layer), "size": layer.len() }))
            .collect();
        let [lower, upper] = [digest(&layers[0]), digest(&layers[1])];
        let manner = Arc::new(AtomicUsize::new(HOLDS));
        let size = layers[1].len();
        let fake = {
            let (lower, upper, manner) = (lower.clone(), upper.clone(), Arc::clone(&manner));
            Fake::start(move |asked| match asked.path.as_str() {
                "/v2/" => Reply::new(200, "{}"),
                path if path.ends_with(&lower) => Reply::new(200, layers[0].clone()),
                path if path.ends_with(&upper) => {
                    of_manner(manner.load(Ordering::SeqCst), asked, &layers[1])
                }
                _ => image.answer(asked),
            })
        };
        Self {
            fake,
            lower,
            upper,
            size,
            manner,
        }
    }

    fn name(&self) -> String {
        format!("{}/x", self.fake.address)
    }

    fn behave(&self, manner: usize) {
        self.manner.store(manner, Ordering::SeqCst);
    }

    /// Ranges in which a blob was asked for.
    fn asked(&self, digest: &str) -> Vec<String> {
        let asked = self.fake.asked();
        asked
            .iter()
            .filter(|line| line.contains(digest))
            .map(|line| line.rsplit(' ').next().unwrap().to_owned())
            .collect()
    }

    /// Where an engine keeps what it has of a layer.
    fn kept(&self, engine: &Engine, digest: &str) -> PathBuf {
        let hex = digest.strip_prefix("sha256:").unwrap();
        engine.root.join("downloads").join(hex)
    }

    /// Begins to pull until the lower layer is complete, and the upper one as far as it comes.
    fn pull_until_it_stalls(&self, scene: &Scene, engine: &Engine) -> Running {
        let mut command = scene.client.command(engine, &["pull", &self.name()]);
        let pull = Running::start(&mut command);
        pull.expect(": Pull complete");
        testkit::until("a part of the upper layer is there", || {
            let kept = fs::metadata(self.kept(engine, &self.upper)).ok()?;
            (kept.len() == CUT as u64).then_some(())
        });
        pull
    }

    /// Pulls what is missing; the image is what it should be, and nothing is kept any more.
    fn pull_the_rest(&self, scene: &Scene, engine: &Engine, name: &str) {
        let run = |words: &[&str]| scene.client.run(engine, words);
        run(&["pull", &self.name()]).ok();
        assert_eq!(
            run(&["run", "--rm", &self.name(), "cat", "/name"]).ok(),
            scene.name(&format!("{name}-upper"))
        );
        run(&["rmi", &self.name()]).ok();
        for digest in [&self.lower, &self.upper] {
            assert!(!self.kept(engine, digest).exists());
        }
    }
}

fn of_manner(manner: usize, asked: &Asked, layer: &[u8]) -> Reply {
    match manner {
        HONEST => Reply::part(asked, layer),
        WITHOUT_RANGES => Reply::new(200, layer),
        BREAKS if asked.before > 0 => Reply::new(503, "gone"),
        _ => Reply {
            cut: Some(CUT),
            hold: manner == HOLDS,
            ..Reply::new(200, layer)
        },
    }
}

const REST: &str = "bytes=50000-";

fn d01(scene: &Scene) {
    // Of its own: what others build keeps layers of a removed image until they are done.
    let engine = Engine::start(&scene.name("leaves"));
    let stack = Stack::new(scene, "left");
    drop(stack.pull_until_it_stalls(scene, &engine));
    stack.behave(HONEST);
    stack.pull_the_rest(scene, &engine, "left");
    assert_eq!(stack.asked(&stack.lower), [""], "it was complete");
    assert_eq!(stack.asked(&stack.upper), ["", REST], "each byte once");
    // A registry that does not know parts sends all of it.
    stack.behave(HOLDS);
    drop(stack.pull_until_it_stalls(scene, &engine));
    stack.behave(WITHOUT_RANGES);
    stack.pull_the_rest(scene, &engine, "left");
    assert_eq!(stack.asked(&stack.upper)[2..], ["", REST]);
}

fn d02(scene: &Scene) {
    let mut engine = Engine::start(&scene.name("killed"));
    let layers = |engine: &Engine| fs::read_dir(engine.root.join("layers")).unwrap().count();
    let stack = Stack::new(scene, "killed");
    let none = layers(&engine);
    let pull = stack.pull_until_it_stalls(scene, &engine);
    engine.kill();
    assert_ne!(pull.finish().code, 0);
    engine.resume();
    assert_eq!(layers(&engine), none, "no layer is half there");
    stack.behave(HONEST);
    stack.pull_the_rest(scene, &engine, "killed");
    assert_eq!(stack.asked(&stack.lower), [""], "it was complete");
    assert_eq!(stack.asked(&stack.upper), ["", REST]);
    // What a crash of the machine has made of the part is found out, and costs another download.
    for spoil in [
        |part: &mut Vec<u8>| part[100] ^= 1,
        |part: &mut Vec<u8>| part[CUT - 100..].fill(0),
        |part: &mut Vec<u8>| part.resize(8 << 20, 0),
    ] {
        stack.behave(HOLDS);
        let before = stack.asked(&stack.upper).len();
        let pull = stack.pull_until_it_stalls(scene, &engine);
        engine.kill();
        assert_ne!(pull.finish().code, 0);
        let kept = stack.kept(&engine, &stack.upper);
        let mut part = fs::read(&kept).unwrap();
        spoil(&mut part);
        fs::write(&kept, &part).unwrap();
        engine.resume();
        stack.behave(HONEST);
        stack.pull_the_rest(scene, &engine, "killed");
        let expected = if part.len() < stack.size {
            &["", REST, ""][..]
        } else {
            &["", ""]
        };
        assert_eq!(&stack.asked(&stack.upper)[before..], expected);
    }
}

fn d03(scene: &Scene) {
    let stack = Stack::new(scene, "dies");
    stack.behave(BREAKS);
    scene
        .run(&format!("pull {}", stack.name()))
        .fails(1, "gave up after");
    let before = stack.asked(&stack.upper).len();
    stack.behave(HONEST);
    stack.pull_the_rest(scene, &scene.engine, "dies");
    assert_eq!(stack.asked(&stack.lower), [""], "it was complete");
    assert_eq!(stack.asked(&stack.upper)[before..], [REST]);
}

fn d04(scene: &Scene) {
    let mut engine = Engine::start(&scene.name("waits"));
    let stack = Stack::new(scene, "waits");
    let run = |engine: &Engine, line: &str| -> Output {
        let words: Vec<&str> = line.split_whitespace().collect();
        scene.client.run(engine, &words)
    };
    let files = |engine: &Engine| fs::read_dir(engine.root.join("downloads")).unwrap().count();
    let left = |engine: &Engine| {
        drop(stack.pull_until_it_stalls(scene, engine));
        // It lets go of the layers before it has gone.
        testkit::until("the pull has ended", || {
            let layers = fs::read_dir(engine.root.join("layers")).unwrap().count();
            (layers == 0).then_some(())
        });
        assert_eq!(files(engine), 2);
    };
    left(&engine);
    let usage = run(&engine, "system df").ok();
    assert!(
        !usage.contains("Images          0         0         0B"),
        "{usage}"
    );
    // What is asked for by label or age is not this.
    run(&engine, "image prune -f --filter label=x").ok();
    run(&engine, "image prune -f --filter until=24h").ok();
    assert_eq!(files(&engine), 2);
    let pruned = run(&engine, "image prune -f").ok();
    assert!(!pruned.contains("reclaimed space: 0B"), "{pruned}");
    assert_eq!(files(&engine), 0);
    left(&engine);
    run(&engine, "system prune -f").ok();
    assert_eq!(files(&engine), 0);
    // A day later.
    left(&engine);
    let age = |path: PathBuf, hours: u64| {
        let then = SystemTime::now() - Duration::from_secs(hours * 3600);
        let file = fs::File::options().write(true).open(path).unwrap();
        file.set_modified(then).unwrap();
    };
    age(stack.kept(&engine, &stack.lower), 23);
    age(stack.kept(&engine, &stack.upper), 25);
    engine.kill();
    engine.resume();
    assert!(stack.kept(&engine, &stack.lower).exists());
    assert!(!stack.kept(&engine, &stack.upper).exists());
    // More than may be kept: the oldest goes.
    let large = engine.root.join("downloads").join("0".repeat(64));
    fs::File::create(&large).unwrap().set_len(10 << 30).unwrap();
    engine.kill();
    engine.resume();
    assert!(large.exists() && !stack.kept(&engine, &stack.lower).exists());
    run(&engine, "image prune -f").ok();
    assert_eq!(files(&engine), 0);
    // What images share is counted when the last of them goes, and not needed by nobody.
    stack.behave(HONEST);
    run(&engine, &format!("pull {}", stack.name())).ok();
    run(&engine, &format!("create --name one {}", stack.name())).ok();
    run(&engine, "commit one two").ok();
    let reclaimable = |engine: &Engine| {
        let rows = run(engine, "system df --format {{.Type}}:{{.Reclaimable}}").ok();
        rows.lines().next().unwrap().to_owned()
    };
    if scene.client == testkit::Client::Orlop {
        // Docker's client does not count layers that the other image has, too.
        assert!(!reclaimable(&engine).ends_with("(100%)"));
    }
    run(&engine, "rm one").ok();
    assert!(reclaimable(&engine).ends_with("(100%)"));
    let pruned = run(&engine, "image prune -af").ok();
    assert!(pruned.trim_end().ends_with("MB"), "{pruned}");
}

/// A registry that takes a request and does not answer it until the test has ended.
#[derive(Default)]
struct Silence {
    ended: Mutex<bool>,
    news: Condvar,
}

impl Silence {
    fn wait(&self) -> Reply {
        let ended = self.ended.lock().unwrap();
        drop(self.news.wait_while(ended, |ended| !*ended).unwrap());
        Reply::new(500, "late")
    }

    fn end(&self) {
        *self.ended.lock().unwrap() = true;
        self.news.notify_all();
    }
}

fn d05(scene: &Scene) {
    let stream = tar(scene, "silent");
    let layer = pipe("gzip", &["-1c"], &stream);
    let image = Image::new(&stream, &layer, GZIP);
    let sha = digest(&layer);
    let silence: Arc<Silence> = Arc::default();
    let fake = {
        let (sha, silence) = (sha.clone(), Arc::clone(&silence));
        Fake::start(move |asked| match asked.path.as_str() {
            "/v2/" => Reply::new(200, "{}"),
            path if path.ends_with(&sha) && asked.before == 0 => silence.wait(),
            _ => image.answer(asked),
        })
    };
    let name = format!("{}/x", fake.address);
    let pull = scene.start(&format!("pull {name}"));
    testkit::until("the layer was asked for", || {
        fake.asked()
            .iter()
            .any(|line| line.contains(&sha))
            .then_some(())
    });
    drop(pull);
    // Whoever wants the same layer has to wait for the first one to let go of it.
    scene.run(&format!("pull {name}")).ok();
    assert!(!*silence.ended.lock().unwrap());
    assert_eq!(
        scene.run(&format!("run --rm {name} cat /name")).ok(),
        scene.name("silent")
    );
    silence.end();
    scene.run(&format!("rmi {name}")).ok();
}

fn d06(scene: &Scene) {
    let engine = Engine::start(&scene.name("push"));
    let silence: Arc<Silence> = Arc::default();
    let fake = {
        let silence = Arc::clone(&silence);
        Fake::start(move |asked| match asked.path.as_str() {
            "/v2/" => Reply::new(200, "{}"),
            "/v2/x/blobs/uploads/" => Reply::new(202, "").with("Location", "/v2/x/place"),
            "/v2/x/place" => silence.wait(),
            _ => Reply::new(404, ""),
        })
    };
    let ours = local(scene, "pushed");
    let saved = scene.directory("tars").join("pushed-saved.tar");
    scene
        .run_and("save -o", &[saved.to_str().unwrap(), &ours])
        .ok();
    let run = |words: &[&str]| scene.client.run(&engine, words);
    run(&["load", "-i", saved.to_str().unwrap()]).ok();
    let name = format!("{}/x", fake.address);
    run(&["tag", &ours, &name]).ok();
    let staged = || fs::read_dir(engine.root.join("staging")).unwrap().count();
    let push = Running::start(&mut scene.client.command(&engine, &["push", &name]));
    testkit::until("the layer is being sent", || {
        let asked = fake.asked();
        asked
            .iter()
            .any(|line| line.starts_with("/v2/x/place"))
            .then_some(())
    });
    assert_eq!(staged(), 1, "the layer was compressed");
    drop(push);
    testkit::until("the push has ended", || (staged() == 0).then_some(()));
    assert!(!*silence.ended.lock().unwrap());
    silence.end();
    scene.run(&format!("rmi {ours}")).ok();
}

fn d07(scene: &Scene) {
    let engine = Engine::start(&scene.name("sweeps"));
    let layers = || fs::read_dir(engine.root.join("layers")).unwrap().count();
    let none = layers();
    let stack = Stack::new(scene, "sweeps");
    let pull = stack.pull_until_it_stalls(scene, &engine);
    let pulled = layers();
    let archive = scene.directory("sweeps").join("image.tar");
    fs::write(&archive, tar(scene, "sweeps-other")).unwrap();
    let run = |words: &[&str]| scene.client.run(&engine, words);
    run(&["import", archive.to_str().unwrap(), "other"]).ok();
    run(&["rmi", "other"]).ok();
    assert_eq!(layers(), pulled + 1, "the pull may count on any layer");
    drop(pull);
    testkit::until("no layer is left", || (layers() == none).then_some(()));
}
