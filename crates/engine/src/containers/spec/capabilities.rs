//! The capability set of a container: Docker's fourteen, plus `--cap-add`, minus `--cap-drop`.

use sys::capability;

use crate::containers::{ContainerError, HostConfig};

const DEFAULT: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

/// Names as in capabilities(7). What the engine itself lacks is left out later, by the runtime.
pub(in crate::containers) fn capabilities(
    host: &HostConfig,
) -> Result<Vec<String>, ContainerError> {
    let add = normalise(host.cap_add.as_deref().unwrap_or_default())?;
    let drop = normalise(host.cap_drop.as_deref().unwrap_or_default())?;
    let wants = |list: &[String], name: &str| list.iter().any(|word| word == name);
    if host.privileged {
        return Ok(capability::names()
            .iter()
            .map(|&name| name.to_owned())
            .collect());
    }
    let kept: Vec<String> = capability::names()
        .iter()
        .filter(|name| {
            if wants(&add, "ALL") {
                return !wants(&drop, name);
            }
            let by_default = DEFAULT.contains(name) && !wants(&drop, "ALL") && !wants(&drop, name);
            by_default || wants(&add, name)
        })
        .map(|&name| name.to_owned())
        .collect();
    Ok(kept)
}

fn normalise(list: &[String]) -> Result<Vec<String>, ContainerError> {
    list.iter()
        .map(|word| {
            let upper = word.to_uppercase();
            if upper == "ALL" {
                return Ok(upper);
            }
            let name = if upper.starts_with("CAP_") {
                upper
            } else {
                format!("CAP_{upper}")
            };
            if capability::bit(&name).is_some() {
                return Ok(name);
            }
            Err(ContainerError::Invalid(format!(
                "invalid CapAdd: unknown capability: \"{name}\""
            )))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(add: &[&str], drop: &[&str]) -> Vec<String> {
        let list = |words: &[&str]| Some(words.iter().map(|&word| word.to_owned()).collect());
        let host = HostConfig {
            cap_add: list(add),
            cap_drop: list(drop),
            ..HostConfig::default()
        };
        capabilities(&host).expect("known names")
    }

    #[test]
    fn add_and_drop_follow_docker() {
        assert_eq!(names(&[], &[]).len(), DEFAULT.len());
        assert!(names(&["net_admin"], &[]).contains(&"CAP_NET_ADMIN".to_owned()));
        assert_eq!(names(&["NET_ADMIN"], &["ALL"]), ["CAP_NET_ADMIN"]);
        assert_eq!(
            names(&["ALL"], &["MKNOD"]).len(),
            capability::names().len() - 1
        );
        assert!(!names(&[], &["cap_chown"]).contains(&"CAP_CHOWN".to_owned()));
    }
}
