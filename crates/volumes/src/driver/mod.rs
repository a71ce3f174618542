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
}
