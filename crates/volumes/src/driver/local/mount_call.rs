//! From the options `type`, `device` and `o` to mount(2), which sees them without any `mount.<type>` helper.
//!
//! Words of `o` that are flags of mount(2) become flags; the rest is handed to the filesystem. For `nfs` and `cifs` a
//! host name in `addr=` is resolved here, because the kernel only takes addresses.

use std::ffi::CString;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, MountPropagationFlags};

use super::super::{DriverError, Options};
use super::options::host_of;

/// Words of `o`, the flag each stands for, and whether it sets (or clears) it.
const FLAGS: [(&str, MountFlags, bool); 24] = [
    ("async", MountFlags::SYNCHRONOUS, false),
    ("atime", MountFlags::NOATIME, false),
    ("bind", MountFlags::BIND, true),
    ("dev", MountFlags::NODEV, false),
    ("diratime", MountFlags::NODIRATIME, false),
    ("dirsync", MountFlags::DIRSYNC, true),
    ("exec", MountFlags::NOEXEC, false),
    ("mand", MountFlags::PERMIT_MANDATORY_FILE_LOCKING, true),
    ("noatime", MountFlags::NOATIME, true),
    ("nodev", MountFlags::NODEV, true),
    ("nodiratime", MountFlags::NODIRATIME, true),
    ("noexec", MountFlags::NOEXEC, true),
    ("nomand", MountFlags::PERMIT_MANDATORY_FILE_LOCKING, false),
    ("norelatime", MountFlags::RELATIME, false),
    ("nostrictatime", MountFlags::STRICTATIME, false),
    ("nosuid", MountFlags::NOSUID, true),
    ("rbind", MountFlags::BIND.union(MountFlags::REC), true),
    ("relatime", MountFlags::RELATIME, true),
    ("ro", MountFlags::RDONLY, true),
    ("rw", MountFlags::RDONLY, false),
    ("strictatime", MountFlags::STRICTATIME, true),
    ("suid", MountFlags::NOSUID, false),
    ("sync", MountFlags::SYNCHRONOUS, true),
    ("defaults", MountFlags::empty(), true),
];

const PROPAGATION: [(&str, MountPropagationFlags); 8] = [
    ("private", MountPropagationFlags::PRIVATE),
    (
        "rprivate",
        MountPropagationFlags::PRIVATE.union(MountPropagationFlags::REC),
    ),
    ("shared", MountPropagationFlags::SHARED),
    (
        "rshared",
        MountPropagationFlags::SHARED.union(MountPropagationFlags::REC),
    ),
    ("slave", MountPropagationFlags::DOWNSTREAM),
    (
        "rslave",
        MountPropagationFlags::DOWNSTREAM.union(MountPropagationFlags::REC),
    ),
    ("unbindable", MountPropagationFlags::UNBINDABLE),
    (
        "runbindable",
        MountPropagationFlags::UNBINDABLE.union(MountPropagationFlags::REC),
    ),
];

#[derive(Debug, PartialEq, Eq)]
pub(super) struct MountCall {
    device: String,
    kind: String,
    flags: MountFlags,
    propagation: Vec<MountPropagationFlags>,
    data: String,
    /// What messages call the target.
    shown: PathBuf,
}

impl MountCall {
    pub(super) fn new(options: &Options, shown: &Path) -> Result<Self, DriverError> {
        let option = |name: &str| options.get(name).cloned().unwrap_or_default();
        let mut call = Self {
            device: option("device"),
            kind: option("type"),
            flags: MountFlags::empty(),
            propagation: Vec::new(),
            data: String::new(),
            shown: shown.to_owned(),
        };
        let mut data = Vec::new();
        for word in option("o").split(',').filter(|word| !word.is_empty()) {
            if let Some((_, flag, set)) = FLAGS.iter().find(|(name, ..)| *name == word) {
                call.flags.set(*flag, *set);
            } else if let Some((_, flag)) = PROPAGATION.iter().find(|(name, _)| *name == word) {
                call.propagation.push(*flag);
            } else {
                data.push(word.to_owned());
            }
        }
        if matches!(call.kind.as_str(), "nfs" | "cifs") {
            call.resolve(&mut data)?;
        }
        call.data = data.join(",");
        Ok(call)
    }

    fn resolve(&mut self, data: &mut [String]) -> Result<(), DriverError> {
        if let Some(word) = data.iter_mut().find(|word| word.starts_with("addr=")) {
            *word = format!("addr={}", resolved(&word["addr=".len()..])?);
        } else if self.kind == "cifs"
            && let Some(host) = host_of(&self.device).map(str::to_owned)
        {
            let address = resolved(&host)?;
            self.device = self.device.replacen(&host, &address, 1);
        }
        Ok(())
    }

