//! How the client shows what the engine answered.

pub(crate) mod template;
