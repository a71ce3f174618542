//! From a container's configuration to the [`shim_protocol::RunSpec`] of one start.
