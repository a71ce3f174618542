//! Containers: made, started, ended, removed, given other mounts.

use super::{Operation, gone};

const CREATE: &str = "create --name it -v named:/named -v /anonymous busybox cat /etc/passwd";

pub(super) const OPERATIONS: &[Operation] = &[
    Operation {
        prefix: "container-create",
        prepare: |_| {},
        run: CREATE,
        check: |scene| {
            // Absent or complete; then the name is free or taken.
            if scene.run("inspect --type container it").code == 0 {
                scene.run("start -a it").ok();
                scene.run("rm -v it").ok();
            }
            scene.check_invariants();
            scene.run(CREATE).ok();
            scene.run("start -a it").ok();
            scene.run("rm -v it").ok();
            assert!(
                scene
                    .run("volume ls -q")
                    .ok()
                    .lines()
                    .all(|name| name == "named")
            );
        },
    },
    Operation {
        prefix: "container-start",
        prepare: |scene| {
            scene
                .run("create --name it -v named:/named -p 127.0.0.1::80 busybox sleep 1000")
                .ok();
        },
        run: "start it",
        check: |scene| {
            scene.run("start it").ok();
            assert_eq!(scene.inspect("it", "{{.State.Status}}"), "running");
            scene.run("exec it true").ok();
            scene.run("stop -t 0 it").ok();
            assert_eq!(
                scene.inspect("it", "{{.State.Status}} {{.State.ExitCode}}"),
                "exited 137"
            );
            scene.run("start it").ok();
            scene.run("rm -f it").ok();
        },
    },
    Operation {
        prefix: "container-exit",
        prepare: |scene| {
            scene
                .run("run -d --name it -v /anonymous busybox sleep 1000")
                .ok();
        },
        run: "kill it",
        check: |scene| {
            scene.until_inspect("it", "{{.State.Status}} {{.State.ExitCode}}", "exited 137");
            scene.run("start it").ok();
            scene.run("rm -fv it").ok();
            assert_eq!(scene.run("volume ls -q").ok(), "");
        },
    },
    Operation {
        prefix: "container-remove",
        prepare: |scene| {
            scene.run(CREATE).ok();
            scene.run("start -a it").ok();
        },
        run: "rm -v it",
        check: |scene| {
            // Every step comes after the commit point.
            scene
                .run("inspect --type container it")
                .fails(1, "o such container");
            assert_eq!(scene.run("volume ls -q").ok(), "named");
            scene.run("volume rm named").ok();
            scene.run("create --name it busybox true").ok();
            scene.run("rm it").ok();
        },
    },
    Operation {
        prefix: "container-mount",
        prepare: |scene| {
            scene.run("run -d --name it busybox sleep 1000").ok();
        },
        run: "container mount it -v named:/named",
        check: |scene| {
            // There and recorded, or neither.
            let listed = scene.run("container mount it").ok().contains("/named");
            let seen = scene.run("exec it grep -q /named /proc/mounts").code == 0;
            assert_eq!(listed, seen);
            scene.check_invariants();
            if listed {
                scene.run("volume rm named").fails(1, "in use");
            } else {
                scene.run("volume rm -f named").ok();
                scene.run("container mount it -v named:/named").ok();
            }
            scene.run("exec it touch /named/x").ok();
            scene.run("restart -t 0 it").ok();
            scene.run("exec it ls /named/x").ok();
            scene.run("rm -f it").ok();
            gone(scene, "named");
        },
    },
    Operation {
        prefix: "container-mount",
        prepare: |scene| {
            scene.run("run -d --name it busybox sleep 1000").ok();
        },
        run: "container mount --temporary it -v /anonymous",
        check: |scene| {
            let listed = scene.run("container mount it").ok().contains("/anonymous");
            let volumes = scene.run("volume ls -q").ok().lines().count();
            assert_eq!(volumes, usize::from(listed), "no volume without its mount");
            scene.run("rm -fv it").ok();
        },
    },
    Operation {
        prefix: "container-unmount",
        prepare: |scene| {
            scene
                .run("run -d --name it -v named:/named busybox sleep 1000")
                .ok();
            scene.run("exec it touch /named/x").ok();
        },
        run: "container unmount it /named",
        check: |scene| {
            let listed = scene.run("container mount it").ok().contains("/named");
            let seen = scene.run("exec it ls /named/x").code == 0;
            assert_eq!(listed, seen);
            scene.check_invariants();
            if listed {
                scene.run("container unmount it /named").ok();
            }
            scene.run("restart -t 0 it").ok();
            scene.run("exec it ls /named/x").fails(1, "No such file");
            gone(scene, "named");
            scene.run("rm -f it").ok();
        },
    },
];
