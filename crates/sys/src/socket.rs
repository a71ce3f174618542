//! Unix stream sockets: by directory descriptor, because paths may exceed 108 bytes, and with descriptors beside bytes.
//!
//! Descriptors travel with the first bytes of a write, in order, at most [`MAX_FDS`] with one portion; the reader
//! collects them in the order in which they were sent. All received descriptors are close-on-exec.

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

/// The kernel's limit of descriptors in one message.
pub const MAX_FDS: usize = 253;

/// Two connected stream sockets, both close-on-exec.
pub fn pair() -> io::Result<(UnixStream, UnixStream)> {
    UnixStream::pair()
}

/// Bytes that were written to a unix socket and that its peer has not read yet; not exact, but zero only when it has read all.
pub fn unread_by_peer(socket: impl AsFd) -> io::Result<usize> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the descriptor is open, and the kernel writes one int.
    let result = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(usize::try_from(bytes).unwrap_or(0))
}

/// Listens at `path`, replacing a socket that is left there. Only the owner may connect.
#[expect(
    clippy::disallowed_methods,
    reason = "a socket is no state that must survive"
)]
pub fn listen(path: &Path) -> io::Result<UnixListener> {
    let (directory, short) = shorten(path)?;
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&short)?;
    rustix::fs::chmodat(
        &directory,
        short.file_name().expect("made from a path with a name"),
        Mode::RUSR | Mode::WUSR,
        rustix::fs::AtFlags::empty(),
    )?;
    Ok(listener)
}

/// Connects to the socket at `path`.
pub fn connect(path: &Path) -> io::Result<UnixStream> {
    let (_directory, short) = shorten(path)?;
    UnixStream::connect(short)
}

/// The directory of `path`, open, and a short path to the same place through it, valid as long as it stays open.
fn shorten(path: &Path) -> io::Result<(OwnedFd, PathBuf)> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "socket path has no file name",
        ));
    };
    let parent = if parent.as_os_str().is_empty() {
        Path::new(".")
    } else {
        parent
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(parent, flags, Mode::empty())?;
    let mut short = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd()));
    short.push(name);
    Ok((directory, short))
}

/// Writes to a socket and sends descriptors beside the first bytes.
#[derive(Debug)]
pub struct FdWriter<'a> {
    socket: BorrowedFd<'a>,
    fds: VecDeque<BorrowedFd<'a>>,
}

impl<'a> FdWriter<'a> {
    /// `fds` leave with the next bytes that are written.
    pub fn new(socket: &'a impl AsFd, fds: &[BorrowedFd<'a>]) -> Self {
        Self {
            socket: socket.as_fd(),
            fds: fds.iter().copied().collect(),
        }
    }
}

impl Write for FdWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let batch: Vec<BorrowedFd<'_>> = self.fds.iter().copied().take(MAX_FDS).collect();
        // One byte carries a full batch when more batches follow: each needs bytes of its own.
        let bytes = if self.fds.len() > MAX_FDS {
            &bytes[..bytes.len().min(1)]
        } else {
            bytes
        };
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !batch.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&batch)) {
            return Err(io::Error::other("descriptors do not fit in one message"));
        }
        let count = sendmsg(
            self.socket,
            &[IoSlice::new(bytes)],
            &mut control,
            SendFlags::NOSIGNAL,
        )?;
        if count > 0 {
            self.fds.drain(..batch.len());
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads from a socket and keeps the descriptors that come along.
#[derive(Debug)]
pub struct FdReader<'a> {
    socket: BorrowedFd<'a>,
    fds: Vec<OwnedFd>,
}

impl<'a> FdReader<'a> {
    pub fn new(socket: &'a impl AsFd) -> Self {
        Self {
            socket: socket.as_fd(),
            fds: Vec::new(),
        }
    }

    /// The descriptors that came with what was read, in the order in which they were sent.
    pub fn into_fds(self) -> Vec<OwnedFd> {
        self.fds
    }
}

impl Read for FdReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut slices = [IoSliceMut::new(buffer)];
        let received = recvmsg(
            self.socket,
            &mut slices,
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        )?;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = message {
                self.fds.extend(fds);
            }
        }
        if received.flags.contains(rustix::net::ReturnFlags::CTRUNC) {
            return Err(io::Error::other(
                "descriptors were lost: the limit of open files is reached",
            ));
        }
        Ok(received.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_peer_has_not_read_is_told() {
        let (mut ours, mut theirs) = pair().unwrap();
        assert_eq!(unread_by_peer(&ours).unwrap(), 0);
        ours.write_all(b"head").unwrap();
        assert!(unread_by_peer(&ours).unwrap() > 0);
        theirs.read_exact(&mut [0; 4]).unwrap();
        assert_eq!(unread_by_peer(&ours).unwrap(), 0);
    }

    #[test]
    fn descriptors_arrive_in_order_across_batches() -> io::Result<()> {
        let (a, b) = pair()?;
        let files: Vec<_> = (0..MAX_FDS + 3)
            .map(|_| rustix::pipe::pipe().map(|(reader, _)| reader))
            .collect::<Result<_, _>>()?;
        let borrowed: Vec<_> = files.iter().map(AsFd::as_fd).collect();
        FdWriter::new(&a, &borrowed).write_all(b"hello")?;
        let mut reader = FdReader::new(&b);
        let mut text = [0; 5];
        reader.read_exact(&mut text)?;
        assert_eq!(&text, b"hello");
        let received = reader.into_fds();
        assert_eq!(received.len(), files.len());
        for (sent, got) in files.iter().zip(&received) {
            assert_eq!(
                rustix::fs::fstat(sent)?.st_ino,
                rustix::fs::fstat(got)?.st_ino
            );
        }
        Ok(())
    }

    #[test]
    fn paths_may_be_long() -> io::Result<()> {
        let top = std::env::temp_dir().join(format!("orlop-socket-{}", std::process::id()));
        let directory = top.join("d".repeat(120));
        std::fs::create_dir_all(&directory)?;
        let path = directory.join("shim.sock");
        drop(listen(&path)?);
        let listener = listen(&path)?;
        let mut client = connect(&path)?;
        client.write_all(b"x")?;
        let mut byte = [0];
        listener.accept()?.0.read_exact(&mut byte)?;
        assert_eq!(&byte, b"x");
        std::fs::remove_dir_all(&top)
    }
}
