//! Drivers: what the bytes of a volume are stored on.
//!
//! Vocabulary
//! * The *directory* of a volume, `data/<id>`, belongs to its driver; nobody else makes or removes entries in it.
//! * Its *content*, `data/<id>/_data`, is the tree that containers see. It is a directory from [`Driver::build`] on, and
//!   either holds the bytes itself or is where [`Driver::mount`] puts them.
//! * *Options* are what the user gave at creation. They are checked once and never change.
//!
//! Life of a volume as its driver sees it
//! ```text
//! check ── build ──┬── mount ── unmount ── … ──┬── (the directory is deleted)
//!    (unbuild) ◄───┘      only if needs_mount  ┘
//! ```
//! For example `check({type: tmpfs, …})`, `build` makes `_data`, the first user's `mount` mounts a tmpfs on it, the
//! second user changes nothing, the last `unmount` takes the tmpfs away, and the directory is deleted with the volume.
//!
//! Snapshots and clones
//! * A *tree* is a copy of the content, of another tree's driver or of this one's, in a directory of the caller's choice
//!   below the volume's. [`Driver::replicate`] makes one, [`Driver::settle`] makes it durable, [`Driver::discard`]
//!   removes it; [`Driver::seal`] turns what was a content into a snapshot.
//! * What that costs is told by [`Driver::sharing`], and is the only thing that anybody outside needs to know.
//!
//! What a driver must guarantee
//! * [`Driver::check`] touches nothing outside of memory, and everything that it accepts can be built.
//! * [`Driver::build`] is durable when it returns, up to the entry of the directory itself in its parent, which the
//!   caller syncs. A build that failed or was cut short leaves only what [`Driver::unbuild`] removes.
//! * Every method is idempotent: recovery repeats what it cannot know to be done.
//! * [`Driver::mount`] either leaves the content mounted, or as it was. The caller counts the users, and serialises the
//!   calls for one volume.
//! * No method deletes bytes that a user can have written, except through the deletion of the directory by the caller.
//!
//! A new driver is a file here, a line in [`Drivers::builtin`], and a line in `tests/driver_conformance.rs`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

mod error;
mod local;
mod registry;

pub use error::DriverError;
pub use local::Local;
pub(crate) use registry::DEFAULT;
pub use registry::Drivers;

/// Options of a volume.
pub type Options = BTreeMap<String, String>;

/// Where the volumes of a driver exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// On this host.
    Local,
    /// The same one on every host.
    Global,
}

impl Scope {
    /// Docker's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Global => "global",
        }
    }
}

/// How a snapshot comes to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// As a whole, at one instant, whatever the size.
    Instant,
    /// File by file, the data shared.
    Shared,
    /// File by file, every byte.
    Copy,
}

impl Sharing {
    /// The word in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Instant => "instant",
            Self::Shared => "shared",
            Self::Copy => "copy",
        }
    }
}

/// What a tree is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// A snapshot: nobody changes it any more.
    ReadOnly,
    /// The content of a volume.
    Writable,
}

/// How a tree was copied: what [`Driver::settle`] has to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replica {
    /// At one instant, and on disk already.
    Whole,
    /// File by file.
    Files { bytes: u64 },
}

/// What a driver can do; no code outside of drivers asks for a driver's name to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    pub scope: Scope,
    /// `prune` may remove its unused volumes that have no options.
    pub prunable: bool,
}

/// One volume, as told to its driver.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// `data/<id>`.
    pub directory: &'a Path,
    /// `data/<id>/_data`.
    pub content: &'a Path,
    /// The content by the volume's name, for messages.
    pub mountpoint: &'a Path,
    pub options: &'a Options,
}

/// See the description of this module for what each method must guarantee.
pub trait Driver: fmt::Debug + Send + Sync {
    /// What users write after `--driver`.
    fn name(&self) -> &'static str;

    fn capabilities(&self) -> Capabilities;

    /// Whether a volume can be made with these options.
    ///
    /// # Errors
    /// The sentence that the user sees.
    fn check(&self, options: &Options) -> Result<(), DriverError>;

    /// Makes the directory of a new volume and the content in it, empty, owned by root, mode 0755.
    ///
    /// # Errors
    /// [`DriverError::Io`], or what only the attempt shows.
    fn build(&self, place: Place<'_>) -> Result<(), DriverError>;

    /// Takes back a build of a volume that nobody has ever seen. Refuses a content that is not empty.
    ///
    /// # Errors
    /// [`DriverError::Io`].
    fn unbuild(&self, place: Place<'_>) -> Result<(), DriverError>;

    /// Whether volumes with these options have to be mounted before their content can be used.
    fn needs_mount(&self, options: &Options) -> bool;

    /// Makes the content usable.
    ///
    /// # Errors
    /// [`DriverError::Mount`] with the system's words, passwords masked.
    fn mount(&self, place: Place<'_>) -> Result<(), DriverError>;

    /// Takes the mount away, at once for new users; for those who still have files open when they close them.
    ///
    /// # Errors
    /// [`DriverError::Io`].
    fn unmount(&self, place: Place<'_>) -> Result<(), DriverError>;

    /// Whether the content is mounted now.
    ///
    /// # Errors
    /// [`DriverError::Io`].
    fn is_mounted(&self, place: Place<'_>) -> Result<bool, DriverError>;

    /// What a snapshot of this volume costs; `None` when it cannot have any, because its bytes are elsewhere.
    ///
    /// # Errors
    /// [`DriverError::Io`].
    fn sharing(&self, place: Place<'_>) -> Result<Option<Sharing>, DriverError>;

    /// Copies the tree `from`, a content or a snapshot, to `to`, whose parent exists; what is at `to` is discarded
    /// first. Not durable before [`Driver::settle`].
    ///
    /// # Errors
    /// [`DriverError::Replicate`], [`DriverError::Io`]; a part of the copy may be there.
    fn replicate(&self, from: &Path, to: &Path, access: Access) -> Result<Replica, DriverError>;

    /// Makes a replica durable, up to its entry in its parent.
    ///
    /// # Errors
    /// [`DriverError::Io`].
    fn settle(&self, tree: &Path, access: Access, replica: Replica) -> Result<(), DriverError>;

    /// Lets nobody change a tree that was a content and is a snapshot now.
    ///
    /// # Errors
    /// [`DriverError::Io`].
    fn seal(&self, tree: &Path) -> Result<(), DriverError>;

    /// Removes a tree that nobody needs; one that is not there is fine.
    ///
    /// # Errors
    /// [`DriverError::Io`].
    fn discard(&self, tree: &Path) -> Result<(), DriverError>;
}
