//! S87: a volume that gets another name, and all that named it.

use std::sync::atomic::{AtomicBool, Ordering};

use testkit::until;

use super::volume_care::own;
use super::{Scenario, Scene};

/// What Docker's own commands see of it.
pub(super) const SCENARIOS: &[Scenario] = &[("s87b_containers_follow_a_rename", containers)];

pub(super) const OWN: &[Scenario] = &[
    ("s87c_plans_and_stacks_follow_a_rename", plans),
    ("s87d_room_is_measured_while_names_change", measured),
];

const NAMES: &str = "{{range .Mounts}}{{.Name}} {{.Source}} {{end}}";

/// In order: the stock client sends them in any.
fn binds(scene: &Scene, container: &str) -> Vec<String> {
    let shown = scene.inspect(container, "{{json .HostConfig.Binds}}");
    let mut binds: Vec<String> = serde_json::from_str(&shown).unwrap();
    binds.sort();
    binds
}

fn containers(scene: &Scene) {
    scene
        .run_and("run --rm -v %old:/d busybox sh -c", &["echo 1 > /d/a"])
        .ok();
    own(scene, "volume snapshot create --name monday %old").ok();
    scene.run("volume create %old2").ok();
    scene
        .run("run -d --name %runs --restart always -v %old:/d -v %old2:/e busybox sleep 1000")
        .ok();
    scene
        .run("create --name %stays --mount type=volume,src=%old,dst=/d,readonly -v /nameless busybox cat /d/a")
        .ok();
    scene
        .run("create --name %from --volumes-from %runs busybox cat /d/a")
        .ok();
    scene
        .run("create --name %reads -v %old@monday:/d:ro busybox cat /d/a")
        .ok();
    let holders = ["runs", "stays", "from", "reads"];

    let listening = scene
        .start("events --filter event=rename --format {{.Actor.ID}},{{.Actor.Attributes.oldName}}");
    // The stream is open when it tells of something.
    until("the events are heard", || {
        scene.run("volume create %other").ok();
        own(scene, "volume rename %other %another").ok();
        own(scene, "volume rm --now %another").ok();
        listening
            .stdout()
            .contains(&scene.name("another"))
            .then_some(())
    });
    own(scene, "volume rename %old %new").ok();
    let (old, new) = (scene.name("old"), scene.name("new"));
    until("the rename is told", || {
        let told = listening.stdout();
        told.lines()
            .any(|line| line == format!("{new},{old}"))
            .then_some(())
    });
    drop(listening);
    let source = scene.data("new").display().to_string();
    assert_eq!(
        binds(scene, "runs"),
        [format!("{new}:/d"), format!("{old}2:/e")]
    );
    assert_eq!(
        scene.inspect(
            "stays",
            "{{range .HostConfig.Mounts}}{{.Source}} {{.Target}} {{.ReadOnly}}{{end}}"
        ),
        format!("{new} /d true")
    );
    assert_eq!(binds(scene, "reads"), [format!("{new}@monday:/d:ro")]);
    for holder in ["runs", "stays", "from"] {
        let mounts = scene.inspect(holder, NAMES);
        assert!(mounts.contains(&format!("{new} {source}")), "{mounts}");
    }
    // Nothing that a client can ask names the old one.
    for holder in holders {
        let whole = scene.run(&format!("inspect %{holder}")).ok();
        for end in ["\"", "/", ":", "@"] {
            assert!(!whole.contains(&format!("{old}{end}")), "{holder}: {whole}");
        }
    }
    let having = |volume: &str| {
        let line = format!("ps -a --filter volume={volume} --format {{{{.Names}}}}");
        let mut names: Vec<String> = scene.run(&line).ok().lines().map(str::to_owned).collect();
        names.sort();
        names
    };
    let mut all: Vec<String> = holders[..3].iter().map(|one| scene.name(one)).collect();
    all.sort();
    assert_eq!(having(&new), all);
    assert_eq!(having(&format!("{new}@monday")), [scene.name("reads")]);
    assert_eq!(having(&old), [""; 0]);
    let listed = scene
        .run(&format!(
            "ps -a --no-trunc --filter name=^/{}$ --format {{{{.Mounts}}}}",
            scene.name("stays")
        ))
        .ok();
    assert!(listed.split(',').any(|name| name == new), "{listed}");
    let measured = scene.run("system df -v").ok();
    let line = |name: &str| {
        let words = |line: &str| {
            line.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        measured
            .lines()
            .map(words)
            .find(|words| words.first().is_some_and(|word| word == name))
    };
    assert_eq!(line(&new).expect("it is listed")[1], "4", "{measured}");
    assert_eq!(line(&old), None, "{measured}");
    let audit = own(scene, "volume audit --json").stdout;
    for end in ["\"", " ", ":", "@"] {
        assert!(!audit.contains(&format!("{old}{end}")), "{audit}");
    }

    // Those that stood still start, and the one that ran starts anew.
    for holder in &holders[1..] {
        assert_eq!(scene.run(&format!("start -a %{holder}")).ok(), "1");
    }
    scene.run("restart -t 0 %runs").ok();
    assert_eq!(scene.sh("runs", "cat /d/a").ok(), "1");
    // The old name is free: what is made under it is another volume, and stays it when it is renamed in its turn.
    scene
        .run("create --name %other -v %old:/d -v %new:/e busybox true")
        .ok();
    own(scene, "volume rename %old %third").ok();
    assert_eq!(
        binds(scene, "other"),
        [format!("{new}:/e"), format!("{}:/d", scene.name("third"))]
    );
    assert_eq!(
        binds(scene, "runs"),
        [format!("{new}:/d"), format!("{old}2:/e")]
    );
    scene.run("rm -fv %runs %stays %from %reads %other").ok();
    own(scene, "volume rm --now %new %old2 %third").ok();
}

fn repository(scene: &Scene) -> String {
    let directory = scene.directory("backups");
    let name = scene.name("repo");
    scene
        .run_and(
            &format!("backup init {name} {}", directory.display()),
            &["--password-command", "echo secret"],
        )
        .ok();
    name
}

fn plans(scene: &Scene) {
    let repo = repository(scene);
    let (old, new) = (scene.name("old"), scene.name("new"));
    scene
        .run_and(
            "run -d --name %runs -v %old:/d busybox sh -c",
            &["echo kept > /d/f; exec sleep 1000"],
        )
        .ok();
    scene
        .run("create --name %idle --mount type=volume,src=%old,dst=/d busybox cat /d/f")
        .ok();
    scene.run("volume protect %old").ok();
    scene.run("volume schedule set --hourly 2 %old").ok();
    let plan = scene.name("nightly");
    scene
        .run(&format!(
            "backup schedule set {plan} --daily 03:00 --volumes {old} --to {repo} --keep-last 1"
        ))
        .ok();
    scene.run(&format!("backup schedule run {plan}")).ok();

    scene.run("volume rename %old %new").ok();
    let listed = scene
        .run_and("volume schedule ls --format", &["{{.Volume}} {{.Hourly}}"])
        .ok();
    assert!(
        listed.lines().any(|line| line == format!("{new} 2")),
        "{listed}"
    );
    let shown = &scene.run("volume inspect %new").json()[0];
    assert_eq!(shown["Protected"], true, "{shown}");
    assert_eq!(
        shown["BackupSchedules"][0]["Name"],
        plan.as_str(),
        "{shown}"
    );
    assert_eq!(shown["UsedBy"].as_array().unwrap().len(), 2, "{shown}");
    let history = scene.run("volume history %new").ok();
    for part in ["create", "mount", &format!("{old} to {new}")] {
        assert!(history.contains(part), "{part}: {history}");
    }
    let planned = scene.run(&format!("backup schedule inspect {plan}")).json();
    assert_eq!(
        planned[0]["Plan"]["Volumes"],
        serde_json::json!([new]),
        "{planned}"
    );
    for _ in 0..2 {
        let ran = scene.run(&format!("backup schedule run {plan}")).ok();
        assert!(ran.contains(&new), "{ran}");
    }
    // What was kept under the old name stays until it is named, the rule counts those of the new one.
    let kept = |volume: &str| {
        let listed = scene.run(&format!("backup ls {repo} {volume} -q")).ok();
        listed.lines().count()
    };
    assert_eq!((kept(&old), kept(&new)), (1, 1));
    scene
        .run(&format!("volume restore {repo}:{old} --as %before"))
        .ok();
    assert_eq!(scene.run("volume cat %before:/f").ok(), "kept");

    // The stack comes back as it is called now.
    scene.run("volume unprotect %new").ok();
    scene.run("rm -f %runs %idle").ok();
    scene.run("volume rm --now %new").ok();
    let restored = scene
        .run(&format!("stack restore {repo}:{new} --start"))
        .ok();
    assert!(restored.contains(&new), "{restored}");
    assert_eq!(scene.sh("runs", "cat /d/f").ok(), "kept");
    assert_eq!(scene.run("start -a %idle").ok(), "kept");
    assert_eq!(
        scene
            .inspect("idle", "{{range .Mounts}}{{.Name}} {{end}}")
            .trim(),
        new
    );
    scene.run("volume inspect %old").fails(1, "no such volume");
    scene.run("rm -f %runs %idle").ok();
    scene.run("volume unprotect %new %before").ok();
    scene.run("volume rm --now %new %before").ok();
    scene.run(&format!("backup schedule rm {plan}")).ok();
    scene.run(&format!("backup rm-repo {repo}")).ok();
}

/// A volume that is gone when its turn comes is not there; it is no error.
fn measured(scene: &Scene) {
    scene.run("volume create %stays").ok();
    scene.run("volume create %one").ok();
    let over = AtomicBool::new(false);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                own(scene, "volume rename %one %two").ok();
                own(scene, "volume rename %two %one").ok();
            }
        });
        for _ in 0..40 {
            let measured = scene.run("system df -v");
            if measured.code != 0 {
                over.store(true, Ordering::Relaxed);
            }
            assert!(measured.ok().contains(&scene.name("stays")));
        }
        over.store(true, Ordering::Relaxed);
    });
}
