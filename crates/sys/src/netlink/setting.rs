//! Kernel settings below `/proc/sys`. Those under `net` belong to the calling thread's network namespace.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::Path;

/// The value of `name` (`net/ipv4/ip_forward`), without the line's end. `None` when the kernel has no such setting.
pub fn read_setting(name: &str) -> io::Result<Option<String>> {
    let mut file = match File::open(Path::new("/proc/sys").join(name)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok(Some(text.trim_end().to_owned()))
}

/// Sets `name` to `value` unless it has it already, so that it also works where `/proc/sys` is read-only but right.
pub fn write_setting(name: &str, value: &str) -> io::Result<()> {
    if read_setting(name)?.as_deref() == Some(value) {
        return Ok(());
    }
    File::options()
        .write(true)
        .open(Path::new("/proc/sys").join(name))?
        .write_all(value.as_bytes())
}
