//! Image configuration under the request's, and the defaults of what the request left open.

use std::collections::BTreeMap;

use crate::containers::{Config, HostConfig};

/// The request wins; lists of environment, ports, volumes and labels are joined.
pub(in crate::containers) fn image_into(config: &mut Config, image: &Config) {
    if config.user.is_empty() {
        config.user.clone_from(&image.user);
    }
    if let Some(ports) = image.exposed_ports.clone() {
        config
            .exposed_ports
            .get_or_insert_with(BTreeMap::new)
            .extend(ports);
    }
    let key = |entry: &str| entry.split('=').next().unwrap_or(entry).to_owned();
    let given: Vec<String> = config.env.iter().map(|entry| key(entry)).collect();
    let inherited = image
        .env
        .iter()
        .filter(|entry| !given.contains(&key(entry)));
    config.env.extend(inherited.cloned());
    for (name, value) in &image.labels {
        config
            .labels
            .entry(name.clone())
            .or_insert_with(|| value.clone());
    }
    if config.entrypoint.as_ref().is_none_or(Vec::is_empty) {
        if config.cmd.as_ref().is_none_or(Vec::is_empty) {
            config.cmd.clone_from(&image.cmd);
        }
        if config.entrypoint.is_none() {
            config.entrypoint.clone_from(&image.entrypoint);
        }
    }
    // `--entrypoint ""` arrives as one empty word and means: none.
    if config.entrypoint.as_deref() == Some(&[String::new()]) {
        config.entrypoint = None;
    }
    if config.working_dir.is_empty() {
        config.working_dir.clone_from(&image.working_dir);
    }
    if let Some(volumes) = image.volumes.clone() {
        config
            .volumes
            .get_or_insert_with(BTreeMap::new)
            .extend(volumes);
    }
    if config.stop_signal.as_ref().is_none_or(String::is_empty) {
        config.stop_signal.clone_from(&image.stop_signal);
    }
    match (&mut config.healthcheck, &image.healthcheck) {
        (Some(check), Some(image)) => super::super::health::inherit(check, image),
        (check @ None, image) => check.clone_from(image),
        (Some(_), None) => {}
    }
    if config.shell.is_none() {
        config.shell.clone_from(&image.shell);
    }
}

/// What Docker's engine fills in, visible in `inspect`.
pub(in crate::containers) fn defaults(host: &mut HostConfig) {
    let set = |field: &mut String, value: &str| {
        if field.is_empty() {
            value.clone_into(field);
        }
    };
    if host.network_mode == "default" {
        host.network_mode.clear();
    }
    set(&mut host.network_mode, "bridge");
    set(&mut host.ipc_mode, "private");
    set(&mut host.cgroupns_mode, "private");
    set(&mut host.restart_policy.name, "no");
    set(&mut host.log_config.kind, "json-file");
    set(&mut host.runtime, "orlop");
    if host.shm_size == 0 {
        host.shm_size = 64 << 20;
    }
    if host.memory > 0 && host.memory_swap == 0 {
        // As Docker: as much swap again as memory.
        host.memory_swap = host.memory.saturating_mul(2);
    }
    host.other.remove("Isolation");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(list: &[&str]) -> Option<Vec<String>> {
        Some(list.iter().map(|&word| word.to_owned()).collect())
    }

    #[test]
    fn command_and_entrypoint_follow_docker() {
        let image = Config {
            cmd: words(&["icmd"]),
            entrypoint: words(&["ientry"]),
            ..Config::default()
        };
        for (entrypoint, cmd, want_entrypoint, want_cmd) in [
            (None, None, words(&["ientry"]), words(&["icmd"])),
            (None, words(&["c"]), words(&["ientry"]), words(&["c"])),
            (words(&["e"]), None, words(&["e"]), None),
            (words(&["e"]), words(&["c"]), words(&["e"]), words(&["c"])),
            (words(&[""]), words(&["c"]), None, words(&["c"])),
        ] {
            let mut config = Config {
                entrypoint,
                cmd,
                ..Config::default()
            };
            image_into(&mut config, &image);
            assert_eq!((config.entrypoint, config.cmd), (want_entrypoint, want_cmd));
        }
    }

    #[test]
    fn the_requests_environment_replaces_the_images() {
        let image = Config {
            env: vec!["A=1".into(), "B=2".into()],
            ..Config::default()
        };
        let mut config = Config {
            env: vec!["B=3".into(), "C".into()],
            ..Config::default()
        };
        image_into(&mut config, &image);
        assert_eq!(config.env, ["B=3", "C", "A=1"]);
    }
}
