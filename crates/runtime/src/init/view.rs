//! A private view of a container's files, for whoever copies into or out of one that does not run.

use std::os::fd::{AsFd as _, OwnedFd};

use shim_protocol::StartError;
use shim_protocol::spec::{Mount, RunSpec};

use super::{idmap, mounts, order, root, sources};
use crate::failure::{During as _, failed};

/// Builds the view in a new mount namespace of this process.
pub(crate) fn build(spec: &RunSpec) -> Result<OwnedFd, StartError> {
    sources::create(&spec.mounts)?;
    sys::namespace::new_mounts()
        .during("namespaces", || "cannot make a mount namespace".to_owned())?;
    let files: Vec<Mount> = spec
        .mounts
        .iter()
        .filter(|mount| mounts::holds_files(mount))
        .cloned()
        .collect();
    let mut trees = sources::open(&files)?;
    order::stop_sending_mounts()?;
    sources::enter_layers(&spec.root.layers_dir)?;
    root::mount_images(&spec.root.layers_dir, &files, &mut trees)?;
    let top = root::mount(&spec.root)?;
    for (mount, tree) in files.iter().zip(trees) {
        let no_cgroups = |_: std::os::fd::BorrowedFd<'_>| {
            Err(failed("mount", "control groups are not part of a view"))
        };
        idmap::apply(top.as_fd(), mount, tree.as_ref(), &spec.process.user)?;
        mounts::mount(top.as_fd(), mount, tree, no_cgroups)?;
    }
    order::finish_root(spec, top.as_fd())?;
    Ok(top)
}
