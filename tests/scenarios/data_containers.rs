//! S30–S34: containers that hold data for others.

use std::fs;

use super::{Scenario, Scene};

pub(super) const SCENARIOS: &[Scenario] = &[
    ("s30_three_share_one_volume", s30),
    ("s31_several_and_transitive", s31),
    ("s31a_modes", s31a),
    ("s31b_everything_is_inherited", s31b),
    ("s32_a_container_that_only_holds_data", s32),
    ("s33_two_servers_and_a_backup", s33),
    ("s34_the_last_holder", s34),
    ("s34a_rm_fv_of_a_running_one", s34a),
    ("s34b_what_is_never_removed", s34b),
    ("s34c_a_created_consumer_protects", s34c),
];

/// Name of the volume that a container has at a destination.
fn volume_at(scene: &Scene, container: &str, destination: &str) -> String {
    let format = format!(
        "{{{{range .Mounts}}}}{{{{if eq .Destination \"{destination}\"}}}}{{{{.Name}}}}{{{{end}}}}{{{{end}}}}"
    );
    scene.inspect(container, &format)
}

fn exists(scene: &Scene, volume: &str) -> bool {
    scene.run(&format!("volume inspect {volume}")).code == 0
}

fn s30(scene: &Scene) {
    scene
        .run("run -idt -v /dbdata --name %dbdata busybox sh")
        .ok();
    scene
        .run("run -d --volumes-from %dbdata --name %db1 busybox sleep 1000")
        .ok();
    scene
        .run("run -d --volumes-from %dbdata --name %db2 busybox sleep 1000")
        .ok();
    let volume = volume_at(scene, "dbdata", "/dbdata");
    assert_eq!(volume.len(), 64);
    for other in ["db1", "db2"] {
        assert_eq!(volume_at(scene, other, "/dbdata"), volume);
    }
    scene.sh("db1", "echo from db1 > /dbdata/f").ok();
    for other in ["dbdata", "db2"] {
        assert_eq!(scene.sh(other, "cat /dbdata/f").ok(), "from db1");
    }
    // The source need not be running.
    scene.run("stop -t 0 %dbdata").ok();
    assert_eq!(
        scene
            .run("run --rm --volumes-from %dbdata busybox cat /dbdata/f")
            .ok(),
        "from db1"
    );
    scene.run("rm -fv %dbdata %db1 %db2").ok();
    assert!(!exists(scene, &volume));
}

fn s31(scene: &Scene) {
    scene.run("create --name %one -v /one busybox true").ok();
    scene
        .run("create --name %two -v %named:/two busybox true")
        .ok();
    scene
        .run("run --name %both --volumes-from %one --volumes-from %two busybox touch /one/a /two/b")
        .ok();
    let seen = scene
        .run("run --rm --volumes-from %both busybox ls /one /two")
        .ok();
    assert!(seen.contains('a') && seen.contains('b'), "{seen}");
    // Same destination twice: the later one wins.
    scene.run("create --name %three -v /one busybox true").ok();
    scene
        .run("create --name %later --volumes-from %one --volumes-from %three busybox true")
        .ok();
    assert_eq!(
        volume_at(scene, "later", "/one"),
        volume_at(scene, "three", "/one")
    );
    // -v at the same place overrides what is inherited.
    scene
        .run("create --name %own --volumes-from %one -v %named:/one busybox true")
        .ok();
    assert_eq!(volume_at(scene, "own", "/one"), scene.name("named"));
    scene.run("rm -v %one %two %both %three %later %own").ok();
    scene.run("volume rm %named").ok();
}

fn s31a(scene: &Scene) {
    scene.run("create --name %rw -v /data busybox true").ok();
    scene
        .run("create --name %ro -v %vol:/data:ro busybox true")
        .ok();
    scene
        .run("run --rm --volumes-from %rw:ro busybox touch /data/x")
        .fails(1, "Read-only file system");
    scene
        .run("run --rm --volumes-from %rw:rw busybox touch /data/x")
        .ok();
    scene
        .run("run --rm --volumes-from %ro:rw busybox touch /data/x")
        .fails(1, "Read-only file system");
    scene
        .run("run --name %second --volumes-from %rw:ro busybox true")
        .ok();
    scene
        .run("run --rm --volumes-from %second busybox touch /data/x")
        .fails(1, "Read-only file system");
    for (mode, text) in [
        ("%rw:nocopy", "invalid mode: nocopy"),
        ("%rw:shared", "invalid mode: shared"),
        ("%rw:what", "invalid mode: what"),
    ] {
        let output = scene.run(&format!("create --volumes-from {mode} busybox"));
        assert_ne!(output.code, 0, "{output}");
        assert!(output.stderr.contains(text), "{output}");
    }
    scene.run("rm -v %rw %ro %second").ok();
    scene.run("volume rm %vol").ok();
}

fn s31b(scene: &Scene) {
    let bind = scene.directory("bind");
    fs::write(bind.join("f"), "bound").unwrap();
    scene
        .run(&format!("create --name %all -v /anon -v %named:/named -v {}:/bind:ro --mount type=tmpfs,dst=/tmpfs busybox true", bind.display()))
        .ok();
    scene
        .run("create --name %heir --volumes-from %all busybox true")
        .ok();
    for (destination, kind, rw) in [
        ("/anon", "volume", "true"),
        ("/named", "volume", "true"),
        ("/bind", "bind", "false"),
    ] {
        let format = format!(
            "{{{{range .Mounts}}}}{{{{if eq .Destination \"{destination}\"}}}}{{{{.Type}}}} {{{{.RW}}}}{{{{end}}}}{{{{end}}}}"
        );
        assert_eq!(
            scene.inspect("heir", &format),
            format!("{kind} {rw}"),
            "{destination}"
        );
    }
    assert_eq!(
        scene
            .run("run --rm --volumes-from %heir busybox cat /bind/f")
            .ok(),
        "bound"
    );
    // The source may go: its heirs keep what they have.
    scene.run("rm %all").ok();
    scene.run("start -a %heir").ok();
    scene.run("rm -v %heir").ok();
    scene.run("volume rm %named").ok();
}

