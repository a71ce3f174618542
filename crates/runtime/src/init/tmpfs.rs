//! Memory file systems, with options as mount(8) takes them.

use std::os::fd::{AsFd as _, OwnedFd};

use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};
use shim_protocol::StartError;

use crate::failure::{During as _, failed};

/// Options, sorted by who acts on them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// For the mount.
    attributes: u32,
    /// For the file system: `size=64m`, or a word alone.
    data: Vec<(String, Option<String>)>,
    pub(crate) read_only: bool,
}

impl Options {
    /// Reads a list whose items may be lists themselves (`"size=1m,ro"`); later ones win.
    pub(crate) fn parse(options: &[String]) -> Result<Self, StartError> {
        let mut parsed = Self::default();
        for option in options.iter().flat_map(|list| list.split(',')) {
            parsed.take(option.trim())?;
        }
        Ok(parsed)
    }

    fn take(&mut self, option: &str) -> Result<(), StartError> {
        let unknown = || failed("mount", format!("invalid tmpfs option [\"{option}\"]"));
        if let Some((key, value)) = option.split_once('=') {
            if ![
                "size",
                "nr_blocks",
                "nr_inodes",
                "mode",
                "uid",
                "gid",
                "huge",
                "mpol",
            ]
            .contains(&key)
            {
                return Err(unknown());
            }
            self.data.retain(|(known, _)| known != key);
            self.data.push((key.to_owned(), Some(value.to_owned())));
            return Ok(());
        }
        let times = MountAttrFlags::MOUNT_ATTR__ATIME.bits();
        let mut set = |flag: MountAttrFlags| self.attributes |= flag.bits();
        match option {
            "ro" => self.read_only = true,
            "rw" => self.read_only = false,
            "nosuid" => set(MountAttrFlags::MOUNT_ATTR_NOSUID),
            "nodev" => set(MountAttrFlags::MOUNT_ATTR_NODEV),
            "noexec" => set(MountAttrFlags::MOUNT_ATTR_NOEXEC),
            "nodiratime" => set(MountAttrFlags::MOUNT_ATTR_NODIRATIME),
            "suid" => self.attributes &= !MountAttrFlags::MOUNT_ATTR_NOSUID.bits(),
            "dev" => self.attributes &= !MountAttrFlags::MOUNT_ATTR_NODEV.bits(),
            "exec" => self.attributes &= !MountAttrFlags::MOUNT_ATTR_NOEXEC.bits(),
            "diratime" => self.attributes &= !MountAttrFlags::MOUNT_ATTR_NODIRATIME.bits(),
            "noatime" => {
                self.attributes &= !times;
                self.attributes |= MountAttrFlags::MOUNT_ATTR_NOATIME.bits();
            }
            "strictatime" => {
                self.attributes &= !times;
                self.attributes |= MountAttrFlags::MOUNT_ATTR_STRICTATIME.bits();
            }
            "relatime" | "atime" | "norelatime" | "nostrictatime" => self.attributes &= !times,
            "inode32" | "inode64" | "noswap" => {
                self.data.push((option.to_owned(), None));
            }
            // A fresh file system is written to memory at once and shared with nobody.
            "" | "defaults" | "async" | "sync" | "dirsync" | "private" | "rprivate" | "slave"
            | "rslave" | "shared" | "rshared" | "unbindable" | "runbindable" => {}
            _ => return Err(unknown()),
        }
        Ok(())
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.data.iter().any(|(known, _)| known == key)
    }

    pub(crate) fn set(&mut self, key: &str, value: String) {
        self.data.push((key.to_owned(), Some(value)));
    }
}

/// A detached memory file system for the container's `target`. It is writable: see [`Options::read_only`].
pub(crate) fn create(target: &str, options: &Options) -> Result<OwnedFd, StartError> {
    let what = || format!("cannot mount tmpfs on {target}");
    let filesystem =
        rustix::mount::fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC).during("mount", what)?;
    // What lists of mounts show as the device.
    rustix::mount::fsconfig_set_string(filesystem.as_fd(), "source", "tmpfs")
        .during("mount", what)?;
    for (key, value) in &options.data {
        match value {
            Some(value) => {
                rustix::mount::fsconfig_set_string(filesystem.as_fd(), key, value.as_str())
                    .during("mount", || {
                        format!("{}: invalid option {key}={value}", what())
                    })?;
            }
            None => rustix::mount::fsconfig_set_flag(filesystem.as_fd(), key)
                .during("mount", || format!("{}: invalid option {key}", what()))?,
        }
    }
    rustix::mount::fsconfig_create(filesystem.as_fd()).during("mount", what)?;
    rustix::mount::fsmount(
        filesystem.as_fd(),
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::from_bits_retain(options.attributes),
    )
    .during("mount", what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_options_win() {
        let options = |list: &[&str]| {
            Options::parse(&list.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        let parsed = options(&[
            "noexec,nosuid,nodev",
            "rprivate",
            "size=1m",
            "exec",
            "size=2m,mode=1777,ro",
        ])
        .unwrap();
        let flags = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
        assert_eq!(parsed.attributes, flags.bits());
        assert_eq!(
            parsed.data,
            [("size", "2m"), ("mode", "1777")]
                .map(|(key, value)| (key.to_owned(), Some(value.to_owned())))
        );
        assert!(parsed.read_only);
        assert!(parsed.has("mode") && !parsed.has("uid"));
        for bad in ["wat", "lowerdir=/", "size"] {
            let error = options(&[bad]).unwrap_err();
            assert_eq!(error.message, format!("invalid tmpfs option [\"{bad}\"]"));
        }
    }
}
