//! The cases, each with a container of its own.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd as _;
use std::time::Duration;

use rustix::fs::AtFlags;
use shim_protocol::messages::{Notice, Request, Response};
use shim_protocol::spec::{NsMode, PublishedPort, Resources, RestartPolicy};
use shim_protocol::{AttachSpec, ExitRecord, client, receive, send};
use sys::socket::FdReader;

use crate::Outcome;
use crate::container::{Container, OUTPUT, client_pair, read_output, until, with_stdin};

/// Runs for as long as a test does.
const FOREVER: &str = "trap 'exit 5' TERM; while :; do sleep 1 & wait $!; done";

type Case = (&'static str, fn() -> Outcome);

pub(crate) const ALL: &[Case] = &[
    (
        "output_is_logged_and_the_exit_is_recorded",
        output_is_logged_and_the_exit_is_recorded,
    ),
    (
        "a_client_from_the_start_sees_every_byte",
        a_client_from_the_start_sees_every_byte,
    ),
    ("a_slow_client_loses_nothing", a_slow_client_loses_nothing),
    (
        "a_client_that_leaves_frees_the_container",
        a_client_that_leaves_frees_the_container,
    ),
    (
        "input_and_its_end_reach_the_process",
        input_and_its_end_reach_the_process,
    ),
    (
        "detach_keys_close_only_the_client",
        detach_keys_close_only_the_client,
    ),
    ("execs_have_streams_and_codes", execs_have_streams_and_codes),
    (
        "a_leftover_of_an_exec_does_not_hold_it",
        a_leftover_of_an_exec_does_not_hold_it,
    ),
    ("restarts_follow_the_policy", restarts_follow_the_policy),
    ("a_stop_ends_restarts", a_stop_ends_restarts),
    ("a_stop_ends_the_back_off", a_stop_ends_the_back_off),
    ("the_engine_may_die", the_engine_may_die),
    (
        "a_dead_shim_is_seen_by_its_lock",
        a_dead_shim_is_seen_by_its_lock,
    ),
    (
        "a_shared_pid_namespace_is_swept",
        a_shared_pid_namespace_is_swept,
    ),
    ("out_of_memory_is_told", out_of_memory_is_told),
    ("terminals_have_a_size", terminals_have_a_size),
    ("held_containers_go_on", held_containers_go_on),
    (
        "paused_containers_stand_still",
        paused_containers_stand_still,
    ),
    (
        "a_failed_start_leaves_nothing",
        a_failed_start_leaves_nothing,
    ),
    ("ports_are_served", ports_are_served),
    ("odd_requests_are_refused", odd_requests_are_refused),
    ("a_view_shows_the_files", a_view_shows_the_files),
    ("memory_is_small", memory_is_small),
];

fn kill(signal: i32, stop: bool) -> Request {
    Request::Kill { signal, stop }
}

fn output_is_logged_and_the_exit_is_recorded() -> Outcome {
    let mut container = Container::new("echo hello; echo '<oops>' >&2; printf tail; exit 3")?;
    let started = container.start()?;
    assert!(started.pid > 0 && started.pid_start > 0 && !started.started_at.is_empty());
    let exit = container.end()?;
    assert_eq!(
        (exit.code, exit.oom_killed, exit.restart_count),
        (3, false, 0)
    );
    let recorded: ExitRecord =
        serde_json::from_slice(&std::fs::read(container.spec.run_dir.join("exit.json"))?)?;
    assert_eq!(recorded, exit);
    container.gone()?;
    let mut log = container.log()?;
    log.sort();
    let expected = [
        ("stderr", "<oops>\n"),
        ("stdout", "hello\n"),
        ("stdout", "tail"),
    ];
    assert_eq!(
        log,
        expected.map(|(stream, text)| (stream.to_owned(), text.to_owned()))
    );
    Ok(())
}

/// What `seq 1 n` prints.
fn sequence(last: u32) -> Vec<u8> {
    let mut text = Vec::new();
    for number in 1..=last {
        text.extend_from_slice(format!("{number}\n").as_bytes());
    }
    text
}

fn a_client_from_the_start_sees_every_byte() -> Outcome {
    let mut container = Container::new("echo first; seq 1 200000; echo last >&2")?;
    let (ours, theirs) = client_pair()?;
    container.start_attached(vec![(OUTPUT, theirs)], &[])?;
    let (out, err) = read_output(ours)?;
    assert!(
        out == [b"first\n".to_vec(), sequence(200_000)].concat(),
        "{} bytes",
        out.len()
    );
    assert_eq!(err, b"last\n");
    assert_eq!(container.end()?.code, 0);
    assert_eq!(container.log()?.len(), 200_002);
    container.gone()
}

fn a_slow_client_loses_nothing() -> Outcome {
    let mut container = Container::new("seq 1 600000")?;
    let (ours, theirs) = client_pair()?;
    container.start_attached(vec![(OUTPUT, theirs)], &[])?;
    // More than all buffers: without a reader the container waits, and the shim answers others nevertheless.
    let log = container.directory.join("log");
    let mut size = 0;
    until("the log has more than the client's bound", || {
        size = std::fs::metadata(&log)?.len();
        Ok(size > 1_000_000)
    })?;
    assert!(
        container.state()?.pid > 0,
        "the container waits for its client"
    );
    let (out, _) = read_output(ours)?;
    assert!(out == sequence(600_000), "{} bytes", out.len());
    assert_eq!(container.end()?.code, 0);
    container.gone()
}

fn a_client_that_leaves_frees_the_container() -> Outcome {
    let mut container = Container::new("seq 1 600000")?;
    let (ours, theirs) = client_pair()?;
    container.start_attached(vec![(OUTPUT, theirs)], &[])?;
    drop(ours);
    assert_eq!(container.end()?.code, 0);
    assert_eq!(container.log()?.len(), 600_000);
    container.gone()
}

fn input_and_its_end_reach_the_process() -> Outcome {
    let mut container = Container::new("cat; echo done")?;
    container.spec.open_stdin = true;
    container.spec.stdin_once = true;
    let (mut ours, theirs) = client_pair()?;
    container.start_attached(vec![(with_stdin(), theirs)], &[])?;
    // More than the pipe and the shim hold: the input waits until the process reads, and nothing is lost.
    let input = sequence(100_000);
    let (mut sender, expected) = (ours.try_clone()?, input.clone());
    let sending = std::thread::spawn(move || {
        sender.write_all(&input)?;
        sender.shutdown(Shutdown::Write)
    });
    let (out, _) = read_output(&mut ours)?;
    sending.join().map_err(|_| "the sender panicked")??;
    assert!(
        out == [expected, b"done\n".to_vec()].concat(),
        "{} bytes",
        out.len()
    );
    assert_eq!(container.end()?.code, 0);
    container.gone()
}

fn detach_keys_close_only_the_client() -> Outcome {
    let mut container = Container::new("cat")?;
    container.spec.open_stdin = true;
    container.spec.stdin_once = true;
    container.start()?;
    let keys = AttachSpec {
        detach_keys: Some(vec![16, 17]),
        ..with_stdin()
    };
    let mut client = container.attach(keys)?;
    client.write_all(b"before\n\x10\x11after\n")?;
    let (out, _) = read_output(client)?;
    // The client is closed at once; the process's answer may come before or after that.
    assert!(out.is_empty() || out == b"before\n");
    assert!(container.state()?.pid > 0);

    let mut second = container.attach(with_stdin())?;
    second.write_all(b"again\n")?;
    second.shutdown(Shutdown::Write)?;
    let (out, _) = read_output(second)?;
    assert!(out.ends_with(b"again\n"), "{out:?}");
    assert_eq!(container.end()?.code, 0);
    let texts: Vec<_> = container.log()?.into_iter().map(|(_, text)| text).collect();
    assert_eq!(texts, ["before\n", "again\n"]);
    container.gone()
}

fn execs_have_streams_and_codes() -> Outcome {
    let mut container = Container::new(FOREVER)?;
    container.start()?;
    let mut first = container.exec("e1", "cat; echo err >&2; exit 7", false)?;
    let second = container.exec("e2", "echo second", false)?;
    assert_eq!(read_output(second)?.0, b"second\n");
    assert_eq!(container.exec_code("e2")?, 0);
    first.write_all(b"in and out\n")?;
    first.shutdown(Shutdown::Write)?;
    let (out, err) = read_output(first)?;
    assert_eq!(
        (out.as_slice(), err.as_slice()),
        (&b"in and out\n"[..], &b"err\n"[..])
    );
    assert_eq!(container.exec_code("e1")?, 7);

    let mut process = container.spec.process.clone();
    process.args = vec!["no-such-program".into()];
    let spec = shim_protocol::ExecSpec {
        exec: "e3".into(),
        process,
        privileged: false,
        stdin: false,
        stdout: true,
        stderr: true,
        detach: false,
        detach_keys: None,
    };
    match container.ask(&Request::Exec {
        spec: Box::new(spec),
    }) {
        Err(error) => assert!(error.to_string().contains("no-such-program"), "{error}"),
        Ok(response) => return Err(format!("unexpected {response:?}").into()),
    }
    assert!(
        container.exec_code("e3").is_err(),
        "an exec that did not start has no code"
    );

    let mut held = container.exec("e4", "echo ready; sleep 1000", false)?;
    let mut ready = [0; 14];
    held.read_exact(&mut ready)?;
    assert_eq!(&ready[8..], b"ready\n");
    container.ask(&kill(9, true))?;
    assert!(read_output(held)?.0.is_empty());
    let mut codes = Vec::new();
    loop {
        match container.notice()? {
            Notice::ExecExited { exec, code } => codes.push((exec, code)),
            Notice::Exited { exit, .. } => {
                assert_eq!(exit.code, 137);
                break;
            }
            _ => {}
        }
    }
    let expected = [("e2", 0), ("e1", 7), ("e4", 137)];
    assert_eq!(codes, expected.map(|(exec, code)| (exec.to_owned(), code)));
    container.gone()
}

fn a_leftover_of_an_exec_does_not_hold_it() -> Outcome {
    let mut container = Container::new(FOREVER)?;
    container.start()?;
    let stream = container.exec("e", "sleep 1000 & echo started; exit 4", false)?;
    assert_eq!(read_output(stream)?.0, b"started\n");
    assert_eq!(container.exec_code("e")?, 4);
    container.ask(&kill(9, true))?;
    assert_eq!(container.end()?.code, 137);
    container.gone()
}

fn restarts_follow_the_policy() -> Outcome {
    let mut container = Container::new("echo run; exit 9")?;
    container.spec.restart = RestartPolicy::OnFailure { max_retries: 2 };
    let (ours, theirs) = client_pair()?;
    container.start_attached(vec![(OUTPUT, theirs)], &[])?;
    assert_eq!(
        read_output(ours)?.0,
        b"run\n",
        "a client belongs to one run"
    );
    for expected in 1..=2 {
        match container.notice()? {
            Notice::Exited {
                exit,
                restarting: true,
            } => {
                assert_eq!((exit.code, exit.restart_count), (9, expected));
            }
            other => return Err(format!("unexpected {other:?}").into()),
        }
        assert!(!container.spec.run_dir.join("exit.json").exists());
        match container.notice()? {
            Notice::Restarted { state } => assert_eq!(state.restart_count, expected),
            other => return Err(format!("unexpected {other:?}").into()),
        }
    }
    let exit = container.end()?;
    assert_eq!((exit.code, exit.restart_count), (9, 2));
    assert_eq!(container.log()?.len(), 3);
    container.gone()
}

fn a_stop_ends_restarts() -> Outcome {
    let mut container = Container::new(FOREVER)?;
    container.spec.restart = RestartPolicy::Always;
    let first = container.start()?;
    container.ask(&kill(9, false))?;
    match container.notice()? {
        Notice::Exited {
            exit,
            restarting: true,
        } => assert_eq!(exit.code, 137),
        other => return Err(format!("unexpected {other:?}").into()),
    }
    match container.notice()? {
        Notice::Restarted { state } => assert_ne!(state.pid, first.pid),
        other => return Err(format!("unexpected {other:?}").into()),
    }
    container.ask(&kill(9, true))?;
    assert_eq!(container.end()?.code, 137);
    container.gone()
}

fn a_stop_ends_the_back_off() -> Outcome {
    let mut container = Container::new("exit 1")?;
    container.spec.restart = RestartPolicy::Always;
    container.start()?;
    // After some exits the back-off is long enough to be met.
    let mut exits = 0;
    while exits < 3 {
        if matches!(container.notice()?, Notice::Exited { .. }) {
            exits += 1;
        }
    }
    until("the container waits", || Ok(container.state()?.restarting))?;
    container.ask(&kill(15, true))?;
    assert_eq!(container.end()?.code, 1);
    container.gone()
}

fn the_engine_may_die() -> Outcome {
    let mut container = Container::new(FOREVER)?;
    let woken = container.directory.join("woken");
    let script = format!("echo awake > {}", woken.display());
    container.spec.wake = vec!["/bin/sh".into(), "-c".into(), script];
    let (ours, theirs) = client_pair()?;
    container.start_attached(vec![(OUTPUT, theirs)], &[])?;
    container.control = None;
    drop(ours);
    let mut engine = container.connect()?;
    send(&mut engine, &Request::Watch)?;
    let Response::State { state } = receive(&mut engine)? else {
        return Err("no state".into());
    };
    assert!(state.pid > 0);
    drop(engine);
    container.ask(&kill(9, true))?;
    until("an engine is woken", || Ok(woken.exists()))?;
    container.gone()?;
    let exit: ExitRecord =
        serde_json::from_slice(&std::fs::read(container.spec.run_dir.join("exit.json"))?)?;
    assert_eq!(exit.code, 137);
    Ok(())
}

fn a_dead_shim_is_seen_by_its_lock() -> Outcome {
    let mut container = Container::new(FOREVER)?;
    let started = container.start()?;
    for signal in [1, 2, 15] {
        sys::process::kill(container.shim_pid(), signal)?;
    }
    assert!(container.state()?.pid > 0, "such signals do not end a shim");
    let error = container.sweep().map_err(|error| error.to_string());
    assert_eq!(error, Err("the shim lives".to_owned()));
    let lock = container.spec.run_dir.join("shim.lock");
    assert!(sys::lock::is_locked(&lock)?);
    sys::process::kill(container.shim_pid(), 9)?;
    container.reap()?;
    until("the lock is free", || Ok(!sys::lock::is_locked(&lock)?))?;
    assert!(
        !container.spec.run_dir.join("exit.json").exists(),
        "nobody knows how it ended"
    );
    until("the container is dead too", || {
        Ok(sys::process::start_time(started.pid).ok() != Some(started.pid_start))
    })?;
    assert!(container.has_cgroups());
    container.sweep()?;
    assert!(!container.has_cgroups());
    Ok(())
}

fn a_shared_pid_namespace_is_swept() -> Outcome {
    let mut container = Container::new("sleep 1000 & echo $!; exit 6")?;
    container.spec.namespaces.pid = NsMode::Host;
    let (ours, theirs) = client_pair()?;
    container.start_attached(vec![(OUTPUT, theirs)], &[])?;
    let (out, _) = read_output(ours)?;
    assert_eq!(container.end()?.code, 6);
    container.gone()?;
    let left: i32 = String::from_utf8(out)?.trim().parse()?;
    until("nothing is left", || {
        Ok(sys::process::start_time(left).is_err())
    })
}

fn out_of_memory_is_told() -> Outcome {
    let mut container = Container::new("x=0123456789; while :; do x=$x$x; done")?;
    container.spec.resources.memory = Some(16 << 20);
    container.spec.resources.memory_swap = Some(16 << 20);
    container.start()?;
    assert_eq!(container.notice()?, Notice::Oom);
    let exit = container.end()?;
    assert_eq!((exit.code, exit.oom_killed), (137, true));
    container.gone()
}

fn terminals_have_a_size() -> Outcome {
    let mut container = Container::new("stty size; read line; stty size; echo got $line")?;
    container.spec.process.tty = true;
    container.spec.process.console_size = Some((24, 80));
    container.spec.open_stdin = true;
    let (mut ours, theirs) = client_pair()?;
    container.start_attached(vec![(with_stdin(), theirs)], &[])?;
    let mut text = String::new();
    let mut buffer = [0; 256];
    while !text.contains("24 80") {
        let count = ours.read(&mut buffer)?;
        assert!(count > 0, "ended after {text:?}");
        text.push_str(std::str::from_utf8(&buffer[..count])?);
    }
    container.ask(&Request::Resize {
        rows: 30,
        columns: 100,
    })?;
    ours.write_all(b"word\n")?;
    ours.read_to_string(&mut text)?;
    assert!(
        text.contains("30 100\r\n") && text.contains("got word\r\n"),
        "{text:?}"
    );
    assert_eq!(container.end()?.code, 0);

    let mut container = Container::new(FOREVER)?;
    container.start()?;
    let mut exec = container.exec("t", "stty size; tty", true)?;
    text.clear();
    exec.read_to_string(&mut text)?;
    assert!(text.ends_with("\r\n"), "{text:?}");
    assert_eq!(container.exec_code("t")?, 0);
    container.ask(&kill(9, true))?;
    container.end()?;
    container.gone()
}

/// By a connection: when that ends, however it does, the container goes on.
fn held_containers_go_on() -> Outcome {
    let mut container = Container::new(FOREVER)?;
    container.spec.restart = RestartPolicy::Always;
    container.start()?;
    for polite in [true, false] {
        let mut held = container.connect()?;
        assert_eq!(client::call(&mut held, &Request::Hold)?, Response::Ok);
        assert!(container.is_frozen());
        assert!(!container.state()?.paused, "nobody is told");
        for refused in [&Request::Hold, &Request::Pause { unwell: false }] {
            assert!(container.ask(refused).is_err(), "{refused:?}");
        }
        if polite {
            held.shutdown(Shutdown::Write)?;
            let Response::Thawed { microseconds } = client::answer(&mut held)? else {
                panic!("no answer to a hold that is over");
            };
            assert_ne!(microseconds, 0);
        } else {
            drop(held);
            until("the container goes on", || Ok(!container.is_frozen()))?;
        }
        assert!(!container.is_frozen());
    }
    // One that is held can be killed, and who held it has no say in its next run.
    let mut before = container.connect()?;
    assert_eq!(client::call(&mut before, &Request::Hold)?, Response::Ok);
    container.ask(&kill(9, false))?;
    assert!(matches!(container.notice()?, Notice::Exited { .. }));
    assert!(matches!(container.notice()?, Notice::Restarted { .. }));
    let mut held = container.connect()?;
    assert_eq!(client::call(&mut held, &Request::Hold)?, Response::Ok);
    before.shutdown(Shutdown::Write)?;
    let over = Response::Thawed { microseconds: 0 };
    assert_eq!(client::answer(&mut before)?, over);
    assert!(container.is_frozen());
    container.ask(&kill(9, true))?;
    container.end()?;
    container.gone()
}

fn paused_containers_stand_still() -> Outcome {
    let mut container = Container::new(FOREVER)?;
    container.start()?;
    container.ask(&Request::Pause { unwell: false })?;
    assert_eq!(container.notice()?, Notice::Paused);
    assert!(container.state()?.paused);
    assert!(
        container.ask(&Request::Pause { unwell: false }).is_err(),
        "it is paused already"
    );
    container.ask(&Request::Unpause)?;
    assert_eq!(container.notice()?, Notice::Unpaused);
    let resources = Resources {
        pids_limit: Some(50),
        ..Resources::default()
    };
    let update = Request::Update {
        resources: Box::new(resources),
        restart: None,
    };
    container.ask(&update)?;
    container.ask(&Request::Pause { unwell: false })?;
    container.ask(&kill(15, true))?;
    assert_eq!(container.end()?.code, 5, "a stop thaws");
    container.gone()
}

fn a_failed_start_leaves_nothing() -> Outcome {
    let mut container = Container::new("")?;
    container.spec.process.args = vec!["no-such-program".into()];
    match container.start() {
        Err(error) => assert!(error.to_string().contains("no-such-program"), "{error}"),
        Ok(state) => return Err(format!("started {state:?}").into()),
    }
    container.reap()?;
    let left: Vec<_> = std::fs::read_dir(&container.spec.run_dir)?
        .map(|entry| entry.map(|entry| entry.file_name()))
        .collect::<Result<_, _>>()?;
    assert_eq!(left, ["shim.lock"]);
    // The same directory serves the next start.
    container.spec.process.args = vec!["/bin/sh".into(), "-c".into(), "exit 0".into()];
    container.start()?;
    assert_eq!(container.end()?.code, 0);
    container.gone()
}

fn ports_are_served() -> Outcome {
    let mut container = Container::new(FOREVER)?;
    // The target stands for the container: what counts is who carries the bytes.
    let target = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let udp_target = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let host = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let udp_host = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let (address, udp_address) = (host.local_addr()?, udp_host.local_addr()?);
    let port = |protocol: &str, host_port, container_port| PublishedPort {
        protocol: protocol.into(),
        host_ip: "127.0.0.1".into(),
        host_port,
        container_ip: "127.0.0.1".into(),
        container_port,
    };
    container.spec.network.ports = vec![
        port("tcp", address.port(), target.local_addr()?.port()),
        port("udp", udp_address.port(), udp_target.local_addr()?.port()),
    ];
    container.start_attached(Vec::new(), &[host.as_fd(), udp_host.as_fd()])?;
    drop((host, udp_host));
    for _ in 0..3 {
        let mut client = TcpStream::connect(address)?;
        client.write_all(b"question")?;
        client.shutdown(Shutdown::Write)?;
        let (mut served, _) = target.accept()?;
        let mut question = String::new();
        served.read_to_string(&mut question)?;
        assert_eq!(question, "question");
        served.write_all(b"answer")?;
        drop(served);
        let mut answer = String::new();
        client.read_to_string(&mut answer)?;
        assert_eq!(answer, "answer");
    }
    udp_target.set_read_timeout(Some(Duration::from_secs(20)))?;
    let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    client.set_read_timeout(Some(Duration::from_secs(20)))?;
    let mut buffer = [0; 16];
    for _ in 0..3 {
        client.send_to(b"ping", udp_address)?;
        let (count, flow) = udp_target.recv_from(&mut buffer)?;
        assert_eq!(&buffer[..count], b"ping");
        udp_target.send_to(b"pong", flow)?;
        let (count, from) = client.recv_from(&mut buffer)?;
        assert_eq!((&buffer[..count], from), (&b"pong"[..], udp_address));
    }
    container.ask(&kill(9, true))?;
    container.end()?;
    // Free as soon as the end is told.
    TcpListener::bind(address)?;
    UdpSocket::bind(udp_address)?;
    container.gone()
}

fn odd_requests_are_refused() -> Outcome {
    let mut container = Container::new(FOREVER)?;
    container.start()?;
    let mut stream = container.connect()?;
    send(&mut stream, &serde_json::json!({"request": "levitate"}))?;
    let Response::Refused { reason } = receive(&mut stream)? else {
        return Err("not refused".into());
    };
    assert!(reason.contains("levitate"), "{reason}");
    let mut stream = container.connect()?;
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n")?;
    let Response::Refused { .. } = receive(&mut stream)? else {
        return Err("not refused".into());
    };
    assert!(container.exec_code("never").is_err());
    container.ask(&Request::ReopenLog)?;
    container.ask(&Request::KillAll { signal: 9 })?;
    assert_eq!(container.end()?.code, 137);
    container.gone()
}

fn a_view_shows_the_files() -> Outcome {
    let container = Container::new("")?;
    std::fs::write(container.directory.join("upper/written"), "by a container")?;
    let (mut ours, theirs) = sys::socket::pair()?;
    let program = std::env::current_exe()?;
    let pid = sys::command::spawn_with_control(&program, &["shim-view"], theirs.as_fd())?;
    drop(theirs);
    send(&mut ours, &container.spec)?;
    let mut reader = FdReader::new(&ours);
    assert_eq!(client::answer(&mut reader)?, Response::Ok);
    let root = reader.into_fds().pop().ok_or("no descriptor")?;
    for (path, expected) in [("written", true), ("bin/busybox", true), ("missing", false)] {
        let found = rustix::fs::statat(&root, path, AtFlags::empty()).is_ok();
        assert_eq!(found, expected, "{path}");
    }
    drop((ours, root));
    assert_eq!(sys::process::wait(pid)?, 0);
    Ok(())
}

fn memory_is_small() -> Outcome {
    let mut container = Container::new("seq 1 300000; sleep 1000")?;
    let (ours, theirs) = client_pair()?;
    container.start_attached(vec![(OUTPUT, theirs)], &[])?;
    drop(ours);
    let expected = u64::try_from(sequence(300_000).len())?;
    let log = container.directory.join("log");
    until("all is logged", || {
        Ok(std::fs::metadata(&log)?.len() > expected)
    })?;
    until("the last line is logged", || {
        Ok(container
            .log()?
            .last()
            .is_some_and(|(_, text)| text == "300000\n"))
    })?;
    let rollup = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", container.shim_pid()))?;
    let dirty = rollup
        .lines()
        .find_map(|line| line.strip_prefix("Private_Dirty:"))
        .and_then(|rest| rest.split_whitespace().next())
        .ok_or("no Private_Dirty line")?
        .parse::<u64>()?;
    assert!(dirty < 3 * 1024, "{dirty} KiB private");
    container.ask(&kill(9, true))?;
    container.end()?;
    container.gone()
}
