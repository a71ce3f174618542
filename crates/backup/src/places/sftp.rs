//! A repository in a directory of another host, over SFTP of OpenSSH's own client: its configuration, keys, agents and known
//! hosts are those that people have. It never asks: what it would ask for is an error.
//!
//! Files are written under another name, synced where the server can, and renamed. A connection that breaks is made anew by the
//! next request. The runtime that the protocol needs is private to this file.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use openssh_sftp_client::error::SftpErrorKind;
use openssh_sftp_client::file::TokioCompatFile;
use openssh_sftp_client::{Error, Sftp as Client, SftpOptions};
use rustic_core::Id;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio::runtime::Runtime;

use crate::location::SshLocation;
use crate::place::{Kind, Name, PlaceError, Storage};

/// What is kept of what ssh says.
const WORDS: u64 = 4096;
/// Slower lines than this are taken to be dead.
const SLOWEST: u64 = 16 * 1024;
/// Directories that are read at once.
const LISTED_AT_ONCE: usize = 16;

#[derive(Debug)]
pub(crate) struct Sftp {
    place: String,
    location: SshLocation,
    arguments: Vec<String>,
    silence: Duration,
    /// Only taken by dropping.
    runtime: Option<Runtime>,
    connection: Mutex<Option<Arc<Connection>>>,
}

#[derive(Debug)]
struct Connection {
    client: Client,
    /// Killed when this is dropped.
    _ssh: Child,
    said: Arc<Mutex<String>>,
}

impl Drop for Sftp {
    fn drop(&mut self) {
        self.forget();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Sftp {
    pub(crate) fn new(
        place: String,
        location: &SshLocation,
        arguments: &[String],
        silence: Duration,
    ) -> Result<Self, PlaceError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("backup-sftp")
            .enable_all()
            .build()
            .map_err(|source| PlaceError::Unreachable {
                place: place.clone(),
                source,
            })?;
        Ok(Self {
            place,
            location: location.clone(),
            arguments: arguments.to_vec(),
            silence,
            runtime: Some(runtime),
            connection: Mutex::new(None),
        })
    }

    fn runtime(&self) -> &Runtime {
        self.runtime
            .as_ref()
            .expect("the runtime is there until the place is dropped")
    }

    fn forget(&self) {
        // Dropped inside of the runtime, which it has tasks in.
        let connection = self
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let _inside = self.runtime().enter();
        drop(connection);
    }

    fn connection(&self) -> Result<Arc<Connection>, PlaceError> {
        let mut connection = self
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(connection) = &*connection {
            return Ok(Arc::clone(connection));
        }
        let made = Arc::new(self.runtime().block_on(self.connect())?);
        *connection = Some(Arc::clone(&made));
        Ok(made)
    }

    async fn connect(&self) -> Result<Connection, PlaceError> {
        let unreachable = |source: io::Error| PlaceError::Unreachable {
            place: self.place.clone(),
            source,
        };
        let mut command = Command::new("ssh");
        command.args(["-o", "BatchMode=yes", "-o", "ServerAliveInterval=15"]);
        command.arg("-o");
        command.arg(format!("ConnectTimeout={}", self.silence.as_secs().max(1)));
        command.args(&self.arguments);
        if let Some(port) = self.location.port {
            command.args(["-p", &port.to_string()]);
        }
        if let Some(user) = &self.location.user {
            command.args(["-l", user]);
        }
        command.args(["-s", "--", &self.location.host, "sftp"]);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut ssh = command.spawn().map_err(unreachable)?;
        let (Some(input), Some(output), Some(errors)) =
            (ssh.stdin.take(), ssh.stdout.take(), ssh.stderr.take())
        else {
            return Err(unreachable(io::ErrorKind::BrokenPipe.into()));
        };
        let said = Arc::new(Mutex::new(String::new()));
        let listener = {
            let said = Arc::clone(&said);
            tokio::spawn(async move {
                let mut words = Vec::new();
                // Words that cannot be read explain nothing.
                drop(errors.take(WORDS).read_to_end(&mut words).await);
                *said.lock().unwrap_or_else(PoisonError::into_inner) =
                    String::from_utf8_lossy(&words).trim().to_owned();
            })
        };
        let greeting = Client::new(input, output, SftpOptions::default());
        match tokio::time::timeout(2 * self.silence, greeting).await {
            Ok(Ok(client)) => Ok(Connection {
                client,
                _ssh: ssh,
                said,
            }),
            Ok(Err(error)) => {
                // ssh has ended, or is about to; its last words say why.
                drop(tokio::time::timeout(self.silence, listener).await);
                let words = last_words(&said);
                if is_refusal(&words) {
                    return Err(PlaceError::Refused {
                        place: self.place.clone(),
                        answer: words,
                    });
                }
                Err(unreachable(io::Error::other(if words.is_empty() {
                    error.to_string()
                } else {
                    words
                })))
            }
            Err(_) => Err(unreachable(io::ErrorKind::TimedOut.into())),
        }
    }

    /// Runs one request on the connection; one that breaks it lets the next make another.
    fn run<T, F: Future<Output = Result<T, Error>>>(
        &self,
        action: &'static str,
        file: &str,
        bytes: u64,
        request: impl FnOnce(Arc<Connection>) -> F,
    ) -> Result<T, PlaceError> {
        let connection = self.connection()?;
        let said = Arc::clone(&connection.said);
        let patience = self.silence + Duration::from_secs(bytes / SLOWEST);
        let done = self.runtime().block_on(async {
            let request = pin!(request(connection));
            tokio::time::timeout(patience, request).await
        });
        let place = self.place.clone();
        match done {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(Error::SftpError(kind, message))) => Err(match kind {
                SftpErrorKind::NoSuchFile => PlaceError::Missing {
                    place,
                    file: file.to_owned(),
                },
                SftpErrorKind::PermDenied => PlaceError::Refused {
                    place,
                    answer: format!("cannot {action} {file}: {message}"),
                },
                _ => PlaceError::File {
                    place,
                    file: file.to_owned(),
                    action,
                    source: io::Error::other(message.to_string()),
                },
            }),
            Ok(Err(error)) => {
                self.forget();
                let words = last_words(&said);
                let source = io::Error::other(if words.is_empty() {
                    error.to_string()
                } else {
                    words
                });
                Err(PlaceError::Unreachable { place, source })
            }
            Err(_) => {
                self.forget();
                Err(PlaceError::Unreachable {
                    place,
                    source: io::ErrorKind::TimedOut.into(),
                })
            }
        }
    }

