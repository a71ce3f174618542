//! S110–S114: limits that containers feel, pools that are found again, and a database that was lost.

use std::fs;
use std::path::PathBuf;

use testkit::{Client, Disk, Engine, Output, until};

use super::{Scenario, Scene, host};

/// Docker's own commands meet limits, too.
pub(super) const SCENARIOS: &[Scenario] = &[("s110_size_limit", s110)];

pub(super) const OWN: &[Scenario] = &[
    ("s111_grow_under_a_writer_on_btrfs", |_| {
        grow("btrfs", &["mkfs.btrfs", "-q"], "btrfs-squota");
    }),
    ("s111c_grow_when_unused_on_xfs", |_| {
        grow_unused("xfs", &["mkfs.xfs", "-q"]);
    }),
    ("s111d_grow_when_unused_on_ext4", |_| {
        grow_unused("ext4", &["mkfs.ext4", "-q"]);
    }),
    ("s112_pools", |_| pools(None)),
    ("s112a_pools_on_xfs", |_| pools(Some("xfs"))),
    ("s112b_pools_on_btrfs", |_| pools(Some("btrfs"))),
    ("s113_another_disk", |_| another_disk(None)),
    ("s113a_another_disk_with_ext4", |_| {
        another_disk(Some("ext4"));
    }),
    ("s113b_another_disk_with_xfs", |_| another_disk(Some("xfs"))),
    ("s113c_another_disk_with_btrfs", |_| {
        another_disk(Some("btrfs"));
    }),
    ("s114_lost_database", |_| lost_database()),
    ("s115_a_disk_of_its_own", |_| block_device()),
    ("s115a_a_directory_on_btrfs", |_| btrfs_directory()),
    ("s116_from_pool_to_pool", |_| between_pools(None)),
    ("s116c_from_pool_to_pool_on_xfs", |_| {
        between_pools(Some("xfs"));
    }),
    ("s116a_what_a_pool_costs_on_xfs", |_| {
        what_it_costs("xfs", &["mkfs.xfs", "-q"]);
    }),
    ("s116b_what_a_pool_costs_on_btrfs", |_| {
        what_it_costs("btrfs", &["mkfs.btrfs", "-q"]);
    }),
];

/// Only where a mounted ext4 may grow.
pub(super) const WITH_ALL_CAPABILITIES: &[Scenario] = &[
    ("s111a_grow_under_a_writer_on_xfs", |_| {
        grow("xfs", &["mkfs.xfs", "-q"], "image");
    }),
    ("s111b_grow_under_a_writer_on_ext4", |_| {
        grow("ext4", &["mkfs.ext4", "-q"], "image");
    }),
];

fn s110(scene: &Scene) {
    scene.run("volume create --opt size=16m %data").ok();
    let write = |megabytes: u32| {
        scene.run_and(
            "run --rm -v %data:/data busybox sh -c",
            &[&format!(
                "dd if=/dev/zero of=/data/big bs=1M count={megabytes}"
            )],
        )
    };
    write(8).ok();
    let refused = write(24);
    assert_ne!(refused.code, 0, "{refused}");
    let said = &refused.stderr;
    assert!(
        said.contains("No space left") || said.contains("quota exceeded"),
        "{refused}"
    );
    scene
        .run("run --rm -v %data:/data busybox rm /data/big")
        .ok();
    write(8).ok();
    scene
        .run("volume create --opt size=much %other")
        .fails(1, "invalid size: 'much'");
    scene
        .run("volume create --opt pool=nowhere %other")
        .fails(1, "no such pool");
    scene
        .run("volume inspect %other")
        .fails(1, "no such volume");
    scene.run("volume rm %data").ok();
}

/// An engine on a filesystem of its own.
struct Place {
    engine: Option<Engine>,
    image: PathBuf,
    root: PathBuf,
}

impl Place {
    fn new(kind: &str, make: &[&str]) -> Self {
        let mut engine = Engine::new(&format!("limits-{kind}"));
        let root = engine.root.clone();
        let image = root.with_extension("image");
        fs::File::create(&image)
            .unwrap()
            .set_len(800 << 20)
            .unwrap();
        let path = image.to_str().unwrap();
        host(make[0], &[&make[1..], &[path]].concat());
        host("mount", &["-o", "loop", path, root.to_str().unwrap()]);
        engine.resume();
        engine.load_busybox();
        Self {
            engine: Some(engine),
            image,
            root,
        }
    }

