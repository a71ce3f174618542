//! A container's control groups, as the engine reads them.

use std::collections::BTreeSet;
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

    /// Ids of all containers of an engine that have a group.
    pub(crate) fn all(tag: &str) -> io::Result<BTreeSet<String>> {
        let name = format!("orlop-{tag}");
        let directories = match layout()? {
            Layout::V2(root) => vec![root.join(&name)],
            Layout::V1(hierarchies) => hierarchies
                .into_iter()
                .map(|hierarchy| hierarchy.mount_point.join(&name))
                .collect(),
            Layout::Absent => Vec::new(),
        };
        let mut ids = BTreeSet::new();
        for directory in directories {
            let entries = match fs::read_dir(&directory) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                other => other?,
            };
            for entry in entries {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    ids.extend(entry.file_name().into_string());
                }
            }
        }
        Ok(ids)
    }

    /// Whether any of the groups is there.
    pub(crate) fn exists(&self) -> io::Result<bool> {
        let any = match &self.layout {
            Layout::V2(root) => root.join(&self.name).try_exists()?,
            Layout::V1(hierarchies) => hierarchies
                .iter()
                .any(|hierarchy| hierarchy.mount_point.join(&self.name).exists()),
            Layout::Absent => false,
        };
        Ok(any)
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
