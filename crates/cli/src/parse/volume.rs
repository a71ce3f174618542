//! `-v`: what the client does with it before the engine sees it.

use std::path::Path;

/// A parsed flag.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Volume {
    /// Only a destination.
    Anonymous(String),
    /// Goes to the engine as it is, but for a source that begins with a dot.
    Bind(String),
}

pub(crate) fn parse(spec: &str, directory: &Path) -> Result<Volume, String> {
    match spec.len() {
        0 => return Err("invalid empty volume spec".to_owned()),
        1 | 2 => return Ok(Volume::Anonymous(spec.to_owned())),
        _ => {}
    }
    let fields = split(spec);
    let invalid = |why: &str| Err(format!("invalid spec: {spec}: {why}"));
    match fields.as_slice() {
        fields if fields.iter().any(|field| field.is_empty()) => {
            invalid("empty section between colons")
        }
        [destination] => Ok(Volume::Anonymous((*destination).to_owned())),
        [_, rest @ ..] if rest.len() <= 2 => match spec.split_once(':') {
            Some((source, rest)) if source.starts_with('.') => {
                let source = absolute(source, directory);
                Ok(Volume::Bind(format!("{source}:{rest}")))
            }
            _ => Ok(Volume::Bind(spec.to_owned())),
        },
        _ => invalid("too many colons"),
    }
}

/// Fields between colons; a field of one letter goes on behind its colon, as a drive of Windows does.
fn split(spec: &str) -> Vec<&str> {
    let mut fields = Vec::new();
    let mut start = 0;
    for (at, _) in spec.match_indices(':') {
        let field = &spec[start..at];
        let is_drive = field.chars().count() == 1 && field.chars().all(char::is_alphabetic);
        if !is_drive {
            fields.push(field);
            start = at + 1;
        }
    }
    fields.push(&spec[start..]);
    fields
}

/// A path relative to `directory`, without dots.
pub(crate) fn absolute(path: &str, directory: &Path) -> String {
    let mut parts: Vec<&str> = Vec::new();
    let joined = directory.join(path);
    let text = joined.to_string_lossy();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let here = Path::new("/work dir");
        for (spec, volume) in [
            ("/x", Volume::Anonymous("/x".into())),
            ("foo", Volume::Anonymous("foo".into())),
            ("vol:/x", Volume::Bind("vol:/x".into())),
            ("n:/x", Volume::Anonymous("n:/x".into())),
            ("c:/x:/y", Volume::Bind("c:/x:/y".into())),
            ("/a:/b:ro", Volume::Bind("/a:/b:ro".into())),
            (".:/b", Volume::Bind("/work dir:/b".into())),
            ("../x:/b:ro", Volume::Bind("/x:/b:ro".into())),
            ("~/x:/b", Volume::Bind("~/x:/b".into())),
        ] {
            assert_eq!(parse(spec, here), Ok(volume), "{spec}");
        }
        for (spec, text) in [
            ("", "invalid empty volume spec"),
            (
                "name:/p:",
                "invalid spec: name:/p:: empty section between colons",
            ),
            ("aa:/b:ro:x", "invalid spec: aa:/b:ro:x: too many colons"),
        ] {
            assert_eq!(parse(spec, here), Err(text.to_owned()));
        }
    }
}
