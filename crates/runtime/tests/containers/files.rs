//! The root: layers, read-only, odd names; and the view of a stopped container's files.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use rustix::fs::{Mode, OFlags};

use crate::Case;
use crate::fixture::{Fixture, tmpfs};

pub(crate) const CASES: &[Case] = &[
    ("root_of_any_depth", root_of_any_depth),
    ("read_only_root", read_only_root),
    (
        "changes_are_in_the_upper_directory",
        changes_are_in_the_upper_directory,
    ),
    ("view_of_a_stopped_container", view_of_a_stopped_container),
    (
        "exit_does_not_wait_for_the_disk",
        exit_does_not_wait_for_the_disk,
    ),
];

fn root_of_any_depth() {
    let mut fixture = Fixture::shell("cat /name; touch /wrote");
    let layers = fixture.directory.join("layers");
    let names: Vec<String> = (10..110).map(|number| format!("{number}/fs")).collect();
    for name in &names {
        fs::create_dir_all(layers.join(name)).unwrap();
        fs::write(layers.join(name).join("name"), name).unwrap();
    }
    fixture.spec.root.lowers = names
        .iter()
        .chain([&"1/fs".to_owned()])
        .map(Into::into)
        .collect();
    assert_eq!(fixture.run().unwrap().output, "10/fs");
    assert!(fixture.directory.join("c/upper/wrote").exists());

    fixture.spec.root.lowers = vec!["1/fs".into()];
    fixture.script("echo one");
    assert_eq!(fixture.run().unwrap().output, "one\n");

    let odd = layers.join("odd:na,me\\x/fs");
    fs::create_dir_all(&odd).unwrap();
    fs::write(odd.join("name"), "odd").unwrap();
    fixture.spec.root.lowers = vec!["odd:na,me\\x/fs".into(), "1/fs".into()];
    for below in ["u,p:p\\er", "w,o:r\\k"] {
        fs::create_dir(fixture.directory.join("c").join(below)).unwrap();
    }
    fixture.spec.root.upper = fixture.directory.join("c/u,p:p\\er");
    fixture.spec.root.work = fixture.directory.join("c/w,o:r\\k");
    fixture.script("cat /name; touch /wrote");
    assert_eq!(fixture.run().unwrap().output, "odd");
    assert!(fixture.spec.root.upper.join("wrote").exists());

    // No layer at all: the upper directory is the root.
    fixture.spec.root.upper = layers.join("1/fs");
    fixture.spec.root.lowers.clear();
    fixture.script("touch /direct");
    assert_eq!(fixture.run().unwrap().code, 0);
    assert!(layers.join("1/fs/direct").exists());
}

fn read_only_root() {
    let mut fixture = Fixture::shell(
        "touch /x /etc/x; touch /data/x /tmp/x && echo wrote; touch /dev/shm/x && echo shm",
    );
    fixture.spec.root.readonly = true;
    let volume = fixture.volume();
    fixture.bind(&volume, "/data");
    fixture.spec.mounts.push(tmpfs("/tmp", &[]));
    fixture.spec.process.cwd = "/made/for/it".to_owned();
    let text = fixture.run().unwrap().output;
    assert_eq!(text.matches("Read-only file system").count(), 2, "{text}");
    assert!(
        text.contains("wrote\n") && text.ends_with("shm\n"),
        "{text}"
    );
}

fn changes_are_in_the_upper_directory() {
    let fixture = Fixture::shell(
        "rm /etc/group; echo new > /etc/new; mv /srv /moved || cp -a /srv /moved; mkdir -m 700 /d",
    );
    assert_eq!(fixture.run().unwrap().code, 0);
    let upper = fixture.directory.join("c/upper");
    let whiteout = fs::symlink_metadata(upper.join("etc/group")).unwrap();
    assert_eq!(
        (whiteout.mode() & 0o170_000, whiteout.rdev()),
        (0o020_000, 0)
    );
    assert_eq!(fs::read_to_string(upper.join("etc/new")).unwrap(), "new\n");
    assert!(upper.join("moved/www").is_dir());
    assert_eq!(
        fs::metadata(upper.join("d")).unwrap().mode() & 0o7777,
        0o700
    );
    // A second run goes on where the first ended.
    let mut again = fixture;
    again.script("cat /etc/new");
    assert_eq!(again.run().unwrap().output, "new\n");
}

fn view_of_a_stopped_container() {
    let mut fixture = Fixture::shell("echo changed > /etc/new");
    let volume = fixture.volume();
    fs::write(volume.join("file"), "volume\n").unwrap();
    fixture.bind(&volume, "/data");
    fixture.spec.mounts.push(tmpfs("/tmp", &[]));
    fixture.run().unwrap();
    // A throw-away process, as the engine makes one.
    let sys::process::Fork::Parent(child) = sys::process::fork_with(0, None).unwrap() else {
        let root = runtime::mount_view(&fixture.spec).unwrap();
        let open = |path: &str, flags| rustix::fs::openat(&root, path, flags, Mode::from(0o644));
        let read = |path: &str| {
            let mut buffer = [0; 64];
            let length =
                rustix::io::read(open(path, OFlags::RDONLY).unwrap(), &mut buffer).unwrap();
            String::from_utf8_lossy(&buffer[..length]).into_owned()
        };
        let fine = read("etc/new") == "changed\n"
            && read("data/file") == "volume\n"
            && open("proc/self", OFlags::PATH).is_err()
            && open("tmp/in-layer", OFlags::WRONLY | OFlags::CREATE).is_ok()
            && open("data/in-volume", OFlags::WRONLY | OFlags::CREATE).is_ok();
        sys::process::exit_now(i32::from(!fine));
    };
    assert_eq!(sys::process::wait(child.pid).unwrap(), 0);
    assert!(volume.join("in-volume").exists());
    assert!(fixture.directory.join("c/upper/tmp/in-layer").exists());
}

fn exit_does_not_wait_for_the_disk() {
    let fixture =
        Fixture::shell("dd if=/dev/zero of=/big bs=1M count=300 2>/dev/null; echo running");
    let (running, mut output) = fixture.start();
    crate::fixture::read_until(&mut output, "running");
    let begin = std::time::Instant::now();
    assert_eq!(crate::fixture::wait(&running), 0);
    let exited = begin.elapsed();
    runtime::clean(&fixture.spec).unwrap();
    // What the overlay's end costs (a sync of the file system below) is paid after the exit is known.
    println!(
        "note: exit {exited:?}, clean-up {:?}",
        begin.elapsed() - exited
    );
    let overlay = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!overlay.contains("overlay"));
}
