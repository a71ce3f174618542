//! `--secret`: where a secret's bytes come from.

use std::collections::BTreeMap;

use crate::failure::{Failure, Outcome};

/// They travel in a header, whose length is limited.
const MOST: usize = 256 << 10;

/// Reads `id=x[,src=file|,env=VARIABLE]`; with neither, the variable of that name, else the file.
pub(super) fn read(flags: &[String]) -> Outcome<BTreeMap<String, Vec<u8>>> {
    let mut secrets = BTreeMap::new();
    let mut total = 0;
    for flag in flags {
        let (id, bytes) = one(flag)?;
        total += bytes.len();
        if total > MOST {
            return Err(Failure::new(format!(
                "secrets are too large: at most {MOST} bytes in all"
            )));
        }
        secrets.insert(id, bytes);
    }
    Ok(secrets)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the user says which variable of the client's holds the secret"
)]
fn one(flag: &str) -> Outcome<(String, Vec<u8>)> {
    let wrong = |why: &str| Failure::new(format!("failed to parse secret {flag}: {why}"));
    let (mut id, mut file, mut variable) = (None, None, None);
    for field in flag.split(',') {
        let (key, value) = field
            .split_once('=')
            .ok_or_else(|| wrong(&format!("invalid field '{field}' must be a key=value pair")))?;
        match key.to_ascii_lowercase().as_str() {
            "type" if matches!(value, "file" | "env") => {}
            "id" => id = Some(value),
            "src" | "source" => file = Some(value),
            "env" => variable = Some(value),
            _ => return Err(wrong(&format!("unexpected key '{key}' in '{field}'"))),
        }
    }
    let id = id
        .or(file.and_then(|file| file.rsplit('/').next()))
        .filter(|id| !id.is_empty())
        .ok_or_else(|| wrong("it has no id"))?;
    let bytes = match (file, variable) {
        (Some(file), _) => from_file(file)?,
        (None, Some(variable)) => std::env::var(variable)
            .map_err(|_| wrong(&format!("the environment has no {variable}")))?
            .into_bytes(),
        (None, None) => match std::env::var(id) {
            Ok(value) => value.into_bytes(),
            Err(_) => from_file(id)?,
        },
    };
    Ok((id.to_owned(), bytes))
}

fn from_file(path: &str) -> Outcome<Vec<u8>> {
    std::fs::read(path).map_err(|error| Failure::file("open", path, &error))
}
