//! What happens to volumes: which move comes next, how it is typed, and what the model says that it does.

use crate::dice::Dice;
use crate::model::{Content, Holder, Volume, World, owned};

/// The label that keeps a prune within its lane.
const LANE: &str = "lane";
const SNAPSHOTS: &[&str] = &["monday", "tuesday", "friday"];
/// Images whose `/seed` has each of [`FILES`], with [`seed`] in it.
pub(super) const SEEDS: &[&str] = &["spring", "autumn"];
/// A directory that is a pool, in the state directory: it has the same disk.
pub(super) const OTHER_POOL: &str = "other";
pub(super) const FILES: &[&str] = &["one", "two", "three", "deep/four"];
/// How many restores a lane leaves to be undone, and removed volumes in the trash, before it tidies up.
const MANY: usize = 3;
/// More than a volume ever holds, snapshots included: a refusal is none of the moves.
const SIZES: &[u64] = &[48, 64, 96];

/// One command of a user's.
#[derive(Debug, Clone)]
pub(super) enum Move {
    Create {
        volume: String,
        /// In the other pool.
        elsewhere: bool,
        /// MiB that it may hold.
        size: Option<u64>,
    },
    /// MiB that it may hold from now on; 0: as many as there is room for.
    Resize {
        volume: String,
        size: u64,
    },
    /// By a container that writes a file beside and renames it.
    Write {
        volume: String,
        file: String,
        token: String,
    },
    /// By a container.
    Delete {
        volume: String,
        file: String,
    },
    /// By the client, without a container: one file, or a directory of several.
    Copy {
        volume: String,
        files: Vec<(String, String)>,
    },
    /// A tar archive of several files, over what is there.
    Import {
        volume: String,
        files: Vec<(String, String)>,
    },
    Chown {
        volume: String,
        uid: u64,
    },
    /// To what one of the images has.
    Reseed {
        volume: String,
        image: &'static str,
    },
    /// From now on snapshots come by themselves.
    Schedule {
        volume: String,
        hourly: u64,
    },
    Snapshot {
        volumes: Vec<String>,
        name: String,
    },
    SnapshotRm {
        volume: String,
        name: String,
    },
    Restore {
        volume: String,
        name: String,
    },
    Undo {
        volume: String,
    },
    Clone {
        from: String,
        snapshot: Option<String>,
        to: String,
        /// Not where its source is.
        pool: Option<&'static str>,
    },
    Rename {
        from: String,
        to: String,
    },
    Label {
        volume: String,
        value: Option<String>,
    },
    Protect {
        volume: String,
        on: bool,
    },
    Rm {
        volume: String,
        now: bool,
    },
    Undelete {
        id: String,
        to: String,
    },
    Purge {
        id: String,
    },
    Prune,
    Hold {
        container: String,
        volume: String,
        running: bool,
    },
    /// `rm -f -v`.
    Release {
        container: String,
    },
}

/// What a file of an image holds.
pub(super) fn seed(image: &str, file: &str) -> String {
    format!("{image}-{}x3", file.replace('/', "-"))
}

/// What a move does to a world, or why it is refused: one of these texts.
pub(super) type Expected = Result<World, Vec<&'static str>>;

/// A name of one of the volumes that a lane plays with.
fn any_name(dice: &mut Dice, lane: usize) -> String {
    format!("l{lane}-v{}", dice.below(6))
}

/// A volume that exists, or now and then any name.
fn a_volume(dice: &mut Dice, world: &World, lane: usize) -> String {
    let names: Vec<&String> = world.volumes.keys().collect();
    if dice.one_in(12) {
        return any_name(dice, lane);
    }
    match dice.pick(&names) {
        Some(name) => (*name).clone(),
        None => any_name(dice, lane),
    }
}

impl Move {
    /// The next move of a lane; `serial` is in no other move of the run. `limits`: the filesystem keeps them by quotas.
    pub(super) fn choose(
        dice: &mut Dice,
        world: &World,
        lane: usize,
        serial: &str,
        limits: bool,
    ) -> Self {
        match Self::any(dice, world, lane, serial) {
            Self::Create {
                volume, elsewhere, ..
            } if limits && dice.one_in(3) => Self::Create {
                volume,
                elsewhere,
                size: dice.pick(SIZES).copied(),
            },
            // A first limit may take a copy, which who writes would not see.
            Self::Label { volume, .. } | Self::Protect { volume, .. }
                if limits && dice.one_in(2) && !world.is_held_by_running(&volume) =>
            {
                let size = dice.pick(SIZES).copied().unwrap_or(0);
                Self::Resize {
                    size: if dice.one_in(4) { 0 } else { size },
                    volume,
                }
            }
            other => other,
        }
    }

