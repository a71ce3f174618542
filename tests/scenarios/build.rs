//! S60, S61, S63, S64 and every instruction: images that are built, through `orlop` and through docker's classic builder.
//!
//! Both clients share one engine and its cache: what must be new says the scenario's prefix.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use testkit::{Client, Output, Running};

use super::{Scenario, Scene, host, one_prune_at_a_time};

pub(super) const SCENARIOS: &[Scenario] = &[
    ("s61_the_pitfall_of_volumes", s61),
    ("s63_dockerfiles_of_the_world", s63),
    ("b01_instructions", b01),
    ("b02_nothing_is_done_twice", b02),
    ("b03_what_is_left_out_of_the_context", b03),
    ("b04_copying", b04),
    ("b05_mistakes", b05),
    ("b06_stages", b06),
    ("b07_arguments", b07),
    ("b08_contexts_from_elsewhere", b08),
    ("b09_hostile_contexts", b09),
    ("b10_who_leaves_ends_his_build", b10),
    ("b11_cache_and_prune", b11),
    ("b12_limits_and_networks", b12),
    ("b13_a_dockerfile_outside_the_context", b13),
    ("b14_what_a_step_mounts", b14),
    ("b15_files_written_in_the_dockerfile", b15),
];

/// Flags that docker's classic builder has not.
pub(super) const OWN: &[Scenario] = &[
    ("s61_writes_to_volumes_can_be_kept", s61_keep),
    ("b20_secrets", b20),
    ("b21_dockerfiles_from_elsewhere", b21),
    ("b22_how_much_is_told", b22),
];

/// A build with the classic builder, whichever client.
pub(super) fn build(scene: &Scene, arguments: &[&str]) -> Output {
    build_with(scene, arguments, b"")
}

