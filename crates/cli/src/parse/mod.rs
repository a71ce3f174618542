//! What people write in flags, read by docker's rules and refused in its words.

pub(crate) mod devices;
pub(crate) mod duration;
pub(crate) mod environment;
pub(crate) mod keys;
pub(crate) mod mount;
pub(crate) mod network;
pub(crate) mod ports;
pub(crate) mod reference;
pub(crate) mod size;
pub(crate) mod volume;
