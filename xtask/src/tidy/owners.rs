//! Heavy or dangerous dependencies belong to one crate each, which is where their rules are known.

use super::Finding;
use super::edges::{FREE, Package};

/// Dependency, a crate that may use it; nearly all have one only.
const OWNERS: &[(&str, &str)] = &[
    ("aes256ctr_poly1305aes", "backup"),
    ("bzip2", "archive"),
    ("crc32c", "transfer"),
    ("croner", "engine"),
    ("clap", "cli"),
    ("clap_complete", "cli"),
    ("clap_mangen", "cli"),
    ("flate2", "archive"),
    ("flate2", "shim"),
    ("futures-util", "backup"),
    ("futures-util", "server"),
    ("hickory-proto", "shim"),
    ("http-body-util", "server"),
    ("hyper", "server"),
    ("hyper-util", "server"),
    ("indicatif", "cli"),
    ("libc", "sys"),
    ("lzma-rust2", "archive"),
    ("netlink-packet-core", "sys"),
    ("netlink-packet-route", "sys"),
    ("openssh-sftp-client", "backup"),
    ("rusqlite", "store"),
    ("rustic_cdc", "backup"),
    ("rustic_core", "backup"),
    ("rusty-s3", "backup"),
    ("tar", "archive"),
    ("tokio", "backup"),
    ("tokio", "server"),
    ("tokio-tungstenite", "server"),
    ("ureq", "backup"),
    ("ureq", "registry"),
    ("ureq", "volume-plugins"),
    ("zstd", "archive"),
    ("zstd", "backup"),
];

pub(super) fn check(packages: &[Package]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in packages
        .iter()
        .filter(|package| !FREE.contains(&package.name.as_str()))
    {
        for dependency in package
            .dependencies
            .iter()
            .filter(|dependency| !dependency.for_tests)
        {
            let owners: Vec<&str> = OWNERS
                .iter()
                .filter(|(name, _)| *name == dependency.name)
                .map(|(_, owner)| *owner)
                .collect();
            if !owners.is_empty() && !owners.contains(&package.name.as_str()) {
                let manifest = format!("crates/{}/Cargo.toml", package.name);
                findings.push(Finding::new(
                    &manifest,
                    0,
                    format!(
                        "{} belongs to {} alone",
                        dependency.name,
                        owners.join(" and ")
                    ),
                ));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_others() {
        use super::super::edges::Dependency;
        let uses = |name: &str, for_tests| Dependency {
            name: name.to_owned(),
            ours: false,
            for_tests,
        };
        let package = |name: &str, dependencies| Package {
            name: name.to_owned(),
            dependencies,
        };
        let found = check(&[
            package("store", vec![uses("rusqlite", false)]),
            package(
                "engine",
                vec![
                    uses("tokio", false),
                    uses("serde", false),
                    uses("tar", true),
                ],
            ),
        ]);
        let found: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            ["crates/engine/Cargo.toml: tokio belongs to backup and server alone"]
        );
    }
}