    fn any(dice: &mut Dice, world: &World, lane: usize, serial: &str) -> Self {
        let volume = a_volume(dice, world, lane);
        let there = world.volumes.get(&volume);
        let Some(state) = there else {
            return Self::without(dice, world, lane, volume);
        };
        let file = (*dice.pick(FILES).expect("some")).to_owned();
        let token = |dice: &mut Dice| {
            let lines = [1, 1, 40, 3000][usize::try_from(dice.below(4)).expect("small")];
            format!("{serial}x{lines}")
        };
        let pool = |dice: &mut Dice| match dice.below(3) {
            0 => Some(OTHER_POOL),
            1 => Some("default"),
            _ => None,
        };
        let snapshot = (*dice.pick(SNAPSHOTS).expect("some")).to_owned();
        if state.kept.len() > MANY {
            return Self::SnapshotRm {
                name: state.kept[0].0.clone(),
                volume,
            };
        }
        if world.trash.len() > 2 * MANY
            && let Some((_, trashed)) = dice.pick(&world.trash)
        {
            return Self::Purge {
                id: trashed.id.clone(),
            };
        }
        match dice.below(38) {
            0 => Self::Create {
                volume: any_name(dice, lane),
                elsewhere: dice.one_in(3),
                size: None,
            },
            1..=4 => Self::Write {
                volume,
                file,
                token: token(dice),
            },
            5 => Self::Delete { volume, file },
            6..=7 => Self::Copy {
                // Directories are made by the copy of a tree.
                files: vec![(file.replace("deep/four", "two"), token(dice))],
                volume,
            },
            8 => Self::Copy {
                files: FILES
                    .iter()
                    .map(|&file| (file.to_owned(), token(dice)))
                    .collect(),
                volume,
            },
            9..=11 => Self::Snapshot {
                volumes: vec![volume],
                name: snapshot,
            },
            12 => {
                let mut volumes = vec![volume, a_volume(dice, world, lane)];
                volumes.dedup();
                Self::Snapshot {
                    volumes,
                    name: snapshot,
                }
            }
            13 => Self::SnapshotRm {
                volume,
                name: snapshot,
            },
            14..=15 => {
                let names: Vec<&String> = state.snapshots.keys().collect();
                Self::Restore {
                    name: dice.pick(&names).map_or(snapshot, |name| (*name).clone()),
                    volume,
                }
            }
            16..=17 => Self::Undo { volume },
            18 => Self::Clone {
                from: volume,
                snapshot: None,
                to: any_name(dice, lane),
                pool: pool(dice),
            },
            19 => Self::Clone {
                from: volume,
                snapshot: Some(snapshot),
                to: any_name(dice, lane),
                pool: pool(dice),
            },
            20..=21 => {
                let to = any_name(dice, lane);
                if to == volume {
                    Self::Label {
                        volume,
                        value: None,
                    }
                } else {
                    Self::Rename { from: volume, to }
                }
            }
            22 => Self::Label {
                volume,
                value: (!dice.one_in(3)).then(|| serial.to_owned()),
            },
            23 => Self::Protect {
                on: !state.protected,
                volume,
            },
            24 => Self::Rm {
                now: dice.one_in(3),
                volume,
            },
            25..=26 => Self::without(dice, world, lane, volume),
            27 if dice.one_in(3) => Self::Prune,
            28..=29 => Self::Import {
                files: FILES
                    .iter()
                    .filter(|_| dice.one_in(2))
                    .map(|&file| (file.to_owned(), format!("{serial}x2")))
                    .collect(),
                volume,
            },
            30..=31 => Self::Chown {
                uid: dice.below(3),
                volume,
            },
            32..=33 => Self::Reseed {
                image: dice.pick(SEEDS).expect("some"),
                volume,
            },
            34 => Self::Schedule {
                hourly: 1 + dice.below(3),
                volume,
            },
            _ => {
                let container = format!("l{lane}-c{}", dice.below(2));
                if world.holders.contains_key(&container) {
                    Self::Release { container }
                } else {
                    Self::Hold {
                        container,
                        volume,
                        running: dice.one_in(2),
                    }
                }
            }
        }
    }

    /// A move for a name without a volume.
    fn without(dice: &mut Dice, world: &World, lane: usize, volume: String) -> Self {
        match (dice.below(6), dice.pick(&world.trash)) {
            (0..=2, Some((_, trashed))) => Self::Undelete {
                id: trashed.id.clone(),
                to: any_name(dice, lane),
            },
            (3, Some((_, trashed))) if world.trash.len() > MANY => Self::Purge {
                id: trashed.id.clone(),
            },
            // Refused unless the volume exists.
            (4, _) => Self::Rm { volume, now: false },
            (5, _) => Self::Restore {
                volume,
                name: SNAPSHOTS[0].to_owned(),
            },
            _ => Self::Create {
                volume,
                elsewhere: dice.one_in(3),
                size: None,
            },
        }
    }