fn build_with(scene: &Scene, arguments: &[&str], input: &[u8]) -> Output {
    let words: Vec<&str> = std::iter::once("build")
        .chain(arguments.iter().copied())
        .collect();
    let mut command = scene.client.command(&scene.engine, &words);
    command
        .env("DOCKER_BUILDKIT", "0")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    // A command may end without reading all of it.
    let writer = std::thread::spawn(move || drop(std::io::Write::write_all(&mut stdin, &input)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    Output {
        command: format!("{} {}", scene.client, words.join(" ")),
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A directory with these files; names with slashes make directories.
pub(super) fn context(scene: &Scene, name: &str, files: &[(&str, &str)]) -> PathBuf {
    let directory = scene.directory(name);
    for (path, text) in files {
        let path = directory.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        // Formats of other programs have percent signs, too.
        fs::write(path, text.replace("%x", &scene.name("x"))).unwrap();
    }
    directory
}

pub(super) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Builds and runs; what the container says.
pub(super) fn outcome(scene: &Scene, image: &str, directory: &Path) -> String {
    build(scene, &["-t", image, text(directory)]).ok();
    scene.run(&format!("run --rm {image}")).ok()
}

/// The book's `mount-point-demo`.
const PITFALL: &str = "FROM busybox\n\
    LABEL of=%x\n\
    VOLUME /MountPointDemo\n\
    RUN echo %x > /MountPointDemo/date.txt\n\
    RUN cat /MountPointDemo/date.txt\n\
    CMD [\"/bin/true\"]\n";

fn s61(scene: &Scene) {
    let directory = context(scene, "pitfall", &[("Dockerfile", PITFALL)]);
    // The second time the first step is known, and its warning with it.
    for _ in 0..2 {
        let output = build(scene, &[text(&directory)]);
        output.fails(1, "returned a non-zero code: 1");
        output.fails(1, "can't open '/MountPointDemo/date.txt'");
        output.fails(1, "Dockerfile:4: what RUN writes below a declared volume is not kept: 1 file is not in the image");
        output.fails(1, "declared by line 3 (VOLUME /MountPointDemo)");
        output.fails(1, "written by line 4 (RUN echo");
        output.fails(1, "--build-volumes=keep");
    }
    // What COPY puts there is kept, what was there before stays, and the base image's volumes count.
    let directory = context(
        scene,
        "kept",
        &[
            ("file", "copied"),
            (
                "Dockerfile",
                "FROM busybox AS base\n\
                 RUN mkdir /v && echo %x > /v/before\n\
                 VOLUME /v\n\
                 FROM base\n\
                 RUN echo lost > /v/lost; echo changed > /v/before; rm /v/nothing; ls /v\n\
                 COPY file /v/\n\
                 RUN rm -r /v/before\n\
                 CMD cat /v/before /v/file; ls /v",
            ),
        ],
    );
    let image = format!("{}-kept", scene.prefix);
    let said = outcome(scene, &image, &directory);
    assert_eq!(said, format!("{}\ncopiedbefore\nfile", scene.fill("%x")));
    scene.run(&format!("rmi {image}")).ok();
}

fn s61_keep(scene: &Scene) {
    let directory = context(scene, "pitfall", &[("Dockerfile", PITFALL)]);
    let image = format!("{}-keep", scene.prefix);
    let output = build(
        scene,
        &["--build-volumes=keep", "-t", &image, text(&directory)],
    );
    assert!(output.ok().contains(&scene.fill("%x")), "{output}");
    assert!(!output.stdout.contains("[Warning]"), "{output}");
    scene.run(&format!("create --name %it {image}")).ok();
    assert_eq!(scene.inspect("it", "{{len .Mounts}}"), "1");
    let data = scene.inspect("it", "{{(index .Mounts 0).Source}}");
    assert!(Path::new(&data).join("date.txt").exists());
    scene.run("rm -v %it").ok();
    scene.run(&format!("rmi {image}")).ok();
}

fn s63(scene: &Scene) {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/dockerfiles");
    let mut count = 0;
    for entry in fs::read_dir(fixtures).unwrap() {
        let directory = entry.unwrap().path();
        let name = directory.file_name().unwrap().to_str().unwrap();
        let image = format!("{}-{name}", scene.prefix);
        let expect = fs::read_to_string(directory.join("expect")).unwrap();
        let (arguments, wanted) = expect.split_once('\n').unwrap();
        build(scene, &["-t", &image, text(&directory)]).ok();
        let again = build(scene, &["-t", &image, text(&directory)]);
        assert!(!again.ok().contains("Running in"), "{again}");
        let words: Vec<&str> = arguments.split_whitespace().collect();
        let split = usize::from(words.first() == Some(&"--entrypoint")) * 2;
        let run: Vec<&str> = ["run", "--rm"]
            .into_iter()
            .chain(words[..split].iter().copied())
            .chain([image.as_str()])
            .chain(words[split..].iter().copied())
            .collect();
        let output = scene.client.run(&scene.engine, &run);
        assert_eq!(output.ok(), wanted.trim_end(), "{name}: {output}");
        scene.run(&format!("rmi {image}")).ok();
        count += 1;
    }
    // Ten that use stages as people do, and those of the book.
    assert!(count >= 14);
    apache(scene);
}

/// The book's web server whose log is a volume, seen by another container.
fn apache(scene: &Scene) {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/dockerfiles");
    let image = format!("{}-apache", scene.prefix);
    build(scene, &["-t", &image, text(&fixtures.join("apache2log"))]).ok();
    scene.run(&format!("run -d --name %web {image}")).ok();
    testkit::until("the server answers", || {
        let answer = scene.sh("web", "curl -sS -o /dev/null http://localhost/x");
        (answer.code == 0).then_some(())
    });
    testkit::until("the request is in the log", || {
        let log = scene.run(
            "run --rm --volumes-from %web busybox cat /var/log/apache2/other_vhosts_access.log /var/log/apache2/access.log",
        );
        log.stdout.contains("GET /x").then_some(())
    });
    scene.run("rm -fv %web").ok();
    scene.run(&format!("rmi {image}")).ok();
}

fn b01(scene: &Scene) {
    let directory = context(
        scene,
        "all",
        &[
            ("data/file", "data\n"),
            (
                "Dockerfile",
                "FROM busybox\n\
                 MAINTAINER somebody\n\
                 ARG ONE=1\n\
                 ENV TWO=2 THREE=\"$ONE and two\"\n\
                 ENV FOUR four words here\n\
                 LABEL a.b=\"c d\" e=$TWO\n\
                 EXPOSE 80 8000-8001/udp\n\
                 WORKDIR /made\n\
                 WORKDIR here\n\
                 ADD data /added/\n\
                 COPY data/file .\n\
                 RUN [\"/bin/sh\", \"-c\", \"echo exec $TWO > exec\"]\n\
                 RUN echo shell $ONE > shell; id -u > id\n\
                 USER 1000:1001\n\
                 RUN id -u; id -g\n\
                 STOPSIGNAL SIGUSR1\n\
                 HEALTHCHECK --interval=1m30s --retries=2 CMD [\"true\"]\n\
                 VOLUME [\"/v1\", \"/v2\"]\n\
                 SHELL [\"/bin/sh\", \"-e\", \"-c\"]\n\
                 ONBUILD RUN echo later\n\
                 CMD [\"replaced\"]\n\
                 ENTRYPOINT cat file exec shell /added/file; pwd\n",
            ),
        ],
    );
    let image = format!("{}-all", scene.prefix);
    let output = build(
        scene,
        &["--label", "given=yes", "-t", &image, text(&directory)],
    );
    let said = output.ok();
    for words in [
        "Step 1/23 : FROM busybox",
        "Step 4/23 : ENV TWO=2",
        " ---> ",
        "Step 23/23 : LABEL given=yes",
        "Successfully built ",
        &format!("Successfully tagged {image}:latest"),
    ] {
        assert!(said.contains(words), "{words}: {output}");
    }
    let inspect = |format: &str| {
        scene
            .run_and(&format!("image inspect {image} --format"), &[format])
            .ok()
    };
    for (format, wanted) in [
        ("{{.Author}}", "somebody"),
        ("{{json .Config.Volumes}}", r#"{"/v1":{},"/v2":{}}"#),
        (
            "{{.Config.WorkingDir}} {{.Config.User}}",
            "/made/here 1000:1001",
        ),
        ("{{.Config.StopSignal}}", "SIGUSR1"),
        (
            "{{index .Config.Labels \"a.b\"}} {{.Config.Labels.e}} {{.Config.Labels.given}}",
            "c d 2 yes",
        ),
        ("{{json .Config.OnBuild}}", "[\"RUN echo later\"]"),
        ("{{json .Config.Shell}}", r#"["/bin/sh","-e","-c"]"#),
        (
            "{{json .Config.Healthcheck.Interval}} {{.Config.Healthcheck.Retries}} {{.Config.Healthcheck.Test}}",
            "90000000000 2 [CMD true]",
        ),
        ("{{len .Config.ExposedPorts}}", "3"),
        ("{{.Os}}", "linux"),
    ] {
        assert_eq!(inspect(format), wanted, "{format}");
    }
    let env = inspect("{{json .Config.Env}}");
    for entry in ["TWO=2", "THREE=1 and two", "FOUR=four words here"] {
        assert!(env.contains(entry), "{env}");
    }
    assert_eq!(
        scene.run(&format!("run --rm {image}")).ok(),
        "data\nexec 2\nshell 1\ndata\n/made/here"
    );
    let history = scene.run(&format!("history --no-trunc {image}")).ok();
    assert!(
        history.contains("RUN |1 ONE=1 /bin/sh -c echo shell $ONE"),
        "{history}"
    );
    assert!(history.lines().count() > 20, "{history}");
    scene.run(&format!("rmi {image}")).ok();
}

fn b02(scene: &Scene) {
    let directory = context(
        scene,
        "cache",
        &[
            ("first", "1 of %x"),
            ("second", "2"),
            (
                "Dockerfile",
                "FROM busybox\n\
                 COPY first /\n\
                 RUN echo one of %x && cat /proc/uptime > /one\n\
                 COPY second /\n\
                 RUN echo two of %x && cat /proc/uptime > /two\n\
                 CMD cat /one /two\n",
            ),
        ],
    );
    let id = |output: &Output| -> String {
        let said = output.ok();
        let line = said
            .lines()
            .find(|line| line.starts_with("Successfully built"))
            .unwrap();
        line.rsplit(' ').next().unwrap().to_owned()
    };
    let count = |output: &Output| output.stdout.matches("Running in").count();
    let path = text(&directory);
    let first = build(scene, &[path]);
    assert_eq!(count(&first), 2, "{first}");
    // Times of files say nothing.
    host("touch", &["-d", "2001-01-01", &format!("{path}/first")]);
    let again = build(scene, &[path]);
    assert_eq!(count(&again), 0, "{again}");
    assert_eq!(id(&first), id(&again), "the same build is the same image");
    assert_eq!(again.stdout.matches("Using cache").count(), 4, "{again}");
    fs::write(directory.join("second"), "changed").unwrap();
    let later = build(scene, &[path]);
    assert_eq!(count(&later), 1, "{later}");
    assert_ne!(id(&first), id(&later));
    let before = scene.run(&format!("run --rm {} cat /one", id(&first))).ok();
    let after = scene.run(&format!("run --rm {} cat /one", id(&later))).ok();
    assert_eq!(before, after);
    // Modes say something.
    host("chmod", &["755", &format!("{path}/first")]);
    assert_eq!(count(&build(scene, &[path])), 2);
    assert_eq!(count(&build(scene, &["--no-cache", path])), 2);
    // Quiet builds say one thing.
    let quiet = build(scene, &["-q", path]).ok();
    assert!(
        quiet.starts_with("sha256:") && !quiet.contains('\n'),
        "{quiet}"
    );
    // A build that fails leaves what was done before.
    let failing =
        fs::read_to_string(directory.join("Dockerfile")).unwrap() + "RUN echo again %x; false\n";
    fs::write(
        directory.join("Dockerfile"),
        scene.fill(&failing).replace("again", "fresh"),
    )
    .unwrap();
    fs::write(directory.join("second"), "once more").unwrap();
    let failed = build(scene, &[path]);
    failed.fails(1, "returned a non-zero code: 1");
    assert_eq!(count(&failed), 2, "{failed}");
    let failed = build(scene, &[path]);
    assert_eq!(count(&failed), 1, "{failed}");
}

fn b03(scene: &Scene) {
    let directory = context(
        scene,
        "ignored",
        &[
            (
                ".dockerignore",
                "# a comment\n*.log\n**/cache\n!keep.log\nDockerfile\n.dockerignore\n",
            ),
            ("a.log", "x"),
            ("keep.log", "x"),
            ("sub/cache/x", "x"),
            ("sub/b.txt", "x"),
            (
                "Dockerfile",
                "FROM busybox\nCOPY . /c/\nCMD cd /c && find . -type f | sort\n",
            ),
        ],
    );
    let image = format!("{}-ignored", scene.prefix);
    assert_eq!(
        outcome(scene, &image, &directory),
        "./keep.log\n./sub/b.txt"
    );
    fs::write(
        directory.join("Dockerfile"),
        "FROM busybox\nCOPY a.log /c/\n",
    )
    .unwrap();
    build(scene, &[text(&directory)]).fails(
        1,
        "COPY failed: file not found in build context or excluded by .dockerignore: stat a.log: file does not exist",
    );
    scene.run(&format!("rmi {image}")).ok();
}

fn b04(scene: &Scene) {
    let directory = context(
        scene,
        "copies",
        &[
            ("a.txt", "a"),
            ("b.txt", "b"),
            ("d/e/f", "f"),
            (
                "Dockerfile",
                "FROM busybox\n\
                 RUN mkdir /real && ln -s real /link && echo u:x:33:44::/:/bin/sh >> /etc/passwd && echo g:x:55: >> /etc/group\n\
                 COPY *.txt /many/\n\
                 COPY a.txt /file\n\
                 COPY a.txt /real\n\
                 COPY d /dir\n\
                 COPY d/e /link/\n\
                 COPY --chown=u --chmod=640 a.txt /owned/u\n\
                 COPY --chown=u:g d /owned/d\n\
                 COPY --chown=7:8 link-to-a /owned/number\n\
                 COPY [\"a.txt\", \"/with blank\"]\n\
                 CMD cat /many/a.txt /many/b.txt /file /real/a.txt /dir/e/f /real/f '/with blank'; echo; cd /owned; stat -c '%n %u:%g %a' u d d/e number; stat -c %u:%g /file\n",
            ),
        ],
    );
    std::os::unix::fs::symlink("a.txt", directory.join("link-to-a")).unwrap();
    std::os::unix::fs::chown(directory.join("a.txt"), Some(1234), Some(1234)).unwrap();
    let image = format!("{}-copies", scene.prefix);
    let said = outcome(scene, &image, &directory);
    let mode = |path: &str| {
        use std::os::unix::fs::PermissionsExt as _;
        fs::metadata(directory.join(path))
            .unwrap()
            .permissions()
            .mode()
            & 0o7777
    };
    assert_eq!(
        said,
        format!(
            "abaaffa\nu 33:44 640\nd 33:55 {:o}\nd/e 33:55 {:o}\nnumber 7:8 {:o}\n0:0",
            mode("d"),
            mode("d/e"),
            mode("a.txt")
        )
    );
    scene.run(&format!("rmi {image}")).ok();
    for (line, why) in [
        (
            "COPY a.txt b.txt /x",
            "When using COPY with more than one source file, the destination must be a directory and end with a /",
        ),
        (
            "COPY ../x /x",
            "COPY failed: forbidden path outside the build context: ../x ()",
        ),
        (
            "COPY *.none /x/",
            "COPY failed: no source files were specified",
        ),
        ("COPY --from=nosuchstage a /x", "nosuchstage"),
        ("COPY --from=3 a /x", "invalid from flag value 3"),
        (
            "COPY --chown=nobodyhere a.txt /x",
            "can't find uid for user nobodyhere",
        ),
        ("COPY --chmod=9 a.txt /x", "invalid chmod parameter"),
        (
            "COPY d /etc/passwd",
            "COPY failed: cannot copy to non-directory: /etc/passwd",
        ),
        ("ADD https://example.org/x.git /x", "git repository"),
    ] {
        fs::write(
            directory.join("Dockerfile"),
            format!("FROM busybox\n{line}\n"),
        )
        .unwrap();
        build(scene, &[text(&directory)]).fails(1, why);
    }
}

fn b05(scene: &Scene) {
    for (file, code, why) in [
        (
            "FROM busybox\nCOPPY a b\n",
            1,
            "dockerfile parse error on line 2: unknown instruction: COPPY (did you mean COPY?)",
        ),
        ("FROM busybox\nCOPPY a b\n", 1, "   2 | >>> COPPY a b"),
        ("", 1, "file with no instructions"),
        ("RUN x\n", 1, "no build stage in current context"),
        (
            "FROM busybox\nRUN exit 42\n",
            42,
            "The command '/bin/sh -c exit 42' returned a non-zero code: 42",
        ),
        ("FROM busybox\nRUN [\"/nonexistent\"]\n", 1, "/nonexistent"),
        ("FROM busybox\nEXPOSE x\n", 1, "invalid containerPort: x"),
        ("FROM busybox\nSTOPSIGNAL NONE\n", 1, "invalid signal: NONE"),
        (
            "FROM busybox AS made\nFROM busybox\nCOPY --from=maed /a /a\n",
            1,
            "\"maed\" is no stage of this file (did you mean made?) and no image",
        ),
        (
            "FROM busybox\nRUN --mount=type=ssh true\n",
            1,
            "type=ssh is not supported",
        ),
        (
            "FROM busybox\nRUN --security=insecure true\n",
            1,
            "insecure",
        ),
        (
            "FROM ${NOTHING}\n",
            1,
            "base name (${NOTHING}) should not be blank",
        ),
        ("FROM busybox\nENV A=${B:?needed}\n", 1, "B: needed"),
        ("FROM localhost:1/nothing/here\n", 1, "localhost:1"),
    ] {
        let directory = context(scene, "mistakes", &[("Dockerfile", file)]);
        build(scene, &[text(&directory)]).fails(code, why);
    }
    let directory = context(scene, "target", &[("Dockerfile", "FROM busybox\n")]);
    build(scene, &["--target", "none", text(&directory)])
        .fails(1, "failed to reach build target none in Dockerfile");
    let upper = build(scene, &["-t", "Upper:case", text(&directory)]);
    assert!(
        upper.code != 0 && upper.stderr.contains("invalid reference format"),
        "{upper}"
    );
    build(scene, &["-f", "nothing", text(&directory)]).fails(1, "nothing");
    // Nothing of it is left.
    assert_eq!(scene.run("ps -aq --filter name=build-").ok(), "");
}

fn b06(scene: &Scene) {
    let directory = context(
        scene,
        "stages",
        &[(
            "Dockerfile",
            "FROM busybox AS slow\n\
             RUN for i in 1 2 3; do echo slow $i %x; sleep 0.2; done; date +%s%N > /when\n\
             FROM busybox AS beside\n\
             RUN for i in 1 2 3; do echo beside $i %x; sleep 0.2; done; date +%s%N > /when\n\
             FROM busybox AS never\n\
             RUN echo never ran %x; false\n\
             FROM slow AS upon\n\
             RUN test -s /when\n\
             FROM busybox\n\
             COPY --from=upon /when /slow\n\
             COPY --from=1 /when /beside\n\
             COPY --from=busybox /bin/busybox /copied\n\
             CMD test -s /slow && test -s /beside && test -x /copied && echo both\n",
        )],
    );
    let image = format!("{}-stages", scene.prefix);
    let output = build(scene, &["-t", &image, text(&directory)]);
    let said = output.ok();
    assert!(!said.contains("never ran"), "{output}");
    // In the order of the file, although both ran at once.
    let at = |words: &str| {
        said.find(words)
            .unwrap_or_else(|| panic!("{words}: {output}"))
    };
    assert!(at("\nslow 3") < at("\nbeside 1"), "{output}");
    assert_eq!(scene.run(&format!("run --rm {image}")).ok(), "both");
    let target = build(scene, &["--target", "slow", text(&directory)]);
    assert!(!target.ok().contains("beside"), "{target}");
    build(scene, &["--target", "never", text(&directory)]).fails(1, "non-zero code: 1");
    scene.run(&format!("rmi {image}")).ok();
    // One that fails ends the others.
    let directory = context(
        scene,
        "failing",
        &[(
            "Dockerfile",
            "FROM busybox AS a\nRUN echo %x; sleep 1000\nFROM busybox AS b\nRUN echo %x; exit 3\nFROM busybox\nCOPY --from=a / /\nCOPY --from=b / /\n",
        )],
    );
    build(scene, &[text(&directory)]).fails(3, "exit 3' returned a non-zero code: 3");
}

fn b07(scene: &Scene) {
    let directory = context(
        scene,
        "arguments",
        &[(
            "Dockerfile",
            "ARG TAG=latest\n\
             FROM busybox:$TAG\n\
             ARG TAG\n\
             ARG GIVEN=default\n\
             ARG UNSET\n\
             ENV FROM_ARG=$GIVEN\n\
             RUN echo \"$TAG $GIVEN $FROM_ARG ${UNSET:-unset} $HTTP_PROXY %x\" > /said\n\
             CMD cat /said; echo $GIVEN.\n",
        )],
    );
    let image = format!("{}-arguments", scene.prefix);
    let path = text(&directory);
    let output = build(
        scene,
        &[
            "--build-arg",
            "GIVEN=mine",
            "--build-arg",
            "HTTP_PROXY=http://p",
            "--build-arg",
            "STRAY=1",
            "-t",
            &image,
            path,
        ],
    );
    assert!(
        output
            .ok()
            .contains("[Warning] One or more build-args [STRAY] were not consumed"),
        "{output}"
    );
    assert_eq!(
        scene.run(&format!("run --rm {image}")).ok(),
        scene.fill("latest mine mine unset http://p %x\n.")
    );
    // Another value is another build; another proxy is not.
    let other = build(
        scene,
        &[
            "--build-arg",
            "GIVEN=mine",
            "--build-arg",
            "HTTP_PROXY=http://q",
            path,
        ],
    );
    assert!(!other.ok().contains("Running in"), "{other}");
    let other = build(scene, &["--build-arg", "GIVEN=other", path]);
    assert!(other.ok().contains("Running in"), "{other}");
    let history = scene.run(&format!("history --no-trunc {image}")).ok();
    assert!(
        history.contains("GIVEN=mine") && !history.contains("http://p"),
        "{history}"
    );
    scene.run(&format!("rmi {image}")).ok();
}

fn b08(scene: &Scene) {
    let image = format!("{}-elsewhere", scene.prefix);
    // A Dockerfile alone.
    build_with(
        scene,
        &["-t", &image, "-"],
        b"FROM busybox\nCMD echo alone\n",
    )
    .ok();
    assert_eq!(scene.run(&format!("run --rm {image}")).ok(), "alone");
    // An archive, plain and compressed.
    let directory = context(
        scene,
        "packed",
        &[
            ("D", "FROM busybox\nCOPY f /f\nCMD cat /f\n"),
            ("f", "packed"),
        ],
    );
    for flag in ["-c", "-cz"] {
        let tar = std::process::Command::new("tar")
            .args(["-C", text(&directory), flag, "."])
            .output()
            .unwrap()
            .stdout;
        build_with(scene, &["-f", "D", "-t", &image, "-"], &tar).ok();
        assert_eq!(scene.run(&format!("run --rm {image}")).ok(), "packed");
    }
    scene.run(&format!("rmi {image}")).ok();
}

fn b09(scene: &Scene) {
    let directory = scene.directory("hostile");
    let tar = directory.join("x.tar");
    let script = "import tarfile, io, sys\n\
        t = tarfile.open(sys.argv[1], 'w')\n\
        def add(name, data=b'', **more):\n\
        \x20   i = tarfile.TarInfo(name); i.size = len(data)\n\
        \x20   for k, v in more.items(): setattr(i, k, v)\n\
        \x20   t.addfile(i, io.BytesIO(data))\n\
        add('Dockerfile', b'FROM busybox\\nCOPY . /c/\\nCMD ls -la /c; cat /c/out/passwd\\n')\n\
        exec(sys.argv[2])\n\
        t.close()\n";
    let make = |what: &str| {
        host("python3", &["-c", script, text(&tar), what]);
        fs::read(&tar).unwrap()
    };
    for what in [
        "add('../../../../../../tmp/orlop-escape', b'x')",
        "add('a/../../b', b'x')",
    ] {
        build_with(scene, &["-"], &make(what)).fails(1, "leads out of its directory");
    }
    build_with(
        scene,
        &["-"],
        &make("add('h', type=tarfile.LNKTYPE, linkname='/etc/passwd')"),
    )
    .fails(1, "which is not in it");
    // Links stay links, and lead nowhere while the image is built.
    let image = format!("{}-hostile", scene.prefix);
    let links = "add('out', type=tarfile.SYMTYPE, linkname='/etc'); add('out/passwd', b'mine'); add('dev', type=tarfile.CHRTYPE, devmajor=1, devminor=3)";
    build_with(scene, &["-t", &image, "-"], &make(links)).ok();
    let said = scene.run(&format!("run --rm {image}")).ok();
    assert!(said.ends_with("mine") && !said.contains(" dev"), "{said}");
    // A source that is a link is looked up in the context, not on the host.
    let inside = "add('Dockerfile', b'FROM busybox\\nCOPY l /c\\n'); add('l', type=tarfile.SYMTYPE, linkname='/etc/hostname')";
    build_with(scene, &["-"], &make(inside)).fails(1, "file not found in build context");
    let cut = &make("add('big', b'x' * 100000)")[..50_000];
    build_with(scene, &["-"], cut).fails(1, "no usable archive");
    assert!(!Path::new("/tmp/orlop-escape").exists());
    scene.run(&format!("rmi {image}")).ok();
}

fn b10(scene: &Scene) {
    let directory = context(
        scene,
        "left",
        &[(
            "Dockerfile",
            "FROM busybox\nRUN echo begun %x; exec sleep 98765.%x\n",
        )],
    );
    let number: String = scene.prefix.bytes().map(|byte| byte.to_string()).collect();
    let file = format!("FROM busybox\nRUN echo begun; exec sleep 98{number}\n");
    fs::write(directory.join("Dockerfile"), file).unwrap();
    let mut command = scene
        .client
        .command(&scene.engine, &["build", text(&directory)]);
    command.env("DOCKER_BUILDKIT", "0");
    let running = Running::start(&mut command);
    let is_there = || {
        std::process::Command::new("pgrep")
            .args(["-f", &format!("^sleep 98{number}$")])
            .output()
            .unwrap()
            .status
            .success()
    };
    testkit::until("the step runs", || is_there().then_some(()));
    drop(running);
    testkit::until("the step is ended", || (!is_there()).then_some(()));
}

fn b11(scene: &Scene) {
    let _alone = one_prune_at_a_time();
    let directory = context(
        scene,
        "pruned",
        &[(
            "Dockerfile",
            "FROM busybox\nRUN echo %x > /file\nRUN echo more %x > /more\n",
        )],
    );
    let image = format!("{}-pruned", scene.prefix);
    let path = text(&directory);
    build(scene, &["-t", &image, path]).ok();
    let usage = scene.run("system df -v").ok();
    assert!(usage.contains("Build cache usage:"), "{usage}");
    // What an image has is kept by an ordinary prune.
    scene.run("builder prune -f").ok();
    assert!(
        !build(scene, &["-t", &image, path])
            .ok()
            .contains("Running in")
    );
    scene.run(&format!("rmi {image}")).ok();
    // Other scenarios build at the same time: only what this one left is looked for.
    assert!(
        !build(scene, &["-t", &image, path])
            .ok()
            .contains("Running in")
    );
    scene.run(&format!("rmi {image}")).ok();
    let pruned = scene
        .run_and(
            "builder prune -af --filter",
            &[&format!("description={}", scene.fill("more %x"))],
        )
        .ok();
    assert!(pruned.contains("Total reclaimed space:"), "{pruned}");
    let again = build(scene, &["-t", &image, path]).ok();
    assert_eq!(again.matches("Running in").count(), 1, "{again}");
    scene.run(&format!("rmi {image}")).ok();
    scene
        .run("builder prune -af --filter type=exec.cachemount")
        .ok();
    scene
        .run("builder prune -f --filter nonsense=1")
        .fails(1, "invalid filter 'nonsense'");
}

fn b12(scene: &Scene) {
    let directory = context(
        scene,
        "limits",
        &[(
            "Dockerfile",
            "FROM busybox\n\
             RUN echo %x; ulimit -n; df -m /dev/shm | tail -n 1; grep given /etc/hosts; cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null; true\n\
             RUN --network=none echo links; ls /sys/class/net\n\
             RUN touch /etc/kept && test -e /proc/self && echo ok\n\
             CMD ls -a / /etc | grep -c -e dockerenv -e resolv.conf\n",
        )],
    );
    let image = format!("{}-limits", scene.prefix);
    let output = build(
        scene,
        &[
            "--memory",
            "64m",
            "--shm-size",
            "8m",
            "--ulimit",
            "nofile=100:100",
            "--add-host",
            "given:10.1.2.3",
            "-t",
            &image,
            text(&directory),
        ],
    );
    let said = output.ok();
    for words in [
        "\n100\n",
        "8         0         8",
        "10.1.2.3",
        "67108864",
        "links\nlo\n",
    ] {
        assert!(said.contains(words), "{words:?}: {output}");
    }
    scene.run(&format!("rmi {image}")).ok();
    let nets = build(
        scene,
        &["--no-cache", "--network", "none", text(&directory)],
    );
    assert!(!nets.ok().contains("eth0"), "{nets}");
    build(scene, &["--network", "mine", text(&directory)]).fails(1, "network mine not found");
}

fn b20(scene: &Scene) {
    assert_eq!(scene.client, Client::Orlop);
    let directory = context(
        scene,
        "secrets",
        &[
            ("token.txt", "correct-horse-battery"),
            (
                "Dockerfile",
                "FROM busybox\n\
                 RUN --mount=type=secret,id=token sha256sum /run/secrets/token > /sum; stat -c '%a %u' /run/secrets/token; mount | grep -c secrets\n\
                 RUN --mount=type=secret,id=token,env=TOKEN --mount=type=secret,id=none echo ${#TOKEN} %x; test ! -e /run/secrets/none\n\
                 RUN test ! -e /run/secrets/token\n",
            ),
            (
                "Needs",
                "FROM busybox\nRUN --mount=type=secret,id=absent,required=true true\n",
            ),
            (".dockerignore", "token.txt\n"),
        ],
    );
    let image = format!("{}-secrets", scene.prefix);
    let secret = format!("id=token,src={}", text(&directory.join("token.txt")));
    let output = build(
        scene,
        &["--secret", &secret, "-t", &image, text(&directory)],
    );
    let said = output.ok();
    assert!(
        said.contains("400 0\n") && said.contains("\n21 "),
        "{output}"
    );
    // Nowhere: not in the image, not in its history, not in what was said, not in the state directory.
    let archive = scene.directory("saved").join("image.tar");
    scene.run_into(&format!("save {image}"), &archive);
    for file in [
        archive.as_path(),
        &scene.engine.root.join("orlop.db"),
        &scene.engine.root.join("orlop.db-wal"),
        &scene.engine.log(),
    ] {
        let bytes = fs::read(file).unwrap_or_default();
        let found = bytes
            .windows(21)
            .any(|some| some == b"correct-horse-battery");
        assert!(!found, "{}", file.display());
    }
    assert!(!said.contains("correct-horse"), "{output}");
    // Another secret is no other build.
    fs::write(directory.join("token.txt"), "another-horse-battery").unwrap();
    let again = build(scene, &["--secret", &secret, text(&directory)]);
    assert!(!again.ok().contains("Running in"), "{again}");
    let needs = text(&directory).to_owned() + "/Needs";
    build(scene, &["-f", &needs, text(&directory)]).fails(1, "secret absent: not found");
    scene.run(&format!("rmi {image}")).ok();
}

fn b21(scene: &Scene) {
    let directory = context(scene, "inside", &[("f", "inside"), ("g", "x")]);
    let elsewhere = context(
        scene,
        "outside",
        &[
            ("My.Dockerfile", "FROM busybox\nCOPY . /c\nCMD ls -A /c\n"),
            ("My.Dockerfile.dockerignore", "g\n"),
        ],
    );
    let image = format!("{}-outside", scene.prefix);
    let file = elsewhere.join("My.Dockerfile");
    build(scene, &["-f", text(&file), "-t", &image, text(&directory)]).ok();
    assert_eq!(scene.run(&format!("run --rm {image}")).ok(), "f");
    let id = elsewhere.join("id");
    build_with(
        scene,
        &[
            "-f",
            "-",
            "--iidfile",
            text(&id),
            "-t",
            &image,
            text(&directory),
        ],
        b"FROM busybox\nCOPY f /\nCMD cat /f\n",
    )
    .ok();
    assert_eq!(scene.run(&format!("run --rm {image}")).ok(), "inside");
    assert!(fs::read_to_string(&id).unwrap().starts_with("sha256:"));
    build(scene, &["https://example.org/x.git"]).fails(1, "is not supported");
    scene.run(&format!("rmi {image}")).ok();
}

/// Docker's client sends such a context as an archive without an end.
fn b13(scene: &Scene) {
    let directory = context(scene, "in", &[("f", "inside"), ("z", "last")]);
    let file = context(
        scene,
        "out",
        &[("Mine", "FROM busybox\nCOPY f z /\nCMD cat /f /z\n")],
    )
    .join("Mine");
    let image = format!("{}-outside", scene.prefix);
    build(scene, &["-f", text(&file), "-t", &image, text(&directory)]).ok();
    assert_eq!(scene.run(&format!("run --rm {image}")).ok(), "insidelast");
    let input = b"FROM busybox\nCOPY f /\nCMD cat /f\n";
    build_with(scene, &["-f", "-", "-t", &image, text(&directory)], input).ok();
    assert_eq!(scene.run(&format!("run --rm {image}")).ok(), "inside");
    scene.run(&format!("rmi {image}")).ok();
}

fn b14(scene: &Scene) {
    let directory = context(
        scene,
        "mounted",
        &[
            ("sub/s.txt", "of the context"),
            (
                "Dockerfile",
                "FROM busybox AS src\n\
                 RUN mkdir /src && echo one > /src/one\n\
                 RUN echo two > /src/two\n\
                 FROM busybox\n\
                 RUN --mount=type=bind,source=sub,target=/b cp /b/s.txt /context; ! touch /b/x\n\
                 RUN --mount=type=bind,from=src,source=/src,target=/b cat /b/one /b/two > /stage; ! touch /b/x\n\
                 RUN --mount=type=bind,from=src,target=/a --mount=type=bind,from=src,target=/b,rw touch /b/x && ! ls /a/x && cat /b/src/two > /both\n\
                 RUN --mount=type=cache,id=%x,target=/cache echo first >> /cache/log\n\
                 RUN --mount=type=cache,id=%x,target=/cache cp /cache/log /cached\n\
                 RUN --mount=type=tmpfs,target=/t mount | grep -q 'tmpfs on /t ' && touch /t/x\n\
                 RUN --network=none test $(grep -c : /proc/net/dev) = 1\n\
                 CMD cat /context /stage /both /cached; ls -A /b /a /t /cache 2>/dev/null; true\n",
            ),
        ],
    );
    let image = format!("{}-mounted", scene.prefix);
    assert_eq!(
        outcome(scene, &image, &directory),
        "of the contextone\ntwo\ntwo\nfirst"
    );
    scene.run(&format!("rmi {image}")).ok();
}

fn b15(scene: &Scene) {
    let directory = context(
        scene,
        "written",
        &[
            ("a.txt", "a"),
            ("sub/keep", "k"),
            ("sub/drop.txt", "d"),
            ("sub/deep/x", "x"),
            (
                "Dockerfile",
                "FROM busybox AS src\n\
                 COPY --chmod=604 --chown=7:8 a.txt /src/\n\
                 FROM busybox\n\
                 ARG WHO=nobody\n\
                 COPY <<one <<\"two\" /here/\n\
                 for $WHO\n\
                 one\n\
                 not $WHO\n\
                 two\n\
                 RUN <<END\n\
                 echo a > /made\n\
                 echo b >> /made\n\
                 END\n\
                 COPY --from=src --link /src/a.txt /linked/\n\
                 COPY --exclude=*.txt --exclude=deep sub /some/\n\
                 COPY --parents sub/deep/x sub/./keep /whole/\n\
                 CMD cat /here/one /here/two /made; stat -c '%a %u:%g' /linked/a.txt; cd /; find some whole -type f | sort\n",
            ),
        ],
    );
    let image = format!("{}-written", scene.prefix);
    build(
        scene,
        &["--build-arg", "WHO=me", "-t", &image, text(&directory)],
    )
    .ok();
    assert_eq!(
        scene.run(&format!("run --rm {image}")).ok(),
        "for me\nnot $WHO\na\nb\n604 7:8\nsome/keep\nwhole/keep\nwhole/sub/deep/x"
    );
    scene.run(&format!("rmi {image}")).ok();
}

fn b22(scene: &Scene) {
    let directory = context(
        scene,
        "told",
        &[("Dockerfile", "FROM busybox\nRUN echo %x\n")],
    );
    let told = |how: &str| build(scene, &["--no-cache", "--progress", how, text(&directory)]);
    for how in ["auto", "plain", "tty"] {
        let said = told(how).ok();
        assert!(said.contains("Step 2/2 : RUN echo"), "{how}: {said}");
        assert!(
            said.contains(&format!("\n{}\n", scene.name("x"))),
            "{how}: {said}"
        );
    }
    let said = told("quiet").ok();
    assert!(
        said.starts_with("sha256:") && said.lines().count() == 1,
        "{said}"
    );
    told("loud").fails(1, "invalid progress mode loud");
}
