//! Standard streams: terminals, attach and detach, logs.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;

use rustix::process::Signal;
use testkit::until;

use super::{Scenario, Scene, host};

pub(super) const SCENARIOS: &[Scenario] = &[
    ("t01_a_terminal", t01),
    ("t02_input_and_output", t02),
    ("t03_attach_and_detach", t03),
    ("t04_detach_keys", t04),
    ("t05_signals_are_passed_on", t05),
    ("t06_logs", t06),
    ("t07_logs_follow", t07),
    ("t08_logs_rotate", t08),
    ("t08b_rotated_logs_are_compressed", t08b),
    ("t09_log_drivers", t09),
    ("t10_logs_of_a_terminal", t10),
    ("t11_a_client_that_goes_away", t11),
];

/// The stock client is ended by the signal itself.
pub(super) const OWN: &[Scenario] = &[("t12_nobody_reads_what_is_printed", t12)];

fn t01(scene: &Scene) {
    let mut terminal = scene.terminal("run -it --rm busybox sh");
    terminal.expect("/ # ");
    terminal.send("tty\r");
    terminal.expect("/dev/");
    terminal.send("stty size\r");
    terminal.expect("24 80");
    terminal.resize(40, 100);
    until("the new size has arrived", || {
        terminal.send("stty size\r");
        terminal.screen().contains("40 100").then_some(())
    });
    // Ctrl-C interrupts what runs inside, not the client.
    terminal.send("echo sleeping; sleep 1000\r");
    terminal.expect("\nsleeping");
    terminal.send("\x03");
    terminal.expect("/ # ");
    terminal.send("echo code $?\r");
    terminal.expect("code 130");
    terminal.send("exit 12\r");
    assert_eq!(terminal.finish().0, 12);
    scene
        .run("run -t -i --rm busybox true")
        .fails(1, "the input device is not a TTY");
    let mut terminal = scene.terminal("run -it --rm --entrypoint cat busybox");
    terminal.send("hello\r");
    terminal.expect("hello\r\nhello");
    terminal.send("\x04");
    assert_eq!(terminal.finish().0, 0);
}

fn t02(scene: &Scene) {
    assert_eq!(
        scene.run_with("run -i --rm busybox cat", b"hello").stdout,
        "hello"
    );
    let output = scene.run_and("run --rm busybox sh -c", &["echo out; echo err >&2"]);
    assert_eq!(
        (output.stdout.as_str(), output.stderr.as_str()),
        ("out\n", "err\n")
    );
    let big = vec![b'x'; 3 << 20];
    assert_eq!(
        scene
            .run_with("run -i --rm busybox wc -c", &big)
            .ok()
            .trim(),
        big.len().to_string()
    );
    assert_eq!(
        scene.run_with("run -i --rm busybox cat", &big).stdout.len(),
        big.len()
    );
    // Without -i there is no input.
    assert_eq!(
        scene.run_with("run --rm busybox cat", b"ignored").stdout,
        ""
    );
    let only = scene.run_and(
        "run --rm -a stdout busybox sh -c",
        &["echo out; echo err >&2"],
    );
    assert_eq!((only.stdout.as_str(), only.stderr.as_str()), ("out\n", ""));
    // Output of a very short life is complete.
    for _ in 0..10 {
        assert_eq!(
            scene
                .run("run --rm --network none busybox echo short")
                .stdout,
            "short\n"
        );
    }
}

