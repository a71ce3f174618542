//! Every call against a plugin that behaves, hangs, dies, lies, comes late, or is another one.

#![allow(
    clippy::disallowed_methods,
    reason = "tests make their own scratch files"
)]
#![expect(clippy::unwrap_used, reason = "a test may panic")]
#![expect(
    clippy::tests_outside_test_module,
    reason = "the whole program is a test"
)]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use testkit::{Behaviour, FakePlugin, until};
use volume_plugins::{Patience, PluginError, Plugins, Scope, Settings};

struct Scratch {
    root: PathBuf,
}

impl Scratch {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let root = std::env::temp_dir().join(format!("orlop-calls-{}-{count}", std::process::id()));
        std::fs::create_dir_all(root.join("specs")).unwrap();
        Self { root }
    }

    fn settings(&self) -> Settings {
        Settings {
            sockets: self.root.join("run"),
            specs: vec![self.root.join("specs")],
            patience: Duration::ZERO,
            long: Duration::from_secs(20),
            short: Duration::from_secs(20),
            rest: Duration::from_secs(3600),
        }
    }

    fn socket(&self) -> PathBuf {
        self.root.join("run/fake.sock")
    }

    fn plugin(&self) -> FakePlugin {
        FakePlugin::start(&self.socket(), &self.root.join("volumes"))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.root).unwrap();
    }
}

#[test]
fn every_call() {
    let scratch = Scratch::new();
    let fake = scratch.plugin();
    fake.set_scope("global");
    let plugins = Plugins::new(scratch.settings());
    assert_eq!(plugins.names(), ["fake"]);
    assert_eq!(plugins.drivers(), ["fake"]);
    let plugin = plugins.get("fake");
    assert_eq!(plugin.scope(), Scope::Global);
    assert_eq!(fake.take_calls(), ["Activate", "Capabilities"]);

    let options = BTreeMap::from([("k".to_owned(), "v".to_owned())]);
    plugin.create("data", &options).unwrap();
    assert_eq!(fake.options("data")["k"], "v");
    assert_eq!(plugin.look_up("none", Patience::Never).unwrap(), None);
    let seen = plugin.look_up("data", Patience::Never).unwrap().unwrap();
    assert_eq!(seen.name, "data");
    assert_eq!(seen.mountpoint, None);
    assert_eq!(
        seen.created_at.as_deref(),
        Some("2024-05-06T07:08:09.123456Z")
    );
    assert_eq!(seen.status.unwrap()["mounts"], 0);
    let path = plugin.path("data").unwrap().unwrap();
    assert_eq!(path, fake.path("data"));
    assert_eq!(plugin.mount("data", "one").unwrap(), path);
    assert_eq!(plugin.mount("data", "two").unwrap(), path);
    assert_eq!(
        fake.mounts("data"),
        ["one".to_owned(), "two".to_owned()].into()
    );
    let listed = plugin.list().unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].mountpoint, Some(path));
    assert_eq!(
        plugin.remove("data").unwrap_err(),
        PluginError::Refused("volume is mounted".to_owned())
    );
    plugin.unmount("data", "one").unwrap();
    plugin.unmount("data", "two").unwrap();
    plugin.remove("data").unwrap();
    assert!(fake.volumes().is_empty());
    assert_eq!(
        fake.take_calls(),
        [
            "Create data",
            "Get none",
            "Get data",
            "Path data",
            "Mount data",
            "Mount data",
            "List",
            "Remove data",
            "Unmount data",
            "Unmount data",
            "Remove data"
        ]
    );
}