    fn run(&self, line: &str) -> Output {
        run(self.engine.as_ref().unwrap(), line)
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

fn run(engine: &Engine, line: &str) -> Output {
    let words: Vec<&str> = line.split_whitespace().collect();
    Client::Orlop.run(engine, &words)
}

fn shell(engine: &Engine, container: &str, script: &str) -> Output {
    Client::Orlop.run(engine, &["exec", container, "sh", "-c", script])
}

pub(super) fn has_all_capabilities() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|set| u64::from_str_radix(set.trim(), 16).ok())
        .unwrap();
    // CAP_SYS_RESOURCE.
    effective & (1 << 24) != 0
}

fn grow(kind: &str, make: &[&str], bound: &str) {
    let place = Place::new(kind, make);
    let engine = place.engine.as_ref().unwrap();
    place.run("volume create --size 16m data").ok();
    let inspected = place.run("volume inspect data").json();
    assert_eq!(inspected[0]["Abilities"]["Limit"], bound);
    place
        .run("run -d --name writer -v data:/data busybox sleep 1000")
        .ok();
    // It goes on writing while there is room, waits while there is none, and says where it is.
    shell(
        engine,
        "writer",
        "(i=0; while [ $i -lt 40 ]; do dd if=/dev/zero of=/data/$i bs=1M count=1 conv=fsync 2>/dev/null && i=$((i+1)); \
         echo $i >/tmp/at; done) >/dev/null 2>&1 &",
    )
    .ok();
    let at = || -> u32 {
        let said = shell(engine, "writer", "cat /tmp/at 2>/dev/null || echo 0").ok();
        said.trim().parse().unwrap_or(0)
    };
    until("the volume is full", || (at() >= 10).then_some(()));
    place.run("volume resize data 64m").ok();
    until("the writer is done", || (at() == 40).then_some(()));
    place
        .run("volume resize data 20m")
        .fails(1, "do not fit into");
    place.run("rm -f writer").ok();
    let limit = place
        .run("volume inspect data --format {{.Limits.Size}}")
        .ok();
    assert_eq!(limit.trim(), "67108864");
    place.run("volume snapshot create --name kept data").ok();
    assert_eq!(groups(&place), usize::from(bound == "btrfs-squota"));
    place.run("volume rm --now data").ok();
    assert_eq!(
        groups(&place),
        0,
        "nothing is counted for a volume that is gone"
    );
}

/// How many groups of groups the filesystem counts.
fn groups(place: &Place) -> usize {
    let counted = format!(
        "ls -d /sys/fs/btrfs/$(findmnt -no UUID {})/qgroups/1_* 2>/dev/null || true",
        place.engine.as_ref().unwrap().root.display()
    );
    host("sh", &["-c", &counted]).lines().count()
}

/// What any host lets us do with an ext4 of a volume's own.
fn grow_unused(kind: &str, make: &[&str]) {
    let place = Place::new(kind, make);
    let engine = place.engine.as_ref().unwrap();
    place.run("volume create --size 16m data").ok();
    place
        .run("run -d --name user -v data:/data busybox sleep 1000")
        .ok();
    if !has_all_capabilities() {
        place
            .run("volume resize data 64m")
            .fails(1, "its size cannot be changed while it is in use");
    }
    shell(engine, "user", "echo kept >/data/kept").ok();
    place.run("rm -f user").ok();
    place.run("volume resize data 64m").ok();
    let line = "run --rm -v data:/data busybox dd if=/dev/zero of=/data/more bs=1M count=30";
    place.run(line).ok();
    let kept = place.run("run --rm -v data:/data busybox cat /data/kept");
    assert_eq!(kept.ok().trim(), "kept");
    place.run("volume rm --now data").ok();
}

/// An engine whose state directory is on such a filesystem, or on the host's.
fn engine_on(kind: Option<&str>, name: &str) -> (Engine, Option<Disk>) {
    let Some(kind) = kind else {
        let engine = Engine::start(name);
        engine.load_busybox();
        return (engine, None);
    };
    let mut engine = Engine::new(&format!("{name}-{kind}"));
    let disk = Disk::mount(kind, &engine.root, 900 << 20);
    engine.resume();
    engine.load_busybox();
    (engine, Some(disk))
}

