//! Every kind of mount, where it lands, and what the host sees of it.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::process::Command;

use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_change, unmount};
use shim_protocol::spec::{Mount, MountKind, Propagation, ReadonlyRecursion};

use crate::Case;
use crate::fixture::{Fixture, bind, read_until, tmpfs};

pub(crate) const CASES: &[Case] = &[
    (
        "binds_of_directories_and_files",
        binds_of_directories_and_files,
    ),
    ("missing_sources", missing_sources),
    ("read_only_binds", read_only_binds),
    (
        "symlinked_targets_stay_inside",
        symlinked_targets_stay_inside,
    ),
    ("file_over_directory_and_back", file_over_directory_and_back),
    ("subpaths", subpaths),
    ("propagation", propagation),
    ("tmpfs_options", tmpfs_options),
    ("image_mounts", image_mounts),
    ("nothing_inside_proc", nothing_inside_proc),
    ("cgroups_are_seen", cgroups_are_seen),
];

fn said(fixture: &Fixture) -> String {
    fixture.run().unwrap().output
}

fn set(mount: &mut Mount, change: impl FnOnce(&mut MountKind)) -> &mut Mount {
    change(&mut mount.kind);
    mount
}

fn binds_of_directories_and_files() {
    let mut fixture = Fixture::shell(
        "cat /data/a /etc/hosts /new/dir/file; echo inside > /data/b; echo more >> /etc/hosts",
    );
    let volume = fixture.volume();
    fs::write(volume.join("a"), "volume\n").unwrap();
    let hosts = fixture.directory.join("hosts");
    fs::write(&hosts, "hosts\n").unwrap();
    fixture.bind(&volume, "/data");
    fixture.bind(&hosts, "/etc/hosts");
    fixture.bind(&hosts, "/new/dir/file");
    assert_eq!(said(&fixture), "volume\nhosts\nhosts\n");
    assert_eq!(fs::read_to_string(volume.join("b")).unwrap(), "inside\n");
    assert_eq!(fs::read_to_string(&hosts).unwrap(), "hosts\nmore\n");
    // Mount points are in the container's own layer, and empty.
    let upper = fixture.directory.join("c/upper");
    assert_eq!(
        fs::metadata(upper.join("data")).unwrap().mode() & 0o7777,
        0o755
    );
    assert_eq!(fs::read(upper.join("new/dir/file")).unwrap(), b"");
    assert!(!upper.join("data/b").exists());
}

fn missing_sources() {
    let mut fixture = Fixture::shell("touch /data/x");
    let missing = fixture.directory.join("not/yet");
    fixture.bind(&missing, "/data");
    let error = fixture.run().unwrap_err();
    let expected = format!(
        "bind source path does not exist: {}: no such file or directory",
        missing.display()
    );
    assert_eq!((error.step.as_str(), error.message), ("mount", expected));
    set(fixture.spec.mounts.last_mut().unwrap(), |kind| {
        if let MountKind::Bind { create_source, .. } = kind {
            *create_source = true;
        }
    });
    assert_eq!(fixture.run().unwrap().code, 0);
    assert!(missing.join("x").exists());
}

fn read_only_binds() {
    let mut fixture =
        Fixture::shell("touch /data/x; touch /data/below/x && echo wrote; touch /data/x /data/y");
    let volume = fixture.volume();
    fs::create_dir(volume.join("below")).unwrap();
    rustix::mount::mount(
        "tmpfs",
        volume.join("below"),
        "tmpfs",
        rustix::mount::MountFlags::empty(),
        None,
    )
    .unwrap();
    fixture.bind(&volume, "/data").readonly = true;
    for (recursion, below_writable) in [
        (ReadonlyRecursion::IfPossible, false),
        (ReadonlyRecursion::Forced, false),
        (ReadonlyRecursion::Never, true),
    ] {
        set(fixture.spec.mounts.last_mut().unwrap(), |kind| {
            if let MountKind::Bind {
                readonly_recursion, ..
            } = kind
            {
                *readonly_recursion = recursion;
            }
        });
        let text = said(&fixture);
        assert_eq!(
            text.contains("wrote"),
            below_writable,
            "{recursion:?}: {text}"
        );
        assert!(text.contains("/data/y: Read-only file system"), "{text}");
    }
    set(fixture.spec.mounts.last_mut().unwrap(), |kind| {
        if let MountKind::Bind { recursive, .. } = kind {
            *recursive = false;
        }
    });
    fixture.script("ls /data/below | wc -l; grep -c /data /proc/self/mountinfo");
    assert_eq!(said(&fixture), "0\n1\n");
    // A mount point cannot be made in a volume that is not to be written.
    let other = fixture.directory.join("run");
    fixture.bind(&other, "/data/fresh");
    let error = fixture.run().unwrap_err();
    assert_eq!(
        error.message,
        "cannot make the mount point /data/fresh: read-only file system"
    );
    unmount(volume.join("below"), UnmountFlags::DETACH).unwrap();
}