    fn path(&self, below: &str) -> PathBuf {
        Path::new(&self.location.path).join(below)
    }

    /// A name that no writer has, and no reader takes for a file of the repository.
    fn temporary(&self, name: Name) -> PathBuf {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let mut random = [0; 8];
        crate::crypt::random(&mut random);
        let random = u64::from_le_bytes(random);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = self.path(&name.path());
        let id = path.file_name().unwrap_or_default().to_string_lossy();
        path.with_file_name(format!(".{id}.{random:x}-{count}.tmp"))
    }

    /// The directories that hold the files of one kind, below the repository.
    fn directories(&self, kind: Kind) -> Result<Vec<String>, PlaceError> {
        let top = kind.directory().to_owned();
        if kind != Kind::Pack {
            return Ok(vec![top]);
        }
        let names = self.names(vec![top.clone()])?;
        let mut directories = vec![top.clone()];
        directories.extend(
            names
                .into_iter()
                .filter(|(_, name, _)| name.len() == 2 && !name.starts_with('.'))
                .map(|(_, name, _)| format!("{top}/{name}")),
        );
        Ok(directories)
    }

    /// Directory, name and size of what is in some directories; what is not there is empty.
    fn names(&self, directories: Vec<String>) -> Result<Vec<(String, String, u64)>, PlaceError> {
        let count = directories.len() as u64;
        let paths: Vec<_> = directories
            .into_iter()
            .map(|directory| (self.path(&directory), directory))
            .collect();
        self.run(
            "list",
            "a directory",
            count * SLOWEST,
            |connection| async move {
                let connection = &*connection;
                let mut results = futures_util::stream::iter(paths)
                    .map(|(path, directory)| read_directory(&connection.client, path, directory))
                    .buffer_unordered(LISTED_AT_ONCE);
                let mut all = Vec::new();
                while let Some(names) = results.next().await {
                    all.extend(names?);
                }
                Ok(all)
            },
        )
    }
}

async fn read_directory(
    client: &Client,
    path: PathBuf,
    directory: String,
) -> Result<Vec<(String, String, u64)>, Error> {
    let opened = match client.fs().open_dir(path).await {
        Err(Error::SftpError(SftpErrorKind::NoSuchFile, _)) => return Ok(Vec::new()),
        other => other?,
    };
    let mut entries = pin!(opened.read_dir());
    let mut names = Vec::new();
    while let Some(entry) = entries.next().await {
        let entry = entry?;
        if let Some(name) = entry.filename().to_str() {
            let size = entry.metadata().len().unwrap_or(0);
            names.push((directory.clone(), name.to_owned(), size));
        }
    }
    Ok(names)
}

/// Makes the directory and those above it; that they are there is fine, and what is wrong shows itself at the next request.
async fn make_directories(client: &Client, path: &Path) {
    let mut above: Vec<&Path> = path.ancestors().collect();
    above.reverse();
    for path in above {
        if !path.as_os_str().is_empty() && path != Path::new("/") {
            drop(client.fs().create_dir(path).await);
        }
    }
}

async fn write_file(client: &Client, path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let file = client
        .options()
        .write(true)
        .create_new(true)
        .open(path)
        .await?;
    let mut file = Box::pin(TokioCompatFile::from(file));
    file.write_all(bytes).await?;
    file.flush().await?;
    if client.support_fsync() {
        file.as_mut().as_mut_file().sync_all().await?;
    }
    Ok(())
}

fn last_words(said: &Mutex<String>) -> String {
    let said = said.lock().unwrap_or_else(PoisonError::into_inner);
    let last = said.lines().next_back().unwrap_or_default();
    last.trim().to_owned()
}

