//! Copies of the host's mounts that will appear in the container, taken before anything else changes.
//!
//! They must be taken while the new mount namespace is still a peer of the host's: a copy taken later could only follow
//! the host's mounts, never share them.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, StatxFlags};
use rustix::io::Errno;
use shim_protocol::StartError;
use shim_protocol::spec::{Mount, MountKind, Propagation};

use super::attach;
use super::target::is_directory;
use crate::failure::{During as _, failed};

/// A detached mount, ready to be put in its place.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) mount: OwnedFd,
    pub(crate) directory: bool,
}

/// Makes the bind sources that the caller wants made. Before any namespace: they are the host's directories.
pub(crate) fn create(mounts: &[Mount]) -> Result<(), StartError> {
    for mount in mounts {
        if let MountKind::Bind {
            source,
            create_source: true,
            create_as_owner,
            ..
        } = &mount.kind
        {
            let what = || {
                format!(
                    "error while creating mount source path '{}'",
                    source.display()
                )
            };
            match rustix::fs::stat(source) {
                Ok(_) => {}
                Err(Errno::NOENT) => make(source, *create_as_owner).during("mount", what)?,
                Err(error) => return Err(error).during("mount", what),
            }
        }
    }
    Ok(())
}

/// Makes a directory and those above it; each `as_owner` of the one it is made in, or root's.
fn make(directory: &Path, as_owner: bool) -> std::io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
    let missing: Vec<&Path> = directory
        .ancestors()
        .take_while(|path| !path.exists())
        .collect();
    for path in missing.into_iter().rev() {
        match std::fs::DirBuilder::new().mode(0o755).create(path) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => continue,
            other => other?,
        }
        if let (true, Some(parent)) = (as_owner, path.parent()) {
            let owner = std::fs::metadata(parent)?;
            std::os::unix::fs::lchown(path, Some(owner.uid()), Some(owner.gid()))?;
        }
    }
    Ok(())
}

/// A tree for each bind mount, in the order of `mounts`; `None` for the others.
pub(crate) fn open(mounts: &[Mount]) -> Result<Vec<Option<Tree>>, StartError> {
    mounts
        .iter()
        .map(|mount| match &mount.kind {
            MountKind::Bind {
                source,
                subpath,
                recursive,
                propagation,
                ..
            } => bind(source, subpath.as_deref(), *recursive, *propagation).map(Some),
            _ => Ok(None),
        })
        .collect()
}

