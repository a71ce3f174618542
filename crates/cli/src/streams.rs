//! The streams of a container on those of the client.

use std::io::{self, Read, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::http::Upgraded;
use crate::parse::keys::Watch;
use crate::terminal;

/// What is attached.
#[derive(Debug)]
pub(crate) struct Attached {
    /// Raw bytes from a terminal, else frames with docker's stream header.
    pub(crate) tty: bool,
    /// Standard input is sent; else the container sees its end at once.
    pub(crate) stdin: bool,
    /// Keys that end the attachment, of a terminal only.
    pub(crate) detach: Vec<u8>,
}

/// How an attachment ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The container's side closed.
    Closed,
    /// The detach keys were typed; the container goes on.
    Detached,
}

/// Copies until the container's side ends, or the detach keys are typed. A terminal is raw meanwhile.
pub(crate) fn run(upgraded: Upgraded, attached: Attached) -> io::Result<Ended> {
    let Upgraded { reader, writer } = upgraded;
    let tty = attached.tty;
    let _raw = if tty && attached.stdin {
        terminal::Raw::enter()
    } else {
        None
    };
    let detached = Arc::new(AtomicBool::new(false));
    if attached.stdin {
        let watch = tty.then(|| Watch::new(attached.detach));
        let detached = Arc::clone(&detached);
        // Not joined: a read of a terminal cannot be called off, and the process ends soon after us.
        drop(thread::spawn(move || forward(&writer, watch, &detached)));
    } else {
        writer.shutdown(Shutdown::Write).or_else(gone)?;
    }
    let copied = copy_out(reader, tty);
    if detached.load(Ordering::Acquire) {
        return Ok(Ended::Detached);
    }
    copied.map(|()| Ended::Closed)
}

/// The other side may have closed before us.
fn gone(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotConnected {
        Ok(())
    } else {
        Err(error)
    }
}

fn forward(mut writer: &UnixStream, mut watch: Option<Watch>, detached: &AtomicBool) {
    let mut buffer = [0; 32 << 10];
    let mut stdin = io::stdin().lock();
    loop {
        let count = match stdin.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Ok(0) | Err(_) => break,
            Ok(count) => count,
        };
        let sent = match watch.as_mut().map(|watch| watch.pass(&buffer[..count])) {
            None => writer.write_all(&buffer[..count]),
            Some(Some(passed)) => writer.write_all(&passed),
            Some(None) => {
                detached.store(true, Ordering::Release);
                // Wakes the reader; an engine that hung up has done so already.
                drop(writer.shutdown(Shutdown::Both));
                return;
            }
        };
        if sent.is_err() {
            break;
        }
    }
    // Closed by the other side already, or now by us: both mean the end of input.
    drop(writer.shutdown(Shutdown::Write));
}

/// Copies raw bytes, or demultiplexes frames to standard output and standard error.
pub(crate) fn copy_out(reader: impl Read, tty: bool) -> io::Result<()> {
    let (mut stdout, mut stderr) = (io::stdout().lock(), io::stderr().lock());
    let result = if tty {
        copy_raw(reader, &mut stdout)
    } else {
        copy_frames(reader, &mut stdout, &mut stderr)
    };
    match result {
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => stdout.flush(),
        result => result,
    }
}

fn copy_raw(mut reader: impl Read, out: &mut impl io::Write) -> io::Result<()> {
    let mut buffer = vec![0; 32 << 10];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return out.flush(),
            Ok(count) => {
                out.write_all(&buffer[..count])?;
                out.flush()?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn copy_frames(
    mut reader: impl Read,
    out: &mut impl io::Write,
    err: &mut impl io::Write,
) -> io::Result<()> {
    let mut buffer = vec![0; 32 << 10];
    loop {
        let mut header = [0; 8];
        match reader.read_exact(&mut header) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
        }
        let [stream, 0, 0, 0, a, b, c, d] = header else {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("unrecognized stream: {}", header[0]),
            ));
        };
        let mut left = u32::from_be_bytes([a, b, c, d]) as usize;
        while left > 0 {
            let most = left.min(buffer.len());
            let count = match reader.read(&mut buffer[..most]) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if stream >= 2 {
                err.write_all(&buffer[..count])?;
            } else {
                out.write_all(&buffer[..count])?;
                // Standard output keeps a line back otherwise.
                out.flush()?;
            }
            left -= count;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(stream: u8, text: &str) -> Vec<u8> {
        let length = u32::try_from(text.len()).unwrap();
        [
            &[stream, 0, 0, 0][..],
            &length.to_be_bytes(),
            text.as_bytes(),
        ]
        .concat()
    }

    #[test]
    fn frames_are_told_apart() {
        let stream = [
            frame(1, "out"),
            frame(2, "err"),
            frame(1, ""),
            frame(1, " more"),
        ]
        .concat();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        copy_frames(&stream[..], &mut out, &mut err).unwrap();
        assert_eq!((&out[..], &err[..]), (&b"out more"[..], &b"err"[..]));
        // One that breaks off is printed as far as it came.
        out.clear();
        copy_frames(&stream[..9], &mut out, &mut err).unwrap();
        assert_eq!(out, b"o");
        assert!(copy_frames(&b"plain text"[..], &mut out, &mut err).is_err());
    }
}