fn pools(kind: Option<&str>) {
    let (mut engine, disk) = engine_on(kind, "pools");
    run(
        &engine,
        "pool create --kind btrfs --size 300m --label a=b fast",
    )
    .ok();
    run(&engine, "pool create --kind btrfs --size 300m fast").fails(1, "exists already");
    run(&engine, "pool create --kind zfs other").fails(1, "unknown kind of pool");
    run(&engine, "pool create other").fails(1, "needs a source");
    run(&engine, "pool create --kind btrfs --size 1m other").fails(1, "at least");
    run(&engine, "volume create --pool fast --size 32m data").ok();
    run(
        &engine,
        "run -d --name app -v data:/data busybox sleep 1000",
    )
    .ok();
    run(&engine, "run --rm -v data:/data busybox touch /data/kept").ok();
    let snapshot = "volume snapshot create --name s data";
    run(&engine, snapshot).ok();
    run(&engine, "pool rm fast").fails(1, "remove fast: pool is in use - [data]");

    // Killed, it is found mounted; after a reboot it is mounted again, and once only.
    let mounted = |engine: &Engine| {
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let below = format!("{}/pools/", engine.root.display());
        table.lines().filter(|line| line.contains(&below)).count()
    };
    for reboot in [false, true] {
        engine.kill();
        if reboot {
            engine.unmount_all();
            assert_eq!(mounted(&engine), 0);
        }
        engine.resume();
        assert_eq!(mounted(&engine), 1);
        run(&engine, "run --rm -v data:/data busybox ls /data/kept").ok();
        assert_eq!(run(&engine, "volume snapshot diff data@s").ok(), "");
    }
    run(&engine, "pool resize fast 512m").ok();
    run(&engine, "pool resize fast 300m").ok();
    run(&engine, "pool resize fast 10m").fails(1, "at least");
    run(&engine, "pool resize default 1g").fails(1, "only a pool with a file");
    run(&engine, "pool default fast").ok();
    run(&engine, "volume create other").ok();
    let pool = run(&engine, "volume inspect other --format {{.Pool}}").ok();
    assert_eq!(pool.trim(), "fast");
    run(&engine, "rm -f app").ok();
    // Options keep a volume from a prune, as with Docker; the choice of a pool is none of those.
    run(&engine, "volume create --pool fast placed").ok();
    let pruned = run(&engine, "volume prune -af --now").ok();
    let gone: Vec<&str> = pruned.lines().skip(1).take(2).collect();
    assert_eq!(gone, ["other", "placed"], "{pruned}");
    run(&engine, "volume rm --now data").ok();
    run(&engine, "pool rm fast").fails(1, "pool default");
    run(&engine, "pool default default").ok();
    run(&engine, "pool rm fast").ok();
    assert_eq!(mounted(&engine), 0);
    assert_eq!(fs::read_dir(engine.root.join("pools")).unwrap().count(), 0);
    drop(engine);
    drop(disk);
}

/// `kind`: the filesystem of the disk.
fn another_disk(kind: Option<&str>) {
    let mut engine = Engine::start(&format!("other-disk-{}", kind.unwrap_or("host")));
    engine.load_busybox();
    let there = kind.map(|kind| {
        let there = engine.root.with_extension("there");
        (Disk::mount(kind, &there, 400 << 20), there)
    });
    let disk = match &there {
        Some((_, there)) => there.join("disk"),
        None => engine.root.with_extension("disk"),
    };
    let source = disk.to_str().unwrap().to_owned();
    run(&engine, &format!("pool create --source {source} disk")).ok();
    run(&engine, &format!("pool create --source {source} twice")).fails(1, "is a pool already");
    run(&engine, "volume create --pool disk data").ok();
    run(&engine, "run --rm -v data:/data busybox touch /data/kept").ok();

    // The disk is away, and an empty directory in its place.
    engine.kill();
    let away = disk.with_extension("away");
    fs::rename(&disk, &away).unwrap();
    fs::create_dir(&disk).unwrap();
    engine.resume();
    run(&engine, "volume inspect data").ok();
    run(&engine, "run --rm -v data:/data busybox true").fails(125, "its pool disk is not there");
    run(&engine, "volume rm data").fails(1, "its pool disk is not there");
    run(&engine, "volume create --pool disk more").fails(1, "pool disk is not there");
    let audit = run(&engine, "volume audit");
    assert!(audit.stdout.contains("missing-pool"), "{audit}");
    assert_eq!(
        fs::read_dir(&disk).unwrap().count(),
        0,
        "nothing is written to it"
    );

    fs::remove_dir(&disk).unwrap();
    fs::rename(&away, &disk).unwrap();
    run(&engine, "run --rm -v data:/data busybox ls /data/kept").ok();
    run(&engine, "volume rm --now data").ok();
    run(&engine, "pool rm disk").ok();
    assert_eq!(
        fs::read_dir(&disk).unwrap().count(),
        0,
        "the directory stays, empty"
    );
    fs::remove_dir(&disk).unwrap();
    drop(there);
}

