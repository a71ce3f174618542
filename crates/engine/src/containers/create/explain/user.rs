//! Whom a container would run as, and what that user may write to.

use std::fmt;
use std::fs::Metadata;
use std::io::Read as _;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{FileType, OFlags};
use sys::dir::Stat;

/// Whom the container runs as.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct User {
    uid: u32,
    /// The first one is shown.
    gids: Vec<u32>,
}

/// Whose a file or directory is, and what it allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Owner {
    uid: u32,
    gid: u32,
    mode: u32,
}

impl Owner {
    /// Of a directory that is made for a mount.
    pub(super) const ROOT: Self = Self {
        uid: 0,
        gid: 0,
        mode: 0o40_755,
    };
}

impl From<&Metadata> for Owner {
    fn from(metadata: &Metadata) -> Self {
        Self {
            uid: metadata.uid(),
            gid: metadata.gid(),
            mode: metadata.mode(),
        }
    }
}

impl From<&Stat> for Owner {
    fn from(stat: &Stat) -> Self {
        Self {
            uid: stat.uid,
            gid: stat.gid,
            mode: stat.mode,
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}, mode {:o}",
            self.uid,
            self.gid,
            self.mode & 0o7777
        )
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gid = self.gids.first().copied().unwrap_or(0);
        write!(f, "{}:{gid}", self.uid)
    }
}

impl User {
    /// `name`, `uid`, `name:group`, `uid:gid` by the image's own files, with `more` groups; what cannot be resolved counts as root.
    pub(super) fn of(root: BorrowedFd<'_>, text: &str, more: &[String]) -> Self {
        Self::resolve(
            text,
            more,
            &file(root, "/etc/passwd"),
            &file(root, "/etc/group"),
        )
    }

    fn resolve(text: &str, more: &[String], passwd: &str, groups: &str) -> Self {
        let (name, group) = text.split_once(':').unwrap_or((text, ""));
        let known = entries(passwd)
            .find(|fields| fields.len() > 3 && (fields[0] == name || fields[2] == name));
        let number = |text: &str| text.parse::<u32>().unwrap_or(0);
        let (uid, gid) = match &known {
            Some(fields) => (number(fields[2]), number(fields[3])),
            None => (number(name), 0),
        };
        let gid_of = |group: &str| -> Option<u32> {
            let mut named = entries(groups).filter(|fields| fields.len() > 2 && fields[0] == group);
            (group.parse().ok()).or_else(|| named.next()?[2].parse().ok())
        };
        let mut gids = vec![gid_of(group).unwrap_or(gid)];
        // A group that was asked for takes the place of those that the user is in.
        if let (Some(fields), true) = (&known, group.is_empty()) {
            let has = |group: &[&str]| {
                group.len() > 3 && group[3].split(',').any(|member| member == fields[0])
            };
            gids.extend(
                entries(groups)
                    .filter(|group| has(group))
                    .filter_map(|group| group[2].parse::<u32>().ok()),
            );
        }
        gids.extend(more.iter().filter_map(|group| gid_of(group)));
        Self { uid, gids }
    }

    /// Whether the user can change the file, or make entries in the directory.
    pub(super) fn may_write(&self, owner: Owner) -> bool {
        let bits = if self.uid == 0 {
            return true;
        } else if self.uid == owner.uid {
            owner.mode >> 6
        } else if self.gids.contains(&owner.gid) {
            owner.mode >> 3
        } else {
            owner.mode
        };
        let wanted = match FileType::from_raw_mode(owner.mode) {
            FileType::Directory => 0o3,
            _ => 0o2,
        };
        bits & wanted == wanted
    }
}

/// The lines of a database of users or groups.
fn entries(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines().map(|line| line.split(':').collect())
}

fn file(root: BorrowedFd<'_>, path: &str) -> String {
    const MOST: u64 = 1 << 20;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut text = String::new();
    if let Ok(file) = sys::dir::open_in_root(root, Path::new(path), flags)
        && std::fs::File::from(file)
            .take(MOST)
            .read_to_string(&mut text)
            .is_err()
    {
        text.clear();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_write() {
        let user = |uid, gids: &[u32]| User {
            uid,
            gids: gids.to_vec(),
        };
        for (user, uid, gid, mode, may) in [
            (user(0, &[0]), 1, 1, 0o40_700, true),
            (user(5, &[5]), 5, 0, 0o40_700, true),
            (user(5, &[5]), 0, 5, 0o40_770, true),
            (user(5, &[5, 7]), 0, 7, 0o40_770, true),
            (user(5, &[5]), 0, 0, 0o40_755, false),
            (user(5, &[5]), 0, 0, 0o40_777, true),
            (user(5, &[5]), 5, 5, 0o40_077, false),
            // A directory that cannot be entered; a file is not.
            (user(5, &[5]), 5, 5, 0o40_600, false),
            (user(5, &[5]), 5, 5, 0o100_600, true),
            (user(5, &[5]), 0, 0, 0o100_644, false),
        ] {
            let owner = Owner { uid, gid, mode };
            assert_eq!(user.may_write(owner), may, "{user:?} {mode:o}");
        }
    }

    #[test]
    fn users_and_their_groups() {
        const PASSWD: &str = "root:x:0:0::/root:/bin/sh\nweb:x:33:34::/:/bin/sh\n";
        const GROUPS: &str = "root:x:0:\nweb:x:34:\nlogs:x:4:other,web\ndisk:x:6:\n";
        let more = ["disk".to_owned(), "99".to_owned()];
        for (text, more, uid, gids) in [
            ("", &[][..], 0, vec![0]),
            ("web", &[][..], 33, vec![34, 4]),
            ("33", &more[..], 33, vec![34, 4, 6, 99]),
            ("web:disk", &[][..], 33, vec![6]),
            ("1000", &[][..], 1000, vec![0]),
            ("1000:1001", &more[..1], 1000, vec![1001, 6]),
        ] {
            let user = User::resolve(text, more, PASSWD, GROUPS);
            assert_eq!(user, User { uid, gids }, "{text:?}");
        }
    }
}
