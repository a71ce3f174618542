//! What people see: tables, templates, sizes, durations.

pub(crate) mod list;
pub(crate) mod progress;
pub(crate) mod template;
pub(crate) mod transfer;
pub(crate) mod units;