#[test]
fn addresses_from_files() {
    let scratch = Scratch::new();
    let fake = FakePlugin::start(
        &scratch.root.join("elsewhere.sock"),
        &scratch.root.join("v"),
    );
    std::fs::write(
        scratch.root.join("specs/spec.spec"),
        format!("unix://{}\n", scratch.root.join("elsewhere.sock").display()),
    )
    .unwrap();
    let plugins = Plugins::new(scratch.settings());
    plugins
        .get("spec")
        .create("data", &BTreeMap::new())
        .unwrap();
    assert_eq!(fake.volumes(), ["data"]);

    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = tcp.local_addr().unwrap();
    drop(tcp);
    std::fs::write(
        scratch.root.join("specs/tcp.spec"),
        format!("tcp://{address}"),
    )
    .unwrap();
    assert_eq!(
        plugins.get("tcp").list().unwrap_err().to_string(),
        format!(
            "error looking up volume plugin tcp: legacy plugin: Post \"http://{address}/Plugin.Activate\": \
             dial tcp {address}: connect: connection refused"
        )
    );
    std::fs::write(scratch.root.join("specs/bad.spec"), "nowhere").unwrap();
    assert_eq!(
        plugins.get("bad").list().unwrap_err().to_string(),
        format!(
            "error looking up volume plugin bad: legacy plugin: {}: Unknown protocol",
            scratch.root.join("specs/bad.spec").display()
        )
    );
    std::fs::write(
        scratch.root.join("specs/tls.json"),
        r#"{"Name":"tls","Addr":"https://127.0.0.1:1","TLSConfig":{"CAFile":"/none.pem"}}"#,
    )
    .unwrap();
    assert_eq!(
        plugins.get("tls").list().unwrap_err().to_string(),
        "error looking up volume plugin tls: legacy plugin: could not read /none.pem: no such file or directory"
    );
}

