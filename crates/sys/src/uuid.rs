//! UUIDs of filesystems: as text, drawn anew, and asked of the kernel.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};

/// `FS_IOC_GETFSUUID`, Linux 6.9.
const GET_UUID: libc::c_ulong = 0x8011_1500;

/// The kernel's `struct fsuuid2`.
#[repr(C)]
struct FsUuid {
    length: u8,
    uuid: [u8; 16],
}

/// In lower-case hexadecimal with dashes.
#[must_use]
pub fn text(uuid: [u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (index, byte) in uuid.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(digit.into(), 16).expect("four bits are a digit"));
        }
    }
    text
}

/// The reverse of [`text`]; `None` when it is none.
#[must_use]
pub fn parse(text: &str) -> Option<[u8; 16]> {
    let digits: Vec<u8> = text
        .bytes()
        .filter(|byte| *byte != b'-')
        .map(|byte| {
            char::from(byte)
                .to_digit(16)
                .and_then(|digit| u8::try_from(digit).ok())
        })
        .collect::<Option<_>>()?;
    let mut uuid = [0; 16];
    if digits.len() != 32 {
        return None;
    }
    for (byte, pair) in uuid.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = (pair[0] << 4) | pair[1];
    }
    Some(uuid)
}

/// A new one, at random.
///
/// # Errors
/// What keeps the kernel from giving random bytes.
pub fn random() -> io::Result<[u8; 16]> {
    let mut uuid = [0; 16];
    // So few bytes come whole.
    rustix::rand::getrandom(&mut uuid, rustix::rand::GetRandomFlags::empty())?;
    uuid[6] = (uuid[6] & 0x0F) | 0x40;
    uuid[8] = (uuid[8] & 0x3F) | 0x80;
    Ok(uuid)
}

/// That of the filesystem on which `dir` lies; `None` when it has none, or the kernel does not tell.
///
/// # Errors
/// Any of the kernel's but that it does not know.
pub fn of_filesystem(dir: BorrowedFd<'_>) -> io::Result<Option<[u8; 16]>> {
    if crate::btrfs::is_btrfs(dir)? {
        return crate::btrfs_quota::uuid(dir).map(Some);
    }
    let mut answer = FsUuid {
        length: 0,
        uuid: [0; 16],
    };
    // SAFETY: `answer` is the struct that the request writes, and lives until the call returns.
    let result = unsafe { libc::ioctl(dir.as_raw_fd(), GET_UUID as _, &raw mut answer) };
    if result == 0 {
        return Ok((answer.length == 16).then_some(answer.uuid));
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::ENOTTY | libc::EOPNOTSUPP | libc::EINVAL) => Ok(None),
        _ => Err(error),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn there_and_back() {
        let uuid = super::random().expect("random bytes");
        let text = super::text(uuid);
        assert_eq!(text.len(), 36);
        assert_eq!(super::parse(&text), Some(uuid));
        for bad in ["", "x", "00", "zz000000-0000-0000-0000-000000000000"] {
            assert_eq!(super::parse(bad), None);
        }
    }
}
