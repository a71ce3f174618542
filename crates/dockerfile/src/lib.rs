//! Dockerfiles and `.dockerignore`: text in, a tree with line numbers out. Runs nothing, reads no file.
//!
//! [`parse`] reads a whole file, [`parse_instruction`] a single instruction (`ONBUILD` triggers, `commit --change`). Neither
//! replaces variables: [`expand`] does, word by word, when the instruction is executed. What is refused is refused in
//! Docker's words, with the lines where it stands. No input panics, and none costs more than its length squared.

mod command;
mod copy;
pub mod duration;
pub mod expand;
mod flags;
mod glob;
mod healthcheck;
mod heredoc;
pub mod ignore;
pub mod instruction;
mod json;
mod lines;
mod mistake;
mod mount;
mod pairs;
mod run;
mod stages;
mod statement;
mod suggest;

#[cfg(test)]
mod tests;

pub use instruction::*;
pub use mistake::{ParseError, excerpt};
pub use stages::{parse, parse_instruction};
pub use suggest::closest;
