//! Volumes that are mounted: counted users, restarts, reboots, words of the kernel. In private mount namespaces.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::os::fd::AsFd as _;
use std::path::Path;

use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_change, unmount};
use volumes::CreateVolume;

use crate::scratch::{Opened, Scratch, named, open_dir, tree, write_files};

/// Runs `test` in a mount namespace of its own, so that nothing of it stays, whatever happens.
fn privately(test: fn(&Scratch)) {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: mounts need root");
        return;
    }
    let outcome = std::thread::spawn(move || {
        sys::namespace::new_mounts().unwrap();
        mount_change(
            "/",
            MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
        )
        .unwrap();
        let scratch = Scratch::new();
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| test(&scratch)));
        take_down_all(&scratch.root);
        outcome
    })
    .join()
    .unwrap();
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

/// As a reboot would.
fn take_down_all(root: &Path) {
    let table = std::fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
    let points: Vec<&str> = table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .filter(|point| Path::new(point).starts_with(root))
        .collect();
    for point in points.iter().rev() {
        unmount(*point, UnmountFlags::DETACH).unwrap();
    }
}

fn is_mounted(opened: &Opened, name: &str) -> bool {
    let table = std::fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
    let content = opened.paths.mountpoint(name).canonicalize().unwrap();
    table
        .lines()
        .any(|line| line.split(' ').nth(4) == Some(content.to_str().unwrap()))
}

fn create(opened: &Opened, name: &str, kind: &str, device: &str, o: &str) {
    let mut options: BTreeMap<String, String> = [("type", kind), ("device", device)]
        .map(|(key, value)| (key.into(), value.into()))
        .into();
    if !o.is_empty() {
        options.insert("o".to_owned(), o.to_owned());
    }
    opened
        .volumes
        .create(CreateVolume {
            options,
            ..named(name)
        })
        .unwrap();
}

#[test]
fn the_first_user_mounts_and_the_last_unmounts() {
    privately(|scratch| {
        let opened = scratch.open();
        let volumes = &opened.volumes;
        create(&opened, "data", "tmpfs", "tmpfs", "size=1m,mode=0700");
        assert!(!is_mounted(&opened, "data"));
        let path = volumes.mount("data", "one").unwrap();
        volumes.mount("data", "one").unwrap();
        volumes.mount("data", "two").unwrap();
        std::fs::write(path.join("file"), "x").unwrap();
        let too_much = std::fs::write(path.join("big"), vec![0; 2 << 20]).unwrap_err();
        assert_eq!(
            too_much.kind(),
            std::io::ErrorKind::StorageFull,
            "o=size= limits"
        );
        std::fs::remove_file(path.join("big")).unwrap();
        for holder in ["one", "two"] {
            volumes.unmount("data", holder).unwrap();
            assert!(is_mounted(&opened, "data"), "after {holder}");
        }
        assert_eq!(
            volumes.remove("data", true).unwrap_err().to_string(),
            "remove data: volume has active mounts"
        );
        volumes.unmount("data", "one").unwrap();
        assert!(!is_mounted(&opened, "data"));
        volumes.unmount("data", "one").unwrap();
        volumes.remove("data", false).unwrap();
        opened.assert_sound("removed");
    });
}

#[test]
fn binds_show_another_directory_which_outlives_the_volume() {
    privately(|scratch| {
        let opened = scratch.open();
        let device = scratch.source(&[("precious", "x")]);
        let shown = device.to_str().unwrap();
        create(&opened, "data", "none", shown, "bind");
        create(&opened, "readonly", "none", shown, "bind,ro");
        let path = opened.volumes.mount("data", "holder").unwrap();
        std::fs::write(path.join("through"), "y").unwrap();
        let path = opened.volumes.mount("readonly", "holder").unwrap();
        let refused = std::fs::write(path.join("through"), "z").unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
        for name in ["data", "readonly"] {
            opened.volumes.unmount(name, "holder").unwrap();
            opened.volumes.remove(name, false).unwrap();
        }
        assert_eq!(
            std::fs::read_to_string(device.join("through")).unwrap(),
            "y"
        );
        assert!(device.join("precious").exists());
        opened.assert_sound("removed");
    });
}

#[test]
fn failures_speak_dockers_words_and_leave_nothing() {
    privately(|scratch| {
        let opened = scratch.open();
        create(&opened, "missing", "none", "/no/such/place", "bind");
        create(
            &opened,
            "secret",
            "nosuchfs",
            "//host/share",
            "username=u,password=geheim,ro",
        );
        let point = |name: &str| opened.paths.mountpoint(name).display().to_string();
        for (name, words) in [
            (
                "missing",
                format!(
                    "error while mounting volume '{0}': failed to mount local volume: \
                     mount /no/such/place:{0}, flags: 0x1000: no such file or directory",
                    point("missing")
                ),
            ),
            (
                "secret",
                format!(
                    "error while mounting volume '{0}': failed to mount local volume: \
                     mount //host/share:{0}, flags: 0x1, data: username=u,password=********: no such device",
                    point("secret")
                ),
            ),
        ] {
            assert_eq!(
                opened
                    .volumes
                    .mount(name, "holder")
                    .unwrap_err()
                    .to_string(),
                words
            );
            assert!(!is_mounted(&opened, name));
            opened.volumes.remove(name, false).unwrap();
        }
        opened.assert_sound("removed");
    });
}