fn symlinked_targets_stay_inside() {
    let mut fixture = Fixture::shell("cat /run/v/a /var/run/v/a /inner/a /dangle/v/a");
    let volume = fixture.volume();
    fs::write(volume.join("a"), "a\n").unwrap();
    fs::create_dir(fixture.image("run")).unwrap();
    fs::remove_dir(fixture.image("var/run")).unwrap();
    symlink("/run", fixture.image("var/run")).unwrap();
    let outside = fixture.directory.join("outside");
    symlink(&outside, fixture.image("escape")).unwrap();
    symlink("../../../../../../../../..", fixture.image("up")).unwrap();
    symlink("/missing/deep", fixture.image("dangle")).unwrap();
    fixture.bind(&volume, "/var/run/v");
    fixture.bind(&volume, "/escape/x");
    fixture.bind(&volume, "/up/inner");
    fixture.bind(&volume, "/dangle/v");
    assert_eq!(said(&fixture), "a\na\na\na\n");
    assert!(!outside.exists());
    // The link's target was made inside.
    assert!(
        fixture
            .directory
            .join("c/upper")
            .join(outside.strip_prefix("/").unwrap())
            .exists()
    );
    assert!(fixture.directory.join("c/upper/missing/deep/v").exists());
}

fn file_over_directory_and_back() {
    let mut fixture = Fixture::new();
    let volume = fixture.volume();
    let file = fixture.directory.join("file");
    fs::write(&file, "").unwrap();
    fixture.bind(&volume, "/etc/passwd");
    let error = fixture.run().unwrap_err();
    assert!(
        error
            .message
            .starts_with("cannot mount volume over existing file, file exists /etc/passwd"),
        "{error:?}"
    );
    fixture.spec.mounts.pop();
    fixture.bind(&file, "/etc");
    let error = fixture.run().unwrap_err();
    assert!(
        error.message.contains(
            "not a directory: Are you trying to mount a directory onto a file (or vice-versa)?"
        ),
        "{error:?}"
    );
    fixture.spec.mounts.pop();
    fixture.bind(&volume, "/etc/passwd/below");
    let error = fixture.run().unwrap_err();
    assert_eq!(
        error.message,
        "cannot make the mount point /etc/passwd/below: not a directory"
    );
}

fn subpaths() {
    let mut fixture = Fixture::shell("cat /data/a || cat /data");
    let volume = fixture.volume();
    fs::create_dir_all(volume.join("real/deep")).unwrap();
    fs::write(volume.join("real/deep/a"), "deep\n").unwrap();
    symlink("real/deep", volume.join("good")).unwrap();
    symlink("../..", volume.join("real/deep/up")).unwrap();
    symlink("/etc", volume.join("absolute")).unwrap();
    symlink("../run", volume.join("out")).unwrap();
    fixture.bind(&volume, "/data");
    let mut with = |path: &str| {
        set(fixture.spec.mounts.last_mut().unwrap(), |kind| {
            if let MountKind::Bind { subpath, .. } = kind {
                *subpath = Some(path.to_owned());
            }
        });
        fixture
            .run()
            .map(|outcome| outcome.output)
            .map_err(|error| error.message)
    };
    for path in [
        "real/deep",
        "good",
        "real/deep/up/real/deep",
        "./real/../good",
    ] {
        assert_eq!(with(path).unwrap(), "deep\n", "{path}");
    }
    for path in ["..", "absolute", "out", "real/../../run", "/etc"] {
        let error = with(path).unwrap_err();
        assert!(
            error.ends_with("path escapes the volume"),
            "{path}: {error}"
        );
    }
    let error = with("nope").unwrap_err();
    fixture.spec.mounts.last_mut().unwrap().target = "/file".to_owned();
    fixture.script("cat /file");
    set(fixture.spec.mounts.last_mut().unwrap(), |kind| {
        if let MountKind::Bind { subpath, .. } = kind {
            *subpath = Some("good/a".to_owned());
        }
    });
    assert_eq!(said(&fixture), "deep\n");
    assert!(
        error.ends_with("volume/nope': no such file or directory"),
        "{error}"
    );
}

