//! Tar streams byte by byte, right or wrong.

/// One header; `build` gives it with its data.
#[derive(Clone)]
pub(crate) struct Raw {
    pub(crate) kind: u8,
    name: Vec<u8>,
    link: Vec<u8>,
    mode: u32,
    pub(crate) size: Option<u64>,
    data: Vec<u8>,
    device: Option<(u32, u32)>,
    patches: Vec<(usize, Vec<u8>)>,
}

impl Raw {
    pub(crate) fn new(kind: u8, name: impl AsRef<[u8]>) -> Self {
        Self {
            kind,
            name: name.as_ref().to_vec(),
            link: Vec::new(),
            mode: 0o644,
            size: None,
            data: Vec::new(),
            device: None,
            patches: Vec::new(),
        }
    }

    pub(crate) fn file(name: impl AsRef<[u8]>, data: impl AsRef<[u8]>) -> Self {
        Self {
            data: data.as_ref().to_vec(),
            ..Self::new(b'0', name)
        }
    }

    pub(crate) fn dir(name: impl AsRef<[u8]>) -> Self {
        Self {
            mode: 0o755,
            ..Self::new(b'5', name)
        }
    }

    pub(crate) fn symlink(name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        Self {
            link: target.as_ref().to_vec(),
            ..Self::new(b'2', name)
        }
    }

    pub(crate) fn hard_link(name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        Self {
            link: target.as_ref().to_vec(),
            ..Self::new(b'1', name)
        }
    }

    pub(crate) fn device(kind: u8, name: impl AsRef<[u8]>, major: u32, minor: u32) -> Self {
        Self {
            device: Some((major, minor)),
            ..Self::new(kind, name)
        }
    }

    /// A PAX header for the next member.
    pub(crate) fn pax(records: &[(&str, &[u8])]) -> Self {
        let mut data = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let mut length = rest + 1;
            while rest + length.to_string().len() != length {
                length += 1;
            }
            data.extend_from_slice(format!("{length} {key}=").as_bytes());
            data.extend_from_slice(value);
            data.push(b'\n');
        }
        Self {
            data,
            ..Self::new(b'x', "PaxHeaders/x")
        }
    }

    pub(crate) fn mode(self, mode: u32) -> Self {
        Self { mode, ..self }
    }

    /// Claims another size than that of the data.
    pub(crate) fn claims(self, size: u64) -> Self {
        Self {
            size: Some(size),
            ..self
        }
    }

    pub(crate) fn data(self, data: impl AsRef<[u8]>) -> Self {
        Self {
            data: data.as_ref().to_vec(),
            ..self
        }
    }

    /// Puts other bytes into the header, under the checksum.
    pub(crate) fn patch(mut self, at: usize, bytes: impl AsRef<[u8]>) -> Self {
        self.patches.push((at, bytes.as_ref().to_vec()));
        self
    }

    fn build(&self, out: &mut Vec<u8>) {
        let mut block = [0; 512];
        let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &self.name[..self.name.len().min(100)]);
        put(100, format!("{:07o}\0", self.mode).as_bytes());
        put(108, b"0000000\0");
        put(116, b"0000000\0");
        let size = self.size.unwrap_or(self.data.len() as u64);
        put(124, format!("{size:011o}\0").as_bytes());
        put(136, b"00000000012\0");
        put(156, &[self.kind]);
        put(157, &self.link[..self.link.len().min(100)]);
        put(257, b"ustar\x0000");
        if let Some((major, minor)) = self.device {
            put(329, format!("{major:07o}\0{minor:07o}\0").as_bytes());
        }
        for (at, bytes) in &self.patches {
            put(*at, bytes);
        }
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        out.extend_from_slice(&block);
        out.extend_from_slice(&self.data);
        out.resize(out.len().next_multiple_of(512), 0);
    }
}

/// The members and the end of the archive.
pub(crate) fn tar(members: &[Raw]) -> Vec<u8> {
    let mut out = unfinished(members);
    out.resize(out.len() + 1024, 0);
    out
}

/// The members only.
pub(crate) fn unfinished(members: &[Raw]) -> Vec<u8> {
    let mut out = Vec::new();
    for member in members {
        member.build(&mut out);
    }
    out
}
