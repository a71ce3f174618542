//! What all errors of the engine have in common: a kind that a server can turn into a status.

pub use store::ErrorKind;

/// An error whose `Display` is the sentence that users see, in Docker's words where Docker has them.
pub trait Fault: std::error::Error + Send + Sync + 'static {
    fn kind(&self) -> ErrorKind;
}

/// An error's sentence and those of its causes, `: ` between them; a cause that its parent already tells is left out, and what
/// the system says is said as Docker says it.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let sentence = match error.downcast_ref::<std::io::Error>() {
            Some(error) => sys::error_words(error),
            None => error.to_string(),
        };
        if !text.ends_with(&sentence) {
            text.push_str(": ");
            text.push_str(&sentence);
        }
        cause = error.source();
    }
    text
}
