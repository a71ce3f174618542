//! A container to be: a busybox root, a specification like the engine's, and a scratch directory.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use runtime::{Running, Stdio};
use rustix::event::{PollFd, PollFlags};
use rustix::time::Timespec;
use shim_protocol::StartError;
use shim_protocol::spec::{
    LogConfig, Mount, MountKind, Namespaces, Network, NetworkNs, NsMode, Process, Propagation,
    ReadonlyRecursion, Resources, RestartPolicy, RootFs, RunSpec, Seccomp,
};

/// Docker's default set.
const CAPABILITIES: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

pub(crate) struct Fixture {
    pub(crate) directory: PathBuf,
    pub(crate) spec: RunSpec,
}

/// What a container said and how it ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) code: i32,
    pub(crate) output: String,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("runtime-test-{}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        for below in [
            "layers/1/fs",
            "layers/2/fs",
            "c/upper",
            "c/work",
            "run",
            "volume",
        ] {
            fs::create_dir_all(directory.join(below)).unwrap();
        }
        build_root(&directory.join("layers/1/fs"));
        let spec = spec(&directory, number);
        Self { directory, spec }
    }

    /// The same with a shell command.
    pub(crate) fn shell(script: &str) -> Self {
        let mut fixture = Self::new();
        fixture.script(script);
        fixture
    }

    pub(crate) fn script(&mut self, script: &str) {
        self.spec.process.args = ["sh", "-c", script].map(str::to_owned).to_vec();
    }

    /// Path of a file of the container's image.
    pub(crate) fn image(&self, path: &str) -> PathBuf {
        self.directory.join("layers/1/fs").join(path)
    }

    pub(crate) fn volume(&self) -> PathBuf {
        self.directory.join("volume")
    }

    pub(crate) fn bind(&mut self, source: impl AsRef<Path>, target: &str) -> &mut Mount {
        self.spec.mounts.push(bind(source.as_ref(), target));
        self.spec.mounts.last_mut().unwrap()
    }

    /// Runs to the end with an empty input; stdout and stderr together.
    pub(crate) fn run(&self) -> Result<Outcome, StartError> {
        let (streams, mut input, output) = pipes();
        let running = runtime::start(&self.spec, streams)?;
        input.flush().unwrap();
        drop(input);
        let outcome = Outcome {
            output: read_all(output),
            code: wait(&running),
        };
        runtime::clean(&self.spec).unwrap();
        Ok(outcome)
    }

    /// Starts and leaves running; the output can be read.
    pub(crate) fn start(&self) -> (Running, fs::File) {
        let (streams, _, output) = pipes();
        (runtime::start(&self.spec, streams).unwrap(), output)
    }

    /// Runs another command in the running container.
    pub(crate) fn exec(&self, running: &Running, script: &str) -> Result<Outcome, StartError> {
        let mut process = self.spec.process.clone();
        process.args = ["sh", "-c", script].map(str::to_owned).to_vec();
        self.exec_process(running, &process, false)
    }

    pub(crate) fn exec_process(
        &self,
        running: &Running,
        process: &Process,
        privileged: bool,
    ) -> Result<Outcome, StartError> {
        let (streams, _, output) = pipes();
        let new = runtime::exec(&self.spec, running.pid, process, privileged, streams)?;
        Ok(Outcome {
            output: read_all(output),
            code: wait(&new),
        })
    }

    pub(crate) fn end(&self, running: &Running) -> i32 {
        runtime::kill_all(&self.spec, 9).unwrap();
        let code = wait(running);
        runtime::clean(&self.spec).unwrap();
        code
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        runtime::clean(&self.spec).unwrap();
        for path in cgroup_directories(&self.spec) {
            // The engine's own group too: no other container has it.
            let path = path.parent().unwrap();
            assert!(!path.exists(), "{} was left", path.display());
        }
        if !std::thread::panicking() {
            let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
            let name = self.directory.to_string_lossy().into_owned();
            let left: Vec<&str> = table.lines().filter(|line| line.contains(&name)).collect();
            assert!(left.is_empty(), "mounts were left: {left:#?}");
        }
        fs::remove_dir_all(&self.directory).unwrap();
    }
}