/// A directory on somebody's btrfs.
fn btrfs_directory() {
    let mut engine = Engine::start("btrfs-directory");
    engine.load_busybox();
    let there = engine.root.with_extension("there");
    let disk = Disk::mount("btrfs", &there, 400 << 20);
    let others = there.join("others");
    fs::write(&others, "kept").unwrap();
    let source = there.join("pool");
    let create = |source: &std::path::Path, name: &str| {
        let source = source.display();
        run(
            &engine,
            &format!("pool create --kind btrfs --source {source} {name}"),
        )
    };
    create(&engine.root.with_extension("nowhere"), "btr").fails(1, "is not on a btrfs");
    create(&there, "btr").fails(1, "not empty");
    create(&source, "btr").ok();
    create(&source, "again").fails(1, "is a pool already");
    let shown = run(&engine, "pool inspect btr --format {{.Kind}}:{{.State}}");
    assert_eq!(shown.ok().trim(), "btrfs:ready");
    run(&engine, "pool resize btr 1g").fails(1, "a file or a device of its own");

    run(&engine, "volume create --pool btr --size 32m data").ok();
    let fill =
        "run --rm -v data:/data busybox dd if=/dev/zero of=/data/big bs=1M count=48 conv=fsync";
    let refused = run(&engine, fill);
    assert_ne!(refused.code, 0, "{refused}");
    run(&engine, "run --rm -v data:/data busybox rm /data/big").ok();
    run(&engine, "run --rm -v data:/data busybox touch /data/kept").ok();
    run(&engine, "volume snapshot create --name s data").ok();
    let abilities =
        "volume inspect data --format {{.Abilities.Limit}}:{{.Abilities.Snapshot}}:{{.Pool}}";
    let abilities = run(&engine, abilities);
    assert_eq!(abilities.ok().trim(), "btrfs-squota:instant:btr");
    run(&engine, "run --rm -v data:/data busybox rm /data/kept").ok();
    run(&engine, "volume restore data@s").ok();

    // Written while it had no limit; what the filesystem counted meanwhile counts.
    run(&engine, "volume create --pool btr later").ok();
    let fill =
        "run --rm -v later:/data busybox dd if=/dev/zero of=/data/big bs=1M count=40 conv=fsync";
    run(&engine, fill).ok();
    run(&engine, "volume resize later 32m").fails(1, "which do not fit into 33554432");
    run(&engine, "volume resize later 64m").ok();
    let more =
        "run --rm -v later:/data busybox dd if=/dev/zero of=/data/more bs=1M count=40 conv=fsync";
    let refused = run(&engine, more);
    assert_ne!(refused.code, 0, "{refused}");

    // Found again with its limits, also without the database.
    engine.kill();
    for file in ["orlop.db", "orlop.db-wal", "orlop.db-shm"] {
        fs::remove_file(engine.root.join(file)).ok();
    }
    engine.resume();
    engine.load_busybox();
    run(&engine, "run --rm -v data:/data busybox ls /data/kept").ok();
    let limit = run(
        &engine,
        "volume inspect later --format {{.Limits.Size}}:{{.Pool}}",
    );
    assert_eq!(limit.ok().trim(), "67108864:btr");
    run(&engine, "volume rm --now data later").ok();
    run(&engine, "pool rm btr").ok();
    let left: Vec<_> = fs::read_dir(&there)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert!(left.contains(&"others".into()), "{left:?}");
    drop(engine);
    drop(disk);
}

/// A loop device stands for a disk.
struct LoopDisk {
    file: PathBuf,
    device: String,
}

impl LoopDisk {
    fn new(engine: &Engine) -> Self {
        let file = engine.root.with_extension("disk");
        fs::File::create(&file).unwrap().set_len(400 << 20).unwrap();
        let mut disk = Self {
            file,
            device: String::new(),
        };
        disk.plug();
        disk
    }