fn s32(scene: &Scene) {
    scene
        .run("run --name %datavol -v /DataMount busybox /bin/true")
        .ok();
    assert_eq!(
        scene.inspect("datavol", "{{.State.Status}} {{.State.ExitCode}}"),
        "exited 0"
    );
    scene
        .run("run --rm --volumes-from %datavol busybox touch /DataMount/x")
        .ok();
    assert_eq!(
        scene
            .run("run --rm --volumes-from %datavol busybox ls /DataMount")
            .ok(),
        "x"
    );
    // No image has its content copied into a volume that is inherited.
    scene.run("rm -v %datavol").ok();
}

fn s33(scene: &Scene) {
    let backup = scene.directory("backup");
    scene.run("create --name %data -v /data busybox true").ok();
    let write =
        "i=0; while :; do i=$((i+1)); echo $HOSTNAME $i >> /data/$HOSTNAME; sleep 0.05; done";
    for server in ["one", "two"] {
        scene
            .run_and(
                &format!("run -d --name %{server} -h {server} --volumes-from %data busybox sh -c"),
                &[write],
            )
            .ok();
    }
    testkit::until("both servers write", || {
        let seen = scene.sh("one", "cat /data/one /data/two");
        (seen.stdout.contains("one 2") && seen.stdout.contains("two 2")).then_some(())
    });
    scene
        .run(&format!(
            "run --rm --volumes-from %data -v {}:/backup busybox tar cf /backup/data.tar /data",
            backup.display()
        ))
        .ok();
    let listed = super::host("tar", &["-tf", backup.join("data.tar").to_str().unwrap()]);
    assert!(
        listed.contains("data/one") && listed.contains("data/two"),
        "{listed}"
    );
    scene.run("rm -fv %one %two %data").ok();
}

fn s34(scene: &Scene) {
    scene.run("create --name %first -v /data busybox true").ok();
    scene
        .run("create --name %second --volumes-from %first busybox true")
        .ok();
    scene
        .run("create --name %third --volumes-from %second busybox true")
        .ok();
    let volume = volume_at(scene, "first", "/data");
    scene.run("rm -v %first").ok();
    assert!(exists(scene, &volume), "others still hold it");
    scene.run("rm %second").ok();
    assert!(exists(scene, &volume), "without -v nothing goes");
    scene.run("rm -v %third").ok();
    assert!(!exists(scene, &volume), "the last holder takes it along");
    // All holders gone without -v: it stays, dangling.
    scene
        .run("create --name %fourth -v /data busybox true")
        .ok();
    let volume = volume_at(scene, "fourth", "/data");
    scene.run("rm %fourth").ok();
    let dangling = scene.run("volume ls -q -f dangling=true").ok();
    assert!(dangling.lines().any(|name| name == volume), "{dangling}");
    scene.run(&format!("volume rm {volume}")).ok();
}

fn s34a(scene: &Scene) {
    scene
        .run("run -d --name %running -v /data busybox sleep 1000")
        .ok();
    let volume = volume_at(scene, "running", "/data");
    scene.run("rm -v %running").fails(
        1,
        "container is running: stop the container before removing or force remove",
    );
    assert!(exists(scene, &volume));
    assert_eq!(scene.run("rm -fv %running").ok(), scene.name("running"));
    assert!(!exists(scene, &volume));
    scene.run("rm %running").fails(1, "No such container");
}

fn s34b(scene: &Scene) {
    let bind = scene.directory("bind");
    fs::write(bind.join("kept"), "x").unwrap();
    let anonymous = scene.run("volume create").ok();
    scene
        .run(&format!("run --rm -v %named:/n -v {}:/b -v {anonymous}:/a --mount type=volume,src=%mounted,dst=/m busybox true", bind.display()))
        .ok();
    assert!(bind.join("kept").exists());
    assert!(exists(scene, &scene.name("named")) && exists(scene, &scene.name("mounted")));
    assert!(
        exists(scene, &anonymous),
        "an anonymous volume that is given by name counts as named"
    );
    scene.run("run --name %last -v %named:/n busybox true").ok();
    scene.run("rm -fv %last").ok();
    assert!(exists(scene, &scene.name("named")));
    // A mount without a source is anonymous.
    scene
        .run("create --name %nosource --mount type=volume,dst=/x busybox true")
        .ok();
    let volume = volume_at(scene, "nosource", "/x");
    assert_eq!(volume.len(), 64);
    scene.run("rm -v %nosource").ok();
    assert!(!exists(scene, &volume));
    scene
        .run(&format!("volume rm {anonymous} %named %mounted"))
        .ok();
}

fn s34c(scene: &Scene) {
    scene
        .run("create --name %source -v %data:/data busybox true")
        .ok();
    scene
        .run("create --name %consumer --volumes-from %source busybox true")
        .ok();
    scene.run("rm %source").ok();
    scene.run("volume rm %data").fails(1, "volume is in use");
    scene.run("start %consumer").ok();
    scene.run("wait %consumer").ok();
    scene.run("rm %consumer").ok();
    scene.run("volume rm %data").ok();
}
