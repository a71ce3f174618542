//! What the kernel's table of mounts says of the mounts below another one.
//!
//! A mount that came along with a recursive bind is a mount of the host, too: taking it out of a container loses nothing. What only the
//! container has, a process in it has mounted, and its bytes may be nowhere else.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

/// A line of the table.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line<'t> {
    number: &'t str,
    above: &'t str,
    /// Which filesystem, and which directory of it.
    what: (&'t str, &'t str),
    pub(crate) place: PathBuf,
}

fn lines(table: &str) -> impl Iterator<Item = Line<'_>> {
    table.lines().filter_map(|line| {
        let mut fields = line.split(' ');
        Some(Line {
            number: fields.next()?,
            above: fields.next()?,
            what: (fields.next()?, fields.next()?),
            place: unescape(fields.next()?),
        })
    })
}

/// All mounts below the one called `number`, each after those that are below itself.
pub(crate) fn of<'t>(table: &'t str, number: &str) -> Vec<Line<'t>> {
    let mut left: Vec<Line<'t>> = lines(table).collect();
    let mut found: Vec<Line<'t>> = Vec::new();
    let mut looked = 0;
    let mut above = number;
    loop {
        let (below, others): (Vec<_>, Vec<_>) =
            left.into_iter().partition(|line| line.above == above);
        left = others;
        found.extend(below);
        let Some(next) = found.get(looked) else {
            break;
        };
        above = next.number;
        looked += 1;
    }
    found.reverse();
    found
}

/// Whether the host, whose table is `outside`, has the same mounted.
pub(crate) fn came_along(line: &Line<'_>, outside: &str) -> bool {
    lines(outside).any(|other| other.what == line.what)
}

/// Blanks, tabs, line ends and backslashes are octal in the table.
pub(crate) fn unescape(text: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let octal = after
            .get(..3)
            .filter(|_| byte == b'\\')
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        match octal {
            Some(value) => {
                bytes.push(value);
                rest = &after[3..];
            }
            None => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "22 1 8:1 / / rw - ext4 /dev/x rw\n\
        31 22 0:5 /a /b rw shared:1 - tmpfs tmpfs rw\n\
        40 31 0:6 / /b/c rw - tmpfs tmpfs rw\n\
        41 40 0:7 / /b/c/d rw - tmpfs tmpfs rw\n\
        42 31 0:8 / /b/e\\040f rw - tmpfs tmpfs rw\n\
        50 22 0:9 / /other rw - tmpfs tmpfs rw\n";

    #[test]
    fn the_innermost_come_first() {
        let found: Vec<PathBuf> = of(TABLE, "31").into_iter().map(|line| line.place).collect();
        assert_eq!(found, ["/b/c/d", "/b/e f", "/b/c"].map(PathBuf::from));
        assert_eq!(of(TABLE, "50"), []);
    }

    #[test]
    fn what_the_host_has_came_along() {
        let below = of(TABLE, "31");
        let outside = "7 1 0:7 / /host rw - tmpfs tmpfs rw\n8 1 0:6 /x /y rw - tmpfs tmpfs rw\n";
        let known: Vec<bool> = below.iter().map(|line| came_along(line, outside)).collect();
        assert_eq!(known, [true, false, false]);
    }
}
