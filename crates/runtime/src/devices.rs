//! Devices of a container: which nodes /dev gets, and what the device cgroup lets through.

use std::fmt;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{FileType, Mode};
use shim_protocol::StartError;
use shim_protocol::spec::RunSpec;
use sys::device_filter::{Kind, Rule};

use crate::failure::{During as _, failed};

/// A node to be made in the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    /// Path on the host, for hosts on which nodes cannot be made.
    pub(crate) source: std::path::PathBuf,
    /// Path in the container.
    pub(crate) target: String,
    pub(crate) kind: Kind,
    pub(crate) major: u32,
    pub(crate) minor: u32,
    pub(crate) mode: Mode,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// One line for the device cgroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DeviceRule {
    pub(crate) kind: Option<Kind>,
    pub(crate) major: Option<u32>,
    pub(crate) minor: Option<u32>,
    pub(crate) read: bool,
    pub(crate) write: bool,
    pub(crate) mknod: bool,
    /// Everybody gets it, nobody asked for it.
    pub(crate) default: bool,
}

/// What the device cgroup is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DeviceRules {
    /// Nothing: a new group has all that its parent has.
    Everything,
    Only(Vec<DeviceRule>),
}

/// Nodes and rules of one container.
#[derive(Debug)]
pub(crate) struct Devices {
    pub(crate) nodes: Vec<Node>,
    pub(crate) rules: DeviceRules,
}

/// Always allowed: making any node, and using those that every container has.
fn defaults() -> Vec<DeviceRule> {
    let all = |kind| DeviceRule {
        kind: Some(kind),
        major: None,
        minor: None,
        read: false,
        write: false,
        mknod: true,
        default: true,
    };
    let usable = |major, minor| DeviceRule {
        major: Some(major),
        minor,
        read: true,
        write: true,
        ..all(Kind::Character)
    };
    let mut rules = vec![all(Kind::Character), all(Kind::Block)];
    // null, zero, full, random, urandom; tty, console, ptmx; every pts.
    rules.extend([3, 5, 7, 8, 9].map(|minor| usable(1, Some(minor))));
    rules.extend([0, 1, 2].map(|minor| usable(5, Some(minor))));
    rules.push(usable(136, None));
    rules
}

impl Devices {
    pub(crate) fn of(spec: &RunSpec) -> Result<Self, StartError> {
        if spec.privileged {
            let mut nodes = Vec::new();
            every_node(Path::new("/dev"), &mut nodes)?;
            return Ok(Self {
                nodes,
                rules: DeviceRules::Everything,
            });
        }
        let (mut nodes, mut rules) = (Vec::new(), defaults());
        for device in &spec.devices {
            let first = nodes.len();
            gather(&device.source, &device.target, &mut nodes)?;
            let has = |letter| device.access.is_empty() || device.access.contains(letter);
            rules.extend(nodes[first..].iter().map(|node| DeviceRule {
                kind: Some(node.kind),
                major: Some(node.major),
                minor: Some(node.minor),
                read: has('r'),
                write: has('w'),
                mknod: has('m'),
                default: false,
            }));
        }
        for text in &spec.device_rules {
            let rule = parse(text).ok_or_else(|| {
                failed(
                    "devices",
                    format!("invalid device cgroup rule format: '{text}'"),
                )
            })?;
            rules.push(rule);
        }
        let everything = rules.iter().any(|rule| {
            rule.kind.is_none()
                && rule.major.is_none()
                && rule.minor.is_none()
                && rule.read
                && rule.write
                && rule.mknod
        });
        let rules = if everything {
            DeviceRules::Everything
        } else {
            DeviceRules::Only(rules)
        };
        Ok(Self { nodes, rules })
    }
}

/// Adds the node at `source`, or every node below it when it is a directory.
fn gather(source: &Path, target: &str, nodes: &mut Vec<Node>) -> Result<(), StartError> {
    let what =
        || format!("error gathering device information while adding custom device {source:?}");
    let stat = rustix::fs::stat(source).during("devices", what)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => {
            let entries = std::fs::read_dir(source).during("devices", what)?;
            for entry in entries {
                let entry = entry.during("devices", what)?;
                let below = format!(
                    "{}/{}",
                    target.trim_end_matches('/'),
                    entry.file_name().display()
                );
                let kind = entry.file_type().during("devices", what)?;
                if kind.is_dir() || is_node(&entry.path()) {
                    gather(&entry.path(), &below, nodes)?;
                }
            }
            Ok(())
        }
        FileType::CharacterDevice | FileType::BlockDevice => {
            nodes.push(node(source, target, &stat));
            Ok(())
        }
        _ => Err(failed("devices", format!("{}: not a device node", what()))),
    }
}