    /// The client's words. `scratch` is a path for files that it needs; `durable`: containers sync what they write.
    pub(super) fn words(
        &self,
        lane: usize,
        scratch: &std::path::Path,
        durable: bool,
    ) -> Vec<String> {
        let sync = if durable { " && sync -f /d" } else { "" };
        let in_container = |volume: &str, script: String| {
            let mount = format!("{volume}:/d");
            let name = format!("l{lane}-w");
            let mut words = split(&format!("run --rm --name {name} --network none -v"));
            words.extend([&mount, "busybox", "sh", "-c"].map(str::to_owned));
            words.push(script);
            words
        };
        match self {
            Self::Create {
                volume,
                elsewhere,
                size,
            } => {
                let pool = if *elsewhere {
                    format!("--pool {OTHER_POOL}")
                } else {
                    String::new()
                };
                let size = size.map_or_else(String::new, |size| format!("--size {size}m"));
                split(&format!(
                    "volume create {pool} {size} --label {LANE}=l{lane} {volume}"
                ))
            }
            Self::Resize { volume, size } => split(&format!("volume resize {volume} {size}m")),
            Self::Write {
                volume,
                file,
                token,
            } => {
                let lines = token.rsplit('x').next().expect("a count");
                in_container(
                    volume,
                    format!(
                        "mkdir -p /d/deep && yes {token} | head -n {lines} > /d/.tmp{sync} && mv /d/.tmp /d/{file}{sync}"
                    ),
                )
            }
            Self::Delete { volume, file } => in_container(volume, format!("rm -f /d/{file}{sync}")),
            Self::Copy { volume, files } => {
                let source = if files.len() == 1 {
                    scratch.join(&files[0].0)
                } else {
                    scratch.join(".")
                };
                let target = match files.first() {
                    Some((file, _)) if files.len() == 1 => file.as_str(),
                    _ => "",
                };
                split(&format!(
                    "volume cp -q {} {volume}:/{target}",
                    source.display()
                ))
            }
            Self::Import { volume, .. } => split(&format!(
                "volume import -q {volume} {}",
                archive(scratch).display()
            )),
            Self::Chown { volume, uid } => split(&format!("volume chown {volume} {uid}:{uid}")),
            Self::Reseed { volume, image } => split(&format!(
                "volume reseed --replace --no-snapshot --from {image}:/seed {volume}"
            )),
            Self::Schedule { volume, hourly } => {
                split(&format!("volume schedule set --hourly {hourly} {volume}"))
            }
            Self::Snapshot { volumes, name } => split(&format!(
                "volume snapshot create --name {name} {}",
                volumes.join(" ")
            )),
            Self::SnapshotRm { volume, name } => {
                split(&format!("volume snapshot rm {volume}@{name}"))
            }
            Self::Restore { volume, name } => split(&format!("volume restore {volume}@{name}")),
            Self::Undo { volume } => split(&format!("volume restore --undo {volume}")),
            Self::Clone {
                from,
                snapshot,
                to,
                pool,
            } => {
                let at = snapshot
                    .as_ref()
                    .map_or_else(String::new, |name| format!("@{name}"));
                let pool = pool.map_or_else(String::new, |pool| format!("--pool {pool}"));
                split(&format!("volume clone {pool} {from}{at} {to}"))
            }
            Self::Rename { from, to } => split(&format!("volume rename {from} {to}")),
            Self::Label { volume, value } => match value {
                Some(value) => split(&format!("volume label {volume} note={value}")),
                None => split(&format!("volume label {volume} note-")),
            },
            Self::Protect { volume, on } => split(&format!(
                "volume {} {volume}",
                if *on { "protect" } else { "unprotect" }
            )),
            Self::Rm { volume, now } => split(&format!(
                "volume rm {} {volume}",
                if *now { "--now" } else { "" }
            )),
            Self::Undelete { id, to } => split(&format!("volume undelete --as {to} {id}")),
            Self::Purge { id } => split(&format!("volume trash empty -f {id}")),
            Self::Prune => split(&format!("volume prune -a -f --filter label={LANE}=l{lane}")),
            Self::Hold {
                container,
                volume,
                running,
            } => {
                let verb = if *running { "run -d" } else { "create" };
                let mut words = split(&format!(
                    "{verb} --name {container} -v {volume}:/d -v /anonymous busybox sh -c"
                ));
                words.push("echo x > /anonymous/x; exec sleep 100000".to_owned());
                words
            }
            Self::Release { container } => split(&format!("rm -f -v {container}")),
        }
    }

