//! Names that users choose: the rules, and Docker's words when one breaks them.

/// What both rules say about the characters, as Docker prints it.
const CHARACTERS: &str = "[a-zA-Z0-9][a-zA-Z0-9_.-]";

/// A name of a volume is also the name of a link in a directory, which cannot be longer.
const LONGEST: usize = 255;

/// Why a name is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("Invalid container name ({0}), only {CHARACTERS} are allowed")]
    Container(String),
    #[error("volume name is too short, names should be at least two alphanumeric characters")]
    VolumeTooShort,
    #[error("volume name is too long, names should be at most {LONGEST} characters")]
    VolumeTooLong,
    #[error(
        "{0:?} includes invalid characters for a local volume name, only {CHARACTERS:?} are allowed. \
         If you intended to pass a host directory, use absolute path"
    )]
    Volume(String),
}

/// What [`is_name`] takes, as those are told who chose another one.
pub const RULE: &str = "only [a-zA-Z0-9][a-zA-Z0-9_.-]* are allowed, 128 characters at most";

/// Whether a pool, a snapshot, a repository or a schedule can be called so.
pub fn is_name(name: &str) -> bool {
    const LONGEST: usize = 128;
    name.len() <= LONGEST && has_legal_characters(name)
}

fn is_restricted(name: &str) -> bool {
    name.len() > 1 && has_legal_characters(name)
}

fn has_legal_characters(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes
        .next()
        .is_some_and(|first| first.is_ascii_alphanumeric())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
}

/// Checks a container's name, without a leading `/`.
///
/// # Errors
/// [`NameError::Container`].
pub fn check_container_name(name: &str) -> Result<(), NameError> {
    if is_restricted(name) {
        Ok(())
    } else {
        Err(NameError::Container(name.to_owned()))
    }
}

/// Checks a volume's name.
///
/// # Errors
/// The other variants of [`NameError`].
pub fn check_volume_name(name: &str) -> Result<(), NameError> {
    if name.len() == 1 {
        Err(NameError::VolumeTooShort)
    } else if !is_restricted(name) {
        Err(NameError::Volume(name.to_owned()))
    } else if name.len() > LONGEST {
        Err(NameError::VolumeTooLong)
    } else {
        Ok(())
    }
}

/// A name for a volume that the user gave none: 64 hex digits, as tools expect of anonymous volumes.
pub fn anonymous_volume_name() -> String {
    crate::ids::ContainerId::random().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_and_words() {
        for good in ["a", "a.b", &"a".repeat(128)] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", ".a", "a/b", "é", &"a".repeat(129)] {
            assert!(!is_name(bad), "{bad}");
        }
        for good in ["ab", "a.b", "0_-", "data.2024-01"] {
            check_container_name(good).expect(good);
            check_volume_name(good).expect(good);
        }
        for (bad, words) in [
            (
                "a",
                "volume name is too short, names should be at least two alphanumeric characters",
            ),
            (
                "./x",
                "\"./x\" includes invalid characters for a local volume name, only \
                 \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, \
                 use absolute path",
            ),
        ] {
            assert_eq!(check_volume_name(bad).expect_err(bad).to_string(), words);
        }
        for bad in ["", "-a", ".a", "a b", "a/b", "ä1", "a\nb", "..", "../x"] {
            assert!(check_volume_name(bad).is_err(), "{bad}");
        }
        assert!(check_volume_name(&"a".repeat(256)).is_err());
        assert_eq!(
            check_container_name("a b").expect_err("blank").to_string(),
            "Invalid container name (a b), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
        );
        check_volume_name(&anonymous_volume_name()).expect("legal");
    }
}
