//! `daemon.json`: Docker's configuration file, of which this engine knows the keys about registries and address pools, and its
//! own about data.
//!
//! `<root>/daemon.json` goes before `/etc/orlop/daemon.json`; the two are not mixed. Other keys are left alone: people copy
//! files that they have.

use std::io;
use std::path::{Path, PathBuf};

use engine::network::AddressPool;
use engine::{BindMissing, CareSettings, RegistrySettings};
use serde::Deserialize;

const SYSTEM: &str = "/etc/orlop/daemon.json";

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct File {
    registry_mirrors: Vec<String>,
    insecure_registries: Vec<String>,
    bind_missing: BindMissing,
    safety_snapshots: Switch,
    default_address_pools: Vec<Pool>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Switch {
    On,
    #[default]
    Off,
}

#[derive(Debug, Deserialize)]
struct Pool {
    base: String,
    size: u8,
}

/// What the file says, with what the command line says.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) registries: RegistrySettings,
    pub(crate) care: CareSettings,
    pub(crate) address_pools: Vec<AddressPool>,
}

/// Why a configuration file is of no use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} is no valid configuration", path.display())]
    Parse {
        path: PathBuf,
        source: serde_json::Error,
    },
}

/// The settings of the file, then those of the command line.
pub(crate) fn settings(
    root: &Path,
    mirrors: Vec<String>,
    insecure: Vec<String>,
) -> Result<Settings, FileError> {
    let file = match read(root.join("daemon.json"))? {
        Some(file) => file,
        None => read(PathBuf::from(SYSTEM))?.unwrap_or_default(),
    };
    let mut settings = RegistrySettings {
        mirrors: file.registry_mirrors,
        insecure: file.insecure_registries,
        ..RegistrySettings::default()
    };
    settings.mirrors.extend(mirrors);
    settings.insecure.extend(insecure);
    let care = CareSettings {
        bind_missing: file.bind_missing,
        safety_snapshots: file.safety_snapshots == Switch::On,
    };
    let pools = file.default_address_pools.into_iter();
    Ok(Settings {
        registries: settings,
        care,
        address_pools: pools
            .map(|Pool { base, size }| AddressPool { base, size })
            .collect(),
    })
}

fn read(path: PathBuf) -> Result<Option<File>, FileError> {
    match std::fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|source| FileError::Parse { path, source }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(FileError::Read { path, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_and_flags() {
        let root = std::env::temp_dir().join(format!("orlop-daemon-file-{}", std::process::id()));
        std::fs::create_dir_all(&root).expect("made");
        let path = root.join("daemon.json");
        std::fs::write(
            &path,
            r#"{"registry-mirrors":["https://m"],"insecure-registries":["a:1"],"debug":true,
                "bind-missing":"create-as-owner","safety-snapshots":"on",
                "default-address-pools":[{"base":"10.10.0.0/16","size":24}]}"#,
        )
        .expect("written");
        let both =
            settings(&root, vec!["http://n".to_owned()], vec!["b".to_owned()]).expect("read");
        assert_eq!(both.registries.mirrors, ["https://m", "http://n"]);
        assert_eq!(both.registries.insecure, ["a:1", "b"]);
        assert_eq!(both.care.bind_missing, BindMissing::CreateAsOwner);
        assert!(both.care.safety_snapshots);
        assert_eq!(both.address_pools[0].size, 24);
        for wrong in ["{", r#"{"bind-missing":"maybe"}"#] {
            std::fs::write(&path, wrong).expect("written");
            assert!(settings(&root, Vec::new(), Vec::new()).is_err(), "{wrong}");
        }
        std::fs::remove_dir_all(&root).expect("removed");
    }
}