    /// Whether a container does it.
    pub(super) fn in_container(&self) -> bool {
        matches!(self, Self::Write { .. } | Self::Delete { .. })
    }

    /// What it does, in full.
    pub(super) fn expect(&self, world: &World, lane: usize) -> Expected {
        let mut next = world.clone();
        let missing = |volume: &str| !world.volumes.contains_key(volume);
        const NO_VOLUME: &str = "no such volume";
        match self {
            Self::Create { volume, size, .. } => {
                next.volumes
                    .entry(volume.clone())
                    .or_insert_with(|| Volume {
                        labels: [(LANE.to_owned(), format!("l{lane}"))].into(),
                        limit: size.map(|size| size << 20),
                        sized: size.is_some(),
                        ..Volume::default()
                    });
            }
            Self::Resize { volume, size } => {
                let Some(volume) = next.volumes.get_mut(volume) else {
                    return Err(vec![NO_VOLUME]);
                };
                volume.limit = (*size > 0).then_some(size << 20);
            }
            Self::Write {
                volume,
                file,
                token,
            } => {
                let volume = next.volumes.get_mut(volume).expect("it was chosen");
                volume.content.insert(file.clone(), token.clone());
            }
            Self::Delete { volume, file } => {
                let volume = next.volumes.get_mut(volume).expect("it was chosen");
                volume.content.remove(file);
            }
            Self::Copy { volume, files } | Self::Import { volume, files } => {
                let target = next.volumes.get_mut(volume).expect("it was chosen");
                target.content.extend(files.iter().cloned());
            }
            Self::Chown { volume, uid } => {
                let volume = next.volumes.get_mut(volume).expect("it was chosen");
                for token in volume.content.values_mut() {
                    *token = owned(token, *uid);
                }
            }
            Self::Reseed { volume, image } => {
                let volume = next.volumes.get_mut(volume).expect("it was chosen");
                let files = FILES
                    .iter()
                    .map(|&file| (file.to_owned(), seed(image, file)));
                volume.content.extend(files);
            }
            Self::Schedule { .. } => {}
            Self::Snapshot { volumes, name } => {
                if volumes.iter().any(|volume| missing(volume)) {
                    return Err(vec![NO_VOLUME]);
                }
                for volume in volumes {
                    let volume = next.volumes.get_mut(volume).expect("looked");
                    let content = volume.content.clone();
                    if volume.snapshots.insert(name.clone(), content).is_some() {
                        return Err(vec!["has a snapshot"]);
                    }
                }
            }
            Self::SnapshotRm { volume, name } => {
                let Some(volume) = next.volumes.get_mut(volume) else {
                    return Err(vec![NO_VOLUME]);
                };
                let kept = volume.kept.len();
                volume.kept.retain(|(kept, _)| kept != name);
                if volume.snapshots.remove(name).is_none() && volume.kept.len() == kept {
                    return Err(vec!["no such snapshot"]);
                }
            }
            Self::Restore { volume, name } => {
                let held = world.is_held_by_running(volume);
                let Some(volume) = next.volumes.get_mut(volume) else {
                    return Err(vec![NO_VOLUME]);
                };
                if held {
                    return Err(vec!["mounted by running containers"]);
                }
                let Some(content) = volume.snapshots.get(name).cloned() else {
                    return Err(vec!["no such snapshot"]);
                };
                volume.turn_back(content);
            }
            Self::Undo { volume } => {
                let held = world.is_held_by_running(volume);
                let Some(volume) = next.volumes.get_mut(volume) else {
                    return Err(vec![NO_VOLUME]);
                };
                if held {
                    return Err(vec!["mounted by running containers"]);
                }
                let Some((_, content)) = volume.kept.last().cloned() else {
                    return Err(vec!["was never restored"]);
                };
                volume.turn_back(content);
            }
            Self::Clone {
                from, snapshot, to, ..
            } => {
                let Some(source) = world.volumes.get(from) else {
                    return Err(vec![NO_VOLUME]);
                };
                let content = match snapshot {
                    None => Some(&source.content),
                    Some(name) => source.snapshots.get(name),
                };
                match (content, missing(to)) {
                    (Some(content), true) => {
                        let clone = Volume {
                            labels: source.labels.clone(),
                            content: content.clone(),
                            limit: source.limit,
                            sized: source.sized,
                            ..Volume::default()
                        };
                        next.volumes.insert(to.clone(), clone);
                    }
                    _ => return Err(vec!["exists already", "no such snapshot"]),
                }
            }
            Self::Rename { from, to } => {
                if missing(from) {
                    return Err(vec![NO_VOLUME, "exists already"]);
                }
                if !missing(to) {
                    return Err(vec!["exists already"]);
                }
                let volume = next.volumes.remove(from).expect("looked");
                next.volumes.insert(to.clone(), volume);
                for holder in next.holders.values_mut() {
                    if holder.volume == *from {
                        holder.volume.clone_from(to);
                    }
                }
            }
            Self::Label { volume, value } => {
                let Some(volume) = next.volumes.get_mut(volume) else {
                    return Err(vec![NO_VOLUME]);
                };
                match value {
                    Some(value) => volume.labels.insert("note".to_owned(), value.clone()),
                    None => volume.labels.remove("note"),
                };
            }
            Self::Protect { volume, on } => {
                let Some(volume) = next.volumes.get_mut(volume) else {
                    return Err(vec![NO_VOLUME]);
                };
                volume.protected = *on;
            }
            Self::Rm { volume, now } => {
                let Some(state) = world.volumes.get(volume) else {
                    return Err(vec![NO_VOLUME]);
                };
                if world.is_held(volume) {
                    return Err(vec!["volume is in use"]);
                }
                if state.protected {
                    return Err(vec!["is protected"]);
                }
                if *now {
                    next.volumes.remove(volume);
                } else {
                    next.throw_away(volume);
                }
            }
            Self::Undelete { id, to } => {
                if !missing(to) {
                    return Err(vec!["exists already"]);
                }
                let index = next
                    .trash
                    .iter()
                    .position(|(_, trashed)| trashed.id == *id)
                    .expect("it was chosen");
                let (_, volume) = next.trash.swap_remove(index);
                next.volumes.insert(to.clone(), volume);
            }
            Self::Purge { id } => {
                next.trash.retain(|(_, trashed)| trashed.id != *id);
            }
            Self::Prune => {
                for name in world.prunable(lane) {
                    next.throw_away(&name);
                }
            }
            Self::Hold {
                container,
                volume,
                running,
            } => {
                let holder = Holder {
                    volume: volume.clone(),
                    running: *running,
                };
                next.holders.insert(container.clone(), holder);
            }
            Self::Release { container } => {
                next.holders.remove(container);
            }
        }
        Ok(next)
    }