fn t03(scene: &Scene) {
    scene.run("run -dit --name %it busybox sh").ok();
    let mut terminal = scene.terminal("attach %it");
    terminal.send("echo at''tached\r");
    terminal.expect("attached");
    terminal.send("\x10\x11");
    let (code, screen) = terminal.finish();
    assert!(
        code <= 1 && screen.contains("read escape sequence"),
        "{code}: {screen}"
    );
    assert_eq!(scene.inspect("it", "{{.State.Running}}"), "true");
    let mut terminal = scene.terminal("attach %it");
    terminal.send("exit 13\r");
    assert_eq!(terminal.finish().0, 13);
    scene
        .run("attach %it")
        .fails(1, "cannot attach to a stopped container");
    scene.run("rm %it").ok();
    // Several see the same output. It goes on until both are there, for nothing is said twice.
    scene
        .run_and(
            "run -d --name %talks busybox sh -c",
            &["while [ ! -f /go ]; do echo said; sleep 0.05; done; exit 4"],
        )
        .ok();
    let watchers = [
        scene.start("attach --no-stdin %talks"),
        scene.start("attach --no-stdin %talks"),
    ];
    for watcher in &watchers {
        watcher.expect("said");
    }
    scene.sh("talks", "touch /go").ok();
    for watcher in watchers {
        let output = watcher.finish();
        assert_eq!(output.code, 4, "{output}");
    }
    scene.run("rm %talks").ok();
}

fn t04(scene: &Scene) {
    let mut terminal = scene.terminal("run -it --name %it --detach-keys ctrl-x,x busybox sh");
    terminal.expect("/ # ");
    terminal.send("echo insi''de\r");
    terminal.expect("inside");
    terminal.send("\x18x");
    drop(terminal.finish());
    assert_eq!(scene.inspect("it", "{{.State.Running}}"), "true");
    let mut exec = scene.terminal("exec -it --detach-keys ctrl-x,x %it sh");
    exec.expect("/ # ");
    exec.send("\x18x");
    drop(exec.finish());
    assert_eq!(scene.inspect("it", "{{.State.Running}}"), "true");
    scene.run("attach --detach-keys nonsense %it").fails(1, "");
    scene.run("rm -f %it").ok();
}

fn t05(scene: &Scene) {
    let script = "trap 'echo interrupted; exit 3' INT; echo ready; while :; do sleep 0.05; done";
    let words = [
        "run",
        "--name",
        &scene.name("it"),
        "busybox",
        "sh",
        "-c",
        script,
    ];
    let running = testkit::Running::start(&mut scene.client.command(&scene.engine, &words));
    running.expect("ready");
    running.signal(Signal::INT);
    let output = running.finish();
    assert_eq!(output.code, 3, "{output}");
    assert!(output.stdout.contains("interrupted"), "{output}");
    scene.run("rm %it").ok();
}

fn t06(scene: &Scene) {
    scene
        .run_and(
            "run --name %it busybox sh -c",
            &["for i in 1 2 3 4 5; do echo line $i; done; echo problem >&2; printf unfinished"],
        )
        .ok();
    let all = scene.run("logs %it");
    assert_eq!(
        all.stdout,
        "line 1\nline 2\nline 3\nline 4\nline 5\nunfinished"
    );
    assert_eq!(all.stderr, "problem\n");
    let stdout = |flags: &str| scene.run(&format!("logs {flags} %it")).stdout;
    let tail = scene.run("logs --tail 2 %it");
    assert_eq!(tail.stdout.lines().count() + tail.stderr.lines().count(), 2);
    assert_eq!(stdout("-n 0"), "");
    assert_eq!(stdout("--tail all").lines().count(), 6);
    let stamped = stdout("-t");
    for line in stamped.lines() {
        let (stamp, _) = line.split_once(' ').unwrap();
        assert!(
            stamp.ends_with('Z') && stamp.len() == "2026-01-02T03:04:05.123456789Z".len(),
            "{line}"
        );
    }
    let third = stamped.lines().nth(2).unwrap().split(' ').next().unwrap();
    assert_eq!(
        stdout(&format!("--since {third}")).lines().next(),
        Some("line 3")
    );
    assert_eq!(
        stdout(&format!("--until {third}")).lines().last(),
        Some("line 3")
    );
    assert_eq!(stdout("--since 1h").lines().count(), 6);
    assert_eq!(stdout("--since 2100-01-01T00:00:00Z"), "");
    scene.run("logs %nobody").fails(1, "No such container");
    // The file is Docker's json-file.
    let path = scene.inspect("it", "{{.LogPath}}");
    let file = fs::read_to_string(path).unwrap();
    let entries: Vec<serde_json::Value> = file
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let entry = entries
        .iter()
        .find(|entry| entry["log"] == "line 1\n")
        .unwrap();
    assert_eq!(entry["stream"], "stdout");
    assert!(entry["time"].as_str().unwrap().ends_with('Z'));
    scene.run("rm %it").ok();
}

