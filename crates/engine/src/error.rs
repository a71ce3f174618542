//! What all errors of the engine have in common: a kind that a server can turn into a status.

pub use store::ErrorKind;

/// An error whose `Display` is the sentence that users see, in Docker's words where Docker has them.
pub trait Fault: std::error::Error + Send + Sync + 'static {
    fn kind(&self) -> ErrorKind;
}
