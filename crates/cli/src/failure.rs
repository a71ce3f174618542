//! What a command ends with when it does not succeed.

use std::fmt;
use std::io;
use std::path::Path;

/// A sentence for standard error, and an exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) text: String,
    pub(crate) code: i32,
    /// HTTP status, when an engine said it.
    pub(crate) status: Option<u16>,
    /// The usage of the typed command helps to understand it.
    pub(crate) usage: bool,
}

impl Failure {
    /// The user's mistake or ours: exit code 1.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            code: 1,
            status: None,
            usage: false,
        }
    }

    /// A flag's value that cannot be; `flag` as in `-f, --filter`.
    pub(crate) fn flag(flag: &str, value: &str, why: impl fmt::Display) -> Self {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"");
        Self {
            code: 125,
            usage: true,
            ..Self::new(format!(
                "invalid argument \"{value}\" for \"{flag}\" flag: {why}"
            ))
        }
    }

    /// What the engine answered.
    pub(crate) fn from_engine(status: u16, message: &str) -> Self {
        Self {
            status: Some(status),
            ..Self::new(format!("Error response from daemon: {message}"))
        }
    }

    /// A file of the user's that could not be used: `open x: no such file or directory`.
    pub(crate) fn file(action: &str, path: impl AsRef<Path>, error: &io::Error) -> Self {
        let path = path.as_ref().display();
        Self::new(format!("{action} {path}: {}", plain(error)))
    }

    /// The engine knows no such thing.
    pub(crate) fn is_not_found(&self) -> bool {
        self.status == Some(404)
    }
}

/// An error of the system in the words that docker's users know.
pub(crate) fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    match (error.raw_os_error(), text.split_once(" (os error")) {
        (Some(_), Some((text, _))) => {
            let mut letters = text.chars();
            letters.next().map_or_else(String::new, |first| {
                first.to_lowercase().chain(letters).collect()
            })
        }
        _ => text,
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::new(plain(&error))
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

/// As [`for_each`], but all at once: stopping three containers takes as long as the slowest. Names are printed in the
/// order in which they were given. `absent_is_fine`: what does not exist is told, and is no failure.
pub(crate) fn for_all(
    names: &[String],
    absent_is_fine: bool,
    each: impl Fn(&str) -> Outcome<()> + Sync,
) -> Outcome<i32> {
    /// What docker allows itself.
    const AT_ONCE: usize = 50;
    let mut code = 0;
    for some in names.chunks(AT_ONCE) {
        let results: Vec<Outcome<()>> = if let [name] = some {
            vec![each(name)]
        } else {
            std::thread::scope(|scope| {
                let threads: Vec<_> = some.iter().map(|name| scope.spawn(|| each(name))).collect();
                threads
                    .into_iter()
                    .map(|thread| thread.join().expect("requests do not panic"))
                    .collect()
            })
        };
        for (name, result) in some.iter().zip(results) {
            match result {
                Ok(()) => println!("{name}"),
                Err(failure) => {
                    eprintln!("{failure}");
                    if !(absent_is_fine && failure.is_not_found()) {
                        code = 1;
                    }
                }
            }
        }
    }
    Ok(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        let missing = io::Error::from_raw_os_error(2);
        assert_eq!(plain(&missing), "no such file or directory");
        assert_eq!(
            Failure::file("open", "x", &missing).text,
            "open x: no such file or directory"
        );
        assert_eq!(plain(&io::Error::other("Whatever")), "Whatever");
        assert_eq!(
            Failure::flag("--mount", "a\"b", "no").text,
            "invalid argument \"a\\\"b\" for \"--mount\" flag: no"
        );
    }
}
