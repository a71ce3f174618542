//! Ids: opaque, never reused, safe as path components. Users choose names; these are drawn at random.

use std::fmt;

/// `bytes` random bytes in lower-case hex.
fn random_hex(bytes: usize) -> String {
    let mut buffer = [0_u8; 32];
    let wanted = &mut buffer[..bytes];
    let mut filled = 0;
    while filled < bytes {
        // After boot getrandom cannot fail for such a size, only be interrupted by a signal.
        if let Ok(count) =
            rustix::rand::getrandom(&mut wanted[filled..], rustix::rand::GetRandomFlags::empty())
        {
            filled += count;
        }
    }
    hex(wanted)
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            write!(text, "{byte:02x}").expect("writing to a string cannot fail");
            text
        })
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $valid:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// `None` unless `text` is a whole id of this kind.
            pub fn parse(text: &str) -> Option<Self> {
                let valid: fn(&str) -> bool = $valid;
                valid(text).then(|| Self(text.to_owned()))
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

text_id!(
    /// 64 hex digits.
    ContainerId,
    |text| is_hex(text, 64)
);
text_id!(
    /// 32 hex digits.
    VolumeId,
    |text| is_hex(text, 32)
);
text_id!(
    /// 32 hex digits.
    SnapshotId,
    |text| is_hex(text, 32)
);
text_id!(
    /// 16 hex digits.
    PoolId,
    |text| is_hex(text, 16)
);
text_id!(
    /// 16 hex digits.
    RepositoryId,
    |text| is_hex(text, 16)
);
text_id!(
    /// 16 hex digits, marked so that its directories under `staging` and `trash` are recognised: `op-…`.
    OpId,
    |text| text.strip_prefix("op-").is_some_and(|digits| is_hex(digits, 16))
);
text_id!(
    /// `sha256:` and 64 hex digits: the digest of the image's configuration.
    ImageId,
    |text| text.strip_prefix("sha256:").is_some_and(|digits| is_hex(digits, 64))
);

/// Row number of a layer; as short as it can be, because overlay's mount options hold many of them.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct LayerId(pub i64);

impl fmt::Display for LayerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl ContainerId {
    /// A new id, whose short form never reads as a number: that would make `-p 123456789012` ambiguous in scripts.
    pub fn random() -> Self {
        loop {
            let id = random_hex(32);
            if id[..12].parse::<u64>().is_err() {
                return Self(id);
            }
        }
    }
}

impl VolumeId {
    /// A new id.
    pub fn random() -> Self {
        Self(random_hex(16))
    }
}

impl SnapshotId {
    /// A new id.
    pub fn random() -> Self {
        Self(random_hex(16))
    }
}

impl PoolId {
    /// A new id.
    pub fn random() -> Self {
        Self(random_hex(8))
    }
}

impl RepositoryId {
    /// A new id.
    pub fn random() -> Self {
        Self(random_hex(8))
    }
}

impl OpId {
    /// A new id.
    pub fn random() -> Self {
        Self(format!("op-{}", random_hex(8)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_ids_parse_and_differ() {
        let id = ContainerId::random();
        assert_eq!(ContainerId::parse(id.as_str()), Some(id.clone()));
        assert_ne!(id, ContainerId::random());
        assert!(VolumeId::parse(VolumeId::random().as_str()).is_some());
        assert!(OpId::parse(OpId::random().as_str()).is_some());
    }

    #[test]
    fn only_whole_ids_parse() {
        for bad in [
            "",
            "../../etc",
            "ABCDEF0123456789abcdef0123456789",
            "0123456789abcdef0123456789abcde",
        ] {
            assert_eq!(VolumeId::parse(bad), None, "{bad}");
        }
        assert!(ImageId::parse(&format!("sha256:{}", "a".repeat(64))).is_some());
        assert!(ImageId::parse(&"a".repeat(64)).is_none());
    }
}
