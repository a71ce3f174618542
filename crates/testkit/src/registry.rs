//! A registry as people run it: Debian's `docker-registry` on an address of the test host.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::wait::until;

/// Dropping it ends the registry and removes what it holds.
#[derive(Debug)]
pub struct Registry {
    /// `127.0.0.1:41234`
    pub address: String,
    directory: PathBuf,
    process: Child,
}

/// What a registry asks of its clients.
#[derive(Debug, Clone, Default)]
pub struct RegistryOptions {
    /// Certificate and key.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// A file of `htpasswd`.
    pub passwords: Option<PathBuf>,
}

impl Registry {
    /// Starts one on a free port of `host`, an address of this host.
    pub fn start(directory: &Path, host: &str, options: &RegistryOptions) -> Self {
        fs::create_dir_all(directory).unwrap();
        let listener = TcpListener::bind((host, 0)).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let mut config = format!(
            "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n\
             storage: {{filesystem: {{rootdirectory: \"{}\"}}}}\n",
            directory.join("data").display()
        );
        config += &match &options.tls {
            Some((certificate, key)) => format!(
                "http: {{addr: \"{address}\", tls: {{certificate: \"{}\", key: \"{}\"}}}}\n",
                certificate.display(),
                key.display()
            ),
            None => format!("http: {{addr: \"{address}\"}}\n"),
        };
        if let Some(passwords) = &options.passwords {
            config += &format!(
                "auth: {{htpasswd: {{realm: test, path: \"{}\"}}}}\n",
                passwords.display()
            );
        }
        let file = directory.join("config.yml");
        fs::write(&file, config).unwrap();
        let log = fs::File::create(directory.join("log")).unwrap();
        let process = Command::new("docker-registry")
            .arg("serve")
            .arg(&file)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("docker-registry: {error}: run scripts/setup"));
        let mut registry = Self {
            address,
            directory: directory.to_owned(),
            process,
        };
        until("the registry listens", || {
            let ended = registry.process.try_wait().unwrap();
            assert!(
                ended.is_none(),
                "the registry ended: {}",
                fs::read_to_string(directory.join("log")).unwrap_or_default()
            );
            TcpStream::connect(&registry.address).ok()
        });
        registry
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // It may have ended by itself; what it held was for the test only.
        drop(self.process.kill());
        drop(self.process.wait());
        drop(fs::remove_dir_all(&self.directory));
    }
}
