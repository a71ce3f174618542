//! What is there: the worlds of all lanes as the engine, its records and the filesystem tell them, and what nobody owns.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use store::{Paths, SnapshotRow, SnapshotState, Store, StoreError};
use testkit::{Client, Engine, Output};

use crate::model::{Content, DAMAGED, Holder, Volume, World, owned, text, token};
use crate::moves::{FILES, OTHER_POOL, SEEDS, seed};

pub(super) fn run(engine: &Engine, line: &str) -> Output {
    let words: Vec<&str> = line.split_whitespace().collect();
    Client::Orlop.run(engine, &words)
}

/// Runs a program of the host.
pub(super) fn host(words: &[&str]) {
    let output = Command::new(words[0]).args(&words[1..]).output().unwrap();
    assert!(
        output.status.success(),
        "{words:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

pub(super) fn path(path: &Path) -> &str {
    path.to_str().expect("it has no strange characters")
}

/// What moves need: busybox, images to seed volumes from, another pool, and a trash that is not too small.
pub(super) fn equip(engine: &Engine) {
    engine.load_busybox();
    run(engine, "volume trash set --max-size 90%").ok();
    let scratch = engine.root.with_extension("scratch").join("seeds");
    for image in SEEDS {
        let tree = scratch.join(image);
        for file in FILES {
            let place = tree.join("seed").join(file);
            fs::create_dir_all(place.parent().unwrap()).unwrap();
            fs::write(place, text(&seed(image, file))).unwrap();
        }
        let archive = scratch.join(format!("{image}.tar"));
        host(&["tar", "-C", path(&tree), "-cf", path(&archive), "."]);
        run(engine, &format!("import {} {image}", archive.display())).ok();
    }
    let pool = engine.root.join(OTHER_POOL);
    let create = format!("pool create --source {} {OTHER_POOL}", pool.display());
    run(engine, &create).ok();
}

/// Everything of one engine at one moment at which nobody does anything.
#[derive(Debug)]
pub(super) struct Sight {
    worlds: BTreeMap<usize, World>,
    /// What nobody owns, or what does not fit together.
    pub(super) leaks: Vec<String>,
    /// Ids of containers, running ones apart.
    pub(super) running: usize,
}

/// `l<number>-…`.
fn lane_of(name: &str) -> Option<usize> {
    name.strip_prefix('l')?.split('-').next()?.parse().ok()
}

/// The files below a directory; what a container left that died while it wrote is none.
fn content(directory: &Path) -> Content {
    read(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()))
}

fn read(directory: &Path) -> io::Result<Content> {
    let mut content = Content::new();
    gather(directory, "", &mut content)?;
    Ok(content)
}

fn gather(directory: &Path, prefix: &str, content: &mut Content) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{prefix}{name}");
        if entry.file_type()?.is_dir() {
            gather(&entry.path(), &format!("{path}/"), content)?;
        } else if name != ".tmp" {
            let bytes = fs::read(entry.path())?;
            let owner = u64::from(entry.metadata()?.uid());
            let token = token(&String::from_utf8_lossy(&bytes));
            let whole = !token.starts_with(DAMAGED);
            let token = if whole { owned(&token, owner) } else { token };
            content.insert(path, token);
        }
    }
    Ok(())
}

fn names(directory: &Path) -> BTreeSet<String> {
    fs::read_dir(directory)
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect()
}

fn labels(value: &Value) -> BTreeMap<String, String> {
    serde_json::from_value(value.clone()).unwrap_or_default()
}

