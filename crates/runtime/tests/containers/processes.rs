//! Starting, ending, executing, terminals, init.

use std::fs;
use std::io::Write as _;
use std::time::Instant;

use runtime::Stdio;
use shim_protocol::spec::NsMode;

use crate::Case;
use crate::fixture::{Fixture, Outcome, pipes, read_all, read_until, terminal, wait};

pub(crate) const CASES: &[Case] = &[
    ("start_is_fast", start_is_fast),
    ("exit_codes", exit_codes),
    ("what_cannot_be_executed", what_cannot_be_executed),
    ("streams_and_surroundings", streams_and_surroundings),
    ("working_directory", working_directory),
    ("exec_joins_everything", exec_joins_everything),
    ("terminal_is_a_terminal", terminal_is_a_terminal),
    ("init_reaps_and_forwards", init_reaps_and_forwards),
    (
        "namespaces_are_shared_on_demand",
        namespaces_are_shared_on_demand,
    ),
    ("dies_with_its_caller", dies_with_its_caller),
    ("failed_start_leaves_nothing", failed_start_leaves_nothing),
];

fn start_is_fast() {
    let fixture = Fixture::new();
    let mut times = Vec::new();
    for _ in 0..30 {
        let (streams, _, output) = pipes();
        let begin = Instant::now();
        let running = runtime::start(&fixture.spec, streams).unwrap();
        let started = begin.elapsed();
        assert_eq!(wait(&running), 0);
        let ended = begin.elapsed();
        drop(output);
        runtime::clean(&fixture.spec).unwrap();
        times.push((ended, started, begin.elapsed()));
    }
    times.sort_unstable();
    let (ended, started, cleaned) = times[times.len() / 2];
    println!("note: start {started:?}, to exit {ended:?}, with clean-up {cleaned:?}");
}

fn exit_codes() {
    for (script, code) in [("exit 0", 0), ("exit 7", 7), ("kill -9 $$; sleep 9", 137)] {
        let mut fixture = Fixture::shell(script);
        // Process 1 of a pid namespace cannot kill itself.
        fixture.spec.namespaces.pid = NsMode::Host;
        assert_eq!(fixture.run().unwrap().code, code, "{script}");
    }
}

