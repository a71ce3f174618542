//! What travels between clients and the engine: Docker's wire types, and our own where Docker's generated ones lose
//! something.
//!
//! These types follow the wire, not the engine: changing the engine does not change them. No behaviour, no I/O.
//!
//! * [`models`] - generated from Docker's API description; every field optional, unknown fields dropped.
//! * [`container`] - what `inspect` and `ps` answer, with the fields that the generated types lack and nulls kept.
//! * [`volume`] - volumes with the values of `Status`.
//! * [`version`] - which API versions are spoken.

pub mod container;
pub mod version;
pub mod volume;

pub use bollard_stubs::models;
