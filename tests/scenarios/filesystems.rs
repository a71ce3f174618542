//! What users do with volumes, once more on each filesystem that they have: ext4, XFS and btrfs, in a file of their own.
//!
//! An engine on a filesystem starts with the first scenario that runs on it.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use testkit::{Client, Engine};

use super::{
    Scenario, Scene, consistency, host, mount_care, mounts, pools, snapshots, unmount, volume_care,
    volume_commands, volume_upgrades,
};

const KINDS: [&str; 3] = ["ext4", "xfs", "btrfs"];

/// These need the large image, whose files would only be copied three times more, have an engine of their own, or look
/// for mounts of the state directory, which is one here.
const ONCE: [&str; 5] = [
    "s01_anonymous_volume_and_published_ports",
    "s12_the_host_sees_no_mount",
    "s13_subpath_and_image_mounts",
    "s17_copy_up_keeps_everything",
    "s168a_care_by_configuration",
];

/// Of these each runs on each filesystem.
fn scenarios() -> Vec<Scenario> {
    [
        mounts::SCENARIOS,
        mount_care::SCENARIOS,
        mount_care::OWN,
        volume_commands::SCENARIOS,
        volume_commands::OWN,
        volume_care::SCENARIOS,
        volume_care::OWN,
        volume_upgrades::SCENARIOS,
        volume_upgrades::OWN,
        pools::SCENARIOS,
        snapshots::EVERYWHERE,
        consistency::EVERYWHERE,
    ]
    .concat()
    .into_iter()
    .filter(|(name, _)| !ONCE.contains(name))
    .collect()
}

/// Each scenario with each filesystem, and the name of that trial.
pub(super) fn runs() -> impl Iterator<Item = (String, Scenario, &'static str)> {
    scenarios().into_iter().flat_map(|scenario| {
        KINDS.map(|kind| (format!("{}::on_{kind}", scenario.0), scenario, kind))
    })
}

/// An engine for each filesystem that was asked for.
#[derive(Default)]
pub(super) struct Disks(Mutex<BTreeMap<&'static str, Disk>>);

struct Disk {
    engine: Arc<Engine>,
    image: PathBuf,
}

impl Disks {
    pub(super) fn scene(&self, name: &str, kind: &'static str) -> Scene {
        let mut disks = self.0.lock().unwrap();
        let disk = disks.entry(kind).or_insert_with(|| Disk::new(kind));
        Scene {
            engine: Arc::clone(&disk.engine),
            client: Client::Orlop,
            prefix: format!("{}{kind}", name.split('_').next().unwrap()),
        }
    }

    /// Takes everything away. No scene is left.
    pub(super) fn close(self) {
        for disk in self.0.into_inner().unwrap().into_values() {
            disk.close();
        }
    }
}

impl Disk {
    fn new(kind: &str) -> Self {
        let mut engine = Engine::new(&format!("scenarios-{kind}"));
        let image = engine.root.with_extension("image");
        let file = fs::File::create(&image).unwrap();
        file.set_len(3 << 30).unwrap();
        host(&format!("mkfs.{kind}"), &["-q", image.to_str().unwrap()]);
        host(
            "mount",
            &[
                "-o",
                "loop",
                image.to_str().unwrap(),
                engine.root.to_str().unwrap(),
            ],
        );
        engine.resume();
        engine.load_busybox();
        Self {
            engine: Arc::new(engine),
            image,
        }
    }

    fn close(self) {
        let root = self.engine.root.clone();
        // Best effort, like the scratch directories of other engines.
        drop(fs::remove_dir_all(root.with_extension("scratch")));
        drop(Arc::into_inner(self.engine).expect("no trial runs any more"));
        unmount(&root);
        fs::remove_dir(&root).unwrap();
        fs::remove_file(&self.image).unwrap();
    }
}
