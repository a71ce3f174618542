//! A container's control groups, as the engine reads them.

use std::fs;
use std::io;
use std::path::PathBuf;

use sys::cgroup::{Layout, layout};

/// The groups of one container, whatever the host's arrangement.
#[derive(Debug)]
pub(crate) struct Group {
    layout: Layout,
    name: String,
}

impl Group {
    pub(crate) fn of(tag: &str, container: &str) -> io::Result<Self> {
        Ok(Self {
            layout: layout()?,
            name: format!("orlop-{tag}/{container}"),
        })
    }

    pub(crate) fn is_unified(&self) -> bool {
        matches!(self.layout, Layout::V2(_))
    }

    /// The directory in which a controller's files are; `None` when the host lacks the controller.
    pub(crate) fn path(&self, controller: &str) -> Option<PathBuf> {
        match &self.layout {
            Layout::V2(root) => Some(root.join(&self.name)),
            Layout::V1(hierarchies) => hierarchies
                .iter()
                .find(|hierarchy| {
                    hierarchy
                        .controllers
                        .iter()
                        .any(|known| known == controller)
                })
                .map(|hierarchy| hierarchy.mount_point.join(&self.name)),
            Layout::Absent => None,
        }
    }

    /// Host pids of all processes in the container; empty when it has none.
    pub(crate) fn pids(&self) -> io::Result<Vec<i32>> {
        let Some(directory) = ["pids", "freezer", "memory", "cpu"]
            .iter()
            .find_map(|name| self.path(name))
        else {
            return Ok(Vec::new());
        };
        match fs::read_to_string(directory.join("cgroup.procs")) {
            Ok(text) => Ok(text.lines().filter_map(|line| line.parse().ok()).collect()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }
}
