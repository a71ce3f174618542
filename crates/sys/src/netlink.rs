//! Links, addresses and routes over NETLINK_ROUTE, in the network namespace of the calling thread.
//!
//! Every request is one blocking exchange on a fresh socket; nothing is spawned and nothing is cached. Refusals of the
//! kernel carry the step that was refused, and the kernel's own explanation when it gives one. [`message`] and
//! [`socket`] are shared with [`crate::nftables`]: dumps are read attribute by attribute, and attributes that a newer
//! kernel adds or resizes are passed over.

mod address;
mod attach;
mod counters;
mod link;
pub(crate) mod message;
mod namespace;
mod route;
mod setting;
pub(crate) mod socket;

pub use address::{Address, Prefix, addresses};
pub use attach::{VethSpec, attach_container, set_default_routes};
pub use counters::{InterfaceCounters, interface_counters};
pub use link::{
    Link, bridge_create, link_configure, link_delete, link_delete_index, link_exists, link_info,
    links,
};
pub use namespace::{in_namespace, loopback_up, loopback_up_here, new_namespace};
pub use route::{Route, default_route, routes};
pub use setting::{read_setting, write_setting};
