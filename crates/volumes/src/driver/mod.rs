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
//! * What takes long tells a [`Watch`] how far it is and may be stopped by it; a part of the copy is there then.
//! * What that costs is told by [`Driver::sharing`], and is the only thing that anybody outside needs to know.
//! * A tree may have a filesystem of its own, which is mounted where the tree is. [`Driver::expose`] sees to that, and
//!   [`Driver::hide`] to the reverse; a tree is renamed by [`Driver::relocate`] only.
//!
//! Limits
//! * [`Driver::limit`] says how much a tree may hold, and the kernel keeps it: who writes more gets an error. What keeps
//!   it and what can be done with it is told by [`Driver::abilities`].
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
pub use local::{Local, parse_size};
pub(crate) use registry::DEFAULT;
pub use registry::Drivers;
pub use sys::copy_tree::Watch;

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

/// How much a volume may hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    pub bytes: Option<u64>,
    pub inodes: Option<u64>,
}

impl Limits {
    /// Whether there is none.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// What options ask for beyond what the driver does by itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Requested {
    /// The volume can lie in a pool.
    pub placeable: bool,
    pub limits: Limits,
    /// Somebody is told once the volume holds more.
    pub soft_bytes: Option<u64>,
}

/// What keeps a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// Simple quotas of btrfs: what the volume wrote, for as long as it or a snapshot has it.
    SimpleQuota,
    /// Groups of btrfs: what the volume refers to.
    QuotaGroup,
    /// Project quotas of ext4 and XFS.
    ProjectQuota,
    /// A filesystem of the volume's own in a file.
    Image,
}

impl Bound {
    /// The word in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SimpleQuota => "btrfs-squota",
            Self::QuotaGroup => "btrfs-qgroup",
            Self::ProjectQuota => "project-quota",
            Self::Image => "image",
        }
    }
}

/// What can be done with a volume where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abilities {
    /// What a snapshot costs.
    pub sharing: Sharing,
    /// What keeps its limit, or would; `None`: nothing can.
    pub bound: Option<Bound>,
    /// The number of files can be limited.
    pub inodes: bool,
    /// The limit can be raised under who writes.
    pub live_grow: bool,
    /// It can be lowered under who writes.
    pub live_shrink: bool,
}

/// What a volume with a limit holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Held {
    pub bytes: u64,
    /// Where they are counted.
    pub inodes: Option<u64>,
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

/// What was made of a copy while its source could change, [`Driver::copy_ahead`].
#[derive(Debug)]
pub struct Ahead(pub(crate) Done);

#[derive(Debug)]
pub(crate) enum Done {
    /// All that was there then is in it.
    Copied(Box<sys::catch_up::Began>),
    /// An empty tree, which has the room.
    Room,
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

    /// What a copy of the tree `from` costs that is made in a directory of `around` and may hold as much as `limits` say: by
    /// [`Driver::transplant`] if it is `moved`, else by [`Driver::replicate_within`].
    ///
    /// # Errors
    /// [`DriverError::Io`].
    fn sharing_with(
        &self,
        _from: &Path,
        _around: &Path,
        _limits: Limits,
        _moved: bool,
    ) -> Result<Sharing, DriverError> {
        Ok(Sharing::Copy)
    }

    /// Copies the tree `from`, a content or a snapshot, to `to`, whose parent exists; what is at `to` is discarded
    /// first. Not durable before [`Driver::settle`].
    ///
    /// # Errors
    /// [`DriverError::Replicate`], [`DriverError::Io`]; a part of the copy may be there.
    fn replicate(
        &self,
        from: &Path,
        to: &Path,
        access: Access,
        watch: &Watch<'_>,
    ) -> Result<Replica, DriverError>;

    /// Copies a tree to `to` in another pool, where it may hold as much as `limits` say by what there is to keep them.
    ///
    /// # Errors
    /// As [`Driver::replicate`]; [`DriverError::NoQuota`].
    fn transplant(
        &self,
        from: &Path,
        to: &Path,
        _limits: Limits,
        watch: &Watch<'_>,
    ) -> Result<Replica, DriverError> {
        self.replicate(from, to, Access::Writable, watch)
    }

    /// Begins what [`Driver::transplant`] does while others write to `from`; [`Driver::catch_up`] ends it. `None` where there is
    /// nothing to begin with, and nothing is at `to` then.
    ///
    /// # Errors
    /// As [`Driver::transplant`].
    fn transplant_ahead(
        &self,
        _from: &Path,
        _to: &Path,
        _limits: Limits,
    ) -> Result<Option<Ahead>, DriverError> {
        Ok(None)
    }

    /// Begins what [`Driver::replicate`] does while others write to `from`, where that lets them be held for a shorter time;
    /// `None` where it does not, and nothing is at `to` then.
    ///
    /// # Errors
    /// As [`Driver::replicate`].
    fn copy_ahead(
        &self,
        _from: &Path,
        _to: &Path,
        _watch: &Watch<'_>,
    ) -> Result<Option<Ahead>, DriverError> {
        Ok(None)
    }

