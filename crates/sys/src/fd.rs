//! File descriptors as a process inherits and passes them: claim, flags, all but some closed; and an epoll instance.
//!
//! Nothing here closes or replaces a descriptor that the caller owns, except [`close_all_except`].

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::rc::Rc;
use std::time::Duration;

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};

use crate::process::close_range;

/// Takes over descriptor `number`, which the parent process left open, and sets close-on-exec on it.
///
/// Fails with `EBADF` when it is not open. Call it once for a number, before anything else of the process opens files.
pub fn inherited(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: F_GETFD only reads the table of descriptors; a number that is not open gives EBADF.
    if unsafe { libc::fcntl(number, libc::F_GETFD) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the number is open (just checked) and by this function's contract nobody else in the process owns it.
    let fd = unsafe { OwnedFd::from_raw_fd(number) };
    set_cloexec(&fd, true)?;
    Ok(fd)
}

/// Whether the descriptor is closed when the process executes another program.
pub fn set_cloexec(fd: impl AsFd, on: bool) -> io::Result<()> {
    let mut flags = fcntl_getfd(&fd)?;
    flags.set(FdFlags::CLOEXEC, on);
    Ok(fcntl_setfd(&fd, flags)?)
}

/// Whether reads and writes return `WouldBlock` instead of waiting. Shared by all duplicates of the descriptor.
pub fn set_nonblocking(fd: impl AsFd, on: bool) -> io::Result<()> {
    let mut flags = fcntl_getfl(&fd)?;
    flags.set(OFlags::NONBLOCK, on);
    Ok(fcntl_setfl(&fd, flags)?)
}

/// Closes by number every descriptor except the standard three and `keep`.
///
/// For a forked child that will not touch the owners of the closed ones again.
pub fn close_all_except(keep: &[BorrowedFd<'_>]) -> io::Result<()> {
    let number = |fd: &BorrowedFd<'_>| u32::try_from(fd.as_raw_fd()).ok();
    let mut numbers: Vec<u32> = keep.iter().filter_map(number).filter(|n| *n > 2).collect();
    numbers.sort_unstable();
    let mut first = 3;
    for number in numbers {
        if number > first {
            close_range(first, number - 1)?;
        }
        first = number + 1;
    }
    close_range(first, u32::MAX)
}

/// An epoll instance, shared by the descriptors that are watched with it.
#[derive(Debug, Clone)]
pub struct Epoll(Rc<OwnedFd>);

/// One thing that epoll reported: the watcher's number and what happened.
#[derive(Debug, Clone, Copy)]
pub struct Ready {
    pub token: u64,
    pub flags: EventFlags,
}

impl Epoll {
    pub fn new() -> io::Result<Self> {
        Ok(Self(Rc::new(epoll::create(epoll::CreateFlags::CLOEXEC)?)))
    }

    /// Waits until something is ready, a signal came, or `timeout` passed (`None`: without limit), and appends what is
    /// ready to `ready`. A signal gives an empty result.
    pub fn wait(&self, ready: &mut Vec<Ready>, timeout: Option<Duration>) -> io::Result<()> {
        // Rounded up to milliseconds: a deadline that is 0.4 ms away must not turn into polling.
        let timeout = timeout.map(|limit| {
            let millis = i64::try_from(limit.as_nanos().div_ceil(1_000_000)).unwrap_or(i64::MAX);
            rustix::event::Timespec {
                tv_sec: millis / 1000,
                tv_nsec: millis % 1000 * 1_000_000,
            }
        });
        let mut events = [std::mem::MaybeUninit::<epoll::Event>::uninit(); 64];
        match epoll::wait(&*self.0, &mut events, timeout.as_ref()) {
            Ok((events, _)) => {
                ready.extend(events.iter().map(|e| Ready {
                    token: e.data.u64(),
                    flags: { e.flags },
                }));
                Ok(())
            }
            Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// A descriptor with its place in an [`Epoll`], level-triggered.
///
/// With empty interest it is not registered at all: epoll would report hang-ups for it without end. It is taken out
/// before it is closed, because a forked child's duplicate would keep the registration alive.
#[derive(Debug)]
pub struct Watched {
    fd: OwnedFd,
    epoll: Epoll,
    token: u64,
    interest: EventFlags,
}

impl Watched {
    /// Wraps `fd` without any interest yet. The descriptor is made nonblocking.
    pub fn new(epoll: &Epoll, fd: OwnedFd, token: u64) -> io::Result<Self> {
        set_nonblocking(&fd, true)?;
        Ok(Self {
            fd,
            epoll: epoll.clone(),
            token,
            interest: EventFlags::empty(),
        })
    }

    /// Changes what is waited for; hang-ups and errors come with any interest.
    pub fn watch(&mut self, interest: EventFlags) -> io::Result<()> {
        if interest == self.interest {
            return Ok(());
        }
        let (epoll, data) = (&*self.epoll.0, EventData::new_u64(self.token));
        if interest.is_empty() {
            epoll::delete(epoll, &self.fd)?;
        } else if self.interest.is_empty() {
            epoll::add(epoll, &self.fd, data, interest)?;
        } else {
            epoll::modify(epoll, &self.fd, data, interest)?;
        }
        self.interest = interest;
        Ok(())
    }

    pub const fn interest(&self) -> EventFlags {
        self.interest
    }
}

impl AsFd for Watched {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if !self.interest.is_empty() {
            // Closing takes it out as well, unless a duplicate exists; there is nothing else to do about a failure.
            let _ = epoll::delete(&*self.epoll.0, &self.fd);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interest_decides_what_is_reported() -> io::Result<()> {
        let epoll = Epoll::new()?;
        let (reader, writer) = rustix::pipe::pipe()?;
        let mut reader = Watched::new(&epoll, reader, 7)?;
        let mut ready = Vec::new();
        rustix::io::write(&writer, b"x")?;

        epoll.wait(&mut ready, Some(Duration::ZERO))?;
        assert!(ready.is_empty(), "nothing is registered yet");

        reader.watch(EventFlags::IN)?;
        epoll.wait(&mut ready, None)?;
        assert_eq!((ready[0].token, ready[0].flags), (7, EventFlags::IN));

        drop(writer);
        reader.watch(EventFlags::empty())?;
        ready.clear();
        epoll.wait(&mut ready, Some(Duration::ZERO))?;
        assert!(
            ready.is_empty(),
            "a hang-up is not reported without interest"
        );
        Ok(())
    }

    #[test]
    fn an_inherited_number_must_be_open() {
        let error = inherited(100_000)
            .map(drop)
            .map_err(|error| error.raw_os_error());
        assert_eq!(error, Err(Some(libc::EBADF)));
    }
}