fn bind(
    source: &Path,
    subpath: Option<&str>,
    recursive: bool,
    propagation: Propagation,
) -> Result<Tree, StartError> {
    let place = rustix::fs::open(source, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(
        |error| match error {
            Errno::NOENT => failed(
                "mount",
                format!(
                    "bind source path does not exist: {}: no such file or directory",
                    source.display()
                ),
            ),
            error => Err::<(), _>(error)
                .during("mount", || {
                    format!("cannot open mount source '{}'", source.display())
                })
                .expect_err("made from an error"),
        },
    )?;
    let place = match subpath {
        Some(subpath) => below(place.as_fd(), source, subpath)?,
        None => place,
    };
    check_propagation(place.as_fd(), source, propagation)?;
    let what = || format!("cannot copy the mount at '{}'", source.display());
    let mount = attach::copy(place.as_fd(), recursive).during("mount", what)?;
    Ok(Tree {
        directory: is_directory(&mount).during("mount", what)?,
        mount,
    })
}

/// Where POSIX shared memory is.
pub(crate) const SHARED_MEMORY: &str = "/dev/shm";

/// The shared memory of the container behind `process`, for one that joins its IPC namespace.
///
/// A mount can only be copied from inside its own mount namespace, so this process goes there and comes back.
pub(crate) fn shared_memory(process: BorrowedFd<'_>) -> Result<Tree, StartError> {
    use sys::namespace::Kinds;
    let what = || "cannot share the memory of another container".to_owned();
    let own = rustix::fs::open(
        "/proc/self/ns/mnt",
        OFlags::RDONLY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .during("mount", what)?;
    sys::namespace::join(process, Kinds::MOUNT).during("mount", what)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let copied = rustix::fs::open(SHARED_MEMORY, flags, Mode::empty())
        .and_then(|place| attach::copy(place.as_fd(), false));
    sys::namespace::join_link(own.as_fd()).during("mount", what)?;
    Ok(Tree {
        mount: copied.during("mount", what)?,
        directory: true,
    })
}

/// Opens `subpath` inside `base`. Links inside are followed, but none may lead out.
pub(crate) fn below(
    base: BorrowedFd<'_>,
    name: &Path,
    subpath: &str,
) -> Result<OwnedFd, StartError> {
    let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    loop {
        let subpath_or_self = if subpath.is_empty() { "." } else { subpath };
        return match rustix::fs::openat2(base, subpath_or_self, flags, Mode::empty(), beneath) {
            Ok(place) => Ok(place),
            Err(Errno::AGAIN) => continue,
            Err(Errno::XDEV | Errno::LOOP) => Err(failed(
                "mount",
                format!(
                    "cannot mount subpath '{subpath}' of '{}': path escapes the volume",
                    name.display()
                ),
            )),
            Err(error) => Err(error).during("mount", || {
                format!("cannot access path '{}/{subpath}'", name.display())
            }),
        };
    }
}

/// Refuses to share mounts with a host directory that is not shared itself: the user would wait in vain.
fn check_propagation(
    place: BorrowedFd<'_>,
    source: &Path,
    propagation: Propagation,
) -> Result<(), StartError> {
    let (words, may_be_slave) = match propagation {
        Propagation::Private | Propagation::Rprivate => return Ok(()),
        Propagation::Shared | Propagation::Rshared => ("a shared mount", false),
        Propagation::Slave | Propagation::Rslave => ("a shared or slave mount", true),
    };
    let what = || format!("cannot find the mount of '{}'", source.display());
    let id = rustix::fs::statx(place, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)
        .during("mount", what)?
        .stx_mnt_id
        .to_string();
    let table = std::fs::read_to_string("/proc/self/mountinfo").during("mount", what)?;
    let line = table
        .lines()
        .find(|line| line.split(' ').next() == Some(&id))
        .ok_or_else(|| failed("mount", what()))?;
    let fields: Vec<&str> = line.split(' ').collect();
    let options = fields.iter().skip(6).take_while(|field| **field != "-");
    let fits = options.into_iter().any(|option| {
        option.starts_with("shared:") || may_be_slave && option.starts_with("master:")
    });
    if fits {
        return Ok(());
    }
    let mount_point = fields.get(4).copied().unwrap_or("/");
    Err(failed(
        "mount",
        format!(
            "path {} is mounted on {mount_point} but it is not {words}",
            source.display()
        ),
    ))
}

/// Gives a tree (attached by now) the propagation that was asked for.
pub(crate) fn set_propagation(
    mount: BorrowedFd<'_>,
    propagation: Propagation,
) -> std::io::Result<()> {
    use sys::mount::Propagation as Kind;
    // Copies begin as peers of the host's mounts. Where only the top is named, those below must at least not
    // send mounts back to the host.
    let (below, top) = match propagation {
        Propagation::Rprivate => (Some(Kind::Private), None),
        Propagation::Private => (Some(Kind::Slave), Some(Kind::Private)),
        Propagation::Rslave | Propagation::Slave => (Some(Kind::Slave), None),
        Propagation::Rshared => (Some(Kind::Shared), None),
        Propagation::Shared => (None, Some(Kind::Shared)),
    };
    if let Some(kind) = below {
        attach::set_propagation(mount, true, kind)?;
    }
    if let Some(kind) = top {
        attach::set_propagation(mount, false, kind)?;
    }
    Ok(())
}

/// The working directory for relative layer paths.
pub(crate) fn enter_layers(directory: &Path) -> Result<(), StartError> {
    rustix::process::chdir(directory).during("root", || {
        format!("cannot enter the layers' directory {}", directory.display())
    })
}

/// Opens a layer, relative to the layers' directory.
pub(crate) fn open_layer(layer: &Path) -> Result<OwnedFd, StartError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, layer, flags, Mode::empty())
        .during("root", || format!("cannot open layer {}", layer.display()))
}
