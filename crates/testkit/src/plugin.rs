//! A volume plugin that a test holds in its hand: it keeps directories, remembers every call, and hangs, dies or lies when
//! it is told to.
//!
//! It is strict where real ones are: a mount id is used once, an unmount needs its mount, a mounted volume stays.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use serde_json::{Value, json};

/// What a method does instead of its work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Behaviour {
    /// Says this, with this status.
    Answer(u16, String),
    /// Says nothing until the behaviour changes, and then does its work.
    Hang,
    /// Ends the connection.
    Die,
    /// Does its work and ends the connection.
    DieAfter,
}

/// Dropping it ends it.
#[derive(Debug)]
pub struct FakePlugin {
    socket: PathBuf,
    shared: Arc<Shared>,
    listening: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    directory: PathBuf,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    volumes: BTreeMap<String, Kept>,
    calls: Vec<(String, Value)>,
    behaviour: BTreeMap<String, Behaviour>,
    scope: Option<String>,
    ended: bool,
}

#[derive(Debug, Default, Clone)]
struct Kept {
    options: Value,
    mounts: BTreeSet<String>,
}

impl FakePlugin {
    /// A plugin that listens at `socket` and keeps its volumes below `directory`; both are made.
    pub fn start(socket: &Path, directory: &Path) -> Self {
        fs::create_dir_all(directory).unwrap();
        fs::create_dir_all(socket.parent().unwrap()).unwrap();
        let mut plugin = Self {
            socket: socket.to_owned(),
            shared: Arc::new(Shared {
                directory: directory.to_owned(),
                state: Mutex::default(),
                changed: Condvar::new(),
            }),
            listening: None,
        };
        plugin.resume();
        plugin
    }

    /// Listens again, with what it had.
    pub fn resume(&mut self) {
        self.state().ended = false;
        // A socket file outlives its listener.
        if self.socket.exists() {
            fs::remove_file(&self.socket).unwrap();
        }
        let listener = UnixListener::bind(&self.socket).unwrap();
        let shared = Arc::clone(&self.shared);
        self.listening = Some(thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.state().ended {
                    return;
                }
                let (shared, stream) = (Arc::clone(&shared), stream.unwrap());
                thread::spawn(move || shared.serve(&stream));
            }
        }));
    }

    /// Ends, as a program that is killed: the socket stays, and nobody answers there.
    pub fn stop(&mut self) {
        self.state().ended = true;
        self.shared.changed.notify_all();
        if let Some(listening) = self.listening.take() {
            // Wakes it up.
            drop(UnixStream::connect(&self.socket));
            listening.join().unwrap();
        }
    }

    /// From now on `method` ("Mount", "Activate") behaves so.
    pub fn behave(&self, method: &str, behaviour: Behaviour) {
        self.state().behaviour.insert(method.to_owned(), behaviour);
        self.shared.changed.notify_all();
    }

    /// Every method does its work again.
    pub fn behave_well(&self) {
        self.state().behaviour.clear();
        self.shared.changed.notify_all();
    }

    pub fn set_scope(&self, scope: &str) {
        self.state().scope = Some(scope.to_owned());
    }

    /// A volume that nobody asked for.
    pub fn add(&self, volume: &str) {
        fs::create_dir_all(self.shared.directory.join(volume)).unwrap();
        self.state()
            .volumes
            .insert(volume.to_owned(), Kept::default());
    }

    /// A volume is lost.
    pub fn lose(&self, volume: &str) {
        self.state().volumes.remove(volume);
    }

    pub fn volumes(&self) -> Vec<String> {
        self.state().volumes.keys().cloned().collect()
    }

    /// The options a volume was made with.
    pub fn options(&self, volume: &str) -> Value {
        self.state().volumes[volume].options.clone()
    }

    /// The ids of those who have a volume mounted.
    pub fn mounts(&self, volume: &str) -> BTreeSet<String> {
        self.state()
            .volumes
            .get(volume)
            .map_or_else(BTreeSet::new, |kept| kept.mounts.clone())
    }

    /// Where a volume is.
    pub fn path(&self, volume: &str) -> PathBuf {
        self.shared.directory.join(volume)
    }

    /// Every call so far, as `Mount data`, and forgets them.
    pub fn take_calls(&self) -> Vec<String> {
        std::mem::take(&mut self.state().calls)
            .into_iter()
            .map(|(method, body)| match body["Name"].as_str() {
                Some(name) => format!("{method} {name}"),
                None => method,
            })
            .collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state()
    }
}