#[test]
fn a_restart_knows_the_users_and_a_reboot_forgets_them() {
    privately(|scratch| {
        let opened = scratch.open();
        for name in ["used", "leaked"] {
            create(&opened, name, "tmpfs", "tmpfs", "");
            opened.volumes.mount(name, "holder").unwrap();
        }
        // An engine that died between the last unmount's record and the unmount itself.
        let leaked = opened.volumes.get("leaked").unwrap().id.unwrap();
        opened.store.write(|tx| tx.clear_mounts(&leaked)).unwrap();
        // And one that died during an export.
        let used = opened.volumes.get("used").unwrap().id.unwrap();
        opened
            .store
            .write(|tx| tx.add_mount(&used, ":export"))
            .unwrap();
        drop(opened);

        let opened = scratch.open();
        assert!(is_mounted(&opened, "used"));
        assert!(!is_mounted(&opened, "leaked"));
        assert_eq!(
            opened.sentences,
            ["volume leaked was still mounted and nobody used it"]
        );
        drop(opened);

        take_down_all(&scratch.root);
        let opened = scratch.open();
        assert!(!is_mounted(&opened, "used"));
        assert_eq!(opened.store.read(|tx| tx.mount_uses(&used)).unwrap(), 0);
        opened.volumes.remove("used", false).unwrap();
        opened.assert_sound("removed");
    });
}

#[test]
fn release_gives_back_forgotten_mounts() {
    privately(|scratch| {
        let opened = scratch.open();
        create(&opened, "data", "tmpfs", "tmpfs", "");
        opened.volumes.lease("data", "holder", "/x", false).unwrap();
        opened.volumes.mount("data", "holder").unwrap();
        opened.volumes.mount("data", "holder").unwrap();
        opened.volumes.release("holder").unwrap();
        assert!(!is_mounted(&opened, "data"));
        opened.volumes.remove("data", false).unwrap();
    });
}

#[test]
fn contents_move_into_other_filesystems() {
    privately(|scratch| {
        let opened = scratch.open();
        let volumes = &opened.volumes;
        let source = scratch.source(&[("a", "1"), ("d/e/b", "2")]);
        std::os::unix::fs::symlink("a", source.join("link")).unwrap();
        rustix::fs::mknodat(
            open_dir(&source),
            "fifo",
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .unwrap();
        create(&opened, "data", "tmpfs", "tmpfs", "");
        let path = volumes.mount("data", "holder").unwrap();
        assert!(
            volumes
                .populate("data", None, open_dir(&source).as_fd(), None)
                .unwrap()
        );
        std::fs::remove_file(source.join("fifo")).unwrap();
        assert!(std::fs::symlink_metadata(path.join("fifo")).is_ok());
        std::fs::remove_file(path.join("fifo")).unwrap();
        assert_eq!(tree(&path), tree(&source));

        let mut tar = Vec::new();
        volumes
            .export("data", archive::Compressed::Not, &mut tar)
            .unwrap();
        write_files(&path, &[("a", "changed"), ("kept", "x")]);
        volumes.import("data", &mut Cursor::new(&tar)).unwrap();
        let mut expected = tree(&source);
        expected.insert("kept".to_owned(), "x".to_owned());
        assert_eq!(tree(&path), expected);
        volumes.unmount("data", "holder").unwrap();
        opened.assert_sound("filled");
    });
}

#[test]
fn what_is_mounted_in_a_volume_is_never_deleted_with_it() {
    privately(|scratch| {
        let opened = scratch.open();
        let device = scratch.source(&[("precious", "x")]);
        opened.volumes.create(named("data")).unwrap();
        let inside = opened.paths.mountpoint("data").join("sub");
        std::fs::create_dir(&inside).unwrap();
        rustix::mount::mount_bind(&device, &inside).unwrap();
        assert_eq!(
            opened
                .volumes
                .remove("data", false)
                .unwrap_err()
                .to_string(),
            "remove data: volume has active mounts"
        );
        assert!(device.join("precious").exists());
        unmount(&inside, UnmountFlags::empty()).unwrap();
        opened.volumes.remove("data", false).unwrap();
        assert!(device.join("precious").exists());
        opened.assert_sound("removed");
    });
}
