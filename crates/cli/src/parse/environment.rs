//! `-e`, `--env-file`, `-l`, `--label-file`: lines of `KEY=value`.

use crate::failure::{Failure, Outcome, words};

/// Environment for the container: files first, then flags; a bare name takes the client's value, or is left out.
pub(crate) fn environment(files: &[String], flags: &[String]) -> Outcome<Vec<String>> {
    let mut list = Vec::new();
    for file in files {
        for line in lines(file)? {
            list.extend(filled(&line));
        }
    }
    for flag in flags {
        if flag.is_empty() || flag.starts_with('=') {
            return Err(Failure::new(format!(
                "invalid environment variable: {flag}"
            )));
        }
        list.extend(filled(flag));
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
pub(crate) fn labels(
    files: &[String],
    flags: &[String],
) -> Outcome<std::collections::BTreeMap<String, String>> {
    let mut map = std::collections::BTreeMap::new();
    let mut add = |entry: &str| {
        let (key, value) = entry.split_once('=').unwrap_or((entry, ""));
        map.insert(key.to_owned(), value.to_owned());
    };
    for file in files {
        lines(file)?.iter().for_each(|line| add(line));
    }
    flags.iter().for_each(|flag| add(flag));
    Ok(map)
}

fn lines(file: &str) -> Outcome<Vec<String>> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::new(format!("open {file}: {}", words(&error))))?;
    text.trim_start_matches('\u{feff}')
        .lines()
        .map(str::trim_start)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let key = line.split('=').next().unwrap_or_default();
            if key.is_empty() {
                return Err(Failure::new(format!("no variable name on line '{line}'")));
            }
            if key.contains(char::is_whitespace) {
                return Err(Failure::new(format!(
                    "variable '{key}' contains whitespaces"
                )));
            }
            Ok(line.to_owned())
        })
        .collect()
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
        assert!(environment(&[file], &[]).is_err());
        std::fs::remove_file(path).unwrap();
        assert!(environment(&[], &["=x".to_owned()]).is_err());
    }
}
