//! Mounts of the host's own: what gives a container power over the host, or goes past the engine to data that it keeps.

use std::os::unix::fs::FileTypeExt as _;
use std::path::{Component, Path, PathBuf};

use super::Weight;

/// Where the engine keeps things.
pub(super) struct Own<'a> {
    pub(super) root: &'a Path,
    pub(super) socket: &'a Path,
    /// Directories of pools.
    pub(super) pools: Vec<PathBuf>,
    /// Sources are not looked at, only their names.
    pub(super) fast: bool,
}

/// How much it matters, why, and what to do.
pub(super) struct Doubt {
    pub(super) weight: Weight,
    pub(super) why: &'static str,
    pub(super) advice: &'static str,
    /// Where a link leads, if that is what matters.
    pub(super) leads_to: Option<PathBuf>,
}

/// The engine's socket, by whom it may be.
const SOCKETS: [&str; 4] = ["docker.sock", "containerd.sock", "podman.sock", "crio.sock"];
/// Engines that keep data in directories of their own.
const ENGINES: [&str; 3] = [
    "/var/lib/docker",
    "/var/lib/containerd",
    "/var/lib/containers",
];
const HOST: [&str; 10] = [
    "/etc", "/usr", "/bin", "/sbin", "/lib", "/lib64", "/boot", "/root", "/var", "/var/lib",
];

const LESS: &str = "mount less of it, or read-only, unless that is meant";
const BY_NAME: &str = "mount the volume by its name: -v NAME:PATH";

impl Own<'_> {
    /// What is to be said of a source; of a link also where it leads.
    pub(super) fn doubt(&self, source: &Path) -> Option<Doubt> {
        let named = plain(source);
        let by_name = self.of(&named).map(|(weight, why, advice)| Doubt {
            weight,
            why,
            advice,
            leads_to: None,
        });
        if self.fast {
            return by_name;
        }
        let Ok(found) = source.canonicalize() else {
            return by_name;
        };
        let is_disk = || {
            let kind = found.metadata().map(|found| found.file_type());
            kind.is_ok_and(|kind| kind.is_block_device()).then_some((
                Weight::High,
                "that is a disk: all that is on it can be read and changed past its filesystem",
                LESS,
            ))
        };
        let by_place = self
            .of(&found)
            .or_else(is_disk)
            .map(|(weight, why, advice)| Doubt {
                weight,
                why,
                advice,
                leads_to: (found != named).then(|| found.clone()),
            });
        // A name that says more is a link to something harmless.
        let heavier = |one: &Doubt, other: &Doubt| one.weight <= other.weight;
        match (by_name, by_place) {
            (Some(name), Some(place)) if heavier(&name, &place) => Some(name),
            (name, place) => place.or(name),
        }
    }

    fn of(&self, source: &Path) -> Option<(Weight, &'static str, &'static str)> {
        let name = source.file_name().unwrap_or_default();
        let is = |places: &[&str]| places.iter().any(|place| source == Path::new(place));
        let high = |why| Some((Weight::High, why, LESS));
        let medium = |why| Some((Weight::Medium, why, LESS));
        if source == Path::new("/") {
            return high("that is the whole host");
        }
        if source == self.socket || SOCKETS.iter().any(|socket| name == *socket) {
            return high("who has the engine has the host");
        }
        if self.root.starts_with(source) {
            return high("all volumes and containers are in there");
        }
        if is(&["/run", "/var/run"]) || self.socket.starts_with(source) {
            return high("the engine's socket is in there, and who has it has the host");
        }
        if let Ok(inside) = source.strip_prefix(self.root) {
            let first = inside.components().next();
            let is_data = ["data", "volumes", "pools"]
                .iter()
                .any(|place| first == Some(Component::Normal(place.as_ref())));
            return Some(if is_data {
                (Weight::Medium, PAST, BY_NAME)
            } else {
                (Weight::High, "that is the engine's own", LESS)
            });
        }
        if self.pools.iter().any(|pool| source.starts_with(pool)) {
            return Some((Weight::Medium, PAST, BY_NAME));
        }
        if is(&ENGINES) {
            return high("all that another engine keeps is in there");
        }
        if ENGINES.iter().any(|engine| source.starts_with(engine)) {
            return medium("another engine keeps it, and knows nothing of this");
        }
        if source.components().any(|part| part.as_os_str() == ".ssh") {
            return high("who has its keys has the hosts that trust them");
        }
        if is(&["/home"]) {
            return medium("the files and keys of all users are in there");
        }
        if is(&HOST) {
            return medium("the host's own files can be changed from inside");
        }
        if is(&["/proc", "/sys", "/dev"]) {
            return medium("that reaches the host's kernel");
        }
        None
    }
}

const PAST: &str = "that goes past the engine: it neither counts as a use of a volume, nor is it held still for a snapshot of one";

/// Without what changes nothing: `//`, `/.` and a last `/`.
fn plain(source: &Path) -> PathBuf {
    source.components().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_by_name() {
        let own = Own {
            root: Path::new("/srv/engine/root"),
            socket: Path::new("/run/orlop/docker.sock"),
            pools: vec![PathBuf::from("/mnt/pool/volumes")],
            fast: true,
        };
        for (source, weight) in [
            ("/", Some(Weight::High)),
            ("/var/run/docker.sock", Some(Weight::High)),
            ("/run/podman/podman.sock", Some(Weight::High)),
            ("/run", Some(Weight::High)),
            ("/var/run/", Some(Weight::High)),
            ("/run/orlop", Some(Weight::High)),
            ("/run/secrets", None),
            ("/srv", Some(Weight::High)),
            ("/srv/engine/root", Some(Weight::High)),
            ("/srv/engine/root/containers", Some(Weight::High)),
            ("/srv/engine/root/volumes/x/_data", Some(Weight::Medium)),
            ("/srv/engine/roots", None),
            ("/mnt/pool/volumes/x/_data", Some(Weight::Medium)),
            ("/var/lib/docker", Some(Weight::High)),
            ("/var/lib/docker/volumes/x/_data", Some(Weight::Medium)),
            ("/home", Some(Weight::Medium)),
            ("/home/me", None),
            ("/home/me/.ssh", Some(Weight::High)),
            ("/home/me/.ssh/id_ed25519", Some(Weight::High)),
            ("/etc", Some(Weight::Medium)),
            ("/etc/localtime", None),
            ("/srv/data", None),
        ] {
            let found = own.doubt(Path::new(source)).map(|doubt| doubt.weight);
            assert_eq!(found, weight, "{source}");
        }
    }
}