/// Where the container's cgroups would be.
pub(crate) fn cgroup_directories(spec: &RunSpec) -> Vec<PathBuf> {
    let mut paths = vec![PathBuf::from("/sys/fs/cgroup")];
    paths.extend(
        fs::read_dir("/sys/fs/cgroup")
            .unwrap()
            .map(|entry| entry.unwrap().path()),
    );
    paths
        .iter()
        .map(|path| path.join(format!("orlop-{}", spec.tag)).join(&spec.id))
        .collect()
}

pub(crate) fn bind(source: &Path, target: &str) -> Mount {
    Mount {
        target: target.to_owned(),
        readonly: false,
        kind: MountKind::Bind {
            source: source.to_owned(),
            subpath: None,
            recursive: true,
            propagation: Propagation::Rprivate,
            readonly_recursion: ReadonlyRecursion::IfPossible,
            create_source: false,
            create_as_owner: false,
            idmap: None,
            exclude: Vec::new(),
        },
    }
}

pub(crate) fn tmpfs(target: &str, options: &[&str]) -> Mount {
    Mount {
        target: target.to_owned(),
        readonly: false,
        kind: MountKind::Tmpfs {
            options: options.iter().map(ToString::to_string).collect(),
        },
    }
}

/// Streams for a container, and the test's ends of its input and output.
pub(crate) fn pipes() -> (Stdio, fs::File, fs::File) {
    let cloexec = rustix::pipe::PipeFlags::CLOEXEC;
    let (stdin, input) = rustix::pipe::pipe_with(cloexec).unwrap();
    let (output, stdout) = rustix::pipe::pipe_with(cloexec).unwrap();
    let stderr = stdout.try_clone().unwrap();
    (
        Stdio::Pipes {
            stdin,
            stdout,
            stderr,
        },
        input.into(),
        output.into(),
    )
}

pub(crate) fn read_all(mut output: fs::File) -> String {
    let mut text = Vec::new();
    // A terminal whose program ended gives an error instead of an end.
    output.read_to_end(&mut text).ok();
    String::from_utf8_lossy(&text).into_owned()
}

/// Reads until `text` was said.
pub(crate) fn read_until(output: &mut fs::File, text: &str) -> String {
    let mut said = String::new();
    let mut buffer = [0; 4096];
    while !said.contains(text) {
        let patience = Timespec {
            tv_sec: 10,
            tv_nsec: 0,
        };
        let mut wait = [PollFd::new(&*output, PollFlags::IN)];
        let ready = rustix::event::poll(&mut wait, Some(&patience)).unwrap();
        assert!(ready > 0, "nothing more after {said:?}");
        let length = output.read(&mut buffer).unwrap();
        assert!(length > 0, "ended after {said:?}");
        said.push_str(&String::from_utf8_lossy(&buffer[..length]));
    }
    said
}

/// Waits for the end, ten seconds at most, and reaps.
pub(crate) fn wait(running: &Running) -> i32 {
    let patience = Timespec {
        tv_sec: 10,
        tv_nsec: 0,
    };
    let mut ended = [PollFd::from_borrowed_fd(
        running.pidfd.as_fd(),
        PollFlags::IN,
    )];
    let ready = rustix::event::poll(&mut ended, Some(&patience)).unwrap();
    if ready == 0 {
        sys::process::kill(running.pid, 9).unwrap();
    }
    let code = sys::process::wait(running.pid).unwrap();
    assert!(ready > 0, "the process did not end by itself");
    code
}

