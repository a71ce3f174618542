//! Go's `text/template` language for `--format`, over ordered JSON.
//!
//! People hand us templates written for Docker, which runs them through Go's own package with a few
//! functions of its own (`json`, `join`, `split`, `upper`, …). This engine accepts that language and prints
//! what Go prints: maps as `map[a:b]` by sorted key, lists as `[a b]`, a missing key as `<no value>`.
//!
//! What it guarantees:
//! * No input makes it panic, recurse without bound, or loop: nesting is limited both when a template is
//!   parsed and when templates call each other.
//! * Error texts carry Go's position prefix, for example
//!   `template: :1:2: executing "" at <.Foo>: map has no entry for key "Foo"`; the command that was asked
//!   adds its own `template parsing error: `.
//! * `json` keeps the order of the keys as the engine sent them and does not escape `<`, `>` and `&`.
//!
//! Docker renders typed structs, we render the JSON they became. `value` explains what that means for
//! fields that are `null`; structs print as maps.

mod ast;
mod eval;
mod functions;
mod lexer;
mod parser;
mod printf;
mod quote;
#[cfg(test)]
mod tests;
mod value;

use std::collections::BTreeMap;

use thiserror::Error;

/// A parsed template, ready to be rendered any number of times.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    source: String,
    definitions: BTreeMap<String, Vec<ast::Node>>,
    missing_key_error: bool,
}

/// Why a template could not be parsed or rendered; the text is what Go prints.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum TemplateError {
    /// The text is no template.
    #[error("template: :{line}: {message}")]
    Parse {
        /// Line of the token at which parsing stopped, from 1.
        line: usize,
        /// What is wrong there.
        message: String,
    },
    /// The template does not fit the data.
    #[error("template: :{line}:{column}: executing {} at <{context}>: {message}", quote::quote(.name))]
    Execute {
        /// Line of the failing node, from 1.
        line: usize,
        /// Offset in bytes of the failing node in its line.
        column: usize,
        /// Name of the (sub-)template being rendered; the main one has the empty name.
        name: String,
        /// The failing node as written.
        context: String,
        /// What is wrong there.
        message: String,
    },
}

impl Template {
    /// Parses `source`.
    ///
    /// # Errors
    /// [`TemplateError::Parse`] for bad syntax, unknown functions and undeclared variables.
    pub(crate) fn parse(source: &str) -> Result<Self, TemplateError> {
        Ok(Self {
            source: source.to_owned(),
            definitions: parser::parse(source)?,
            missing_key_error: false,
        })
    }

    /// Makes a key that is not in its map an error, as `docker inspect` does; otherwise it prints
    /// `<no value>`.
    #[must_use]
    pub(crate) fn with_missing_key_error(mut self) -> Self {
        self.missing_key_error = true;
        self
    }

    /// Renders the template with `data` as dot.
    ///
    /// # Errors
    /// [`TemplateError::Execute`]; nothing of a failed rendering is returned.
    pub(crate) fn render(&self, data: &serde_json::Value) -> Result<String, TemplateError> {
        eval::render(self, data)
    }
}
