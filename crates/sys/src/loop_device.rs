//! Loop devices: a file as a block device.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode};
use rustix::io::Errno;

const LOOP_CTL_GET_FREE: libc::c_ulong = 0x4C82;
const LOOP_CLR_FD: libc::c_ulong = 0x4C01;
const LOOP_SET_CAPACITY: libc::c_ulong = 0x4C07;
const LOOP_CONFIGURE: libc::c_ulong = 0x4C0A;
const LO_FLAGS_READ_ONLY: u32 = 1;
const LO_FLAGS_AUTOCLEAR: u32 = 4;
const LOOP_MAJOR: u32 = 7;

/// The kernel's `struct loop_info64`.
#[repr(C)]
struct LoopInfo {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

/// The kernel's `struct loop_config`.
#[repr(C)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    info: LoopInfo,
    reserved: [u64; 8],
}

/// An attached loop device. The kernel detaches it when nobody has it open or mounted any more, so keep this value until
/// the device is mounted.
#[derive(Debug)]
pub struct LoopDevice {
    path: PathBuf,
    device: File,
}

impl LoopDevice {
    /// A device that is attached already.
    ///
    /// # Errors
    /// Those of opening it.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            device: OpenOptions::new().read(true).write(true).open(path)?,
        })
    }

    /// `/dev/loopN`.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Tells the device that its file has another size.
    pub fn resize(&self) -> io::Result<()> {
        control(self.device.as_fd(), LOOP_SET_CAPACITY, 0).map(drop)
    }
}

impl AsFd for LoopDevice {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.device.as_fd()
    }
}

/// Attaches the file `image` to a free loop device with sectors of `block_size` (512 or 4096) bytes.
///
/// # Errors
/// `NotFound` also when the kernel has no loop devices.
pub fn attach(image: &Path, block_size: u32, read_only: bool) -> io::Result<LoopDevice> {
    let image = OpenOptions::new()
        .read(true)
        .write(!read_only)
        .custom_flags(libc::O_CLOEXEC)
        .open(image)?;
    attach_file(image.as_fd(), block_size, read_only)
}

/// [`attach`] of a file that is open already.
pub fn attach_file(
    image: BorrowedFd<'_>,
    block_size: u32,
    read_only: bool,
) -> io::Result<LoopDevice> {
    let controller = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/loop-control")?;
    let config = LoopConfig {
        fd: u32::try_from(image.as_raw_fd()).expect("descriptors are not negative"),
        block_size,
        info: LoopInfo {
            device: 0,
            inode: 0,
            rdevice: 0,
            offset: 0,
            size_limit: 0,
            number: 0,
            encrypt_type: 0,
            encrypt_key_size: 0,
            flags: LO_FLAGS_AUTOCLEAR | if read_only { LO_FLAGS_READ_ONLY } else { 0 },
            file_name: [0; 64],
            crypt_name: [0; 64],
            encrypt_key: [0; 32],
            init: [0; 2],
        },
        reserved: [0; 8],
    };
    loop {
        let number = control(controller.as_fd(), LOOP_CTL_GET_FREE, 0)?;
        let path = PathBuf::from(format!("/dev/loop{number}"));
        let device = open_node(&path, number, read_only)?;
        // SAFETY: `config` is the struct that LOOP_CONFIGURE reads, and lives until the call returns.
        let result =
            unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE as _, &raw const config) };
        if result == 0 {
            return Ok(LoopDevice { path, device });
        }
        let error = io::Error::last_os_error();
        // Somebody else was faster with this device.
        if error.raw_os_error() != Some(libc::EBUSY) {
            return Err(error);
        }
    }
}

/// Opens the device node, and makes it where nobody (devtmpfs, udev) does.
fn open_node(path: &Path, number: u32, read_only: bool) -> io::Result<File> {
    let open = || OpenOptions::new().read(true).write(!read_only).open(path);
    match open() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let made = rustix::fs::mknodat(
                rustix::fs::CWD,
                path,
                FileType::BlockDevice,
                Mode::from_raw_mode(0o660),
                rustix::fs::makedev(LOOP_MAJOR, number),
            );
            match made {
                Ok(()) | Err(Errno::EXIST) => open(),
                Err(error) => Err(error.into()),
            }
        }
        other => other,
    }
}

/// Detaches the loop device `device`, at once or when its last user is gone; one that is not attached is fine.
pub fn detach(device: &Path) -> io::Result<()> {
    let device = File::open(device)?;
    match control(device.as_fd(), LOOP_CLR_FD, 0) {
        Err(error) if error.raw_os_error() != Some(libc::ENXIO) => Err(error),
        _ => Ok(()),
    }
}

/// The loop devices to which the file `image` is attached.
pub fn attached(image: &Path) -> io::Result<Vec<PathBuf>> {
    let image = image.canonicalize()?;
    let mut devices = Vec::new();
    for entry in std::fs::read_dir("/sys/block")? {
        let entry = entry?;
        let mut backing = match std::fs::read(entry.path().join("loop/backing_file")) {
            Ok(backing) => backing,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            // Detached between open and read.
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => continue,
            Err(error) => return Err(error),
        };
        if backing.last() == Some(&b'\n') {
            backing.pop();
        }
        if image.as_os_str() == OsString::from_vec(backing) {
            devices.push(Path::new("/dev").join(entry.file_name()));
        }
    }
    Ok(devices)
}

fn control(fd: BorrowedFd<'_>, request: libc::c_ulong, argument: libc::c_ulong) -> io::Result<u32> {
    // SAFETY: the requests that are passed here take a plain number.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), request as _, argument) };
    u32::try_from(result).map_err(|_| io::Error::last_os_error())
}
