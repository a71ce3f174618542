//! Turning errors of single calls into the one sentence that a person will read.
//!
//! Texts end as Go's do (`no such file or directory`, lower case, no number), because Docker's users match on them.

use std::io;

use shim_protocol::StartError;

/// Exit code for everything that is neither "not found" (127) nor "cannot be executed" (126).
pub(crate) const SETUP: i32 = 128;

/// A failed step with a finished sentence.
pub(crate) fn failed(step: &str, message: impl Into<String>) -> StartError {
    StartError {
        step: step.to_owned(),
        message: message.into(),
        code: SETUP,
    }
}

/// Adds to an error what was being done.
pub(crate) trait During<T> {
    /// `what` is the sentence up to the colon before the system's own words.
    fn during(self, step: &str, what: impl FnOnce() -> String) -> Result<T, StartError>;
}

impl<T, E: Into<io::Error>> During<T> for Result<T, E> {
    fn during(self, step: &str, what: impl FnOnce() -> String) -> Result<T, StartError> {
        self.map_err(|error| failed(step, format!("{}: {}", what(), text(&error.into()))))
    }
}

/// The system's words for an error, without its number and in lower case.
pub(crate) fn text(error: &io::Error) -> String {
    let full = error.to_string();
    let words = full.split(" (os error").next().unwrap_or(&full);
    let mut letters = words.chars();
    match letters.next() {
        // "I/O error" stays as it is.
        Some(first) if letters.clone().next().is_some_and(char::is_lowercase) => {
            first.to_lowercase().chain(letters).collect()
        }
        _ => words.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_gos() {
        for (number, words) in [
            (2, "no such file or directory"),
            (13, "permission denied"),
            (20, "not a directory"),
            (8, "exec format error"),
            (30, "read-only file system"),
        ] {
            assert_eq!(text(&io::Error::from_raw_os_error(number)), words);
        }
    }
}
