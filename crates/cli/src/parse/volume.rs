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
    let fields: Vec<&str> = spec.split(':').collect();
    let invalid = |why: &str| Err(format!("invalid spec: {spec}: {why}"));
    match fields.as_slice() {
        fields if fields.iter().any(|field| field.is_empty()) => {
            invalid("empty section between colons")
        }
        [destination] => Ok(Volume::Anonymous((*destination).to_owned())),
        [source, rest @ ..] if rest.len() <= 2 => {
            if !source.starts_with('.') {
                return Ok(Volume::Bind(spec.to_owned()));
            }
            let source = absolute(source, directory);
            Ok(Volume::Bind(format!("{source}:{}", rest.join(":"))))
        }
        _ => invalid("too many colons"),
    }
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
            ("n:/x", Volume::Bind("n:/x".into())),
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
            ("a:/b:ro:x", "invalid spec: a:/b:ro:x: too many colons"),
        ] {
            assert_eq!(parse(spec, here), Err(text.to_owned()));
        }
    }
}