fn build_root(root: &Path) {
    for below in [
        "bin", "dev", "etc", "home/app", "proc", "root", "sys", "tmp", "var/run", "srv/www", "usr",
    ] {
        fs::create_dir_all(root.join(below)).unwrap();
    }
    fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    fs::copy("/usr/bin/busybox", root.join("bin/busybox")).unwrap();
    let list = std::process::Command::new("/usr/bin/busybox")
        .arg("--list")
        .output()
        .unwrap();
    for applet in String::from_utf8(list.stdout).unwrap().lines() {
        if applet != "busybox" {
            symlink("busybox", root.join("bin").join(applet)).unwrap();
        }
    }
    fs::write(
        root.join("etc/passwd"),
        "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n",
    )
    .unwrap();
    fs::write(
        root.join("etc/group"),
        "root:x:0:\napp:x:1000:\nextra:x:2000:app\n",
    )
    .unwrap();
}

fn spec(directory: &Path, number: u32) -> RunSpec {
    let id = format!("{:0>64}", format!("{:x}{number:03x}", std::process::id()));
    let mount = |target: &str, readonly, kind| Mount {
        target: target.to_owned(),
        readonly,
        kind,
    };
    let options = |list: &[&str]| list.iter().map(ToString::to_string).collect();
    RunSpec {
        tag: format!("test{}", std::process::id()),
        id,
        run_dir: directory.join("run"),
        root: RootFs {
            layers_dir: directory.join("layers"),
            lowers: vec!["2/fs".into(), "1/fs".into()],
            upper: directory.join("c/upper"),
            work: directory.join("c/work"),
            readonly: false,
            propagation: Propagation::Rprivate,
        },
        mounts: vec![
            mount("/proc", false, MountKind::Proc),
            mount("/dev", false, MountKind::Dev),
            mount("/dev/pts", false, MountKind::Devpts),
            mount("/sys", true, MountKind::Sysfs),
            mount("/sys/fs/cgroup", true, MountKind::Cgroup),
            mount("/dev/mqueue", false, MountKind::Mqueue),
            mount(
                "/dev/shm",
                false,
                MountKind::Tmpfs {
                    options: options(&["nosuid,noexec,nodev,mode=1777,size=64m"]),
                },
            ),
        ],
        process: Process {
            args: vec!["true".to_owned()],
            env: options(&["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]),
            cwd: "/".to_owned(),
            user: String::new(),
            additional_groups: Vec::new(),
            tty: false,
            console_size: None,
            capabilities: options(&CAPABILITIES),
            no_new_privileges: false,
            seccomp: Seccomp::Default,
            rlimits: Vec::new(),
            apparmor_profile: None,
        },
        namespaces: Namespaces {
            network: NetworkNs::Private,
            pid: NsMode::Private,
            ipc: NsMode::Private,
            uts: NsMode::Private,
            cgroup: NsMode::Private,
        },
        hostname: "box".to_owned(),
        domainname: String::new(),
        sysctls: Vec::new(),
        oom_score_adj: None,
        resources: Resources::default(),
        devices: Vec::new(),
        device_rules: Vec::new(),
        privileged: false,
        masked_paths: options(&[
            "/proc/asound",
            "/proc/acpi",
            "/proc/interrupts",
            "/proc/kcore",
            "/proc/keys",
            "/proc/latency_stats",
            "/proc/timer_list",
            "/proc/timer_stats",
            "/proc/sched_debug",
            "/proc/scsi",
            "/sys/firmware",
            "/sys/devices/virtual/powercap",
        ]),
        readonly_paths: options(&[
            "/proc/bus",
            "/proc/fs",
            "/proc/irq",
            "/proc/sys",
            "/proc/sysrq-trigger",
        ]),
        network: Network::default(),
        log: LogConfig {
            path: None,
            max_size: None,
            max_file: 1,
            compress: false,
            attrs: Vec::new(),
        },
        restart: RestartPolicy::No,
        health: None,
        stop_signal: 15,
        init: false,
        open_stdin: false,
        stdin_once: false,
        wake: Vec::new(),
        engine_socket: PathBuf::new(),
    }
}

/// The master end of a terminal as a file.
pub(crate) fn terminal(running: &mut Running) -> fs::File {
    let master: OwnedFd = running.pty.take().unwrap();
    fs::File::from(master)
}