    /// The worlds that a move may have left which nobody acknowledged, given what is there.
    pub(super) fn possible(&self, before: &World, found: &World, lane: usize) -> Vec<World> {
        let mut worlds = vec![before.clone()];
        worlds.extend(self.expect(before, lane));
        if let Self::Chown { volume, uid } = self
            && let (Some(is), Some(was)) = (found.volumes.get(volume), before.volumes.get(volume))
        {
            // Each file by itself has one owner or the other: run again, it does the rest.
            let mut partly = before.clone();
            let target = partly.volumes.get_mut(volume).expect("looked");
            for (file, token) in &was.content {
                let changed = owned(token, *uid);
                if is.content.get(file) == Some(&changed) {
                    target.content.insert(file.clone(), changed);
                }
            }
            worlds.push(partly);
        }
        if matches!(self, Self::Prune) {
            // Each volume by itself is there or gone.
            let mut partly = before.clone();
            for name in before.prunable(lane) {
                if !found.volumes.contains_key(&name) {
                    partly.throw_away(&name);
                }
            }
            worlds.push(partly);
        }
        worlds
    }

    /// Containers that may have stopped, or never started, when it was cut short.
    pub(super) fn container(&self) -> Option<&str> {
        match self {
            Self::Hold { container, .. } | Self::Release { container } => Some(container),
            _ => None,
        }
    }
}

impl World {
    fn prunable(&self, lane: usize) -> Vec<String> {
        let labelled = |volume: &Volume| volume.labels.get(LANE) == Some(&format!("l{lane}"));
        self.volumes
            .iter()
            .filter(|(_, volume)| !volume.protected && !volume.sized && labelled(volume))
            .filter(|(name, _)| !self.is_held(name))
            .map(|(name, _)| name.clone())
            .collect()
    }
}

impl Volume {
    fn turn_back(&mut self, content: Content) {
        let present = std::mem::replace(&mut self.content, content);
        self.kept.push((String::new(), present));
    }
}

/// Where the client finds the archive of what lies in `scratch`.
pub(super) fn archive(scratch: &std::path::Path) -> std::path::PathBuf {
    scratch.with_extension("tar")
}

fn split(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}
