//! Executing the program, and saying why not in the words that Docker's users know.

use std::ffi::CString;

use rustix::io::Errno;
use shim_protocol::StartError;
use sys::process::Image;

use crate::failure::{failed, text};

const NOT_FOUND: i32 = 127;
const NOT_EXECUTABLE: i32 = 126;

/// A program ready to be executed.
#[derive(Debug)]
pub(crate) struct Command {
    name: String,
    image: Image,
    /// Directories to search; none for a name with a slash.
    path: Option<String>,
}

impl Command {
    /// `env` is complete; its PATH is searched.
    pub(crate) fn new(args: &[String], env: &[String]) -> Result<Self, StartError> {
        let name = args.first().cloned().unwrap_or_default();
        let path = (!name.contains('/')).then(|| {
            let last = env.iter().rev().find_map(|pair| pair.strip_prefix("PATH="));
            last.unwrap_or_default().to_owned()
        });
        let image = Image::new(args, env)
            .map_err(|_| failed("exec", format!("exec: {name:?}: argument with a NUL in it")))?;
        Ok(Self { name, image, path })
    }

    /// Replaces this process. Comes back only with the reason why not.
    pub(crate) fn execute(&self) -> StartError {
        let Some(path) = &self.path else {
            return self.try_one(&self.name);
        };
        for directory in path.split(':').filter(|_| !self.name.is_empty()) {
            // An empty entry would mean the working directory, whose files nobody meant to run by name.
            if !directory.starts_with('/') {
                continue;
            }
            let full = format!("{}/{}", directory.trim_end_matches('/'), self.name);
            let Ok(file) = CString::new(full.as_str()) else {
                break;
            };
            let error = self.image.execute(&file);
            match Errno::from_io_error(&error) {
                Some(Errno::NOENT) if !exists(&full) => {}
                Some(Errno::NOTDIR | Errno::ACCESS | Errno::LOOP | Errno::NAMETOOLONG) => {}
                _ => return self.reason(&full, &error),
            }
        }
        let message = format!("exec: {:?}: executable file not found in $PATH", self.name);
        StartError {
            code: NOT_FOUND,
            ..failed("exec", message)
        }
    }

    fn try_one(&self, path: &str) -> StartError {
        match CString::new(path) {
            Ok(file) => self.reason(path, &self.image.execute(&file)),
            Err(_) => failed("exec", format!("exec: {path:?}: invalid argument")),
        }
    }

    fn reason(&self, path: &str, error: &std::io::Error) -> StartError {
        let name = &self.name;
        let (code, message) = match Errno::from_io_error(error) {
            // The file is there: it is its interpreter that is not.
            Some(Errno::NOENT) if exists(path) => {
                (NOT_FOUND, format!("exec {path}: no such file or directory"))
            }
            Some(Errno::NOENT | Errno::NOTDIR) => (
                NOT_FOUND,
                format!("exec: {name:?}: stat {path}: {}", text(error)),
            ),
            Some(Errno::ACCESS) => {
                let directory = std::fs::metadata(path).is_ok_and(|meta| meta.is_dir());
                let why = if directory {
                    "is a directory"
                } else {
                    "permission denied"
                };
                (NOT_EXECUTABLE, format!("exec: {name:?}: {why}"))
            }
            _ => (NOT_EXECUTABLE, format!("exec {path}: {}", text(error))),
        };
        StartError {
            code,
            ..failed("exec", message)
        }
    }
}

fn exists(path: &str) -> bool {
    std::fs::symlink_metadata(path).is_ok()
}