fn propagation() {
    let mut fixture = Fixture::new();
    let volume = fixture.volume();
    // A mount of its own, shared as a systemd host's are, with one below.
    rustix::mount::mount_bind(&volume, &volume).unwrap();
    mount_change(&volume, MountPropagationFlags::SHARED).unwrap();
    fs::create_dir(volume.join("below")).unwrap();
    rustix::mount::mount_bind(volume.join("below"), volume.join("below")).unwrap();
    mount_change(volume.join("below"), MountPropagationFlags::SHARED).unwrap();
    fs::create_dir(volume.join("later")).unwrap();
    fs::create_dir(volume.join("inner")).unwrap();

    fixture
        .spec
        .process
        .capabilities
        .push("CAP_SYS_ADMIN".to_owned());
    fixture.bind(&volume, "/data");
    for (kind, top, below, host_to_container, container_to_host) in [
        (Propagation::Rprivate, "-", "-", false, false),
        (Propagation::Private, "-", "master", false, false),
        (Propagation::Rslave, "master", "master", true, false),
        (Propagation::Slave, "master", "master", true, false),
        (Propagation::Rshared, "shared", "shared", true, true),
        (Propagation::Shared, "shared", "shared", true, true),
    ] {
        set(fixture.spec.mounts.last_mut().unwrap(), |mount| {
            if let MountKind::Bind { propagation, .. } = mount {
                *propagation = kind;
            }
        });
        fixture.spec.root.propagation = match kind {
            Propagation::Shared | Propagation::Rshared => Propagation::Shared,
            Propagation::Slave | Propagation::Rslave => Propagation::Slave,
            other => other,
        };
        fixture.script(
            "for p in /data /data/below; do grep \" $p \" /proc/self/mountinfo | cut -d' ' -f7 | sed 's/:.*//'; done; \
             mount -t tmpfs inner /data/inner; echo running; sleep 1000",
        );
        let (running, mut output) = fixture.start();
        assert_eq!(
            read_until(&mut output, "running"),
            format!("{top}\n{below}\nrunning\n"),
            "{kind:?}"
        );
        rustix::mount::mount(
            "later",
            volume.join("later"),
            "tmpfs",
            rustix::mount::MountFlags::empty(),
            None,
        )
        .unwrap();
        let seen = fixture
            .exec(&running, "grep -c ' /data/later ' /proc/self/mountinfo")
            .unwrap();
        assert_eq!(
            seen.output,
            format!("{}\n", u8::from(host_to_container)),
            "{kind:?}"
        );
        unmount(volume.join("later"), UnmountFlags::DETACH).unwrap();
        let host = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let inner = volume.join("inner").to_string_lossy().into_owned();
        assert_eq!(host.contains(&inner), container_to_host, "{kind:?}");
        fixture.end(&running);
        if container_to_host {
            unmount(volume.join("inner"), UnmountFlags::DETACH).unwrap();
        }
    }
    // The container ended; the host's own mounts are as they were.
    let host = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert_eq!(host.matches(&*volume.to_string_lossy()).count(), 4);
    unmount(volume.join("below"), UnmountFlags::DETACH).unwrap();
    unmount(&volume, UnmountFlags::DETACH).unwrap();

    let private = fixture.directory.join("private");
    fs::create_dir(&private).unwrap();
    rustix::mount::mount_bind(&private, &private).unwrap();
    mount_change(&private, MountPropagationFlags::PRIVATE).unwrap();
    fixture.spec.mounts.pop();
    set(fixture.bind(&private, "/data"), |mount| {
        if let MountKind::Bind { propagation, .. } = mount {
            *propagation = Propagation::Rshared;
        }
    });
    let error = fixture.run().unwrap_err();
    let path = private.display();
    assert_eq!(
        error.message,
        format!("path {path} is mounted on {path} but it is not a shared mount")
    );
    unmount(&private, UnmountFlags::DETACH).unwrap();
}

