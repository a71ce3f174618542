//! Takes away what a shim that was killed could not: processes and control groups.

use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;

use shim_protocol::spec::{Namespaces, NetworkNs, NsMode, Process, Propagation, RootFs};
use shim_protocol::{Response, RunSpec, receive, send};
use store::Paths;
use sys::program::Program;

use super::ContainerError;
use super::cgroup::Group;
use super::shim::Shim;

/// Has a helper do it; refused while the shim lives.
pub(super) fn after(program: &Program, spec: &RunSpec) -> Result<(), ContainerError> {
    let failed = |source| ContainerError::Io {
        action: format!("cannot clean up after container {}", spec.id),
        source,
    };
    let (mut ours, theirs) = UnixStream::pair().map_err(failed)?;
    let pid = sys::command::spawn_with_control(program.path(), &["shim-clean"], theirs.as_fd())
        .map_err(failed)?;
    drop(theirs);
    let answered = send(&mut ours, spec).and_then(|()| receive::<Response>(&mut ours));
    Shim { stream: ours, pid }.reap();
    match answered {
        Ok(Response::Ok) => Ok(()),
        Ok(other) => Err(ContainerError::Shim(format!(
            "leftovers of a dead shim: {other:?}"
        ))),
        Err(error) => Err(ContainerError::Shim(format!(
            "leftovers of a dead shim: {error}"
        ))),
    }
}

/// The same for a container that has no record any more, if anything is left of it.
pub(super) fn leftovers(program: &Program, paths: &Paths, id: &str) -> Result<(), ContainerError> {
    let left = Group::of(paths.tag(), id)
        .and_then(|group| group.exists())
        .map_err(|source| ContainerError::Io {
            action: format!("cannot look for control groups of container {id}"),
            source,
        })?;
    if left {
        after(program, &bare_spec(paths, id))
    } else {
        Ok(())
    }
}

/// A spec of which only the place of files and processes matters.
pub(super) fn bare_spec(paths: &Paths, id: &str) -> RunSpec {
    RunSpec {
        id: id.to_owned(),
        tag: paths.tag().to_owned(),
        run_dir: paths.run(id),
        root: RootFs {
            layers_dir: paths.layers(),
            lowers: Vec::new(),
            upper: paths.container_upper(id),
            work: paths.container_work(id),
            readonly: false,
            propagation: Propagation::Rprivate,
        },
        mounts: Vec::new(),
        process: Process {
            args: Vec::new(),
            env: Vec::new(),
            cwd: "/".to_owned(),
            user: String::new(),
            additional_groups: Vec::new(),
            tty: false,
            console_size: None,
            capabilities: Vec::new(),
            no_new_privileges: false,
            seccomp: shim_protocol::spec::Seccomp::Default,
            rlimits: Vec::new(),
            apparmor_profile: None,
        },
        namespaces: Namespaces {
            network: NetworkNs::Private,
            pid: NsMode::Private,
            ipc: NsMode::Private,
            uts: NsMode::Private,
            cgroup: NsMode::Private,
        },
        hostname: String::new(),
        domainname: String::new(),
        sysctls: Vec::new(),
        oom_score_adj: None,
        resources: shim_protocol::spec::Resources::default(),
        devices: Vec::new(),
        device_rules: Vec::new(),
        privileged: false,
        masked_paths: Vec::new(),
        readonly_paths: Vec::new(),
        network: shim_protocol::spec::Network::default(),
        log: shim_protocol::spec::LogConfig {
            path: None,
            max_size: None,
            max_file: 1,
            compress: false,
            attrs: Vec::new(),
        },
        restart: shim_protocol::spec::RestartPolicy::No,
        health: None,
        stop_signal: 9,
        init: false,
        open_stdin: false,
        stdin_once: false,
        wake: Vec::new(),
        engine_socket: std::path::PathBuf::new(),
    }
}
