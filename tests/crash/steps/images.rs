//! Images and builds: layers that come and go, steps of a build.

use std::fs;

use super::{Operation, context, other_image, second_image};
use crate::Scene;

pub(super) const OPERATIONS: &[Operation] = &[
    Operation {
        prefix: "layer",
        prepare: |_| {},
        run: "import IMAGE second",
        check: image_is_there_or_not,
    },
    Operation {
        prefix: "image",
        prepare: |_| {},
        run: "import IMAGE second",
        check: image_is_there_or_not,
    },
    Operation {
        prefix: "build",
        prepare: write_context,
        run: "build -t built CONTEXT",
        check: built_or_not,
    },
    Operation {
        prefix: "build-step",
        prepare: write_context,
        run: "build -t built CONTEXT",
        check: built_or_not,
    },
    Operation {
        prefix: "build-prune",
        prepare: |scene| {
            // The shared directory is left.
            write_context(scene);
            build(scene);
            scene.run("rmi built").ok();
            scene.run("builder prune -f --filter type=regular").ok();
        },
        run: "builder prune -af",
        check: |scene| {
            assert_eq!(scene.names("build").len(), 1);
            built_or_not(scene);
        },
    },
    Operation {
        prefix: "pull",
        prepare: |scene| {
            import(scene);
            let pushed = remote(scene);
            scene.run(&format!("tag second {pushed}")).ok();
            scene.run(&format!("push {pushed}")).ok();
            scene.run(&format!("rmi second {pushed}")).ok();
        },
        run: "pull REGISTRY/second",
        check: |scene| {
            let pulled = remote(scene);
            if scene.run(&format!("image inspect {pulled}")).code == 0 {
                scene.run(&format!("run --rm {pulled} cat /new")).ok();
                scene.run(&format!("rmi {pulled}")).ok();
            }
            scene.check_invariants();
            scene.run(&format!("pull {pulled}")).ok();
            assert!(scene.names("downloads").is_empty());
            scene.run(&format!("run --rm {pulled} cat /new")).ok();
            scene.run(&format!("rmi {pulled}")).ok();
        },
    },
    Operation {
        prefix: "image-remove",
        prepare: |scene| {
            second_image(scene);
        },
        run: "rmi second",
        check: |scene| {
            if scene.run("image inspect second").code == 0 {
                scene.run("run --rm second cat /second").ok();
                scene.run("rmi second").ok();
            }
            scene.check_invariants();
            second_image(scene);
            scene.run("rmi second").ok();
        },
    },
];

/// A step of each kind: a copy, a process, a directory that builds share.
fn write_context(scene: &Scene) {
    let path = context(scene);
    fs::create_dir_all(&path).unwrap();
    fs::write(path.join("file"), "copied\n").unwrap();
    let text = "FROM busybox AS one\n\
        COPY file /file\n\
        RUN --mount=type=cache,target=/shared echo ran > /shared/x && cp /shared/x /ran\n\
        FROM busybox\n\
        COPY --from=one /file /ran /\n\
        WORKDIR /made\n\
        CMD cat /file /ran\n";
    fs::write(path.join("Dockerfile"), text).unwrap();
}

fn build(scene: &Scene) {
    scene
        .run_and("build -t built", &[context(scene).to_str().unwrap()])
        .ok();
}

/// No process, no directory of the build is left; the next one succeeds; what it remembers can be forgotten.
fn built_or_not(scene: &Scene) {
    assert!(scene.names("containers").is_empty());
    assert!(scene.names("staging").is_empty());
    build(scene);
    assert_eq!(scene.run("run --rm built").ok(), "copied\nran");
    scene.run("rmi built").ok();
    scene.run("builder prune -af").ok();
    assert!(scene.names("build").is_empty());
    fs::remove_dir_all(context(scene)).unwrap();
}

/// The second image's name in the registry.
fn remote(scene: &Scene) -> String {
    format!("{}/second", scene.registry().address)
}

fn image_is_there_or_not(scene: &Scene) {
    if scene.run("image inspect second").code == 0 {
        scene.run("run --rm second cat /new").ok();
        scene.run("rmi second").ok();
    }
    scene.check_invariants();
    scene.run("run --rm busybox true").ok();
    import(scene);
    scene.run("run --rm second cat /new").ok();
    scene.run("rmi second").ok();
}

fn import(scene: &Scene) {
    let path = other_image(scene);
    scene
        .run_and("import", &[path.to_str().unwrap(), "second"])
        .ok();
}
