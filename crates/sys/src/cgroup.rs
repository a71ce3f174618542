//! Where this host's control groups are mounted.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

/// `CGROUP2_SUPER_MAGIC`.
const CGROUP2: u64 = 0x6367_7270;

/// One mounted cgroup v1 hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    /// `cpu`, `cpuacct` …; several when they are mounted together.
    pub controllers: Vec<String>,
    pub mount_point: PathBuf,
}

/// How this host's control groups are arranged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layout {
    /// Hierarchies with controllers; also when a controller-less v2 hierarchy is mounted beside them.
    V1(Vec<Hierarchy>),
    V2(PathBuf),
    /// None is mounted.
    Absent,
}

/// Finds the mounted control groups. One statfs on pure v2 hosts, else a reading of mountinfo.
pub fn layout() -> io::Result<Layout> {
    let usual = Path::new("/sys/fs/cgroup");
    if let Ok(stat) = rustix::fs::statfs(usual)
        && u64::try_from(stat.f_type).is_ok_and(|kind| kind == CGROUP2)
    {
        return Ok(Layout::V2(usual.to_owned()));
    }
    Ok(parse(&std::fs::read("/proc/self/mountinfo")?))
}

fn parse(mountinfo: &[u8]) -> Layout {
    let mut hierarchies: Vec<Hierarchy> = Vec::new();
    let mut unified = None;
    for line in mountinfo.split(|byte| *byte == b'\n') {
        let mut fields = line.split(|byte| *byte == b' ');
        let Some(mount_point) = fields.nth(4) else {
            continue;
        };
        let mut rest = fields.skip_while(|field| *field != b"-").skip(1);
        let (Some(kind), _, Some(options)) = (rest.next(), rest.next(), rest.next()) else {
            continue;
        };
        match kind {
            b"cgroup2" if unified.is_none() => unified = Some(unescape(mount_point)),
            b"cgroup" => {
                let options = String::from_utf8_lossy(options);
                if options.split(',').any(|option| option.starts_with("name=")) {
                    continue;
                }
                let controllers: Vec<String> = options
                    .split(',')
                    .filter(|option| !NOT_CONTROLLERS.contains(option))
                    .map(str::to_owned)
                    .collect();
                // A hierarchy may be mounted in several places; the first is as good as any.
                if !hierarchies
                    .iter()
                    .any(|known| known.controllers == controllers)
                {
                    hierarchies.push(Hierarchy {
                        controllers,
                        mount_point: unescape(mount_point),
                    });
                }
            }
            _ => {}
        }
    }
    match (hierarchies.is_empty(), unified) {
        (false, _) => Layout::V1(hierarchies),
        (true, Some(path)) => Layout::V2(path),
        (true, None) => Layout::Absent,
    }
}

/// Mount options of a v1 hierarchy that do not name a controller.
const NOT_CONTROLLERS: [&str; 9] = [
    "rw",
    "ro",
    "xattr",
    "noprefix",
    "clone_children",
    "none",
    "all",
    "cpuset_v2_mode",
    "favordynmods",
];

/// Undoes the kernel's `\040` for blanks and its like.
fn unescape(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        if let (
            b'\\',
            [
                a @ b'0'..=b'3',
                b @ b'0'..=b'7',
                c @ b'0'..=b'7',
                after @ ..,
            ],
        ) = (first, tail)
        {
            bytes.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
            rest = after;
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts() {
        let hybrid = b"31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n\
            32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
            33 31 0:30 / /sys/fs/cgroup/my\\040memory rw,relatime - cgroup cgroup rw,memory\n\
            40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n\
            41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let hierarchy = |controllers: &[&str], path: &str| Hierarchy {
            controllers: controllers.iter().map(ToString::to_string).collect(),
            mount_point: path.into(),
        };
        assert_eq!(
            parse(hybrid),
            Layout::V1(vec![
                hierarchy(&["cpu", "cpuacct"], "/sys/fs/cgroup/cpu,cpuacct"),
                hierarchy(&["memory"], "/sys/fs/cgroup/my memory"),
            ])
        );
        let pure = b"31 23 0:28 / /mnt/cg rw,relatime - cgroup2 cgroup2 rw,nsdelegate\n";
        assert_eq!(parse(pure), Layout::V2("/mnt/cg".into()));
        assert_eq!(
            parse(b"22 27 0:21 / /proc rw - proc proc rw\n"),
            Layout::Absent
        );
    }
}
