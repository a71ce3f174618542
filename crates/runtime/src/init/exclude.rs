//! Directories below a bind that are not to be seen: an empty memory filesystem over each.
//!
//! A directory that is missing is made, for something must be mounted over, and what programs write there later must not
//! get to the host either; it belongs to the owner of the directory around it. Where the bind is read-only nothing can be
//! written there: what is missing stays missing.

use std::os::fd::{AsFd as _, OwnedFd};

use rustix::fs::{Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use shim_protocol::StartError;
use shim_protocol::spec::Mount;

use super::sources::Tree;
use super::tmpfs::{self, Options};
use super::{attach, target};
use crate::failure::During as _;

/// Finds or makes the directories below `tree`, which is in its place and can still be written.
pub(crate) fn places(
    mount: &Mount,
    paths: &[String],
    tree: &Tree,
) -> Result<Vec<OwnedFd>, StartError> {
    let mut found = Vec::new();
    for path in paths {
        let place = find(tree, path, mount.readonly)
            .during("mount", || format!("cannot hide {}/{path}", mount.target))?;
        found.extend(place);
    }
    Ok(found)
}

/// Component by component and through no link: what is hidden is what was named.
fn find(tree: &Tree, path: &str, only_find: bool) -> rustix::io::Result<Option<OwnedFd>> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut here = rustix::fs::openat(&tree.mount, ".", flags, Mode::empty())?;
    for name in path.split('/').filter(|name| !matches!(*name, "" | ".")) {
        here = match rustix::fs::openat(&here, name, flags, Mode::empty()) {
            Err(Errno::NOENT) if only_find => return Ok(None),
            Err(Errno::NOENT) => {
                match rustix::fs::mkdirat(&here, name, Mode::from(0o755)) {
                    Ok(()) => {
                        let (uid, gid, _) = target::owner_and_mode(&here)?;
                        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
                        let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
                        rustix::fs::chownat(&here, name, Some(uid), Some(gid), flags)?;
                    }
                    Err(Errno::EXIST) => {}
                    Err(error) => return Err(error),
                }
                rustix::fs::openat(&here, name, flags, Mode::empty())?
            }
            other => other?,
        };
    }
    Ok(Some(here))
}

/// Mounts over `places`, for whoever may write what they hide.
pub(crate) fn hide(mount: &Mount, places: Vec<OwnedFd>) -> Result<(), StartError> {
    for place in places {
        let what = || format!("cannot hide a directory below {}", mount.target);
        let (uid, gid, mode) = target::owner_and_mode(&place).during("mount", what)?;
        let mut options = Options::parse(&["nosuid".to_owned(), "nodev".to_owned()])?;
        for (key, value) in [
            ("mode", format!("{mode:o}")),
            ("uid", uid.to_string()),
            ("gid", gid.to_string()),
        ] {
            options.set(key, value);
        }
        let tree = tmpfs::create(&mount.target, &options)?;
        attach::attach(tree.as_fd(), place.as_fd()).during("mount", what)?;
    }
    Ok(())
}