    /// Under whatever name is free.
    fn plug(&mut self) {
        let said = host(
            "losetup",
            &["--find", "--show", self.file.to_str().unwrap()],
        );
        self.device = said.trim().to_owned();
    }

    fn unplug(&self) {
        host("losetup", &["--detach", &self.device]);
        until("the device is free", || {
            let attached = host("losetup", &["--associated", self.file.to_str().unwrap()]);
            attached.trim().is_empty().then_some(())
        });
    }
}

impl Drop for LoopDisk {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.unplug();
            fs::remove_file(&self.file).unwrap();
        }
    }
}

fn block_device() {
    let mut engine = Engine::start("block-device");
    engine.load_busybox();
    let mut disk = LoopDisk::new(&engine);
    let create = |device: &str, more: &str| {
        format!("pool create --kind btrfs --source {device} {more} disk")
    };
    run(&engine, &create(&disk.device, "")).fails(1, "--format makes one");
    run(
        &engine,
        &format!("pool create --source {} disk", disk.device),
    )
    .fails(1, "neither a directory");
    // What is on it is lost only by force.
    host("mkfs.ext4", &["-q", &disk.device]);
    run(&engine, &create(&disk.device, "--format")).fails(1, "which --force would destroy");
    run(&engine, &create(&disk.device, "--format --force")).ok();
    run(&engine, "volume create --pool disk --size 32m data").ok();
    run(
        &engine,
        "run -d --name app -v data:/data busybox sleep 1000",
    )
    .ok();
    let write = "dd if=/dev/zero of=/data/big bs=1M count=48 conv=fsync";
    let refused = shell(&engine, "app", write);
    assert_ne!(refused.code, 0, "{refused}");
    shell(&engine, "app", "rm /data/big; echo kept >/data/kept; sync").ok();
    run(&engine, "volume snapshot create --name s data").ok();
    let abilities = run(
        &engine,
        "volume inspect data --format {{.Abilities.Limit}}:{{.Abilities.Snapshot}}",
    );
    assert_eq!(abilities.ok().trim(), "btrfs-squota:instant");
    // The disk has grown, and its pool takes what it is told to, under who writes.
    run(&engine, "pool resize disk 600m").fails(1, "its device has 419430400 bytes");
    let file = fs::OpenOptions::new().write(true).open(&disk.file).unwrap();
    file.set_len(600 << 20).unwrap();
    host("losetup", &["--set-capacity", &disk.device]);
    for (size, bytes) in [
        ("max", "629145600"),
        ("320m", "335544320"),
        ("500m", "524288000"),
    ] {
        run(&engine, &format!("pool resize disk {size}")).ok();
        let is = run(&engine, "pool inspect disk --format {{.Size}}");
        assert_eq!(is.ok().trim(), bytes);
        shell(&engine, "app", "sync -f /data/kept").ok();
    }
    run(&engine, "pool resize disk 64m").fails(1, "a pool needs at least");
    run(&engine, "rm -f app").ok();

    // Away at a start, its volumes say so; back under another name, it is found by what is on it.
    engine.kill();
    engine.unmount_all();
    let before = disk.device.clone();
    disk.unplug();
    engine.resume();
    run(&engine, "run --rm -v data:/data busybox true").fails(125, "its pool disk is not there");
    run(&engine, "volume rm data").fails(1, "its pool disk is not there");
    let other = engine.root.with_extension("other");
    fs::File::create(&other).unwrap().set_len(1 << 20).unwrap();
    let in_the_way = host("losetup", &["--find", "--show", other.to_str().unwrap()]);
    disk.plug();
    let kept = run(&engine, "run --rm -v data:/data busybox cat /data/kept");
    assert_eq!(
        kept.ok().trim(),
        "kept",
        "on {} after {before}",
        disk.device
    );
    let diff = run(&engine, "volume snapshot diff data@s");
    assert_eq!(diff.ok(), "");
    host("losetup", &["--detach", in_the_way.trim()]);
    fs::remove_file(&other).unwrap();

    run(&engine, "volume rm --now data").ok();
    run(&engine, "pool rm disk").ok();
    // The disk is left as it was made, and can be one again.
    run(&engine, &create(&disk.device, "")).ok();
    run(&engine, "volume create --pool disk data").ok();
    run(&engine, "volume rm --now data").ok();
    run(&engine, "pool rm disk").ok();
    drop(engine);
}

