//! Servers that keep backups: S3, restic's REST protocol, SSH; each on a port of its own, ended when it is dropped.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::object_store::s3_server;
use crate::server::Server;
use crate::wait::until;

/// A server beside the test.
#[derive(Debug)]
pub struct BackupServer {
    _program: Server,
    pub port: u16,
    /// Where the files are that it keeps.
    pub files: PathBuf,
}

/// The user and the password of [`BackupServer::rest`].
pub const LOGIN: &str = "me:secret";
/// Both keys of [`BackupServer::s3`], and its bucket.
pub const S3_KEY: &str = "S3RVER";
pub const S3_BUCKET: &str = "bucket";

impl BackupServer {
    /// Of the program from npm, in a new directory. `None`, with a word about it, where it is not installed.
    #[must_use]
    pub fn s3(directory: &Path) -> Option<Self> {
        let program = s3_server()?;
        let port = free_port();
        let files = directory.join("objects");
        std::fs::create_dir_all(&files).unwrap();
        let mut command = Command::new(program);
        command
            .args(["-a", "127.0.0.1", "-p", &port.to_string()])
            .args(["--configure-bucket", S3_BUCKET, "-d"])
            .arg(&files);
        Some(start(command, port, files, &directory.join("s3.log")))
    }

    /// `rclone serve restic`; `more`: further arguments.
    #[must_use]
    pub fn rest(directory: &Path, more: &[&str]) -> Option<Self> {
        if !is_installed("rclone") {
            return None;
        }
        let port = free_port();
        let files = directory.join("rest");
        std::fs::create_dir_all(&files).unwrap();
        let mut command = Command::new("rclone");
        command
            .args(["serve", "restic", "--config", "/dev/null", "--addr"])
            .arg(format!("127.0.0.1:{port}"))
            .args(more)
            .arg(&files)
            .env_remove("AWS_CA_BUNDLE");
        Some(start(command, port, files, &directory.join("rest.log")))
    }

    /// OpenSSH's server, for root. What it knows is in `directory/ssh`: `user` is a key that it lets in, `host` one that it
    /// does not.
    #[must_use]
    pub fn sftp(directory: &Path) -> Option<Self> {
        if !is_installed("/usr/sbin/sshd") || !is_installed("ssh-keygen") {
            return None;
        }
        let port = free_port();
        let keys = directory.join("ssh");
        std::fs::create_dir_all(&keys).unwrap();
        for key in ["host", "user"] {
            let status = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(keys.join(key))
                .status();
            assert!(status.unwrap().success());
        }
        std::fs::create_dir_all("/run/sshd").unwrap();
        let shown = keys.display();
        let configuration = format!(
            "ListenAddress 127.0.0.1\nPort {port}\nHostKey {shown}/host\nAuthorizedKeysFile {shown}/user.pub\n\
             StrictModes no\nUsePAM no\nPidFile none\nPermitRootLogin yes\nPasswordAuthentication no\n\
             Subsystem sftp internal-sftp\n"
        );
        std::fs::write(keys.join("sshd_config"), configuration).unwrap();
        let mut command = Command::new("/usr/sbin/sshd");
        command
            .args(["-D", "-e", "-f"])
            .arg(keys.join("sshd_config"));
        let files = directory.join("sftp");
        Some(start(command, port, files, &directory.join("sshd.log")))
    }
}

/// For `ssh`, to get in with one of the keys of [`BackupServer::sftp`].
#[must_use]
pub fn ssh_arguments(directory: &Path, key: &str) -> Vec<String> {
    let key = directory.join("ssh").join(key);
    [
        "-F",
        "none",
        "-i",
        key.to_str().unwrap(),
        "-o",
        "IdentitiesOnly=yes",
        "-o",
        "StrictHostKeyChecking=no",
        "-o",
        "UserKnownHostsFile=/dev/null",
        "-o",
        "LogLevel=ERROR",
    ]
    .map(str::to_owned)
    .to_vec()
}

/// Whether a program is there; a skip otherwise.
#[must_use]
pub fn is_installed(program: &str) -> bool {
    let found = Command::new("sh")
        .args(["-c", &format!("command -v {program}")])
        .output()
        .is_ok_and(|output| output.status.success());
    if !found {
        eprintln!("SKIPPED: {program} is not installed: scripts/setup");
    }
    found
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.local_addr().unwrap().port()
}

fn start(mut command: Command, port: u16, files: PathBuf, log: &Path) -> BackupServer {
    let server = BackupServer {
        _program: Server::start(&mut command, log),
        port,
        files,
    };
    until("the server listens", || {
        TcpStream::connect(("127.0.0.1", port)).ok()
    });
    server
}
