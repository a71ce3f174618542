//! The streams of a container on those of the client.

use std::io::{self, Read, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::detach::DetachKeys;
use crate::http::Upgraded;

/// What standard input does during an attachment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Input {
    Closed,
    Forwarded(DetachKeys),
}

/// Why the copying ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The container's side has ended.
    Closed,
    /// On a terminal the detach keys were typed: the container may well go on.
    Detached,
}

/// Copies until the container's side ends. `tty`: raw bytes, else frames with docker's stream header.
pub(crate) fn run(upgraded: Upgraded, tty: bool, input: Input) -> io::Result<End> {
    let Upgraded { reader, writer } = upgraded;
    let detached = Arc::new(AtomicBool::new(false));
    match input {
        // Not joined: a read of a terminal cannot be called off, and the process ends soon after us.
        Input::Forwarded(keys) => {
            let detached = Arc::clone(&detached);
            drop(thread::spawn(move || forward(writer, keys, &detached)));
        }
        Input::Closed => writer.shutdown(Shutdown::Write).or_else(gone)?,
    }
    copy_out(reader, tty)?;
    Ok(if tty && detached.load(Ordering::SeqCst) {
        End::Detached
    } else {
        End::Closed
    })
}

/// The other side may have closed before us.
fn gone(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotConnected {
        Ok(())
    } else {
        Err(error)
    }
}

fn forward(mut writer: UnixStream, mut keys: DetachKeys, detached: &AtomicBool) {
    let mut buffer = [0; 32 << 10];
    let mut stdin = io::stdin().lock();
    while let Ok(count) = stdin.read(&mut buffer) {
        // Before they are sent: the answer to them is the end of the streams.
        if keys.typed(&buffer[..count]) {
            detached.store(true, Ordering::SeqCst);
        }
        if count == 0 || writer.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    // Closed by the other side already, or now by us: both mean the end of input.
    drop(writer.shutdown(Shutdown::Write));
}

/// Copies raw bytes, or demultiplexes frames to standard output and standard error.
pub(crate) fn copy_out(mut reader: impl Read, tty: bool) -> io::Result<()> {
    let mut buffer = vec![0; 32 << 10];
    if tty {
        let mut stdout = io::stdout().lock();
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => return stdout.flush(),
                Ok(count) => {
                    stdout.write_all(&buffer[..count])?;
                    stdout.flush()?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                    return stdout.flush();
                }
                Err(error) => return Err(error),
            }
        }
    }
    loop {
        let mut header = [0; 8];
        match reader.read_exact(&mut header) {
            Ok(()) => {}
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset
                ) =>
            {
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        let mut left = u32::from_be_bytes([header[4], header[5], header[6], header[7]]) as usize;
        while left > 0 {
            let most = left.min(buffer.len());
            let count = reader.read(&mut buffer[..most])?;
            if count == 0 {
                return Ok(());
            }
            if header[0] == 2 {
                io::stderr().lock().write_all(&buffer[..count])?;
            } else {
                let mut stdout = io::stdout().lock();
                stdout.write_all(&buffer[..count])?;
                stdout.flush()?;
            }
            left -= count;
        }
    }
}
