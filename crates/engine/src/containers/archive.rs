//! `cp`: files into and out of a container, running or not, volumes included.

use std::io::{Read, Write};

use super::{ContainerError, Containers};

#[derive(Debug, Clone)]
pub struct ArchiveStat {
    pub name: String,
    pub size: i64,
    /// Go's `os.FileMode` bits.
    pub mode: u32,
    /// RFC 3339.
    pub mtime: String,
    pub link_target: String,
}

#[derive(Debug, Clone, Copy, Default)]
pub struct PutOptions {
    pub no_overwrite_dir_non_dir: bool,
    /// Keep uid and gid of the archive.
    pub copy_uid_gid: bool,
}

impl Containers {
    pub fn archive_stat(&self, reference: &str, path: &str) -> Result<ArchiveStat, ContainerError> {
        todo!()
    }

    /// Calls `begin` with the stat, then writes a tar stream of `path` to what it returns.
    pub fn archive_get(
        &self,
        reference: &str,
        path: &str,
        begin: &mut dyn FnMut(ArchiveStat) -> Box<dyn Write + Send>,
    ) -> Result<(), ContainerError> {
        todo!()
    }

    /// Unpacks a tar stream (plain, gzip, zstd) into the directory `path`.
    pub fn archive_put(
        &self,
        reference: &str,
        path: &str,
        tar: &mut (dyn Read + Send),
        options: PutOptions,
    ) -> Result<(), ContainerError> {
        todo!()
    }
}
