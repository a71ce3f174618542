//! What the library for restic's format does for us: making repositories and keys, and pruning. It reaches the files through
//! the places of this crate.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use rustic_core::{
    BytesList, ConfigOptions, Credentials, ErrorKind, FileType, Id, KeyOptions, OpenStatus,
    ReadBackend, RepositoryBackends, RepositoryOptions, RusticError, RusticResult, WriteBackend,
};

use crate::crypt::MasterKey;
use crate::error::{BackupError, FormatError};
use crate::gate::Gate;
use crate::place::{Kind, Name, PlaceError, Storage};

/// A place as the library wants it. It keeps the first failure, because the library only passes on its words.
#[derive(Debug)]
struct Bridge {
    storage: Arc<dyn Storage>,
    gate: Arc<Gate>,
    failure: Arc<Mutex<Option<PlaceError>>>,
}

/// A repository as the library has it.
pub(crate) struct Library {
    pub(crate) repository: rustic_core::Repository<OpenStatus>,
    /// What the library does to the place goes through it.
    pub(crate) gate: Arc<Gate>,
    failure: Arc<Mutex<Option<PlaceError>>>,
    place: String,
}

impl Library {
    pub(crate) fn open(storage: &Arc<dyn Storage>, key: &MasterKey) -> Result<Self, BackupError> {
        let credentials = Credentials::Masterkey(key.0.clone());
        let gate = Arc::new(Gate::default());
        let (unopened, failure) = connect(storage, &gate)?;
        let place = storage.shown();
        let repository = unopened
            .open(&credentials)
            .map_err(|error| meaning(&failure, &place, "opening", &error))?;
        Ok(Self {
            repository,
            gate,
            failure,
            place,
        })
    }

    /// What an error of the library means.
    pub(crate) fn meaning(&self, action: &'static str, error: &RusticError) -> BackupError {
        meaning(&self.failure, &self.place, action, error)
    }
}

type Unopened = rustic_core::Repository<()>;
type Failure = Arc<Mutex<Option<PlaceError>>>;

fn connect(
    storage: &Arc<dyn Storage>,
    gate: &Arc<Gate>,
) -> Result<(Unopened, Failure), BackupError> {
    let failure = Arc::new(Mutex::new(None));
    let bridge = Bridge {
        storage: Arc::clone(storage),
        gate: Arc::clone(gate),
        failure: Arc::clone(&failure),
    };
    let backends = RepositoryBackends::new(Arc::new(bridge), None);
    let options = RepositoryOptions::default().no_cache(true);
    let unopened = rustic_core::Repository::new(&options, &backends)
        .map_err(|error| meaning(&failure, &storage.shown(), "opening", &error))?;
    Ok((unopened, failure))
}

fn meaning(
    failure: &Mutex<Option<PlaceError>>,
    place: &str,
    action: &'static str,
    error: &RusticError,
) -> BackupError {
    let failure = failure
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    match failure {
        Some(failure) => failure.into(),
        None => BackupError::Format {
            place: place.to_owned(),
            action,
            source: FormatError::new(error),
        },
    }
}

/// Makes a repository; the key that it got.
pub(crate) fn create(storage: &Arc<dyn Storage>, password: &str) -> Result<MasterKey, BackupError> {
    let (unopened, failure) = connect(storage, &Arc::default())?;
    let repository = unopened
        .init(
            &Credentials::password(password),
            &KeyOptions::default().with_created(true),
            &ConfigOptions::default(),
        )
        .map_err(|error| meaning(&failure, &storage.shown(), "making it", &error))?;
    Ok(MasterKey(repository.key()))
}

/// Files of the library's five kinds are ours; it knows nothing of locks.
fn name(kind: FileType, id: &Id) -> Name {
    match kind {
        FileType::Config => Name::config(),
        FileType::Index => Name::new(Kind::Index, *id),
        FileType::Key => Name::new(Kind::Key, *id),
        FileType::Snapshot => Name::new(Kind::Snapshot, *id),
        FileType::Pack => Name::new(Kind::Pack, *id),
    }
}

fn stopped() -> Box<RusticError> {
    RusticError::new(ErrorKind::Backend, "stopped")
}

impl Bridge {
    /// Refused once somebody wants it to end.
    fn enter(&self) -> RusticResult<()> {
        if self.gate.is_shut() {
            return Err(stopped());
        }
        Ok(())
    }

    fn pass<T>(&self, result: Result<T, PlaceError>) -> RusticResult<T> {
        result.map_err(|error| {
            let words = error.to_string();
            self.failure
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .get_or_insert(error);
            RusticError::new(ErrorKind::Backend, words)
        })
    }

    fn contiguous(content: &BytesList) -> Bytes {
        match content.slice() {
            [only] => only.clone(),
            several => several.concat().into(),
        }
    }
}

impl ReadBackend for Bridge {
    fn location(&self) -> String {
        self.storage.shown()
    }

    fn list_with_size(&self, kind: FileType) -> RusticResult<Vec<(Id, u32)>> {
        let kind = name(kind, &Id::default()).kind;
        let files = self.pass(self.storage.list(kind))?;
        // No file of a repository is longer; one that is cannot be of it.
        Ok(files
            .into_iter()
            .map(|(id, size)| (id, u32::try_from(size).unwrap_or(u32::MAX)))
            .collect())
    }

    fn read_full(&self, kind: FileType, id: &Id) -> RusticResult<Bytes> {
        self.enter()?;
        self.pass(self.storage.read(name(kind, id)))
    }

    fn read_partial(
        &self,
        kind: FileType,
        id: &Id,
        cacheable: bool,
        offset: u32,
        length: u32,
    ) -> RusticResult<Bytes> {
        self.enter()?;
        let (offset, length) = (offset.into(), length.into());
        let name = name(kind, id);
        self.pass(if cacheable {
            self.storage.read_part_of_kept(name, offset, length)
        } else {
            self.storage.read_part(name, offset, length)
        })
    }

    fn warmup_path(&self, kind: FileType, id: &Id) -> String {
        name(kind, id).path()
    }
}

impl WriteBackend for Bridge {
    fn create(&self) -> RusticResult<()> {
        self.pass(self.storage.prepare())
    }

    fn write_bytes(
        &self,
        kind: FileType,
        id: &Id,
        cacheable: bool,
        content: BytesList,
    ) -> RusticResult<()> {
        let bytes = Self::contiguous(&content);
        let name = name(kind, id);
        let packed = if name.kind == Kind::Pack {
            bytes.len() as u64
        } else {
            0
        };
        if self.gate.is_shut_after(packed) {
            return Err(stopped());
        }
        let _writing = self.gate.writing(name);
        self.pass(if cacheable {
            self.storage.write_kept(name, &bytes)
        } else {
            self.storage.write(name, &bytes)
        })
    }

    fn remove(&self, kind: FileType, id: &Id, _cacheable: bool) -> RusticResult<()> {
        let name = name(kind, id);
        // Before that only packs go that no index has.
        if name.kind == Kind::Index && !self.gate.hold_open() {
            return Err(stopped());
        }
        self.enter()?;
        self.pass(self.storage.remove(name))
    }
}