fn t07(scene: &Scene) {
    scene.run_and("run -d --name %it busybox sh -c", &["echo first; while [ ! -f /go ]; do sleep 0.05; done; echo second; while [ ! -f /end ]; do sleep 0.05; done; echo last"]).ok();
    let following = scene.start("logs -f %it");
    following.expect("first");
    scene.sh("it", "touch /go").ok();
    following.expect("second");
    scene.sh("it", "touch /end").ok();
    let output = following.finish();
    assert_eq!(
        output.ok(),
        "first\nsecond\nlast",
        "the stream ends with the container"
    );
    assert_eq!(scene.run("logs -f --tail 1 %it").ok(), "last");
    scene.run("rm %it").ok();
}

fn t08(scene: &Scene) {
    scene
        .run_and(
            "run --name %it --log-opt max-size=10k --log-opt max-file=3 busybox sh -c",
            &["i=0; while [ $i -lt 1000 ]; do echo a line of the log with the number $i; i=$((i+1)); done"],
        )
        .ok();
    let path = scene.inspect("it", "{{.LogPath}}");
    let directory = std::path::Path::new(&path).parent().unwrap();
    let mut files: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains("-json.log"))
        .collect();
    files.sort();
    assert_eq!(files.len(), 3, "{files:?}");
    assert!(fs::metadata(&path).unwrap().len() <= 11_000);
    let seen = scene.run("logs %it").ok();
    assert!(seen.ends_with("number 999"), "{seen}");
    assert!(seen.lines().count() > 100, "older files are read, too");
    let numbers: Vec<u32> = seen
        .lines()
        .map(|line| line.rsplit(' ').next().unwrap().parse().unwrap())
        .collect();
    assert!(
        numbers.windows(2).all(|pair| pair[1] == pair[0] + 1),
        "in order and without a gap"
    );
    scene.run("rm %it").ok();
    scene
        .run("run --rm --log-opt max-size=nonsense busybox true")
        .fails(125, "");
}

/// Rotated files become `.gz`, and are read as before, however far that has come.
fn t08b(scene: &Scene) {
    const LINES: usize = 150;
    let script = format!(
        "n=0; for round in 0 1 2 3; do
           i=0; while [ $i -lt {LINES} ]; do echo a line of the log with the number $n; i=$((i+1)); n=$((n+1)); done
           while [ ! -e /go$round ]; do sleep 0.02; done
         done"
    );
    scene
        .run_and(
            "run -d --name %it --stop-signal KILL --log-opt max-size=10k --log-opt max-file=3 --log-opt compress=true busybox sh -c",
            &[&script],
        )
        .ok();
    let log = PathBuf::from(scene.inspect("it", "{{.LogPath}}"));
    let beside = |ending: &str| {
        let mut path = log.clone().into_os_string();
        path.push(ending);
        PathBuf::from(path)
    };
    let numbers = |line: &str| -> Vec<usize> {
        let logged = scene.run(line).ok();
        let numbers = logged.lines().map(|line| line.rsplit(' ').next().unwrap());
        numbers.map(|number| number.parse().unwrap()).collect()
    };
    for round in 0..4 {
        let last = (round + 1) * LINES - 1;
        until(
            "all of a round is logged, and what was rotated is compressed",
            || {
                let logged = fs::read_to_string(&log).unwrap();
                let packed = beside(".1.gz").exists() && !beside(".1").exists();
                (logged.contains(&format!("number {last}\\n")) && packed).then_some(())
            },
        );
        if round < 3 {
            scene.run(&format!("exec %it touch /go{round}")).ok();
        }
    }
    assert!(beside(".2.gz").exists() && !beside(".3.gz").exists());
    assert!(!beside(".gz.part").exists());
    let seen = numbers("logs %it");
    let end = 4 * LINES;
    assert_eq!(seen, (seen[0]..end).collect::<Vec<_>>(), "no gap");
    assert!(
        seen[0] > 0 && seen.len() > 2 * LINES,
        "{} lines",
        seen.len()
    );
    let tail = numbers("logs --tail 200 %it");
    assert_eq!(tail, (end - 200..end).collect::<Vec<_>>());

    // Cut off before the packed file was complete, and after that, before the plain one was gone.
    fs::write(
        beside(".gz.part"),
        &fs::read(beside(".1.gz")).unwrap()[..100],
    )
    .unwrap();
    assert_eq!(numbers("logs %it"), seen);
    let plain = host("gzip", &["-dc", beside(".1.gz").to_str().unwrap()]);
    fs::write(beside(".1"), plain + "\n").unwrap();
    assert_eq!(numbers("logs %it"), seen);
    fs::remove_file(beside(".1.gz")).unwrap();
    assert_eq!(numbers("logs %it"), seen);
    // The next start makes up for what a shim that was killed has not compressed.
    scene.run("exec %it rm /go0").ok();
    scene.run("restart -t 0 %it").ok();
    until("the rotated file is compressed", || {
        (beside(".1.gz").exists() && !beside(".1").exists()).then_some(())
    });
    scene.run("rm -f %it").ok();
    for options in ["", " --log-opt max-size=10k", " --log-opt max-file=2"] {
        scene
            .run(&format!(
                "run --rm --log-opt compress=true{options} busybox true"
            ))
            .fails(
                125,
                "compress cannot be true when max-file is less than 2 or max-size is not set",
            );
    }
}