fn between_pools(kind: Option<&str>) {
    let (mut engine, state) = engine_on(kind, "between-pools");
    let disk = engine.root.with_extension("disk");
    run(
        &engine,
        &format!("pool create --source {} disk", disk.display()),
    )
    .ok();
    run(&engine, "pool create --kind btrfs --size 300m fast").ok();
    run(&engine, "volume create --size 24m --label a=b data").ok();
    let script = "mkdir /data/deep; echo kept >/data/deep/kept; ln /data/deep/kept /data/twice; ln -s deep /data/link";
    Client::Orlop
        .run(
            &engine,
            &[
                "run",
                "--rm",
                "-v",
                "data:/data",
                "busybox",
                "sh",
                "-c",
                script,
            ],
        )
        .ok();
    run(&engine, "volume snapshot create --name s data").ok();
    let where_is = |volume: &str| {
        let format = "{{.Pool}} {{.Limits.Size}} {{.Labels.a}}";
        Client::Orlop
            .run(&engine, &["volume", "inspect", volume, "--format", format])
            .ok()
            .trim()
            .to_owned()
    };
    // From and to each kind of place, with its limit; from a snapshot, and from the present.
    for (source, pool, name) in [
        ("data", "fast", "one"),
        ("data@s", "disk", "two"),
        ("one", "disk", "three"),
        ("one", "default", "four"),
        ("two", "fast", "five"),
        ("one", "fast", "six"),
    ] {
        run(
            &engine,
            &format!("volume clone --pool {pool} {source} {name}"),
        )
        .ok();
        assert_eq!(where_is(name), format!("{pool} 25165824 b"), "{source}");
        let kept = run(
            &engine,
            &format!("run --rm -v {name}:/data busybox cat /data/link/kept /data/twice"),
        );
        assert_eq!(
            kept.ok().split_whitespace().collect::<Vec<_>>(),
            ["kept", "kept"]
        );
        let more = format!(
            "run --rm -v {name}:/data busybox dd if=/dev/zero of=/data/big bs=1M count=30 conv=fsync"
        );
        let refused = run(&engine, &more);
        assert_ne!(refused.code, 0, "{source} to {pool}: {refused}");
        let snapshot = run(&engine, &format!("volume snapshot create --name t {name}"));
        snapshot.ok();
        let restored = run(&engine, &format!("volume restore {name}@t"));
        restored.ok();
    }
    run(&engine, "volume clone --pool nowhere data other").fails(1, "no such pool");
    run(&engine, "volume inspect other").fails(1, "no such volume");

    // Another name, while it is in use.
    run(
        &engine,
        "run -d --name user -v three:/data busybox sleep 1000",
    )
    .ok();
    run(&engine, "pool rename disk fast").fails(1, "exists already");
    run(&engine, "pool rename disk default").fails(1, "exists already");
    run(&engine, "pool rename disk .bad").fails(1, "invalid pool name");
    run(&engine, "pool rename default other").fails(1, "state directory");
    run(&engine, "pool rename nowhere other").fails(1, "no such pool");
    run(&engine, "pool rename disk big").ok();
    assert_eq!(where_is("three"), "big 25165824 b");
    shell(&engine, "user", "cat /data/deep/kept").ok();
    run(&engine, "pool inspect disk").fails(1, "no such pool");
    run(&engine, "pool default big").ok();

    // What filled a volume, and where new ones go, outlive the database.
    let before = run(&engine, "volume inspect two --format {{.Pool}}").ok();
    run(&engine, "rm -f user").ok();
    engine.kill();
    for file in ["orlop.db", "orlop.db-wal", "orlop.db-shm"] {
        fs::remove_file(engine.root.join(file)).ok();
    }
    engine.resume();
    assert_eq!(run(&engine, "pool default").ok().trim(), "big");
    assert_eq!(
        run(&engine, "volume inspect two --format {{.Pool}}").ok(),
        before
    );
    run(&engine, "volume create new").ok();
    let pool = run(&engine, "volume inspect new --format {{.Pool}}").ok();
    assert_eq!(pool.trim(), "big");

    let volumes = ["data", "one", "two", "three", "four", "five", "six", "new"];
    let line = format!("volume rm --now {}", volumes.join(" "));
    run(&engine, &line).ok();
    run(&engine, "pool default default").ok();
    run(&engine, "pool rm big fast").ok();
    fs::remove_dir(&disk).unwrap();
    drop(engine);
    drop(state);
}

