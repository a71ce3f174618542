//! What a command ends with when it does not succeed.

use std::fmt;

/// A sentence for standard error, and an exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) text: String,
    pub(crate) code: i32,
    /// HTTP status, when an engine said it.
    pub(crate) status: Option<u16>,
}

impl Failure {
    /// The user's mistake or ours: exit code 1.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            code: 1,
            status: None,
        }
    }

    /// What the engine answered.
    pub(crate) fn from_engine(status: u16, message: &str) -> Self {
        Self {
            text: format!("Error response from daemon: {message}"),
            code: 1,
            status: Some(status),
        }
    }

    /// Nothing more to say: the code alone.
    pub(crate) fn silent(code: i32) -> Self {
        Self {
            text: String::new(),
            code,
            status: None,
        }
    }

    /// The engine knows no such thing.
    pub(crate) fn is_not_found(&self) -> bool {
        self.status == Some(404)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// An I/O error in the words that docker's users know: `no such file or directory`.
pub(crate) fn words(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_lowercase().chain(letters).collect()
    })
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(words(&error))
    }
}

/// Result of most of this crate.
pub(crate) type Outcome<T> = Result<T, Failure>;

/// Runs `each` for every name; errors are printed as they come, and make the exit code 1.
pub(crate) fn for_each(
    names: &[String],
    mut each: impl FnMut(&str) -> Outcome<()>,
) -> Outcome<i32> {
    let mut code = 0;
    for name in names {
        if let Err(failure) = each(name) {
            eprintln!("{failure}");
            code = 1;
        }
    }
    Ok(code)
}