    pub(super) fn run(&self, target: &Path) -> Result<(), DriverError> {
        let failed = |error: rustix::io::Errno| DriverError::Mount {
            call: self.words(),
            source: error.into(),
        };
        let data = (!self.data.is_empty())
            .then(|| CString::new(self.data.as_str()))
            .transpose()
            .map_err(|_| failed(rustix::io::Errno::INVAL))?;
        rustix::mount::mount(
            &self.device,
            target,
            &self.kind,
            self.flags,
            data.as_deref(),
        )
        .map_err(failed)?;
        let finished = self.finish(target);
        if finished.is_err() {
            // Half a mount must not stay; the first error is the one to tell.
            if let Err(error) = rustix::mount::unmount(target, rustix::mount::UnmountFlags::DETACH)
            {
                tracing::warn!(target = %target.display(), %error, "cannot take back a mount");
            }
        }
        finished.map_err(failed)
    }

    /// What mount(2) ignores when it binds: read-only and its like, and propagation, each need a call of their own.
    fn finish(&self, target: &Path) -> Result<(), rustix::io::Errno> {
        let per_mount = MountFlags::RDONLY
            | MountFlags::NOSUID
            | MountFlags::NODEV
            | MountFlags::NOEXEC
            | MountFlags::NOATIME
            | MountFlags::NODIRATIME;
        if self.flags.contains(MountFlags::BIND) && self.flags.intersects(per_mount) {
            rustix::mount::mount_remount(target, self.flags, c"")?;
        }
        self.propagation
            .iter()
            .try_for_each(|propagation| rustix::mount::mount_change(target, *propagation))
    }

    /// The call as Docker prints it, without the password.
    fn words(&self) -> String {
        let mut words = format!("mount {}:{}", self.device, self.shown.display());
        if !self.flags.is_empty() {
            words += &format!(", flags: 0x{:x}", self.flags.bits());
        }
        if !self.data.is_empty() {
            let masked: Vec<&str> = self
                .data
                .split(',')
                .map(|word| match word.split_once('=') {
                    Some(("password" | "pass", _)) => "password=********",
                    _ => word,
                })
                .collect();
            words += &format!(", data: {}", masked.join(","));
        }
        words
    }
}

/// The address of a host, IPv4 first; an address stays as it is.
fn resolved(host: &str) -> Result<String, DriverError> {
    if host.parse::<IpAddr>().is_ok() {
        return Ok(host.to_owned());
    }
    let failed = |source| DriverError::Resolve {
        address: host.to_owned(),
        source,
    };
    let addresses: Vec<SocketAddr> = (host, 0).to_socket_addrs().map_err(failed)?.collect();
    addresses
        .iter()
        .find(|address| address.is_ipv4())
        .or(addresses.first())
        .map(|address| address.ip().to_string())
        .ok_or_else(|| failed(io::ErrorKind::NotFound.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(kind: &str, device: &str, o: &str) -> Result<MountCall, DriverError> {
        let options = [("type", kind), ("device", device), ("o", o)]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into();
        MountCall::new(&options, Path::new("/v/_data"))
    }

    #[test]
    fn words_become_flags_or_data() {
        for (o, words) in [
            ("", "mount d:/v/_data"),
            ("bind,ro", "mount d:/v/_data, flags: 0x1001"),
            ("rbind", "mount d:/v/_data, flags: 0x5000"),
            (
                "ro,rw,size=1m,uid=5",
                "mount d:/v/_data, data: size=1m,uid=5",
            ),
            ("rslave,noexec", "mount d:/v/_data, flags: 0x8"),
            (
                "username=u,password=geheim,ro",
                "mount d:/v/_data, flags: 0x1, data: username=u,password=********",
            ),
        ] {
            assert_eq!(call("none", "d", o).expect(o).words(), words, "{o}");
        }
    }

    #[test]
    fn addresses_are_resolved_for_network_filesystems_only() {
        let nfs = call("nfs", ":/export", "addr=localhost,rw").expect("resolves");
        assert_eq!(nfs.data, "addr=127.0.0.1");
        let nfs4 = call("nfs4", ":/export", "addr=localhost").expect("left alone");
        assert_eq!(nfs4.data, "addr=localhost");
        let cifs = call("cifs", "//localhost/share", "").expect("resolves");
        assert_eq!(cifs.device, "//127.0.0.1/share");
        assert_eq!(
            call("nfs", ":/e", "addr=10.1.2.3")
                .expect("an address")
                .data,
            "addr=10.1.2.3"
        );
    }
}