fn string(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// What the database says that no answer does.
struct Records {
    snapshots: Vec<SnapshotRow>,
    /// By the id of the volume, live or in the trash: what it may hold, and whether it was made so.
    limits: BTreeMap<String, (Option<u64>, bool)>,
    leaks: Vec<String>,
}

fn records(engine: &Engine, containers: &BTreeSet<String>) -> Records {
    let paths = Paths::new(&engine.root).unwrap();
    let store = Store::open(&paths).unwrap();
    store
        .read(|tx| {
            let mut leaks = Vec::new();
            for op in tx.ops()? {
                leaks.push(format!("open operation {} on {}", op.kind, op.object));
            }
            for lease in tx.leases()? {
                if !containers.contains(&lease.holder) {
                    leaks.push(format!(
                        "lease of {} on {}",
                        lease.holder, lease.volume_name
                    ));
                }
            }
            for mount in tx.mount_counts()? {
                if !containers.contains(&mount.holder) {
                    leaks.push(format!("mount of {} for {}", mount.volume, mount.holder));
                }
            }
            for key in tx.meta_with_prefix("quiesced/")? {
                leaks.push(format!("containers are owed something: {key}"));
            }
            let snapshots = tx.snapshots_in_any_state()?;
            for row in &snapshots {
                if row.state != SnapshotState::Ready {
                    leaks.push(format!("snapshot {} is {:?}", row.name, row.state));
                }
                if !tx.snapshot_holders(&row.id)?.is_empty() {
                    leaks.push(format!("somebody holds snapshot {}", row.name));
                }
            }
            let trash = tx.trash()?.into_iter().map(|row| row.volume);
            let mut limits = BTreeMap::new();
            for row in tx.volumes()?.into_iter().chain(trash) {
                let sized = row
                    .options
                    .is_some_and(|options| options.contains_key("size"));
                let limit = tx.volume_storage(&row.id)?.bytes;
                limits.insert(row.id.to_string(), (limit, sized));
            }
            Ok::<_, StoreError>(Records {
                snapshots,
                limits,
                leaks,
            })
        })
        .unwrap()
}

impl Sight {
    /// The world of one lane.
    pub(super) fn world(&self, lane: usize) -> World {
        self.worlds.get(&lane).cloned().unwrap_or_default()
    }

    /// Looks at everything.
    pub(super) fn take(engine: &Engine) -> Self {
        let ids: BTreeSet<String> = run(engine, "ps -aq --no-trunc")
            .ok()
            .lines()
            .map(str::to_owned)
            .collect();
        let Records {
            snapshots,
            limits,
            leaks,
        } = records(engine, &ids);
        let mut sight = Self {
            worlds: BTreeMap::new(),
            leaks,
            running: 0,
        };
        let anonymous = sight.containers(engine, &ids);
        let live = sight.volumes(engine, &snapshots, &anonymous);
        let trash = sight.trash(engine, &snapshots);
        sight.directories(engine, &ids, &live, &trash, &snapshots);
        sight.host(engine, &ids);
        let worlds = sight.worlds.values_mut();
        for volume in worlds.flat_map(|world| {
            let trash = world.trash.iter_mut().map(|(_, volume)| volume);
            world.volumes.values_mut().chain(trash)
        }) {
            (volume.limit, volume.sized) = limits.get(&volume.id).copied().unwrap_or_default();
        }
        let limits = limits.values().filter_map(|(limit, _)| *limit).collect();
        sight.bounds(engine, limits);
        sight
    }

    fn of(&mut self, name: &str) -> Option<&mut World> {
        Some(self.worlds.entry(lane_of(name)?).or_default())
    }

    /// The anonymous volumes that containers have.
    fn containers(&mut self, engine: &Engine, ids: &BTreeSet<String>) -> BTreeSet<String> {
        let mut anonymous = BTreeSet::new();
        if ids.is_empty() {
            return anonymous;
        }
        let listed: Vec<&str> = ids.iter().map(String::as_str).collect();
        let inspected = run(engine, &format!("inspect {}", listed.join(" "))).json();
        for container in inspected.as_array().unwrap() {
            let name = string(&container["Name"]).replace('/', "");
            let running = container["State"]["Running"] == true;
            self.running += usize::from(running);
            let mut volume = String::new();
            for mount in container["Mounts"].as_array().unwrap() {
                if mount["Destination"] == "/d" {
                    volume = string(&mount["Name"]);
                } else {
                    anonymous.insert(string(&mount["Name"]));
                }
            }
            match self.of(&name) {
                Some(world) => {
                    world.holders.insert(name, Holder { volume, running });
                }
                None => self.leaks.push(format!("container {name}")),
            }
        }
        anonymous
    }

    /// Ids of all volumes with their names.
    fn volumes(
        &mut self,
        engine: &Engine,
        snapshots: &[SnapshotRow],
        anonymous: &BTreeSet<String>,
    ) -> BTreeMap<String, String> {
        let mut live = BTreeMap::new();
        let listed = run(engine, "volume ls -q").ok().replace('\n', " ");
        if listed.is_empty() {
            return live;
        }
        let inspected = run(engine, &format!("volume inspect {listed}")).json();
        for shown in inspected.as_array().unwrap() {
            let name = string(&shown["Name"]);
            let link = engine.root.join("volumes").join(&name);
            let id = fs::read_link(&link)
                .ok()
                .and_then(|target| Some(target.file_name()?.to_string_lossy().into_owned()));
            let Some(id) = id else {
                self.leaks.push(format!("volume {name} has no link"));
                continue;
            };
            let described = description(engine, &id);
            if described["name"] != *name {
                self.leaks
                    .push(format!("the description of {name} says {described}"));
            }
            live.insert(id.clone(), name.clone());
            if lane_of(&name).is_none() {
                if !anonymous.contains(&name) {
                    self.leaks.push(format!("volume {name}"));
                }
                continue;
            }
            let volume = Volume {
                labels: labels(&shown["Labels"]),
                protected: shown["Protected"] == true,
                ..volume(engine, &id, snapshots)
            };
            self.of(&name).unwrap().volumes.insert(name, volume);
        }
        for name in anonymous {
            if !live.values().any(|known| known == name) {
                self.leaks
                    .push(format!("a container's volume {name} is lost"));
            }
        }
        live
    }

    /// Ids of the volumes in the trash.
    fn trash(&mut self, engine: &Engine, snapshots: &[SnapshotRow]) -> BTreeSet<String> {
        let mut ids = BTreeSet::new();
        for shown in run(engine, "volume trash ls --json")
            .json()
            .as_array()
            .unwrap()
        {
            let (id, name) = (string(&shown["ID"]), string(&shown["Name"]));
            let volume = Volume {
                labels: labels(&shown["Labels"]),
                ..volume(engine, &id, snapshots)
            };
            if let Some(world) = self.of(&name)
                && volume.has_files()
            {
                world.trash.push((name, volume));
            }
            ids.insert(id);
        }
        ids
    }

    /// Everything in the state directory has an owner.
    fn directories(
        &mut self,
        engine: &Engine,
        containers: &BTreeSet<String>,
        live: &BTreeMap<String, String>,
        trash: &BTreeSet<String>,
        snapshots: &[SnapshotRow],
    ) {
        let root = &engine.root;
        let mut same = |what: &str, known: &BTreeSet<String>| {
            let there = names(&root.join(what));
            for name in there.difference(known) {
                self.leaks.push(format!("{what}/{name}"));
            }
            for name in known.difference(&there) {
                self.leaks.push(format!("{what}/{name} is missing"));
            }
        };
        same("containers", containers);
        same("volumes", &live.values().cloned().collect());
        let data: BTreeSet<String> = live.keys().chain(trash).cloned().collect();
        same("data", &data);
        let elsewhere = data
            .iter()
            .filter(|id| root.join("data").join(id).is_symlink())
            .cloned()
            .collect();
        same(&format!("{OTHER_POOL}/volumes"), &elsewhere);
        same("staging", &BTreeSet::new());
        same("trash", &BTreeSet::new());
        for id in &data {
            let mut expected: BTreeSet<String> = ["_data", "volume.json"].map(str::to_owned).into();
            let there = names(&root.join("data").join(id));
            if there.contains("snapshots") {
                expected.insert("snapshots".to_owned());
            }
            same(&format!("data/{id}"), &expected);
            let known = snapshots
                .iter()
                .filter(|row| row.volume.as_str() == id)
                .map(|row| row.id.to_string())
                .collect();
            same(&format!("data/{id}/snapshots"), &known);
        }
    }

    /// The kernel bounds what has a limit.
    fn bounds(&mut self, engine: &Engine, limits: Vec<u64>) {
        let found = Command::new("findmnt")
            .args(["-no", "FSTYPE,UUID", path(&engine.root)])
            .output()
            .unwrap();
        let found = String::from_utf8_lossy(&found.stdout).into_owned();
        let Some(("btrfs", uuid)) = found.trim().split_once(' ') else {
            return;
        };
        let groups = Path::new("/sys/fs/btrfs").join(uuid.trim()).join("qgroups");
        let mut bounds: Vec<u64> = names(&groups)
            .iter()
            .filter(|name| name.starts_with("1_"))
            .filter_map(|name| fs::read_to_string(groups.join(name).join("max_referenced")).ok())
            .filter_map(|bound| bound.trim().parse().ok())
            .filter(|bound| ![0, u64::MAX].contains(bound))
            .collect();
        for limit in limits {
            match bounds.iter().position(|bound| *bound == limit) {
                Some(index) => {
                    bounds.swap_remove(index);
                }
                None => self
                    .leaks
                    .push(format!("nothing bounds what may hold {limit} bytes")),
            }
        }
        for bound in bounds {
            self.leaks
                .push(format!("a group of {bound} bytes belongs to no volume"));
        }
    }

    /// Mounts, cgroups, runtime directories and interfaces belong to containers that run.
    fn host(&mut self, engine: &Engine, containers: &BTreeSet<String>) {
        let root = engine.root.to_str().unwrap();
        let tag = engine.tag();
        for mount in fs::read_to_string("/proc/self/mountinfo").unwrap().lines() {
            let at = mount.split(' ').nth(4).unwrap_or_default();
            if (at.starts_with(root) && at != root) || mount.contains("/merged") {
                self.leaks.push(format!("mount {mount}"));
            }
        }
        for controller in fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
            let group = controller.path().join(format!("orlop-{tag}"));
            for entry in fs::read_dir(group).into_iter().flatten().flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                if entry.path().is_dir() && !containers.contains(&name) {
                    self.leaks
                        .push(format!("cgroup {}", entry.path().display()));
                }
            }
        }
        for name in names(&Path::new("/run/orlop").join(&tag)) {
            if name.len() == 64 && !containers.contains(&name) {
                self.leaks.push(format!("runtime directory {name}"));
            }
        }
        let bridge = format!("orl-{}", &tag[..8]);
        let listed = Command::new("ip")
            .args(["-o", "link", "show", "master", &bridge])
            .output()
            .unwrap();
        let ports = String::from_utf8_lossy(&listed.stdout).lines().count();
        if ports > self.running {
            self.leaks
                .push(format!("{ports} interfaces, {} running", self.running));
        }
    }
}