impl Drop for FakePlugin {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, stream: &UnixStream) {
        let Some((method, body)) = request(stream) else {
            return;
        };
        let mut state = self.state();
        state.calls.push((method.clone(), body.clone()));
        while state.behaviour.get(&method) == Some(&Behaviour::Hang) && !state.ended {
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if state.ended {
            return;
        }
        let (status, answer) = match state.behaviour.get(&method).cloned() {
            Some(Behaviour::Answer(status, answer)) => (status, answer),
            Some(Behaviour::Die) => return,
            Some(Behaviour::DieAfter) => {
                self.work(&mut state, &method, &body);
                return;
            }
            Some(Behaviour::Hang) | None => {
                (200, self.work(&mut state, &method, &body).to_string())
            }
        };
        drop(state);
        // Who asked may have gone.
        drop(write!(
            &*stream,
            "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{answer}",
            answer.len()
        ));
    }

    fn work(&self, state: &mut State, method: &str, body: &Value) -> Value {
        let refusal = |text: &str| json!({ "Err": text });
        match method {
            "Activate" => return json!({ "Implements": ["VolumeDriver"] }),
            "Capabilities" => {
                return json!({ "Capabilities": { "Scope": state.scope.as_deref().unwrap_or("local") } });
            }
            "List" => {
                let shown: Vec<Value> = state
                    .volumes
                    .iter()
                    .map(|(name, kept)| self.shown(name, kept))
                    .collect();
                return json!({ "Volumes": shown, "Err": "" });
            }
            _ => {}
        }
        let name = body["Name"].as_str().unwrap_or_default().to_owned();
        let id = body["ID"].as_str().unwrap_or_default().to_owned();
        let path = self.directory.join(&name);
        if method == "Create" {
            if state.volumes.contains_key(&name) {
                return refusal("it exists already");
            }
            fs::create_dir_all(&path).unwrap();
            let kept = Kept {
                options: body["Opts"].clone(),
                mounts: BTreeSet::new(),
            };
            state.volumes.insert(name, kept);
            return json!({ "Err": "" });
        }
        let Some(kept) = state.volumes.get_mut(&name) else {
            return refusal("no such volume");
        };
        match method {
            "Get" => json!({ "Volume": self.shown(&name, kept), "Err": "" }),
            "Path" => json!({ "Mountpoint": path, "Err": "" }),
            "Mount" if !kept.mounts.insert(id.clone()) => refusal("this id has it mounted"),
            "Mount" => json!({ "Mountpoint": path, "Err": "" }),
            "Unmount" if !kept.mounts.remove(&id) => refusal("this id has not mounted it"),
            "Unmount" => json!({}),
            "Remove" if !kept.mounts.is_empty() => refusal("volume is mounted"),
            "Remove" => {
                state.volumes.remove(&name);
                fs::remove_dir_all(&path).unwrap();
                json!({ "Err": "" })
            }
            _ => refusal("no such method"),
        }
    }

    /// Like many plugins it tells where a volume is only when it is mounted.
    fn shown(&self, name: &str, kept: &Kept) -> Value {
        let mountpoint = if kept.mounts.is_empty() {
            PathBuf::new()
        } else {
            self.directory.join(name)
        };
        json!({
            "Name": name,
            "Mountpoint": mountpoint,
            "CreatedAt": "2024-05-06T07:08:09.123456Z",
            "Status": { "mounts": kept.mounts.len() },
        })
    }
}

/// The method's last word and the body of a request.
fn request(stream: &UnixStream) -> Option<(String, Value)> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let path = line.split(' ').nth(1)?;
    let method = path.rsplit('.').next()?.to_owned();
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let header = header.trim().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((method, serde_json::from_slice(&body).unwrap_or(Value::Null)))
}