fn t09(scene: &Scene) {
    assert_eq!(
        scene
            .run("run --name %none --log-driver none busybox echo seen")
            .ok(),
        "seen"
    );
    scene
        .run("logs %none")
        .fails(1, "configured logging driver does not support reading");
    scene.run("rm %none").ok();
    scene
        .run("run --name %file --log-driver json-file busybox echo seen")
        .ok();
    assert_eq!(scene.run("logs %file").ok(), "seen");
    scene.run("rm %file").ok();
}

fn t10(scene: &Scene) {
    scene
        .run_and(
            "run -t --name %it busybox sh -c",
            &["echo out; echo err >&2"],
        )
        .ok();
    let logs = scene.run("logs %it");
    assert_eq!(
        (logs.stdout.as_str(), logs.stderr.as_str()),
        ("out\r\nerr\r\n", "")
    );
    scene.run("rm %it").ok();
}

fn t11(scene: &Scene) {
    let words = [
        "run",
        "--name",
        &scene.name("it"),
        "busybox",
        "sh",
        "-c",
        "echo ready; while [ ! -f /end ]; do sleep 0.05; done; echo more; exit 5",
    ];
    let running = testkit::Running::start(&mut scene.client.command(&scene.engine, &words));
    running.expect("ready");
    running.signal(Signal::KILL);
    drop(running.finish());
    // The container does not notice.
    assert_eq!(scene.inspect("it", "{{.State.Running}}"), "true");
    scene.sh("it", "touch /end").ok();
    assert_eq!(scene.run("wait %it").ok(), "5");
    assert_eq!(scene.run("logs %it").ok(), "ready\nmore");
    scene.run("rm %it").ok();
}

fn t12(scene: &Scene) {
    let print_to = |words: &[&str], out: Stdio| {
        let mut command = scene.client.command(&scene.engine, words);
        let output = command.stdin(Stdio::null()).stdout(out).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        (output.status.code(), said)
    };
    let nobody = || {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        Stdio::from(writer)
    };
    let full = || {
        Stdio::from(
            fs::OpenOptions::new()
                .write(true)
                .open("/dev/full")
                .unwrap(),
        )
    };
    let all = [
        &["info"][..],
        &["volume", "ls"],
        &["volume", "--help"],
        &["completion", "zsh"],
    ];
    for words in all {
        assert_eq!(print_to(words, nobody()), (Some(141), String::new()));
        let refused = "write /dev/stdout: no space left on device\n".to_owned();
        assert_eq!(print_to(words, full()), (Some(1), refused));
    }
}