fn what_cannot_be_executed() {
    let mut fixture = Fixture::new();
    fs::write(fixture.image("bin/broken"), "\x7fnot a program").unwrap();
    fs::write(fixture.image("bin/orphan"), "#!/no/such/shell\n").unwrap();
    for name in ["bin/broken", "bin/orphan"] {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(fixture.image(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    for (name, code, message) in [
        (
            "foo",
            127,
            "exec: \"foo\": executable file not found in $PATH",
        ),
        ("", 127, "exec: \"\": executable file not found in $PATH"),
        (
            "/x/y",
            127,
            "exec: \"/x/y\": stat /x/y: no such file or directory",
        ),
        (
            "/etc/passwd",
            126,
            "exec: \"/etc/passwd\": permission denied",
        ),
        ("/etc", 126, "exec: \"/etc\": is a directory"),
        ("/bin/broken", 126, "exec /bin/broken: exec format error"),
        ("broken", 126, "exec /bin/broken: exec format error"),
        (
            "/bin/orphan",
            127,
            "exec /bin/orphan: no such file or directory",
        ),
    ] {
        for init in [false, true] {
            fixture.spec.init = init;
            fixture.spec.process.args = vec![name.to_owned()];
            let error = fixture.run().unwrap_err();
            assert_eq!(
                (error.message.as_str(), error.code),
                (message, code),
                "{name} {init}"
            );
            assert_eq!(error.step, "exec");
        }
    }
}

fn streams_and_surroundings() {
    let mut fixture = Fixture::shell(
        "echo $$ $HOME $(hostname) $(pwd) $(umask); ls /proc/self/fd | tr '\\n' ' '; cat; echo error >&2; \
         cat /sys/class/net/lo/operstate; ls /sys/class/net; cut -d: -f3 /proc/self/cgroup | sort -u",
    );
    fixture.spec.domainname = "example.org".to_owned();
    let (streams, mut input, output) = pipes();
    let running = runtime::start(&fixture.spec, streams).unwrap();
    input.write_all(b"from outside\n").unwrap();
    drop(input);
    let said = read_all(output);
    assert_eq!(wait(&running), 0);
    let expected = "1 /root box / 0022\n0 1 2 3 from outside\nerror\nunknown\nlo\n/\n";
    assert_eq!(said, expected);
    assert!(running.pid_start > 0);
}

fn working_directory() {
    let mut fixture = Fixture::shell("pwd; stat -c '%u %a' .");
    fixture.spec.process.user = "app".to_owned();
    fixture.spec.process.cwd = "/deep/new/place".to_owned();
    let outcome = fixture.run().unwrap();
    assert_eq!(
        outcome,
        Outcome {
            code: 0,
            output: "/deep/new/place\n0 755\n".to_owned()
        }
    );
    fixture.spec.process.cwd = "/etc/passwd".to_owned();
    let error = fixture.run().unwrap_err();
    assert_eq!(
        error.message,
        "cannot mkdir: /etc/passwd is not a directory"
    );
    fixture.spec.process.cwd = "relative".to_owned();
    assert!(
        fixture
            .run()
            .unwrap_err()
            .message
            .contains("needs to be an absolute path")
    );
}

fn exec_joins_everything() {
    let fixture = Fixture::shell("echo running; sleep 1000");
    let (running, mut output) = fixture.start();
    read_until(&mut output, "running");
    let outcome = fixture.exec(
        &running,
        "hostname; echo $PPID; pwd; cat /proc/1/comm; exit 5",
    );
    assert_eq!(
        outcome.unwrap(),
        Outcome {
            code: 5,
            output: "box\n0\n/\nsleep\n".to_owned()
        }
    );
    let begin = Instant::now();
    for _ in 0..20 {
        fixture.exec(&running, "").unwrap();
    }
    println!("note: exec to exit {:?}", begin.elapsed() / 20);
    for kind in ["mnt", "net", "ipc", "uts", "pid", "cgroup"] {
        let link = |path: &str| {
            let outcome = fixture
                .exec(&running, &format!("readlink {path}/ns/{kind}"))
                .unwrap();
            outcome.output
        };
        assert_eq!(link("/proc/1"), link("/proc/self"), "{kind}");
    }
    let groups = |path: &str| {
        fixture
            .exec(
                &running,
                &format!("cat {path}/cgroup; grep -E '^(Cap|Seccomp)' {path}/status"),
            )
            .unwrap()
            .output
    };
    assert_eq!(groups("/proc/1"), groups("/proc/self"));
    // It is a child of ours: waiting above worked; the next ones are in our own namespace again.
    assert!(
        std::process::Command::new("true")
            .status()
            .unwrap()
            .success()
    );

    let mut process = fixture.spec.process.clone();
    process.cwd = "/nope".to_owned();
    let error = fixture.exec_process(&running, &process, false).unwrap_err();
    assert_eq!(
        (error.message.as_str(), error.code),
        (
            "chdir to cwd (\"/nope\") failed: no such file or directory",
            127
        )
    );
    process.cwd = "/".to_owned();
    process.args = vec!["nope".to_owned()];
    let error = fixture.exec_process(&running, &process, false).unwrap_err();
    assert_eq!(error.code, 127);
    process.user = "app".to_owned();
    process.args = ["sh", "-c", "id -u; grep CapEff /proc/self/status"]
        .map(str::to_owned)
        .to_vec();
    let outcome = fixture.exec_process(&running, &process, true).unwrap();
    assert_eq!(outcome.output, "1000\nCapEff:\t0000000000000000\n");

    assert_eq!(fixture.end(&running), 137);
    let error = fixture.exec(&running, "true").unwrap_err();
    assert!(error.message.contains("not running"), "{error:?}");
}

fn terminal_is_a_terminal() {
    let mut fixture = Fixture::shell(
        "stty size; tty; read line; echo got $line; ls -l /dev/console | cut -c1; sleep 1000",
    );
    fixture.spec.process.tty = true;
    fixture.spec.process.user = "app".to_owned();
    fixture.spec.process.console_size = Some((33, 111));
    let mut running = runtime::start(&fixture.spec, Stdio::Tty).unwrap();
    let mut master = terminal(&mut running);
    read_until(&mut master, "33 111\r\n/dev/pts/0\r\n");
    master.write_all(b"hello\n").unwrap();
    read_until(&mut master, "got hello\r\nc\r\n");

    let mut process = fixture.spec.process.clone();
    process.args = ["sh", "-c", "tty; stty size; exec sleep 1000"]
        .map(str::to_owned)
        .to_vec();
    let mut second =
        runtime::exec(&fixture.spec, running.pid, &process, false, Stdio::Tty).unwrap();
    let mut other = terminal(&mut second);
    read_until(&mut other, "/dev/pts/1\r\n33 111\r\n");
    // Ctrl-C reaches what is in the foreground.
    other.write_all(b"\x03").unwrap();
    assert_eq!(wait(&second), 130);
    assert_eq!(fixture.end(&running), 137);
}

fn init_reaps_and_forwards() {
    let mut fixture = Fixture::shell("exit 9");
    fixture.spec.init = true;
    assert_eq!(
        fixture.run().unwrap(),
        Outcome {
            code: 9,
            output: String::new()
        }
    );

    // An orphan is reaped: no zombie remains.
    fixture.script(
        "sh -c 'sleep 0.1 & :'; sleep 0.4; ps -o stat= | grep -c Z; cat /proc/1/comm; echo $$",
    );
    let said = fixture.run().unwrap().output;
    assert_eq!(said, "0\ninit\n2\n");

    // A signal to pid 1 reaches the program.
    fixture.script("trap 'echo caught; exit 3' TERM; echo ready; while :; do sleep 0.05; done");
    let (running, mut output) = fixture.start();
    read_until(&mut output, "ready");
    sys::process::kill(running.pid, 15).unwrap();
    assert_eq!(read_all(output), "\ncaught\n".replacen('\n', "", 1));
    assert_eq!(wait(&running), 3);
    runtime::clean(&fixture.spec).unwrap();

    fixture.script("kill -11 $$");
    assert_eq!(fixture.run().unwrap().code, 139);

    // Nobody inside can look into it.
    fixture.script("readlink /proc/1/exe || echo hidden; grep CapPrm /proc/1/status");
    let said = fixture.run().unwrap().output;
    assert!(said.contains("hidden"), "{said}");
    assert!(said.contains("00000000a80425fb"), "{said}");

    // On a terminal the program has the foreground.
    fixture.spec.process.tty = true;
    fixture.script("exec sleep 1000");
    let mut running = runtime::start(&fixture.spec, Stdio::Tty).unwrap();
    let mut master = terminal(&mut running);
    master.write_all(b"\x03").unwrap();
    assert_eq!(wait(&running), 130);
    runtime::clean(&fixture.spec).unwrap();
}

fn namespaces_are_shared_on_demand() {
    let first = Fixture::shell("echo shared > /dev/shm/x; echo running; sleep 1000");
    let (running, mut output) = first.start();
    read_until(&mut output, "running");
    let mut second = Fixture::shell(
        "hostname; for n in pid net ipc uts; do readlink /proc/self/ns/$n; done; cat /proc/1/comm /dev/shm/x",
    );
    second.spec.namespaces.network = shim_protocol::spec::NetworkNs::Join(running.pid);
    for mode in ["pid", "ipc", "uts"] {
        let namespaces = &mut second.spec.namespaces;
        *match mode {
            "pid" => &mut namespaces.pid,
            "ipc" => &mut namespaces.ipc,
            _ => &mut namespaces.uts,
        } = NsMode::Join(running.pid);
    }
    let expected = first
        .exec(&running, "hostname; for n in pid net ipc uts; do readlink /proc/self/ns/$n; done; cat /proc/1/comm /dev/shm/x")
        .unwrap()
        .output;
    assert_eq!(second.run().unwrap().output, expected);

    second.spec.namespaces = shim_protocol::spec::Namespaces {
        network: shim_protocol::spec::NetworkNs::Host,
        pid: NsMode::Host,
        ipc: NsMode::Host,
        uts: NsMode::Host,
        cgroup: NsMode::Host,
    };
    second.script("for n in pid net ipc uts cgroup; do readlink /proc/self/ns/$n; done");
    let host: String = ["pid", "net", "ipc", "uts", "cgroup"]
        .map(|kind| {
            fs::read_link(format!("/proc/self/ns/{kind}"))
                .unwrap()
                .display()
                .to_string()
                + "\n"
        })
        .concat();
    assert_eq!(second.run().unwrap().output, host);
    first.end(&running);
    second.spec.namespaces.ipc = NsMode::Join(running.pid);
    let error = second.run().unwrap_err();
    assert!(error.message.contains("not running"), "{error:?}");
}

fn dies_with_its_caller() {
    for user in ["", "app"] {
        let mut fixture = Fixture::shell("echo running; sleep 1000");
        fixture.spec.process.user = user.to_owned();
        let (alive, ours) = rustix::pipe::pipe().unwrap();
        // A caller of its own, which starts the container and is killed.
        let sys::process::Fork::Parent(caller) = sys::process::fork_with(0, None).unwrap() else {
            let (running, mut output) = fixture.start();
            read_until(&mut output, "running");
            rustix::io::write(&ours, format!("{}\n", running.pid).as_bytes()).unwrap();
            rustix::event::poll(&mut [], None).unwrap();
            unreachable!("it is killed before");
        };
        drop(ours);
        let mut alive = fs::File::from(alive);
        let pid: i32 = read_until(&mut alive, "\n").trim().parse().unwrap();
        let pidfd = rustix::process::pidfd_open(
            rustix::process::Pid::from_raw(pid).unwrap(),
            rustix::process::PidfdFlags::empty(),
        )
        .unwrap();
        sys::process::kill(caller.pid, 9).unwrap();
        sys::process::wait(caller.pid).unwrap();
        let patience = rustix::time::Timespec {
            tv_sec: 10,
            tv_nsec: 0,
        };
        let mut gone = [rustix::event::PollFd::new(
            &pidfd,
            rustix::event::PollFlags::IN,
        )];
        assert_eq!(
            rustix::event::poll(&mut gone, Some(&patience)).unwrap(),
            1,
            "{user:?}"
        );
    }
}

fn failed_start_leaves_nothing() {
    let mut fixture = Fixture::new();
    fixture.spec.resources.cpuset_cpus = Some("4095".to_owned());
    let error = fixture.run().unwrap_err();
    assert_eq!(error.step, "cgroup");
    assert_eq!(error.code, 128);
    assert!(
        error.message.contains("cpuset.cpus to 4095"),
        "{}",
        error.message
    );
    fixture.spec.resources.cpuset_cpus = None;
    fixture.spec.process.user = "nobody:".to_owned();
    let error = fixture.run().unwrap_err();
    assert_eq!(
        error.message,
        "unable to find user nobody: no matching entries in passwd file"
    );
    fixture.spec.process.user = String::new();
    fixture.spec.root.lowers = vec!["77/fs".into(), "1/fs".into()];
    assert_eq!(fixture.run().unwrap_err().step, "root");
    for path in crate::fixture::cgroup_directories(&fixture.spec) {
        assert!(!path.exists(), "{}", path.display());
    }
    assert_eq!(fs::read_dir("/proc/self/task").unwrap().count(), 1);
    let children = fs::read_to_string(
        "/proc/self/task/".to_owned() + &std::process::id().to_string() + "/children",
    );
    assert_eq!(children.unwrap_or_default(), "");
}
