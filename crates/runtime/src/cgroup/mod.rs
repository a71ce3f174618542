//! The control groups of one container: made, limited, frozen, killed and removed as one thing on v1 and v2.
//!
//! On v1 it is one directory `orlop-<tag>/<id>` in each hierarchy that has a controller, on v2 one directory. Limits that
//! the specification does not name are left as the kernel has them; limits that it names and the kernel refuses are errors.

mod remove;
mod v1;
mod v2;

use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use shim_protocol::spec::{Resources, RunSpec};
use sys::cgroup::Layout;

use crate::devices::DeviceRules;

#[derive(Debug, thiserror::Error)]
pub(crate) enum CgroupError {
    #[error("cannot find the control groups of this host")]
    Layout(#[source] io::Error),
    #[error("cannot make control group {}", path.display())]
    Make {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot join control group {}", path.display())]
    Join {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot set {} to {value}", path.display())]
    Write {
        path: PathBuf,
        value: String,
        #[source]
        source: io::Error,
    },
    #[error("cannot read {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot signal process {pid}")]
    Kill {
        pid: i32,
        #[source]
        source: io::Error,
    },
    #[error("this host has no {controller} control group, so the limit on {what} cannot be kept")]
    Missing {
        controller: &'static str,
        what: &'static str,
    },
    #[error("cannot limit the devices of control group {}", path.display())]
    Devices {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot limit input and output of {device}")]
    BlockDevice {
        device: String,
        #[source]
        source: io::Error,
    },
    #[error("control group {} is still in use", path.display())]
    InUse { path: PathBuf },
    #[error("control group {} does not freeze", path.display())]
    Freeze { path: PathBuf },
}

impl CgroupError {
    /// The error and its causes in one line.
    pub(crate) fn sentence(&self) -> String {
        match std::error::Error::source(self) {
            Some(source) => match source.downcast_ref::<io::Error>() {
                Some(error) => format!("{self}: {}", crate::failure::text(error)),
                None => format!("{self}: {source}"),
            },
            None => self.to_string(),
        }
    }

    fn kind(&self) -> io::ErrorKind {
        std::error::Error::source(self)
            .and_then(|source| source.downcast_ref::<io::Error>())
            .map_or(io::ErrorKind::Other, io::Error::kind)
    }
}

impl From<CgroupError> for io::Error {
    fn from(error: CgroupError) -> Self {
        Self::new(error.kind(), error.sentence())
    }
}

/// The control groups of one container, made or not.
#[derive(Debug)]
pub(crate) enum Cgroup {
    V1(v1::Groups),
    V2(v2::Group),
    /// The host has none: limits cannot be kept, everything else works.
    Absent,
}

impl Cgroup {
    pub(crate) fn of(spec: &RunSpec) -> Result<Self, CgroupError> {
        let parent = format!("orlop-{}", spec.tag);
        Ok(match layout().map_err(CgroupError::Layout)? {
            Layout::V1(hierarchies) => Self::V1(v1::Groups::new(
                hierarchies.clone(),
                Path::new(&parent),
                Path::new(&spec.id),
            )),
            Layout::V2(mount_point) => Self::V2(v2::Group::new(
                mount_point.clone(),
                Path::new(&parent),
                Path::new(&spec.id),
            )),
            Layout::Absent => Self::Absent,
        })
    }

    /// Makes the groups and sets the limits. What is there already (from a start that was cut short) is used.
    pub(crate) fn make(
        &self,
        resources: &Resources,
        devices: &DeviceRules,
    ) -> Result<(), CgroupError> {
        match self {
            Self::V1(groups) => {
                groups.make()?;
                groups.limit(resources)?;
                groups.limit_devices(devices)
            }
            Self::V2(group) => {
                group.make(resources)?;
                group.limit(resources)?;
                group.limit_devices(devices)
            }
            Self::Absent => Ok(()),
        }
    }

    /// Directory into which clone3 can put a process, where the kernel can.
    pub(crate) fn open_for_clone(&self) -> Result<Option<std::os::fd::OwnedFd>, CgroupError> {
        match self {
            Self::V2(group) => group.open().map(Some),
            Self::V1(_) | Self::Absent => Ok(None),
        }
    }

    /// Puts the calling process into the groups, unless clone3 has done it.
    pub(crate) fn join(&self) -> Result<(), CgroupError> {
        match self {
            Self::V1(groups) => groups.join(),
            Self::V2(_) | Self::Absent => Ok(()),
        }
    }

    pub(crate) fn update(&self, resources: &Resources) -> Result<(), CgroupError> {
        match self {
            Self::V1(groups) => groups.limit(resources),
            Self::V2(group) => group.limit(resources),
            Self::Absent => Ok(()),
        }
    }

    /// Freezes or thaws all processes; comes back when it is done.
    pub(crate) fn freeze(&self, frozen: bool) -> Result<(), CgroupError> {
        match self {
            Self::V1(groups) => groups.freeze(frozen),
            Self::V2(group) => group.freeze(frozen),
            Self::Absent => Err(CgroupError::Missing {
                controller: "freezer",
                what: "running",
            }),
        }
    }

    pub(crate) fn oom_kills(&self) -> u64 {
        match self {
            Self::V1(groups) => groups.oom_kills(),
            Self::V2(group) => group.oom_kills(),
            Self::Absent => 0,
        }
    }

    /// Sends a signal to every process of the container.
    pub(crate) fn signal(&self, signal: i32) -> Result<(), CgroupError> {
        match self {
            Self::V2(group) if signal == remove::SIGKILL && group.kill()? => Ok(()),
            // One that may write to its cgroups can have left some of them, hardly all.
            Self::V1(_) | Self::V2(_) => remove::signal(&self.directories(), signal),
            Self::Absent => Ok(()),
        }
    }

    /// Kills what is left and removes the groups. Nothing there is success.
    pub(crate) fn remove(&self) -> Result<(), CgroupError> {
        let directories = self.directories();
        if !remove::processes(&directories)?.is_empty() {
            // A frozen process does not die.
            if let Err(error) = self.freeze(false)
                && !matches!(error, CgroupError::Missing { .. })
            {
                return Err(error);
            }
            self.signal(remove::SIGKILL)?;
            remove::wait_until_empty(&directories)?;
        }
        for directory in &directories {
            remove::remove(directory)?;
            // The engine's own group goes with its last container; while there are others it is busy.
            if let Some(parent) = directory.parent() {
                rustix::fs::rmdir(parent).ok();
            }
        }
        Ok(())
    }

    /// Where the groups are: v1 one for each hierarchy with its controllers, v2 one.
    pub(crate) fn directories(&self) -> Vec<PathBuf> {
        match self {
            Self::V1(groups) => groups.directories(),
            Self::V2(group) => vec![group.path().to_owned()],
            Self::Absent => Vec::new(),
        }
    }
}

/// Looked for once by a process: the list of all mounts is long on a host with many containers, and a freeze is short.
fn layout() -> io::Result<&'static Layout> {
    static FOUND: OnceLock<Layout> = OnceLock::new();
    match FOUND.get() {
        Some(found) => Ok(found),
        None => sys::cgroup::layout().map(|found| FOUND.get_or_init(|| found)),
    }
}

/// Writes a control file with one write.
fn write(path: &Path, value: &str) -> Result<(), CgroupError> {
    write_raw(path, value).map_err(|error| CgroupError::Write {
        path: path.to_owned(),
        value: value.to_owned(),
        source: error.into(),
    })
}

fn write_raw(path: &Path, value: &str) -> rustix::io::Result<()> {
    use rustix::fs::{Mode, OFlags};
    let file = rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    write_to(std::os::fd::AsFd::as_fd(&file), value)
}

fn write_to(file: BorrowedFd<'_>, value: &str) -> rustix::io::Result<()> {
    rustix::io::retry_on_intr(|| rustix::io::write(file, value.as_bytes())).map(drop)
}

fn read(path: &Path) -> Result<String, CgroupError> {
    std::fs::read_to_string(path).map_err(|source| CgroupError::Read {
        path: path.to_owned(),
        source,
    })
}

/// `name value` of a file of such lines.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
        .and_then(|value| value.trim().parse().ok())
}

/// `major:minor` of a block device by its path.
fn block_device(device: &str) -> Result<String, CgroupError> {
    let error = |source: io::Error| CgroupError::BlockDevice {
        device: device.to_owned(),
        source,
    };
    let stat = rustix::fs::stat(device).map_err(|errno| error(errno.into()))?;
    if rustix::fs::FileType::from_raw_mode(stat.st_mode) != rustix::fs::FileType::BlockDevice {
        return Err(error(io::Error::new(
            io::ErrorKind::InvalidInput,
            "not a block device",
        )));
    }
    let (major, minor) = (
        rustix::fs::major(stat.st_rdev),
        rustix::fs::minor(stat.st_rdev),
    );
    Ok(format!("{major}:{minor}"))
}

/// Period and quota in microseconds, from whichever of the two forms was given.
fn cpu_bandwidth(resources: &Resources) -> (Option<i64>, Option<i64>) {
    const PERIOD: i64 = 100_000;
    match resources.nano_cpus.filter(|cpus| *cpus > 0) {
        Some(cpus) => {
            // A hundred thousandth of a CPU is a microsecond each period; the kernel wants at least a millisecond.
            (Some(PERIOD), Some((cpus / 10_000).max(1000)))
        }
        None => (
            resources.cpu_period.filter(|period| *period > 0),
            resources.cpu_quota.filter(|quota| *quota != 0),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bandwidth_from_both_forms() {
        let cpus = |nano| Resources {
            nano_cpus: Some(nano),
            ..Resources::default()
        };
        assert_eq!(
            cpu_bandwidth(&cpus(1_500_000_000)),
            (Some(100_000), Some(150_000))
        );
        assert_eq!(cpu_bandwidth(&cpus(1)), (Some(100_000), Some(1000)));
        let quota = Resources {
            cpu_quota: Some(-1),
            ..Resources::default()
        };
        assert_eq!(cpu_bandwidth(&quota), (None, Some(-1)));
        assert_eq!(cpu_bandwidth(&Resources::default()), (None, None));
    }

    #[test]
    fn fields_by_whole_name() {
        let text = "oom 4\noom_kill 7\n";
        assert_eq!(field(text, "oom_kill"), Some(7));
        assert_eq!(field(text, "oom"), Some(4));
        assert_eq!(field(text, "kill"), None);
    }
}
