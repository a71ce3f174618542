//! What the system says of an error, in the words that scripts written for Docker look for.

use std::io;

/// The words of the C library as Go prints them: "no such file or directory".
pub fn error_words(error: &io::Error) -> String {
    let text = error.to_string();
    let Some(words) = error
        .raw_os_error()
        .and_then(|_| text.split(" (os error").next())
    else {
        return text;
    };
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_lowercase().chain(letters).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_the_system() {
        assert_eq!(
            error_words(&io::Error::from_raw_os_error(2)),
            "no such file or directory"
        );
        assert_eq!(error_words(&io::Error::other("Some Text")), "Some Text");
    }
}
