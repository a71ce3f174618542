//! S248: directories that become volumes: a copy of one, one of Docker's, and any other.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};

use super::{Scenario, Scene, host};

pub(super) const OWN: &[Scenario] = &[("s248_adopting_a_copy", s248)];

fn s248(scene: &Scene) {
    let root = fs::canonicalize(&scene.engine.root).unwrap();
    let away = scene.directory("away");
    scene
        .run("volume create --label team=a --size 64m %data")
        .ok();
    fs::write(scene.data("data").join("kept"), "one").unwrap();
    host(
        "chown",
        &["-R", "1000:1000", scene.data("data").to_str().unwrap()],
    );
    scene.run("volume protect %data").ok();
    let created = scene
        .run("volume inspect --format {{.CreatedAt}} %data")
        .ok();
    let adopt = |what: &str| scene.run(&format!("volume adopt {}/{what}", away.display()));

    // A copy of a volume, beside the volume and without it.
    let directory = fs::canonicalize(root.join("volumes").join(scene.name("data"))).unwrap();
    let is_mounted = fs::metadata(directory.join("_data")).unwrap().dev()
        != fs::metadata(&directory).unwrap().dev();
    let copy = away.join("copy");
    host(
        "cp",
        &["-a", directory.to_str().unwrap(), copy.to_str().unwrap()],
    );
    if !is_mounted {
        fs::remove_file(copy.join("_data.image")).ok();
    }
    adopt("copy").fails(
        1,
        &format!("volume named {} exists already", scene.name("data")),
    );
    adopt("copy --name %two").ok();
    assert_eq!(scene.run("volume cat %two:/kept").ok(), "one");
    let inspected = scene.run("volume inspect %two").json();
    assert_eq!(inspected[0]["Labels"]["team"], "a");
    assert_eq!(inspected[0]["Limits"]["Size"], 64 << 20);
    assert_eq!(inspected[0]["Protected"], true);
    assert_eq!(inspected[0]["CreatedAt"], created.as_str());
    let adopted = fs::metadata(scene.data("two").join("kept")).unwrap();
    assert_eq!((adopted.uid(), adopted.gid()), (1000, 1000));
    assert!(scene.run("volume history %two").ok().contains("adopt"));
    scene.run("volume unprotect %two %data").ok();
    scene.run("volume rm --now %two %data").ok();
    assert_eq!(adopt("copy").ok(), scene.name("data"));
    assert!(copy.join("_data/kept").exists(), "the source is left alone");

    // One of Docker's, called as its directory is.
    let theirs = away.join(scene.name("theirs")).join("_data");
    fs::create_dir_all(&theirs).unwrap();
    fs::write(theirs.join("rows"), "two").unwrap();
    assert_eq!(adopt(&scene.name("theirs")).ok(), scene.name("theirs"));
    assert_eq!(scene.run("volume cat %theirs:/rows").ok(), "two");

    // Any other.
    let plain = away.join("plain");
    fs::create_dir_all(plain.join("sub")).unwrap();
    fs::write(plain.join("sub/file"), "three").unwrap();
    adopt("plain").fails(1, "--name");
    adopt("plain --name %plain").ok();
    assert_eq!(scene.run("volume cat %plain:/sub/file").ok(), "three");

    // A relative path is the client's.
    let mut command = scene
        .client
        .command(&scene.engine, &["volume", "adopt", "plain", "--name"]);
    let output = command
        .arg(scene.name("relative"))
        .current_dir(&away)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");

    symlink(&plain, away.join("link")).unwrap();
    fs::write(away.join("file"), "x").unwrap();
    let data = root.join("data");
    for (what, why) in [
        (away.join("link"), "it is a symbolic link"),
        (away.join("file"), "it is not a directory"),
        (away.join("nothing"), "there is no such directory"),
        (root.join("containers"), "it is inside the state directory"),
        (data, "it is inside the state directory"),
        (
            root.parent().unwrap().to_owned(),
            "the state directory is inside it",
        ),
    ] {
        scene
            .run(&format!("volume adopt {} --name %no", what.display()))
            .fails(1, why);
    }
    scene.run("volume unprotect %data").ok();
    scene.run("volume inspect %no").fails(1, "no such volume");
    scene
        .run("volume rm --now %data %theirs %plain %relative")
        .ok();
}
