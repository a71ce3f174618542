//! How far a long task has come: the engine says it, servers and clients show it.

use std::fmt::Debug;

/// Receives progress. Called often; implementations throttle.
pub trait Progress: Send + Sync + Debug {
    /// `done` of `total` bytes (0: unknown) of the item named `id` (a layer, a volume), doing `action` ("Loading layer").
    fn step(&self, id: &str, action: &str, done: u64, total: u64);
    /// One line of plain text ("Loaded image: x").
    fn line(&self, text: &str);
}

/// Says nothing.
#[derive(Debug)]
pub struct Silent;

impl Progress for Silent {
    fn step(&self, _id: &str, _action: &str, _done: u64, _total: u64) {}
    fn line(&self, _text: &str) {}
}