fn is_node(path: &Path) -> bool {
    rustix::fs::stat(path).is_ok_and(|stat| {
        matches!(
            FileType::from_raw_mode(stat.st_mode),
            FileType::CharacterDevice | FileType::BlockDevice
        )
    })
}

fn node(source: &Path, target: &str, stat: &rustix::fs::Stat) -> Node {
    let block = FileType::from_raw_mode(stat.st_mode) == FileType::BlockDevice;
    Node {
        source: source.to_owned(),
        target: target.to_owned(),
        kind: if block { Kind::Block } else { Kind::Character },
        major: rustix::fs::major(stat.st_rdev),
        minor: rustix::fs::minor(stat.st_rdev),
        mode: Mode::from_raw_mode(stat.st_mode & 0o7777),
        uid: stat.st_uid,
        gid: stat.st_gid,
    }
}

/// Every node of the host's /dev, but for what is per container: terminals, shared memory, message queues.
fn every_node(directory: &Path, nodes: &mut Vec<Node>) -> Result<(), StartError> {
    const OWN: [&[u8]; 7] = [
        b"pts",
        b"shm",
        b"fd",
        b"mqueue",
        b".lxc",
        b".lxd-mounts",
        b".udev",
    ];
    let what = || format!("cannot list the devices in {}", directory.display());
    // A directory of nodes may go away like a node, see below.
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        other => other.during("devices", what)?,
    };
    for entry in entries {
        let entry = entry.during("devices", what)?;
        let (path, name) = (entry.path(), entry.file_name());
        let kind = entry.file_type().during("devices", what)?;
        if kind.is_dir() {
            if !OWN.contains(&name.as_bytes()) {
                every_node(&path, nodes)?;
            }
        } else if !kind.is_symlink() && name != "console" && name != "tty" && name != "ptmx" {
            // A node may go away while the list is read (a disk is unplugged); that is no reason to fail.
            if let (Ok(stat), Some(target)) = (rustix::fs::stat(&path), path.to_str())
                && matches!(
                    FileType::from_raw_mode(stat.st_mode),
                    FileType::CharacterDevice | FileType::BlockDevice
                )
            {
                nodes.push(node(&path, target, &stat));
            }
        }
    }
    Ok(())
}

/// Reads `c 1:3 rwm`, with `*` for any number and `a` for both kinds.
fn parse(text: &str) -> Option<DeviceRule> {
    let mut words = text.split_whitespace();
    let kind = match words.next()? {
        "a" => None,
        "b" => Some(Kind::Block),
        "c" => Some(Kind::Character),
        _ => return None,
    };
    let (major, minor) = words.next()?.split_once(':')?;
    let number = |text: &str| match text {
        "*" => Some(None),
        text => text.parse().ok().map(Some),
    };
    let (major, minor, access) = (number(major)?, number(minor)?, words.next()?);
    if words.next().is_some() || access.chars().any(|letter| !"rwm".contains(letter)) {
        return None;
    }
    let has = |letter| access.contains(letter);
    Some(DeviceRule {
        kind,
        major,
        minor,
        read: has('r'),
        write: has('w'),
        mknod: has('m'),
        default: false,
    })
}

impl DeviceRule {
    pub(crate) fn filter(&self) -> Rule {
        Rule {
            kind: self.kind,
            major: self.major,
            minor: self.minor,
            read: self.read,
            write: self.write,
            mknod: self.mknod,
        }
    }
}

impl fmt::Display for DeviceRule {
    /// As `devices.allow` wants it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            None => 'a',
            Some(Kind::Block) => 'b',
            Some(Kind::Character) => 'c',
        };
        let number =
            |value: Option<u32>| value.map_or_else(|| "*".to_owned(), |number| number.to_string());
        write!(f, "{kind} {}:{} ", number(self.major), number(self.minor))?;
        for (has, letter) in [(self.read, "r"), (self.write, "w"), (self.mknod, "m")] {
            if has {
                f.write_str(letter)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_and_written_alike() {
        for text in ["c 1:3 rwm", "b *:* m", "a *:* rwm", "c 136:* rw", "b 8:0 r"] {
            assert_eq!(
                parse(text).map(|rule| rule.to_string()).as_deref(),
                Some(text)
            );
        }
        for text in [
            "",
            "c",
            "c 1 r",
            "d 1:1 r",
            "c 1:x r",
            "c 1:1 rx",
            "c 1:1 r w",
            "c -1:1 r",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
