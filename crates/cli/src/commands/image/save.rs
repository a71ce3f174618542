//! `save`, and writing a stream to a file or standard output.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use clap::Args as ClapArgs;

use crate::failure::{Failure, Outcome};
use crate::http::{Body, Client, Query};
use crate::interrupt::{self, HalfMade};
use crate::render::progress::{Counted, bar};

#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Write to a file, instead of STDOUT
    #[arg(short, long, value_name = "string")]
    output: Option<PathBuf>,
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

impl Args {
    pub(crate) fn run(&self, client: &Client) -> Outcome<i32> {
        write_out(self.output.as_deref(), || {
            let mut path = Query::new("/images/get");
            for image in &self.images {
                path = path.set("names", image);
            }
            Ok(Counted {
                reader: client.send("GET", &path.build(), Body::Empty)?.body,
                bar: bar("Saving", 0),
            })
        })?;
        Ok(0)
    }
}

/// Writes what `open` gives to `output`, or to standard output if that is no terminal. A file appears only when it is
/// complete.
pub(crate) fn write_out<R: Read>(
    output: Option<&Path>,
    open: impl FnOnce() -> Outcome<R>,
) -> Outcome<()> {
    let Some(output) = output else {
        if crate::terminal::stdout_is_terminal() {
            return Err(Failure::new(
                "cowardly refusing to save to a terminal. Use the -o flag or redirect",
            ));
        }
        interrupt::ends_cleanly()?;
        io::copy(&mut open()?, &mut io::stdout().lock())?;
        return Ok(());
    };
    // The finished file takes the place of what is there: never that of a device.
    if let Ok(there) = std::fs::metadata(output)
        && !there.is_file()
    {
        let kind = there.file_type();
        let what = match () {
            () if kind.is_char_device() => "a character device file",
            () if kind.is_block_device() => "a block device file",
            () if kind.is_dir() => "a directory",
            () => "an irregular file",
        };
        return Err(Failure::new(format!(
            "invalid output path \"{}\": cannot write to {what}",
            output.display()
        )));
    }
    let failed =
        |error: io::Error| Failure::new(format!("failed to write {}: {error}", output.display()));
    interrupt::ends_cleanly()?;
    let mut reader = open()?;
    let mut part = output.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let _half_made = HalfMade::new(&part);
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(&part)
        .and_then(|mut file| io::copy(&mut reader, &mut file).and_then(|_| file.sync_all()));
    publish(written, &part, output).map_err(failed)
}

#[expect(
    clippy::disallowed_methods,
    reason = "a file of the user's, not of the engine's state"
)]
fn publish(written: io::Result<()>, part: &Path, output: &Path) -> io::Result<()> {
    match written {
        Ok(()) => std::fs::rename(part, output),
        Err(error) => {
            // What is incomplete shall not be taken for an archive.
            drop(std::fs::remove_file(part));
            Err(error)
        }
    }
}
