//! The client: Docker's command grammar over Docker's HTTP API, against any engine that speaks it.
//!
//! * [`commands`] - one file a command: its flags with their help, then what it does.
//! * [`grammar`] - docker's rules for flags, its help and its words for mistakes.
//! * [`http`] - a small blocking HTTP/1.1 client for unix sockets, with streams in both directions.
//! * [`output`] - how it prints, and what happens when nobody reads that.
//! * [`parse`] - what people write in flags: mounts, ports, sizes.
//! * [`render`] - tables, templates, sizes and durations as people know them.
//!
//! What goes wrong ends as one [`Failure`]: a sentence for standard error, and an exit code.

#![cfg_attr(
    test,
    allow(
        clippy::disallowed_methods,
        reason = "tests make their own scratch files"
    )
)]

// First: what it prints with hides the macros of the standard library.
#[macro_use]
mod output;

mod commands;
mod endpoint;
mod failure;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod grammar;
mod http;
mod interrupt;
mod json;
mod logins;
mod parse;
mod render;
mod ssh;
mod streams;
mod terminal;

/// Runs the command line of this process; the result is the exit code.
#[must_use]
pub fn main() -> i32 {
    let cli = match grammar::parse() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    match cli.run() {
        Ok(code) => code,
        Err(failure) => {
            if failure.usage {
                eprintln!("{}{}", failure.text, grammar::reminder());
            } else if !failure.text.is_empty() {
                eprintln!("{}", failure.text);
            }
            failure.code
        }
    }
}
