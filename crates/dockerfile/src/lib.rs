//! Dockerfiles and `.dockerignore`: text in, a tree with line numbers out. Runs nothing, reads no file.

pub mod instruction;

pub use instruction::*;
