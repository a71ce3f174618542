//! A real engine on a state directory of its own.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal};

use crate::client::Client;
use crate::wait::until;

/// `orlop serve` in the foreground. Dropping it removes its containers, ends it and removes its directory.
#[derive(Debug)]
pub struct Engine {
    pub root: PathBuf,
    process: Option<Child>,
}

/// Where cargo puts what it builds.
pub fn target_dir() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    // target/<profile>/deps/<test>
    test.ancestors().nth(3).unwrap().to_owned()
}

/// The program under test, of the same profile as the test.
pub fn binary() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let binary = test.ancestors().nth(2).unwrap().join("orlop");
    assert!(
        binary.exists(),
        "{} is not built: run cargo build first",
        binary.display()
    );
    binary
}

/// A program that serves Docker's API in our place, called with a state directory and a socket: the scenarios can so be held
/// against a Docker engine.
pub fn peer() -> Option<PathBuf> {
    std::env::var_os("ORLOP_TEST_PEER").map(PathBuf::from)
}

/// What drives the engine when it does not matter which client does.
fn any_client() -> Client {
    if peer().is_some() {
        Client::Docker
    } else {
        Client::Orlop
    }
}

/// Base images made by tests/fixtures/images.sh.
pub fn images_dir() -> PathBuf {
    std::env::var_os("ORLOP_TEST_IMAGES").map_or_else(|| target_dir().join("images"), PathBuf::from)
}

/// Whether somebody answers there. A connection alone says little: what a killed engine was about to start holds its
/// listening socket for a moment.
fn answers(socket: &Path) -> bool {
    let Ok(mut stream) = UnixStream::connect(socket) else {
        return false;
    };
    let mut answer = [0; 8];
    stream
        .write_all(b"GET /_ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .and_then(|()| stream.read_exact(&mut answer))
        .is_ok()
        && answer == *b"HTTP/1.1"
}

impl Engine {
    /// Starts one on a new directory and waits until it answers.
    pub fn start(name: &str) -> Self {
        let mut engine = Self::new(name);
        engine.resume();
        engine
    }

    /// A new directory on which no engine runs yet.
    pub fn new(name: &str) -> Self {
        let root = PathBuf::from(format!("/var/tmp/orlop-test-{name}-{}", std::process::id()));
        fs::create_dir_all(&root).unwrap();
        Self {
            root,
            process: None,
        }
    }

    /// Starts the engine again on the same directory.
    pub fn resume(&mut self) {
        self.resume_until(None);
    }

    /// As [`Engine::resume`]; the engine kills itself when it reaches `step`.
    pub fn resume_until(&mut self, step: Option<&str>) {
        assert!(
            self.try_resume(step),
            "the engine ended: {}",
            fs::read_to_string(self.log()).unwrap()
        );
    }

    /// As [`Engine::resume_until`]; false when it reached the step, or ended otherwise, before it answered.
    pub fn try_resume(&mut self, step: Option<&str>) -> bool {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log())
            .unwrap();
        let mut command = if let Some(peer) = peer() {
            let mut command = Command::new(peer);
            command.arg(&self.root).arg(self.socket());
            command
        } else {
            let mut command = Command::new(binary());
            command.arg("serve").arg("--root").arg(&self.root);
            command.arg("--plugin-sockets").arg(self.plugin_sockets());
            command.arg("--plugin-specs").arg(self.plugin_specs());
            command
        };
        if let Some(step) = step {
            command.env("ORLOP_FAULT_STEP", step);
        }
        let child = command
            .env_remove("DOCKER_HOST")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.process = Some(child);
        let socket = self.socket();
        until("the engine answers", || {
            if answers(&socket) {
                return Some(true);
            }
            let ended = self.process.as_mut().unwrap().try_wait().unwrap();
            ended.map(|_| false)
        })
    }

    /// Where this engine looks for the sockets of volume plugins.
    pub fn plugin_sockets(&self) -> PathBuf {
        self.root.with_extension("plugins")
    }

    /// Where it looks for files that name their addresses.
    pub fn plugin_specs(&self) -> PathBuf {
        self.root.with_extension("specs")
    }

    /// kill -9.
    pub fn kill(&mut self) {
        let mut process = self.process.take().unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
    }

    /// Process id of the engine itself.
    pub fn pid(&self) -> u32 {
        self.process.as_ref().unwrap().id()
    }

    /// Waits until the engine has ended by itself.
    #[track_caller]
    pub fn wait_for_end(&mut self) {
        let mut process = self.process.take().unwrap();
        until("the engine ends", || process.try_wait().unwrap());
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.process
            .as_mut()
            .is_none_or(|process| process.try_wait().unwrap().is_some())
    }

    /// SIGTERM, and waits for the end.
    pub fn terminate(&mut self) {
        let Some(mut process) = self.process.take() else {
            return;
        };
        // It may have ended by itself.
        rustix::process::kill_process(Pid::from_child(&process), Signal::TERM).ok();
        process.wait().unwrap();
    }

    pub fn socket(&self) -> PathBuf {
        self.root.join("docker.sock")
    }

    /// Beside the root, which is removed at the end.
    pub fn log(&self) -> PathBuf {
        self.root.with_extension("log")
    }

    /// The tag that marks this engine's cgroups, interfaces and tables.
    pub fn tag(&self) -> String {
        let mut child = Command::new("sha256sum")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let path = self.root.canonicalize().unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(path.as_os_str().as_encoded_bytes())
            .unwrap();
        let output = child.wait_with_output().unwrap();
        String::from_utf8_lossy(&output.stdout)[..12].to_owned()
    }

    /// Imports the base images under the names that scenarios use.
    pub fn load_images(&self) {
        self.load_busybox();
        let servers = image_file("servers.tar");
        any_client()
            .run(
                self,
                &["import", "-c", "CMD [\"bash\"]", path(&servers), "debian"],
            )
            .ok();
    }

    /// Only the small one.
    pub fn load_busybox(&self) {
        let busybox = image_file("busybox.tar");
        any_client()
            .run(
                self,
                &["import", "-c", "CMD [\"sh\"]", path(&busybox), "busybox"],
            )
            .ok();
    }

    /// The process that watches over a container, found by the one thing that only it does: holding the lock.
    pub fn shim_of(&self, container: &str) -> i32 {
        let lock = Path::new("/run/orlop")
            .join(self.tag())
            .join(container)
            .join("shim.lock");
        until("the shim holds its lock", || holder(&lock))
    }

    /// The processes that watch over containers now.
    pub fn shims(&self) -> Vec<Pid> {
        let containers = fs::read_dir(Path::new("/run/orlop").join(self.tag()));
        containers
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|container| {
                holder(&container.path().join("shim.lock")).and_then(Pid::from_raw)
            })
            .collect()
    }

    /// Takes down every mount below the state directory, as a reboot does.
    pub fn unmount_all(&self) {
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let below = format!("{}/", self.root.display());
        let mut points: Vec<&str> = table
            .lines()
            .filter_map(|line| line.split(' ').nth(4))
            .filter(|point| point.starts_with(&below))
            .collect();
        points.reverse();
        for point in points {
            // One of the same mounts below another one's may have gone with it.
            rustix::mount::unmount(point, rustix::mount::UnmountFlags::DETACH).ok();
        }
    }

    /// Kills every shim of this engine, and with it its container.
    fn kill_shims(&self) {
        for shim in self.shims() {
            // It may have ended by itself meanwhile.
            rustix::process::kill_process(shim, Signal::KILL).ok();
        }
    }
}