#[test]
fn the_words_of_failures() {
    let scratch = Scratch::new();
    let fake = scratch.plugin();
    let plugins = Plugins::new(scratch.settings());
    let plugin = plugins.get("fake");
    assert_eq!(
        plugins.get("ghost").list().unwrap_err().to_string(),
        "error looking up volume plugin ghost: plugin \"ghost\" not found"
    );
    let create = || {
        plugin
            .create("x", &BTreeMap::new())
            .unwrap_err()
            .to_string()
    };
    let says =
        |status, text: &str| fake.behave("Create", Behaviour::Answer(status, text.to_owned()));
    says(500, r#"{"Err":"no space"}"#);
    assert_eq!(create(), "VolumeDriver.Create: no space");
    says(404, "404 page not found\n");
    assert_eq!(create(), "VolumeDriver.Create: 404 page not found");
    says(500, "");
    assert_eq!(create(), "VolumeDriver.Create: 500 Internal Server Error");
    says(200, r#"{"Err":"boom"}"#);
    assert_eq!(create(), "boom");
    fake.behave("Create", Behaviour::Die);
    assert!(create().starts_with("Post \"http://plugin.moby.localhost/VolumeDriver.Create\": "));
    fake.behave(
        "Activate",
        Behaviour::Answer(200, r#"{"Implements":["NetworkDriver"]}"#.to_owned()),
    );
    let other = Plugins::new(scratch.settings());
    assert_eq!(
        other.get("fake").list().unwrap_err().to_string(),
        "error looking up volume plugin fake: legacy plugin: Plugin does not implement the requested driver: \
         plugin=\"fake\", requested implementation=\"VolumeDriver\""
    );
    assert!(other.drivers().is_empty());
}

#[test]
fn lies_are_not_believed() {
    let scratch = Scratch::new();
    let fake = scratch.plugin();
    let plugins = Plugins::new(scratch.settings());
    let plugin = plugins.get("fake");
    fake.add("data");
    let long = "x".repeat(20 << 20);
    for lie in [
        r#"{"Mountpoint":"relative/path"}"#,
        r#"{"Mountpoint":"/mnt/../etc"}"#,
        r#"{"Mountpoint":"/"}"#,
        r#"{"Mountpoint":""}"#,
        r#"{"Mountpoint":7}"#,
        "{}",
        "not json",
        "[]",
        &long,
    ] {
        fake.behave("Mount", Behaviour::Answer(200, lie.to_owned()));
        let error = plugin.mount("data", "id").unwrap_err();
        assert!(
            matches!(error, PluginError::Nonsense { .. }),
            "{}: {error}",
            &lie[..lie.len().min(40)]
        );
        assert!(error.to_string().len() < 400);
    }
    let error = "e".repeat(1 << 20);
    fake.behave(
        "Mount",
        Behaviour::Answer(200, format!(r#"{{"Err":"{error}"}}"#)),
    );
    assert!(plugin.mount("data", "id").unwrap_err().to_string().len() < 5000);
    fake.behave(
        "List",
        Behaviour::Answer(
            200,
            r#"{"Volumes":[{"Name":"ok","Mountpoint":"../x"},{"Name":""},{"Name":"a\nb"},{"Name":"ok"}]}"#
                .to_owned(),
        ),
    );
    let listed = plugin.list().unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(
        (listed[0].name.as_str(), &listed[0].mountpoint),
        ("ok", &None)
    );
    fake.behave(
        "Get",
        Behaviour::Answer(200, r#"{"Volume":{"Name":"another"}}"#.to_owned()),
    );
    assert_eq!(plugin.look_up("data", Patience::Never).unwrap(), None);
}

#[test]
fn one_that_hangs_is_left_alone() {
    let scratch = Scratch::new();
    let fake = scratch.plugin();
    fake.add("data");
    let plugins = Plugins::new(Settings {
        short: Duration::from_millis(200),
        ..scratch.settings()
    });
    let plugin = plugins.get("fake");
    plugin.list().unwrap();
    fake.take_calls();
    fake.behave("Get", Behaviour::Hang);
    let silent = plugin.look_up("data", Patience::Never).unwrap_err();
    assert_eq!(
        silent.to_string(),
        "Post \"http://plugin.moby.localhost/VolumeDriver.Get\": context deadline exceeded"
    );
    let resting = plugin.look_up("data", Patience::Known).unwrap_err();
    assert!(matches!(resting, PluginError::Resting { .. }), "{resting}");
    assert!(resting.to_string().ends_with(&silent.to_string()));
    assert!(plugin.list_soon(Duration::from_secs(20)).error.is_some());
    assert_eq!(fake.take_calls(), ["Get data"]);
}

#[test]
fn what_it_said_last_is_listed_when_it_hangs() {
    let scratch = Scratch::new();
    let fake = scratch.plugin();
    fake.add("data");
    let plugins = Plugins::new(scratch.settings());
    let plugin = plugins.get("fake");
    let listing = plugin.list_soon(Duration::from_secs(20));
    assert!(listing.error.is_none());
    assert_eq!(listing.volumes.len(), 1);
    fake.behave("List", Behaviour::Hang);
    let listing = plugin.list_soon(Duration::from_millis(50));
    assert!(matches!(listing.error, Some(PluginError::Silent { .. })));
    assert_eq!(listing.volumes.len(), 1);
    fake.add("more");
    fake.behave_well();
    // Who asks now is not content with the answer to the question that was under way.
    let listing = plugin.list_soon(Duration::from_secs(20));
    assert!(listing.error.is_none());
    assert_eq!(listing.volumes.len(), 2);
}

#[test]
fn one_that_comes_late_is_waited_for_once() {
    let scratch = Scratch::new();
    let mut fake = scratch.plugin();
    fake.add("data");
    fake.stop();
    let plugins = Plugins::new(Settings {
        patience: Duration::from_secs(20),
        ..scratch.settings()
    });
    let plugin = plugins.get("fake");
    std::thread::scope(|scope| {
        let began = Instant::now();
        let waiting = scope.spawn(|| plugin.mount("data", "id"));
        until("nobody has answered for a while", || {
            assert!(!waiting.is_finished(), "it does not wait");
            (began.elapsed() > Duration::from_millis(300)).then_some(())
        });
        fake.resume();
        assert_eq!(waiting.join().unwrap().unwrap(), fake.path("data"));
    });
    assert_eq!(fake.mounts("data").len(), 1);

    // What it may have done is not asked for again.
    fake.take_calls();
    fake.behave("Mount", Behaviour::DieAfter);
    let unanswered = plugin.mount("data", "other").unwrap_err();
    assert!(
        !unanswered.is_unseen() && !unanswered.is_answer(),
        "{unanswered}"
    );
    assert_eq!(fake.take_calls(), ["Mount data"]);

    // Who waited in vain is enough: the next does not wait.
    fake.stop();
    let hasty = Plugins::new(Settings {
        patience: Duration::from_millis(1500),
        ..scratch.settings()
    });
    let plugin = hasty.get("fake");
    plugin.create("x", &BTreeMap::new()).unwrap_err();
    let began = Instant::now();
    for _ in 0..20 {
        plugin.create("x", &BTreeMap::new()).unwrap_err();
    }
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[test]
fn held_off() {
    let scratch = Scratch::new();
    let fake = scratch.plugin();
    let plugins = Plugins::new(scratch.settings());
    let plugin = plugins.get("fake");
    plugins.hold_off();
    assert!(matches!(plugin.list(), Err(PluginError::HeldOff { .. })));
    assert!(fake.take_calls().is_empty());
    plugins.admit();
    plugin.list().unwrap();
}