fn tmpfs_options() {
    let mut fixture = Fixture::shell(
        "for d in /t /tmp /srv/www /o; do stat -c '%a %u' $d; done; mount | grep ' /t ' | sed 's/.*(//; s/)//'; \
         touch /o/x; echo '#!/bin/sh' > /t/x; chmod +x /t/x; /t/x; touch /ro/x; df -k /t | tail -1 | awk '{print $2}'",
    );
    fs::set_permissions(fixture.image("srv/www"), fs::Permissions::from_mode(0o750)).unwrap();
    fixture.spec.mounts.extend([
        tmpfs("/t", &["noexec", "nosuid,nodev", "size=1m", "mode=700"]),
        tmpfs("/tmp", &["size=1m"]),
        tmpfs("/srv/www", &[]),
        tmpfs("/o", &["uid=1000", "gid=1000", "mode=0711", "exec"]),
        tmpfs("/ro", &["ro"]),
    ]);
    let empty = fixture.volume();
    fixture.spec.mounts.push(bind(&empty, "/ro/place"));
    let text = said(&fixture);
    assert!(
        text.starts_with("700 0\n1777 0\n750 0\n711 1000\n"),
        "{text}"
    );
    assert!(
        text.contains("rw,nosuid,nodev,noexec,relatime,size=1024k,mode=700"),
        "{text}"
    );
    assert!(
        text.contains("/t/x: Permission denied") && text.contains("/ro/x: Read-only"),
        "{text}"
    );
    assert!(text.ends_with("1024\n"), "{text}");
    fixture.spec.mounts = vec![tmpfs("/t", &["size=banana"])];
    let error = fixture.run().unwrap_err();
    assert_eq!(
        error.message,
        "cannot mount tmpfs on /t: invalid option size=banana: invalid argument"
    );
    fixture.spec.mounts = vec![tmpfs("/etc/passwd", &[])];
    assert!(
        fixture
            .run()
            .unwrap_err()
            .message
            .contains("cannot mount volume over existing file")
    );
}

fn image_mounts() {
    let mut fixture = Fixture::shell(
        "cat /one/a /two/a /two/b /sub/f /root/a; touch /one/x /two/x; grep -c overlay /proc/self/mountinfo",
    );
    for (layer, name, text) in [("3", "a", "old\n"), ("3", "b", "b\n"), ("4", "a", "new\n")] {
        fs::create_dir_all(fixture.directory.join("layers").join(layer).join("fs/deep")).unwrap();
        fs::write(
            fixture
                .directory
                .join("layers")
                .join(layer)
                .join("fs")
                .join(name),
            text,
        )
        .unwrap();
    }
    fs::write(fixture.directory.join("layers/3/fs/deep/f"), "f\n").unwrap();
    let image = |target: &str, lowers: &[&str], subpath: Option<&str>| Mount {
        target: target.to_owned(),
        readonly: true,
        kind: MountKind::Image {
            lowers: lowers.iter().map(Into::into).collect(),
            subpath: subpath.map(str::to_owned),
        },
    };
    fixture.spec.mounts.extend([
        image("/one", &["3/fs"], None),
        image("/two", &["4/fs", "3/fs"], None),
        image("/sub", &["4/fs", "3/fs"], Some("deep")),
        image("/root/a", &["4/fs", "3/fs"], Some("a")),
    ]);
    let text = said(&fixture);
    assert!(text.starts_with("old\nnew\nb\nf\nnew\n"), "{text}");
    assert_eq!(text.matches("Read-only file system").count(), 2, "{text}");
    assert!(text.ends_with("4\n"), "{text}");
    fixture
        .spec
        .mounts
        .push(image("/bad", &["3/fs"], Some("../../2")));
    assert!(
        fixture
            .run()
            .unwrap_err()
            .message
            .ends_with("path escapes the volume")
    );
}

fn nothing_inside_proc() {
    let mut fixture = Fixture::shell("cat /proc/uptime");
    let file = fixture.directory.join("file");
    fs::write(&file, "lxcfs\n").unwrap();
    fixture.bind(&file, "/proc/uptime");
    assert_eq!(said(&fixture), "lxcfs\n");
    fixture.bind(&file, "/proc/self/attr/exec");
    let error = fixture.run().unwrap_err();
    assert!(
        error.message.contains("because it is inside /proc"),
        "{error:?}"
    );
}

fn cgroups_are_seen() {
    let mut fixture = Fixture::shell(
        "cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null; touch /sys/fs/cgroup/x",
    );
    fixture.spec.resources.pids_limit = Some(77);
    let text = said(&fixture);
    assert!(text.starts_with("77\n"), "{text}");
    assert!(text.contains("Read-only file system"), "{text}");
    // No mount of the container ever reached this namespace.
    let mounts = Command::new("cat")
        .arg("/proc/self/mountinfo")
        .output()
        .unwrap();
    assert!(!String::from_utf8_lossy(&mounts.stdout).contains("overlay"));
}