/// Who holds the lock on a file.
fn holder(lock: &Path) -> Option<i32> {
    let inode = fs::metadata(lock).ok()?.ino();
    fs::read_to_string("/proc/locks")
        .ok()?
        .lines()
        .find_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let held = fields.get(5)?.rsplit(':').next()?.parse() == Ok(inode);
            held.then(|| fields[4].parse().ok())?
        })
}

fn image_file(name: &str) -> PathBuf {
    let file = images_dir().join(name);
    assert!(
        file.exists(),
        "{} is missing: run tests/fixtures/images.sh {}",
        file.display(),
        images_dir().display()
    );
    file
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

impl Drop for Engine {
    fn drop(&mut self) {
        if !self.has_ended() {
            let listed = any_client().run(self, &["ps", "-aq"]);
            let ids: Vec<&str> = listed.stdout.lines().collect();
            if !ids.is_empty() {
                let removed = any_client().run(self, &[&["rm", "-fv"], ids.as_slice()].concat());
                if removed.code != 0 {
                    eprintln!("{removed}");
                }
            }
            self.terminate();
        }
        self.kill_shims();
        if std::thread::panicking() {
            eprintln!(
                "kept for a look: {} and {}",
                self.root.display(),
                self.log().display()
            );
            return;
        }
        self.unmount_all();
        // Best effort: a scratch directory that stays is no failure of the test.
        drop(fs::remove_dir_all(Path::new("/run/orlop").join(self.tag())));
        for directory in [
            self.plugin_sockets(),
            self.plugin_specs(),
            self.root.clone(),
        ] {
            drop(fs::remove_dir_all(directory));
        }
        drop(fs::remove_file(self.log()));
    }
}
