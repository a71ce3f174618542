//! `-e`, `--env-file`, `-l`, `--label-file`: lines of `KEY=value`.

use std::collections::BTreeMap;

use crate::failure::{Failure, Outcome};

/// Environment for the container: files first, then flags. A bare name takes the client's value; where the client has none,
/// a file's line is left out, and a flag is sent bare: it removes what the image sets.
pub(crate) fn environment(files: &[String], flags: &[String]) -> Outcome<Vec<String>> {
    let mut list = Vec::new();
    for file in files {
        let entries = lines(file)
            .map_err(|failure| Failure::new(failure.text.replace(BAD_FILE, "invalid env file")))?;
        list.extend(entries.into_iter().filter_map(|line| filled(&line)));
    }
    for flag in flags {
        if flag.is_empty() || flag.starts_with('=') {
            return Err(Failure::flag(
                "-e, --env",
                flag,
                format!("invalid environment variable: {flag}"),
            ));
        }
        list.push(filled(flag).unwrap_or_else(|| flag.clone()));
    }
    Ok(list)
}

#[expect(
    clippy::disallowed_methods,
    reason = "a client passes on its own environment where it is asked to"
)]
fn filled(entry: &str) -> Option<String> {
    if entry.contains('=') {
        return Some(entry.to_owned());
    }
    let value = std::env::var(entry).ok()?;
    Some(format!("{entry}={value}"))
}

/// Labels of files, then of flags.
pub(crate) fn labels(files: &[String], flags: &[String]) -> Outcome<BTreeMap<String, String>> {
    let mut map = BTreeMap::new();
    let mut add = |entry: &str| {
        let (key, value) = entry.split_once('=').unwrap_or((entry, ""));
        map.insert(key.to_owned(), value.to_owned());
    };
    for file in files {
        let entries = lines(file).map_err(|failure| {
            Failure::new(failure.text.replace(BAD_FILE, "invalid label file"))
        })?;
        entries.iter().for_each(|line| add(line));
    }
    for flag in flags {
        if flag.is_empty() || flag.starts_with('=') {
            return Err(Failure::flag(
                "-l, --label",
                flag,
                format!("invalid label '{flag}': empty name"),
            ));
        }
        add(flag);
    }
    Ok(map)
}

/// Stands for the kind of file until the caller says it.
const BAD_FILE: &str = "invalid file";

fn lines(file: &str) -> Outcome<Vec<String>> {
    let bytes = std::fs::read(file).map_err(|error| Failure::file("open", file, &error))?;
    let wrong = |why: String| Failure::new(format!("{BAD_FILE} ({file}): {why}"));
    let mut entries = Vec::new();
    for (number, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
        let Ok(line) = std::str::from_utf8(line) else {
            return Err(wrong(format!("invalid utf8 bytes at line {}", number + 1)));
        };
        let line = if number == 0 {
            line.trim_start_matches('\u{feff}')
        } else {
            line
        };
        let line = line.trim_end_matches('\r').trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let key = line.split('=').next().unwrap_or_default();
        if key.is_empty() {
            return Err(wrong(format!("no variable name on line '{line}'")));
        }
        if key.contains(char::is_whitespace) {
            return Err(wrong(format!("variable '{key}' contains whitespaces")));
        }
        entries.push(line.to_owned());
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_flags() {
        let path = std::env::temp_dir().join(format!("orlop-env-{}", std::process::id()));
        std::fs::write(
            &path,
            "# comment\n\nA=1\n  B=two words\nPATH\nNO_SUCH_NAME_HERE\n",
        )
        .unwrap();
        let file = path.to_str().unwrap().to_owned();
        let list = environment(std::slice::from_ref(&file), &["C=3".to_owned()]).unwrap();
        assert_eq!(list.len(), 4);
        assert_eq!(
            (&*list[0], &*list[1], &*list[3]),
            ("A=1", "B=two words", "C=3")
        );
        std::fs::write(&path, "bad name=1\n").unwrap();
        assert_eq!(
            environment(std::slice::from_ref(&file), &[])
                .unwrap_err()
                .text,
            format!("invalid env file ({file}): variable 'bad name' contains whitespaces")
        );
        std::fs::write(&path, "=1\n").unwrap();
        assert_eq!(
            labels(&[file], &[]).unwrap_err().text,
            format!(
                "invalid label file ({}): no variable name on line '=1'",
                path.display()
            )
        );
        std::fs::remove_file(path).unwrap();
        assert!(environment(&[], &["=x".to_owned()]).is_err());
        assert!(labels(&[], &[String::new()]).is_err());
        assert_eq!(
            environment(&[], &["NO_SUCH_NAME_HERE".to_owned()]).unwrap(),
            ["NO_SUCH_NAME_HERE"]
        );
    }
}
