//! The conversation between the engine and the shim: types, framing, version.
//!
//! Both sides of an upgrade compile against this crate: an engine must drive shims of older releases, so every
//! message is JSON with optional fields, and [`VERSION`] grows when a meaning changes.
//!
//! * [`spec`] - what a container's start needs, fully resolved ([`RunSpec`]).
//! * [`messages`] - requests to a shim and what it says by itself.
//! * [`frame`] - length-prefixed JSON on a stream socket; whoever owns the socket passes descriptors beside it.
//! * [`stdio`] - Docker's stream header, which the shim speaks on attach and exec connections.
//! * [`client`] - the engine's half: one request, one answer.

pub mod client;
pub mod frame;
pub mod messages;
pub mod spec;
pub mod stdio;

/// Version of the messages that this build speaks.
pub const VERSION: u32 = 1;

pub use client::{CallError, call};
pub use frame::{FrameError, receive, send};
pub use messages::{
    AttachSpec, ExecSpec, ExitRecord, HealthRecord, HealthStatus, Notice, ProbeRecord, Request,
    Response, StartError, StateRecord,
};
pub use spec::RunSpec;