    /// Ends that while nobody writes; `None` when it has to be done from the beginning.
    ///
    /// # Errors
    /// As [`Driver::replicate`].
    fn catch_up(
        &self,
        _from: &Path,
        _to: &Path,
        _ahead: &Ahead,
        _watch: &Watch<'_>,
    ) -> Result<Option<Replica>, DriverError> {
        Ok(None)
    }

    /// Makes an empty tree that can hold what the tree `like` can, to be written and then settled; its parent exists, and
    /// what is at `tree` is discarded first.
    ///
    /// # Errors
    /// [`DriverError::Io`]; a part of it may be there.
    fn raise(&self, like: &Path, tree: &Path) -> Result<(), DriverError>;

    /// Makes a replica durable, up to its entry in its parent.
    ///
    /// # Errors
    /// [`DriverError::Io`].
    fn settle(&self, tree: &Path, access: Access, replica: Replica) -> Result<(), DriverError>;

    /// Whether a replica of the tree comes into being as a whole, by one commit of the filesystem that it lies in.
    ///
    /// # Errors
    /// [`DriverError::Io`].
    fn is_committed_whole(&self, _tree: &Path) -> Result<bool, DriverError> {
        Ok(false)
    }

    /// Whether the tree can only be a replica that is complete and on disk, wherever a power cut came.
    ///
    /// # Errors
    /// [`DriverError::Io`].
    fn is_evident(&self, _tree: &Path) -> Result<bool, DriverError> {
        Ok(false)
    }

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

    /// What options that were checked ask for.
    ///
    /// # Errors
    /// Those of [`Driver::check`].
    fn requested(&self, _options: &Options) -> Result<Requested, DriverError> {
        Ok(Requested::default())
    }

    /// What can be done with this volume; `None` when its bytes are elsewhere.
    ///
    /// # Errors
    /// [`DriverError::Io`].
    fn abilities(&self, _place: Place<'_>) -> Result<Option<Abilities>, DriverError> {
        Ok(None)
    }

    /// What could be done with a volume that is made in `directory`.
    ///
    /// # Errors
    /// [`DriverError::Io`].
    fn abilities_in(&self, _directory: &Path) -> Result<Option<Abilities>, DriverError> {
        Ok(None)
    }

    /// Limits what `tree` may hold. A tree of files that were copied has its limit only then.
    ///
    /// # Errors
    /// [`DriverError::NoQuota`] where nothing could keep it, [`DriverError::TooFull`] when it holds more already,
    /// [`DriverError::Live`] when that takes a tree that nobody uses.
    fn limit(&self, _tree: &Path, limits: Limits) -> Result<(), DriverError> {
        if limits.is_none() {
            Ok(())
        } else {
            Err(DriverError::NoQuota)
        }
    }

    /// Whether these limits take another tree than the content is, of another kind or with bytes that count, and that can be
    /// made: [`Driver::rebuild`].
    ///
    /// # Errors
    /// [`DriverError::Io`].
    fn takes_another_tree(&self, _place: Place<'_>, _limits: Limits) -> Result<bool, DriverError> {
        Ok(false)
    }

    /// Copies a content to such a tree, which [`Driver::limit`] is going to limit so.
    ///
    /// # Errors
    /// As [`Driver::replicate_within`]; [`DriverError::TooFull`].
    fn rebuild(
        &self,
        from: &Path,
        to: &Path,
        limits: Limits,
        watch: &Watch<'_>,
    ) -> Result<Replica, DriverError> {
        self.replicate_within(from, to, limits, watch)
    }

    /// [`Driver::replicate`] for a content that [`Driver::limit`] is going to limit so, as a tree of the kind that this takes.
    ///
    /// # Errors
    /// As [`Driver::replicate`]; [`DriverError::NoQuota`].
    fn replicate_within(
        &self,
        from: &Path,
        to: &Path,
        _limits: Limits,
        watch: &Watch<'_>,
    ) -> Result<Replica, DriverError> {
        self.replicate(from, to, Access::Writable, watch)
    }

    /// What a tree with a limit holds, without looking at its files; `None`: it has no limit.
    ///
    /// # Errors
    /// [`DriverError::Io`].
    fn held(&self, _tree: &Path) -> Result<Option<Held>, DriverError> {
        Ok(None)
    }

    /// Mounts the filesystem of a tree that has one of its own, if it is not mounted.
    ///
    /// # Errors
    /// [`DriverError::Io`].
    fn expose(&self, _tree: &Path) -> Result<(), DriverError> {
        Ok(())
    }

    /// Takes that mount away, at once for new users.
    ///
    /// # Errors
    /// [`DriverError::Io`].
    fn hide(&self, _tree: &Path) -> Result<(), DriverError> {
        Ok(())
    }

    /// Gives back what the filesystem keeps of the trees in a volume's directory beside their bytes, all of which are going to be
    /// deleted: the numbers by which it counts them. `volume` is the id whose directory it was, if that is known. What cannot be
    /// given back is logged.
    fn renounce(&self, _directory: &Path, _volume: Option<&str>) {}

    /// Renames a tree in one filesystem, durably; it is hidden then. Repeated after a crash it does the rest.
    ///
    /// # Errors
    /// [`DriverError::Io`].
    fn relocate(&self, from: &Path, to: &Path) -> Result<(), DriverError> {
        sys::durable::rename_new(from, to).map_err(DriverError::io("move", from))
    }
}