/// Whether ssh will say the same again.
fn is_refusal(words: &str) -> bool {
    [
        "Permission denied",
        "Host key verification failed",
        "Too many authentication failures",
        "subsystem request failed",
        "no matching",
    ]
    .iter()
    .any(|refusal| words.contains(refusal))
}

impl Storage for Sftp {
    fn shown(&self) -> String {
        self.place.clone()
    }

    fn prepare(&self) -> Result<(), PlaceError> {
        let mut paths: Vec<PathBuf> = Kind::DIRECTORIES
            .iter()
            .map(|kind| self.path(kind.directory()))
            .collect();
        paths.extend((0..=255_u8).map(|first| self.path(&format!("data/{first:02x}"))));
        let root = self.path("");
        self.run(
            "make",
            "the repository",
            256 * SLOWEST,
            |connection| async move {
                let client = &connection.client;
                make_directories(client, &root).await;
                for path in paths {
                    drop(client.fs().create_dir(path).await);
                }
                client.fs().metadata(root).await.map(drop)
            },
        )
    }

    fn list(&self, kind: Kind) -> Result<Vec<(Id, u64)>, PlaceError> {
        if kind == Kind::Config {
            let path = self.path("config");
            let size = self.run("read", "config", 0, |connection| async move {
                let metadata = connection.client.fs().metadata(path).await?;
                Ok(metadata.len().unwrap_or(0))
            });
            return match size {
                Ok(size) => Ok(vec![(Id::default(), size)]),
                Err(error) if error.is_missing() => Ok(Vec::new()),
                Err(error) => Err(error),
            };
        }
        let names = self.names(self.directories(kind)?)?;
        let file = |(_, name, size): (String, String, u64)| {
            let id = (name.len() == 64).then(|| name.parse().ok())?;
            Some((id?, size))
        };
        Ok(names.into_iter().filter_map(file).collect())
    }

    fn read(&self, name: Name) -> Result<Bytes, PlaceError> {
        let path = self.path(&name.path());
        let size = 64 << 20;
        self.run("read", &name.to_string(), size, |connection| async move {
            let file = connection.client.open(&path).await?;
            let mut file = Box::pin(TokioCompatFile::from(file));
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).await?;
            Ok(bytes.into())
        })
    }

    fn read_part(&self, name: Name, offset: u64, length: u64) -> Result<Bytes, PlaceError> {
        let path = self.path(&name.path());
        let wanted = usize::try_from(length).unwrap_or(usize::MAX);
        let bytes = self.run("read", &name.to_string(), length, |connection| async move {
            let mut file = connection.client.open(&path).await?;
            file.seek(io::SeekFrom::Start(offset)).await?;
            let mut bytes = BytesMut::with_capacity(wanted);
            while bytes.len() < wanted {
                let most = u32::try_from(wanted - bytes.len()).unwrap_or(u32::MAX);
                match file.read(most, BytesMut::new()).await? {
                    Some(more) => bytes.extend_from_slice(&more),
                    None => break,
                }
            }
            Ok(bytes.freeze())
        })?;
        if bytes.len() != wanted {
            return Err(PlaceError::Short {
                place: self.shown(),
                file: name.to_string(),
                got: bytes.len() as u64,
                wanted: length,
            });
        }
        Ok(bytes)
    }

    fn write(&self, name: Name, bytes: &[u8]) -> Result<(), PlaceError> {
        let path = self.path(&name.path());
        let temporary = self.temporary(name);
        let length = bytes.len() as u64;
        self.run(
            "write",
            &name.to_string(),
            length,
            |connection| async move {
                let client = &connection.client;
                let written = match write_file(client, &temporary, bytes).await {
                    Err(Error::SftpError(SftpErrorKind::NoSuchFile, _)) => {
                        if let Some(above) = path.parent() {
                            make_directories(client, above).await;
                        }
                        write_file(client, &temporary, bytes).await
                    }
                    other => other,
                };
                let written = match written {
                    Ok(()) => client.fs().rename(&temporary, &path).await,
                    failed => failed,
                };
                if written.is_err() {
                    // The write has failed and says so.
                    drop(client.fs().remove_file(&temporary).await);
                }
                written
            },
        )
    }

    fn remove(&self, name: Name) -> Result<(), PlaceError> {
        let path = self.path(&name.path());
        let removed = self.run("remove", &name.to_string(), 0, |connection| async move {
            connection.client.fs().remove_file(path).await
        });
        match removed {
            Err(error) if error.is_missing() => Ok(()),
            other => other,
        }
    }

    fn sweep(&self) -> Result<(), PlaceError> {
        for kind in Kind::DIRECTORIES {
            for (directory, name, _) in self.names(self.directories(kind)?)? {
                // `.<id>.<random>-<count>.tmp`
                let id = name.strip_prefix('.').and_then(|rest| rest.get(..64));
                let ours = id.is_some_and(|id| id.parse::<Id>().is_ok()) && name.ends_with(".tmp");
                if ours {
                    let path = self.path(&format!("{directory}/{name}"));
                    self.run("remove", &name, 0, |connection| async move {
                        connection.client.fs().remove_file(path).await
                    })?;
                }
            }
        }
        Ok(())
    }
}
