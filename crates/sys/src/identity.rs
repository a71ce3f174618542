//! Which filesystem something is on, so that another one in its place is noticed.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

/// A file or directory, and the filesystem it is on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// `major:minor` of the device; another one after a reboot may be the same disk.
    pub device: String,
    /// The filesystem's own number, where it has one and tells.
    pub uuid: Option<String>,
    pub inode: u64,
    pub directory: bool,
}

/// `FS_IOC_GETFSUUID`.
const GET_UUID: libc::c_ulong = 0x8011_1500;

/// The kernel's `struct fsuuid2`.
#[repr(C)]
struct Uuid {
    length: u8,
    bytes: [u8; 16],
}

/// What is at `path`, links followed.
///
/// # Errors
/// `NotFound`, and what the filesystem says.
pub fn of(path: &Path) -> io::Result<Identity> {
    let stat = std::fs::metadata(path)?;
    let device = format!(
        "{}:{}",
        rustix::fs::major(stat.dev()),
        rustix::fs::minor(stat.dev())
    );
    // Opening a device or a fifo may do something; their filesystem is told by their directory.
    let place = if stat.is_dir() || stat.is_file() {
        Some(path)
    } else {
        path.parent()
    };
    let opened = place.and_then(|place| {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        rustix::fs::open(place, flags, Mode::empty()).ok()
    });
    let uuid = opened
        .as_ref()
        .and_then(uuid)
        .or_else(|| by_device(stat.dev()));
    Ok(Identity {
        device,
        uuid,
        inode: stat.ino(),
        directory: stat.is_dir(),
    })
}

fn uuid(file: &OwnedFd) -> Option<String> {
    let mut uuid = Uuid {
        length: 0,
        bytes: [0; 16],
    };
    // SAFETY: the request fills a `struct fsuuid2`, which `uuid` is, and nothing else.
    let told = unsafe { libc::ioctl(file.as_raw_fd(), GET_UUID, &raw mut uuid) } == 0;
    let bytes = uuid.bytes.get(..usize::from(uuid.length))?;
    (told && bytes.iter().any(|byte| *byte != 0))
        .then(|| bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Kernels before 6.9 do not tell, but udev has looked.
fn by_device(device: u64) -> Option<String> {
    std::fs::read_dir("/dev/disk/by-uuid")
        .ok()?
        .flatten()
        .find(|entry| {
            std::fs::metadata(entry.path())
                .is_ok_and(|stat| stat.file_type().is_block_device() && stat.rdev() == device)
        })
        .map(|entry| entry.file_name().to_string_lossy().replace('-', ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_one_filesystem_share_it() {
        let (here, there) = (of(Path::new("/")).unwrap(), of(Path::new("/proc")).unwrap());
        assert_eq!(here, of(Path::new("/.")).unwrap());
        assert_ne!(here.device, there.device);
        assert!(of(Path::new("/nowhere/at/all")).is_err());
    }
}
