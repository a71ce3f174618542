//! `ADD` and `COPY`: sources, heredocs among them, and the destination, which is the last word.

use crate::command::NOT_STRINGS;
use crate::flags::{Flags, Known, Takes};
use crate::heredoc::openings;
use crate::json::{self, Form};
use crate::mistake::Mistake;
use crate::statement::words;
use crate::{Copy, Source};

pub(crate) const COPY: Known = &[
    ("from", Takes::Value),
    ("chown", Takes::Value),
    ("chmod", Takes::Value),
    ("link", Takes::Bool),
    ("exclude", Takes::Values),
    ("parents", Takes::Bool),
];

pub(crate) const ADD: Known = &[
    ("chown", Takes::Value),
    ("chmod", Takes::Value),
    ("link", Takes::Bool),
    ("keep-git-dir", Takes::Bool),
    ("checksum", Takes::Value),
    ("exclude", Takes::Values),
    ("unpack", Takes::Bool),
];

/// `bodies` belong to the heredocs of `arguments`, in their order.
pub(crate) fn read(
    instruction: &str,
    flags: &Flags,
    arguments: &str,
    bodies: &[String],
) -> Result<Copy, Mistake> {
    let mut sources = match json::form(arguments) {
        Form::Strings(words) => words.into_iter().map(Source::Path).collect(),
        Form::Mixed => return Err(Mistake::new(NOT_STRINGS)),
        Form::NotJson => plain(arguments, bodies),
    };
    let destination = match sources.pop() {
        Some(Source::Path(destination)) if !sources.is_empty() => destination,
        Some(Source::Heredoc(_)) if !sources.is_empty() => {
            return Err(Mistake::new(format!(
                "{instruction} cannot accept a heredoc as a destination"
            )));
        }
        _ => {
            return Err(Mistake::new(format!(
                "{instruction} requires at least two arguments, but only one was provided. \
                 Destination could not be determined"
            )));
        }
    };
    Ok(Copy {
        sources,
        destination,
        from: flags.filled("from"),
        chown: flags.filled("chown"),
        chmod: flags.filled("chmod"),
        checksum: flags.filled("checksum"),
        exclude: flags.values("exclude"),
        link: flags.switch("link").unwrap_or(false),
        parents: flags.switch("parents").unwrap_or(false),
        keep_git_dir: flags.switch("keep-git-dir").unwrap_or(false),
        unpack: flags.switch("unpack"),
    })
}

fn plain(arguments: &str, bodies: &[String]) -> Vec<Source> {
    let paths = |text: &str| -> Vec<Source> { words(text).map(Source::Path).collect() };
    let mut sources = Vec::new();
    let mut done = 0;
    for (opening, body) in openings(arguments).into_iter().zip(bodies) {
        let span = opening.span.clone();
        sources.extend(paths(&arguments[done..span.start]));
        sources.push(Source::Heredoc(opening.filled(body)));
        done = span.end;
    }
    sources.extend(paths(&arguments[done..]));
    sources
}
