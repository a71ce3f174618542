//! A server that speaks S3: `s3rver`, which npm has.

use std::path::PathBuf;
use std::process::Command;

use crate::target_dir;

/// Gets the server from npm, once; without npm or its registry there is none.
pub fn install_s3_server() {
    let directory = target_dir().join("s3rver");
    if directory.join("node_modules/.bin/s3rver").exists() {
        return;
    }
    std::fs::create_dir_all(&directory).unwrap();
    let mut command = Command::new("npm");
    command
        .args(["install", "--no-audit", "--no-fund", "--silent"])
        .arg("s3rver@3.7.1")
        .current_dir(&directory);
    if !command.output().is_ok_and(|output| output.status.success()) {
        eprintln!("no S3 server could be installed from npm");
    }
}

/// The program, if it is installed; a skip otherwise.
#[must_use]
pub(crate) fn s3_server() -> Option<PathBuf> {
    let program = target_dir().join("s3rver/node_modules/.bin/s3rver");
    if !program.exists() {
        eprintln!("SKIPPED: an S3 server needs npm and its registry");
        return None;
    }
    Some(program)
}
