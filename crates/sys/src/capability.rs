//! Capabilities by name and as sets of bits, of the calling thread; a process with one thread has no others.

use std::io;
use std::marker::PhantomData;

use rustix::thread::{CapabilitySet, CapabilitySets};

/// Names in the kernel's numbering.
const NAMES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// A set of capabilities, one bit each.
pub type Bits = u64;

/// The bit of a capability by its name (`CAP_CHOWN`).
#[must_use]
pub fn bit(name: &str) -> Option<Bits> {
    NAMES
        .iter()
        .position(|known| *known == name)
        .map(|number| 1 << number)
}

/// All names, in the kernel's numbering.
#[must_use]
pub fn names() -> &'static [&'static str] {
    &NAMES
}

/// What this process may use.
pub fn permitted() -> io::Result<Bits> {
    Ok(rustix::thread::capabilities(None)?.permitted.bits())
}

/// Takes everything but `keep` out of the bounding set. Needs `CAP_SETPCAP`.
pub fn limit_bounding(keep: Bits) -> io::Result<()> {
    for number in 0..64 {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        if keep & (1 << number) != 0 {
            continue;
        }
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            Ok(()) => {}
            // The kernel knows no capability of this number, hence none above it.
            Err(rustix::io::Errno::INVAL) => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Empties the ambient set.
pub fn clear_ambient() -> io::Result<()> {
    match rustix::thread::clear_ambient_capability_set() {
        // Before Linux 4.3 there is no such set.
        Ok(()) | Err(rustix::io::Errno::INVAL) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Sets what is effective and permitted; nothing is inheritable afterwards.
pub fn set(effective: Bits, permitted: Bits) -> io::Result<()> {
    let sets = CapabilitySets {
        effective: CapabilitySet::from_bits_retain(effective),
        permitted: CapabilitySet::from_bits_retain(permitted),
        inheritable: CapabilitySet::empty(),
    };
    Ok(rustix::thread::set_capabilities(None, sets)?)
}

/// While it lives, the thread that made it does without some capabilities; then it has again what it had.
#[derive(Debug)]
pub struct Without {
    before: Option<CapabilitySets>,
    /// It belongs to its thread.
    _thread: PhantomData<*const ()>,
}

/// Does without what is effective of `bits`, which stays permitted.
///
/// # Errors
/// Any of the kernel's.
pub fn without(bits: Bits) -> io::Result<Without> {
    let sets = rustix::thread::capabilities(None)?;
    let bits = CapabilitySet::from_bits_retain(bits);
    let has_any = sets.effective.intersects(bits);
    if has_any {
        let effective = sets.effective.difference(bits);
        rustix::thread::set_capabilities(None, CapabilitySets { effective, ..sets })?;
    }
    Ok(Without {
        before: has_any.then_some(sets),
        _thread: PhantomData,
    })
}

impl Drop for Without {
    fn drop(&mut self) {
        if let Some(before) = self.before {
            // What is permitted can be made effective.
            if let Err(error) = rustix::thread::set_capabilities(None, before) {
                tracing::warn!(%error, "capabilities that were done without stay away");
            }
        }
    }
}

/// Whether the permitted set survives a change from root to another user.
pub fn keep_over_user_change(keep: bool) -> io::Result<()> {
    Ok(rustix::thread::set_keep_capabilities(keep)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_the_kernels_numbers() {
        assert_eq!(bit("CAP_CHOWN"), Some(1));
        assert_eq!(bit("CAP_SYS_ADMIN"), Some(1 << 21));
        assert_eq!(bit("CAP_SYS_RESOURCE"), Some(1 << 24));
        assert_eq!(bit("CAP_CHECKPOINT_RESTORE"), Some(1 << 40));
        assert_eq!(bit("CHOWN"), None);
    }

    #[test]
    fn what_is_done_without_comes_back() {
        let effective = || rustix::thread::capabilities(None).unwrap().effective.bits();
        let before = effective();
        let bits = bit("CAP_CHOWN").unwrap() | bit("CAP_SYS_RESOURCE").unwrap();
        let guard = without(bits).unwrap();
        assert_eq!(effective(), before & !bits);
        drop(guard);
        assert_eq!(effective(), before);
    }
}
