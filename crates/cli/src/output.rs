//! What the client prints, whoever reads it: `print!` and the like, with an end when nobody does.
//!
//! * A pipe whose reader has left (`orlop volume ls | head`) ends the client in silence with the code that shells give for
//!   SIGPIPE, as it ends docker's. The signal itself stays ignored, for a connection that breaks must be told.
//! * Any other failure of standard output, a full disk for instance, is told and is exit code 1.
//! * That standard error cannot be written changes nothing: there is nowhere left to say so.

use std::fmt::Arguments;
use std::io::{self, Write as _};

/// What a shell says of a program that SIGPIPE ended.
const NOBODY_READS: i32 = 128 + 13;

macro_rules! print {
    ($($text:tt)*) => { $crate::output::out(format_args!($($text)*), "") };
}

macro_rules! println {
    () => { $crate::output::out(format_args!(""), "\n") };
    ($($text:tt)*) => { $crate::output::out(format_args!($($text)*), "\n") };
}

macro_rules! eprint {
    ($($text:tt)*) => { $crate::output::err(format_args!($($text)*), "") };
}

macro_rules! eprintln {
    () => { $crate::output::err(format_args!(""), "\n") };
    ($($text:tt)*) => { $crate::output::err(format_args!($($text)*), "\n") };
}

#[expect(
    clippy::exit,
    clippy::disallowed_methods,
    reason = "nothing that the client still holds matters to who does not read it"
)]
pub(crate) fn out(text: Arguments<'_>, end: &str) {
    let mut out = io::stdout().lock();
    match out
        .write_fmt(text)
        .and_then(|()| out.write_all(end.as_bytes()))
    {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(NOBODY_READS),
        Err(error) => {
            eprintln!("write /dev/stdout: {}", crate::failure::plain(&error));
            std::process::exit(1);
        }
    }
}

pub(crate) fn err(text: Arguments<'_>, end: &str) {
    let mut err = io::stderr().lock();
    // Told nowhere, as said above.
    err.write_fmt(text)
        .and_then(|()| err.write_all(end.as_bytes()))
        .ok();
}
