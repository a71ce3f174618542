//! The other host: a network namespace with an sshd that lets a throw-away key in.

use std::fs;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

use testkit::binary;

const HERE: &str = "198.51.100.1";
const THERE: &str = "198.51.100.2";

pub(crate) struct There {
    directory: PathBuf,
    /// Keeps the namespace.
    holder: Child,
    sshd: Child,
    /// Sockets that logins were made for.
    logins: Mutex<Vec<PathBuf>>,
}

impl There {
    pub(crate) fn start() -> Self {
        let directory = PathBuf::from(format!("/var/tmp/orlop-test-ssh-{}", std::process::id()));
        fs::create_dir_all(directory.join("bin")).unwrap();
        fs::create_dir_all(directory.join("bin-there")).unwrap();
        fs::create_dir_all("/run/sshd").unwrap();
        let holder = Command::new("unshare")
            .args(["--net", "sleep", "infinity"])
            .spawn()
            .unwrap();
        let pid = holder.id().to_string();
        // The name of the namespace is another one once `unshare` has done its work.
        let own = fs::read_link("/proc/self/ns/net").unwrap();
        testkit::until("there is another network", || {
            let theirs = fs::read_link(format!("/proc/{pid}/ns/net")).ok()?;
            (theirs != own).then_some(())
        });
        run(
            "ip",
            &[
                "link", "add", "m0", "type", "veth", "peer", "name", "m1", "netns", &pid,
            ],
        );
        run("ip", &["addr", "add", &format!("{HERE}/24"), "dev", "m0"]);
        run("ip", &["link", "set", "m0", "up"]);
        for line in [
            "link set lo up".to_owned(),
            format!("addr add {THERE}/24 dev m1"),
            "link set m1 up".to_owned(),
        ] {
            let words: Vec<&str> = line.split(' ').collect();
            run(
                "nsenter",
                &[&["-t", pid.as_str(), "-n", "ip"], words.as_slice()].concat(),
            );
        }
        for key in ["host", "user"] {
            let path = directory.join(key);
            let path = path.to_str().unwrap();
            run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", path]);
        }
        let shown = directory.display();
        symlink(binary(), directory.join("bin-there/orlop")).unwrap();
        symlink(binary(), directory.join("bin-there/docker")).unwrap();
        // Whose login it is says which engine answers: several pairs share the host.
        let config = format!(
            "ListenAddress {THERE}\nHostKey {shown}/host\nAuthorizedKeysFile {shown}/authorized\nPidFile none\n\
             StrictModes no\nUsePAM no\nPermitRootLogin yes\nPermitUserEnvironment yes\nMaxStartups 100\n\
             SetEnv PATH={shown}/bin-there:/usr/sbin:/usr/bin:/sbin:/bin\n"
        );
        fs::write(directory.join("sshd_config"), config).unwrap();
        fs::write(directory.join("authorized"), "").unwrap();
        let log = fs::File::create(directory.join("sshd.log")).unwrap();
        let sshd = Command::new("nsenter")
            .args(["-t", &pid, "-n", "/usr/sbin/sshd", "-D", "-e", "-f"])
            .arg(directory.join("sshd_config"))
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let ssh = format!(
            "#!/bin/sh\necho $$ >> {shown}/pids\nexec /usr/bin/ssh -F {shown}/ssh_config \"$@\"\n"
        );
        fs::write(directory.join("bin/ssh"), ssh).unwrap();
        fs::set_permissions(directory.join("bin/ssh"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(directory.join("ssh_config"), "").unwrap();
        fs::write(directory.join("pids"), "").unwrap();
        testkit::until("sshd listens", || {
            std::net::TcpStream::connect((THERE, 22)).ok()
        });
        Self {
            directory,
            holder,
            sshd,
            logins: Mutex::default(),
        }
    }

    /// The name by which ssh reaches the engine with this socket: each has a key of its own.
    pub(crate) fn login(&self, socket: &Path) -> String {
        let mut logins = self.logins.lock().unwrap();
        let number = logins.iter().position(|known| known == socket);
        let number = number.unwrap_or_else(|| {
            let number = logins.len();
            logins.push(socket.to_owned());
            let key = self.directory.join(format!("key{number}"));
            run(
                "ssh-keygen",
                &["-q", "-t", "ed25519", "-N", "", "-f", key.to_str().unwrap()],
            );
            let public = fs::read_to_string(key.with_extension("pub")).unwrap();
            append(
                &self.directory.join("authorized"),
                &format!("environment=\"ORLOP_HOST=unix://{}\" {public}", socket.display()),
            );
            append(
                &self.directory.join("ssh_config"),
                &format!(
                    "Host there{number}\n HostName {THERE}\n User root\n IdentityFile {}\n IdentitiesOnly yes\n \
                     UserKnownHostsFile {}\n StrictHostKeyChecking accept-new\n LogLevel ERROR\n",
                    key.display(),
                    self.directory.join("known").display()
                ),
            );
            number
        });
        format!("there{number}")
    }

    /// Where our own `ssh` is found first.
    pub(crate) fn path(&self) -> String {
        let path = std::env::var("PATH").unwrap_or_default();
        format!("{}/bin:{path}", self.directory.display())
    }

    /// Kills every ssh that was started for a command line with `word` in it.
    pub(crate) fn cut(&self, word: &str) {
        for pid in fs::read_to_string(self.directory.join("pids"))
            .unwrap()
            .lines()
        {
            let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            if line.split('\0').any(|part| part == word) {
                let pid = rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap();
                // It may have ended by itself.
                rustix::process::kill_process(pid, rustix::process::Signal::KILL).ok();
            }
        }
    }

    /// Does something on the other host's network.
    pub(crate) fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let namespace = fs::File::open(format!("/proc/{}/ns/net", self.holder.id())).unwrap();
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                rustix::thread::move_into_link_name_space(
                    namespace.as_fd(),
                    Some(rustix::thread::LinkNameSpaceType::Network),
                )
                .unwrap();
                work()
            });
            inside.join().unwrap()
        })
    }
}

impl Drop for There {
    fn drop(&mut self) {
        for child in [&mut self.sshd, &mut self.holder] {
            // They may have ended by themselves.
            drop(child.kill());
            drop(child.wait());
        }
        drop(fs::remove_dir_all(&self.directory));
    }
}

fn append(path: &Path, text: &str) {
    let mut all = fs::read_to_string(path).unwrap();
    all.push_str(text);
    fs::write(path, all).unwrap();
}

fn run(program: &str, arguments: &[&str]) {
    let status = Command::new(program).args(arguments).status().unwrap();
    assert!(status.success(), "{program} {arguments:?}");
}
