//! Which of our crates may depend on which: the complete list, compared with `cargo metadata`.
//!
//! Dependencies of tests may add `testkit` only.

use super::Finding;
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// Each crate with the crates it may use. Whoever extends this list explains it in a decision record.
const LEGAL: &[(&str, &[&str])] = &[
    ("api", &[]),
    ("archive", &["sys"]),
    ("backup", &["sys"]),
    ("cli", &["api", "archive", "dockerfile", "transfer"]),
    ("dockerfile", &[]),
    (
        "engine",
        &[
            "volumes",
            "archive",
            "backup",
            "dockerfile",
            "registry",
            "store",
            "shim-protocol",
            "sys",
            "transfer",
        ],
    ),
    ("orlop", &["cli", "server", "shim", "sys"]),
    ("registry", &[]),
    ("runtime", &["sys", "shim-protocol"]),
    ("server", &["engine", "api"]),
    ("shim", &["runtime", "shim-protocol", "sys"]),
    ("shim-protocol", &[]),
    ("store", &["sys"]),
    ("sys", &[]),
    ("transfer", &["sys"]),
    ("volume-plugins", &["sys"]),
    ("volumes", &["store", "archive", "volume-plugins", "sys"]),
];

/// Packages that are not part of the product and may use anything.
pub(super) const FREE: &[&str] = &["testkit", "tests", "xtask"];

#[derive(Debug)]
pub(super) struct Package {
    pub(super) name: String,
    pub(super) dependencies: Vec<Dependency>,
}

#[derive(Debug)]
pub(super) struct Dependency {
    pub(super) name: String,
    /// Of our own workspace.
    pub(super) ours: bool,
    pub(super) for_tests: bool,
}

/// The packages of the workspace, from `cargo metadata`.
#[expect(
    clippy::disallowed_methods,
    reason = "cargo needs the environment that it gave us"
)]
pub(super) fn packages(root: &Path) -> Result<Vec<Package>, String> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(root)
        .output()
        .map_err(|error| format!("cargo metadata: {error}"))?;
    if !output.status.success() {
        return Err(format!(
            "cargo metadata: {}",
            String::from_utf8_lossy(&output.stderr)
        ));
    }
    let metadata: Value = serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("cargo metadata: {error}"))?;
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let dependency = |value: &Value| Dependency {
        name: text(&value["name"]),
        ours: value["path"].is_string(),
        for_tests: value["kind"] == "dev",
    };
    let package = |value: &Value| Package {
        name: text(&value["name"]),
        dependencies: list(&value["dependencies"])
            .iter()
            .map(dependency)
            .collect(),
    };
    Ok(list(&metadata["packages"]).iter().map(package).collect())
}

pub(super) fn check(packages: &[Package]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in packages
        .iter()
        .filter(|package| !FREE.contains(&package.name.as_str()))
    {
        let manifest = format!("crates/{}/Cargo.toml", package.name);
        let Some((_, legal)) = LEGAL.iter().find(|(name, _)| *name == package.name) else {
            findings.push(Finding::new(
                &manifest,
                0,
                "a new crate: add it with its edges to xtask/src/tidy/edges.rs",
            ));
            continue;
        };
        for dependency in package
            .dependencies
            .iter()
            .filter(|dependency| dependency.ours)
        {
            let name = dependency.name.as_str();
            let allowed = legal.contains(&name) || (dependency.for_tests && name == "testkit");
            if !allowed {
                findings.push(Finding::new(
                    &manifest,
                    0,
                    format!("{} must not depend on {name}", package.name),
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
    fn refuses_other_edges() {
        let edge = |name: &str, for_tests| Dependency {
            name: name.to_owned(),
            ours: true,
            for_tests,
        };
        let package = |name: &str, dependencies| Package {
            name: name.to_owned(),
            dependencies,
        };
        let found = check(&[
            package(
                "engine",
                vec![
                    edge("sys", false),
                    edge("runtime", false),
                    edge("testkit", true),
                ],
            ),
            package("volumes", vec![edge("testkit", false)]),
            package("drawer", vec![]),
            package("xtask", vec![edge("engine", false)]),
        ]);
        let found: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert_eq!(
            found[0],
            "crates/engine/Cargo.toml: engine must not depend on runtime"
        );
        assert_eq!(
            found[1],
            "crates/volumes/Cargo.toml: volumes must not depend on testkit"
        );
        assert_eq!(found.len(), 3);
    }
}
