//! What people see: tables, templates, sizes, durations, progress.

pub(crate) mod course;
pub(crate) mod list;
pub(crate) mod progress;
pub(crate) mod template;
pub(crate) mod transfer;
pub(crate) mod units;
