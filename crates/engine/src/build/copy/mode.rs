//! `--chmod`: an octal number, or changes in letters as chmod(1) takes them.

use crate::build::BuildError;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mode {
    Exactly(u32),
    Changes(Vec<Change>),
}

/// `ug+rx`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    /// Bits that may be touched.
    who: u32,
    how: char,
    permissions: String,
}

impl Mode {
    pub(super) fn parse(text: &str) -> Result<Self, BuildError> {
        let invalid = || {
            BuildError::Invalid(format!(
                "invalid chmod parameter: '{text}'. it should be octal string and between 0 and 07777, or letters such as u+x"
            ))
        };
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            let mode = u32::from_str_radix(text, 8).map_err(|_| invalid())?;
            return if mode <= 0o7777 {
                Ok(Self::Exactly(mode))
            } else {
                Err(invalid())
            };
        }
        let mut changes = Vec::new();
        for part in text.split(',') {
            let at = part.find(['+', '-', '=']).ok_or_else(invalid)?;
            let mut who = 0;
            for letter in part[..at].chars() {
                who |= match letter {
                    'u' => 0o4700,
                    'g' => 0o2070,
                    'o' => 0o1007,
                    'a' => 0o7777,
                    _ => return Err(invalid()),
                };
            }
            let mut rest = &part[at..];
            while let Some(how) = rest.chars().next() {
                let end = rest[1..]
                    .find(['+', '-', '='])
                    .map_or(rest.len(), |end| end + 1);
                let permissions = &rest[1..end];
                if !permissions.chars().all(|letter| "rwxXst".contains(letter)) {
                    return Err(invalid());
                }
                changes.push(Change {
                    who: if who == 0 { 0o7777 } else { who },
                    how,
                    permissions: permissions.to_owned(),
                });
                rest = &rest[end..];
            }
        }
        Ok(Self::Changes(changes))
    }

    /// The permissions of a file that had `before`.
    pub(super) fn apply(&self, before: u32, is_directory: bool) -> u32 {
        let changes = match self {
            Self::Exactly(mode) => return *mode,
            Self::Changes(changes) => changes,
        };
        changes.iter().fold(before, |mode, change| {
            let executable = is_directory || mode & 0o111 != 0;
            let bits = change.permissions.chars().fold(0, |bits, letter| {
                bits | match letter {
                    'r' => 0o444,
                    'w' => 0o222,
                    'x' => 0o111,
                    'X' if executable => 0o111,
                    's' => 0o6000,
                    't' => 0o1000,
                    _ => 0,
                }
            }) & change.who;
            match change.how {
                '+' => mode | bits,
                '-' => mode & !bits,
                _ => (mode & !(change.who & 0o777)) | bits,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes() {
        for (text, before, is_directory, after) in [
            ("755", 0o644, false, 0o755),
            ("04755", 0o600, false, 0o4755),
            ("u+x", 0o644, false, 0o744),
            ("a=rX", 0o640, false, 0o444),
            ("a=rX", 0o750, true, 0o555),
            ("g-w,o=", 0o666, false, 0o640),
            ("+x", 0o600, false, 0o711),
            ("u=rw+x", 0o000, false, 0o700),
            ("u+s", 0o755, false, 0o4755),
            ("+t", 0o777, true, 0o1777),
        ] {
            assert_eq!(
                Mode::parse(text).unwrap().apply(before, is_directory),
                after,
                "{text}"
            );
        }
        for wrong in ["", "8", "77777", "u", "z+x", "u+q"] {
            assert!(Mode::parse(wrong).is_err(), "{wrong}");
        }
    }
}