/// What lies beside the bytes of a volume; null when there is nothing.
fn description(engine: &Engine, id: &str) -> Value {
    let path = engine.root.join("data").join(id).join("volume.json");
    fs::read(path)
        .ok()
        .and_then(|text| serde_json::from_slice(&text).ok())
        .unwrap_or_default()
}

/// The bytes of a volume, live or in the trash.
fn volume(engine: &Engine, id: &str, snapshots: &[SnapshotRow]) -> Volume {
    let directory = engine.root.join("data").join(id);
    let mut volume = Volume {
        id: id.to_owned(),
        content: content(&directory.join("_data")),
        ..Volume::default()
    };
    for row in snapshots.iter().filter(|row| row.volume.as_str() == id) {
        let path = directory.join("snapshots").join(row.id.as_str());
        if row.reason == "schedule" {
            // Its schedule may be taking it away; one that is recorded and not there is found by its directory.
            let content = match read(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                other => other.unwrap(),
            };
            // Nobody knows when it was made, but what is in it was written by somebody.
            let damaged = content.values().find(|token| token.starts_with(DAMAGED));
            assert_eq!(damaged, None, "snapshot {} of {id}", row.name);
        } else if row.reason == "before-restore" {
            volume.kept.push((row.name.clone(), content(&path)));
        } else {
            volume.snapshots.insert(row.name.clone(), content(&path));
        }
    }
    volume
}
