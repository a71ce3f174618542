//! The container's interface, made from outside while the new process goes on with its mounts.

use std::os::fd::AsFd as _;

use rustix::fs::{Mode, OFlags};
use shim_protocol::StartError;
use shim_protocol::spec::{Interface, NetworkNs, RunSpec};
use sys::netlink::VethSpec;

use crate::failure::During as _;

/// The interface that the container is to have.
pub(crate) fn wanted(spec: &RunSpec) -> Option<&Interface> {
    let private = spec.namespaces.network == NetworkNs::Private;
    spec.network.interface.as_ref().filter(|_| private)
}

/// Makes the interface inside the network namespace of `pid`.
pub(crate) fn attach(interface: &Interface, pid: i32) -> Result<(), StartError> {
    let what = || {
        format!(
            "cannot connect the container to network {}",
            interface.bridge
        )
    };
    let path = format!("/proc/{pid}/ns/net");
    let netns = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .during("network", what)?;
    sys::netlink::attach_container(&veth(interface), netns.as_fd()).during("network", what)
}

fn veth(interface: &Interface) -> VethSpec {
    VethSpec {
        bridge: interface.bridge.clone(),
        host_name: interface.host_name.clone(),
        peer_name: interface.name.clone(),
        mac: interface.mac.clone(),
        address: interface.address.clone(),
        gateway: interface.gateway.clone(),
        address6: interface.address6.clone(),
        gateway6: interface.gateway6.clone(),
        mtu: interface.mtu,
    }
}
