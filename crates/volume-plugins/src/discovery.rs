//! Which plugins there are, and where: Docker's places in Docker's order.
//!
//! For NAME the first of these counts: the sockets `NAME.sock` and `NAME/NAME.sock`; then, in each directory of
//! specifications, `NAME.spec`, `NAME/NAME.spec`, `NAME.json`, `NAME/NAME.json`.
//!
//! A name is a path component here, so what is none is never looked up.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::Settings;
use crate::address::{Address, AddressError, Tls};

/// A specification is a line, or a small object.
const LARGEST: u64 = 64 << 10;

/// Why a plugin that is there cannot be called.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpecError {
    #[error("open {}: {}", path.display(), sys::error_words(source))]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{}: {source}", path.display())]
    Json {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    #[error("{}: {source}", path.display())]
    Address {
        path: PathBuf,
        #[source]
        source: AddressError,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Json {
    #[serde(default)]
    addr: String,
    #[serde(default, rename = "TLSConfig")]
    tls: Option<Tls>,
}

/// Where the plugin called `name` listens; `None` when there is none.
pub(crate) fn find(settings: &Settings, name: &str) -> Result<Option<Address>, SpecError> {
    if !is_name(name) {
        return Ok(None);
    }
    for path in places(&settings.sockets, name, "sock") {
        if fs::metadata(&path).is_ok_and(|file| file.file_type().is_socket()) {
            return Ok(Some(Address::Unix(path)));
        }
    }
    for directory in &settings.specs {
        for extension in ["spec", "json"] {
            for path in places(directory, name, extension) {
                if let Some(text) = read(&path)? {
                    return parse(&path, &text, extension == "json").map(Some);
                }
            }
        }
    }
    Ok(None)
}

/// The names of all plugins, whatever they implement.
pub(crate) fn names(settings: &Settings) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    collect(&settings.sockets, &["sock"], &mut names);
    for directory in &settings.specs {
        collect(directory, &["spec", "json"], &mut names);
    }
    names.retain(|name| matches!(find(settings, name), Ok(Some(_)) | Err(_)));
    names
}

/// What is a plausible name, and one path component.
fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.len() <= 128
        && name
            .chars()
            .all(|letter| letter.is_ascii_alphanumeric() || "_.-".contains(letter))
}

fn places(directory: &Path, name: &str, extension: &str) -> [PathBuf; 2] {
    let file = format!("{name}.{extension}");
    [directory.join(&file), directory.join(name).join(&file)]
}

fn collect(directory: &Path, extensions: &[&str], names: &mut BTreeSet<String>) {
    // Most hosts have none of these directories.
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let stem = extensions
            .iter()
            .find_map(|extension| name.strip_suffix(extension)?.strip_suffix('.'));
        // Else it may be a directory of the plugin's name: finding it tells.
        let name = stem.unwrap_or(name);
        if is_name(name) {
            names.insert(name.to_owned());
        }
    }
}

/// The file's text; `None` when it is not there.
fn read(path: &Path) -> Result<Option<String>, SpecError> {
    let failed = |source| SpecError::Read {
        path: path.to_owned(),
        source,
    };
    let absent = |error: &io::Error| {
        matches!(
            error.kind(),
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
        )
    };
    match fs::metadata(path) {
        Ok(file) if file.is_file() => {}
        Ok(_) => return Ok(None),
        Err(error) if absent(&error) => return Ok(None),
        Err(error) => return Err(failed(error)),
    }
    let mut text = String::new();
    fs::File::open(path)
        .and_then(|file| file.take(LARGEST).read_to_string(&mut text))
        .map_err(failed)?;
    Ok(Some(text))
}

fn parse(path: &Path, text: &str, is_json: bool) -> Result<Address, SpecError> {
    let unverified = Tls {
        insecure_skip_verify: true,
        ..Tls::default()
    };
    let (address, tls) = if is_json {
        let json: Json = serde_json::from_str(text).map_err(|source| SpecError::Json {
            path: path.to_owned(),
            source,
        })?;
        let mut tls = json.tls.unwrap_or_default();
        tls.insecure_skip_verify |= tls.ca_file.is_empty();
        (json.addr, tls)
    } else {
        (text.to_owned(), unverified)
    };
    Address::parse(&address, tls).map_err(|source| SpecError::Address {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a scratch directory")]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn places_and_their_order() {
        let root = std::env::temp_dir().join(format!("orlop-discovery-{}", std::process::id()));
        let settings = Settings {
            sockets: root.join("run"),
            specs: vec![root.join("etc"), root.join("lib")],
            ..Settings::default()
        };
        assert!(names(&settings).is_empty());
        for directory in ["run/b", "etc/c", "lib", "run/not-a-plugin"] {
            fs::create_dir_all(root.join(directory)).expect("made");
        }
        let sockets = [root.join("run/a.sock"), root.join("run/b/b.sock")];
        let _listeners = sockets
            .each_ref()
            .map(|path| UnixListener::bind(path).expect("bound"));
        let write = |path: &str, text: &str| fs::write(root.join(path), text).expect("written");
        write("run/plain.sock", "no socket");
        write("etc/a.spec", "tcp://hidden-by-the-socket:1");
        write(
            "etc/c/c.json",
            r#"{"Name":"c","Addr":"https://h:2","TLSConfig":{"CAFile":"/ca"}}"#,
        );
        write("etc/d.json", r#"{"Addr":"https://h:3","TLSConfig":{}}"#);
        write("etc/e.spec", "nonsense");
        write("lib/d.spec", "tcp://hidden-by-etc:1");
        write("lib/f.spec", "tcp://h:4\n");
        write("lib/README", "no plugin");
        let found: Vec<String> = names(&settings).into_iter().collect();
        assert_eq!(found, ["a", "b", "c", "d", "e", "f"]);
        let url = |name| match find(&settings, name) {
            Ok(Some(address)) => format!("{} {}", address.shown(), address.url("")),
            Ok(None) => "none".to_owned(),
            Err(error) => error.to_string(),
        };
        let socket = |path: &str| {
            format!(
                "unix {}/{path} http://plugin.moby.localhost/",
                root.join("run").display()
            )
        };
        assert_eq!(url("a"), socket("a.sock"));
        assert_eq!(url("b"), socket("b/b.sock"));
        assert_eq!(url("c"), "tcp h:2 https://h:2/");
        assert_eq!(url("d"), "tcp h:3 https://h:3/");
        assert_eq!(
            url("e"),
            format!("{}: Unknown protocol", root.join("etc/e.spec").display())
        );
        assert_eq!(url("f"), "tcp h:4 http://h:4/");
        for name in [
            "g",
            "",
            "..",
            "../run/a",
            "plain",
            "not-a-plugin",
            "a/b",
            "vieux/sshfs:latest",
        ] {
            assert_eq!(url(name), "none", "{name}");
        }
        let tls = |name| match find(&settings, name) {
            Ok(Some(Address::Web { tls, .. })) => tls.insecure_skip_verify,
            other => panic!("{other:?}"),
        };
        assert!(!tls("c"));
        assert!(tls("d"), "without an authority nobody can be verified");
        fs::remove_dir_all(root).expect("removed");
    }
}
