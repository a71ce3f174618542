//! Which file of the context is the Dockerfile.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use dockerfile::ignore::Ignore;

use super::BuildError;
use super::context::Context;

/// What the Dockerfile is called and says. It and the list of what is left out leave the context if that list says so.
pub(super) fn dockerfile_of(
    context: &mut Context,
    given: &str,
) -> Result<(String, Vec<u8>), BuildError> {
    /// How clients call a Dockerfile that is no part of the context.
    const FOREIGN: &str = ".dockerfile.";
    let path: PathBuf = Path::new(if given.is_empty() {
        "Dockerfile"
    } else {
        given
    })
    .components()
    .filter(|part| matches!(part, std::path::Component::Normal(_)))
    .collect();
    let (path, text) = match context.text(&path)? {
        Some(text) => (path, text),
        // As Docker does, for systems whose users write it so.
        None if given.is_empty() || given == "Dockerfile" => {
            let other = PathBuf::from("dockerfile");
            let text = context
                .text(&other)?
                .ok_or_else(|| BuildError::NoDockerfile("Dockerfile".to_owned()))?;
            (other, text)
        }
        None => return Err(BuildError::NoDockerfile(given.to_owned())),
    };
    let mut own = path.as_os_str().as_bytes().to_vec();
    own.extend_from_slice(b".dockerignore");
    let own = PathBuf::from(std::ffi::OsStr::from_bytes(&own));
    let list = match context.text(&own)? {
        Some(list) => Some((own, list)),
        None => context
            .text(Path::new(".dockerignore"))?
            .map(|list| (PathBuf::from(".dockerignore"), list)),
    };
    if let Some((name, list)) = list {
        let ignore = Ignore::parse(&list)
            .map_err(|error| BuildError::Invalid(format!("{}: {error}", name.display())))?;
        for file in [&path, &name] {
            if ignore.excludes(&file.to_string_lossy()) {
                context.remove(file);
            }
        }
    }
    let shown = path.to_string_lossy().into_owned();
    if shown.starts_with(FOREIGN) {
        context.remove(&path);
        return Ok(("Dockerfile".to_owned(), text));
    }
    Ok((shown, text))
}