/// Where a clone goes to counts, not where it comes from alone: said before, and in progress.
fn what_it_costs(kind: &str, make: &[&str]) {
    let place = Place::new(kind, make);
    let engine = place.engine.as_ref().unwrap();
    let (near, far) = (place.root.join("near"), place.root.with_extension("far"));
    for (name, directory) in [("near", &near), ("far", &far)] {
        fs::create_dir(directory).unwrap();
        let line = format!("pool create --source {} {name}", directory.display());
        place.run(&line).ok();
    }
    place
        .run("run -d --name app -v data:/data busybox sleep 1000")
        .ok();
    shell(engine, "app", "head -c 20480000 /dev/urandom > /data/big").ok();
    place.run("volume snapshot create --name s data").ok();
    for (pool, copies) in [("near", false), ("far", true), ("default", false)] {
        for source in ["data", "data@s"] {
            let line = format!("volume clone --progress json --pool {pool} {source} copy");
            let told = place.run(&line);
            told.ok();
            let warned = format!("volume data: pool {pool} cannot share its data: 20480000 bytes");
            assert_eq!(told.stderr.contains(&warned), copies, "{source}: {told}");
            assert_eq!(
                told.stderr
                    .contains("are frozen while they are copied: app"),
                copies && source == "data",
                "{source}: {told}"
            );
            assert_eq!(
                told.stderr.contains(r#""total":20480000"#),
                copies,
                "{source}: {told}"
            );
            place.run("volume rm --now copy").ok();
        }
    }
    place.run("rm -f app").ok();
    place.run("volume rm --now data").ok();
    place.run("pool rm near far").ok();
    fs::remove_dir(&far).unwrap();
}

fn lost_database() {
    let mut engine = Engine::start("lost");
    engine.load_busybox();
    run(&engine, "volume create --label color=red --size 16m data").ok();
    run(&engine, "volume create plain").ok();
    run(&engine, "volume create gone").ok();
    for volume in ["data", "plain", "gone"] {
        run(
            &engine,
            &format!("run --rm -v {volume}:/data busybox touch /data/kept"),
        )
        .ok();
    }
    run(&engine, "volume snapshot create --name s plain").ok();
    run(&engine, "volume snapshot create --name s data").ok();
    run(&engine, "volume rm gone").ok();
    engine.kill();
    for file in ["orlop.db", "orlop.db-wal", "orlop.db-shm"] {
        fs::remove_file(engine.root.join(file)).ok();
    }
    // A copy for later, without its database either.
    let copy = engine.root.with_extension("copy");
    engine.unmount_all();
    host(
        "cp",
        &["-a", engine.root.to_str().unwrap(), copy.to_str().unwrap()],
    );
    fs::write(copy.join("orlop.db"), "this is no database").unwrap();

    let check = |engine: &Engine| {
        let inspected = run(engine, "volume inspect data").json();
        assert_eq!(inspected[0]["Labels"]["color"], "red");
        assert_eq!(inspected[0]["Limits"]["Size"], 16 << 20);
        for volume in ["data", "plain"] {
            run(
                engine,
                &format!("run --rm -v {volume}:/data busybox ls /data/kept"),
            )
            .ok();
            let diff = run(engine, &format!("volume snapshot diff {volume}@s"));
            assert_eq!(diff.ok(), "");
        }
        run(engine, "volume undelete gone").ok();
        run(engine, "run --rm -v gone:/data busybox ls /data/kept").ok();
    };
    engine.resume();
    engine.load_busybox();
    check(&engine);

    // The same by command, for a directory that is no engine's.
    run(&engine, "system rescue /nowhere").fails(1, "is no state directory");
    assert_eq!(
        run(&engine, "system rescue").ok().trim(),
        "nothing is missing"
    );
    let rescued = run(&engine, &format!("system rescue {}", copy.display()));
    let said = rescued.ok();
    assert!(said.contains("was put aside"), "{said}");
    assert!(said.contains("volume data was found again"), "{said}");
    let again = run(&engine, &format!("system rescue {}", copy.display()));
    assert_eq!(again.ok().trim(), "nothing is missing");
    drop(engine);
    fs::remove_dir_all(&copy).unwrap();
}
